//! An upload is no work of the model: deadlines and scores count from its end.

use super::Bench;
use super::lookout::{pass_deadline, warm};
use firstlight::routing::{Lease, Timing, Urgency};
use std::time::Duration;

/// An attempt at target 0 whose upload took a minute, the last megabytes of it `tail` seconds.
fn uploaded(bench: &mut Bench, tail: u64) -> Lease {
    let mut lease = bench.lease(0);
    bench.pass(0.1);
    lease.upload_began();
    assert_eq!(lease.next_deadline(), None, "a slow upload is never late");
    bench.pass(60.0);
    assert_eq!(lease.overdue(bench.now), firstlight::routing::Overdue::default());
    lease.body_sent(bench.now, Duration::from_secs(tail));
    lease
}

#[test]
fn deadlines_count_from_the_end_of_the_upload() {
    let mut bench = warm();
    let usual = bench.lease(0).next_deadline().unwrap().since(bench.now);
    let mut lease = uploaded(&mut bench, 0);
    assert_eq!(lease.next_deadline().unwrap().since(bench.now), usual);
    assert_eq!((bench.view(0).in_flight, bench.view(0).late), (1, 0), "it holds its place");
    assert_eq!(pass_deadline(&mut bench, &mut lease).hedge, Some(Urgency::Late));
    drop(lease);
    let lease = uploaded(&mut bench, 3);
    let later = lease.next_deadline().unwrap().since(bench.now);
    assert_eq!(later, usual + Duration::from_secs(3), "it may still be reading");
}

#[test]
fn the_sample_counts_from_the_end_of_the_upload() {
    let mut bench = warm();
    let before = bench.view(0);
    let lease = uploaded(&mut bench, 0);
    bench.pass(1.0);
    assert_eq!(lease.first_token(bench.now), None);
    let after = bench.view(0);
    assert!((before.score_ms - after.score_ms).abs() < 1.0, "{before:?} {after:?}");
    assert!(after.strikes.abs() < 1e-9, "{after:?}");
}

#[test]
fn what_cannot_be_told_from_the_upload_is_not_learned() {
    let mut bench = warm();
    // Decayed to its base: nothing moves but by a sample.
    bench.pass(3600.0);
    let before = bench.view(0);
    let lease = uploaded(&mut bench, 2);
    bench.pass(3.0);
    assert_eq!(lease.first_token(bench.now), None);
    let mut before_its_end = bench.lease(0);
    before_its_end.upload_began();
    bench.pass(0.01);
    assert_eq!(before_its_end.first_token(bench.now), None);
    let after = bench.view(0);
    assert!((before.score_ms - after.score_ms).abs() < 1.0, "{before:?} {after:?}");
    assert!((before.base_ms.unwrap() - after.base_ms.unwrap()).abs() < 1.0);
    assert!(after.strikes.abs() < 1e-9, "{after:?}");
}

#[test]
fn an_upload_that_is_given_up_is_no_lower_bound() {
    let mut bench = warm();
    bench.pass(3600.0);
    let before = bench.view(0);
    for _ in 0..3 {
        let mut lease = bench.lease(0);
        lease.upload_began();
        bench.pass(60.0);
        assert_eq!(lease.cancelled(bench.now), None);
    }
    let after = bench.view(0);
    assert!((before.score_ms - after.score_ms).abs() < 1.0, "{before:?} {after:?}");
}

#[test]
fn a_connection_that_hangs_is_late_and_stays_so() {
    let mut bench = warm();
    let mut lease = bench.lease(0);
    let late = pass_deadline(&mut bench, &mut lease);
    assert_eq!(late.hedge, Some(Urgency::Late), "there is no connection yet");
    lease.upload_began();
    assert_eq!(lease.next_deadline(), None);
    lease.body_sent(bench.now, Duration::ZERO);
    assert_eq!(pass_deadline(&mut bench, &mut lease).hedge, None, "T comes next, not D again");
    assert_eq!(pass_deadline(&mut bench, &mut lease).hedge, Some(Urgency::Stuck { on: 0 }));
}

#[test]
fn the_total_of_what_is_not_streamed_counts_from_there_too() {
    let total = |upload: f64| {
        let mut bench = warm();
        for _ in 0..40 {
            let ask = bench.ask(Timing::Untimed, 700);
            let mut lease = bench.pool.dispatch(0, ask, bench.now).unwrap();
            lease.upload_began();
            bench.pass(upload);
            lease.body_sent(bench.now, Duration::ZERO);
            bench.pass(2.0);
            lease.answered(bench.now);
        }
        let ask = bench.ask(Timing::Untimed, 700);
        let lease = bench.pool.dispatch(0, ask, bench.now).unwrap();
        lease.next_deadline().unwrap().since(bench.now)
    };
    assert_eq!(total(0.0), total(60.0));
}
