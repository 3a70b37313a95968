//! The routing core on a virtual clock: what each outcome teaches, and what holds whatever happens.

mod affinity;
mod ema;
mod errors;
mod learned;
mod limits;
mod lookout;
mod patience;
mod recovery;
mod requests;
mod rescue;
mod rules;
mod tiers;
mod uploads;
mod whole;

use firstlight::rng::Rng;
use firstlight::routing::{
    Ask, Backing, Change, Event, Lease, NoTarget, Pool, ProbeOutcome, RetryBudget, Settings, State,
    TargetSpec, Timing, Used, View, Why,
};
use firstlight::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// A pool and a clock of its own.
struct Bench {
    pool: Arc<Pool>,
    now: Time,
    rng: Rng,
    requests: std::cell::Cell<u64>,
}

fn spec(backend: &str, tier: u32, weight: u32) -> TargetSpec {
    TargetSpec {
        backend: backend.into(),
        deployment: "d".into(),
        tier,
        weight,
        max_in_flight: None,
    }
}

impl Bench {
    fn of(settings: Settings, specs: Vec<TargetSpec>) -> Self {
        let pool = Arc::new(Pool::new(settings, specs, RetryBudget::new(0.1, 10), None));
        let now = Time::at(Duration::from_hours(1));
        Self { pool, now, rng: Rng::from_seed(7), requests: 0.into() }
    }

    fn three(settings: Settings) -> Self {
        Self::of(settings, vec![spec("a", 1, 1), spec("b", 1, 1), spec("c", 1, 1)])
    }

    fn pass(&mut self, seconds: f64) {
        self.now = self.now + Duration::from_secs_f64(seconds);
    }

    /// What a new request asks.
    fn ask(&self, timing: Timing, prompt_tokens: u64) -> Ask {
        self.requests.set(self.requests.get() + 1);
        Ask {
            request: self.requests.get(),
            timing,
            prompt_tokens,
            tokens: prompt_tokens,
            ..Ask::default()
        }
    }

    fn lease(&self, target: usize) -> Lease {
        self.pool.dispatch(target, self.ask(Timing::FirstToken, 700), self.now).unwrap()
    }

    /// An answer on `target` that takes `ms`; time passes with it.
    fn answer(&mut self, target: usize, ms: u64) -> Option<Event> {
        let lease = self.lease(target);
        self.now = self.now + Duration::from_millis(ms);
        lease.first_token(self.now)
    }

    /// An error on `target` of a request that another target then serves.
    fn fail(&mut self, target: usize) -> Option<Event> {
        let lease = self.lease(target);
        let request = lease.ask().request;
        let event = lease.failed(Backing::Elsewhere, self.now).event;
        event.or_else(|| self.pool.served_elsewhere(target, request, self.now))
    }

    fn probe(&self, target: usize, outcome: ProbeOutcome) -> Option<Event> {
        self.pool.start_probe(target, self.now)?.ended(outcome, self.now)
    }

    fn picked(&mut self) -> Result<(usize, Why), NoTarget> {
        self.pool.pick(&Used::default(), self.now, &mut self.rng).map(|p| (p.target, p.why))
    }

    fn view(&self, target: usize) -> View {
        self.pool.view(target, self.now).unwrap()
    }

    fn state(&self, target: usize) -> State {
        self.view(target).state
    }

    fn score(&self, target: usize) -> f64 {
        self.view(target).score_ms
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what it is compared with is an option")]
fn changed(target: usize, change: Change) -> Option<Event> {
    Some(Event { target, change })
}
