//! Prompt-cache affinity: a key has a target, until that is clearly worse than another.

use super::{Bench, spec};
use firstlight::routing::{
    Ask, Block, Lease, NoTarget, Picked, Settings, Switch, TargetSpec, Timing, Used, Why,
};

/// Keys are hashes: any spread-out numbers will do.
fn key(n: u64) -> u64 {
    firstlight::rng::Rng::from_seed(n).bits()
}

fn pick(bench: &mut Bench, key: Option<u64>, used: &Used) -> Result<Picked, NoTarget> {
    let ask = Ask { affinity: key, ..bench.ask(Timing::FirstToken, 700) };
    bench.pool.pick_for(&ask, used, bench.now, &mut bench.rng)
}

fn target(bench: &mut Bench, n: u64) -> usize {
    pick(bench, Some(key(n)), &Used::default()).unwrap().target
}

fn targets(bench: &mut Bench, keys: u64) -> Vec<usize> {
    (0..keys).map(|n| target(bench, n)).collect()
}

/// All three are known and equally fast.
fn three() -> Bench {
    learned(Bench::three(Settings::lookout()))
}

fn learned(mut bench: Bench) -> Bench {
    for n in 0..60 {
        bench.answer(n % bench.pool.len(), 1000);
    }
    bench.pool.tick(bench.now);
    bench
}

fn share(targets: &[usize], of: usize) -> f64 {
    let count = |n: usize| f64::from(u32::try_from(n).unwrap());
    count(targets.iter().filter(|target| **target == of).count()) / count(targets.len())
}

#[test]
fn a_key_keeps_its_target_and_keys_are_spread() {
    let mut bench = three();
    let first = targets(&mut bench, 3_000);
    assert_eq!(first, targets(&mut bench, 3_000));
    // Four and a half standard deviations of 0.0086.
    assert!((0..3).all(|t| (share(&first, t) - 1.0 / 3.0).abs() < 0.039), "{}", share(&first, 0));
    assert_eq!(pick(&mut bench, Some(key(1)), &Used::default()).unwrap().why, Why::Affinity);
    let without = pick(&mut bench, None, &Used::default()).unwrap();
    assert_eq!(without.why, Why::Cost);
}

#[test]
fn weights_hold_over_many_keys() {
    let mut bench = Bench::of(Settings::lookout(), vec![spec("a", 1, 75), spec("b", 1, 25)]);
    let found = targets(&mut bench, 4_000);
    // Four and a half standard deviations of 0.0068.
    assert!((share(&found, 0) - 0.75).abs() < 0.031, "{}", share(&found, 0));
    assert_eq!(found, targets(&mut bench, 4_000));
}

#[test]
fn instances_agree_whatever_the_order_of_their_backends() {
    let mut one = three();
    let turned = vec![spec("c", 1, 1), spec("a", 1, 1), spec("b", 1, 1)];
    let mut other = learned(Bench::of(Settings::lookout(), turned));
    let places = targets(&mut other, 500).into_iter().map(|target| [2, 0, 1][target]);
    assert_eq!(targets(&mut one, 500), places.collect::<Vec<_>>());
}

/// Out of use in whatever way: its keys move, those of others do not, and they are back when it is.
#[test]
fn only_the_keys_of_a_target_that_is_gone_move() {
    let mut bench = three();
    let before = targets(&mut bench, 500);
    let check_moved = |bench: &mut Bench, what: &str| {
        let now = targets(bench, 500);
        assert!(!now.contains(&0), "{what}");
        let stayed = before.iter().zip(&now).filter(|(before, _)| **before != 0);
        assert!(stayed.clone().all(|(before, now)| before == now), "{what}");
    };
    bench.pool.set_block(0, Block::Drained, Switch::On);
    bench.pool.tick(bench.now);
    check_moved(&mut bench, "drained");
    bench.pool.set_block(0, Block::Drained, Switch::Off);
    bench.pool.tick(bench.now);
    assert_eq!(targets(&mut bench, 500), before);
    // Three times as slow: more than 1.5 times the cheapest.
    for _ in 0..8 {
        bench.answer(0, 2500);
    }
    bench.pool.tick(bench.now);
    check_moved(&mut bench, "slow");
    bench.lease(0).limited(None, bench.now);
    check_moved(&mut bench, "limited");
}

#[test]
fn a_retry_has_a_second_choice_that_is_as_steady() {
    let mut bench = three();
    let mut used = Used::default();
    let first = target(&mut bench, 5);
    assert!(used.add(first));
    let second = pick(&mut bench, Some(key(5)), &used).unwrap().target;
    assert_ne!(first, second);
    assert!((0..20).all(|_| pick(&mut bench, Some(key(5)), &used).unwrap().target == second));
}

#[test]
fn it_can_be_switched_off() {
    let mut settings = Settings::lookout();
    settings.affinity.enabled = false;
    let mut bench = learned(Bench::of(settings, vec![spec("a", 1, 1), spec("b", 1, 1)]));
    let found: Vec<usize> = (0..50).map(|_| target(&mut bench, 7)).collect();
    assert!(found.contains(&0) && found.contains(&1), "{found:?}");
}

/// A prompt that all users share, not streamed: its wait shows in no score, its attempts do.
#[test]
fn one_key_does_not_put_everything_on_one_target() {
    let mut bench = three();
    let mut held: Vec<Lease> = Vec::new();
    for _ in 0..90 {
        let found = target(&mut bench, 3);
        let ask = bench.ask(Timing::Untimed, 700);
        held.push(bench.pool.dispatch(found, ask, bench.now).unwrap());
    }
    let found: Vec<usize> = held.iter().map(Lease::target).collect();
    let most = (0..3).map(|t| share(&found, t)).fold(0.0, f64::max);
    assert!((0.35..0.85).contains(&most), "{most}");
}

#[test]
fn the_first_tier_comes_first_and_seats_are_spared() {
    let ptu = TargetSpec { max_in_flight: Some(10), ..spec("ptu", 0, 1) };
    let mut bench = Bench::of(Settings::lookout(), vec![ptu, spec("a", 1, 1), spec("b", 1, 1)]);
    assert_eq!(targets(&mut bench, 100), [0; 100]);
    let held: Vec<Lease> = (0..9).map(|_| bench.lease(0)).collect();
    assert!(!targets(&mut bench, 100).contains(&0));
    drop(held);
    assert_eq!(targets(&mut bench, 100), [0; 100]);
}
