//! What a pool has learned, handed from one process to the next: how much of it counts, and that nothing that a
//! file may hold does harm.

use super::lookout::{degrade, warm};
use super::{Bench, changed, spec};
use firstlight::routing::{
    Backing, Change, LearnedBase, LearnedNorm, LearnedPool, LearnedScore, LearnedSize,
    LearnedTarget, LearnedTotal, ProbeOutcome, Recalled, Settings, State, Timing,
};
use firstlight::time::Time;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);

/// A new process, a second after its start, that starts with a record of that age.
fn next(settings: Settings, learned: &LearnedPool, age: Duration) -> (Bench, Recalled) {
    let mut bench = Bench::three(settings);
    bench.now = Time::at(Duration::from_secs(1));
    let recalled = bench.pool.recall(learned, age, bench.now);
    (bench, recalled)
}

fn through_json(learned: &LearnedPool) -> LearnedPool {
    serde_json::from_str(&serde_json::to_string(learned).unwrap()).unwrap()
}

/// Of a hundred requests that are answered in a second, those that went to target 0.
fn sent_to_first(bench: &mut Bench) -> usize {
    let sent = (0..100).filter(|_| {
        let target = bench.picked().unwrap().0;
        bench.answer(target, 1000);
        bench.pool.tick(bench.now);
        target == 0
    });
    sent.count()
}

#[test]
fn a_restart_sends_no_request_to_a_region_that_was_degraded() {
    let mut before = warm();
    degrade(&mut before, 0);
    let learned = through_json(&before.pool.learned(before.now));
    let (mut bench, recalled) = next(Settings::lookout(), &learned, MINUTE);
    assert_eq!(recalled, Recalled { targets: 3, degraded: vec![0] });
    assert_eq!(bench.state(0), State::Degraded);
    assert_eq!(bench.pool.probes_due(bench.now), vec![0], "at once");
    assert_eq!(sent_to_first(&mut bench), 0);

    let (mut cold, _) = next(Settings::lookout(), &LearnedPool::default(), MINUTE);
    assert!(sent_to_first(&mut cold) > 10, "without what was learned a third go there");
}

#[test]
fn a_degraded_target_comes_back_by_its_probes() {
    let mut before = warm();
    degrade(&mut before, 0);
    let (bench, _) = next(Settings::lookout(), &before.pool.learned(before.now), MINUTE);
    let good = ProbeOutcome::FirstToken(Duration::from_millis(900));
    assert_eq!(bench.probe(0, good), None);
    assert_eq!(bench.probe(0, good), changed(0, Change::Recovering));
    assert!((bench.score(0) - 1000.0).abs() < 50.0, "{}", bench.score(0));
}

#[test]
fn a_recovering_target_begins_its_ramp_anew() {
    let mut before = warm();
    degrade(&mut before, 0);
    let good = ProbeOutcome::FirstToken(Duration::from_millis(900));
    before.probe(0, good);
    before.probe(0, good);
    before.pass(29.0);
    let learned = before.pool.learned(before.now);
    let (mut bench, recalled) = next(Settings::lookout(), &learned, Duration::ZERO);
    assert_eq!((bench.state(0), recalled.degraded), (State::Recovering, vec![]));
    bench.pass(29.9);
    assert_eq!(bench.pool.tick(bench.now), vec![]);
    bench.pass(0.1);
    assert_eq!(bench.pool.tick(bench.now).len(), 1);
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn a_record_tells_less_the_older_it_is() {
    let mut before = warm();
    degrade(&mut before, 0);
    let learned = before.pool.learned(before.now);
    let of_age = |age| next(Settings::lookout(), &learned, age).0;
    let nanosecond = Duration::from_nanos(1);

    assert_eq!(of_age(10 * MINUTE).state(0), State::Degraded);
    let stale = of_age(10 * MINUTE + nanosecond);
    assert_eq!(stale.state(0), State::Healthy);
    assert!((stale.score(0) - 1000.0).abs() < 50.0, "its base, not its score: {}", stale.score(0));
    assert!(stale.view(0).base_ms.is_some());
    let day = Duration::from_hours(24);
    assert!(of_age(day).view(0).base_ms.is_some());
    let old = of_age(day + nanosecond);
    assert_eq!(old.view(0).base_ms, None);
    assert_eq!(old.pool.learned(old.now).norm.samples, 0);
}

#[test]
fn what_is_normal_is_known_from_the_first_request_on() {
    let before = warm();
    let (bench, _) = next(Settings::lookout(), &before.pool.learned(before.now), 60 * MINUTE);
    let due = |bench: &Bench| {
        let lease = bench.lease(0);
        lease.next_deadline().unwrap().since(bench.now).as_secs_f64()
    };
    assert!((due(&bench) - due(&before)).abs() < 0.001, "{} {}", due(&bench), due(&before));
    assert!(due(&bench) < 3.0, "a cold one waits four seconds");
}

#[test]
fn a_score_goes_on_to_decay_as_if_nothing_had_happened() {
    let mut before = warm();
    for _ in 0..5 {
        before.answer(1, 1900);
    }
    let learned = before.pool.learned(before.now);
    let high = before.score(1);
    for seconds in [0, 20, 60, 300] {
        let (mut bench, _) = next(Settings::lookout(), &learned, Duration::from_secs(seconds));
        bench.pass(30.0);
        let now = before.now + Duration::from_secs(seconds + 30);
        let expected = before.pool.view(1, now).unwrap().score_ms;
        assert!((bench.score(1) - expected).abs() < 1e-6, "{seconds} s: {}", bench.score(1));
        assert!(expected < high);
    }
}

#[test]
fn a_rest_lasts_as_long_as_it_would_have() {
    let before = warm();
    for _ in 0..2 {
        before.lease(2).limited(Some(Duration::from_secs(90)), before.now);
    }
    let learned = before.pool.learned(before.now);
    let left =
        |age| next(Settings::lookout(), &learned, Duration::from_secs(age)).0.view(2).limited;
    assert_eq!(left(0), Duration::from_secs(90));
    assert_eq!(left(30), MINUTE);
    assert_eq!(left(90), Duration::ZERO);
}

/// A state file of a version that knew no sizes.
#[test]
fn a_record_without_a_size_is_of_every_size() {
    let mut record =
        serde_json::to_value(LearnedTarget { limited_ms: 9, ..LearnedTarget::default() });
    record.as_mut().unwrap().as_object_mut().unwrap().remove("limited_tokens").unwrap();
    let read: LearnedTarget = serde_json::from_value(record.unwrap()).unwrap();
    assert_eq!((read.limited_ms, read.limited_tokens), (9, 0));
}

#[test]
fn what_this_process_has_seen_itself_is_not_overwritten() {
    let mut before = warm();
    degrade(&mut before, 0);
    before.lease(0).limited(None, before.now);
    let learned = before.pool.learned(before.now);
    let mut bench = Bench::three(Settings::lookout());
    bench.answer(0, 300);
    let own = bench.pool.learned(bench.now);
    let recalled = bench.pool.recall(&learned, Duration::ZERO, bench.now);
    assert_eq!(recalled, Recalled { targets: 2, degraded: vec![] });
    let now = bench.pool.learned(bench.now);
    assert_eq!((now.targets["a"], &now.norm), (own.targets["a"], &own.norm));
    assert_eq!(now.targets["b"].base, learned.targets["b"].base);
    assert_eq!(bench.pool.recall(&learned, Duration::ZERO, bench.now), Recalled::default());
}

#[test]
fn a_target_is_known_by_its_backend_and_others_are_ignored() {
    let before = warm();
    let learned = before.pool.learned(before.now);
    let mut bench = Bench::of(Settings::lookout(), vec![spec("new", 1, 1), spec("c", 0, 5)]);
    bench.now = Time::ZERO;
    let recalled = bench.pool.recall(&learned, Duration::ZERO, bench.now);
    assert_eq!(recalled.targets, 1);
    assert_eq!(bench.view(0).base_ms, None);
    assert!((bench.view(1).base_ms.unwrap() - before.view(2).base_ms.unwrap()).abs() < 1e-9);
}

#[test]
fn a_flag_lasts_as_long_as_it_would_have_and_a_change_of_policy_finds_a_way_back() {
    let mut before = Bench::three(Settings::ema());
    before.answer(0, 9000);
    before.answer(0, 9000);
    assert_eq!(before.state(0), State::Degraded);
    before.pass(600.0);
    let learned = through_json(&before.pool.learned(before.now));
    let (mut bench, _) = next(Settings::ema(), &learned, 4 * MINUTE);
    assert_eq!(bench.state(0), State::Degraded);
    bench.pass(59.9);
    assert_eq!(bench.state(0), State::Degraded);
    bench.pass(0.1);
    assert_eq!(bench.state(0), State::Healthy, "900 s in all");
    assert_eq!(next(Settings::ema(), &learned, 5 * MINUTE).0.state(0), State::Healthy);

    let (bench, _) = next(Settings::lookout(), &learned, MINUTE);
    assert_eq!((bench.state(0), bench.pool.probes_due(bench.now)), (State::Degraded, vec![0]));
    assert_eq!(next(Settings::round_robin(), &learned, MINUTE).0.state(0), State::Healthy);

    let mut before = warm();
    degrade(&mut before, 0);
    let learned = before.pool.learned(before.now);
    let (mut bench, _) = next(Settings::ema(), &learned, MINUTE);
    assert_eq!(bench.state(0), State::Degraded);
    bench.pass(900.0);
    assert_eq!(bench.state(0), State::Healthy, "a flag of its own");
}

#[test]
fn what_is_usual_of_whole_responses_outlives_the_process() {
    let mut bench = Bench::three(Settings::lookout());
    for _ in 0..100 {
        let lease = bench.pool.dispatch(0, bench.ask(Timing::Untimed, 700), bench.now).unwrap();
        bench.pass(2.0);
        lease.answered(bench.now);
    }
    let due = |bench: &Bench| {
        let lease = bench.pool.dispatch(1, bench.ask(Timing::Untimed, 700), bench.now).unwrap();
        lease.next_deadline().unwrap().since(bench.now).as_secs_f64()
    };
    let learned = bench.pool.learned(bench.now);
    let (after, _) = next(Settings::lookout(), &through_json(&learned), MINUTE);
    assert!((due(&after) - due(&bench)).abs() < 1e-6);
    // A file of a former version knows only what is usual of all of them.
    let mut written = serde_json::to_value(&learned).unwrap();
    written["norm"].as_object_mut().unwrap().remove("classes").unwrap();
    let (after, _) = next(Settings::lookout(), &serde_json::from_value(written).unwrap(), MINUTE);
    assert!((due(&after) - 32.0).abs() < 1e-6, "16 times, until its class is known");
}

/// One thing that may happen to a target.
#[derive(Clone, Debug)]
enum Step {
    Answer(usize, u64, u64),
    Fail(usize),
    Limit(usize, u64),
    Whole(usize, u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let target = 0..3_usize;
    prop_oneof![
        8 => (target.clone(), 200..12_000_u64, 0..100_000_u64).prop_map(|(t, ms, n)| Step::Answer(t, ms, n)),
        2 => target.clone().prop_map(Step::Fail),
        1 => (target.clone(), 0..100_000_u64).prop_map(|(t, ms)| Step::Limit(t, ms)),
        1 => (target, 200..60_000_u64).prop_map(|(t, ms)| Step::Whole(t, ms)),
        2 => (0..120_000_u64).prop_map(Step::Pass),
    ]
}

fn happen(bench: &mut Bench, steps: &[Step]) {
    for step in steps {
        let (target, ms, ask) = match *step {
            Step::Answer(t, ms, tokens) => (t, ms, bench.ask(Timing::FirstToken, tokens)),
            Step::Whole(t, ms) => (t, ms, bench.ask(Timing::Untimed, 700)),
            Step::Fail(t) | Step::Limit(t, _) => (t, 0, bench.ask(Timing::FirstToken, 700)),
            Step::Pass(ms) => {
                bench.now = bench.now + Duration::from_millis(ms);
                bench.pool.tick(bench.now);
                continue;
            }
        };
        let mut lease = bench.pool.dispatch(target, ask, bench.now).unwrap();
        bench.now = bench.now + Duration::from_millis(ms);
        while lease.next_deadline().is_some_and(|due| due <= bench.now) {
            lease.overdue(bench.now);
        }
        let now = bench.now;
        let event = match step {
            Step::Fail(_) => lease.failed(Backing::Elsewhere, now).event,
            Step::Limit(_, ms) => lease.limited(Some(Duration::from_millis(*ms)), now),
            Step::Whole(..) => {
                lease.answered(now);
                None
            }
            Step::Answer(..) | Step::Pass(_) => lease.first_token(now),
        };
        assert!(event.is_none_or(|event| event.target == target));
        bench.pool.tick(bench.now);
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

/// Scores decay meanwhile; what counts of them is compared by the views.
fn without_scores(pool: &LearnedPool) -> LearnedPool {
    let mut pool = pool.clone();
    pool.targets.values_mut().for_each(|target| target.score = None);
    pool
}

/// The same but for the last digit, which decimals may cost.
fn check_same(a: &LearnedPool, b: &LearnedPool) -> Result<(), TestCaseError> {
    let norm = |pool: &LearnedPool| {
        let samples: Vec<_> = pool.norm.sizes.iter().map(|(k, s)| (k.clone(), s.samples)).collect();
        let classes: Vec<_> =
            pool.norm.classes.iter().map(|(k, c)| (k.clone(), c.samples)).collect();
        (samples, classes, pool.norm.samples, pool.norm.totals)
    };
    prop_assert_eq!(norm(a), norm(b));
    prop_assert!(near(a.norm.late_mult, b.norm.late_mult));
    prop_assert!(near(a.norm.ln_total_ms, b.norm.ln_total_ms));
    for (x, y) in a.norm.classes.values().zip(b.norm.classes.values()) {
        prop_assert!(near(x.ln_ms, y.ln_ms) && near(x.late_mult, y.late_mult), "{x:?} {y:?}");
    }
    for (x, y) in a.norm.sizes.values().zip(b.norm.sizes.values()) {
        prop_assert!(near(x.ln_factor, y.ln_factor));
    }
    prop_assert!(a.targets.keys().eq(b.targets.keys()));
    for (x, y) in a.targets.values().zip(b.targets.values()) {
        let plain =
            |t: &LearnedTarget| (t.base.map(|b| b.samples), t.state, t.flag_left_ms, t.limited_ms);
        prop_assert_eq!(plain(x), plain(y));
        if let (Some(x), Some(y)) = (x.base, y.base) {
            prop_assert!(near(x.ln_ms, y.ln_ms) && near(x.spread, y.spread), "{x:?} {y:?}");
        }
        prop_assert_eq!(x.score.map(|s| s.age_ms), y.score.map(|s| s.age_ms));
        if let (Some(x), Some(y)) = (x.score, y.score) {
            prop_assert!(near(x.ms, y.ms), "{x:?} {y:?}");
        }
    }
    Ok(())
}

fn settings() -> impl Strategy<Value = Settings> {
    prop_oneof![Just(Settings::lookout()), Just(Settings::ema()), Just(Settings::round_robin()),]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![proptest::num::f64::ANY, -20.0..20.0_f64, 0.0..10_000.0_f64]
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), 0..300_u32, Just(u32::MAX)]
}

fn span() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..1_000_000_u64]
}

fn any_target() -> impl Strategy<Value = LearnedTarget> {
    let base = (float(), float(), count()).prop_map(|(ln_ms, spread, samples)| LearnedBase {
        ln_ms,
        spread,
        samples,
    });
    let score = (float(), span()).prop_map(|(ms, age_ms)| LearnedScore { ms, age_ms });
    let states = [State::Healthy, State::Degraded, State::Recovering];
    let parts = (
        proptest::option::of(base),
        proptest::option::of(score),
        proptest::sample::select(states.to_vec()),
        proptest::option::of(span()),
        span(),
    );
    parts.prop_map(|(base, score, state, flag_left_ms, limited_ms)| LearnedTarget {
        base,
        score,
        state,
        flag_left_ms,
        limited_ms,
        limited_tokens: 700,
    })
}

fn any_pool() -> impl Strategy<Value = LearnedPool> {
    let size =
        (float(), count()).prop_map(|(ln_factor, samples)| LearnedSize { ln_factor, samples });
    let sizes = proptest::collection::btree_map("(0|256|512|1k|2k|64k|nonsense)", size, 0..7);
    let class = (float(), float(), count()).prop_map(|(ln_ms, late_mult, samples)| LearnedTotal {
        ln_ms,
        late_mult,
        samples,
    });
    let classes = proptest::collection::btree_map("(other|chat|chat 32|nonsense)", class, 0..4);
    let norm = ((sizes, classes), count(), float(), float(), count());
    let targets = proptest::collection::btree_map("[abcz]", any_target(), 0..4);
    (norm, targets).prop_map(
        |(((sizes, classes), samples, late_mult, ln_total_ms, totals), targets)| {
            let norm = LearnedNorm { sizes, samples, late_mult, ln_total_ms, totals, classes };
            LearnedPool { norm, targets }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Whatever has happened: the next process knows the same, and the one after it, too.
    #[test]
    fn what_is_handed_on_is_what_was_known(
        steps in proptest::collection::vec(step(), 0..200),
        settings in settings(),
    ) {
        let mut first = Bench::three(settings.clone());
        happen(&mut first, &steps);
        let learned = first.pool.learned(first.now);
        let (second, recalled) = next(settings.clone(), &through_json(&learned), Duration::ZERO);
        prop_assert_eq!(recalled.targets, 3);
        let again = second.pool.learned(second.now);
        check_same(&without_scores(&learned), &without_scores(&again))?;
        for target in 0..3 {
            let (was, is) = (first.score(target), second.score(target));
            prop_assert!(near(was, is), "score of {target}: {was}, now {is}");
        }
        let (third, _) = next(settings, &through_json(&again), Duration::ZERO);
        check_same(&again, &third.pool.learned(third.now))?;
    }

    /// Whatever a file may hold: the invariants hold, which every change checks, and it goes on as usual.
    #[test]
    fn garbage_does_no_harm(
        learned in any_pool(),
        age in prop_oneof![any::<u64>(), 0..700_u64],
        settings in settings(),
        steps in proptest::collection::vec(step(), 0..40),
    ) {
        let (mut bench, _) = next(settings, &learned, Duration::from_secs(age));
        check_sane(&bench)?;
        bench.pool.tick(bench.now);
        happen(&mut bench, &steps);
        check_sane(&bench)?;
        let written = bench.pool.learned(bench.now);
        prop_assert_eq!(&through_json(&written).targets.len(), &3);
    }
}

fn check_sane(bench: &Bench) -> Result<(), TestCaseError> {
    for target in 0..3 {
        let view = bench.view(target);
        prop_assert!(view.score_ms.is_finite() && view.score_ms >= 0.0, "{view:?}");
        let day = 86_400_001.0;
        prop_assert!(view.base_ms.is_none_or(|ms| ms > 0.0 && ms < day), "{view:?}");
        prop_assert!(view.limited <= Duration::from_mins(2), "{view:?}");
        let lease = bench.lease(target);
        prop_assert!(lease.next_deadline().is_none_or(|due| due > bench.now));
        lease.cancelled(bench.now);
    }
    let overview = bench.pool.overview(bench.now);
    prop_assert!((1.6..=4.0).contains(&overview.late_mult), "{overview:?}");
    let known: BTreeMap<_, _> = bench.pool.learned(bench.now).targets;
    prop_assert_eq!(known.len(), 3);
    Ok(())
}
