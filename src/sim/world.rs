//! A scenario with a seed: what happens to a request that is sent to a region now.
//!
//! Time to first token = wait in the queue + median x shape(prompt) x spread x tail x cache x wander x fault.
//! All luck is drawn from (seed, request, region), so that two policies which send the same request to the
//! same region have the same luck there.

use crate::rng::Rng;
use crate::sim::arrival::Stream;
use crate::sim::balancer::{Outcome, Quota, RateLimited};
use crate::sim::bucket::Bucket;
use crate::sim::demand::{Demand, Origin, decode_seconds, luck};
use crate::sim::duration;
use crate::sim::fault::{ERROR, Fate, Fault, LIMITED};
use crate::sim::queue::Queue;
use crate::sim::scenario::{RateLimit, Region, Scenario, Wander, shape};
use std::collections::BTreeMap;
use std::time::Duration;

/// The wandering multiplier changes this often.
const WANDER_STEP_SECONDS: f64 = 10.0;

/// What a region does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reply {
    /// This, after so long.
    After(Duration, Outcome),
    /// Nothing, ever.
    Never,
}

/// One run's world.
#[derive(Debug)]
pub(super) struct World {
    pub(super) scenario: Scenario,
    seed: u64,
    places: Vec<Place>,
    /// Prompts that were cached where they were sent, and all that could have been.
    pub(super) hits: (u32, u32),
}

#[derive(Debug)]
struct Place {
    region: Region,
    faults: Vec<Fault>,
    queue: Queue,
    tokens: Option<Gauge>,
    requests: Option<Gauge>,
    /// The logarithm of the wandering multiplier, a value a step.
    wander: Vec<f64>,
    /// The share of the capacity at the last request.
    capacity: f64,
    /// When each conversation was last here.
    cache: BTreeMap<u64, f64>,
}

/// One quota of a region.
#[derive(Debug)]
struct Gauge {
    bucket: Bucket,
    limited: RateLimited,
}

impl Gauge {
    fn new(limit: RateLimit, of: Quota) -> Self {
        let bucket = Bucket::new(limit.per_second, limit.burst);
        Self { bucket, limited: RateLimited { retry_after: limit.retry_after, of } }
    }
}

impl World {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let names: Vec<&str> = scenario.regions.iter().map(|r| r.name.as_str()).collect();
        let place = |(number, region): (usize, &Region)| {
            let here = |fault: &&Fault| fault.is_in(number, &names, seed);
            Place {
                region: region.clone(),
                faults: scenario.faults.iter().filter(here).cloned().collect(),
                queue: Queue::default(),
                tokens: region.token_limit.map(|limit| Gauge::new(limit, Quota::Tokens)),
                requests: region.request_limit.map(|limit| Gauge::new(limit, Quota::Requests)),
                wander: region.wander.map_or_else(Vec::new, |w| walk(w, scenario, seed, number)),
                capacity: 1.0,
                cache: BTreeMap::new(),
            }
        };
        let places = scenario.regions.iter().enumerate().map(place).collect();
        Self { scenario: scenario.clone(), seed, places, hits: (0, 0) }
    }

    /// The arrivals of this run.
    pub(super) fn arrivals(&self) -> Stream {
        Stream::new(&self.scenario.arrivals, luck(self.seed, u64::MAX, 1))
    }

    /// The request of that number, which arrives now.
    pub(super) fn demand(&self, number: u64, now: f64) -> Demand {
        Demand::draw(&self.scenario, self.seed, (number, now))
    }

    /// Records that a request is here; the share of the usual time that a hit takes.
    fn cached(&mut self, demand: &Demand, (region, now): (usize, f64)) -> f64 {
        let (Some(all), Some(conversation)) = (self.scenario.conversations, demand.conversation())
        else {
            return 1.0;
        };
        let Some(place) = self.places.get_mut(region) else { return 1.0 };
        let before = place.cache.insert(conversation, now);
        let hit = before.is_some_and(|at| now - at <= all.remembered.as_secs_f64());
        self.hits = (self.hits.0 + u32::from(hit), self.hits.1 + 1);
        if hit { all.factor } else { 1.0 }
    }

    /// Sends a request to a region.
    pub(super) fn send(&mut self, demand: &Demand, (region, now): (usize, f64)) -> Reply {
        let mut rng = luck(self.seed, demand.number, region);
        let Some(place) = self.places.get_mut(region) else { return Reply::Never };
        let coin = rng.unit();
        let factor = match place.fate(now, coin) {
            Fate::Served(factor) => factor,
            Fate::Silent => return Reply::Never,
            Fate::Ends(outcome, (least, most)) => {
                let time = least + (most - least) * rng.unit();
                return Reply::After(duration(time), outcome);
            }
        };
        if let Err(limited) = place.count(demand, now) {
            return Reply::After(duration(LIMITED.0), Outcome::Limited(limited));
        }
        if demand.origin == Origin::Poison {
            return Reply::After(duration(ERROR.0), Outcome::Failed);
        }
        match place.enter(demand.work(), now) {
            Ok(wait) => {
                let service = place.service(demand.prompt_tokens, now, &mut rng) * factor;
                let service = service * self.cached(demand, (region, now));
                if demand.streamed {
                    return Reply::After(duration(wait + service), Outcome::FirstToken);
                }
                let rest = decode_seconds(&self.scenario, demand) * factor;
                Reply::After(duration(wait + service + rest), Outcome::Whole)
            }
            Err(over) => {
                let retry_after = Some(duration(over.max(1.0)));
                let limited = RateLimited { retry_after, of: Quota::Unknown };
                Reply::After(duration(LIMITED.0), Outcome::Limited(limited))
            }
        }
    }

    /// Whether a fault is on in this region.
    pub(super) fn is_bad(&self, region: usize, now: f64) -> bool {
        self.places.get(region).is_some_and(|place| place.faults.iter().any(|f| f.is_on(now)))
    }

    /// Whether a fault is on in this region, or was within the last `since` seconds.
    pub(super) fn was_bad(&self, region: usize, now: f64, since: f64) -> bool {
        self.places.get(region).is_some_and(|place| {
            place
                .faults
                .iter()
                .any(|f| f.from.as_secs_f64() <= now && now < f.to.as_secs_f64() + since)
        })
    }
}

impl Place {
    fn fate(&self, now: f64, coin: f64) -> Fate {
        let mut factor = 1.0;
        for fault in self.faults.iter().filter(|fault| fault.is_on(now)) {
            match fault.fate(now, coin) {
                Fate::Served(more) => factor *= more,
                other @ (Fate::Silent | Fate::Ends(..)) => return other,
            }
        }
        Fate::Served(factor)
    }

    /// Takes a request from the quotas, from none of them if it does not fit in each.
    fn count(&mut self, demand: &Demand, now: f64) -> Result<(), RateLimited> {
        let counted = [
            self.requests.as_mut().map(|gauge| (gauge, 1.0)),
            self.tokens.as_mut().map(|gauge| (gauge, demand.estimated_tokens())),
        ];
        let mut fitting = Vec::new();
        for (gauge, amount) in counted.into_iter().flatten() {
            if !gauge.bucket.fits(amount, now) {
                return Err(gauge.limited);
            }
            fitting.push((gauge, amount));
        }
        for (gauge, amount) in fitting {
            gauge.bucket.take(amount);
        }
        Ok(())
    }

    fn enter(&mut self, work: f64, now: f64) -> Result<f64, f64> {
        // What drained before a fault began or ended did so at the rate of that time. The error of the one
        // request that finds the change is a moment's.
        self.queue.drain(self.region.capacity_rps * self.capacity, now);
        let on = self.faults.iter().filter(|fault| fault.is_on(now));
        self.capacity = on.map(Fault::capacity).product();
        self.queue.enter(work, self.region.capacity_rps * self.capacity, now)
    }

    fn service(&self, tokens: f64, now: f64, rng: &mut Rng) -> f64 {
        let Region { median, sigma, tail, cached, .. } = &self.region;
        let mut time = rng.lognormal(median.as_secs_f64() * shape(tokens), *sigma);
        let (coin, size) = (rng.unit(), rng.unit());
        if coin < tail.share {
            time *= tail.least + (tail.most - tail.least) * size;
        }
        if let Some(cached) = cached.filter(|cached| rng.unit() < cached.share) {
            time *= cached.factor;
        }
        time * self.wander.get(step(now)).map_or(1.0, |ln| ln.exp())
    }
}

fn step(now: f64) -> usize {
    usize::try_from(duration(now / WANDER_STEP_SECONDS).as_secs()).unwrap_or(usize::MAX)
}

fn walk(wander: Wander, scenario: &Scenario, seed: u64, region: usize) -> Vec<f64> {
    let keep = (-WANDER_STEP_SECONDS / wander.memory.as_secs_f64().max(1e-9)).exp();
    let fresh = wander.sigma * (1.0 - keep * keep).sqrt();
    let mut rng = luck(seed, u64::MAX - 1, region);
    let mut at = wander.sigma * rng.normal();
    let steps = step(scenario.length.as_secs_f64()) + 20;
    let one = |_| {
        let here = at;
        at = keep * at + fresh * rng.normal();
        here
    };
    (0..steps).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario() -> Scenario {
        Scenario::healthy(&["a", "b", "c"], 1.0, 30.0, Duration::from_mins(90))
    }

    /// A request of 1,000 tokens.
    fn request(number: u32) -> Demand {
        let mut demand = Demand::draw(&scenario(), 7, (u64::from(number), 0.0));
        demand.prompt_tokens = 1000.0;
        demand
    }

    /// The sorted times of 20,000 requests of 1,000 tokens, each to an idle region 0.
    fn times(scenario: &Scenario) -> Vec<f64> {
        let mut world = World::new(scenario, 7);
        let mut found: Vec<f64> = (0..20_000_u32)
            .filter_map(|n| match world.send(&request(n), (0, f64::from(n) * 0.27)) {
                Reply::After(time, Outcome::FirstToken) => Some(time.as_secs_f64()),
                Reply::After(..) | Reply::Never => None,
            })
            .collect();
        found.sort_by(f64::total_cmp);
        found
    }

    #[test]
    fn a_healthy_region_has_its_median_and_its_spread() {
        let times = times(&scenario());
        assert!((times[10_000] - 1.0).abs() < 0.02, "median {}", times[10_000]);
        // One sigma up is quantile 0.8413.
        assert!((times[16_826].ln() - 0.35).abs() < 0.02, "{}", times[16_826]);
    }

    #[test]
    fn luck_depends_on_request_and_region_only() {
        let draw = |n, region| World::new(&scenario(), 3).send(&request(n), (region, 10.0));
        assert_eq!(draw(5, 1), draw(5, 1));
        assert_ne!(draw(5, 1), draw(6, 1));
        assert_ne!(draw(5, 1), draw(5, 2));
    }

    #[test]
    fn cache_hits_are_a_second_hump() {
        let mut bimodal = scenario();
        bimodal.regions[0].cached = Some(crate::sim::Cached { share: 0.4, factor: 0.2 });
        let times = times(&bimodal);
        let fast = times.iter().filter(|time| **time < 0.45).count();
        assert!((7_700..8_600).contains(&fast), "{fast} fast ones");
    }

    #[test]
    fn a_wandering_region_remembers() {
        let wander = Wander { sigma: 0.5, memory: Duration::from_mins(5) };
        let mut long = scenario();
        long.length = Duration::from_hours(200);
        let path = walk(wander, &long, 1, 0);
        let mean = |f: &dyn Fn(usize) -> f64, n: usize| (0..n).map(f).sum::<f64>() / float(n);
        let variance = mean(&|i| path[i] * path[i], path.len());
        let after_memory = mean(&|i| path[i] * path[i + 30], path.len() - 30) / variance;
        assert!((variance - 0.25).abs() < 0.05, "{variance}");
        assert!((after_memory - (-1.0_f64).exp()).abs() < 0.08, "{after_memory}");
    }

    fn float(n: usize) -> f64 {
        crate::sim::float(n)
    }

    #[test]
    fn a_region_without_capacity_refuses_after_a_while() {
        let mut world = World::new(&scenario().with_event("capacity").unwrap(), 0);
        let replies: Vec<_> =
            (0..100_u32).map(|n| world.send(&request(n), (0, 1900.0 + f64::from(n)))).collect();
        let refused = |r: &&Reply| matches!(r, Reply::After(_, Outcome::Limited(_)));
        assert!(replies.iter().filter(refused).count() > 20);
        assert!(world.is_bad(0, 1900.0) && !world.is_bad(1, 1900.0) && !world.is_bad(0, 3000.0));
    }

    #[test]
    fn a_quota_of_tokens_refuses_what_is_too_large_and_serves_the_rest() {
        let mut limited = scenario();
        let retry_after = Some(Duration::from_mins(1));
        let limit = RateLimit { per_second: 1000.0, burst: 60_000.0, retry_after };
        limited.regions[0].token_limit = Some(limit);
        let mut world = World::new(&limited, 1);
        let mut send = |max_tokens: f64, now: f64| {
            let mut demand = request(1);
            demand.max_tokens = max_tokens;
            world.send(&demand, (0, now))
        };
        let of = Quota::Tokens;
        let refused =
            Reply::After(duration(LIMITED.0), Outcome::Limited(RateLimited { retry_after, of }));
        assert_eq!(send(90_000.0, 100.0), refused);
        assert!((0..9).all(|_| send(5_000.0, 100.0) != refused), "the large one took nothing");
        assert_eq!(send(9_000.0, 100.0), refused);
        assert_ne!(send(9_000.0, 110.0), refused);
    }

    #[test]
    fn a_quota_of_requests_serves_its_rate() {
        let mut limited = scenario();
        let limit = RateLimit { per_second: 2.0, burst: 2.0, retry_after: None };
        limited.regions[0].request_limit = Some(limit);
        let mut world = World::new(&limited, 1);
        let of = Quota::Requests;
        let limited = Outcome::Limited(RateLimited { retry_after: None, of });
        let served = (0..100_u32).filter(|n| {
            let reply = world.send(&request(*n), (0, f64::from(*n) / 10.0));
            !matches!(reply, Reply::After(_, outcome) if outcome == limited)
        });
        let served = served.count();
        assert!((20..=22).contains(&served), "{served} in 10 s");
    }
}
