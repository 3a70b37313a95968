//! Whatever happens in whatever order: leases do not leak, scores stay finite, picks keep the rules.

use super::Bench;
use firstlight::routing::{Lease, NoTarget, ProbeOutcome, State, Timing, View, Why};
use proptest::prelude::*;
use std::time::Duration;

/// One thing that may happen.
#[derive(Clone, Debug)]
enum Step {
    Dispatch(Timing),
    FirstToken(usize),
    Answered(usize),
    Failed(usize),
    Limited(usize, Option<u64>),
    TimedOut(usize),
    Cancelled(usize),
    Dropped(usize),
    Probed(usize, u64),
    Pass(u64),
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let lease = 0..8_usize;
    prop_oneof![
        4 => prop_oneof![Just(Timing::FirstToken), Just(Timing::Untimed)].prop_map(Step::Dispatch),
        2 => lease.clone().prop_map(Step::FirstToken),
        1 => lease.clone().prop_map(Step::Answered),
        1 => lease.clone().prop_map(Step::Failed),
        1 => (lease.clone(), proptest::option::of(0..200_000_u64)).prop_map(|(l, ms)| Step::Limited(l, ms)),
        1 => lease.clone().prop_map(Step::TimedOut),
        1 => lease.clone().prop_map(Step::Cancelled),
        1 => lease.prop_map(Step::Dropped),
        1 => (0..3_usize, 0..20_000_u64).prop_map(|(t, ms)| Step::Probed(t, ms)),
        4 => (0..30_000_u64).prop_map(Step::Pass),
        1 => Just(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Leases never leak, scores stay finite, picks never break the rules, whatever happens in what order.
    #[test]
    fn whatever_happens_the_rules_hold(steps in proptest::collection::vec(step(), 1..200)) {
        let mut bench = Bench::three();
        let mut open: Vec<Lease> = Vec::new();
        for step in steps {
            apply(&mut bench, &mut open, &step);
            check_rules(&mut bench);
        }
        drop(open);
        for target in 0..3 {
            prop_assert_eq!(bench.pool.view(target, bench.now).unwrap().in_flight, 0);
        }
    }
}

fn apply(bench: &mut Bench, open: &mut Vec<Lease>, step: &Step) {
    let mut take = |index: usize| (index < open.len()).then(|| open.swap_remove(index));
    let now = bench.now;
    match *step {
        Step::Dispatch(timing) => {
            if let Ok((target, _)) = bench.picked() {
                open.push(bench.pool.dispatch(target, timing, now).unwrap());
            }
        }
        Step::FirstToken(index) => {
            take(index).map(|lease| lease.first_token(now));
        }
        Step::Answered(index) => {
            take(index).map(Lease::answered);
        }
        Step::Failed(index) => {
            take(index).map(|lease| lease.failed(now));
        }
        Step::Limited(index, ms) => {
            take(index).map(|lease| lease.limited(ms.map(Duration::from_millis), now));
        }
        Step::TimedOut(index) => {
            take(index).map(|lease| lease.timed_out(now));
        }
        Step::Cancelled(index) => {
            take(index).map(|lease| lease.cancelled(now));
        }
        Step::Dropped(index) => drop(take(index)),
        Step::Probed(target, ms) => {
            let outcome = ProbeOutcome::FirstToken(Duration::from_millis(ms));
            bench.pool.probed(target, outcome, now, now);
        }
        Step::Pass(ms) => bench.pass(Duration::from_millis(ms).as_secs_f64()),
        Step::Tick => drop(bench.pool.tick(now)),
    }
}

fn check_rules(bench: &mut Bench) {
    let views: Vec<_> = (0..3).map(|t| bench.pool.view(t, bench.now).unwrap()).collect();
    for view in &views {
        assert!(view.score_ms.is_finite() && view.score_ms >= 0.0, "{view:?}");
        assert!((0.0..2.0).contains(&view.strikes), "two strikes are a degradation: {view:?}");
        assert!(view.limited <= Duration::from_mins(2), "{view:?}");
    }
    let free = |v: &&View| v.limited.is_zero() && !v.blocked;
    match bench.picked() {
        Ok((target, why)) => {
            let view = &views[target];
            assert!(free(&view), "a limited target was picked: {view:?}");
            let healthy = views.iter().filter(free).any(|v| v.state == State::Healthy);
            assert_eq!(view.state == State::Healthy, healthy, "{views:?}");
            assert_eq!(why == Why::AllDegraded, !healthy);
        }
        Err(none) => {
            assert_eq!(views.iter().filter(free).count(), 0);
            assert!(matches!(none, NoTarget::AllLimited(wait) if !wait.is_zero()));
        }
    }
}
