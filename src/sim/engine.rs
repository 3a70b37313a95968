//! The routing core in the simulator: a [`Pool`] driven as the wire drives it.
//!
//! Every request has its [`Attempts`] and every attempt its [`Lease`], whose deadlines are armed as they come;
//! the tick looks at the pool and sends the probes that are due. Targets are the scenario's regions, in its
//! order.

use crate::rng::{Rng, stable_hash};
use crate::routing::{
    Ask, Attempts, Backing, Bound, Class, Counts, Ended, Event, Failed, Kind, Lease, Limits, Next,
    Passed, Picked, Pool, Refusal, Repeat, RetryBudget, Settings, TargetSpec, TimeLimit, Timing,
    Urgency, pause_before_again,
};
use crate::sim::balancer::{Balancer, Fact, Order, Outcome, Profile, Purpose, Quota, RateLimited};
use crate::sim::prober::Prober;
use crate::sim::scenario::{Region, Scenario};
use crate::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What an engine runs with.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// The pool's numbers.
    pub settings: Settings,
    /// How long an attempt may take to its first token.
    pub first_token: TimeLimit,
    /// How long an attempt may take whose response is not streamed.
    pub answer: TimeLimit,
    /// Primaries and retries of one request.
    pub max_attempts: u32,
    /// Retries as a share of the requests of the last minute.
    pub retry_share: f64,
    /// Retries in a minute, however few the requests.
    pub retry_min: u32,
    /// Rounds of probes to every target beside those that the pool asks for: how often, and how many.
    pub rounds: Option<(Duration, u32)>,
    /// How long a probe may take.
    pub probe_timeout: Duration,
}

impl Tuning {
    /// `policy: lookout` with its defaults.
    pub fn lookout() -> Self {
        Self {
            settings: Settings::lookout(),
            first_token: TimeLimit::evidence(Duration::from_mins(4)),
            answer: TimeLimit::evidence(Duration::from_mins(10)),
            max_attempts: 5,
            retry_share: 0.1,
            retry_min: 10,
            rounds: None,
            probe_timeout: Duration::from_secs(30),
        }
    }

    /// `policy: ema` with its defaults.
    pub fn ema() -> Self {
        Self {
            settings: Settings::ema(),
            first_token: TimeLimit::evidence(Duration::from_mins(1)),
            rounds: Some((Duration::from_mins(15), 3)),
            ..Self::lookout()
        }
    }
}

/// A pool under test.
pub struct Engine {
    pool: Arc<Pool>,
    rng: Rng,
    tuning: Tuning,
    legs: BTreeMap<u64, Leg>,
    requests: BTreeMap<u64, Life>,
    prober: Prober,
    next_attempt: u64,
}

/// One attempt under way.
struct Leg {
    request: u64,
    lease: Lease,
    /// Its time-out, from its dispatch.
    time_out: Duration,
    /// Whether it goes on after that.
    outlasted: bool,
}

/// How a lease is given up.
type GiveUp = fn(Lease, Time) -> Option<Event>;

/// One request that waits for its first token.
struct Life {
    began: Time,
    attempts: Attempts,
    legs: Vec<u64>,
}

/// How an attempt ended without a first token.
#[derive(Clone, Copy)]
enum End {
    Failed,
    Unreachable,
    Limited(Refusal),
    TimedOut,
}

impl Engine {
    /// A pool over the regions of `scenario`.
    pub fn new(tuning: &Tuning, scenario: &Scenario, seed: u64) -> Self {
        let spec = |region: &Region| TargetSpec {
            backend: region.name.clone(),
            deployment: "model".to_owned(),
            tier: region.tier,
            weight: region.weight,
            max_in_flight: None,
        };
        let specs = scenario.regions.iter().map(spec).collect();
        let retries = RetryBudget::new(tuning.retry_share, tuning.retry_min);
        Self {
            pool: Arc::new(Pool::new(tuning.settings.clone(), specs, retries, None)),
            rng: Rng::from_seed(seed ^ 0x5EED),
            tuning: tuning.clone(),
            legs: BTreeMap::new(),
            requests: BTreeMap::new(),
            prober: Prober::new(tuning),
            next_attempt: 0,
        }
    }

    /// The pool: for tests that look into it.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn arrived(&mut self, request: u64, profile: Profile, now: Time, orders: &mut Vec<Order>) {
        let ask = ask(request, profile);
        let repeat = if profile.repeatable { Repeat::Anytime } else { Repeat::OnlyUntouched };
        let bound = profile.bound.map_or(Bound::Free, Bound::Only);
        let limits = Limits { max_attempts: self.tuning.max_attempts, repeat, bound };
        self.pool.admit(&ask, now);
        let life = Life { began: now, attempts: Attempts::new(ask, limits), legs: Vec::new() };
        self.requests.insert(request, life);
        self.send(request, Purpose::First, now, orders);
    }

    /// Starts an attempt of a request that has none open. If there is no target it is refused.
    fn send(&mut self, request: u64, purpose: Purpose, now: Time, orders: &mut Vec<Order>) {
        let Some(life) = self.requests.get_mut(&request) else { return };
        if let Ok(picked) = life.attempts.next(&self.pool, now, &mut self.rng) {
            self.open(request, (picked, purpose), now, orders);
        } else {
            self.requests.remove(&request);
            orders.push(Order::Refuse { request });
        }
    }

    /// Races an attempt of a request, if that is allowed.
    fn race(&mut self, request: u64, urgency: Urgency, now: Time, orders: &mut Vec<Order>) {
        let Some(life) = self.requests.get_mut(&request) else { return };
        if let Ok(picked) = life.attempts.hedge(&self.pool, urgency, now, &mut self.rng) {
            self.open(request, (picked, Purpose::Hedge), now, orders);
        }
    }

    fn open(
        &mut self,
        request: u64,
        (picked, purpose): (Picked, Purpose),
        now: Time,
        orders: &mut Vec<Order>,
    ) {
        let Some(life) = self.requests.get_mut(&request) else { return };
        let ask = life.attempts.ask();
        let Some(lease) = self.pool.dispatch(picked.target, ask, now) else { return };
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        life.legs.push(attempt);
        orders.push(Order::Send { attempt, request, region: lease.target(), purpose });
        let elapsed = now.since(life.began);
        let time_out = lease.time_out(self.limit(&lease), elapsed);
        let leg = Leg { request, lease, time_out, outlasted: false };
        self.arm(attempt, &leg, orders);
        self.legs.insert(attempt, leg);
    }

    fn arm(&self, attempt: u64, leg: &Leg, orders: &mut Vec<Order>) {
        let time_out = self.time_out(leg);
        let at = leg.lease.next_deadline().map_or(time_out, |due| due.min(time_out));
        orders.push(Order::Wake { attempt, at });
    }

    fn time_out(&self, leg: &Leg) -> Time {
        let total = self.limit(&leg.lease).total();
        leg.lease.sent() + if leg.outlasted { total } else { leg.time_out }
    }

    fn limit(&self, lease: &Lease) -> TimeLimit {
        let streamed = lease.ask().timing == Timing::FirstToken;
        if streamed { self.tuning.first_token } else { self.tuning.answer }
    }

    /// An attempt has outlasted the default time-out, and goes on.
    fn outlast(&mut self, attempt: u64, mut leg: Leg, now: Time, orders: &mut Vec<Order>) {
        note(leg.lease.outlasted(now), orders);
        leg.outlasted = true;
        self.arm(attempt, &leg, orders);
        let request = leg.request;
        self.legs.insert(attempt, leg);
        self.race_what_outlasts(request, now, orders);
    }

    /// Races the attempts of a request that have all outlasted the default time-out, if that is allowed.
    fn race_what_outlasts(&mut self, request: u64, now: Time, orders: &mut Vec<Order>) {
        let Some(life) = self.requests.get_mut(&request) else { return };
        let mut open = life.legs.iter().filter_map(|leg| self.legs.get(leg));
        let Some(target) = open.clone().next_back().map(|leg| leg.lease.target()) else { return };
        if open.all(|leg| leg.outlasted)
            && life.attempts.outlasted(&self.pool, target, now)
            && let Ok(picked) = life.attempts.next(&self.pool, now, &mut self.rng)
        {
            self.open(request, (picked, Purpose::Retry), now, orders);
        }
    }

    fn due(&mut self, attempt: u64, now: Time, orders: &mut Vec<Order>) {
        let Some(mut leg) = self.legs.remove(&attempt) else {
            self.prober.due(attempt, now, orders);
            return;
        };
        if now >= self.time_out(&leg) {
            if !leg.outlasted && !self.limit(&leg.lease).is_bound() {
                return self.outlast(attempt, leg, now, orders);
            }
            orders.push(Order::Drop { attempt });
            self.failed(attempt, (leg, End::TimedOut), now, orders);
            return;
        }
        let overdue = leg.lease.overdue(now);
        note(overdue.event, orders);
        self.arm(attempt, &leg, orders);
        let (request, target) = (leg.request, leg.lease.target());
        self.legs.insert(attempt, leg);
        if let Some(urgency) = overdue.hedge {
            self.race(request, urgency, now, orders);
        }
        if overdue.confirm {
            self.confirm(target, now, orders);
        }
    }

    fn heard(&mut self, attempt: u64, outcome: Outcome, now: Time, orders: &mut Vec<Order>) {
        let Some(leg) = self.legs.remove(&attempt) else {
            self.prober.heard(attempt, outcome, now, orders);
            return;
        };
        match outcome {
            Outcome::FirstToken => {
                note(leg.lease.first_token(now), orders);
                self.served(leg.request, now, orders);
            }
            Outcome::Whole => {
                note(leg.lease.answered(now), orders);
                self.served(leg.request, now, orders);
            }
            Outcome::Failed => self.failed(attempt, (leg, End::Failed), now, orders),
            Outcome::Unreachable => self.failed(attempt, (leg, End::Unreachable), now, orders),
            Outcome::Limited(limited) => {
                self.failed(attempt, (leg, End::Limited(refusal(limited))), now, orders);
            }
            // As on the wire, both are passed on: a 4xx teaches nothing, a 2xx is good.
            Outcome::Refused(_) => {
                let target = leg.lease.target();
                let ended = leg.lease.passed(Passed::Refusal, now);
                if ended.confirm {
                    self.confirm(target, now, orders);
                }
                self.pass_on(leg.request, now, orders);
            }
            Outcome::Unusable => {
                note(leg.lease.answered(now), orders);
                self.pass_on(leg.request, now, orders);
            }
        }
    }

    /// The client gets a response that is of no use to it.
    fn pass_on(&mut self, request: u64, now: Time, orders: &mut Vec<Order>) {
        self.close((request, Lease::lost), now, orders);
        orders.push(Order::Refuse { request });
    }

    /// An attempt has served the request.
    fn served(&mut self, request: u64, now: Time, orders: &mut Vec<Order>) {
        if let Some(life) = self.requests.get_mut(&request) {
            let events = life.attempts.served(&self.pool, now);
            orders.extend(events.into_iter().map(Order::Note));
        }
        self.close((request, Lease::lost), now, orders);
    }

    /// Sends a probe that shall tell whether it is the target or the request.
    fn confirm(&mut self, target: usize, now: Time, orders: &mut Vec<Order>) {
        self.prober.send((&self.pool, target), &mut self.next_attempt, now, orders);
    }

    /// The pause is over: the same target once more.
    fn again(&mut self, request: u64, now: Time, orders: &mut Vec<Order>) {
        let picked = self.requests.get_mut(&request).and_then(|life| life.attempts.again());
        if let Some(picked) = picked {
            self.open(request, (picked, Purpose::Retry), now, orders);
        }
    }

    /// The request is over: what is still open of it is dropped, and ends so.
    fn close(&mut self, (request, end): (u64, GiveUp), now: Time, orders: &mut Vec<Order>) {
        let legs = self.requests.remove(&request).map(|life| life.legs);
        for attempt in legs.into_iter().flatten() {
            if let Some(leg) = self.legs.remove(&attempt) {
                note(end(leg.lease, now), orders);
                orders.push(Order::Drop { attempt });
            }
        }
    }

    fn failed(&mut self, attempt: u64, (leg, end): (Leg, End), now: Time, orders: &mut Vec<Order>) {
        let Leg { request, lease, .. } = leg;
        let target = lease.target();
        let how = match end {
            End::Failed => Failed::Error,
            End::Unreachable => Failed::Connect,
            End::Limited(_) => Failed::Limited,
            End::TimedOut => Failed::TimedOut,
        };
        let life = self.requests.get(&request);
        let backing = life.map_or(Backing::Alone, |l| l.attempts.backing(&self.pool, how, now));
        let ended = match end {
            End::Failed | End::Unreachable => lease.failed(backing, now),
            End::Limited(asked) => Ended { event: lease.limited(asked, now), confirm: false },
            End::TimedOut => Ended { event: lease.timed_out(now), confirm: false },
        };
        note(ended.event, orders);
        if ended.confirm {
            self.confirm(target, now, orders);
        }
        let Some(life) = self.requests.get_mut(&request) else { return };
        life.legs.retain(|leg| *leg != attempt);
        let (next, forgiven) = life.attempts.failed(&self.pool, target, how, now);
        orders.extend(forgiven.into_iter().map(Order::Note));
        match next {
            Next::Wait => self.race_what_outlasts(request, now, orders),
            Next::Retry => self.send(request, Purpose::Retry, now, orders),
            Next::Again => {
                let at = now + pause_before_again(&mut self.rng);
                orders.push(Order::Remind { request, at });
            }
            Next::GiveUp(_) => {
                self.requests.remove(&request);
                orders.push(Order::Refuse { request });
            }
        }
    }
}

fn refusal(limited: RateLimited) -> Refusal {
    let counts = match limited.of {
        Quota::Tokens => Counts::Tokens,
        Quota::Requests | Quota::Unknown => Counts::Requests,
    };
    Refusal { asked: limited.retry_after, counts }
}

fn ask(request: u64, profile: Profile) -> Ask {
    let timing = if profile.streamed { Timing::FirstToken } else { Timing::Untimed };
    // As peek does with a name.
    let affinity = profile.conversation.map(|one| stable_hash(&one.to_le_bytes()));
    // None is named by who says 0.
    let allowed = Some(profile.max_tokens).filter(|most| *most > 0);
    let app = u64::from(profile.app);
    Ask {
        request,
        timing,
        prompt_tokens: profile.prompt_tokens,
        tokens: profile.prompt_tokens.saturating_add(profile.max_tokens),
        affinity,
        class: Class::of(Kind::Chat, allowed, 1),
        app,
        credential: app,
        wary: !profile.repeatable && profile.bound.is_none(),
    }
}

pub(super) fn note(event: Option<Event>, orders: &mut Vec<Order>) {
    orders.extend(event.map(Order::Note));
}

impl Balancer for Engine {
    fn hear(&mut self, fact: Fact, now: Time, orders: &mut Vec<Order>) {
        match fact {
            Fact::Arrived { request, profile } => self.arrived(request, profile, now, orders),
            Fact::Heard { attempt, outcome } => self.heard(attempt, outcome, now, orders),
            Fact::Due { attempt } => self.due(attempt, now, orders),
            Fact::Left { request } => self.close((request, Lease::cancelled), now, orders),
            Fact::Reminded { request } => self.again(request, now, orders),
            Fact::Tick => {
                orders.extend(self.pool.tick(now).into_iter().map(Order::Note));
                self.prober.tick(&self.pool, &mut self.next_attempt, now, orders);
            }
            Fact::Ended { .. } => {}
        }
    }
}
