//! Time-outs and cold deadlines: what thinks is told from what hangs only by what another target does.

use super::lookout::{pass_deadline, warm};
use super::{Bench, changed};
use firstlight::routing::{
    Attempts, Bound, Cause, Change, Denied, Failed, Limits, Next, ProbeOutcome, Repeat, Settings,
    TimeLimit, Timing,
};
use std::time::Duration;

const LIMITS: Limits = Limits { max_attempts: 3, repeat: Repeat::Anytime, bound: Bound::Free };
const MINUTE: Duration = Duration::from_mins(1);

fn strikes(bench: &Bench, target: usize) -> f64 {
    bench.view(target).strikes
}

#[test]
fn while_nothing_was_ever_quicker_a_cold_deadline_is_no_evidence() {
    let mut bench = Bench::three(Settings::lookout());
    let mut leases = [0, 0, 0, 1, 1, 1].map(|target| bench.lease(target));
    for _ in 0..3 {
        for lease in &mut leases {
            pass_deadline(&mut bench, lease);
        }
    }
    assert_eq!([0, 1].map(|target| strikes(&bench, target).to_bits()), [0; 2]);
    for mut lease in leases {
        assert_eq!(lease.outlasted(bench.now), None);
    }
    assert_eq!([0, 1].map(|target| strikes(&bench, target).to_bits()), [0; 2]);
}

#[test]
fn once_one_target_was_quicker_it_is() {
    let mut bench = Bench::three(Settings::lookout());
    bench.answer(2, 1000);
    let mut leases = [0, 0, 0].map(|target| bench.lease(target));
    let mut events = Vec::new();
    for _ in 0..3 {
        for lease in &mut leases {
            events.extend(pass_deadline(&mut bench, lease).event);
        }
    }
    assert_eq!(events, Vec::from_iter(changed(0, Change::Degraded(Cause::Slow))));
}

#[test]
fn a_quick_probe_is_no_such_target() {
    let mut bench = Bench::three(Settings::lookout());
    bench.probe(2, ProbeOutcome::FirstToken(Duration::from_secs(1)));
    let mut lease = bench.lease(0);
    for _ in 0..3 {
        pass_deadline(&mut bench, &mut lease);
    }
    assert_eq!(strikes(&bench, 0).to_bits(), 0);
}

#[test]
fn the_default_is_three_times_what_is_late_and_a_bound_is_what_it_is() {
    let bench = Bench::three(Settings::lookout());
    let second = Duration::from_secs(1);
    let (default, bound) = (TimeLimit::evidence(second), TimeLimit::bound(second));
    assert_eq!(bench.lease(0).time_out(default, Duration::ZERO), second, "nothing is learned");
    let bench = warm();
    let lease = bench.lease(0);
    let late = lease.next_deadline().unwrap().since(bench.now);
    assert_eq!(lease.time_out(default, Duration::ZERO), 3 * late);
    assert_eq!(lease.time_out(bound, Duration::ZERO), second);
    assert_eq!(lease.time_out(TimeLimit::evidence(MINUTE), Duration::ZERO), MINUTE);
}

#[test]
fn what_outlasts_the_default_is_evidence_once_and_goes_on() {
    let mut bench = warm();
    let mut leases = [bench.lease(0), bench.lease(0)];
    bench.pass(240.0);
    let events = leases.each_mut().map(|lease| lease.outlasted(bench.now));
    assert_eq!(events, [None, changed(0, Change::Degraded(Cause::Slow))]);
    assert_eq!((bench.view(0).in_flight, leases[0].next_deadline()), (2, None));
    let before = strikes(&bench, 0);
    for lease in leases {
        lease.first_token(bench.now);
    }
    assert!(strikes(&bench, 0) <= before);
    assert_eq!(bench.view(0).in_flight, 0);
}

#[test]
fn after_a_second_time_out_nothing_is_tried_again() {
    let mut bench = warm();
    let mut attempts = Attempts::new(bench.ask(Timing::FirstToken, 700), LIMITS);
    let mut fail = |how| {
        let target = attempts.next(&bench.pool, bench.now, &mut bench.rng).unwrap().target;
        attempts.failed(&bench.pool, target, how, bench.now).0
    };
    assert_eq!(fail(Failed::TimedOut), Next::Retry);
    assert_eq!(fail(Failed::TimedOut), Next::GiveUp(Denied::Kind));
}

#[test]
fn what_outlasts_the_default_is_raced_once() {
    let mut bench = warm();
    let mut attempts = Attempts::new(bench.ask(Timing::FirstToken, 700), LIMITS);
    let first = attempts.next(&bench.pool, bench.now, &mut bench.rng).unwrap().target;
    assert!(attempts.outlasted(&bench.pool, first, bench.now));
    let second = attempts.next(&bench.pool, bench.now, &mut bench.rng).unwrap().target;
    assert_eq!((attempts.open(), first == second), (2, false));
    assert!(!attempts.outlasted(&bench.pool, second, bench.now));
    let only = Limits { repeat: Repeat::OnlyUntouched, ..LIMITS };
    let mut attempts = Attempts::new(bench.ask(Timing::FirstToken, 700), only);
    let first = attempts.next(&bench.pool, bench.now, &mut bench.rng).unwrap().target;
    assert!(!attempts.outlasted(&bench.pool, first, bench.now), "it must not be sent twice");
}
