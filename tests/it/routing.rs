//! The routing core on a virtual clock: what each outcome teaches, and what holds whatever happens.

use firstlight::rng::Rng;
use firstlight::routing::{
    Block, Cause, Change, Event, Lease, NoTarget, Policy, Pool, ProbeOutcome, RetryBudget,
    Settings, State, Switch, TargetSpec, Timing, Used, Why,
};
use firstlight::time::Time;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// A pool and a clock of its own.
struct Bench {
    pool: Arc<Pool>,
    now: Time,
    rng: Rng,
}

fn spec(backend: &str, tier: u32, weight: u32) -> TargetSpec {
    TargetSpec { backend: backend.into(), deployment: "d".into(), tier, weight }
}

impl Bench {
    fn of(settings: Settings, specs: Vec<TargetSpec>) -> Self {
        let pool = Arc::new(Pool::new(settings, specs, RetryBudget::new(0.1, 10), None));
        Self { pool, now: Time::at(Duration::from_hours(1)), rng: Rng::from_seed(7) }
    }

    fn three() -> Self {
        Self::of(Settings::default(), vec![spec("a", 1, 1), spec("b", 1, 1), spec("c", 1, 1)])
    }

    fn pass(&mut self, seconds: f64) {
        self.now = self.now + Duration::from_secs_f64(seconds);
    }

    fn lease(&self, target: usize) -> Lease {
        self.pool.dispatch(target, Timing::FirstToken, self.now).unwrap()
    }

    /// An answer on `target` that takes `ms`; time passes with it.
    fn answer(&mut self, target: usize, ms: u64) -> Option<Event> {
        let lease = self.lease(target);
        self.now = self.now + Duration::from_millis(ms);
        lease.first_token(self.now)
    }

    fn fail(&mut self, target: usize) -> Option<Event> {
        self.lease(target).failed(self.now)
    }

    fn picked(&mut self) -> Result<(usize, Why), NoTarget> {
        self.pool.pick(&Used::default(), self.now, &mut self.rng).map(|p| (p.target, p.why))
    }

    fn state(&self, target: usize) -> State {
        self.pool.view(target, self.now).unwrap().state
    }

    fn score(&self, target: usize) -> f64 {
        self.pool.view(target, self.now).unwrap().score_ms
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what it is compared with is an option")]
fn changed(target: usize, change: Change) -> Option<Event> {
    Some(Event { target, change })
}

#[test]
fn the_score_is_the_moving_average_and_the_lowest_wins() {
    let mut bench = Bench::three();
    bench.answer(0, 2000);
    assert!((bench.score(0) - 1300.0).abs() < 1e-6, "0.3 x 2000 + 0.7 x 1000");
    bench.answer(1, 500);
    assert!((bench.score(1) - 850.0).abs() < 1e-6);
    bench.answer(2, 900);
    assert_eq!(bench.picked(), Ok((1, Why::LowestScore)));
}

#[test]
fn a_score_that_nobody_refreshes_counts_as_the_default_after_its_time() {
    let mut bench = Bench::three();
    bench.answer(0, 5000);
    bench.pass(599.0);
    assert!(bench.score(0) > 2000.0);
    bench.pass(2.0);
    assert!((bench.score(0) - 1000.0).abs() < 1e-6);
}

#[test]
fn two_slow_answers_in_a_row_degrade_and_a_good_one_between_forgives() {
    let mut bench = Bench::three();
    assert_eq!(bench.answer(0, 8000), None);
    bench.answer(0, 2999);
    assert_eq!(bench.answer(0, 9000), None, "the good answer took the first strike back");
    assert_eq!(bench.answer(0, 8000), changed(0, Change::Degraded(Cause::Slow)));
    assert_eq!(bench.state(0), State::Degraded);
}

#[test]
fn an_answer_between_clear_and_trip_neither_counts_nor_forgives() {
    let mut bench = Bench::three();
    bench.answer(0, 8000);
    bench.answer(0, 5000);
    assert_eq!(bench.answer(0, 8000), changed(0, Change::Degraded(Cause::Slow)));
}

#[test]
fn three_errors_degrade_and_teach_no_latency() {
    let mut bench = Bench::three();
    let before = bench.score(0);
    assert_eq!((bench.fail(0), bench.fail(0)), (None, None));
    assert!((bench.score(0) - before).abs() < f64::EPSILON, "an error is not a fast answer");
    assert_eq!(bench.fail(0), changed(0, Change::Degraded(Cause::Errors)));
}

#[test]
fn strikes_grow_old() {
    let mut bench = Bench::three();
    bench.answer(0, 8000);
    bench.pass(901.0);
    assert_eq!(bench.answer(0, 8000), None, "the first strike is void");
    assert_eq!(bench.answer(0, 8000), changed(0, Change::Degraded(Cause::Slow)));
}

#[test]
fn a_good_answer_that_is_not_streamed_forgives_errors_and_nothing_else() {
    let mut bench = Bench::three();
    bench.fail(0);
    bench.fail(0);
    let lease = bench.pool.dispatch(0, Timing::Untimed, bench.now).unwrap();
    assert_eq!(bench.pool.view(0, bench.now).unwrap().in_flight, 0, "it waits for no first token");
    lease.answered();
    assert_eq!((bench.fail(0), bench.fail(0)), (None, None));
    assert!((bench.score(0) - 1000.0).abs() < 1e-6);
}

#[test]
fn a_request_that_failed_everywhere_is_forgiven() {
    let mut bench = Bench::three();
    for _ in 0..20 {
        for target in 0..3 {
            assert_eq!(bench.fail(target), None);
        }
        (0..3).for_each(|target| bench.pool.forgive_error(target));
    }
}

#[test]
fn degradation_ends_with_its_time_a_good_answer_or_a_good_probe() {
    let degraded = || {
        let mut bench = Bench::three();
        bench.answer(0, 9000);
        bench.answer(0, 9000);
        bench
    };
    let mut bench = degraded();
    bench.pass(899.0);
    assert_eq!((bench.state(0), bench.pool.tick(bench.now)), (State::Degraded, vec![]));
    bench.pass(1.0);
    assert_eq!(bench.state(0), State::Healthy);
    assert_eq!(bench.pool.tick(bench.now), vec![Event { target: 0, change: Change::Recovered }]);
    assert_eq!(bench.pool.tick(bench.now), vec![], "told once");

    let mut bench = degraded();
    assert_eq!(bench.answer(0, 1000), changed(0, Change::Recovered));
    assert!((bench.score(0) - 1000.0).abs() < 1e-6, "the score of the bad time is gone");

    let bench = degraded();
    let probe = ProbeOutcome::FirstToken(Duration::from_millis(700));
    assert_eq!(bench.pool.probed(0, probe, bench.now, bench.now), changed(0, Change::Recovered));
    let bench = degraded();
    let probe = ProbeOutcome::FirstToken(Duration::from_secs(3));
    assert_eq!(bench.pool.probed(0, probe, bench.now, bench.now), None, "not under clear_ms");
    assert_eq!(bench.state(0), State::Degraded);
}

#[test]
fn slow_answers_sent_before_a_recovery_are_old_news() {
    let mut bench = Bench::three();
    bench.answer(0, 9000);
    bench.answer(0, 9000);
    let (one, two) = (bench.lease(0), bench.lease(0));
    bench.pass(5.0);
    bench.answer(0, 500);
    bench.pass(10.0);
    assert_eq!((one.first_token(bench.now), two.first_token(bench.now)), (None, None));
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn a_time_out_is_a_slow_answer_and_a_client_that_leaves_is_no_strike() {
    let mut bench = Bench::three();
    let leases = [bench.lease(0), bench.lease(0)];
    let others = [bench.lease(1), bench.lease(1), bench.lease(1)];
    bench.pass(60.0);
    let events = leases.map(|lease| lease.timed_out(bench.now));
    assert_eq!(events, [None, changed(0, Change::Degraded(Cause::Slow))]);
    assert_eq!(others.map(|lease| lease.cancelled(bench.now)), [None; 3]);
    assert_eq!(bench.state(1), State::Healthy);
    assert!(bench.score(1) > 8000.0, "its wait is a lower bound: {}", bench.score(1));
    let young = bench.lease(2);
    bench.pass(1.0);
    young.cancelled(bench.now);
    assert!((bench.score(2) - 1000.0).abs() < 1e-6, "a young one says nothing");
}

#[test]
fn degraded_targets_are_used_when_nothing_better_is_left() {
    let mut bench = Bench::three();
    for target in 0..3 {
        bench.answer(target, 9000);
        bench.answer(target, 9000 + 500 * u64::try_from(target).unwrap());
    }
    assert_eq!(bench.picked(), Ok((0, Why::AllDegraded)));
    bench.lease(0).limited(Some(Duration::from_secs(30)), bench.now);
    assert_eq!(bench.picked(), Ok((1, Why::AllDegraded)), "limited ones never are");
}

#[test]
fn a_429_rests_doubles_and_never_strikes() {
    let mut bench = Bench::three();
    let rest = |asked: Option<u64>| match bench
        .lease(0)
        .limited(asked.map(Duration::from_millis), bench.now)
    {
        Some(Event { change: Change::Limited(wait), .. }) => wait.as_millis(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [rest(Some(0)), rest(Some(0)), rest(Some(0))],
        [1000, 2000, 4000],
        "at least 1 s, doubling"
    );
    assert_eq!(rest(None), 10_000, "none given: ten seconds");
    assert_eq!(rest(Some(86_400_000)), 120_000, "at most two minutes");
    assert_eq!(bench.pool.view(0, bench.now).unwrap().strikes.to_bits(), 0.0_f64.to_bits());
    bench.pass(121.0);
    bench.answer(0, 100);
    let event = bench.lease(0).limited(Some(Duration::ZERO), bench.now);
    assert_eq!(
        event,
        changed(0, Change::Limited(Duration::from_secs(1))),
        "a success between starts anew"
    );
}

#[test]
fn when_all_are_limited_the_first_to_return_is_told() {
    let mut bench = Bench::three();
    for (target, seconds) in [(0, 20), (1, 5), (2, 60)] {
        bench.lease(target).limited(Some(Duration::from_secs(seconds)), bench.now);
    }
    assert_eq!(bench.picked(), Err(NoTarget::AllLimited(Duration::from_secs(5))));
    assert!(!bench.pool.can_pick(&Used::default(), bench.now));
    bench.pass(5.0);
    assert_eq!(bench.picked(), Ok((1, Why::LowestScore)), "thinned, but the only one");
}

#[test]
fn a_target_returns_from_its_rest_little_by_little() {
    let mut bench = Bench::three();
    for t in 0..3 {
        bench.answer(t, if t == 0 { 100 } else { 900 });
    }
    bench.lease(0).limited(Some(Duration::from_secs(5)), bench.now);
    bench.pass(5.0);
    let share = |bench: &mut Bench| (0..1000).filter(|_| bench.picked().unwrap().0 == 0).count();
    let at_once = share(&mut bench);
    bench.pass(5.0);
    let half_way = share(&mut bench);
    bench.pass(5.0);
    assert_eq!(share(&mut bench), 1000);
    assert!((50..150).contains(&at_once) && (450..650).contains(&half_way), "{at_once} {half_way}");
}

#[test]
fn lower_tiers_come_first_and_blocked_ones_never() {
    let mut bench = Bench::of(Settings::default(), vec![spec("paid", 0, 1), spec("a", 1, 1)]);
    for _ in 0..5 {
        bench.answer(0, 2500);
    }
    assert_eq!(bench.picked(), Ok((0, Why::LowestScore)), "the tier counts before the score");
    bench.pool.set_block(0, Block::Drained, Switch::On);
    assert_eq!(bench.picked(), Ok((1, Why::LowestScore)));
    bench.pool.probed(1, ProbeOutcome::AuthFailed, bench.now, bench.now);
    assert_eq!(bench.picked(), Err(NoTarget::AllBlocked));
    assert!(!bench.pool.is_ready());
    bench.pool.probed(1, ProbeOutcome::FirstToken(Duration::from_millis(9)), bench.now, bench.now);
    assert_eq!(
        bench.picked(),
        Ok((1, Why::LowestScore)),
        "a probe that succeeds takes it out again"
    );
}

#[test]
fn a_request_never_meets_a_target_twice() {
    let mut bench = Bench::three();
    let mut used = Used::default();
    for _ in 0..3 {
        let picked = bench.pool.pick(&used, bench.now, &mut bench.rng).unwrap();
        assert!(!used.contains(picked.target));
        used.add(picked.target);
    }
    assert_eq!(bench.pool.pick(&used, bench.now, &mut bench.rng), Err(NoTarget::AllUsed));
}

#[test]
fn round_robin_takes_turns_by_weight() {
    let settings = Settings { policy: Policy::RoundRobin, ..Settings::default() };
    let mut bench = Bench::of(settings, vec![spec("a", 1, 5), spec("b", 1, 1), spec("c", 1, 1)]);
    let turns: Vec<usize> = (0..7).map(|_| bench.picked().unwrap().0).collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0], "interleaved, not in runs");
    for _ in 0..9 {
        bench.answer(0, 60_000);
    }
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn equal_scores_share_the_start() {
    let mut bench = Bench::three();
    let mut leases = Vec::new();
    for _ in 0..9 {
        let (target, _) = bench.picked().unwrap();
        leases.push(bench.lease(target));
    }
    for target in 0..3 {
        assert_eq!(bench.pool.view(target, bench.now).unwrap().in_flight, 3);
    }
}

#[test]
fn a_new_configuration_keeps_what_was_learned_by_name() {
    let mut bench = Bench::three();
    bench.answer(1, 9000);
    bench.answer(1, 9000);
    let specs = vec![spec("new", 1, 1), spec("b", 2, 1)];
    let next = Pool::new(Settings::default(), specs, RetryBudget::new(0.1, 10), Some(&bench.pool));
    assert_eq!(next.view(1, bench.now).unwrap().state, State::Degraded);
    assert_eq!(next.view(0, bench.now).unwrap().state, State::Healthy);
}

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
    let free = |v: &&firstlight::routing::View| v.limited.is_zero() && !v.blocked;
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
