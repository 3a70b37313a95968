//! Quotas: what an oversize request and an overload cost the others under the default policy.

use super::bars::{NAMES, runs};
use super::worlds::{WAITS, overloaded, world};
use firstlight::sim::Scenario;

fn oversize() -> Scenario {
    world("oversize", (NAMES, 10.0, 30))
}

#[test]
fn an_oversize_request_costs_the_others_nothing() {
    let ours = runs(&oversize(), "lookout", 1..4);
    let refused = ours.mean(|figures| figures.refused_share);
    assert!(refused <= 0.01, "{refused} of the others were refused");
    assert!(ours.mean(|figures| f64::from(figures.requests)) > 1_000.0);
}

#[test]
fn an_overload_is_served_as_far_as_the_quotas_reach() {
    for retry_after in WAITS {
        for rps in [10.0, 20.0, 90.0] {
            let (scenario, possible) = overloaded(rps, retry_after);
            let ours = runs(&scenario, "lookout", 1..3);
            let share = ours.mean(|figures| figures.good_rps) / possible;
            assert!(share >= 0.9, "{retry_after:?}, {rps} requests a second: {share}");
        }
    }
}
