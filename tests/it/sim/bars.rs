//! What each kind of failure may cost, in requests over 4 times the healthy median.
//!
//! One region of three, 10 requests a second, 20 minutes of 90, each region provisioned for two thirds of the
//! load; the mean of four seeds. Every event must still hurt round robin, or its bar says nothing.

use firstlight::sim::{Figures, Scenario, Summary, balancer, run};
use std::time::Duration;

const NAMES: &[&str] = &["a", "b", "c"];
const SEEDS: std::ops::Range<u64> = 1..5;

fn sized() -> Scenario {
    Scenario::healthy(NAMES, 10.0, 2.0, Duration::from_mins(90))
}

fn runs(scenario: &Scenario, policy: &str) -> Summary {
    let one = |seed| {
        let mut balancer = balancer(policy, scenario, seed).unwrap();
        Figures::from(&run(scenario, seed, balancer.as_mut()))
    };
    Summary {
        scenario: scenario.name.clone(),
        policy: policy.to_owned(),
        runs: SEEDS.map(one).collect(),
    }
}

/// Slow requests, and errors that were not slow themselves.
fn hurt(summary: &Summary) -> f64 {
    summary.mean(|f| f64::from(f.slow4.max(f.errors)))
}

/// Round robin is hurt at least so much, `lookout` at most so much.
fn check(event: &str, round_robin_least: f64, lookout_most: f64) {
    let scenario = sized().with_event(event).unwrap();
    let without = hurt(&runs(&scenario, "round_robin"));
    assert!(without >= round_robin_least, "{event} no longer hurts round robin: {without}");
    let with = runs(&scenario, "lookout");
    assert!(hurt(&with) <= lookout_most, "{event}: {} were hurt", hurt(&with));
}

#[test]
fn slow10() {
    check("slow10", 3_500.0, 30.0);
}
