//! Rate limits on the virtual clock: backends with a token bucket of their own behind a pool, and what reaches them.
//!
//! Shares are counted, of requests that arrive at random for minutes.

use super::{Bench, spec};
use firstlight::rng::Rng;
use firstlight::routing::{
    Ask, Attempts, Bound, Counts, Failed, Lease, Limits, Next, NoTarget, Refusal, Repeat, Settings,
    Timing, Used, Why,
};
use firstlight::time::Time;
use std::collections::BTreeMap;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: Limits = Limits { max_attempts: 3, repeat: Repeat::Anytime, bound: Bound::Free };
/// Requests above this are the oversize ones.
const SMALL: u64 = 10_000;

/// A backend that serves so many units in a second, and saves up some.
struct Bucket {
    rate: f64,
    most: f64,
    level: f64,
    at: Time,
}

impl Bucket {
    fn take(&mut self, units: f64, now: Time) -> bool {
        self.level = self.most.min(self.level + self.rate * now.since(self.at).as_secs_f64());
        self.at = now;
        let fits = units <= self.level;
        if fits {
            self.level -= units;
        }
        fits
    }
}

/// Backends, and requests to them.
struct Load {
    settings: Settings,
    tiers: Vec<u32>,
    /// What each backend serves in a second, and saves up.
    rate: f64,
    most: f64,
    /// What a 429 asks for, and what it counts.
    refusal: Refusal,
    /// Requests in a second.
    rps: f64,
    timing: Timing,
    /// How long a response takes, in milliseconds; a refusal takes 20.
    takes_ms: u64,
    /// The size of the request of that number.
    size: fn(u64) -> u64,
    /// What a request of that size costs a backend.
    cost: fn(u64) -> f64,
}

/// What came of it.
#[derive(Debug, Default)]
struct Came {
    served: u32,
    refused_upstream: u32,
    /// Small requests, and those of them that were refused.
    small: u32,
    small_refused: u32,
    /// Attempts by target.
    sent: [u32; 3],
}

impl Load {
    /// Three equal backends that serve `rate` requests in a second each.
    fn of(rps: f64, rate: f64, asked: Option<u64>) -> Self {
        Self {
            settings: Settings::lookout(),
            tiers: vec![1; 3],
            rate,
            most: rate,
            refusal: Refusal::from(asked.map(Duration::from_secs)),
            rps,
            timing: Timing::FirstToken,
            takes_ms: 300,
            size: |_| 700,
            cost: |_| 1.0,
        }
    }

    fn run(&self, seconds: u32) -> Came {
        let specs = self.tiers.iter().enumerate().map(|(n, tier)| spec(&n.to_string(), *tier, 1));
        let bench = Bench::of(self.settings.clone(), specs.collect());
        let bucket =
            || Bucket { rate: self.rate, most: self.most, level: self.most, at: bench.now };
        let buckets = self.tiers.iter().map(|_| bucket()).collect();
        let (end, tick) = (bench.now + SECOND * seconds, bench.now);
        let mut world = Running {
            load: self,
            buckets,
            open: BTreeMap::new(),
            next: 0,
            came: Came::default(),
            arrival: tick,
            tick,
            luck: Rng::from_seed(5),
            bench,
        };
        while world.bench.now < end {
            world.step();
        }
        world.came
    }
}

/// A load that runs.
struct Running<'a> {
    load: &'a Load,
    bench: Bench,
    buckets: Vec<Bucket>,
    /// Attempts under way, by when their response comes.
    open: BTreeMap<(Time, u64), Open>,
    next: u64,
    came: Came,
    arrival: Time,
    tick: Time,
    luck: Rng,
}

struct Open {
    attempts: Attempts,
    lease: Lease,
    served: bool,
}

impl Running<'_> {
    fn step(&mut self) {
        let due = self.open.keys().next().map_or(Time::END, |(at, _)| *at);
        self.bench.now = self.arrival.min(self.tick).min(due);
        if self.bench.now == self.tick {
            self.bench.pool.tick(self.bench.now);
            self.tick = self.tick + SECOND / 2;
        } else if self.bench.now == self.arrival {
            self.arrive();
        } else if let Some((_, open)) = self.open.pop_first() {
            self.hear(open);
        }
    }

    fn arrive(&mut self) {
        self.next += 1;
        let tokens = (self.load.size)(self.next);
        let ask = Ask { tokens, request: self.next, ..self.bench.ask(self.load.timing, 500) };
        self.bench.pool.admit(&ask, self.bench.now);
        self.came.small += u32::from(tokens < SMALL);
        self.send(Attempts::new(ask, LIMITS));
        let gap = -(1.0 - self.luck.unit()).ln() / self.load.rps;
        self.arrival = self.arrival + Duration::from_secs_f64(gap);
    }

    fn send(&mut self, mut attempts: Attempts) {
        let now = self.bench.now;
        let Ok(picked) = attempts.next(&self.bench.pool, now, &mut self.bench.rng) else {
            return self.refuse(&attempts);
        };
        let ask = attempts.ask();
        let lease = self.bench.pool.dispatch(picked.target, ask, now).unwrap();
        let served = self.buckets[picked.target].take((self.load.cost)(ask.tokens), now);
        self.came.sent[picked.target] += 1;
        let takes = Duration::from_millis(if served { self.load.takes_ms } else { 20 });
        self.next += 1;
        self.open.insert((now + takes, self.next), Open { attempts, lease, served });
    }

    fn refuse(&mut self, attempts: &Attempts) {
        self.came.small_refused += u32::from(attempts.ask().tokens < SMALL);
    }

    fn hear(&mut self, open: Open) {
        let Open { mut attempts, lease, served } = open;
        let (now, target) = (self.bench.now, lease.target());
        if served {
            attempts.closed();
            self.came.served += 1;
            match self.load.timing {
                Timing::FirstToken => lease.first_token(now),
                Timing::Untimed | Timing::Unmeasured => lease.answered(now),
            };
            return;
        }
        self.came.refused_upstream += 1;
        lease.limited(self.load.refusal, now);
        match attempts.failed(&self.bench.pool, target, Failed::Limited, now).0 {
            Next::Retry => self.send(attempts),
            Next::GiveUp(_) => self.refuse(&attempts),
            Next::Wait | Next::Again => panic!("nothing else is open, and nothing failed"),
        }
    }
}

/// The share of what the backends can serve.
fn share_served(load: &Load, seconds: u32) -> f64 {
    let backends = f64::from(u32::try_from(load.tiers.len()).unwrap());
    let possible = backends * (load.rate * f64::from(seconds) + load.most);
    f64::from(load.run(seconds).served) / possible
}

const ASKED: [Option<u64>; 4] = [None, Some(1), Some(5), Some(30)];

fn policies() -> [Settings; 3] {
    [Settings::lookout(), Settings::ema(), Settings::round_robin()]
}

fn check_overload(settings: &Settings, asked: Option<u64>) {
    // The slow ones save up two requests: then chance plays a part.
    for (rps, rate, least) in [(90.0, 20.0, 0.95), (9.0, 2.0, 0.85), (900.0, 200.0, 0.95)] {
        let load = Load { settings: settings.clone(), ..Load::of(rps, rate, asked) };
        let share = share_served(&load, 240);
        assert!(share >= least, "{asked:?} {:?} {rps}: {share}", settings.policy);
    }
}

#[test]
fn an_overload_is_served_as_far_as_the_backends_can() {
    for asked in ASKED {
        for settings in policies() {
            check_overload(&settings, asked);
        }
    }
}

#[test]
fn an_overload_of_one_backend_alone_is_served() {
    for asked in ASKED {
        let load = Load { tiers: vec![1], ..Load::of(30.0, 20.0, asked) };
        let share = share_served(&load, 240);
        assert!(share >= 0.9, "{asked:?}: {share}");
    }
}

/// A response that takes as long is no sign of anything for as long.
#[test]
fn an_overload_of_long_responses_is_served() {
    for asked in ASKED {
        let timing = Timing::Untimed;
        let load = Load { timing, takes_ms: 20_000, ..Load::of(90.0, 20.0, asked) };
        let share = share_served(&load, 240);
        assert!(share >= 0.85, "{asked:?}: {share}");
    }
}

/// Three times too many, by tokens, of sizes from 100 to 4,000.
#[test]
fn an_overload_of_tokens_is_served() {
    for asked in ASKED {
        let refusal = Refusal { counts: Counts::Tokens, ..Load::of(1.0, 1.0, asked).refusal };
        let size: fn(u64) -> u64 = |n| 100 + n * 7_919 % 3_900;
        let cost: fn(u64) -> f64 = |size| f64::from(u32::try_from(size).unwrap());
        let load = Load { refusal, size, cost, most: 41_000.0, ..Load::of(90.0, 41_000.0, asked) };
        let came = load.run(240);
        // Tokens are what is served; on average a request has 2,050.
        assert!(f64::from(came.served) >= 0.9 * 60.0 * 240.0, "{asked:?}: {came:?}");
    }
}

/// Within what they can serve nobody is refused for long, though arrivals at random exceed it now and then.
#[test]
fn what_fits_is_served() {
    for asked in ASKED {
        let came = Load::of(54.0, 20.0, asked).run(240);
        let share = f64::from(came.small_refused) / f64::from(came.small);
        assert!(share <= 0.02, "{asked:?}: {came:?}");
    }
}

fn check_oversize(settings: Settings, asked: Option<u64>) {
    let refusal = Refusal { counts: Counts::Tokens, ..Load::of(1.0, 1.0, asked).refusal };
    let size = |n| if n % 21 == 0 { 90_000 } else { 700 };
    let cost = |size| if size < SMALL { 1.0 } else { f64::INFINITY };
    let load = Load { settings, refusal, size, cost, ..Load::of(20.0, 20.0, asked) };
    let came = load.run(120);
    assert_eq!(came.small_refused, 0, "{asked:?} {came:?}");
    assert!(came.small > 2_000 && came.refused_upstream > 0, "{came:?}");
}

#[test]
fn oversize_requests_refuse_nobody_else() {
    for asked in ASKED {
        for settings in policies() {
            check_oversize(settings, asked);
        }
    }
}

/// One oversize request whose 429 does not say that it is for its tokens.
#[test]
fn a_request_that_is_refused_everywhere_closes_one_target_at_most() {
    let mut bench = Bench::three(Settings::lookout());
    let ask = Ask { tokens: 90_000, ..bench.ask(Timing::FirstToken, 500) };
    let mut attempts = Attempts::new(ask, LIMITS);
    for left in [Next::Retry, Next::Retry] {
        assert_eq!(refused(&mut bench, &mut attempts, None), left);
    }
    assert!(matches!(refused(&mut bench, &mut attempts, None), Next::GiveUp(_)));
    let resting = (0..3).filter(|target| !bench.view(*target).limited.is_zero()).count();
    assert_eq!(resting, 1);
    for _ in 0..20 {
        assert!(bench.picked().is_ok());
    }
    // The request itself is told what it was told.
    let again = attempts.next(&bench.pool, bench.now, &mut bench.rng);
    assert_eq!(again, Err(NoTarget::AllLimited(Duration::from_secs(10))));
}

fn refused(bench: &mut Bench, attempts: &mut Attempts, asked: Option<u64>) -> Next {
    let picked = attempts.next(&bench.pool, bench.now, &mut bench.rng).unwrap();
    let lease = bench.pool.dispatch(picked.target, attempts.ask(), bench.now).unwrap();
    lease.limited(asked.map(Duration::from_secs), bench.now);
    attempts.failed(&bench.pool, picked.target, Failed::Limited, bench.now).0
}

/// Two of its requests were refused: for as long as it asked only the trickle tries the preferred tier.
#[test]
fn a_storm_of_429s_of_the_preferred_tier_is_tried_by_the_trickle_only() {
    let mut bench = Bench::of(Settings::lookout(), vec![spec("ptu", 0, 1), spec("payg", 1, 1)]);
    for _ in 0..2 {
        bench.lease(0).limited(Some(Duration::from_mins(1)), bench.now);
    }
    let mut tried = 0;
    for _ in 0..600 {
        bench.pass(0.1);
        match bench.picked() {
            Ok((0, why)) => {
                assert_eq!(why, Why::Trickle);
                tried += 1;
                bench.lease(0).limited(Some(Duration::from_mins(1)), bench.now);
            }
            other => assert_eq!(other, Ok((1, Why::Cost))),
        }
    }
    assert!((12..=13).contains(&tried), "one in five seconds: {tried}");
    while bench.picked() != Ok((0, Why::Trickle)) {
        bench.pass(0.1);
    }
    bench.answer(0, 100);
    assert_eq!(bench.view(0).limited, Duration::ZERO, "one that is served ends it");
}

#[test]
fn what_is_not_refused_is_accepted_though_it_takes_long() {
    let mut bench = Bench::of(Settings::lookout(), vec![spec("a", 1, 1)]);
    for _ in 0..2 {
        bench.lease(0).limited(Some(Duration::from_mins(1)), bench.now);
    }
    bench.pass(5.0);
    assert_eq!(bench.picked(), Ok((0, Why::Trickle)));
    let lease = bench.lease(0);
    bench.pass(0.4);
    bench.pool.tick(bench.now);
    assert!(!bench.view(0).limited.is_zero());
    bench.pass(0.1);
    bench.pool.tick(bench.now);
    assert!(bench.view(0).limited.is_zero());
    drop(lease);
}

/// What may go to one target only does not try it while it rests.
#[test]
fn a_request_tries_one_resting_target_at_most() {
    let mut bench = Bench::three(Settings::lookout());
    for target in 0..3 {
        for _ in 0..2 {
            bench.lease(target).limited(Some(Duration::from_mins(1)), bench.now);
        }
    }
    bench.pass(5.0);
    let mut attempts = Attempts::new(bench.ask(Timing::FirstToken, 500), LIMITS);
    assert!(matches!(refused(&mut bench, &mut attempts, Some(60)), Next::GiveUp(_)));
    let other = bench.picked();
    assert!(matches!(other, Ok((_, Why::Trickle))), "another request tries another: {other:?}");
}

#[test]
fn smaller_requests_go_on() {
    let mut bench = Bench::of(Settings::lookout(), vec![spec("a", 1, 1)]);
    let refusal = Refusal { asked: Some(SECOND * 60), counts: Counts::Tokens };
    for _ in 0..2 {
        let ask = Ask { tokens: 5_000, ..bench.ask(Timing::FirstToken, 500) };
        bench.pool.dispatch(0, ask, bench.now).unwrap().limited(refusal, bench.now);
    }
    let mut pick = |size| {
        let picked = bench.pool.pick(&Used::none_of(size), bench.now, &mut bench.rng);
        picked.map(|picked| picked.why)
    };
    assert_eq!(pick(4_999), Ok(Why::Cost));
    assert_eq!(pick(5_000), Err(NoTarget::AllLimited(SECOND * 60)));
    assert_eq!(bench.view(0).limited_tokens, Some(5_000));
}
