//! Responses that are not streamed: what they count, when they are late, and what that is evidence of.

use super::lookout::{pass_deadline, warm};
use super::{Bench, changed};
use firstlight::routing::{
    Ask, Cause, Change, Class, Kind, Lease, Settings, State, Timing, Urgency, Why,
};
use std::time::Duration;

/// What a request for a response of a class asks.
fn ask(bench: &Bench, max_tokens: Option<u64>) -> Ask {
    let class = Class::of(Kind::Chat, max_tokens, 1);
    Ask { class, ..bench.ask(Timing::Untimed, 700) }
}

fn send(bench: &Bench, target: usize) -> Lease {
    bench.pool.dispatch(target, ask(bench, None), bench.now).unwrap()
}

/// `n` whole responses by all targets in turn that take this long.
fn answer(bench: &mut Bench, (n, max_tokens): (usize, Option<u64>), seconds: f64) {
    for target in (0..3).cycle().take(n) {
        let lease = bench.pool.dispatch(target, ask(bench, max_tokens), bench.now).unwrap();
        bench.pass(seconds);
        lease.answered(bench.now);
        bench.pool.tick(bench.now);
    }
}

/// Three targets whose whole responses are known to take two seconds, and of whose first tokens nothing is known.
fn known() -> Bench {
    let mut bench = Bench::three(Settings::lookout());
    answer(&mut bench, (300, None), 2.0);
    bench
}

/// The seconds until such a request is late.
fn late(bench: &Bench, max_tokens: Option<u64>) -> f64 {
    let lease = bench.pool.dispatch(0, ask(bench, max_tokens), bench.now).unwrap();
    lease.next_deadline().unwrap().since(bench.now).as_secs_f64()
}

#[test]
fn they_are_counted_apart_from_first_tokens() {
    let mut bench = known();
    let mut lease = send(&bench, 0);
    assert_eq!((bench.view(0).whole, bench.view(0).in_flight), ((1, 0), 0));
    pass_deadline(&mut bench, &mut lease);
    assert_eq!((bench.view(0).whole, bench.view(0).late), ((1, 1), 0));
    lease.cancelled(bench.now);
    assert_eq!(bench.view(0).whole, (0, 0));
    let unmeasured = bench.ask(Timing::Unmeasured, 700);
    let _lease = bench.pool.dispatch(0, unmeasured, bench.now).unwrap();
    assert_eq!(bench.view(0).whole, (0, 0), "what is no work of the model is not counted");
}

#[test]
fn they_hold_a_place() {
    let mut bench = known();
    let _busy: Vec<Lease> = [0, 0, 0, 1, 1].map(|target| send(&bench, target)).into();
    for _ in 0..20 {
        assert_eq!(bench.picked(), Ok((2, Why::Cost)));
    }
}

/// A hundred of them must not hide how many first tokens wait where.
#[test]
fn among_streams_each_counts_as_its_share_of_a_first_token() {
    let mut bench = warm();
    answer(&mut bench, (60, None), 20.0);
    let _whole: Vec<Lease> = (0..10).map(|_| send(&bench, 0)).collect();
    let _streams: Vec<Lease> = [1, 1, 2, 2].map(|target| bench.lease(target)).into();
    let picked: Vec<usize> = (0..20).map(|_| bench.picked().unwrap().0).collect();
    assert!(picked.iter().all(|target| *target == 0), "ten are as half a stream: {picked:?}");
}

#[test]
fn each_class_has_a_time_of_its_own() {
    let mut bench = known();
    answer(&mut bench, (100, Some(16)), 0.5);
    answer(&mut bench, (100, Some(4096)), 30.0);
    let (short, unbounded, long) =
        (late(&bench, Some(20)), late(&bench, None), late(&bench, Some(5000)));
    assert!((0.8..2.0).contains(&short), "{short}");
    assert!((3.2..6.5).contains(&unbounded), "{unbounded}");
    assert!((48.0..100.0).contains(&long), "{long}");
    let unseen = late(&bench, Some(300));
    assert!(unseen > unbounded, "of a class that was not seen it is judged patiently: {unseen}");
}

#[test]
fn while_nothing_is_known_nothing_is_late_and_what_waits_is_looked_at_again() {
    let mut bench = Bench::three(Settings::lookout());
    let (mut early, mut alone) = (send(&bench, 0), send(&bench, 1));
    let began = bench.now;
    for _ in 0..6 {
        let overdue = pass_deadline(&mut bench, &mut alone);
        assert_eq!(overdue, firstlight::routing::Overdue::default());
    }
    let last = pass_deadline(&mut bench, &mut alone);
    assert_eq!((last.hedge, last.event, last.confirm), (Some(Urgency::Late), None, false));
    assert_eq!(bench.now.since(began), Duration::from_mins(2), "non_stream_deadline");
    assert_eq!(alone.next_deadline(), None);
    alone.cancelled(bench.now);
    answer(&mut bench, (60, None), 2.0);
    early.overdue(bench.now);
    let overdue = early.overdue(bench.now);
    assert_eq!(overdue.hedge, Some(Urgency::Late), "by now it is known what is usual");
    early.cancelled(bench.now);
}

#[test]
fn a_silent_target_is_taken_out() {
    let mut bench = known();
    let mut waiting: Vec<Lease> = (0..3).map(|_| send(&bench, 0)).collect();
    let began = bench.now;
    let first = pass_deadline(&mut bench, &mut waiting[0]);
    assert!(first.hedge == Some(Urgency::Late) && first.confirm, "{first:?}");
    let mut events = Vec::new();
    for lease in &mut waiting[1..] {
        events.push(lease.overdue(bench.now).event);
    }
    for lease in &mut waiting {
        events.push(pass_deadline(&mut bench, lease).event);
    }
    assert!(events.contains(&changed(0, Change::Degraded(Cause::Slow))), "{events:?}");
    assert!(bench.now.since(began) < Duration::from_secs(10));
    assert!(bench.picked().is_ok_and(|(target, _)| target != 0));
}

#[test]
fn a_long_answer_of_a_target_that_goes_on_is_raced_and_is_no_evidence() {
    let mut bench = known();
    let mut long = send(&bench, 0);
    let _others: Vec<Lease> = (0..2).map(|_| send(&bench, 0)).collect();
    bench.pass(2.0);
    send(&bench, 0).answered(bench.now + Duration::from_millis(1));
    let mut hedges = Vec::new();
    while long.next_deadline().is_some() {
        let overdue = pass_deadline(&mut bench, &mut long);
        assert!(!overdue.confirm && overdue.event.is_none());
        hedges.extend(overdue.hedge);
    }
    assert_eq!(hedges, [Urgency::Late, Urgency::Stuck { on: 0 }]);
    assert!(bench.view(0).strikes.abs() < 1e-9);
}

#[test]
fn half_of_them_late_is_evidence_though_the_others_come() {
    let mut bench = known();
    let mut slow: Vec<Lease> = (0..4).map(|_| send(&bench, 0)).collect();
    let _others: Vec<Lease> = (0..4).map(|_| send(&bench, 0)).collect();
    bench.pass(2.0);
    send(&bench, 0).answered(bench.now + Duration::from_millis(1));
    let mut strikes = Vec::new();
    for lease in &mut slow {
        bench.now = bench.now.max(lease.next_deadline().unwrap());
        lease.overdue(bench.now);
        strikes.push((bench.view(0).strikes * 10.0).round());
    }
    assert_eq!(strikes, [0.0, 0.0, 0.0, 4.0], "four of eight");
}

#[test]
fn a_race_that_is_lost_after_twice_the_usual_time_is_evidence() {
    let mut bench = known();
    let strikes = |bench: &mut Bench, seconds: f64, timing: Timing| {
        let before = bench.view(0).strikes;
        let ask = Ask { timing, ..ask(bench, None) };
        let lease = bench.pool.dispatch(0, ask, bench.now).unwrap();
        bench.pass(seconds);
        lease.lost(bench.now);
        bench.view(0).strikes - before
    };
    assert!(strikes(&mut bench, 3.9, Timing::Untimed).abs() < 1e-9);
    assert!((strikes(&mut bench, 4.1, Timing::Untimed) - 0.4).abs() < 1e-9);
    assert!(strikes(&mut bench, 4.1, Timing::FirstToken).abs() < 1e-9);
    let lease = send(&bench, 0);
    bench.pass(4.1);
    lease.cancelled(bench.now);
    assert!((bench.view(0).strikes - 0.4).abs() < 1e-9, "its client left: nobody was quicker");
}

#[test]
fn a_time_out_of_a_late_one_is_slow_and_of_another_an_error() {
    let mut bench = known();
    let timed_out = |bench: &mut Bench, seconds: f64| {
        let before = bench.view(0).strikes;
        let lease = send(bench, 0);
        bench.pass(seconds);
        lease.timed_out(bench.now);
        bench.view(0).strikes - before
    };
    assert!(timed_out(&mut bench, 1.0).abs() < 1e-9, "one error alone");
    assert!((timed_out(&mut bench, 60.0) - 1.6).abs() < 1e-9, "as much as D, T and 2 T");
}

#[test]
fn good_ones_take_back_their_own_strikes_and_no_others() {
    let mut bench = known();
    let lose = |bench: &mut Bench| {
        let lease = send(bench, 0);
        bench.pass(5.0);
        lease.lost(bench.now);
    };
    lose(&mut bench);
    let good = |bench: &mut Bench, seconds: f64| {
        let lease = send(bench, 0);
        bench.pass(seconds);
        lease.answered(bench.now);
        bench.view(0).strikes
    };
    assert!((good(&mut bench, 3.1) - 0.4).abs() < 1e-9, "more than 1.5 times as long is not good");
    assert!((good(&mut bench, 2.0) - 0.1).abs() < 1e-9);
    assert!(good(&mut bench, 2.0).abs() < 1e-9);
    // Streams are slow there: that whole responses come in time does not change it.
    let mut bench = warm();
    answer(&mut bench, (60, None), 20.0);
    let mut lease = bench.lease(0);
    pass_deadline(&mut bench, &mut lease);
    let before = bench.view(0).strikes;
    assert!(before > 0.3);
    assert!((good(&mut bench, 20.0) - before).abs() < 1e-9);
    lease.cancelled(bench.now);
}

/// Nothing is known of first tokens where nothing is streamed: probes are judged by fixed times, and lead back.
#[test]
fn such_a_target_comes_back_by_its_probes() {
    let mut bench = known();
    let mut waiting: Vec<Lease> = (0..6).map(|_| send(&bench, 0)).collect();
    for lease in &mut waiting {
        bench.now = bench.now.max(lease.next_deadline().unwrap());
        lease.overdue(bench.now);
    }
    assert_eq!(bench.state(0), State::Degraded);
    for lease in waiting {
        lease.cancelled(bench.now);
    }
    answer(&mut bench, (3, None), 2.0);
    assert_eq!(bench.state(0), State::Degraded, "a whole response is no probe");
    let quick = firstlight::routing::ProbeOutcome::FirstToken(Duration::from_millis(800));
    bench.probe(0, quick);
    bench.probe(0, quick);
    assert_eq!(bench.state(0), State::Recovering);
}
