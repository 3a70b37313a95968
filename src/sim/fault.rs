//! What goes wrong in a region, when, and what that does to one request.

use std::time::Duration;

/// One thing that goes wrong for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// In which regions.
    pub place: Where,
    /// What.
    pub kind: Kind,
    /// From when.
    pub from: Duration,
    /// Until when.
    pub to: Duration,
}

/// Which regions a fault is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// One that the seed chooses: seed modulo the number of regions.
    BySeed,
    /// Every region.
    Everywhere,
    /// The one of this name.
    Named(String),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// This share of the requests takes `factor` times as long.
    Slow {
        /// How many times as long.
        factor: f64,
        /// Share of the requests, 0 to 1.
        share: f64,
    },
    /// Times grow evenly from 1 to `factor` over the length of the fault.
    Drift {
        /// How many times as long at the end.
        factor: f64,
    },
    /// `factor` times as long for `seconds`, then well for `seconds`, and so on.
    Flapping {
        /// How many times as long.
        factor: f64,
        /// Length of each phase.
        seconds: f64,
    },
    /// This share of the requests is accepted and never answered.
    Silent {
        /// Share of the requests, 0 to 1.
        share: f64,
    },
    /// This share of the requests is answered 500.
    Errors {
        /// Share of the requests, 0 to 1.
        share: f64,
    },
    /// This share of the requests is answered 429.
    Limited {
        /// Share of the requests, 0 to 1.
        share: f64,
        /// What the answer asks for; nothing when it names no time.
        retry_after: Option<Duration>,
    },
    /// Only this share of the capacity is left.
    Capacity {
        /// Share that is left, 0 to 1.
        left: f64,
    },
}

/// A named event: what `simulate --event` takes, and where it happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: &'static str,
    /// In one line.
    pub about: &'static str,
    place: Place,
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    One,
    All,
}

const fn one(name: &'static str, about: &'static str, kind: Kind) -> Event {
    Event { name, about, place: Place::One, kind: Some(kind) }
}

/// The events that have a name.
pub const EVENTS: &[Event] = &[
    one("slow3", "one region takes 3 times as long", Kind::Slow { factor: 3.0, share: 1.0 }),
    one("slow10", "one region takes 10 times as long", Kind::Slow { factor: 10.0, share: 1.0 }),
    one(
        "half",
        "half of its requests take 10 times as long",
        Kind::Slow { factor: 10.0, share: 0.5 },
    ),
    one("blackhole", "it accepts requests and never answers", Kind::Silent { share: 1.0 }),
    one("drift", "it slows down evenly, to 8 times", Kind::Drift { factor: 8.0 }),
    one(
        "flapping",
        "10 times as long for 60 s, well for 60 s",
        Kind::Flapping { factor: 10.0, seconds: 60.0 },
    ),
    one("capacity", "it loses 95 % of its capacity", Kind::Capacity { left: 0.05 }),
    one(
        "limited",
        "it answers 429, try again after 5 s",
        Kind::Limited { share: 1.0, retry_after: Some(Duration::from_secs(5)) },
    ),
    one("errors", "it answers 500", Kind::Errors { share: 1.0 }),
    Event {
        name: "all_slow",
        about: "every region takes 3 times as long",
        place: Place::All,
        kind: Some(Kind::Slow { factor: 3.0, share: 1.0 }),
    },
    Event { name: "none", about: "nothing goes wrong", place: Place::All, kind: None },
];

/// The faults of the event of that name, from a third to five ninths of a run of `length` (minutes 30 to 50
/// of 90).
pub fn event(name: &str, length: Duration) -> Option<Vec<Fault>> {
    let event = EVENTS.iter().find(|event| event.name == name)?;
    let place = match event.place {
        Place::One => Where::BySeed,
        Place::All => Where::Everywhere,
    };
    let fault = |kind| Fault { place, kind, from: length / 3, to: length * 5 / 9 };
    Some(event.kind.map(fault).into_iter().collect())
}

/// What the faults of a region make of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// It is served, this many times slower than usual.
    Served(f64),
    /// It is never answered.
    Silent,
    /// 500.
    Error,
    /// 429.
    Limited(Option<Duration>),
}

impl Fault {
    /// Whether it is in region number `region`, of `names`, in the run of this seed.
    pub(super) fn is_in(&self, region: usize, names: &[&str], seed: u64) -> bool {
        match &self.place {
            Where::Everywhere => true,
            Where::Named(name) => names.get(region) == Some(&name.as_str()),
            Where::BySeed => {
                let regions = u64::try_from(names.len()).unwrap_or(1).max(1);
                u64::try_from(region) == Ok(seed % regions)
            }
        }
    }

    /// Whether it lasts at `now`, in seconds. A flapping fault lasts in its good phases too.
    pub(super) fn is_on(&self, now: f64) -> bool {
        (self.from.as_secs_f64()..self.to.as_secs_f64()).contains(&now)
    }

    /// What it does to a request that draws `coin` (0 to 1).
    pub(super) fn fate(&self, now: f64, coin: f64) -> Fate {
        let age = now - self.from.as_secs_f64();
        match self.kind {
            Kind::Slow { factor, share } if coin < share => Fate::Served(factor),
            Kind::Drift { factor } => {
                let whole = (self.to.as_secs_f64() - self.from.as_secs_f64()).max(1e-9);
                Fate::Served(1.0 + (factor - 1.0) * (age / whole).min(1.0))
            }
            Kind::Flapping { factor, seconds }
                if (age / seconds.max(1e-9)).rem_euclid(2.0) < 1.0 =>
            {
                Fate::Served(factor)
            }
            Kind::Silent { share } if coin < share => Fate::Silent,
            Kind::Errors { share } if coin < share => Fate::Error,
            Kind::Limited { share, retry_after } if coin < share => Fate::Limited(retry_after),
            Kind::Slow { .. }
            | Kind::Flapping { .. }
            | Kind::Silent { .. }
            | Kind::Errors { .. }
            | Kind::Limited { .. }
            | Kind::Capacity { .. } => Fate::Served(1.0),
        }
    }

    /// The share of the capacity that it leaves.
    pub(super) fn capacity(&self) -> f64 {
        if let Kind::Capacity { left } = self.kind { left } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_mins(90);

    fn of(name: &str) -> Fault {
        event(name, HOUR).unwrap().remove(0)
    }

    #[test]
    fn every_event_has_its_name_and_its_time() {
        for known in EVENTS {
            for fault in event(known.name, HOUR).unwrap() {
                assert_eq!(
                    (fault.from, fault.to),
                    (Duration::from_mins(30), Duration::from_mins(50))
                );
            }
        }
        assert_eq!(event("nonsense", HOUR), None);
        assert_eq!(event("none", HOUR), Some(Vec::new()));
    }

    #[test]
    fn the_seed_chooses_the_region() {
        let names = ["a", "b", "c"];
        let hit =
            |seed| (0..3).filter(|r| of("slow10").is_in(*r, &names, seed)).collect::<Vec<_>>();
        assert_eq!((hit(3), hit(4), hit(5)), (vec![0], vec![1], vec![2]));
        assert!((0..3).all(|region| of("all_slow").is_in(region, &names, 4)));
    }

    #[test]
    fn fates_are_as_named() {
        assert_eq!(of("slow10").fate(1800.0, 0.99), Fate::Served(10.0));
        assert_eq!(of("half").fate(1800.0, 0.6), Fate::Served(1.0));
        assert_eq!(of("half").fate(1800.0, 0.4), Fate::Served(10.0));
        assert_eq!(of("drift").fate(2400.0, 0.5), Fate::Served(4.5));
        assert_eq!(of("flapping").fate(1830.0, 0.5), Fate::Served(10.0));
        assert_eq!(of("flapping").fate(1890.0, 0.5), Fate::Served(1.0));
        assert_eq!(of("blackhole").fate(1800.0, 0.9), Fate::Silent);
        assert_eq!(of("errors").fate(1800.0, 0.9), Fate::Error);
        assert!(
            !of("slow10").is_on(1799.9)
                && of("slow10").is_on(1800.0)
                && !of("slow10").is_on(3000.0)
        );
    }
}
