//! The bars of `lookout` in the hard worlds: several regions down, worthless responses, unusual requests.
//!
//! `worlds` holds what these worlds are; here stands what may fail in them at most.

use super::bars::{NAMES, runs};
use super::worlds::{FIVE, ONE_LEFT, WAITS, overloaded, refused, slow_or_failed, world};
use firstlight::sim::{Fault, Kind, Scenario, Summary};
use std::ops::Range;

fn lookout(scenario: &Scenario, seeds: Range<u64>) -> Summary {
    runs(scenario, "lookout", seeds)
}

/// The same faults from the first request on: nothing is known of any region yet.
fn cold(scenario: &Scenario) -> Scenario {
    let (from, to) = scenario.window();
    let mut cold = Scenario { length: to.saturating_sub(from), ..scenario.clone() };
    for fault in &mut cold.faults {
        fault.from = fault.from.saturating_sub(from);
        fault.to = fault.to.saturating_sub(from);
    }
    cold
}

/// Nobody fails while one of so many regions is healthy.
fn check_one_left(event: &str, regions: usize) {
    for (rps, minutes) in [(7.0, 9), (20.0, 9), (100.0, 6)] {
        let warm = world(event, (&FIVE[..regions], rps, minutes));
        for (scenario, state) in [(cold(&warm), "cold"), (warm, "warm")] {
            let failed = refused(&lookout(&scenario, 1..4));
            assert!(
                failed < 0.5,
                "{event}, {regions} regions, {rps} requests/s, {state}: {failed} failed"
            );
        }
    }
}

#[test]
fn one_of_two_is_left() {
    for event in ONE_LEFT {
        check_one_left(event, 2);
    }
}

#[test]
fn one_of_three_is_left() {
    for event in ONE_LEFT {
        check_one_left(event, 3);
    }
}

#[test]
fn one_of_five_is_left() {
    for event in ONE_LEFT {
        check_one_left(event, 5);
    }
}

#[test]
fn an_oversize_request_refuses_nobody_else() {
    for rps in [2.0, 10.0, 50.0] {
        let summary = lookout(&world("oversize", (NAMES, rps, 30)), 1..4);
        let refused = summary.mean(|figures| figures.refused_share);
        assert!(refused <= 0.01, "{rps} requests/s: {refused} of the others were refused");
    }
}

#[test]
fn under_overload_nine_tenths_of_what_is_possible_are_served() {
    for rps in [10.0, 90.0] {
        for retry_after in WAITS {
            let (scenario, possible) = overloaded(rps, retry_after);
            let good = lookout(&scenario, 1..4).mean(|figures| figures.good_rps);
            assert!(
                good >= 0.9 * possible,
                "{rps} requests/s, Retry-After {retry_after:?}: {good} of {possible}"
            );
        }
    }
}

#[test]
fn totals_are_protected() {
    for event in ["blackhole_totals", "slow10_totals"] {
        let scenario = world(event, (NAMES, 5.0, 90));
        let others = ["least_requests", "p2c", "round_robin", "random", "ema"];
        let of = |policy: &str| slow_or_failed(&runs(&scenario, policy, 1..4));
        let best = others.map(of).into_iter().fold(f64::INFINITY, f64::min);
        let ours = of("lookout");
        assert!(ours <= 1.5 * best, "{event}: {ours} were hurt, {best} by the best policy");
    }
}

#[test]
fn thinking_is_not_killed() {
    for event in ["thinking220", "thinking300"] {
        let summary = lookout(&world(event, (NAMES, 0.05, 720)), 1..5);
        for figures in &summary.runs {
            assert_eq!(figures.errors, 0, "{event}, seed {}", figures.seed);
            let excluded = figures.false_exclusions;
            assert!(excluded <= 1, "{event}, seed {}: {excluded} exclusions", figures.seed);
            let most = 0.03 * f64::from(figures.requests);
            let extra = f64::from(figures.extra_requests);
            assert!(extra <= most, "{event}, seed {}: {extra} extra requests", figures.seed);
        }
    }
}

#[test]
fn a_region_that_answers_400_loses_its_traffic() {
    let summary = lookout(&world("bad_request", (NAMES, 10.0, 30)), 1..4);
    let failed = refused(&summary) / summary.mean(|figures| f64::from(figures.requests));
    assert!(failed <= 0.05, "{failed} of the requests got a 400");
}

#[test]
fn a_region_that_answers_404_fails_nobody() {
    let failed = refused(&lookout(&world("not_found", (NAMES, 10.0, 30)), 1..4));
    assert!(failed < 0.5, "{failed} got a 404");
}

#[test]
fn a_region_without_content_fails_nobody() {
    let failed = refused(&lookout(&world("unusable", (NAMES, 10.0, 30)), 1..4));
    assert!(failed < 0.5, "{failed} got a response without content");
}

#[test]
fn one_apps_poison_hurts_nobody_else() {
    for event in ["poison", "poison_stored"] {
        for rps in [1.0, 10.0] {
            let summary = lookout(&world(event, (NAMES, rps, 90)), 1..9);
            let failed = refused(&summary);
            assert!(failed < 0.5, "{event}, {rps} requests/s: {failed} others failed");
            let excluded: u32 = summary.runs.iter().map(|f| f.false_exclusions).sum();
            assert_eq!(excluded, 0, "{event}, {rps} requests/s: false exclusions");
        }
    }
}

/// Six in ten of all requests.
fn often(poison: &mut Fault) {
    if let Kind::Poison { share, .. } = &mut poison.kind {
        *share = 0.6;
    }
}

#[test]
fn a_busy_apps_poison_hurts_nobody_else() {
    for event in ["poison", "poison_stored"] {
        for rps in [1.0, 10.0] {
            let mut scenario = world(event, (NAMES, rps, 90));
            scenario.faults.iter_mut().for_each(often);
            let summary = lookout(&scenario, 1..9);
            let failed = refused(&summary);
            assert!(failed < 0.5, "{event}, {rps} requests/s: {failed} others failed");
            let excluded: u32 = summary.runs.iter().map(|f| f.false_exclusions).sum();
            assert_eq!(excluded, 0, "{event}, {rps} requests/s: false exclusions");
        }
    }
}

#[test]
fn alone_an_error_is_tried_once_more() {
    let summary = lookout(&world("alone", (NAMES, 1.0 / 3.0, 90)), 1..5);
    let failed = summary.mean(|figures| figures.refused_share);
    assert!(failed <= 0.3, "{failed} of the requests failed");
}

#[test]
fn alone_and_busy_retries_are_few() {
    let summary = lookout(&world("alone", (NAMES, 100.0, 9)), 1..3);
    let extra = summary.mean(|f| f64::from(f.extra_requests) / f64::from(f.requests));
    assert!(extra <= 0.1, "{extra} extra requests for each request of the fault");
}
