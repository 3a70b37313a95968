//! The requests of a run: their sizes, their apps, and what a proxy may do with them.
//!
//! All is drawn from (seed, request), so that every policy meets the same requests. A response is as long as
//! its request's class allows: a quarter of the requests asks for short responses, a quarter for long ones, and
//! `max_tokens` is four times the median of the class.

use crate::rng::Rng;
use crate::sim::balancer::Profile;
use crate::sim::duration;
use crate::sim::fault::Kind;
use crate::sim::scenario::{Prompts, Scenario};

/// `max_tokens` as a multiple of the median response of its class.
const ALLOWED: f64 = 4.0;
/// The app whose requests are unusual.
const UNUSUAL_APP: u32 = 0;
/// Tokens of a probe's prompt.
const PROBE_TOKENS: f64 = 20.0;
/// What a probe takes of a region's capacity, in requests.
const PROBE_WORK: f64 = 0.05;
/// Where the luck of a request's properties is drawn, in place of a region.
const CONVERSATION: usize = usize::MAX - 1;
const CLASS: usize = usize::MAX - 2;
const APP: usize = usize::MAX - 3;
const UNUSUAL: usize = usize::MAX - 4;
const FREEDOM: usize = usize::MAX - 5;

/// The sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client.
    Client,
    /// A client, with a request that gets a 500 from every region.
    Poison,
    /// The balancer.
    Probe,
}

/// One request, with what only the world knows of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Demand {
    pub(super) number: u64,
    pub(super) prompt_tokens: f64,
    /// The most output tokens that it allows.
    pub(super) max_tokens: f64,
    /// The length of its response.
    pub(super) output_tokens: f64,
    pub(super) streamed: bool,
    pub(super) origin: Origin,
    app: u32,
    conversation: Option<u64>,
    bound: Option<usize>,
    repeatable: bool,
}

impl Demand {
    /// The client's request of that number, which arrives at `now` (seconds).
    pub(super) fn draw(scenario: &Scenario, seed: u64, (number, now): (u64, f64)) -> Self {
        let luck = |of| luck(seed, number, of);
        let (prompts, outputs, freedom) = (scenario.prompts, scenario.outputs, scenario.freedom);
        let prompt = luck(usize::MAX).lognormal(prompts.median_tokens, prompts.sigma);
        let mut class = luck(CLASS);
        let streamed = class.unit() >= scenario.not_streamed;
        let median = outputs.median_tokens * scale(class.unit());
        let max_tokens = (median * ALLOWED).max(1.0);
        let output_tokens = class.lognormal(median, outputs.sigma).clamp(1.0, max_tokens);
        let conversations = scenario.conversations.map(|all| u64::from(all.count.max(1)));
        let app = luck(APP).below(usize::try_from(scenario.apps).unwrap_or(1));
        let mut free = luck(FREEDOM);
        let is_bound = free.unit() < freedom.bound;
        let home = free.below(scenario.regions.len());
        let mut demand = Self {
            number,
            prompt_tokens: prompt.clamp(1.0, 1_000_000.0),
            max_tokens,
            output_tokens,
            streamed,
            origin: Origin::Client,
            app: u32::try_from(app).unwrap_or(0),
            conversation: conversations.map(|count| luck(CONVERSATION).bits() % count),
            bound: is_bound.then_some(home),
            repeatable: free.unit() >= freedom.once,
        };
        let coin = luck(UNUSUAL).unit();
        for fault in scenario.faults.iter().filter(|fault| fault.kind.is_of_requests()) {
            if fault.is_on(now) {
                demand.make_unusual(fault.kind, coin);
            }
        }
        demand
    }

    fn make_unusual(&mut self, kind: Kind, coin: f64) {
        if let Kind::Poison { share, repeatable } = kind
            && coin < share
        {
            (self.origin, self.app) = (Origin::Poison, UNUSUAL_APP);
            self.repeatable = repeatable;
        }
        if let Kind::Oversize { share, max_tokens } = kind
            && coin < share
        {
            (self.max_tokens, self.app) = (max_tokens, UNUSUAL_APP);
        }
    }

    /// A probe of that number.
    pub(super) fn probe(number: u64) -> Self {
        Self {
            number,
            prompt_tokens: PROBE_TOKENS,
            max_tokens: 1.0,
            output_tokens: 1.0,
            streamed: true,
            origin: Origin::Probe,
            app: UNUSUAL_APP,
            conversation: None,
            bound: None,
            repeatable: true,
        }
    }

    /// What a proxy can know of it.
    pub(super) fn profile(&self) -> Profile {
        Profile {
            prompt_tokens: duration(self.prompt_tokens).as_secs(),
            max_tokens: duration(self.max_tokens).as_secs(),
            streamed: self.streamed,
            app: self.app,
            conversation: self.conversation,
            bound: self.bound,
            repeatable: self.repeatable,
        }
    }

    /// The size that a quota of tokens counts.
    pub(super) fn estimated_tokens(&self) -> f64 {
        self.prompt_tokens + self.max_tokens
    }

    pub(super) fn conversation(&self) -> Option<u64> {
        self.conversation
    }

    /// What it takes of a region's capacity, in requests.
    pub(super) fn work(&self) -> f64 {
        if self.origin == Origin::Probe { PROBE_WORK } else { 1.0 }
    }
}

/// The mean of the size that a quota of tokens counts.
pub(super) fn mean_tokens(scenario: &Scenario) -> f64 {
    let Prompts { median_tokens, sigma } = scenario.prompts;
    let prompt = median_tokens * (sigma * sigma / 2.0).exp();
    let classes = 0.25 * scale(0.0) + 0.5 * scale(0.5) + 0.25 * scale(1.0);
    prompt + ALLOWED * classes * scenario.outputs.median_tokens
}

/// The share of the median response that the class of this coin has.
fn scale(coin: f64) -> f64 {
    if coin < 0.25 {
        0.25
    } else if coin < 0.75 {
        1.0
    } else {
        4.0
    }
}

/// The luck of a request in a region, or in one of its own properties.
pub(super) fn luck(seed: u64, request: u64, region: usize) -> Rng {
    let region = u64::try_from(region).unwrap_or(u64::MAX);
    let mut mixed = Rng::from_seed(seed);
    let mut mixed = Rng::from_seed(mixed.bits() ^ request);
    let mut mixed = Rng::from_seed(mixed.bits() ^ region);
    Rng::from_seed(mixed.bits())
}

/// The seconds that the rest of a response takes after its first token.
pub(super) fn decode_seconds(scenario: &Scenario, demand: &Demand) -> f64 {
    demand.output_tokens / scenario.outputs.tokens_per_second
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenario::Freedom;
    use std::time::Duration;

    const MANY: u64 = 20_000;

    fn world(event: &str) -> Scenario {
        let healthy = Scenario::healthy(&["a", "b", "c"], 10.0, 2.0, Duration::from_mins(90));
        healthy.with_event(event).unwrap()
    }

    fn share(world: &Scenario, now: f64, is: impl Fn(&Demand) -> bool) -> f64 {
        let hits = (0..MANY).filter(|number| is(&Demand::draw(world, 1, (*number, now)))).count();
        crate::sim::float(hits) / 20_000.0
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 0.01, "{found}, not {expected}");
    }

    #[test]
    fn shares_are_kept() {
        let mut world = world("none");
        near(share(&world, 0.0, |d| !d.streamed || d.bound.is_some() || !d.repeatable), 0.0);
        world.not_streamed = 0.3;
        world.freedom = Freedom { bound: 0.2, once: 0.1 };
        near(share(&world, 0.0, |d| !d.streamed), 0.3);
        near(share(&world, 0.0, |d| d.bound == Some(1)), 0.2 / 3.0);
        near(share(&world, 0.0, |d| !d.repeatable), 0.1);
        near(share(&world, 0.0, |d| d.app == 9), 0.1);
    }

    #[test]
    fn responses_are_as_long_as_their_class() {
        let world = world("none");
        let median = world.outputs.median_tokens;
        let is_long = |d: &Demand| d.max_tokens > 4.0 * median;
        near(share(&world, 0.0, is_long), 0.25);
        near(share(&world, 0.0, |d| is_long(d) && d.output_tokens > 4.0 * median), 0.125);
        near(share(&world, 0.0, |d| d.output_tokens > d.max_tokens), 0.0);
    }

    #[test]
    fn the_mean_size_is_that_of_the_requests() {
        let world = world("none");
        let size = |number| Demand::draw(&world, 1, (number, 0.0)).estimated_tokens();
        let mean = (0..MANY).map(size).sum::<f64>() / 20_000.0;
        assert!((mean / mean_tokens(&world) - 1.0).abs() < 0.05, "{mean}");
    }

    #[test]
    fn one_app_sends_what_fits_nowhere() {
        let world = world("oversize");
        let is = |d: &Demand| world.is_too_large(d) && d.app == UNUSUAL_APP;
        let found = share(&world, 1900.0, is);
        assert!((0.002..0.005).contains(&found), "{found}");
        assert!(share(&world, 1700.0, is) < 0.0005);
    }

    fn is_poison(demand: &Demand) -> bool {
        demand.origin == Origin::Poison
    }

    #[test]
    fn one_app_sends_the_poison_while_it_lasts() {
        let world = world("poison");
        near(share(&world, 1900.0, |d| is_poison(d) && d.app == UNUSUAL_APP), 0.1);
        near(share(&world, 1900.0, |d| is_poison(d) && d.app != UNUSUAL_APP), 0.0);
        near(share(&world, 1700.0, is_poison), 0.0);
        let stored = self::world("poison_stored");
        near(share(&stored, 1900.0, |d| is_poison(d) && !d.repeatable), 0.1);
    }
}
