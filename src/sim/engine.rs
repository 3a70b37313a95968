//! The routing core in the simulator: a [`Pool`] driven as the wire drives it.
//!
//! One lease per attempt; a request's next attempt after a failure goes where the pool says, among targets it
//! has not used. Targets are the scenario's regions, in its order.

use crate::rng::Rng;
use crate::routing::{Event, Lease, Pool, RetryBudget, Settings, TargetSpec, Timing, Used};
use crate::sim::balancer::{Balancer, Fact, Order, Outcome, Purpose};
use crate::sim::scenario::{Region, Scenario};
use crate::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What an engine runs with.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// The pool's numbers.
    pub settings: Settings,
    /// How long an attempt may take to its first token.
    pub first_token: Duration,
    /// Primaries and retries of one request.
    pub max_attempts: u32,
    /// Retries as a share of the requests of the last minute.
    pub retry_share: f64,
    /// Retries in a minute, however few the requests.
    pub retry_min: u32,
}

impl From<Settings> for Tuning {
    /// With the defaults of the configuration file around these settings.
    fn from(settings: Settings) -> Self {
        Self {
            settings,
            first_token: Duration::from_mins(1),
            max_attempts: 3,
            retry_share: 0.1,
            retry_min: 10,
        }
    }
}

/// A pool under test.
pub struct Engine {
    pool: Arc<Pool>,
    rng: Rng,
    first_token: Duration,
    max_attempts: u32,
    legs: BTreeMap<u64, Leg>,
    requests: BTreeMap<u64, Life>,
    next_attempt: u64,
}

/// One attempt under way.
struct Leg {
    request: u64,
    lease: Lease,
}

/// One request that waits for its first token.
#[derive(Default)]
struct Life {
    used: Used,
    tries: u32,
    legs: Vec<u64>,
}

impl Engine {
    /// A pool over the regions of `scenario`.
    pub fn new(tuning: &Tuning, scenario: &Scenario, seed: u64) -> Self {
        let spec = |region: &Region| TargetSpec {
            backend: region.name.clone(),
            deployment: "model".to_owned(),
            tier: region.tier,
            weight: region.weight,
        };
        let specs = scenario.regions.iter().map(spec).collect();
        let retries = RetryBudget::new(tuning.retry_share, tuning.retry_min);
        Self {
            pool: Arc::new(Pool::new(tuning.settings.clone(), specs, retries, None)),
            rng: Rng::from_seed(seed ^ 0x5EED),
            first_token: tuning.first_token,
            max_attempts: tuning.max_attempts,
            legs: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_attempt: 0,
        }
    }

    /// The pool: for tests that look into it.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn send(&mut self, request: u64, purpose: Purpose, now: Time, orders: &mut Vec<Order>) {
        let life = self.requests.entry(request).or_default();
        let may = life.tries < self.max_attempts;
        let picked = may.then(|| self.pool.pick(&life.used, now, &mut self.rng).ok()).flatten();
        let lease = picked.and_then(|p| self.pool.dispatch(p.target, Timing::FirstToken, now));
        let Some(lease) = lease.filter(|lease| life.used.add(lease.target())) else {
            self.requests.remove(&request);
            orders.push(Order::Refuse { request });
            return;
        };
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        life.tries += 1;
        life.legs.push(attempt);
        orders.push(Order::Send { attempt, request, region: lease.target(), purpose });
        orders.push(Order::Wake { attempt, at: now + self.first_token });
        self.legs.insert(attempt, Leg { request, lease });
    }

    fn first_token(&mut self, attempt: u64, now: Time, orders: &mut Vec<Order>) {
        let Some(Leg { request, lease }) = self.legs.remove(&attempt) else { return };
        note(lease.first_token(now), orders);
        self.close(request, attempt, now, orders);
    }

    /// The request is over: what is still open but `winner` lost.
    fn close(&mut self, request: u64, winner: u64, now: Time, orders: &mut Vec<Order>) {
        let legs = self.requests.remove(&request).unwrap_or_default().legs;
        for attempt in legs.into_iter().filter(|attempt| *attempt != winner) {
            if let Some(leg) = self.legs.remove(&attempt) {
                note(leg.lease.cancelled(now), orders);
                orders.push(Order::Drop { attempt });
            }
        }
    }

    fn ended(&mut self, attempt: u64, how: How, now: Time, orders: &mut Vec<Order>) {
        let Some(Leg { request, lease }) = self.legs.remove(&attempt) else { return };
        let event = match how {
            How::Failed => lease.failed(now),
            How::Limited(asked) => lease.limited(asked, now),
            How::TimedOut => {
                orders.push(Order::Drop { attempt });
                lease.timed_out(now)
            }
        };
        note(event, orders);
        if let Some(life) = self.requests.get_mut(&request) {
            life.legs.retain(|leg| *leg != attempt);
            if life.legs.is_empty() {
                self.send(request, Purpose::Retry, now, orders);
            }
        }
    }
}

/// How an attempt ended without a first token.
#[derive(Clone, Copy)]
enum How {
    Failed,
    Limited(Option<Duration>),
    TimedOut,
}

fn note(event: Option<Event>, orders: &mut Vec<Order>) {
    orders.extend(event.map(Order::Note));
}

impl Balancer for Engine {
    fn hear(&mut self, fact: Fact, now: Time, orders: &mut Vec<Order>) {
        match fact {
            Fact::Arrived { request, prompt_tokens: _ } => {
                self.pool.retries().count_request(now);
                self.send(request, Purpose::First, now, orders);
            }
            Fact::Heard { attempt, outcome: Outcome::FirstToken } => {
                self.first_token(attempt, now, orders);
            }
            Fact::Heard { attempt, outcome: Outcome::Failed } => {
                self.ended(attempt, How::Failed, now, orders);
            }
            Fact::Heard { attempt, outcome: Outcome::Limited(asked) } => {
                self.ended(attempt, How::Limited(asked), now, orders);
            }
            Fact::Due { attempt } => self.ended(attempt, How::TimedOut, now, orders),
            Fact::Left { request } => self.close(request, u64::MAX, now, orders),
            Fact::Tick => orders.extend(self.pool.tick(now).into_iter().map(Order::Note)),
            Fact::Ended { .. } => {}
        }
    }
}
