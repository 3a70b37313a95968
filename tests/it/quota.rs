//! Limits of an app: what they promise, whatever is asked and whenever.

use firstlight::quota::{Admission, Limits, Quota, What};
use firstlight::time::Time;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);

fn quota(limits: Limits) -> Arc<Quota> {
    Arc::new(Quota::new(limits))
}

fn tokens(limit: u32) -> Limits {
    Limits { tokens_per_minute: Some(limit), ..Limits::default() }
}

fn requests(limit: u32) -> Limits {
    Limits { requests_per_minute: Some(limit), ..Limits::default() }
}

fn at(ms: u64) -> Time {
    Time::at(Duration::from_millis(ms))
}

fn left(quota: &Quota, now: Time) -> u32 {
    quota.room(now).tokens.unwrap().remaining
}

/// A whole request for so many tokens; what met a limit, and how long to wait.
fn ask(quota: &Arc<Quota>, now: Time, tokens: u64) -> Result<Admission, (What, Duration)> {
    let admitted = quota.admit(now).and_then(|admission| admission.reserve(now, tokens));
    admitted.map_err(|over| (over.what, over.retry_after))
}

#[test]
fn without_limits_everything_passes() {
    let quota = quota(Limits::default());
    (0..1000).for_each(|_| drop(ask(&quota, Time::ZERO, u64::MAX).unwrap()));
    assert_eq!(quota.room(Time::ZERO), firstlight::quota::Room::default());
}

#[test]
fn a_limit_of_nothing_admits_nothing() {
    let none = Some(0);
    for (limits, what) in [
        (requests(0), What::Requests),
        (tokens(0), What::Tokens),
        (Limits { concurrent: none, ..Limits::default() }, What::Concurrent),
    ] {
        let quota = quota(limits);
        for now in [Time::ZERO, at(3_600_000), Time::END] {
            assert_eq!(ask(&quota, now, 1).unwrap_err().0, what);
        }
    }
}

#[test]
fn a_minutes_worth_at_once_then_the_even_rate() {
    let quota = quota(requests(60));
    let admitted = (0..100).filter(|_| quota.admit(Time::ZERO).is_ok()).count();
    assert_eq!(admitted, 60);
    let over = quota.admit(at(100)).unwrap_err();
    assert_eq!((over.what, over.retry_after), (What::Requests, Duration::from_millis(900)));
    let left = over.room.requests.unwrap();
    assert_eq!((left.limit, left.remaining), (60, 0));
    assert_eq!(left.reset, Duration::from_millis(59_900));
    assert!(quota.admit(at(999)).is_err());
    assert!(quota.admit(at(1_000)).is_ok());
    assert!(quota.admit(at(1_000)).is_err());
}

#[test]
fn a_refusal_costs_nothing() {
    let both = Limits { requests_per_minute: Some(2), ..tokens(100) };
    let quota = quota(both);
    let _first = ask(&quota, Time::ZERO, 80).unwrap();
    for _ in 0..50 {
        assert_eq!(ask(&quota, Time::ZERO, 40).unwrap_err().0, What::Tokens);
    }
    let room = quota.room(Time::ZERO);
    assert_eq!((room.requests.unwrap().remaining, room.tokens.unwrap().remaining), (1, 20));
    let _second = ask(&quota, Time::ZERO, 20).unwrap();
    for _ in 0..50 {
        assert_eq!(quota.admit(Time::ZERO).unwrap_err().what, What::Requests);
    }
    let wait = quota.admit(Time::ZERO).unwrap_err().retry_after;
    assert_eq!(wait, Duration::from_secs(30), "however often it asked");
}

#[test]
fn more_than_a_whole_minute_passes_when_nothing_is_used() {
    let quota = quota(tokens(1_000));
    let mut large = ask(&quota, Time::ZERO, 16_384).unwrap();
    let (what, wait) = ask(&quota, Time::ZERO, 16_384).unwrap_err();
    assert_eq!((what, wait), (What::Tokens, MINUTE));
    large.settle(Time::ZERO, 400);
    assert_eq!(left(&quota, Time::ZERO), 600);
    let (_, wait) = ask(&quota, Time::ZERO, 16_384).unwrap_err();
    assert_eq!(wait, Duration::from_secs(24));
    assert!(ask(&quota, Time::ZERO + wait, 16_384).is_ok());
}

#[test]
fn debt_is_waited_for_and_bounded() {
    let quota = quota(tokens(600));
    ask(&quota, Time::ZERO, 100).unwrap().settle(Time::ZERO, 700);
    let (_, wait) = ask(&quota, Time::ZERO, 50).unwrap_err();
    assert_eq!(wait, Duration::from_secs(15), "100 of debt and 50 at 10 a second");
    let mut worse = ask(&quota, at(15_000), 50).unwrap();
    worse.settle(at(15_000), u64::MAX);
    let over = quota.admit(at(15_000)).unwrap().reserve(at(15_000), 1).unwrap_err();
    assert!(over.retry_after <= MINUTE + Duration::from_millis(100), "{over:?}");
    assert_eq!((over.asked, over.room.tokens.unwrap().reset), (1, 2 * MINUTE));
}

#[test]
fn other_limits_keep_what_is_used() {
    let quota = quota(tokens(1_000));
    let mut running = ask(&quota, Time::ZERO, 600).unwrap();
    quota.change(Time::ZERO, tokens(2_000));
    assert_eq!(left(&quota, Time::ZERO), 1_400);
    quota.change(Time::ZERO, tokens(700));
    assert_eq!(left(&quota, Time::ZERO), 100);
    quota.change(Time::ZERO, tokens(500));
    assert_eq!(left(&quota, Time::ZERO), 0);
    running.settle(Time::ZERO, 10);
    assert_eq!(left(&quota, Time::ZERO), 490);
    quota.change(Time::ZERO, Limits::default());
    assert!(ask(&quota, Time::ZERO, u64::MAX).is_ok());
    running.settle(Time::ZERO, 20);
    let both = Limits { concurrent: Some(1), ..tokens(300) };
    quota.change(at(1), both);
    assert_eq!(left(&quota, at(1)), 300, "a new limit begins with nothing used");
    let (what, _) = ask(&quota, at(1), 1).unwrap_err();
    assert_eq!(what, What::Concurrent, "what was under way before counts");
    drop(running);
    assert!(ask(&quota, at(1), 1).is_ok());
}

/// The use was given back before the change: what is left of it is what counts, not what it once was.
#[test]
fn other_limits_forget_what_has_come_back() {
    let quota = quota(requests(60));
    (0..60).for_each(|_| drop(quota.admit(Time::ZERO)));
    quota.change(at(60_000), requests(6));
    assert_eq!(quota.room(at(60_000)).requests.unwrap().remaining, 6);
}

#[test]
fn a_place_is_held_once_by_each_of_many_threads() {
    let most = 7;
    let quota = quota(Limits { concurrent: Some(most), ..Limits::default() });
    let (inside, admitted) = (AtomicU32::new(0), AtomicU32::new(0));
    let come_and_go = || {
        let Ok(admission) = quota.admit(Time::ZERO) else { return };
        admitted.fetch_add(1, SeqCst);
        assert!(inside.fetch_add(1, SeqCst) < most);
        std::thread::yield_now();
        inside.fetch_sub(1, SeqCst);
        drop(admission);
    };
    std::thread::scope(|threads| {
        for _ in 0..16 {
            threads.spawn(|| (0..2_000).for_each(|_| come_and_go()));
        }
    });
    assert!(admitted.into_inner() > 0);
    assert_eq!(quota.room(Time::ZERO).concurrent, Some((most, most)));
    let held: Vec<_> = (0..most).map(|_| quota.admit(Time::ZERO).unwrap()).collect();
    assert_eq!(quota.admit(Time::ZERO).unwrap_err().room.concurrent, Some((most, 0)));
    drop(held);
    assert_eq!(quota.room(Time::ZERO).concurrent, Some((most, most)));
}

/// A step of an app's life: what it asks, how much later, and what was used of it in truth.
#[derive(Clone, Copy, Debug)]
struct Step {
    later_ms: u64,
    tokens: u64,
    used: Option<u64>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..20_000_u64, 0..3_000_u64, proptest::option::of(0..1_000_u64))
        .prop_map(|(later_ms, tokens, used)| Step { later_ms, tokens, used });
    proptest::collection::vec(step, 1..200)
}

/// Amounts that were admitted, with their moments. In no minute there were more than twice the limit.
fn check_minutes(admitted: &[(u64, u64)], limit: u64) -> Result<(), TestCaseError> {
    for (n, (from, _)) in admitted.iter().enumerate() {
        let minute = admitted[n..].iter().take_while(|(at, _)| *at <= from + 60_000);
        let sum: u64 = minute.map(|(_, amount)| amount).sum();
        prop_assert!(sum <= 2 * limit, "{sum} in the minute from {from}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_minute_has_more_than_the_limit_and_its_burst(steps in steps(), limit in 1..50_u32) {
        let quota = quota(requests(limit));
        let (mut now, mut admitted) = (0, Vec::new());
        for step in &steps {
            now += step.later_ms / 20;
            if quota.admit(at(now)).is_ok() {
                admitted.push((now, 1));
            }
        }
        check_minutes(&admitted, limit.into())?;
    }

    #[test]
    fn no_minute_has_more_tokens_than_the_limit_and_its_burst(
        steps in steps(),
        limit in 1..5_000_u32,
    ) {
        let quota = quota(tokens(limit));
        let (mut now, mut admitted) = (0, Vec::new());
        for step in &steps {
            now += step.later_ms;
            if ask(&quota, at(now), step.tokens).is_ok() {
                admitted.push((now, step.tokens.min(limit.into())));
            }
        }
        check_minutes(&admitted, limit.into())?;
    }

    /// What is left is what an account in whole numbers says, after any number of settlements.
    #[test]
    fn nothing_is_lost_or_made_by_settling(steps in steps(), limit in 1_000..100_000_u32) {
        let quota = quota(tokens(limit));
        // In thousandths of a token per 60 ms, which is what comes in in a millisecond.
        let most = i128::from(limit) * 60_000;
        let (mut now, mut account) = (0, most);
        for step in &steps {
            now += step.later_ms;
            account = (account + i128::from(limit) * i128::from(step.later_ms)).min(most);
            let Ok(mut admission) = ask(&quota, at(now), step.tokens) else { continue };
            let estimate = step.tokens.min(limit.into());
            account -= i128::from(estimate) * 60_000;
            if let Some(used) = step.used {
                admission.settle(at(now), used);
                account += (i128::from(estimate) - i128::from(used)) * 60_000;
                account = account.clamp(-most, most);
            }
            let expected = u32::try_from(account / 60_000).unwrap_or(0);
            prop_assert_eq!(left(&quota, at(now)), expected);
        }
    }

    #[test]
    fn a_refund_is_exact(taken in 0..1_000_u64, used in 0..1_000_u64, before in 0..1_000_u64) {
        let quota = quota(tokens(3_000));
        let _before = ask(&quota, Time::ZERO, before).unwrap();
        let mut one = ask(&quota, Time::ZERO, taken).unwrap();
        for actual in [0, used, taken, used] {
            one.settle(Time::ZERO, actual);
            prop_assert_eq!(u64::from(left(&quota, Time::ZERO)), 3_000 - before - actual);
        }
        drop(one);
        prop_assert_eq!(u64::from(left(&quota, Time::ZERO)), 3_000 - before - used);
    }

    /// The wait that is named is enough, and no shorter one is.
    #[test]
    fn the_wait_is_honest(
        steps in steps(),
        per_minute in 1..100_u32,
        token_limit in 1..10_000_u32,
    ) {
        let limits = Limits { requests_per_minute: Some(per_minute), ..tokens(token_limit) };
        let mut now = Time::ZERO;
        let quota = quota(limits);
        for step in &steps {
            now = now + Duration::from_millis(step.later_ms / 10);
            match ask(&quota, now, step.tokens) {
                Ok(mut admission) => {
                    if let Some(used) = step.used {
                        admission.settle(now, used);
                    }
                }
                Err((what, wait)) => {
                    prop_assert!(wait > Duration::ZERO && wait <= 2 * MINUTE);
                    let early = now + wait.saturating_sub(Duration::from_nanos(1));
                    prop_assert_eq!(ask(&quota, early, step.tokens).unwrap_err().0, what);
                    now = now + wait;
                    // Behind the limit for requests there may be the one for tokens.
                    match ask(&quota, now, step.tokens) {
                        Ok(_) => {}
                        Err((next, _)) => prop_assert_eq!((what, next), (What::Requests, What::Tokens)),
                    }
                }
            }
        }
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing(
        moments in proptest::collection::vec(0..60_000_u64, 1..100),
    ) {
        let quota = quota(requests(10));
        (0..10).for_each(|_| drop(quota.admit(at(60_000)).unwrap()));
        for moment in moments {
            prop_assert!(quota.admit(at(moment)).is_err());
        }
        prop_assert!(quota.admit(at(66_000)).is_ok());
        prop_assert!(quota.admit(at(66_000)).is_err());
    }
}
