//! A world as values: its regions, its load and what goes wrong in it.

use crate::sim::demand::{Demand, decode_seconds};
use crate::sim::event;
use crate::sim::fault::Fault;
use crate::sim::float;
use std::time::Duration;

/// Everything that a run needs besides its seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What it is called in tables.
    pub name: String,
    /// How long requests arrive.
    pub length: Duration,
    /// When they arrive.
    pub arrivals: Arrivals,
    /// How large they are.
    pub prompts: Prompts,
    /// How long responses are.
    pub outputs: Outputs,
    /// The share of the requests whose response is not streamed, 0 to 1.
    pub not_streamed: f64,
    /// What may be done with requests.
    pub freedom: Freedom,
    /// How many apps send requests, all equally busy; at least 1.
    pub apps: u32,
    /// Which requests belong together; `None`: none do.
    pub conversations: Option<Conversations>,
    /// How long a stream lasts after its first token.
    pub decode: Duration,
    /// How long a client waits for its first token, or for a response that is not streamed.
    pub patience: Duration,
    /// At least one.
    pub regions: Vec<Region>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// When requests arrive: a Poisson process whose rate may change.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrivals {
    /// Requests a second.
    pub rps: f64,
    /// Other rates, each from its moment on, in order.
    pub steps: Vec<(Duration, f64)>,
    /// Rushes and lulls around that rate.
    pub burst: Option<Burst>,
}

/// Rushes: for a share of the time the rate is `factor` times the mean; in between it is as much lower as
/// keeps the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// How many times the mean rate; `factor x share` is at most 1.
    pub factor: f64,
    /// Share of the time, 0 to 1.
    pub share: f64,
    /// Mean length of a rush.
    pub length: Duration,
}

/// How large prompts are: lognormal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prompts {
    /// The median, in tokens.
    pub median_tokens: f64,
    /// Spread of the logarithm.
    pub sigma: f64,
}

/// How long responses are that are not streamed: lognormal in each of three classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outputs {
    /// The median of the middle class, in tokens; a quarter of the requests asks for a quarter of it, another
    /// quarter for four times as much.
    pub median_tokens: f64,
    /// Spread of the logarithm in a class.
    pub sigma: f64,
    /// Tokens a second after the first.
    pub tokens_per_second: f64,
}

/// Shares of the requests that cannot simply be sent anywhere, or again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Freedom {
    /// Share of the requests that only one region can serve, 0 to 1.
    pub bound: f64,
    /// Share of the requests that may not be sent again once an attempt may have done work, 0 to 1.
    pub once: f64,
}

/// Each request belongs to one of so many conversations, and every region caches their prompts for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conversations {
    /// How many there are, all equally busy.
    pub count: u32,
    /// How long a region remembers one after its last request there.
    pub remembered: Duration,
    /// The time to first token of a hit, as a share of the usual one.
    pub factor: f64,
}

/// One region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Lower tiers are used first.
    pub tier: u32,
    /// Share of the traffic, where the policy looks at it.
    pub weight: u32,
    /// Median time to first token of a prompt of 1,000 tokens.
    pub median: Duration,
    /// Spread of the logarithm of that time.
    pub sigma: f64,
    /// A few answers take much longer.
    pub tail: Tail,
    /// Some answers come from a prompt cache.
    pub cached: Option<Cached>,
    /// The region has better and worse minutes.
    pub wander: Option<Wander>,
    /// Requests a second that it can serve.
    pub capacity_rps: f64,
    /// The quota of tokens: a request counts with its prompt and the most output tokens that it allows.
    pub token_limit: Option<RateLimit>,
    /// The quota of requests.
    pub request_limit: Option<RateLimit>,
}

/// A quota, as a token bucket; what does not fit is answered 429.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Tokens or requests a second.
    pub per_second: f64,
    /// How many fit at once after a pause.
    pub burst: f64,
    /// The Retry-After of a 429; `None`: it has none.
    pub retry_after: Option<Duration>,
}

/// A share of the answers takes 2 to 5 times as long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// Share of the answers, 0 to 1.
    pub share: f64,
    /// Least factor.
    pub least: f64,
    /// Largest factor; all between are equally likely.
    pub most: f64,
}

/// Two humps: cache hits are faster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cached {
    /// Share of the answers, 0 to 1.
    pub share: f64,
    /// Their time, as a share of the usual one.
    pub factor: f64,
}

/// A multiplier that wanders: its logarithm is an AR(1) process around zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wander {
    /// Spread of the logarithm.
    pub sigma: f64,
    /// After this time little is left of where it was (1/e).
    pub memory: Duration,
}

/// The factor of a prompt's size on its time to first token: 1 at 1,000 tokens.
pub(super) fn shape(prompt_tokens: f64) -> f64 {
    0.85 + 0.15 * prompt_tokens / 1000.0
}

impl Tail {
    /// 0.3 % of the answers take 2 to 5 times as long.
    pub const USUAL: Self = Self { share: 0.003, least: 2.0, most: 5.0 };
    /// None does.
    pub const NONE: Self = Self { share: 0.0, least: 1.0, most: 1.0 };
    /// 2 % of them do.
    pub const HEAVY: Self = Self { share: 0.02, least: 2.0, most: 5.0 };
}

impl Prompts {
    /// Half of them under 1,000 tokens, one in six over 2,700.
    pub const USUAL: Self = Self { median_tokens: 1000.0, sigma: 1.0 };
}

impl Outputs {
    /// 50, 200 and 800 tokens at 60 tokens a second.
    pub const USUAL: Self = Self { median_tokens: 200.0, sigma: 0.4, tokens_per_second: 60.0 };
}

impl Freedom {
    /// Every request may be sent anywhere, and again.
    pub const FULL: Self = Self { bound: 0.0, once: 0.0 };
}

impl Arrivals {
    /// An even rate.
    pub const fn even(rps: f64) -> Self {
        Self { rps, steps: Vec::new(), burst: None }
    }
}

impl Region {
    /// Number `index` of `of` regions, whose medians lie evenly between 1.0 and 1.8 s.
    pub fn usual(name: &str, (index, of): (usize, usize), capacity_rps: f64) -> Self {
        let place = if of > 1 { float(index) / float(of - 1) } else { 0.0 };
        Self {
            name: name.to_owned(),
            tier: 1,
            weight: 1,
            median: Duration::from_secs_f64(1.0 + 0.8 * place),
            sigma: 0.35,
            tail: Tail::USUAL,
            cached: None,
            wander: None,
            capacity_rps,
            token_limit: None,
            request_limit: None,
        }
    }
}

/// What one of `regions` can serve when all together can serve `headroom` times the load.
pub(super) fn capacity_rps(headroom: f64, rps: f64, regions: usize) -> f64 {
    (headroom * rps / float(regions.max(1))).max(4.0)
}

impl Scenario {
    /// Regions of these names at an even load, and nothing wrong.
    pub fn healthy(names: &[&str], rps: f64, headroom: f64, length: Duration) -> Self {
        let of = names.len();
        let capacity = capacity_rps(headroom, rps, of);
        let regions =
            names.iter().enumerate().map(|(n, name)| Region::usual(name, (n, of), capacity));
        Self {
            name: "none".to_owned(),
            length,
            arrivals: Arrivals::even(rps),
            prompts: Prompts::USUAL,
            outputs: Outputs::USUAL,
            not_streamed: 0.0,
            freedom: Freedom::FULL,
            apps: 10,
            conversations: None,
            decode: Duration::from_secs(6),
            patience: Duration::from_mins(1),
            regions: regions.collect(),
            faults: Vec::new(),
        }
    }

    /// The same world, with the named event in it; `None` if no event has this name.
    #[must_use]
    pub fn with_event(&self, name: &str) -> Option<Self> {
        event::apply(name, self)
    }

    /// From the first fault's beginning to the last one's end; the whole run when nothing goes wrong.
    pub fn window(&self) -> (Duration, Duration) {
        let from = self.faults.iter().map(|fault| fault.from).min().unwrap_or_default();
        let to = self.faults.iter().map(|fault| fault.to).max().unwrap_or(self.length);
        (from, to)
    }

    /// The healthy median of the fleet for this request, in seconds: to the first token, or to the end of a
    /// response that is not streamed.
    pub(super) fn healthy_seconds(&self, demand: &Demand) -> f64 {
        let first_token = self.healthy_median(demand.prompt_tokens);
        if demand.streamed {
            return first_token;
        }
        first_token + decode_seconds(self, demand)
    }

    /// Whether no region has a quota that this request fits in, however empty the region is.
    pub(super) fn is_too_large(&self, demand: &Demand) -> bool {
        let fits = |region: &Region| {
            region.token_limit.is_none_or(|limit| demand.estimated_tokens() <= limit.burst)
        };
        !self.regions.iter().any(fits)
    }

    /// Whether a region has a quota.
    pub fn has_limits(&self) -> bool {
        let has = |r: &Region| r.token_limit.is_some() || r.request_limit.is_some();
        self.regions.iter().any(has)
    }

    /// The mean healthy median of the fleet for a prompt of this size, in seconds.
    fn healthy_median(&self, prompt_tokens: f64) -> f64 {
        let sum: f64 = self.regions.iter().map(|region| region.median.as_secs_f64()).sum();
        shape(prompt_tokens) * sum / float(self.regions.len().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_spread_and_capacity_has_a_floor() {
        let world = Scenario::healthy(&["a", "b", "c"], 1.0, 2.0, Duration::from_mins(90));
        let medians: Vec<_> = world.regions.iter().map(|r| r.median.as_millis()).collect();
        assert_eq!(medians, [1000, 1400, 1800]);
        assert!(
            world.regions.iter().all(|region| region.capacity_rps.to_bits() == 4.0_f64.to_bits())
        );
        assert!((world.healthy_median(1000.0) - 1.4).abs() < 1e-9);
        assert!((capacity_rps(2.0, 10.0, 3) - 20.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn the_window_is_that_of_the_faults() {
        let world = Scenario::healthy(&["a"], 1.0, 2.0, Duration::from_mins(90));
        assert_eq!(world.window(), (Duration::ZERO, Duration::from_mins(90)));
        let slow = world.with_event("slow10").unwrap();
        assert_eq!(slow.window(), (Duration::from_mins(30), Duration::from_mins(50)));
    }
}
