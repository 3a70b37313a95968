//! The loop: one heap of moments, one balancer, one world.
//!
//! A request's life is that of the wire: it ends with the first token of any of its attempts, with a refusal,
//! or when the client leaves; what the balancer still has open then it must drop. After the last arrival the
//! loop goes on until everything has ended.

use crate::sim::balancer::{Balancer, Fact, Order, Outcome, Purpose};
use crate::sim::demand::Demand;
use crate::sim::duration;
use crate::sim::scenario::Scenario;
use crate::sim::seconds;
use crate::sim::tally::{Patient, Tally};
use crate::sim::world::{Reply, World};
use crate::time::Time;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(500);
/// Ticks go on for this long after the last arrival.
const AFTER: Duration = Duration::from_mins(2);
/// The numbers of probes, as far as luck is concerned, begin here.
const PROBES_FROM: u64 = 1 << 48;
/// And those of requests that are sent to the same region once more: they have other luck there.
const AGAIN_FROM: u64 = 1 << 49;

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it was.
    pub seed: u64,
    /// What came of it.
    pub tally: Tally,
}

/// Runs a scenario with a seed through a balancer.
pub fn run(scenario: &Scenario, seed: u64, balancer: &mut dyn Balancer) -> Run {
    let world = World::new(scenario, seed);
    let mut arrivals = world.arrivals();
    let end = scenario.length.as_secs_f64();
    let mut driver = Driver {
        tally: Tally::new(scenario),
        world,
        moments: BinaryHeap::new(),
        next_moment: 0,
        attempts: BTreeMap::new(),
        requests: BTreeMap::new(),
        end: Time::at(scenario.length) + AFTER,
    };
    let mut orders = Vec::new();
    let mut requests = 0_u64;
    let mut next_arrival = arrivals.next(end).map(|at| Time::at(duration(at)));
    driver.at(Time::ZERO + TICK, What::Tick);
    loop {
        let arrives = next_arrival.filter(|at| driver.moments.peek().is_none_or(|m| *at < m.at));
        let (now, fact) = if let Some(now) = arrives {
            next_arrival = arrivals.next(end).map(|at| Time::at(duration(at)));
            requests += 1;
            (now, Some(driver.arrive(requests, now)))
        } else {
            let Some(Moment { at, what, .. }) = driver.moments.pop() else { break };
            (at, driver.happen(what, at))
        };
        if let Some(fact) = fact {
            balancer.hear(fact, now, &mut orders);
            orders.drain(..).for_each(|order| driver.obey(order, now));
        }
    }
    driver.tally.cached = driver.world.hits;
    Run { seed, tally: driver.tally }
}

struct Driver {
    world: World,
    tally: Tally,
    moments: BinaryHeap<Moment>,
    next_moment: u64,
    attempts: BTreeMap<u64, Open>,
    requests: BTreeMap<u64, Patient>,
    end: Time,
}

/// An attempt under way.
struct Open {
    request: u64,
    purpose: Purpose,
    /// Its first token was heard: it streams.
    streams: bool,
}

#[derive(Clone, Copy)]
enum What {
    Tick,
    Reply(u64, Outcome),
    Due(u64),
    Ended(u64),
    Impatient(u64),
    Reminded(u64),
}

/// Ordered by time, then by when it was planned; the heap gives the earliest first.
struct Moment {
    at: Time,
    number: u64,
    what: What,
}

impl Driver {
    fn at(&mut self, at: Time, what: What) {
        self.moments.push(Moment { at, number: self.next_moment, what });
        self.next_moment += 1;
    }

    fn arrive(&mut self, request: u64, now: Time) -> Fact {
        let demand = self.world.demand(request, seconds(now));
        let profile = demand.profile();
        let patient = Patient { arrived: now, demand, regions: 0 };
        // A moment later, so that a balancer's own time-out of the same length comes first.
        let patience = self.world.scenario.patience + Duration::from_millis(1);
        self.at(now + patience, What::Impatient(request));
        self.tally.arrived(&patient);
        self.requests.insert(request, patient);
        Fact::Arrived { request, profile }
    }

    fn happen(&mut self, what: What, now: Time) -> Option<Fact> {
        match what {
            What::Tick => {
                let again = now < self.end;
                if again {
                    self.at(now + TICK, What::Tick);
                }
                again.then_some(Fact::Tick)
            }
            What::Due(attempt) => {
                self.attempts.contains_key(&attempt).then_some(Fact::Due { attempt })
            }
            What::Reply(attempt, outcome) => self.reply(attempt, outcome, now),
            What::Ended(attempt) => self.attempts.remove(&attempt).map(|_| Fact::Ended { attempt }),
            What::Reminded(request) => {
                self.requests.contains_key(&request).then_some(Fact::Reminded { request })
            }
            What::Impatient(request) => {
                let patient = self.requests.remove(&request)?;
                self.tally.left(&patient, now);
                Some(Fact::Left { request })
            }
        }
    }

    fn reply(&mut self, attempt: u64, outcome: Outcome, now: Time) -> Option<Fact> {
        let open = self.attempts.get_mut(&attempt)?;
        if matches!(outcome, Outcome::FirstToken | Outcome::Whole) {
            open.streams = outcome == Outcome::FirstToken;
            let (request, purpose) = (open.request, open.purpose);
            let answered =
                if purpose == Purpose::Probe { None } else { self.requests.remove(&request) };
            if let Some(patient) = answered {
                self.tally.answered(&patient, now, purpose);
            }
            let rest =
                if purpose == Purpose::Probe { Duration::ZERO } else { self.world.scenario.decode };
            if outcome == Outcome::FirstToken {
                self.at(now + rest, What::Ended(attempt));
            }
        }
        if outcome != Outcome::FirstToken {
            self.attempts.remove(&attempt);
        }
        Some(Fact::Heard { attempt, outcome })
    }

    fn obey(&mut self, order: Order, now: Time) {
        match order {
            Order::Send { attempt, request, region, purpose } => {
                self.send(attempt, request, (region, purpose), now);
            }
            Order::Wake { attempt, at } => self.at(at.max(now), What::Due(attempt)),
            Order::Remind { request, at } => self.at(at.max(now), What::Reminded(request)),
            Order::Drop { attempt } => {
                let open = self.attempts.remove(&attempt);
                debug_assert!(open.is_none_or(|open| !open.streams), "an answer was cut off");
            }
            Order::Refuse { request } => {
                if let Some(patient) = self.requests.remove(&request) {
                    self.tally.refused(&patient);
                }
            }
            Order::Note(event) => self.tally.noted(event, now, &self.world),
        }
    }

    fn send(&mut self, attempt: u64, request: u64, (region, purpose): (usize, Purpose), now: Time) {
        let demand = if purpose == Purpose::Probe {
            Demand::probe(PROBES_FROM + attempt)
        } else {
            let Some(patient) = self.requests.get_mut(&request) else {
                debug_assert!(false, "an attempt for a request that is over");
                return;
            };
            let here = 1_u64.rotate_left(u32::try_from(region).unwrap_or(0));
            let first = patient.regions & here == 0;
            patient.regions |= here;
            let mut demand = patient.demand;
            demand.number += if first { 0 } else { AGAIN_FROM };
            demand
        };
        self.tally.sent(purpose, (region, demand.prompt_tokens), now);
        let open = Open { request, purpose, streams: false };
        let before = self.attempts.insert(attempt, open);
        debug_assert!(before.is_none(), "attempt {attempt} stands for two");
        if let Reply::After(time, outcome) = self.world.send(&demand, (region, seconds(now))) {
            self.at(now + time, What::Reply(attempt, outcome));
        }
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}
