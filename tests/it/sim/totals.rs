//! Worlds in which no response is streamed: one region of three fails, or none does. 5 requests a second.

use super::bars::{NAMES, runs};
use firstlight::sim::{
    Balancer, Engine, Fact, Figures, Order, POLICIES, Profile, Scenario, Summary, Tuning, run,
};
use firstlight::time::Time;
use std::ops::Range;
use std::time::Duration;

const SEEDS: Range<u64> = 1..5;

fn world(event: &str) -> Scenario {
    Scenario::healthy(NAMES, 5.0, 2.0, Duration::from_mins(90)).with_event(event).unwrap()
}

fn hurt(summary: &Summary) -> f64 {
    summary.mean(|f| f64::from(f.slow4 + f.errors))
}

/// No more are hurt than one and a half times as many as with the best policy that cannot see the fault.
fn check(event: &str) {
    let scenario = world(event);
    let of = |policy: &str| hurt(&runs(&scenario, policy, SEEDS));
    let blind = POLICIES.iter().map(|(name, _)| *name);
    let others = blind.filter(|name| *name != "lookout" && *name != "oracle");
    let found: Vec<(&str, f64)> = others.map(|name| (name, of(name))).collect();
    let best = found.iter().map(|(_, hurt)| *hurt).fold(f64::INFINITY, f64::min);
    let ours = of("lookout");
    assert!(best >= 10.0, "{event} hurts nobody: {found:?}");
    assert!(ours <= 1.5 * best, "{event}: {ours}, and {found:?}");
}

#[test]
fn a_black_hole() {
    check("blackhole_totals");
}

#[test]
fn ten_times_slower() {
    check("slow10_totals");
}

/// The published policy times whole responses, too.
#[test]
fn ema_leaves_a_region_whose_whole_responses_are_slow() {
    let ema = runs(&world("slow10_totals"), "ema", SEEDS);
    let off = ema.mean_of_most(|figures| figures.off_seconds);
    assert!(off.is_some_and(|seconds| seconds < 120.0), "{off:?}");
}

/// An engine whose clients name no length.
struct Unbounded(Engine);

impl Balancer for Unbounded {
    fn hear(&mut self, fact: Fact, now: Time, orders: &mut Vec<Order>) {
        let fact = match fact {
            Fact::Arrived { request, profile } => {
                Fact::Arrived { request, profile: Profile { max_tokens: 0, ..profile } }
            }
            Fact::Heard { .. }
            | Fact::Due { .. }
            | Fact::Left { .. }
            | Fact::Ended { .. }
            | Fact::Reminded { .. }
            | Fact::Tick => fact,
        };
        self.0.hear(fact, now, orders);
    }
}

/// Six hours in which nothing is wrong.
fn healthy(tuning: &Tuning, seed: u64) -> Figures {
    let mut scenario = Scenario::healthy(NAMES, 5.0, 2.0, Duration::from_hours(6));
    scenario.not_streamed = 1.0;
    scenario.outputs.sigma = 0.8;
    let mut balancer = Unbounded(Engine::new(tuning, &scenario, seed));
    Figures::from(&run(&scenario, seed, &mut balancer))
}

#[test]
fn nothing_is_thrown_out_for_long_answers_without_a_bound() {
    for seed in 1..4 {
        let figures = healthy(&Tuning::lookout(), seed);
        assert_eq!(figures.exclusions, 0, "{figures:?}");
        let extra = f64::from(figures.extra_requests) / f64::from(figures.requests);
        assert!(extra <= 0.03, "one in fifty is late: {figures:?}");
    }
}
