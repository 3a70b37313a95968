//! Named events: each one turns a healthy world into one where something goes wrong.
//!
//! Faults last from a third to five ninths of the run: minutes 30 to 50 of 90.

use crate::sim::demand::mean_tokens;
use crate::sim::fault::{Fault, Kind, Where};
use crate::sim::float;
use crate::sim::scenario::{Arrivals, RateLimit, Scenario, Tail};
use std::time::Duration;

/// Length of each incident of `rolling`.
const INCIDENT: Duration = Duration::from_secs(6);
const SERVER_ERRORS: Kind = Kind::Errors { share: 1.0 };
const REFUSES: Kind = Kind::Refuse { share: 1.0 };
const RESETS: Kind = Kind::Reset { share: 1.0 };

/// A named event: an argument of `simulate --event`.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Its name.
    pub name: &'static str,
    /// A description in one line.
    pub about: &'static str,
    /// The table of the policy benchmark that it belongs to.
    pub group: Group,
    change: fn(&mut Scenario),
}

/// The tables of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// One region fails, or all become slow.
    Basic,
    /// Several regions fail, a response is worthless, or the requests are unusual.
    Hard,
}

const fn basic(name: &'static str, about: &'static str, change: fn(&mut Scenario)) -> Event {
    Event { name, about, group: Group::Basic, change }
}

const fn hard(name: &'static str, about: &'static str, change: fn(&mut Scenario)) -> Event {
    Event { name, about, group: Group::Hard, change }
}

/// The events that have a name.
pub const EVENTS: &[Event] = &[
    basic("slow3", "one region takes 3 times as long", |world| {
        one(world, Kind::Slow { factor: 3.0, share: 1.0 });
    }),
    basic("slow10", "one region takes 10 times as long", |world| {
        one(world, Kind::Slow { factor: 10.0, share: 1.0 });
    }),
    basic("half", "half of its requests take 10 times as long", |world| {
        one(world, Kind::Slow { factor: 10.0, share: 0.5 });
    }),
    basic("blackhole", "it accepts requests and never answers", |world| {
        one(world, Kind::Silent { share: 1.0 });
    }),
    basic("drift", "it slows down evenly, to 8 times", |world| {
        one(world, Kind::Drift { factor: 8.0 });
    }),
    basic("flapping", "10 times as long for 60 s, well for 60 s", |world| {
        one(world, Kind::Flapping { factor: 10.0, seconds: 60.0 });
    }),
    basic("capacity", "it loses 95 % of its capacity", |world| {
        one(world, Kind::Capacity { left: 0.05 });
    }),
    basic("limited", "it answers 429, try again after 5 s", |world| {
        one(world, Kind::Limited { share: 1.0, retry_after: Some(Duration::from_secs(5)) });
    }),
    basic("errors", "it answers 500", |world| one(world, SERVER_ERRORS)),
    basic("all_slow", "every region takes 3 times as long", |world| {
        put(world, Where::Everywhere, Kind::Slow { factor: 3.0, share: 1.0 });
    }),
    hard("all_but_one_5xx", "one region is healthy, the others answer 500", |world| {
        all_but_one(world, SERVER_ERRORS);
    }),
    hard("all_but_one_refuse", "one region is healthy, the others refuse connections", |world| {
        all_but_one(world, REFUSES);
    }),
    hard(
        "all_but_one_mix",
        "one region is healthy, the others answer 500, refuse or reset, in turn",
        mix,
    ),
    hard(
        "rolling",
        "all but one fail in turn, 6 s each: one refuses, the next answers 500",
        rolling,
    ),
    hard("bad_request", "one region answers 400 at once", |world| {
        one(world, Kind::Reject { share: 1.0, status: 400 });
    }),
    hard("not_found", "one region answers 404 at once", |world| {
        one(world, Kind::Reject { share: 1.0, status: 404 });
    }),
    hard("unusable", "one region answers 200 without content at once", |world| {
        one(world, Kind::Unusable { share: 1.0 });
    }),
    hard("blackhole_totals", "one region never answers; no response is streamed", |world| {
        world.not_streamed = 1.0;
        one(world, Kind::Silent { share: 1.0 });
    }),
    hard("slow10_totals", "one region takes 10 times as long; no response is streamed", |world| {
        world.not_streamed = 1.0;
        one(world, Kind::Slow { factor: 10.0, share: 1.0 });
    }),
    hard("poison", "a tenth of the requests, all of one app, gets a 500 everywhere", |world| {
        put(world, Where::Everywhere, Kind::Poison { share: 0.1, repeatable: true });
    }),
    hard("poison_stored", "the same, and those requests may not be sent again", |world| {
        put(world, Where::Everywhere, Kind::Poison { share: 0.1, repeatable: false });
    }),
    hard("oversize", "one app sends a request now and then that no region's quota holds", oversize),
    hard("overload", "the load is 1.5 times the quotas of all regions; Retry-After 5 s", overload),
    hard("alone", "there is one region, and half of its responses are 500", |world| {
        world.regions.truncate(1);
        size_for_all(world);
        one(world, Kind::Errors { share: 0.5 });
    }),
    hard("thinking220", "every first token takes 220 s, the clients wait for an hour", |world| {
        think(world, Duration::from_secs(220));
    }),
    hard("thinking300", "every first token takes 300 s, the clients wait for an hour", |world| {
        think(world, Duration::from_mins(5));
    }),
    basic("none", "nothing goes wrong", |_| {}),
];

/// Changes a healthy world by the event of this name; `None` if there is no such event.
pub(super) fn apply(name: &str, healthy: &Scenario) -> Option<Scenario> {
    let event = EVENTS.iter().find(|event| event.name == name)?;
    let mut world = Scenario { name: name.to_owned(), faults: Vec::new(), ..healthy.clone() };
    (event.change)(&mut world);
    Some(world)
}

/// Each region has a quota of tokens for twice its share of the load; a request of 90,000 comes twice a minute.
fn oversize(world: &mut Scenario) {
    let regions = float(world.regions.len().max(1));
    let per_second = 2.0 * world.arrivals.rps * mean_tokens(world) / regions;
    let retry_after = Some(Duration::from_mins(1));
    for region in &mut world.regions {
        region.token_limit = Some(RateLimit { per_second, burst: 60_000.0, retry_after });
    }
    let share = (1.0 / (30.0 * world.arrivals.rps)).min(0.5);
    put(world, Where::Everywhere, Kind::Oversize { share, max_tokens: 90_000.0 });
}

/// Each region has a quota of requests for two thirds of its share of the load, for the whole run.
fn overload(world: &mut Scenario) {
    let regions = float(world.regions.len().max(1));
    let per_second = world.arrivals.rps / 1.5 / regions;
    let retry_after = Some(Duration::from_secs(5));
    for region in &mut world.regions {
        let burst = per_second.max(1.0);
        region.request_limit = Some(RateLimit { per_second, burst, retry_after });
    }
}

/// Three requests a minute at most, whose first token takes this long everywhere, with little spread.
fn think(world: &mut Scenario, median: Duration) {
    world.arrivals = Arrivals::even(world.arrivals.rps.min(0.05));
    world.prompts.sigma = 0.2;
    world.patience = Duration::from_hours(1);
    for region in &mut world.regions {
        (region.median, region.sigma, region.tail) = (median, 0.06, Tail::NONE);
    }
}

/// The time of the faults in a run of this length.
fn window(length: Duration) -> (Duration, Duration) {
    (length / 3, length * 5 / 9)
}

fn put(world: &mut Scenario, place: Where, kind: Kind) {
    let (from, to) = window(world.length);
    world.faults.push(Fault { place, kind, from, to });
}

fn one(world: &mut Scenario, kind: Kind) {
    put(world, Where::BySeed, kind);
}

/// Gives every region the capacity to serve twice the load alone.
fn size_for_all(world: &mut Scenario) {
    let least = 2.0 * world.arrivals.rps;
    for region in &mut world.regions {
        region.capacity_rps = region.capacity_rps.max(least);
    }
}

fn all_but_one(world: &mut Scenario, kind: Kind) {
    size_for_all(world);
    put(world, Where::AllButOne, kind);
}

/// Three phases, so that each region fails in each way.
fn mix(world: &mut Scenario) {
    size_for_all(world);
    let (from, to) = window(world.length);
    let phase = to.saturating_sub(from) / 3;
    for number in 0..3_u32 {
        for rank in 0..world.regions.len().saturating_sub(1) {
            let ways = [SERVER_ERRORS, REFUSES, RESETS];
            let way = ways.into_iter().cycle().nth(rank + usize::try_from(number).unwrap_or(0));
            let kind = way.unwrap_or(RESETS);
            let from = from + phase * number;
            world.faults.push(Fault { place: Where::Next(rank), kind, from, to: from + phase });
        }
    }
}

/// One incident after the other. Two regions: between two incidents nothing is wrong.
fn rolling(world: &mut Scenario) {
    size_for_all(world);
    let (mut from, to) = window(world.length);
    let turns = world.regions.len().saturating_sub(1).max(2);
    let mut step = 0;
    while from < to {
        // In the next round each region fails in the other way.
        let kind = if (step + step / turns).is_multiple_of(2) { REFUSES } else { SERVER_ERRORS };
        let end = (from + INCIDENT).min(to);
        world.faults.push(Fault { place: Where::Next(step % turns), kind, from, to: end });
        (from, step) = (end, step + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn world(regions: usize, event: &str) -> Scenario {
        let healthy = Scenario::healthy(&NAMES[..regions], 10.0, 2.0, Duration::from_mins(90));
        healthy.with_event(event).unwrap()
    }

    /// The regions with a fault at that second, in the run of this seed.
    fn bad(world: &Scenario, second: f64, seed: u64) -> Vec<usize> {
        let names = &NAMES[..world.regions.len()];
        let is_bad = |region: &usize| {
            world.faults.iter().any(|f| f.is_on(second) && f.is_in(*region, names, seed))
        };
        (0..names.len()).filter(is_bad).collect()
    }

    #[test]
    fn every_event_has_its_time() {
        for event in EVENTS {
            let world = world(3, event.name);
            assert_eq!(world.name, event.name);
            if !world.faults.is_empty() {
                assert_eq!(world.window(), (Duration::from_mins(30), Duration::from_mins(50)));
            }
        }
        assert_eq!(apply("nonsense", &world(3, "none")), None);
        assert_eq!(world(3, "none").faults, Vec::new());
    }

    #[test]
    fn one_region_stays_healthy_whatever_the_number() {
        let check = |event: &str, regions: usize| {
            let world = world(regions, event);
            for second in [1800.0, 2250.0, 2999.0] {
                let mut expected: Vec<usize> = (0..regions).collect();
                expected.remove(1 % regions);
                assert_eq!(bad(&world, second, 1), expected, "{event}, {regions} regions");
            }
        };
        for regions in 1..=NAMES.len() {
            check("all_but_one_5xx", regions);
            check("all_but_one_refuse", regions);
            check("all_but_one_mix", regions);
        }
    }

    #[test]
    fn incidents_roll_over_the_regions_and_change_their_kind() {
        let three = world(3, "rolling");
        let at = |step: u32| bad(&three, 1803.0 + 6.0 * f64::from(step), 0);
        assert_eq!([at(0), at(1), at(2), at(199)], [[1], [2], [1], [2]]);
        let kinds: Vec<Kind> = three.faults.iter().take(4).map(|fault| fault.kind).collect();
        assert_eq!(kinds, [REFUSES, SERVER_ERRORS, SERVER_ERRORS, REFUSES]);
        let two = world(2, "rolling");
        assert_eq!([bad(&two, 1803.0, 0), bad(&two, 1809.0, 0)], [vec![1], vec![]]);
        assert_eq!(bad(&world(1, "rolling"), 1803.0, 0), Vec::<usize>::new());
    }
}
