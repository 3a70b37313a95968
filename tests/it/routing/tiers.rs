//! Tiers, weights and seats: who is first, what comes out as 75/25, and where the rest goes when the first is full.

use super::{Bench, spec};
use firstlight::routing::{
    Attempts, Block, Bound, Lease, Limits, NoTarget, Repeat, Settings, Switch, TargetSpec, Timing,
    Why,
};

/// How many of `draws` requests go to target 0, each answered at once.
fn share_of_first(bench: &mut Bench, draws: u32) -> u32 {
    let mut first = 0;
    for _ in 0..draws {
        let ask = bench.ask(Timing::FirstToken, 700);
        let limits = Limits { max_attempts: 3, repeat: Repeat::Anytime, bound: Bound::Free };
        let mut attempts = Attempts::new(ask, limits);
        let picked = attempts.next(&bench.pool, bench.now, &mut bench.rng).unwrap();
        assert_eq!(picked.why, Why::Weight);
        let lease = bench.pool.dispatch(picked.target, ask, bench.now).unwrap();
        bench.pass(0.9);
        assert_eq!(lease.first_token(bench.now), None);
        first += u32::from(picked.target == 0);
    }
    first
}

/// Four and a half standard deviations of a draw with probability 3/4: it fails by chance once in 150,000.
fn is_three_quarters(first: u32, draws: u32) -> bool {
    let deviation = (f64::from(draws) * 0.75 * 0.25).sqrt();
    (f64::from(first) - 0.75 * f64::from(draws)).abs() < 4.5 * deviation
}

#[test]
fn three_to_one_comes_out_as_75_to_25() {
    let mut bench = Bench::of(Settings::lookout(), vec![spec("a", 1, 75), spec("b", 1, 25)]);
    let first = share_of_first(&mut bench, 10_000);
    assert!(is_three_quarters(first, 10_000), "{first}");
    // The weights of a tier that is not used change nothing.
    let specs = vec![spec("a", 0, 3), spec("b", 0, 1), spec("payg", 1, 1000)];
    let first = share_of_first(&mut Bench::of(Settings::lookout(), specs), 10_000);
    assert!(is_three_quarters(first, 10_000), "{first}");
    assert!(!is_three_quarters(7_200, 10_000) && !is_three_quarters(7_800, 10_000));
}

fn with_seats(backend: &str, tier: u32, most: u32) -> TargetSpec {
    TargetSpec { max_in_flight: Some(most), ..spec(backend, tier, 1) }
}

/// A request that is under way where the pool sends it.
fn send(bench: &mut Bench, timing: Timing) -> Result<Lease, NoTarget> {
    let (target, _) = bench.picked()?;
    Ok(bench.pool.dispatch(target, bench.ask(timing, 700), bench.now).unwrap())
}

fn fill(bench: &mut Bench, times: usize) -> Vec<Lease> {
    (0..times).map(|_| send(bench, Timing::Untimed).unwrap()).collect()
}

fn targets(leases: &[Lease]) -> Vec<usize> {
    leases.iter().map(Lease::target).collect()
}

#[test]
fn a_full_first_tier_spills_and_is_back_as_soon_as_there_is_room() {
    let specs = vec![with_seats("ptu", 0, 10), with_seats("payg", 1, 5)];
    let mut bench = Bench::of(Settings::lookout(), specs);
    let mut paid = fill(&mut bench, 9);
    assert_eq!(targets(&paid), [0; 9], "nine of ten seats, and no more while others have room");
    let spilled = fill(&mut bench, 1);
    assert_eq!(targets(&spilled), [1]);
    drop(paid.pop());
    paid.extend(fill(&mut bench, 1));
    assert_eq!(targets(&paid), [0; 9], "back at once");
    let spilled: Vec<_> = spilled.into_iter().chain(fill(&mut bench, 4)).collect();
    assert_eq!(targets(&spilled), [1; 5], "four and a half of five are five");
    let last = fill(&mut bench, 1);
    assert_eq!(targets(&last), [0], "the last seat of all");
    assert_eq!(bench.picked(), Err(NoTarget::AllFull));
    assert!(bench.pool.dispatch(0, bench.ask(Timing::Untimed, 1), bench.now).is_none());
    assert_eq!((bench.view(0).seats, bench.view(0).in_flight), (10, 0));
    drop((paid, spilled));
    assert_eq!((bench.view(0).seats, bench.view(1).seats), (1, 0));
}

#[test]
fn a_limited_or_degraded_first_tier_spills_too() {
    let specs = vec![with_seats("ptu", 0, 10), spec("payg", 1, 1)];
    let mut bench = Bench::of(Settings::lookout(), specs);
    bench.lease(0).limited(None, bench.now);
    assert_eq!(bench.picked().unwrap().0, 1);
    bench.pass(60.0);
    bench.pool.tick(bench.now);
    assert_eq!(bench.picked().unwrap().0, 0);
    for _ in 0..6 {
        bench.fail(0);
    }
    assert_eq!(bench.picked().unwrap().0, 1);
}

/// A seat is free within seconds, a rest may last longer: that is told first.
#[test]
fn what_is_full_is_told_as_full() {
    let specs = vec![with_seats("a", 1, 1), spec("b", 1, 1)];
    let mut bench = Bench::of(Settings::lookout(), specs);
    bench.pool.set_block(1, Block::Drained, Switch::On);
    let held = send(&mut bench, Timing::FirstToken).unwrap();
    assert_eq!(bench.picked(), Err(NoTarget::AllFull));
    held.limited(None, bench.now);
    assert!(matches!(bench.picked(), Err(NoTarget::AllLimited(_))));
}

/// A degraded target is better than none.
#[test]
fn where_all_in_use_are_full_a_degraded_one_is_asked() {
    let specs = vec![with_seats("a", 1, 1), spec("b", 1, 1)];
    let mut bench = Bench::of(Settings::lookout(), specs);
    for _ in 0..6 {
        bench.fail(1);
    }
    let held = send(&mut bench, Timing::FirstToken).unwrap();
    assert_eq!(held.target(), 0);
    assert_eq!(bench.picked(), Ok((1, Why::Panic)));
}

#[test]
fn a_seat_outlasts_the_first_token_where_it_is_held() {
    let mut bench = Bench::of(Settings::lookout(), vec![with_seats("a", 1, 1)]);
    let mut lease = bench.lease(0);
    let seat = lease.take_seat();
    assert!(seat.is_some() && lease.take_seat().is_none());
    bench.pass(0.5);
    lease.first_token(bench.now);
    assert_eq!((bench.view(0).seats, bench.view(0).in_flight), (1, 0));
    assert_eq!(bench.picked(), Err(NoTarget::AllFull));
    drop(seat);
    assert_eq!(bench.picked().unwrap().0, 0);
}

#[test]
fn turns_pass_over_what_is_full() {
    let specs = vec![with_seats("a", 1, 2), spec("b", 1, 1)];
    let mut bench = Bench::of(Settings::round_robin(), specs);
    let held = fill(&mut bench, 10);
    assert_eq!(held.iter().filter(|lease| lease.target() == 0).count(), 2);
}

/// Two who ask at the same time do not both get the last seat.
#[test]
fn the_last_seat_is_taken_once() {
    let bench = Bench::of(Settings::lookout(), vec![with_seats("a", 1, 50)]);
    let (pool, ask, now) = (&bench.pool, bench.ask(Timing::Untimed, 1), bench.now);
    let taken: usize = std::thread::scope(|scope| {
        let take = || (0..100).filter_map(|_| pool.dispatch(0, ask, now)).collect::<Vec<_>>();
        let held = [0; 4].map(|_| scope.spawn(take)).map(|thread| thread.join().unwrap());
        held.iter().map(Vec::len).sum()
    });
    assert_eq!(taken, 50);
}
