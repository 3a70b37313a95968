//! Whatever happens in whatever order, under either policy: leases do not leak, what is counted is what is
//! open, scores stay finite, picks keep the rules.

use super::{Bench, spec};
use firstlight::routing::{
    Backing, Lease, NoTarget, Policy, ProbeOutcome, Settings, State, TargetSpec, Timing, View, Why,
};
use proptest::prelude::*;
use std::time::Duration;

/// One thing that may happen.
#[derive(Clone, Debug)]
enum Step {
    Dispatch(Timing, u64),
    Overdue,
    FirstToken(usize),
    Answered(usize),
    Failed(usize),
    Limited(usize, Option<u64>),
    TimedOut(usize),
    Cancelled(usize),
    Lost(usize),
    Dropped(usize),
    Probed(usize, u64),
    ProbeFailed(usize),
    BrokeOff(usize),
    Completed(usize),
    Pass(u64),
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let lease = 0..8_usize;
    let target = 0..3_usize;
    let timing = prop_oneof![3 => Just(Timing::FirstToken), 1 => Just(Timing::Untimed)];
    prop_oneof![
        6 => (timing, 0..100_000_u64).prop_map(|(t, tokens)| Step::Dispatch(t, tokens)),
        4 => Just(Step::Overdue),
        5 => lease.clone().prop_map(Step::FirstToken),
        1 => lease.clone().prop_map(Step::Answered),
        1 => lease.clone().prop_map(Step::Failed),
        1 => (lease.clone(), proptest::option::of(0..200_000_u64)).prop_map(|(l, ms)| Step::Limited(l, ms)),
        1 => lease.clone().prop_map(Step::TimedOut),
        1 => lease.clone().prop_map(Step::Cancelled),
        1 => lease.clone().prop_map(Step::Lost),
        1 => lease.prop_map(Step::Dropped),
        2 => (target.clone(), 0..20_000_u64).prop_map(|(t, ms)| Step::Probed(t, ms)),
        1 => target.clone().prop_map(Step::ProbeFailed),
        1 => target.clone().prop_map(Step::BrokeOff),
        1 => target.prop_map(Step::Completed),
        5 => (0..30_000_u64).prop_map(Step::Pass),
        5 => (0..1_500_u64).prop_map(Step::Pass),
        2 => Just(Step::Tick),
    ]
}

/// A lease, and what the shadow knows of it.
struct Open {
    lease: Lease,
    timing: Timing,
    late: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn whatever_happens_the_rules_hold(
        steps in proptest::collection::vec(step(), 1..300),
        lookout in any::<bool>(),
        seats in [0..4_u32, 0..4_u32, 0..4_u32],
    ) {
        let settings = if lookout { Settings::lookout() } else { Settings::ema() };
        let most = seats.map(|most| if most == 0 { None } else { Some(most) });
        let spec = |(n, max_in_flight): (usize, Option<u32>)| TargetSpec {
            max_in_flight,
            ..spec(["a", "b", "c"][n], 1, 1)
        };
        let mut bench = Bench::of(settings, most.into_iter().enumerate().map(spec).collect());
        let mut open: Vec<Open> = Vec::new();
        for step in steps {
            apply(&mut bench, &mut open, &step);
            check_counts(&bench, &open);
            check_rules(&mut bench);
        }
        drop(open);
        check_counts(&bench, &[]);
    }
}

fn apply(bench: &mut Bench, open: &mut Vec<Open>, step: &Step) {
    let mut take = |index: usize| (index < open.len()).then(|| open.swap_remove(index).lease);
    let now = bench.now;
    match *step {
        Step::Dispatch(timing, tokens) => {
            if let Ok((target, _)) = bench.picked() {
                let ask = bench.ask(timing, tokens);
                bench.pool.admit(&ask, now);
                let lease = bench.pool.dispatch(target, ask, now).unwrap();
                open.push(Open { lease, timing, late: false });
            }
        }
        Step::Overdue => {
            for open in open.iter_mut() {
                while open.lease.next_deadline().is_some_and(|due| due <= now) {
                    let overdue = open.lease.overdue(now);
                    let known =
                        open.timing == Timing::FirstToken || open.lease.next_deadline().is_some();
                    let streamed = open.timing == Timing::FirstToken;
                    open.late |= streamed || overdue.hedge.is_some() && known;
                }
            }
        }
        Step::FirstToken(index) => {
            take(index).map(|lease| lease.first_token(now));
        }
        Step::Answered(index) => {
            take(index).map(|lease| lease.answered(now));
        }
        Step::Failed(index) => {
            take(index).map(|lease| lease.failed(Backing::Elsewhere, now));
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
        Step::Lost(index) => {
            take(index).map(|lease| lease.lost(now));
        }
        Step::Dropped(index) => drop(take(index)),
        Step::Probed(target, ms) => {
            bench.probe(target, ProbeOutcome::FirstToken(Duration::from_millis(ms)));
        }
        Step::ProbeFailed(target) => drop(bench.probe(target, ProbeOutcome::Failed)),
        Step::BrokeOff(target) => drop(bench.pool.broke_off(target, now.nanos(), now)),
        Step::Completed(target) => bench.pool.completed(target),
        Step::Pass(ms) => bench.pass(Duration::from_millis(ms).as_secs_f64()),
        Step::Tick => drop(bench.pool.tick(now)),
    }
}

/// What a target counts is what the shadow has open.
fn check_counts(bench: &Bench, open: &[Open]) {
    for target in 0..3 {
        let here = || open.iter().filter(|o| o.lease.target() == target);
        let view = bench.view(target);
        assert_eq!(usize::try_from(view.seats).unwrap(), here().count());
        let waiting = here().filter(|o| o.timing == Timing::FirstToken).count();
        assert_eq!(usize::try_from(view.in_flight).unwrap(), waiting);
        let late = here().filter(|o| o.late && o.timing == Timing::FirstToken).count();
        assert_eq!(usize::try_from(view.late).unwrap(), late);
        let whole = || here().filter(|o| o.timing == Timing::Untimed);
        let counted = (whole().count(), whole().filter(|o| o.late).count());
        let (open, late) = view.whole;
        assert_eq!((usize::try_from(open).unwrap(), usize::try_from(late).unwrap()), counted);
    }
}

fn check_rules(bench: &mut Bench) {
    let views: Vec<_> = (0..3).map(|t| bench.view(t)).collect();
    for view in &views {
        assert!(view.score_ms.is_finite() && view.score_ms >= 0.0, "{view:?}");
        assert!(view.base_ms.is_none_or(|base| base.is_finite() && base > 0.0), "{view:?}");
        assert!((0.0..=3.0 + 1e-9).contains(&view.strikes), "{view:?}");
        assert!(view.limited <= Duration::from_mins(2), "{view:?}");
    }
    let policy = bench.pool.settings().policy;
    let lookout = policy == Policy::Lookout;
    let out = |slow: bool| {
        let is_out = |v: &&View| v.state == State::Degraded && !(slow && v.failing);
        views.iter().filter(is_out).count()
    };
    assert!(!lookout || out(true) <= 1, "slow: at most half, one of three: {views:?}");
    assert!(!lookout || out(false) <= 2, "one stays: {views:?}");
    match bench.picked() {
        Ok(picked) => {
            assert!(!is_full(bench, picked.0), "a full target was picked");
            let open = (0..3).filter(|t| is_free(&views[*t]) && !is_full(bench, *t));
            let usable = open.filter(|t| views[*t].state != State::Degraded).count();
            check_pick(picked, (&views, usable), policy);
        }
        Err(none) => {
            let open = (0..3).filter(|t| is_free(&views[*t]));
            let full = open.clone().filter(|t| is_full(bench, *t)).count();
            assert_eq!(open.count(), full);
            match none {
                NoTarget::AllLimited(wait) => assert!(full == 0 && !wait.is_zero()),
                NoTarget::AllFull => assert!(full > 0),
                NoTarget::AllUsed | NoTarget::AllBlocked => panic!("{none:?}"),
            }
        }
    }
}

fn is_full(bench: &Bench, target: usize) -> bool {
    let most = bench.pool.spec(target).unwrap().max_in_flight;
    most.is_some_and(|most| bench.view(target).seats >= most)
}

fn is_free(view: &View) -> bool {
    // One that is paced has no place at some moments.
    view.limited.is_zero() && view.served_rate.is_none() && !view.blocks.any()
}

fn check_pick((target, why): (usize, Why), (views, usable): (&[View], usize), policy: Policy) {
    let lookout = policy == Policy::Lookout;
    let view = &views[target];
    assert!(!view.blocks.any(), "a blocked target was picked: {view:?}");
    assert_eq!(why == Why::Trickle, !view.limited.is_zero(), "only a trickle tries it: {view:?}");
    if why == Why::Trickle {
        assert!(view.state != State::Degraded, "{view:?}");
    } else if why == Why::Panic {
        assert!(lookout || usable == 0, "{views:?}");
    } else if why == Why::Overflow {
        assert!(lookout && view.state == State::Degraded);
    } else {
        assert_ne!(view.state, State::Degraded, "{views:?}");
    }
}
