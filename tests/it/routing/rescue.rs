//! Who races a request that is stuck where no healthy target is left.

use super::lookout::{degrade, pass_deadline, warmed};
use super::{Bench, changed, spec};
use firstlight::routing::{
    Attempts, Block, Bound, Change, Lease, Limits, NoHedge, Picked, ProbeOutcome, Repeat, Settings,
    State, Switch, Timing, Urgency, Why,
};
use std::time::Duration;

const LIMITS: Limits = Limits { max_attempts: 3, repeat: Repeat::Anytime, bound: Bound::Free };

/// So many targets that usually answer after a second, and are known to.
fn pool_of(targets: usize) -> Bench {
    let specs = (0..targets).map(|n| spec(&n.to_string(), 1, 1)).collect();
    warmed(Bench::of(Settings::lookout(), specs))
}

/// Two targets, of which the second is degraded.
fn two() -> Bench {
    let mut bench = pool_of(2);
    degrade(&mut bench, 1);
    bench.pool.tick(bench.now);
    bench
}

/// One request, and its first attempt.
struct Request {
    attempts: Attempts,
    lease: Lease,
}

fn request_of(bench: &mut Bench, limits: Limits) -> Request {
    let mut attempts = Attempts::new(bench.ask(Timing::FirstToken, 700), limits);
    let picked = attempts.next(&bench.pool, bench.now, &mut bench.rng).unwrap();
    let lease = bench.pool.dispatch(picked.target, attempts.ask(), bench.now).unwrap();
    Request { attempts, lease }
}

/// The first that goes to the first target: some may go to a degraded one all the same.
fn request_to_0(bench: &mut Bench) -> Request {
    let mut tries = (0..100).map(|_| request_of(bench, LIMITS));
    tries.find(|request| request.lease.target() == 0).unwrap()
}

impl Request {
    fn race(&mut self, bench: &mut Bench, urgency: Urgency) -> Result<Picked, NoHedge> {
        self.attempts.hedge(&bench.pool, urgency, bench.now, &mut bench.rng)
    }

    /// What its next deadlines that allow a race lead to.
    fn races(&mut self, bench: &mut Bench) -> Vec<Result<Picked, NoHedge>> {
        let mut found = Vec::new();
        // D, T and 2 T; what is stuck asks again after those.
        for _ in 0..3 {
            if let Some(urgency) = pass_deadline(bench, &mut self.lease).hedge {
                found.push(self.race(bench, urgency));
            }
        }
        found
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what it is compared with is a result")]
const fn rescued_by(target: usize) -> Result<Picked, NoHedge> {
    Ok(Picked { target, why: Why::Rescue })
}

#[expect(clippy::unnecessary_wraps, reason = "what it is compared with is a result")]
const fn hedged_by(target: usize) -> Result<Picked, NoHedge> {
    Ok(Picked { target, why: Why::Hedge })
}

#[test]
fn what_is_stuck_is_raced_by_a_degraded_target_and_what_is_late_is_not() {
    let mut bench = two();
    let mut request = request_of(&mut bench, LIMITS);
    let sent = bench.now;
    assert_eq!(request.lease.target(), 0);
    assert_eq!(request.races(&mut bench), [Err(NoHedge::Degraded), rescued_by(1)]);
    let after = bench.now.since(sent).as_secs_f64();
    assert!((4.0..8.0).contains(&after), "2 T: {after}");
    assert_eq!((request.attempts.started(), request.attempts.open()), (2, 2));
    assert_ne!(bench.pool.overview(bench.now).hedge_tokens.1.to_bits(), 0.0_f64.to_bits());
}

/// A lost attempt is a lower bound, and here the only target that counts has it: it looks congested.
#[test]
fn a_frozen_region_is_no_busy_pool() {
    let mut bench = two();
    for n in 0..5 {
        let mut request = request_to_0(&mut bench);
        let races = request.races(&mut bench);
        assert_eq!(races.last(), Some(&rescued_by(1)), "request {n}");
        request.lease.cancelled(bench.now);
        bench.pool.tick(bench.now);
        let overview = bench.pool.overview(bench.now);
        assert!(overview.pool_ratio > 2.0, "no longer what this test is about: {overview:?}");
    }
    assert_ne!(bench.state(0), State::Degraded, "the guards hold: the other is out");
}

#[test]
fn while_anything_in_use_is_left_nothing_degraded_is_asked() {
    let mut bench = pool_of(3);
    degrade(&mut bench, 2);
    bench.pool.tick(bench.now);
    let mut request = request_of(&mut bench, LIMITS);
    let first = request.lease.target();
    let other = 1 - first;
    // The other one is suspect: it is neither raced nor passed over.
    let mut late = bench.lease(other);
    pass_deadline(&mut bench, &mut late);
    let on = Urgency::Stuck { on: first };
    assert_eq!(request.race(&mut bench, on), Err(NoHedge::Target));
    late.first_token(bench.now);
    assert_eq!(request.race(&mut bench, on), hedged_by(other));
    assert_eq!(request.race(&mut bench, on), rescued_by(2), "now both were asked");
}

#[test]
fn a_target_that_comes_back_is_asked_before_a_degraded_one() {
    let mut bench = pool_of(4);
    for target in [2, 3] {
        degrade(&mut bench, target);
        bench.pass(60.0);
    }
    let good = ProbeOutcome::FirstToken(Duration::from_millis(900));
    bench.probe(3, good);
    assert_eq!(bench.probe(3, good), changed(3, Change::Recovering));
    bench.pool.set_block(1, Block::Drained, Switch::On);
    bench.pool.tick(bench.now);
    let mut request = request_to_0(&mut bench);
    assert_eq!(request.race(&mut bench, Urgency::Late), Err(NoHedge::Target), "not for a late one");
    assert_eq!(request.race(&mut bench, Urgency::Stuck { on: 0 }), rescued_by(3));
}

#[test]
fn the_cheapest_of_the_degraded_ones_is_asked() {
    let mut bench = pool_of(4);
    for (target, ms) in [(2, 9000), (3, 4500)] {
        degrade(&mut bench, target);
        for _ in 0..20 {
            bench.answer(target, ms);
        }
    }
    for target in [0, 1] {
        for _ in 0..20 {
            bench.answer(target, 1000);
        }
    }
    assert_eq!([2, 3].map(|target| bench.state(target)), [State::Degraded; 2]);
    bench.pool.set_block(1, Block::AuthFailed, Switch::On);
    bench.pool.tick(bench.now);
    for _ in 0..20 {
        let mut request = request_of(&mut bench, LIMITS);
        assert_eq!(request.race(&mut bench, Urgency::Stuck { on: 0 }), rescued_by(3));
    }
}

#[test]
fn a_target_that_rests_or_is_blocked_is_no_rescue() {
    let mut bench = two();
    let wait = Some(Duration::from_secs(5));
    let mut limited = request_of(&mut bench, LIMITS);
    bench.lease(1).limited(wait, bench.now);
    let on = Urgency::Stuck { on: 0 };
    assert_eq!(limited.race(&mut bench, on), Err(NoHedge::Target));
    bench.pass(5.0);
    bench.pool.set_block(1, Block::Drained, Switch::On);
    assert_eq!(limited.race(&mut bench, on), Err(NoHedge::Target));
    bench.pool.set_block(1, Block::Drained, Switch::Off);
    assert_eq!(limited.race(&mut bench, on), rescued_by(1));
}

/// Two in use, both of which answer after eight seconds; the third is degraded.
#[test]
fn when_the_others_are_slow_nothing_is_added_to_the_load() {
    let mut bench = pool_of(3);
    degrade(&mut bench, 2);
    for n in 0..12 {
        bench.answer(n % 2, 8000);
    }
    bench.pool.tick(bench.now);
    let mut request = request_of(&mut bench, LIMITS);
    let on = request.lease.target();
    assert_eq!(request.race(&mut bench, Urgency::Stuck { on }), Err(NoHedge::Congested));
    // The same where the other was asked, too: its answers still tell that it is slow.
    let next = request.attempts.next(&bench.pool, bench.now, &mut bench.rng).unwrap();
    assert_ne!(next.target, 2, "the panic would be something else");
    assert_eq!(request.race(&mut bench, Urgency::Stuck { on }), Err(NoHedge::Congested));
}

/// A draining made a minority of the degraded ones a majority: their middle is no overload.
#[test]
fn a_pool_of_mostly_degraded_targets_is_not_a_congested_one() {
    let mut bench = pool_of(4);
    for target in [2, 3] {
        degrade(&mut bench, target);
    }
    bench.pool.set_block(1, Block::Drained, Switch::On);
    bench.pool.tick(bench.now);
    assert!(bench.pool.overview(bench.now).pool_ratio > 2.0);
    let mut request = request_to_0(&mut bench);
    assert!(request.race(&mut bench, Urgency::Stuck { on: 0 }).is_ok());
}

#[test]
fn where_nothing_at_all_is_in_use_all_are_slow() {
    let mut bench = two();
    bench.pool.set_block(0, Block::Drained, Switch::On);
    let mut request = request_of(&mut bench, LIMITS);
    assert_eq!(request.lease.target(), 1, "it is what there is");
    let on = Urgency::Stuck { on: 1 };
    assert_eq!(request.race(&mut bench, on), Err(NoHedge::Target));
    let mut four = pool_of(4);
    for target in [2, 3] {
        degrade(&mut four, target);
    }
    for target in [0, 1] {
        four.pool.set_block(target, Block::Drained, Switch::On);
    }
    let mut request = request_of(&mut four, LIMITS);
    let on = Urgency::Stuck { on: request.lease.target() };
    assert_eq!(request.race(&mut four, on), Err(NoHedge::Congested));
}

#[test]
fn a_rescue_is_bound_by_what_binds_a_hedge() {
    let mut bench = two();
    let on = Urgency::Stuck { on: 0 };
    let once = Limits { repeat: Repeat::OnlyUntouched, ..LIMITS };
    for limits in [once, Limits { bound: Bound::Only(0), ..LIMITS }] {
        let mut request = request_of(&mut bench, limits);
        assert_eq!(request.race(&mut bench, on), Err(NoHedge::NotAllowed));
    }
    let mut spent = 0;
    let denied = loop {
        let mut request = request_of(&mut bench, LIMITS);
        if let Err(denied) = request.race(&mut bench, on) {
            break denied;
        }
        spent += 1;
    };
    assert_eq!((denied, spent), (NoHedge::Budget, 28), "20,000 tokens, 700 each");
    let mut settings = Settings::lookout();
    settings.hedge.max_per_request = 0;
    let mut none = warmed(Bench::of(settings, vec![spec("a", 1, 1), spec("b", 1, 1)]));
    degrade(&mut none, 1);
    let mut request = request_of(&mut none, LIMITS);
    assert_eq!(request.race(&mut none, on), Err(NoHedge::Attempts));
}

/// As for any request that went there: good answers lead back, slow ones do not.
#[test]
fn the_answer_to_a_rescue_is_an_answer() {
    for (ms, state) in [(1000, State::Recovering), (9000, State::Degraded)] {
        let mut bench = two();
        for _ in 0..2 {
            let mut request = request_of(&mut bench, LIMITS);
            let picked = request.race(&mut bench, Urgency::Stuck { on: 0 }).unwrap();
            let ask = request.attempts.ask();
            let rescue = bench.pool.dispatch(picked.target, ask, bench.now).unwrap();
            bench.now = bench.now + Duration::from_millis(ms);
            rescue.first_token(bench.now);
            drop(request);
        }
        assert_eq!(bench.state(1), state, "{ms} ms");
    }
}

/// One of a hundred targets is open, and a few draws would miss it.
#[test]
fn the_last_open_target_is_found_among_many() {
    let specs = (0..100).map(|n| spec(&n.to_string(), 1, 1)).collect();
    let mut bench = Bench::of(Settings::lookout(), specs);
    let first = (0..100).map(|_| bench.fail(7)).find(Option::is_some);
    assert!(first.is_some(), "errors take it out");
    for target in (0..100).filter(|target| *target != 7) {
        bench.lease(target).limited(Some(Duration::from_mins(1)), bench.now);
    }
    bench.pool.tick(bench.now);
    for _ in 0..20 {
        assert_eq!(bench.picked(), Ok((7, Why::Panic)));
    }
}
