//! A plain proxy around a rule that chooses: the next region on an error or a 429, three attempts, no more.
//!
//! The rule sees the regions of the lowest tier that the request has not used, and hears when an attempt
//! begins, when its first token (or its failure) comes and when it is over.

use crate::rng::Rng;
use crate::sim::balancer::{Balancer, Fact, Order, Outcome, Profile, Purpose};
use crate::sim::scenario::Scenario;
use crate::time::Time;
use std::collections::BTreeMap;
use std::time::Duration;

const ATTEMPTS_MAX: usize = 3;

/// A rule that chooses a region.
pub(super) trait Choose {
    /// One of `open`, which is not empty.
    fn choose(&mut self, open: &[usize], now: Time, rng: &mut Rng) -> Option<usize>;

    /// An attempt goes to `region`.
    fn sent(&mut self, _region: usize) {}

    /// It was answered, refused or given up after this long.
    fn heard(&mut self, _region: usize, _took: Duration, _now: Time) {}

    /// It is over: its answer has ended, or there is none.
    fn over(&mut self, _region: usize) {}
}

/// The proxy.
pub(super) struct Plain<C> {
    rule: C,
    rng: Rng,
    tiers: Vec<u32>,
    attempts: BTreeMap<u64, Attempt>,
    requests: BTreeMap<u64, Tries>,
    next_attempt: u64,
}

struct Attempt {
    request: u64,
    region: usize,
    sent: Time,
}

struct Tries {
    profile: Profile,
    used: Vec<usize>,
    open: Option<u64>,
}

impl<C: Choose> Plain<C> {
    pub(super) fn new(rule: C, scenario: &Scenario, seed: u64) -> Self {
        Self {
            rule,
            rng: Rng::from_seed(seed),
            tiers: scenario.regions.iter().map(|region| region.tier).collect(),
            attempts: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_attempt: 0,
        }
    }

    fn send(&mut self, request: u64, purpose: Purpose, now: Time, orders: &mut Vec<Order>) {
        let Some(tries) = self.requests.get_mut(&request) else { return };
        let bound = tries.profile.bound;
        let fits = |region: &usize| {
            !tries.used.contains(region) && bound.is_none_or(|only| only == *region)
        };
        let all: Vec<usize> = (0..self.tiers.len()).filter(fits).collect();
        let tier = |region: &usize| self.tiers.get(*region).copied();
        let lowest = all.iter().filter_map(tier).min();
        let open: Vec<usize> = all.into_iter().filter(|region| tier(region) == lowest).collect();
        let may = !open.is_empty() && tries.used.len() < ATTEMPTS_MAX;
        let choice = if may { self.rule.choose(&open, now, &mut self.rng) } else { None };
        let Some(region) = choice else {
            self.requests.remove(&request);
            orders.push(Order::Refuse { request });
            return;
        };
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        tries.used.push(region);
        tries.open = Some(attempt);
        self.attempts.insert(attempt, Attempt { request, region, sent: now });
        self.rule.sent(region);
        orders.push(Order::Send { attempt, request, region, purpose });
    }

    /// The client gets the last response as it is.
    fn pass_on(&mut self, request: u64, orders: &mut Vec<Order>) {
        self.requests.remove(&request);
        orders.push(Order::Refuse { request });
    }

    /// An attempt that is over with its response, or without one.
    fn lose(&mut self, attempt: u64, now: Time) -> Option<u64> {
        let Attempt { request, region, sent } = self.attempts.remove(&attempt)?;
        self.rule.heard(region, now.since(sent), now);
        self.rule.over(region);
        Some(request)
    }
}

impl<C: Choose> Balancer for Plain<C> {
    fn hear(&mut self, fact: Fact, now: Time, orders: &mut Vec<Order>) {
        match fact {
            Fact::Arrived { request, profile } => {
                self.requests.insert(request, Tries { profile, used: Vec::new(), open: None });
                self.send(request, Purpose::First, now, orders);
            }
            Fact::Heard { attempt, outcome: Outcome::Whole } => {
                if let Some(request) = self.lose(attempt, now) {
                    self.requests.remove(&request);
                }
            }
            Fact::Heard { attempt, outcome: Outcome::FirstToken } => {
                if let Some(Attempt { request, region, sent }) = self.attempts.get(&attempt) {
                    self.rule.heard(*region, now.since(*sent), now);
                    self.requests.remove(request);
                }
            }
            Fact::Heard { attempt, outcome: Outcome::Unreachable | Outcome::Limited(_) } => {
                if let Some(request) = self.lose(attempt, now) {
                    self.send(request, Purpose::Retry, now, orders);
                }
            }
            Fact::Heard { attempt, outcome: Outcome::Failed } => {
                let Some(request) = self.lose(attempt, now) else { return };
                if self.requests.get(&request).is_some_and(|tries| tries.profile.repeatable) {
                    self.send(request, Purpose::Retry, now, orders);
                } else {
                    self.pass_on(request, orders);
                }
            }
            Fact::Heard { attempt, outcome: Outcome::Refused(_) | Outcome::Unusable } => {
                if let Some(request) = self.lose(attempt, now) {
                    self.pass_on(request, orders);
                }
            }
            Fact::Left { request } => {
                let open = self.requests.remove(&request).and_then(|tries| tries.open);
                if let Some(attempt) = open {
                    self.lose(attempt, now);
                    orders.push(Order::Drop { attempt });
                }
            }
            Fact::Ended { attempt } => {
                if let Some(Attempt { region, .. }) = self.attempts.remove(&attempt) {
                    self.rule.over(region);
                }
            }
            Fact::Due { .. } | Fact::Reminded { .. } | Fact::Tick => {}
        }
    }
}
