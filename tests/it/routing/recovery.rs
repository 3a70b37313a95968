//! `policy: lookout`: the way back. Probes lead back over a ramp, confirm suspicions, and no degradation is for
//! ever.

use super::lookout::{degrade, pass_deadline, warm};
use super::{Bench, changed, spec};
use firstlight::routing::{
    Backing, Cause, Change, Lease, Mode, Pool, ProbeOutcome, RetryBudget, Settings, State,
};
use std::sync::Arc;
use std::time::Duration;

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
        while lease.next_deadline().is_some_and(|due| due <= bench.now) {
            assert_eq!(lease.overdue(bench.now).event, None);
        }
    }
    for lease in stuck {
        assert_eq!(lease.failed(Backing::Elsewhere, bench.now).event, None);
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

/// Probes of target 0 in a day in which each takes four seconds.
fn probes_in_a_day(bench: &mut Bench) -> usize {
    let mut probes = 0;
    for _ in 0..172_800 {
        bench.pass(0.5);
        bench.pool.tick(bench.now);
        if bench.pool.probes_due(bench.now).contains(&0) {
            probes += 1;
            bench.probe(0, ProbeOutcome::FirstToken(Duration::from_secs(4)));
        }
    }
    probes
}

#[test]
fn absolute_times_and_recovery_probes_go_together() {
    let mut settings = Settings::lookout();
    settings.detect.mode = Mode::Absolute;
    settings.detect.strike_trip = 1.0;
    let mut bench = Bench::three(settings);
    bench.answer(0, 9000);
    bench.answer(0, 9000);
    assert_eq!(bench.state(0), State::Degraded);
    let probes = probes_in_a_day(&mut bench);
    assert!((2_000..5_000).contains(&probes), "about one in half a minute: {probes}");
    assert_eq!(bench.state(0), State::Degraded);
    let good = ProbeOutcome::FirstToken(Duration::from_secs(2));
    assert_ne!(bench.probe(0, good), None, "under clear_ms");
}

#[test]
fn a_degradation_survives_a_change_of_policy_and_ends_all_the_same() {
    let specs = || vec![spec("a", 1, 1), spec("b", 1, 1), spec("c", 1, 1)];
    let next = |settings, bench: &Bench| {
        let retries = RetryBudget::new(0.1, 10);
        Arc::new(Pool::new(settings, specs(), retries, Some(&bench.pool)))
    };
    let mut bench = warm();
    degrade(&mut bench, 0);
    bench.pool = next(Settings::ema(), &bench);
    assert_eq!(bench.state(0), State::Degraded);
    assert_eq!(probes_in_a_day(&mut bench), 0, "ema has rounds");
    assert_eq!(bench.state(0), State::Healthy, "its flag has a time");

    let mut bench = Bench::three(Settings::ema());
    bench.answer(0, 9000);
    bench.answer(0, 9000);
    bench.pool = next(Settings::lookout(), &bench);
    bench.pool.tick(bench.now);
    assert_eq!(bench.pool.probes_due(bench.now), vec![0]);
}

#[test]
fn a_refused_prompt_leads_back_only_after_a_long_time() {
    let mut bench = warm();
    degrade(&mut bench, 0);
    for _ in 0..20 {
        assert_eq!(bench.probe(0, ProbeOutcome::Refused), None, "the front door is not the model");
        bench.pass(40.0);
    }
    bench.pass(120.0);
    assert_eq!(bench.probe(0, ProbeOutcome::Refused), changed(0, Change::Recovering));
}

#[test]
fn a_confirm_probe_sent_before_the_trip_does_not_lead_back() {
    let mut bench = warm();
    let early = [(); 2].map(|()| bench.pool.start_probe(0, bench.now).unwrap());
    degrade(&mut bench, 0);
    for probe in early {
        let outcome = ProbeOutcome::FirstToken(Duration::from_millis(900));
        assert_eq!(probe.ended(outcome, bench.now), None);
    }
    assert_eq!(bench.state(0), State::Degraded);
}
