//! What each kind of failure may cost, in requests over 4 times the healthy median.
//!
//! One region of three, 10 requests a second, 20 minutes of 90, each region provisioned for two thirds of the
//! load; the mean of four seeds. Every event must still hurt round robin, or its bar says nothing.

use firstlight::sim::{Figures, Scenario, Summary, balancer, run};
use std::ops::Range;
use std::time::Duration;

pub(super) const NAMES: &[&str] = &["a", "b", "c"];
const SEEDS: Range<u64> = 1..5;

fn sized() -> Scenario {
    Scenario::healthy(NAMES, 10.0, 2.0, Duration::from_mins(90))
}

pub(super) fn runs(scenario: &Scenario, policy: &str, seeds: Range<u64>) -> Summary {
    let one = |seed| {
        let mut balancer = balancer(policy, scenario, seed).unwrap();
        Figures::from(&run(scenario, seed, balancer.as_mut()))
    };
    Summary {
        scenario: scenario.name.clone(),
        policy: policy.to_owned(),
        runs: seeds.map(one).collect(),
    }
}

/// Slow requests; the mean.
pub(super) fn slow(summary: &Summary) -> f64 {
    summary.mean(|f| f64::from(f.slow4))
}

/// Slow requests and those without an answer; who left unanswered is both, and counts twice.
fn hurt(summary: &Summary) -> f64 {
    summary.mean(|f| f64::from(f.slow4 + f.errors))
}

/// Round robin is hurt at least so much, `lookout` at most so much.
fn check(event: &str, round_robin_least: f64, lookout_most: f64) {
    let scenario = sized().with_event(event).unwrap();
    let without = slow(&runs(&scenario, "round_robin", SEEDS));
    assert!(without >= round_robin_least, "{event} no longer hurts round robin: {without}");
    let with = hurt(&runs(&scenario, "lookout", SEEDS));
    assert!(with <= lookout_most, "{event}: {with} were hurt");
}

/// Who is refused at once is served elsewhere at once: round robin pays with a retry for each.
fn check_retries(event: &str, lookout_most: f64) {
    let scenario = sized().with_event(event).unwrap();
    let extra = |policy| {
        let summary = runs(&scenario, policy, SEEDS);
        summary.mean(|f| f64::from(f.extra_requests - f.hedges))
    };
    assert!(extra("round_robin") >= 3_500.0, "{event} no longer costs round robin a retry each");
    assert!(extra("lookout") <= lookout_most, "{event}: {} retries and probes", extra("lookout"));
    let lookout = hurt(&runs(&scenario, "lookout", SEEDS));
    assert!(lookout <= 30.0, "{event}: {lookout} were hurt");
}

#[test]
fn three_times_slower() {
    check("slow3", 700.0, 40.0);
}

#[test]
fn ten_times_slower() {
    check("slow10", 3_500.0, 15.0);
}

#[test]
fn half_of_the_requests() {
    check("half", 1_700.0, 40.0);
}

#[test]
fn a_black_hole() {
    check("blackhole", 3_500.0, 15.0);
}

#[test]
fn a_drift() {
    check("drift", 1_700.0, 30.0);
}

#[test]
fn flapping() {
    check("flapping", 1_700.0, 60.0);
}

#[test]
fn lost_capacity() {
    check("capacity", 300.0, 70.0);
}

#[test]
fn rate_limits() {
    check_retries("limited", 600.0);
}

#[test]
fn errors() {
    check_retries("errors", 400.0);
}

/// Nothing routes around it: then at least nothing is thrown out, and nobody fares worse than by turns.
#[test]
fn everything_slow_is_borne() {
    let scenario = sized().with_event("all_slow").unwrap();
    let (turns, lookout) =
        (runs(&scenario, "round_robin", SEEDS), runs(&scenario, "lookout", SEEDS));
    assert!(hurt(&turns) >= 2_000.0, "{}", hurt(&turns));
    assert!(hurt(&lookout) <= hurt(&turns), "{} against {}", hurt(&lookout), hurt(&turns));
    assert!(lookout.runs.iter().all(|figures| figures.exclusions == 0));
}

#[test]
fn when_nothing_is_wrong_nothing_is_thrown_out() {
    let lookout = runs(&sized(), "lookout", SEEDS);
    assert!(lookout.runs.iter().all(|figures| figures.false_exclusions == 0));
    assert!(hurt(&lookout) <= 15.0, "{} of 54,000 were slow", hurt(&lookout));
    assert!(lookout.mean(|f| f.extra_tokens_share) <= 0.05);
}

/// The world is the one that the figures in the README were made in: policies that do not change with ours
/// give what they always gave.
#[test]
fn the_world_has_not_moved() {
    let scenario = sized().with_event("slow10").unwrap();
    let near = |policy, expected: f64, by: f64| {
        let found = slow(&runs(&scenario, policy, SEEDS));
        assert!((found - expected).abs() <= by, "{policy}: {found}, not about {expected}");
    };
    near("round_robin", 3_950.0, 120.0);
    near("p2c", 330.0, 60.0);
    near("oracle", 15.0, 10.0);
}
