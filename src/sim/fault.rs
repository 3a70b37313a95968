//! Faults: what goes wrong in a region, when, and what that does to one request.

use crate::sim::balancer::{Outcome, Quota, RateLimited};
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
    /// The ones of these names.
    Named(Vec<String>),
    /// Every region but the one that the seed chooses.
    AllButOne,
    /// The region that follows the one that the seed chooses, skipping so many. None follows the last.
    Next(usize),
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
    /// This share of the requests gets no connection.
    Refuse {
        /// Share of the requests, 0 to 1.
        share: f64,
    },
    /// The connection of this share of the requests breaks before any content.
    Reset {
        /// Share of the requests, 0 to 1.
        share: f64,
    },
    /// This share of the requests gets a 4xx at once that names no limit and no credential.
    Reject {
        /// Share of the requests, 0 to 1.
        share: f64,
        /// The status.
        status: u16,
    },
    /// This share of the requests gets a 200 without content at once: an HTML page, an empty stream.
    Unusable {
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
    /// This share of the requests, all of one app, gets a 500 from every region.
    Poison {
        /// Share of the requests, 0 to 1.
        share: f64,
        /// Whether they may be sent again.
        repeatable: bool,
    },
    /// This share of the requests, all of one app, allows so many output tokens.
    Oversize {
        /// Share of the requests, 0 to 1.
        share: f64,
        /// The most output tokens that each allows.
        max_tokens: f64,
    },
    /// Only this share of the capacity is left.
    Capacity {
        /// Share that is left, 0 to 1.
        left: f64,
    },
}

impl Kind {
    /// Whether the requests are at fault, and no region is.
    pub(super) const fn is_of_requests(self) -> bool {
        matches!(self, Self::Poison { .. } | Self::Oversize { .. })
    }
}

/// What the faults of a region make of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// It is served, this many times slower than usual.
    Served(f64),
    /// It gets no response, ever.
    Silent,
    /// It ends without content, after a time between these seconds.
    Ends(Outcome, (f64, f64)),
}

/// Seconds until a 500.
pub(super) const ERROR: (f64, f64) = (0.1, 0.1);
/// Seconds until a 429.
pub(super) const LIMITED: (f64, f64) = (0.05, 0.05);
/// Seconds until a connection is refused.
const REFUSED: (f64, f64) = (0.001, 0.005);
/// Seconds until a connection breaks.
const RESET: (f64, f64) = (0.05, 0.2);
/// Seconds until a response that needs no model.
const AT_ONCE: (f64, f64) = (0.005, 0.02);

impl Fault {
    /// Whether it is in region number `region`, of `names`, in the run of this seed.
    pub(super) fn is_in(&self, region: usize, names: &[&str], seed: u64) -> bool {
        if self.kind.is_of_requests() {
            return false;
        }
        match &self.place {
            Where::Everywhere => true,
            Where::Named(named) => {
                names.get(region).is_some_and(|name| named.iter().any(|one| one == name))
            }
            Where::BySeed => distance(region, names.len(), seed) == 0,
            Where::AllButOne => distance(region, names.len(), seed) > 0,
            Where::Next(skipped) => distance(region, names.len(), seed) == skipped + 1,
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
            Kind::Errors { share } if coin < share => Fate::Ends(Outcome::Failed, ERROR),
            Kind::Refuse { share } if coin < share => Fate::Ends(Outcome::Unreachable, REFUSED),
            Kind::Reset { share } if coin < share => Fate::Ends(Outcome::Failed, RESET),
            Kind::Reject { share, status } if coin < share => {
                Fate::Ends(Outcome::Refused(status), AT_ONCE)
            }
            Kind::Unusable { share } if coin < share => Fate::Ends(Outcome::Unusable, AT_ONCE),
            Kind::Limited { share, retry_after } if coin < share => {
                let limited = RateLimited { retry_after, of: Quota::Unknown };
                Fate::Ends(Outcome::Limited(limited), LIMITED)
            }
            Kind::Slow { .. }
            | Kind::Flapping { .. }
            | Kind::Silent { .. }
            | Kind::Errors { .. }
            | Kind::Refuse { .. }
            | Kind::Reset { .. }
            | Kind::Reject { .. }
            | Kind::Unusable { .. }
            | Kind::Limited { .. }
            | Kind::Poison { .. }
            | Kind::Oversize { .. }
            | Kind::Capacity { .. } => Fate::Served(1.0),
        }
    }

    /// The share of the capacity that it leaves.
    pub(super) fn capacity(&self) -> f64 {
        if let Kind::Capacity { left } = self.kind { left } else { 1.0 }
    }
}

/// How many regions after the one that the seed chooses.
fn distance(region: usize, regions: usize, seed: u64) -> usize {
    let regions = regions.max(1);
    let count = u64::try_from(regions).unwrap_or(1);
    let chosen = usize::try_from(seed % count).unwrap_or(0);
    (region + regions - chosen) % regions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenario::Scenario;

    fn of(name: &str) -> Fault {
        let healthy = Scenario::healthy(&["a", "b", "c"], 10.0, 2.0, Duration::from_mins(90));
        healthy.with_event(name).unwrap().faults.remove(0)
    }

    #[test]
    fn the_seed_chooses_the_region() {
        let names = ["a", "b", "c"];
        let hit =
            |seed| (0..3).filter(|r| of("slow10").is_in(*r, &names, seed)).collect::<Vec<_>>();
        assert_eq!((hit(3), hit(4), hit(5)), (vec![0], vec![1], vec![2]));
        assert!((0..3).all(|region| of("all_slow").is_in(region, &names, 4)));
        let named = Where::Named(vec!["c".to_owned(), "a".to_owned()]);
        let named = Fault { place: named, ..of("slow10") };
        assert_eq!([0, 1, 2].map(|region| named.is_in(region, &names, 1)), [true, false, true]);
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
        assert_eq!(of("errors").fate(1800.0, 0.9), Fate::Ends(Outcome::Failed, ERROR));
        let refused = Fate::Ends(Outcome::Unreachable, REFUSED);
        assert_eq!(of("all_but_one_refuse").fate(1800.0, 0.9), refused);
        let rejected = Fate::Ends(Outcome::Refused(400), AT_ONCE);
        assert_eq!(of("bad_request").fate(1800.0, 0.9), rejected);
        assert_eq!(of("unusable").fate(1800.0, 0.9), Fate::Ends(Outcome::Unusable, AT_ONCE));
        assert!(
            !of("slow10").is_on(1799.9)
                && of("slow10").is_on(1800.0)
                && !of("slow10").is_on(3000.0)
        );
    }
}
