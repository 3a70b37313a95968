//! One request's attempts: how many, where to, and what a failure leads to.

use super::{Bench, spec};
use firstlight::routing::{
    Attempts, Backing, Bound, Denied, Failed, Limits, Next, NoHedge, NoTarget, Pool, Repeat,
    RetryBudget, Settings, State, Timing, Urgency, Why,
};
use std::sync::Arc;

const LIMITS: Limits = Limits { max_attempts: 3, repeat: Repeat::Anytime, bound: Bound::Free };

fn three() -> Bench {
    Bench::three(Settings::lookout())
}

fn request(bench: &Bench, limits: Limits) -> Attempts {
    Attempts::new(bench.ask(Timing::FirstToken, 700), limits)
}

fn next(bench: &mut Bench, attempts: &mut Attempts) -> Result<usize, NoTarget> {
    attempts.next(&bench.pool, bench.now, &mut bench.rng).map(|picked| picked.target)
}

fn hedge(bench: &mut Bench, attempts: &mut Attempts) -> Result<usize, NoHedge> {
    attempts
        .hedge(&bench.pool, Urgency::Late, bench.now, &mut bench.rng)
        .map(|picked| picked.target)
}

#[test]
fn every_attempt_goes_to_another_target_until_none_is_left() {
    let mut bench = three();
    let mut attempts = request(&bench, Limits { max_attempts: 9, ..LIMITS });
    let mut seen = Vec::new();
    for left in [Next::Retry, Next::Retry, Next::GiveUp(Denied::Targets)] {
        let target = next(&mut bench, &mut attempts).unwrap();
        seen.push(target);
        assert_eq!(attempts.failed(&bench.pool, target, Failed::Error, bench.now).0, left);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn there_are_as_many_attempts_as_allowed() {
    let mut bench = three();
    let mut attempts = request(&bench, Limits { max_attempts: 2, ..LIMITS });
    let first = next(&mut bench, &mut attempts).unwrap();
    assert_eq!(attempts.failed(&bench.pool, first, Failed::Limited, bench.now).0, Next::Retry);
    let second = next(&mut bench, &mut attempts).unwrap();
    let over = Next::GiveUp(Denied::Attempts);
    assert_eq!(attempts.failed(&bench.pool, second, Failed::Limited, bench.now).0, over);
}

#[test]
fn a_failure_beside_an_open_attempt_only_ends_itself() {
    let mut bench = three();
    let mut attempts = request(&bench, LIMITS);
    let primary = next(&mut bench, &mut attempts).unwrap();
    let racing = hedge(&mut bench, &mut attempts).unwrap();
    assert_ne!(primary, racing);
    assert_eq!(attempts.failed(&bench.pool, primary, Failed::Error, bench.now).0, Next::Wait);
    assert_eq!(attempts.failed(&bench.pool, racing, Failed::Error, bench.now).0, Next::Retry);
    let third = next(&mut bench, &mut attempts).unwrap();
    assert!(third != primary && third != racing);
}

#[test]
fn a_request_is_hedged_twice_at_most_and_never_where_it_was() {
    let specs = (0..6).map(|n| spec(&n.to_string(), 1, 1)).collect();
    let mut bench = Bench::of(Settings::lookout(), specs);
    let mut attempts = request(&bench, LIMITS);
    next(&mut bench, &mut attempts).unwrap();
    hedge(&mut bench, &mut attempts).unwrap();
    hedge(&mut bench, &mut attempts).unwrap();
    assert_eq!(hedge(&mut bench, &mut attempts), Err(NoHedge::Attempts));
    assert_eq!((attempts.started(), attempts.open()), (3, 3));
}

#[test]
fn there_are_four_attempts_at_most_whatever_they_are() {
    let specs = (0..8).map(|n| spec(&n.to_string(), 1, 1)).collect();
    let mut bench = Bench::of(Settings::lookout(), specs);
    let mut attempts = request(&bench, LIMITS);
    let first = next(&mut bench, &mut attempts).unwrap();
    let hedges = [(); 2].map(|()| hedge(&mut bench, &mut attempts).unwrap());
    let ends = [first, hedges[0], hedges[1]]
        .map(|target| attempts.failed(&bench.pool, target, Failed::Error, bench.now).0);
    assert_eq!(ends, [Next::Wait, Next::Wait, Next::Retry]);
    let fourth = next(&mut bench, &mut attempts).unwrap();
    let end = attempts.failed(&bench.pool, fourth, Failed::Error, bench.now).0;
    assert_eq!(end, Next::GiveUp(Denied::Attempts));
}

#[test]
fn answers_that_are_not_streamed_pay_for_hedges_too() {
    let mut bench = three();
    let mut hedged = 0;
    for _ in 0..1000 {
        let ask = bench.ask(Timing::Untimed, 1000);
        bench.pool.admit(&ask, bench.now);
        bench.pass(1.0);
        let mut attempts = Attempts::new(ask, LIMITS);
        next(&mut bench, &mut attempts).unwrap();
        hedged += u32::from(hedge(&mut bench, &mut attempts).is_ok());
    }
    assert!((60..=75).contains(&hedged), "the reserve of 20, and one in twenty: {hedged}");
}

#[test]
fn there_is_one_attempt_more_with_hedges_than_without() {
    let specs = (0..6).map(|n| spec(&n.to_string(), 1, 1)).collect();
    let mut bench = Bench::of(Settings::lookout(), specs);
    let mut attempts = request(&bench, Limits { max_attempts: 1, ..LIMITS });
    next(&mut bench, &mut attempts).unwrap();
    hedge(&mut bench, &mut attempts).unwrap();
    assert_eq!(hedge(&mut bench, &mut attempts), Err(NoHedge::Attempts));
}

#[test]
fn what_leaves_something_behind_is_repeated_only_if_nothing_was_done() {
    let mut bench = three();
    let once = Limits { repeat: Repeat::OnlyUntouched, ..LIMITS };
    let mut ends = |how: Failed| {
        let mut attempts = request(&bench, once);
        let target = next(&mut bench, &mut attempts).unwrap();
        assert_eq!(hedge(&mut bench, &mut attempts), Err(NoHedge::NotAllowed));
        attempts.failed(&bench.pool, target, how, bench.now).0
    };
    assert_eq!(ends(Failed::Error), Next::GiveUp(Denied::Kind));
    assert_eq!(ends(Failed::TimedOut), Next::GiveUp(Denied::Kind));
    for how in [Failed::Connect, Failed::Limited, Failed::Refused] {
        assert_eq!(ends(how), Next::Retry, "{how:?}");
    }
}

#[test]
fn what_must_not_run_twice_at_a_time_is_retried_and_not_hedged() {
    let mut bench = three();
    let limits = Limits { repeat: Repeat::NotHedged, ..LIMITS };
    for how in [Failed::Error, Failed::TimedOut, Failed::Unclear, Failed::Connect, Failed::Limited]
    {
        let mut attempts = request(&bench, limits);
        let target = next(&mut bench, &mut attempts).unwrap();
        assert_eq!(hedge(&mut bench, &mut attempts), Err(NoHedge::NotAllowed));
        let (next, _) = attempts.failed(&bench.pool, target, how, bench.now);
        assert_eq!(next, Next::Retry, "{how:?}");
    }
}

#[test]
fn who_asks_for_one_target_gets_that_one_or_nothing() {
    let mut bench = three();
    let mut attempts = request(&bench, Limits { bound: Bound::Only(2), ..LIMITS });
    let picked = attempts.next(&bench.pool, bench.now, &mut bench.rng).unwrap();
    assert_eq!((picked.target, picked.why), (2, Why::Asked));
    assert!(!attempts.could_go_elsewhere(&bench.pool, bench.now));
    assert_eq!(hedge(&mut bench, &mut attempts), Err(NoHedge::NotAllowed));
    let over = Next::GiveUp(Denied::Attempts);
    assert_eq!(attempts.failed(&bench.pool, 2, Failed::Connect, bench.now).0, over);
}

#[test]
fn a_retry_asks_the_budget_unless_the_backend_did_no_work() {
    let specs = vec![spec("a", 1, 1), spec("b", 1, 1)];
    let mut bench = Bench::three(Settings::lookout());
    let pool = Pool::new(Settings::lookout(), specs, RetryBudget::new(0.0, 1), None);
    bench.pool = Arc::new(pool);
    let mut ends = |how: Failed| {
        let mut attempts = request(&bench, LIMITS);
        let target = next(&mut bench, &mut attempts).unwrap();
        attempts.failed(&bench.pool, target, how, bench.now).0
    };
    assert_eq!(ends(Failed::Error), Next::Retry);
    assert_eq!(ends(Failed::Error), Next::GiveUp(Denied::Budget));
    assert_eq!([ends(Failed::Limited), ends(Failed::Connect)], [Next::Retry; 2]);
    assert_eq!(ends(Failed::TimedOut), Next::GiveUp(Denied::Budget));
}

#[test]
fn hedges_stop_when_their_tokens_are_spent_and_come_back_with_traffic() {
    let mut settings = Settings::lookout();
    settings.hedge.burst_min_tokens = 1500.0;
    let mut bench = Bench::three(settings);
    let hedged = |bench: &mut Bench| {
        let mut attempts = request(bench, LIMITS);
        next(bench, &mut attempts).unwrap();
        hedge(bench, &mut attempts).map(drop)
    };
    let found = [hedged(&mut bench), hedged(&mut bench), hedged(&mut bench)];
    assert_eq!(found, [Ok(()), Ok(()), Err(NoHedge::Budget)], "700 tokens each");
    for _ in 0..20 {
        bench.pool.admit(&bench.ask(Timing::FirstToken, 700), bench.now);
    }
    assert_eq!(hedged(&mut bench), Ok(()), "a twentieth of 14,000 tokens");
    assert_eq!(bench.pool.overview(bench.now).hedge_tokens.1.to_bits(), 2100.0_f64.to_bits());
}

#[test]
fn a_hedge_that_was_not_sent_costs_nothing_and_is_not_tried_again() {
    let mut bench = three();
    let mut attempts = request(&bench, LIMITS);
    let first = next(&mut bench, &mut attempts).unwrap();
    let before = bench.pool.overview(bench.now).hedge_tokens;
    let unknown = hedge(&mut bench, &mut attempts).unwrap();
    attempts.hedge_not_sent(&bench.pool);
    assert_eq!(bench.pool.overview(bench.now).hedge_tokens, before);
    let other = hedge(&mut bench, &mut attempts).unwrap();
    assert!(![first, unknown].contains(&other));
    assert_eq!(hedge(&mut bench, &mut attempts), Err(NoHedge::Target));
}

#[test]
fn who_gives_up_alone_forgives_only_if_others_failed_too() {
    for (how_many, strikes) in [(1, 1.0), (2, 0.0)] {
        let mut bench = Bench::three(Settings::ema());
        let mut attempts = request(&bench, LIMITS);
        let mut last = 0;
        for n in 0..how_many {
            last = next(&mut bench, &mut attempts).unwrap();
            bench
                .pool
                .dispatch(last, attempts.ask(), bench.now)
                .unwrap()
                .failed(Backing::Elsewhere, bench.now);
            if n + 1 < how_many {
                attempts.failed(&bench.pool, last, Failed::Error, bench.now);
            }
        }
        attempts.gave_up(&bench.pool, last, Failed::Error, bench.now);
        assert!((bench.view(last).strikes - strikes * 0.67).abs() < 1e-9, "{how_many}");
    }
}

#[test]
fn a_prompt_that_is_too_long_or_a_pool_that_is_slow_is_not_hedged() {
    let mut bench = three();
    let ask = bench.ask(Timing::FirstToken, 32_001);
    let mut attempts = Attempts::new(ask, LIMITS);
    next(&mut bench, &mut attempts).unwrap();
    assert_eq!(hedge(&mut bench, &mut attempts), Err(NoHedge::Prompt));
    for n in 0..60 {
        bench.answer(n % 3, 1000);
    }
    for n in 0..12 {
        bench.answer(n % 3, 8000);
    }
    bench.pool.tick(bench.now);
    let mut attempts = request(&bench, LIMITS);
    next(&mut bench, &mut attempts).unwrap();
    assert_eq!(hedge(&mut bench, &mut attempts), Err(NoHedge::Congested));
}

#[test]
fn a_hedge_goes_to_a_healthy_target_only() {
    let mut bench = Bench::of(Settings::lookout(), vec![spec("a", 1, 1), spec("b", 1, 1)]);
    let mut attempts = request(&bench, LIMITS);
    let primary = next(&mut bench, &mut attempts).unwrap();
    let mut lease = bench.lease(1 - primary);
    bench.now = lease.next_deadline().unwrap();
    lease.overdue(bench.now);
    assert_eq!(hedge(&mut bench, &mut attempts), Err(NoHedge::Target), "the other is suspect");
    lease.first_token(bench.now);
    assert_eq!(hedge(&mut bench, &mut attempts), Ok(1 - primary));
}

/// The next attempt of that request ends in an error, wherever it goes.
fn fail_next(bench: &mut Bench, attempts: &mut Attempts) {
    let Ok(target) = next(bench, attempts) else { return };
    let lease = bench.pool.dispatch(target, attempts.ask(), bench.now).unwrap();
    lease.failed(Backing::Elsewhere, bench.now);
    attempts.failed(&bench.pool, target, Failed::Error, bench.now);
}

#[test]
fn a_request_that_fails_everywhere_takes_nobody_out() {
    for settings in [Settings::lookout(), Settings::ema()] {
        let mut bench = Bench::three(settings);
        for _ in 0..20 {
            // Three copies at the same time, as a client would send that retries by itself.
            let mut copies = [(); 3].map(|()| request(&bench, LIMITS));
            for turn in 0..9 {
                fail_next(&mut bench, &mut copies[turn % 3]);
            }
        }
        assert_eq!(bench.pool.count(State::Degraded, bench.now), 0);
    }
}

#[test]
fn nothing_is_held_back_when_nothing_else_could_be_tried() {
    let mut bench = Bench::of(Settings::lookout(), vec![spec("a", 1, 1), spec("b", 1, 1)]);
    let mut attempts = request(&bench, LIMITS);
    let first = next(&mut bench, &mut attempts).unwrap();
    assert!(attempts.could_go_elsewhere(&bench.pool, bench.now));
    attempts.failed(&bench.pool, first, Failed::Limited, bench.now);
    next(&mut bench, &mut attempts).unwrap();
    assert!(!attempts.could_go_elsewhere(&bench.pool, bench.now));
}
