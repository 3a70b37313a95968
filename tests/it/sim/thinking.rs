//! Models that think for minutes: what thinks is not killed, not blamed, and seldom sent twice.

use super::bars::{NAMES, runs};
use firstlight::sim::{Arrivals, Figures, Scenario, Tail};
use std::time::Duration;

/// Half a day of a model whose first token takes about so long everywhere, and whose clients wait for an hour.
fn world(median: u64, (rps, sigma): (f64, f64)) -> Scenario {
    let mut world = Scenario::healthy(NAMES, rps, 30.0, Duration::from_hours(12));
    world.arrivals = Arrivals::even(rps);
    world.patience = Duration::from_hours(1);
    // A prompt of a book would think for longer than anybody waits.
    world.prompts.sigma = 0.2;
    for region in &mut world.regions {
        region.median = Duration::from_secs(median);
        (region.sigma, region.tail) = (sigma, Tail::NONE);
    }
    world
}

fn check(world: &Scenario, what: &str, most_percent: f64) {
    for figures in &runs(world, "lookout", 1..5).runs {
        let Figures { requests, errors, false_exclusions, extra_requests, .. } = *figures;
        let found = format!(
            "{what}: {requests} requests, {errors} errors, {false_exclusions} false exclusions, {extra_requests} extra"
        );
        assert!(errors == 0 && false_exclusions <= 1, "{found}");
        assert!(100.0 * f64::from(extra_requests) <= most_percent * f64::from(requests), "{found}");
    }
}

#[test]
fn what_takes_minutes_everywhere_is_neither_cut_nor_blamed() {
    for median in [220, 300] {
        check(&world(median, (0.05, 0.06)), &format!("{median} s"), 3.0);
    }
}

#[test]
fn nor_does_it_where_times_spread_or_requests_are_many() {
    // One in fifty is past its D by design.
    check(&world(220, (0.05, 0.35)), "wide", 4.0);
    check(&world(300, (1.0, 0.06)), "many", 3.0);
}
