//! `policy: lookout`: judged by what is expected, while answers are outstanding; led back by probes.

use super::{Bench, changed, spec};
use firstlight::routing::{
    Block, Cause, Change, Lease, ProbeOutcome, Settings, Size, State, Switch, Timing, TripBlocked,
    Urgency, Why,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Three targets that usually answer after a second, and are known to.
pub(super) fn warm() -> Bench {
    warmed(Bench::three(Settings::lookout()))
}

pub(super) fn warmed(mut bench: Bench) -> Bench {
    let targets = bench.pool.len();
    for n in 0..60 * targets {
        bench.answer(n % targets, 1000);
        bench.pool.tick(bench.now);
    }
    bench
}

/// Passes to the lease's next deadline; what follows from it.
pub(super) fn pass_deadline(bench: &mut Bench, lease: &mut Lease) -> firstlight::routing::Overdue {
    bench.now = lease.next_deadline().unwrap();
    lease.overdue(bench.now)
}

/// Takes `target` out by attempts that stay outstanding.
pub(super) fn degrade(bench: &mut Bench, target: usize) {
    let mut lease = bench.lease(target);
    let events: Vec<_> =
        std::iter::repeat_with(|| pass_deadline(bench, &mut lease).event).take(3).collect();
    assert!(events.iter().all(Option::is_none), "one request alone: 0.4 + 0.4 + 0.8");
    let mut second = bench.lease(target);
    let overdue = pass_deadline(bench, &mut second);
    assert_eq!(overdue.event, changed(target, Change::Degraded(Cause::Slow)));
    lease.cancelled(bench.now);
    second.cancelled(bench.now);
}

#[test]
fn an_answer_is_late_while_it_is_outstanding() {
    let mut bench = warm();
    let mut lease = bench.lease(0);
    let due = lease.next_deadline().unwrap().since(bench.now).as_secs_f64();
    assert!((1.6..=2.3).contains(&due), "about twice the usual second: {due}");
    assert_eq!(lease.overdue(bench.now), firstlight::routing::Overdue::default(), "not yet");
    let overdue = pass_deadline(&mut bench, &mut lease);
    assert!(overdue.hedge == Some(Urgency::Late) && overdue.confirm, "{overdue:?}");
    assert_eq!((bench.view(0).late, bench.view(0).in_flight), (1, 1));
    assert!((bench.view(0).strikes - 0.4).abs() < 1e-9);
    let at_trip = pass_deadline(&mut bench, &mut lease);
    assert!(at_trip.hedge.is_none() && !at_trip.confirm);
    assert!((bench.view(0).strikes - 0.8).abs() < 1e-9);
    let at_double = pass_deadline(&mut bench, &mut lease);
    assert_eq!(at_double.hedge, Some(Urgency::Stuck { on: 0 }), "a second one");
    assert!((bench.view(0).strikes - 1.6).abs() < 1e-9);
    let again = pass_deadline(&mut bench, &mut lease);
    assert_eq!(again.hedge, Some(Urgency::Stuck { on: 0 }), "it may be possible by now");
    assert!((bench.view(0).strikes - 1.6).abs() < 1e-9, "and is no new evidence");
    drop(lease);
    assert_eq!((bench.view(0).late, bench.view(0).in_flight), (0, 0));
}

#[test]
fn one_late_request_among_many_is_its_own_fault() {
    let mut bench = warm();
    let others: Vec<Lease> = (0..3).map(|_| bench.lease(0)).collect();
    let mut late = bench.lease(0);
    // The others are answered in time only after this one is late: they are young.
    bench.now = late.next_deadline().unwrap();
    let young: Vec<Lease> = (0..3).map(|_| bench.lease(0)).collect();
    for lease in others {
        lease.first_token(bench.now);
    }
    let before = bench.view(0).strikes;
    let overdue = late.overdue(bench.now);
    assert!(overdue.hedge.is_some() && !overdue.confirm, "{overdue:?}");
    assert!((bench.view(0).strikes - before).abs() < 1e-9, "one of four is not half");
    drop((late, young));
}

#[test]
fn a_second_request_to_a_bad_region_takes_it_out_before_any_answer_came() {
    let mut bench = warm();
    degrade(&mut bench, 0);
    assert_eq!(bench.state(0), State::Degraded);
    for _ in 0..200 {
        assert_ne!(bench.picked().unwrap().0, 0);
    }
}

#[test]
fn a_timer_that_comes_late_loses_no_evidence() {
    let mut bench = warm();
    let (one, two) = (bench.lease(0), bench.lease(0));
    bench.pass(30.0);
    assert_eq!(one.first_token(bench.now), None);
    assert_eq!(two.first_token(bench.now), changed(0, Change::Degraded(Cause::Slow)));
}

#[test]
fn a_time_out_before_any_deadline_is_evidence_all_the_same() {
    let mut bench = Bench::three(Settings::lookout());
    let leases = [bench.lease(0), bench.lease(0)];
    bench.pass(2.0);
    let events = leases.map(|lease| lease.timed_out(bench.now));
    assert_eq!(events, [None, changed(0, Change::Degraded(Cause::Slow))]);
}

#[test]
fn a_long_prompt_has_more_time_and_is_no_evidence() {
    let mut bench = warm();
    let ask = |bench: &Bench| bench.ask(Timing::FirstToken, 40_000);
    for n in 0..60 {
        let lease = bench.pool.dispatch(n % 3, ask(&bench), bench.now).unwrap();
        bench.pass(5.0);
        lease.first_token(bench.now);
    }
    bench.pool.tick(bench.now);
    let long = bench.pool.dispatch(0, ask(&bench), bench.now).unwrap();
    let due = long.next_deadline().unwrap().since(bench.now).as_secs_f64();
    assert!((8.0..14.0).contains(&due), "{due}");
    let view = bench.view(0);
    assert!((900.0..1150.0).contains(&view.base_ms.unwrap()), "{view:?}");
    assert!((900.0..1200.0).contains(&view.score_ms), "normalised: {view:?}");
    long.cancelled(bench.now);
}

#[test]
fn while_little_is_known_fixed_times_count() {
    let bench = Bench::three(Settings::lookout());
    let lease = bench.lease(0);
    assert_eq!(lease.next_deadline(), Some(bench.now + Duration::from_secs(4)));
    assert_eq!(bench.pool.expected_ms(0, Size::REFERENCE), None);
    drop(lease);
    let mut settings = Settings::lookout();
    settings.detect.trip_ms = 300.0;
    let bench = Bench::three(settings);
    let lease = bench.lease(0);
    assert_eq!(lease.next_deadline(), Some(bench.now + Duration::from_millis(300)), "D <= T");
}

#[test]
fn when_all_are_slow_nobody_is_taken_out() {
    let mut bench = warm();
    let mut leases: Vec<Lease> = (0..9).map(|n| bench.lease(n % 3)).collect();
    for _ in 0..3 {
        for lease in &mut leases {
            bench.now = bench.now.max(lease.next_deadline().unwrap());
            assert_eq!(lease.overdue(bench.now).event, None);
        }
    }
    let blocked = bench.pool.overview(bench.now).trips_blocked;
    assert!(blocked.0 > 0, "{blocked:?} {:?}", TripBlocked::Rest);
    bench.pool.tick(bench.now);
    assert_eq!(bench.picked().unwrap().1, Why::Panic, "all are suspect");
    for lease in leases {
        lease.first_token(bench.now);
    }
    bench.pool.tick(bench.now);
    assert!(bench.pool.overview(bench.now).all_slow);
}

#[test]
fn half_of_the_targets_may_be_out_and_no_more() {
    let mut bench = warm();
    degrade(&mut bench, 0);
    let mut leases: Vec<Lease> = (0..4).map(|_| bench.lease(1)).collect();
    for _ in 0..3 {
        for lease in &mut leases {
            bench.now = bench.now.max(lease.next_deadline().unwrap());
            assert_eq!(lease.overdue(bench.now).event, None);
        }
    }
    assert_eq!(bench.state(1), State::Healthy);
    assert!(bench.pool.overview(bench.now).trips_blocked.1 > 0);
}

#[test]
fn a_single_target_is_never_taken_out() {
    let mut bench = warmed(Bench::of(Settings::lookout(), vec![spec("a", 1, 1)]));
    for _ in 0..10 {
        assert_eq!(bench.answer(0, 20_000), None);
        assert_eq!(bench.fail(0), None);
    }
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn one_error_in_a_hundred_takes_nobody_out_and_a_broken_region_is_out_soon() {
    let mut bench = warm();
    for n in 0..3000 {
        let target = n % 3;
        assert_eq!(
            if n % 100 == 7 { bench.fail(target) } else { bench.answer(target, 1000) },
            None
        );
    }
    let events: Vec<_> = (0..5).map(|_| bench.fail(1)).collect();
    let expected = changed(1, Change::Degraded(Cause::Errors));
    assert_eq!(events, [None, None, None, None, expected], "half of eight, then two strikes");
}

#[test]
fn an_error_is_never_a_fast_answer() {
    let mut bench = warm();
    let before = bench.view(0);
    bench.fail(0);
    bench.lease(0).limited(None, bench.now);
    let after = bench.view(0);
    assert_eq!(after.base_ms, before.base_ms);
    assert!((after.score_ms - before.score_ms).abs() < 1e-6);
}

#[test]
fn a_lost_attempt_is_a_lower_bound() {
    let mut bench = warm();
    let young = bench.lease(0);
    let old = bench.lease(0);
    bench.pass(0.5);
    young.cancelled(bench.now);
    assert!((900.0..1100.0).contains(&bench.score(0)), "younger than D: nothing is learned");
    bench.pass(9.5);
    old.cancelled(bench.now);
    let score = bench.score(0);
    assert!((3500.0..4000.0).contains(&score), "0.3 x 10 s + 0.7 x 1 s: {score}");
    assert!(bench.view(0).strikes.abs() < 1e-9, "never a strike");
}

#[test]
fn the_cost_is_the_wait_so_a_loaded_target_is_passed_over() {
    let mut bench = warm();
    let _leases: Vec<Lease> = (0..20).map(|_| bench.lease(0)).collect();
    for _ in 0..100 {
        assert_ne!(bench.picked().unwrap().0, 0, "score x (1 + 20 / 4)");
    }
}

#[test]
fn weights_hold_among_healthy_targets_even_if_one_is_slower_by_nature() {
    let specs = vec![spec("a", 1, 3), spec("b", 1, 1)];
    let mut bench = Bench::of(Settings::lookout(), specs);
    for _ in 0..60 {
        bench.answer(0, 1800);
        bench.answer(1, 1000);
    }
    bench.pool.tick(bench.now);
    let mut picks: BTreeMap<(usize, Why), u32> = BTreeMap::new();
    for _ in 0..8000 {
        *picks.entry(bench.picked().unwrap()).or_default() += 1;
    }
    let heavy = f64::from(picks[&(0, Why::Weight)]) / 8000.0;
    assert!((0.73..0.77).contains(&heavy), "{picks:?}");
    // Twice its own normal: out of band, and the weights no longer hold.
    for _ in 0..6 {
        bench.answer(0, 3500);
    }
    bench.pool.tick(bench.now);
    assert!((0..100).all(|_| bench.picked().unwrap().0 == 1));
}

#[test]
fn the_next_tier_is_used_when_all_of_the_first_are_suspect_or_out() {
    let specs = vec![spec("paid", 0, 1), spec("a", 1, 1), spec("b", 1, 1)];
    let mut bench = warmed(Bench::of(Settings::lookout(), specs));
    assert_eq!(bench.picked().unwrap().0, 0);
    let mut lease = bench.lease(0);
    pass_deadline(&mut bench, &mut lease);
    assert_ne!(bench.picked().unwrap().0, 0, "suspect");
    lease.first_token(bench.now);
    assert_eq!(bench.picked().unwrap().0, 0, "no longer");
    bench.pool.set_block(0, Block::Drained, Switch::On);
    assert_ne!(bench.picked().unwrap().0, 0);
}

#[test]
fn a_slow_pool_sends_a_share_to_a_degraded_target_that_still_answers() {
    let mut bench = warm();
    degrade(&mut bench, 0);
    for n in 0..12 {
        bench.answer(1 + n % 2, 6000);
    }
    bench.pool.tick(bench.now);
    assert!((bench.pool.overview(bench.now).overflow - 0.3).abs() < 0.15);
    let overflowing = |bench: &mut Bench| {
        (0..2000).filter(|_| bench.picked().unwrap() == (0, Why::Overflow)).count()
    };
    assert_eq!(overflowing(&mut bench), 0, "it has not answered for a minute");
    bench.probe(0, ProbeOutcome::FirstToken(Duration::from_secs(2)));
    let share = overflowing(&mut bench);
    assert!((200..800).contains(&share), "{share} of 2000");
}

#[test]
fn half_an_hour_of_slowness_is_the_new_normal() {
    let mut bench = warm();
    for second in 0..1700 {
        bench.answer(second % 3, 4000);
        bench.pool.tick(bench.now);
    }
    // Slow answers of more than half an hour: 1,700 answers of four seconds, one after the other.
    let base = bench.view(0).base_ms.unwrap();
    assert!(base > 1500.0, "{base}");
    assert!(bench.pool.overview(bench.now).rebased > 0);
}

#[test]
fn an_overload_of_minutes_is_not_a_new_normal() {
    let mut bench = warm();
    let until = bench.now + Duration::from_mins(20);
    while bench.now < until {
        for target in 0..3 {
            bench.answer(target, 3000);
        }
        bench.pool.tick(bench.now);
    }
    let base = bench.view(0).base_ms.unwrap();
    assert!(base < 1300.0, "{base}");
}

#[test]
fn one_slow_first_answer_keeps_no_target_out() {
    for (others, slow) in [(60, 2300), (1, 6000)] {
        let mut bench = Bench::three(Settings::lookout());
        for n in 0..others * 2 {
            bench.answer(n % 2, 1000);
            bench.pool.tick(bench.now);
        }
        bench.answer(2, slow);
        bench.pass(600.0);
        bench.pool.tick(bench.now);
        assert!(bench.score(2) < 1100.0, "{} after {slow} ms", bench.score(2));
        let mut picks = 0;
        for _ in 0..300 {
            let (target, _) = bench.picked().unwrap();
            picks += u32::from(target == 2);
            let ms = 900 + bench.rng.bits() % 200;
            bench.answer(target, ms);
            bench.pool.tick(bench.now);
        }
        assert!(picks > 50, "{picks} of 300 after {slow} ms");
    }
}

#[test]
fn a_newcomer_without_a_base_teaches_no_shape() {
    let specs = vec![spec("a", 1, 1), spec("b", 1, 1), spec("c", 2, 1)];
    let mut bench = Bench::of(Settings::lookout(), specs);
    for n in 0..120 {
        bench.answer(n % 2, 1000);
        bench.pool.tick(bench.now);
    }
    let size = Size::of(10_000);
    let before = bench.pool.expected_ms(0, size).unwrap();
    for _ in 0..20 {
        let ask = bench.ask(Timing::FirstToken, 10_000);
        let lease = bench.pool.dispatch(2, ask, bench.now).unwrap();
        bench.pass(1.5);
        lease.first_token(bench.now);
        bench.pool.tick(bench.now);
    }
    let after = bench.pool.expected_ms(0, size).unwrap();
    assert!(after < before * 1.5, "{before} became {after}");
}

#[test]
fn answers_without_a_first_token_say_nothing_of_whole_answers() {
    let mut bench = warm();
    let late = |bench: &Bench| {
        let lease = bench.pool.dispatch(0, bench.ask(Timing::Untimed, 700), bench.now).unwrap();
        lease.next_deadline().unwrap().since(bench.now).as_secs()
    };
    assert_eq!(late(&bench), 2, "nothing is known: it is looked at again");
    for _ in 0..40 {
        let lease = bench.pool.dispatch(0, bench.ask(Timing::Untimed, 700), bench.now).unwrap();
        bench.pass(20.0);
        lease.answered(bench.now);
    }
    let known = late(&bench);
    assert!((32..=60).contains(&known), "{known}");
    for _ in 0..60 {
        let lease = bench.lease(0);
        bench.pass(0.5);
        lease.answered(bench.now);
    }
    assert_eq!(late(&bench), known);
}
