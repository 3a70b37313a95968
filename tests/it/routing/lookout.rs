//! `policy: lookout`: judged by what is expected, while answers are outstanding; led back by probes.

use super::{Bench, changed, spec};
use firstlight::routing::{
    Block, Cause, Change, Lease, ProbeOutcome, Settings, State, Switch, TripBlocked, Why,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Three targets that usually answer after a second, and are known to.
fn warm() -> Bench {
    warmed(Bench::three(Settings::lookout()))
}

fn warmed(mut bench: Bench) -> Bench {
    let targets = bench.pool.len();
    for n in 0..60 * targets {
        bench.answer(n % targets, 1000);
        bench.pool.tick(bench.now);
    }
    bench
}

/// Passes to the lease's next deadline; what follows from it.
fn pass_deadline(bench: &mut Bench, lease: &mut Lease) -> firstlight::routing::Overdue {
    bench.now = lease.next_deadline().unwrap();
    lease.overdue(bench.now)
}

/// Takes `target` out by attempts that stay outstanding.
fn degrade(bench: &mut Bench, target: usize) {
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
    assert!(overdue.hedge && overdue.confirm, "{overdue:?}");
    assert_eq!((bench.view(0).late, bench.view(0).in_flight), (1, 1));
    assert!((bench.view(0).strikes - 0.4).abs() < 1e-9);
    let at_trip = pass_deadline(&mut bench, &mut lease);
    assert!(!at_trip.hedge && !at_trip.confirm);
    assert!((bench.view(0).strikes - 0.8).abs() < 1e-9);
    let at_double = pass_deadline(&mut bench, &mut lease);
    assert!(at_double.hedge, "a second one");
    assert!((bench.view(0).strikes - 1.6).abs() < 1e-9);
    assert_eq!(lease.next_deadline(), None);
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
    assert!(overdue.hedge && !overdue.confirm, "{overdue:?}");
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
    let ask = |bench: &Bench| bench.ask(firstlight::routing::Timing::FirstToken, 40_000);
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
    assert_eq!(lease.expected(), None);
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
fn probes_lead_back_over_a_ramp() {
    let mut bench = warm();
    degrade(&mut bench, 0);
    assert_eq!(bench.pool.probes_due(bench.now), Vec::<usize>::new());
    bench.pass(6.1);
    assert_eq!(bench.pool.probes_due(bench.now), vec![0], "5 s, a fifth more at most");
    let good = ProbeOutcome::FirstToken(Duration::from_millis(900));
    assert_eq!(bench.probe(0, good), None, "one is not enough");
    assert_eq!(bench.pool.probes_due(bench.now), Vec::<usize>::new());
    bench.pass(1.0);
    assert_eq!(bench.pool.probes_due(bench.now), vec![0]);
    assert_eq!(bench.probe(0, good), changed(0, Change::Recovering));
    let share = |bench: &mut Bench| {
        let hits = (0..3000).filter(|_| bench.picked().unwrap().0 == 0).count();
        f64::from(u32::try_from(hits).unwrap()) / 3000.0
    };
    let at_once = share(&mut bench);
    assert!((0.01..0.10).contains(&at_once), "a tenth of a third: {at_once}");
    bench.pass(29.9);
    assert_eq!((bench.pool.tick(bench.now), bench.state(0)), (vec![], State::Recovering));
    bench.pass(0.1);
    assert_eq!(
        bench.pool.tick(bench.now),
        changed(0, Change::Recovered).into_iter().collect::<Vec<_>>()
    );
    assert!(share(&mut bench) > 0.25);
}

#[test]
fn a_bad_probe_starts_the_count_anew_and_doubles_the_pause() {
    let mut bench = warm();
    degrade(&mut bench, 0);
    bench.pass(6.1);
    let good = ProbeOutcome::FirstToken(Duration::from_millis(900));
    bench.probe(0, good);
    bench.pass(1.0);
    let mut probe = bench.pool.start_probe(0, bench.now).unwrap();
    bench.now = probe.next_deadline().unwrap();
    assert!(probe.overdue(bench.now).give_up, "late is late: no need to wait for it");
    assert_eq!(probe.ended(ProbeOutcome::TimedOut, bench.now), None);
    bench.pass(7.9);
    assert_eq!(bench.pool.probes_due(bench.now), Vec::<usize>::new(), "10 s, a fifth less at most");
    bench.pass(4.2);
    assert_eq!(bench.pool.probes_due(bench.now), vec![0]);
    bench.probe(0, good);
    assert_eq!(bench.state(0), State::Degraded, "two in a row");
    bench.probe(0, ProbeOutcome::Failed);
    bench.probe(0, good);
    assert_eq!(bench.probe(0, good), changed(0, Change::Recovering));
}

#[test]
fn a_probe_over_the_limit_is_bad_though_it_came_before_its_deadline() {
    let mut bench = warm();
    degrade(&mut bench, 0);
    bench.pass(6.1);
    // The prompt is small: 0.94 s are expected, 1.7 times of which is 1.6 s.
    bench.probe(0, ProbeOutcome::FirstToken(Duration::from_millis(1700)));
    bench.probe(0, ProbeOutcome::FirstToken(Duration::from_millis(900)));
    bench.probe(0, ProbeOutcome::FirstToken(Duration::from_millis(1700)));
    assert_eq!(bench.probe(0, ProbeOutcome::FirstToken(Duration::from_millis(900))), None);
    assert_eq!(bench.state(0), State::Degraded);
}

#[test]
fn who_comes_back_and_fails_again_waits_longer() {
    let mut bench = warm();
    let good = ProbeOutcome::FirstToken(Duration::from_millis(900));
    degrade(&mut bench, 0);
    bench.probe(0, ProbeOutcome::Failed);
    bench.probe(0, good);
    assert_eq!(bench.probe(0, good), changed(0, Change::Recovering));
    // In recovery half of the strikes are enough: one request that is late to 2 T.
    let mut lease = bench.lease(0);
    let events = [0; 3].map(|_| pass_deadline(&mut bench, &mut lease).event);
    assert_eq!(events, [None, None, changed(0, Change::Degraded(Cause::Slow))]);
    bench.probe(0, good);
    assert_eq!(bench.probe(0, good), None, "a probe had failed in the outage before: three now");
    assert_eq!(bench.probe(0, good), changed(0, Change::Recovering));
}

#[test]
fn evidence_from_before_a_recovery_is_old_news() {
    let mut bench = warm();
    let mut stuck: Vec<Lease> = vec![bench.lease(0)];
    degrade(&mut bench, 0);
    let good = ProbeOutcome::FirstToken(Duration::from_millis(900));
    bench.probe(0, good);
    assert_eq!(bench.probe(0, good), changed(0, Change::Recovering));
    bench.pass(60.0);
    for lease in &mut stuck {
        while lease.next_deadline().is_some() {
            assert_eq!(lease.overdue(bench.now).event, None);
        }
    }
    for lease in stuck {
        assert_eq!(lease.failed(bench.now), None);
    }
    assert_ne!(bench.state(0), State::Degraded);
}

#[test]
fn a_request_that_gets_a_good_answer_from_a_degraded_target_counts_as_a_probe() {
    let mut bench = warm();
    let before = bench.lease(0);
    degrade(&mut bench, 0);
    before.first_token(bench.now);
    assert_eq!(bench.answer(0, 900), None, "the one sent before the trip does not count");
    assert_eq!(bench.answer(0, 900), changed(0, Change::Recovering));
}

#[test]
fn confirm_probes_tell_the_target_from_the_request() {
    let mut bench = warm();
    let mut lease = bench.lease(0);
    assert!(pass_deadline(&mut bench, &mut lease).confirm);
    assert!((bench.view(0).strikes - 0.4).abs() < 1e-9);
    bench.probe(0, ProbeOutcome::FirstToken(Duration::from_millis(900)));
    assert!(bench.view(0).strikes.abs() < 1e-9, "a good one takes 0.6 off");
    let mut again = bench.lease(0);
    assert!(!pass_deadline(&mut bench, &mut again).confirm, "at most one in ten seconds");
    // One that is late itself: at T and at 2 T.
    let mut probe = bench.pool.start_probe(0, bench.now).unwrap();
    bench.now = probe.next_deadline().unwrap();
    let at_trip = probe.overdue(bench.now);
    assert_eq!((at_trip.event, at_trip.give_up), (None, false));
    bench.now = probe.next_deadline().unwrap();
    let at_double = probe.overdue(bench.now);
    assert_eq!(
        (at_double.event, at_double.give_up),
        (None, true),
        "a slow answer and a slow probe"
    );
    assert!((bench.view(0).strikes - 1.8).abs() < 1e-9);
    let then = again.overdue(bench.now);
    assert_eq!(then.event, changed(0, Change::Degraded(Cause::Slow)), "with anything more");
    drop((lease, again, probe.ended(ProbeOutcome::TimedOut, bench.now)));
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
