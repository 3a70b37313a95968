//! What the hard worlds do, whatever our own policies make of them: held by policies that do not change with
//! ours.
//!
//! `oracle` knows which region is bad: where it fails nobody, the healthy regions can carry the load.

use super::bars::{NAMES, runs};
use firstlight::sim::{Figures, RateLimit, Scenario, Summary};
use std::time::Duration;

pub(super) const FIVE: &[&str] = &["a", "b", "c", "d", "e"];
/// The events that leave one region healthy at a time, or all but one.
pub(super) const ONE_LEFT: [&str; 4] =
    ["all_but_one_5xx", "all_but_one_refuse", "all_but_one_mix", "rolling"];

pub(super) fn world(event: &str, (names, rps, minutes): (&[&str], f64, u64)) -> Scenario {
    let length = Duration::from_mins(minutes);
    Scenario::healthy(names, rps, 2.0, length).with_event(event).unwrap()
}

fn usual(event: &str) -> Scenario {
    world(event, (NAMES, 10.0, 30))
}

/// Those that got an error; a huge prompt may outlast its client's patience in a healthy region, too.
pub(super) fn refused(summary: &Summary) -> f64 {
    summary.mean(|figures| f64::from(figures.errors - figures.unanswered))
}

pub(super) fn slow_or_failed(summary: &Summary) -> f64 {
    summary.mean(|figures| f64::from(figures.slow4 + figures.errors))
}

fn share_of_requests(summary: &Summary, count: impl Fn(&Figures) -> u32) -> f64 {
    summary.mean(|figures| f64::from(count(figures)) / f64::from(figures.requests))
}

fn near(found: f64, expected: f64, by: f64) {
    assert!((found - expected).abs() <= by, "{found}, not about {expected}");
}

#[test]
fn one_healthy_region_can_serve_everybody() {
    for event in ONE_LEFT {
        for regions in [2, 3, 5] {
            let scenario = world(event, (&FIVE[..regions], 10.0, 9));
            let oracle = runs(&scenario, "oracle", 1..3);
            assert_eq!(refused(&oracle).to_bits(), 0.0_f64.to_bits(), "{event}, {regions} regions");
            let turns = runs(&scenario, "round_robin", 1..3);
            let extra = share_of_requests(&turns, |figures| figures.extra_requests);
            assert!(extra >= 0.15, "{event}, {regions} regions: hardly anything fails: {extra}");
        }
    }
    // Three attempts are too few to find the one of five by turns.
    let five = world("all_but_one_5xx", (FIVE, 10.0, 9));
    assert!(share_of_requests(&runs(&five, "round_robin", 1..3), |f| f.errors) > 0.3);
}

#[test]
fn a_worthless_response_fails_a_third_by_turns() {
    for event in ["bad_request", "not_found", "unusable"] {
        let turns = runs(&usual(event), "round_robin", 1..3);
        near(share_of_requests(&turns, |f| f.errors), 1.0 / 3.0, 0.02);
        let retries = turns.mean(|figures| f64::from(figures.extra_requests));
        assert_eq!(retries.to_bits(), 0.0_f64.to_bits(), "{event} is passed on");
        // It waits least where responses come at once, and believes that all is well there.
        assert!(share_of_requests(&runs(&usual(event), "p2c", 1..3), |f| f.errors) > 0.5);
        let oracle = refused(&runs(&usual(event), "oracle", 1..3));
        assert_eq!(oracle.to_bits(), 0.0_f64.to_bits(), "{event}");
    }
}

#[test]
fn totals_are_timed_to_their_end() {
    let hole = world("blackhole_totals", (NAMES, 5.0, 30));
    near(share_of_requests(&runs(&hole, "round_robin", 1..3), |f| f.unanswered), 1.0 / 3.0, 0.03);
    let slow = world("slow10_totals", (NAMES, 5.0, 30));
    near(share_of_requests(&runs(&slow, "round_robin", 1..3), |f| f.slow4), 0.3, 0.04);
    for scenario in [hole, slow] {
        let oracle = runs(&scenario, "oracle", 1..3);
        assert!(slow_or_failed(&oracle) <= 5.0, "{}", slow_or_failed(&oracle));
        // A first token in 1.3 s, then 200 tokens at 60 a second.
        near(oracle.mean(|figures| figures.p50), 4.7, 0.4);
    }
}

#[test]
fn what_fits_no_quota_is_hopeless_and_all_else_fits() {
    let plain = runs(&usual("oversize"), "least_requests", 1..3);
    let hopeless = plain.mean(|figures| f64::from(figures.hopeless));
    assert!((6.0..25.0).contains(&hopeless), "twice a minute for 400 s: {hopeless}");
    assert!(plain.mean(|figures| figures.refused_share) <= 0.001);
}

pub(super) const WAITS: [Option<Duration>; 4] = [
    Some(Duration::from_secs(1)),
    Some(Duration::from_secs(5)),
    Some(Duration::from_secs(30)),
    None,
];

/// The overload with that Retry-After, and the good responses a second that are possible.
pub(super) fn overloaded(rps: f64, retry_after: Option<Duration>) -> (Scenario, f64) {
    let mut scenario = world("overload", (NAMES, rps, 15));
    let mut possible = 0.0;
    for region in &mut scenario.regions {
        let limit = region.request_limit.unwrap();
        region.request_limit = Some(RateLimit { retry_after, ..limit });
        possible += limit.per_second;
    }
    (scenario, possible)
}

/// Policies that do not rest fill every quota.
#[test]
fn under_overload_two_thirds_can_be_served() {
    for retry_after in WAITS {
        let (scenario, possible) = overloaded(20.0, retry_after);
        near(possible, 20.0 / 1.5, 1e-6);
        let plain = runs(&scenario, "round_robin", 1..3);
        near(plain.mean(|figures| figures.good_rps) / possible, 0.98, 0.03);
        near(plain.mean(|figures| figures.refused_share), 1.0 / 3.0, 0.03);
    }
}

#[test]
fn poison_fails_everywhere_and_nothing_else_does() {
    for (event, retries) in [("poison", 2.0), ("poison_stored", 0.0)] {
        let plain = runs(&usual(event), "round_robin", 1..3);
        assert_eq!(refused(&plain).to_bits(), 0.0_f64.to_bits(), "{event}");
        let poisoned = share_of_requests(&plain, |figures| figures.hopeless);
        near(poisoned, 0.1, 0.01);
        let extra = share_of_requests(&plain, |figures| figures.extra_requests);
        near(extra, retries * poisoned, 0.001);
    }
}

#[test]
fn alone_half_of_the_responses_are_errors() {
    let scenario = world("alone", (NAMES, 1.0, 90));
    assert_eq!(scenario.regions.len(), 1);
    near(share_of_requests(&runs(&scenario, "round_robin", 1..3), |f| f.errors), 0.5, 0.05);
}

#[test]
fn who_thinks_long_is_healthy() {
    for (event, seconds) in [("thinking220", 220.0), ("thinking300", 300.0)] {
        let plain = runs(&world(event, (NAMES, 10.0, 720)), "round_robin", 1..3);
        near(plain.mean(|figures| f64::from(figures.requests)), 2_160.0, 120.0);
        near(plain.mean(|figures| figures.p50) / seconds, 1.0, 0.03);
        near(plain.mean(|figures| figures.p99) / seconds, 1.16, 0.03);
        let wrong = plain.mean(|figures| f64::from(figures.errors + figures.slow2));
        assert_eq!(wrong.to_bits(), 0.0_f64.to_bits());
    }
}

/// A third of the requests goes where only one region will do, whose responses are 500; the rest is tried again.
#[test]
fn what_is_bound_or_may_not_be_repeated_is_not_tried_elsewhere() {
    let mut scenario = usual("errors");
    scenario.freedom.bound = 0.3;
    near(share_of_requests(&runs(&scenario, "round_robin", 1..4), |f| f.errors), 0.1, 0.01);
    scenario.freedom.bound = 0.0;
    scenario.freedom.once = 0.3;
    // Somewhat more than a third of them: the retries of the others take turns away from the good regions.
    near(share_of_requests(&runs(&scenario, "round_robin", 1..4), |f| f.errors), 0.115, 0.02);
}
