//! What must hold whatever happens, held against a second, simple account of what is open.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "one variable replays a seed, and then says what it was"
)]

use firstlight::routing::{Change, State};
use firstlight::sim::{
    Balancer, Burst, Cached, EVENTS, Engine, Fact, Figures, Order, Outcome, Purpose, Scenario,
    Tail, Tuning, Wander, run,
};
use firstlight::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// At most so many attempts of one request, hedges among them, and one that a resting region refused.
const ATTEMPTS_MAX: usize = 7;
/// A region that rests is tried once in so long at most.
const TRICKLE_LEAST: Duration = Duration::from_millis(100);

/// What a watched run must hold; otherwise it says its seed.
macro_rules! hold {
    ($watched:expr, $holds:expr, $what:literal, $now:expr $(,)?) => {
        assert!($holds, "FIRSTLIGHT_SIM_SEED={}: at {:?}: {}", $watched.seed, $now, $what)
    };
}

/// An engine, and the second account.
struct Watched {
    engine: Engine,
    regions: usize,
    seed: u64,
    /// Attempts that wait for a first token, but probes: request and region.
    open: BTreeMap<u64, (u64, usize)>,
    probes: BTreeMap<u64, usize>,
    /// Requests whose responses are not streamed.
    totals: BTreeSet<u64>,
    /// The regions that each waiting request has used.
    requests: BTreeMap<u64, Vec<usize>>,
    sent: BTreeSet<u64>,
    /// What the operator was told last of each region.
    told: Vec<Option<Change>>,
    /// The sizes of the requests that may go to any region, by their numbers.
    sizes: BTreeMap<u64, u64>,
    /// When each region was tried last though it rests.
    tried: Vec<Option<Time>>,
}

impl Watched {
    fn new(tuning: &Tuning, scenario: &Scenario, seed: u64) -> Self {
        let regions = scenario.regions.len();
        Self {
            engine: Engine::new(tuning, scenario, seed),
            regions,
            seed,
            open: BTreeMap::new(),
            probes: BTreeMap::new(),
            totals: BTreeSet::new(),
            requests: BTreeMap::new(),
            sent: BTreeSet::new(),
            told: vec![None; regions],
            sizes: BTreeMap::new(),
            tried: vec![None; regions],
        }
    }

    fn note_fact(&mut self, fact: Fact) {
        match fact {
            Fact::Arrived { request, profile } => {
                self.requests.insert(request, Vec::new());
                if profile.bound.is_none() {
                    self.sizes.insert(request, profile.prompt_tokens + profile.max_tokens);
                }
                if !profile.streamed {
                    self.totals.insert(request);
                }
            }
            Fact::Heard { attempt, outcome } => {
                self.probes.remove(&attempt);
                if let Some((request, _)) = self.open.remove(&attempt)
                    && matches!(outcome, Outcome::FirstToken | Outcome::Whole)
                {
                    self.requests.remove(&request);
                }
            }
            Fact::Left { request } => {
                self.requests.remove(&request);
            }
            Fact::Due { .. } | Fact::Ended { .. } | Fact::Reminded { .. } | Fact::Tick => {}
        }
    }

    fn note_order(&mut self, order: Order, now: Time) {
        match order {
            Order::Send { attempt, request, region, purpose } => {
                let fresh = self.sent.insert(attempt);
                hold!(self, fresh, "an attempt's number is used twice", now);
                hold!(self, region < self.regions, "there is no such region", now);
                if purpose == Purpose::Probe {
                    self.probes.insert(attempt, region);
                } else {
                    self.note_send(attempt, (request, region, purpose), now);
                }
            }
            Order::Drop { attempt } => {
                let known =
                    self.open.remove(&attempt).is_some() || self.probes.remove(&attempt).is_some();
                hold!(self, known, "what is dropped was not open", now);
            }
            Order::Refuse { request } => {
                let waits = self.requests.remove(&request).is_some();
                hold!(self, waits, "refused, but it does not wait", now);
                let idle = !self.open.values().any(|(of, _)| *of == request);
                hold!(self, idle, "refused while an attempt is open", now);
            }
            Order::Wake { at, .. } | Order::Remind { at, .. } => {
                hold!(self, at >= now, "a deadline that is over", now);
            }
            Order::Note(event) => {
                let before = self.told.get(event.target).copied().flatten();
                let degraded = matches!(event.change, Change::Degraded(_));
                let twice = degraded && matches!(before, Some(Change::Degraded(_)));
                hold!(self, !twice, "degraded while it was degraded", now);
                if !matches!(event.change, Change::Limited(_)) {
                    self.told[event.target] = Some(event.change);
                }
            }
        }
    }

    fn note_send(&mut self, attempt: u64, sent: (u64, usize, Purpose), now: Time) {
        let (request, region, purpose) = sent;
        let used = self.requests.get(&request);
        hold!(self, used.is_some(), "an attempt for a request that is over", now);
        let used = used.cloned().unwrap_or_default();
        let others = self.open.values().filter(|(of, _)| *of == request).count();
        // Where nothing else is left, what failed once is tried once more.
        let again = purpose == Purpose::Retry
            && others == 0
            && used.iter().filter(|before| **before == region).count() == 1;
        hold!(self, again || !used.contains(&region), "a region is used twice by one request", now);
        hold!(self, used.len() < ATTEMPTS_MAX, "more attempts than allowed", now);
        // A retry races only what has outlasted its time-out.
        let may_race = purpose == Purpose::Hedge || purpose == Purpose::Retry;
        hold!(self, others == 0 || may_race, "a first attempt races", now);
        hold!(self, others > 0 || purpose != Purpose::Hedge, "a hedge races nothing", now);
        self.open.insert(attempt, (request, region));
        self.requests.entry(request).or_default().push(region);
    }

    /// Whether the request of that order has asked `region` already.
    fn asked_before(&self, order: Order, region: usize) -> bool {
        let Order::Send { request, .. } = order else { return false };
        self.requests.get(&request).is_some_and(|used| used.contains(&region))
    }

    /// What the pool says of itself agrees with the second account.
    fn agree(&self, now: Time) {
        for region in 0..self.regions {
            let view = self.engine.pool().view(region, now).unwrap();
            let here = self.open.values().filter(|(_, at)| *at == region);
            let (whole, first): (Vec<u64>, Vec<u64>) =
                here.map(|(request, _)| *request).partition(|of| self.totals.contains(of));
            let counted = [view.in_flight, view.whole.0].map(usize::try_from);
            let open = [first.len(), whole.len()].map(Ok);
            hold!(self, counted == open, "in flight is not what is open", now);
            hold!(self, view.late <= view.in_flight, "more late than in flight", now);
            hold!(self, view.whole.1 <= view.whole.0, "more late than wait", now);
            hold!(self, view.score_ms.is_finite() && view.score_ms >= 0.0, "not a score", now);
            hold!(self, view.strikes.is_finite() && view.strikes >= 0.0, "not strikes", now);
        }
    }
}

impl Balancer for Watched {
    fn hear(&mut self, fact: Fact, now: Time, orders: &mut Vec<Order>) {
        let pool = std::sync::Arc::clone(self.engine.pool());
        let views: Vec<_> =
            (0..self.regions).map(|region| pool.view(region, now).unwrap()).collect();
        let refused_by = match fact {
            Fact::Heard { attempt, outcome: Outcome::Limited(_) } => {
                self.open.get(&attempt).map(|(_, region)| *region)
            }
            Fact::Arrived { .. }
            | Fact::Heard { .. }
            | Fact::Due { .. }
            | Fact::Left { .. }
            | Fact::Ended { .. }
            | Fact::Reminded { .. }
            | Fact::Tick => None,
        };
        self.note_fact(fact);
        let before = orders.len();
        self.engine.hear(fact, now, orders);
        for order in orders[before..].iter().copied() {
            self.note_order(order, now);
            let Order::Send { request, region, purpose, .. } = order else { continue };
            if purpose == Purpose::Probe {
                continue;
            }
            let size = self.sizes.get(&request).copied();
            if views[region].limited_tokens.zip(size).is_some_and(|(from, size)| size >= from) {
                let before = self.tried[region].replace(now);
                let seldom = before.is_none_or(|before| now.since(before) >= TRICKLE_LEAST);
                hold!(self, seldom, "sent again and again to a region that rests after a 429", now);
                hold!(self, purpose != Purpose::Hedge, "raced by a region that rests", now);
            }
            hold!(self, refused_by != Some(region), "sent back to the region that refused it", now);
            // Before this order: the request's own region is among those that it has asked.
            let asked = |other: usize| other == region || self.asked_before(order, other);
            let in_use = |other: &usize| {
                let view = &views[*other];
                let has_room = view.limited.is_zero() && view.served_rate.is_none();
                has_room && view.state != State::Degraded
            };
            let better = (0..self.regions).filter(in_use).any(|other| !asked(other));
            hold!(
                self,
                purpose != Purpose::Hedge || views[region].state != State::Degraded || !better,
                "raced by a degraded region while another was left",
                now,
            );
        }
        self.agree(now);
    }
}

/// A world and an event for each seed: between them they meet every kind of failure, few and many regions,
/// little and much load, even and uneven times.
fn short(seed: u64) -> Scenario {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let pick = |of: usize, by: usize| usize::try_from(seed).unwrap() / by % of;
    let names = &NAMES[..[3, 1, 2, 5][pick(4, 11)]];
    let (rps, headroom) = [(6.0, 2.0), (6.0, 30.0), (1.0, 30.0), (10.0, 1.3)][pick(4, 44)];
    let event = EVENTS[pick(EVENTS.len(), 1)].name;
    let length = Duration::from_mins(9);
    let mut scenario = Scenario::healthy(names, rps, headroom, length).with_event(event).unwrap();
    for region in &mut scenario.regions {
        match pick(4, 5) {
            1 => (region.sigma, region.tail) = (0.7, Tail::HEAVY),
            2 => region.cached = Some(Cached { share: 0.4, factor: 0.3 }),
            3 => region.wander = Some(Wander { sigma: 0.4, memory: Duration::from_mins(2) }),
            _ => {}
        }
    }
    if pick(3, 7) == 1 {
        scenario.arrivals.burst =
            Some(Burst { factor: 3.0, share: 0.2, length: Duration::from_secs(20) });
    }
    scenario
}

fn seeds() -> Vec<u64> {
    match std::env::var("FIRSTLIGHT_SIM_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..256).collect(),
    }
}

fn watch(tuning: &Tuning) {
    for seed in seeds() {
        let scenario = short(seed);
        let mut watched = Watched::new(tuning, &scenario, seed);
        let run = run(&scenario, seed, &mut watched);
        let end = Time::at(Duration::from_hours(1));
        hold!(watched, watched.requests.is_empty(), "a request was forgotten", end);
        hold!(watched, watched.open.is_empty(), "an attempt was forgotten", end);
        watched.agree(end);
        assert!(run.tally.requests_in_all > 0);
        if std::env::var("FIRSTLIGHT_SIM_SEED").is_ok() {
            eprintln!("{scenario:#?}\n{:#?}", Figures::from(&run));
        }
    }
}

#[test]
fn whatever_fails_lookout_keeps_its_books() {
    watch(&Tuning::lookout());
}

#[test]
fn whatever_fails_ema_keeps_its_books() {
    watch(&Tuning::ema());
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let scenario = short(12);
    let figures =
        || Figures::from(&run(&scenario, 12, &mut Engine::new(&Tuning::lookout(), &scenario, 12)));
    assert_eq!(figures(), figures());
}
