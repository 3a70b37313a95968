//! Errors as evidence: which count, what follows at once, and what a target costs that serves nothing.

use super::lookout::warmed;
use super::{Bench, changed, spec};
use firstlight::routing::{
    Ask, Attempts, Backing, Block, Bound, Cause, Change, Denied, Failed, Limits, Next, Passed,
    Pool, ProbeOutcome, Repeat, RetryBudget, Settings, State, Timing, Urgency, Used,
};
use firstlight::time::Time;
use std::sync::Arc;
use std::time::Duration;

const LIMITS: Limits = Limits { max_attempts: 5, repeat: Repeat::Anytime, bound: Bound::Free };

fn targets(count: usize) -> Bench {
    let specs = (0..count).map(|n| spec(&n.to_string(), 1, 1)).collect();
    Bench::of(Settings::lookout(), specs)
}

/// What one request comes to where these targets fail at once: whether it was served, and its attempts.
fn serve(bench: &mut Bench, failing: &[usize]) -> (bool, u32) {
    let ask = bench.ask(Timing::FirstToken, 700);
    bench.pool.admit(&ask, bench.now);
    let mut attempts = Attempts::new(ask, LIMITS);
    loop {
        let Ok(picked) = attempts.next(&bench.pool, bench.now, &mut bench.rng) else {
            return (false, attempts.started());
        };
        let lease = bench.pool.dispatch(picked.target, ask, bench.now).unwrap();
        if !failing.contains(&picked.target) {
            bench.pass(0.01);
            lease.first_token(bench.now);
            return (true, attempts.started());
        }
        bench.pass(0.001);
        let backing = attempts.backing(&bench.pool, Failed::Error, bench.now);
        lease.failed(backing, bench.now);
        let (next, _) = attempts.failed(&bench.pool, picked.target, Failed::Error, bench.now);
        if next != Next::Retry {
            return (false, attempts.started());
        }
    }
}

#[test]
fn one_healthy_target_serves_everybody_whatever_share_is_out() {
    for count in [2, 3, 5] {
        for warm in [false, true] {
            let mut bench = targets(count);
            if warm {
                bench = warmed(bench);
            }
            let failing: Vec<usize> = (1..count).collect();
            let mut extra = 0;
            for n in 0..600 {
                let (served, attempts) = serve(&mut bench, &failing);
                assert!(served, "request {n}, {count} targets, warm: {warm}");
                extra += attempts - 1;
                bench.pass(0.1);
                bench.pool.tick(bench.now);
            }
            // Two each to know it, and the tries that double their pause.
            assert!(extra < 12 * u32::try_from(count).unwrap(), "{extra} of {count}");
        }
    }
}

#[test]
fn incidents_that_move_on_are_followed() {
    let mut bench = warmed(targets(3));
    for n in 0..1_200 {
        let failing = [(n / 60) % 3];
        assert!(serve(&mut bench, &failing).0, "request {n}");
        bench.pass(0.1);
        bench.pool.tick(bench.now);
        for target in bench.pool.probes_due(bench.now) {
            let fails = failing.contains(&target);
            let first_token = ProbeOutcome::FirstToken(Duration::from_millis(900));
            bench.probe(target, if fails { ProbeOutcome::Failed } else { first_token });
        }
    }
}

/// An error of a request that could be tried nowhere else, by that credential.
fn lonely_error(bench: &Bench, target: usize, credential: u64) -> bool {
    let ask = Ask { credential, ..bench.ask(Timing::Untimed, 700) };
    let lease = bench.pool.dispatch(target, ask, bench.now).unwrap();
    lease.failed(Backing::Alone, bench.now).confirm
}

#[test]
fn one_app_alone_takes_no_target_out() {
    let mut bench = warmed(targets(3));
    assert!(lonely_error(&bench, 0, 1), "a probe is to tell whose fault it is");
    for _ in 0..100 {
        lonely_error(&bench, 0, 1);
        bench.pass(0.1);
    }
    assert_eq!((bench.state(0), bench.view(0).strikes.to_bits()), (State::Healthy, 0));
    assert_eq!(bench.probe(0, ProbeOutcome::FirstToken(Duration::from_millis(900))), None);
    lonely_error(&bench, 0, 2);
    assert_eq!(bench.state(0), State::Healthy, "a good response was between the two witnesses");
}

#[test]
fn a_failed_probe_is_a_second_witness_and_takes_it_out_at_once() {
    let bench = warmed(targets(3));
    lonely_error(&bench, 0, 1);
    let out = changed(0, Change::Degraded(Cause::Errors));
    assert_eq!(bench.probe(0, ProbeOutcome::Failed), out);
}

#[test]
fn the_last_healthy_target_stays() {
    let mut bench = warmed(targets(2));
    for _ in 0..10 {
        serve(&mut bench, &[0]);
    }
    for target in [0, 1] {
        for _ in 0..10 {
            bench.fail(target);
        }
    }
    assert_eq!((bench.state(0), bench.state(1)), (State::Degraded, State::Healthy));
}

#[test]
fn what_cannot_be_tried_elsewhere_avoids_what_has_just_failed() {
    let mut bench = warmed(targets(3));
    bench.fail(0);
    bench.fail(1);
    let wary = Ask { wary: true, ..bench.ask(Timing::FirstToken, 700) };
    for _ in 0..50 {
        let picked = bench.pool.pick_for(&wary, &Used::default(), bench.now, &mut bench.rng);
        assert_eq!(picked.unwrap().target, 2);
    }
    bench.pass(11.0);
    bench.fail(2);
    let picked = bench.pool.pick_for(&wary, &Used::default(), bench.now, &mut bench.rng);
    assert_ne!(picked.unwrap().target, 2, "those of the others are long ago");
}

/// Requests at an even rate for a minute, of which target 0 refuses all at once; its share of the last ten seconds.
fn share_of_refuser(bench: &mut Bench, slow_ms: u64) -> f64 {
    let mut open: Vec<(Time, firstlight::routing::Lease)> = Vec::new();
    let (mut all, mut refused) = (0.0, 0.0);
    for n in 0..1_200 {
        bench.pass(0.05);
        let now = bench.now;
        let (over, still) = open.into_iter().partition(|(due, _)| *due <= now);
        open = still;
        let over: Vec<(Time, firstlight::routing::Lease)> = over;
        for (due, lease) in over {
            lease.first_token(due);
        }
        bench.pool.tick(now);
        let (target, _) = bench.picked().unwrap();
        let lease = bench.lease(target);
        all += f64::from(u8::from(n >= 1_000));
        if target == 0 {
            refused += f64::from(u8::from(n >= 1_000));
            lease.passed(Passed::Refusal, now);
        } else {
            open.push((now + Duration::from_millis(slow_ms), lease));
        }
    }
    refused / all
}

#[test]
fn a_target_that_refuses_at_once_draws_no_traffic() {
    for settings in [Settings::lookout(), Settings::ema()] {
        let mut bench = Bench::three(settings.clone());
        let cold = share_of_refuser(&mut bench, 1_000);
        assert!(cold < 0.1, "{cold}, {:?}", settings.policy);
    }
    let warm = share_of_refuser(&mut warmed(targets(3)), 1_000);
    assert!(warm < 0.1, "{warm}");
}

#[test]
fn a_target_that_refuses_everything_is_found_by_a_probe_that_it_refuses_too() {
    let mut bench = warmed(targets(3));
    let mut wanted = 0;
    for _ in 0..20 {
        for target in [1, 2] {
            bench.answer(target, 100);
        }
        let lease = bench.lease(0);
        wanted += u32::from(lease.passed(Passed::Refusal, bench.now).confirm);
    }
    assert!(wanted >= 1);
    let blocked = |bench: &Bench| bench.pool.blocks(0).unwrap().has(Block::Misconfigured);
    bench.probe(0, ProbeOutcome::Refused);
    assert!(blocked(&bench));
    bench.pass(60.0);
    bench.probe(0, ProbeOutcome::Refused);
    assert!(blocked(&bench), "a refusal is no cure");
    bench.probe(0, ProbeOutcome::FirstToken(Duration::from_millis(900)));
    assert!(!blocked(&bench));
}

#[test]
fn requests_that_are_refused_everywhere_block_nothing() {
    let mut bench = warmed(targets(3));
    for _ in 0..20 {
        for target in 0..3 {
            let lease = bench.lease(target);
            assert!(!lease.passed(Passed::Refusal, bench.now).confirm);
            bench.pass(0.1);
        }
    }
    bench.probe(0, ProbeOutcome::Refused);
    assert!(!bench.pool.blocks(0).unwrap().any());
}

#[test]
fn where_nothing_else_is_left_the_same_target_is_tried_once_more() {
    let mut bench = targets(1);
    let mut attempts = Attempts::new(bench.ask(Timing::FirstToken, 700), LIMITS);
    let picked = attempts.next(&bench.pool, bench.now, &mut bench.rng).unwrap();
    let end = |attempts: &mut Attempts, how| attempts.failed(&bench.pool, 0, how, bench.now).0;
    assert_eq!((picked.target, end(&mut attempts, Failed::Error)), (0, Next::Again));
    assert_eq!(attempts.again().map(|picked| picked.target), Some(0));
    assert_eq!(end(&mut attempts, Failed::Error), Next::GiveUp(Denied::Attempts));
}

#[test]
fn what_is_tried_once_more_is_paid_for_and_must_have_failed_fast() {
    let specs = vec![spec("a", 1, 1)];
    let pool = Arc::new(Pool::new(Settings::lookout(), specs, RetryBudget::new(0.0, 2), None));
    let mut bench = Bench { pool, ..targets(1) };
    let mut end = |limits: Limits, how: Failed| {
        let mut attempts = Attempts::new(bench.ask(Timing::FirstToken, 700), limits);
        attempts.next(&bench.pool, bench.now, &mut bench.rng).unwrap();
        attempts.failed(&bench.pool, 0, how, bench.now).0
    };
    let once = Limits { repeat: Repeat::OnlyUntouched, ..LIMITS };
    assert_eq!(
        end(once, Failed::Error),
        Next::GiveUp(Denied::Kind),
        "something may have been done"
    );
    assert_eq!(end(LIMITS, Failed::TimedOut), Next::GiveUp(Denied::Targets));
    assert_eq!(end(once, Failed::Connect), Next::Again);
    assert_eq!(end(LIMITS, Failed::Error), Next::Again);
    assert_eq!(end(LIMITS, Failed::Error), Next::GiveUp(Denied::Budget));
}

#[test]
fn a_stuck_attempt_asks_again_and_again() {
    let bench = warmed(targets(2));
    let mut lease = bench.lease(0);
    let mut asked = Vec::new();
    for _ in 0..12 {
        let now = lease.next_deadline().unwrap();
        let overdue = lease.overdue(now);
        asked.extend(overdue.hedge.map(|urgency| (urgency, now)));
    }
    let stuck: Vec<Time> = asked
        .iter()
        .filter(|(urgency, _)| *urgency == Urgency::Stuck { on: 0 })
        .map(|(_, at)| *at)
        .collect();
    assert_eq!(stuck.len(), 10);
    let gaps = stuck.windows(2).map(|pair| pair[1].since(pair[0]));
    assert!(gaps.into_iter().all(|gap| gap == Duration::from_millis(500)));
}
