//! Choosing one target out of a pool.
//!
//! `ema`, in this order: the lowest tier that has a usable target (not degraded, not limited, not blocked,
//! not used by this request); in it the lowest score; equal scores: the fewest requests in flight, then a
//! coin. A target that comes back from a 429 takes part with a probability that grows over its ramp. Nothing
//! usable: the same among the degraded ones. `round_robin`: smooth weighted turns.

use crate::rng::Rng;
use crate::routing::pool::Pool;
use crate::routing::pool::Target;
use crate::routing::settings::Policy;
use crate::time::Time;
use std::sync::PoisonError;
use std::time::Duration;

/// Why this target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It had the lowest score.
    LowestScore,
    /// Everything is degraded: the lowest score of all.
    AllDegraded,
    /// It was its turn.
    RoundRobin,
    /// The client named it, and may.
    Asked,
}

impl Why {
    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LowestScore => "lowest_score",
            Self::AllDegraded => "all_degraded",
            Self::RoundRobin => "round_robin",
            Self::Asked => "asked",
        }
    }
}

/// A choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    /// Position in the pool.
    pub target: usize,
    /// The reason.
    pub why: Why,
}

/// Why there is no choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTarget {
    /// Every target that could be tried rests after a 429; the first is free again after this long.
    AllLimited(Duration),
    /// Every target was used by this request already.
    AllUsed,
    /// Every target is drained or misconfigured.
    AllBlocked,
}

/// The targets that one request has used. Holds as many as a request may have attempts; no allocation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    targets: [u16; Self::CAPACITY],
    len: usize,
}

impl Used {
    const CAPACITY: usize = 12;

    /// Adds one; false if there is no room for it, and the request must stop looking.
    #[must_use]
    pub fn add(&mut self, target: usize) -> bool {
        let (Some(slot), Ok(id)) = (self.targets.get_mut(self.len), u16::try_from(target)) else {
            return false;
        };
        *slot = id;
        self.len += 1;
        true
    }

    /// Whether `target` was added.
    pub fn contains(&self, target: usize) -> bool {
        self.targets.iter().take(self.len).any(|&id| usize::from(id) == target)
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Pool {
    /// Chooses a target among those that this request has not used.
    pub fn pick(&self, used: &Used, now: Time, rng: &mut Rng) -> Result<Picked, NoTarget> {
        match self.settings().policy {
            Policy::Ema => self.lowest_score(used, now, rng),
            Policy::RoundRobin => self.next_turn(used, now),
        }
    }

    /// Whether [`Pool::pick`] would find anything.
    pub fn can_pick(&self, used: &Used, now: Time) -> bool {
        self.targets().iter().enumerate().any(|(index, target)| is_open(index, target, used, now))
    }

    /// Whether `target` is out of use as degraded while a healthy one is left that this request has not used.
    /// To go there adds no load that the degradation has not moved there anyway.
    pub fn is_rescue(&self, target: usize, used: &Used, now: Time) -> bool {
        let left = |(index, other): (usize, &Target)| {
            is_open(index, other, used, now) && !other.state.is_degraded(now)
        };
        self.targets().get(target).is_some_and(|t| t.state.is_degraded(now))
            && self.targets().iter().enumerate().any(left)
    }

    /// Whether anything could be tried now or after a rate limit's rest: not ready only while every target
    /// is blocked.
    pub fn is_ready(&self) -> bool {
        self.targets().iter().any(|t| !t.state.is_blocked())
    }

    fn lowest_score(&self, used: &Used, now: Time, rng: &mut Rng) -> Result<Picked, NoTarget> {
        let mut usable = Best::default();
        let mut thinned = Best::default();
        let mut degraded = Best::default();
        for (index, target) in self.targets().iter().enumerate() {
            if !is_open(index, target, used, now) {
                continue;
            }
            let bid = self.bid(index, target, now, rng);
            let ramp = target.state.ramp(self.settings(), now);
            if target.state.is_degraded(now) {
                // Nothing better is left: the best of all, whatever its tier.
                degraded.offer(Bid { tier: 0, ..bid });
            } else if ramp >= 1.0 || rng.unit() < ramp {
                usable.offer(bid);
            } else {
                thinned.offer(bid);
            }
        }
        let found = |best: Best, why| best.0.map(|bid| Picked { target: bid.index, why });
        found(usable, Why::LowestScore)
            .or_else(|| found(thinned, Why::LowestScore))
            .or_else(|| found(degraded, Why::AllDegraded))
            .ok_or_else(|| self.why_none(used, now))
    }

    fn bid(&self, index: usize, target: &Target, now: Time, rng: &mut Rng) -> Bid {
        Bid {
            tier: target.spec.tier,
            score_ms: target.state.score_ms(self.settings(), now),
            in_flight: target.state.in_flight(),
            coin: rng.bits(),
            index,
        }
    }

    /// Smooth weighted round robin (the scheme of nginx): everyone gains its weight, the richest is chosen
    /// and pays the sum, so that turns interleave instead of coming in runs.
    fn next_turn(&self, used: &Used, now: Time) -> Result<Picked, NoTarget> {
        let mut turns = self.turns().lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = 0_i64;
        let mut richest: Option<(i64, usize)> = None;
        for (index, (target, purse)) in self.targets().iter().zip(turns.iter_mut()).enumerate() {
            if !is_open(index, target, used, now) {
                continue;
            }
            let weight = i64::from(target.spec.weight);
            *purse += weight;
            sum += weight;
            if richest.is_none_or(|(most, _)| *purse > most) {
                richest = Some((*purse, index));
            }
        }
        let Some((_, index)) = richest else { return Err(self.why_none(used, now)) };
        if let Some(purse) = turns.get_mut(index) {
            *purse -= sum;
        }
        Ok(Picked { target: index, why: Why::RoundRobin })
    }

    fn why_none(&self, used: &Used, now: Time) -> NoTarget {
        let resting = self
            .targets()
            .iter()
            .filter(|t| !t.state.is_blocked())
            .map(|t| t.state.limited(now))
            .filter(|wait| !wait.is_zero());
        match resting.min() {
            Some(wait) => NoTarget::AllLimited(wait),
            None if used.is_empty() => NoTarget::AllBlocked,
            None => NoTarget::AllUsed,
        }
    }
}

/// Whether this request may try a target at all.
fn is_open(index: usize, target: &Target, used: &Used, now: Time) -> bool {
    !used.contains(index) && !target.state.is_blocked() && target.state.limited(now).is_zero()
}

#[derive(Clone, Copy)]
struct Bid {
    tier: u32,
    score_ms: f64,
    in_flight: u32,
    coin: u64,
    index: usize,
}

/// The best bid so far.
#[derive(Clone, Copy, Default)]
struct Best(Option<Bid>);

impl Best {
    fn offer(&mut self, bid: Bid) {
        let better = self.0.is_none_or(|best| {
            bid.tier
                .cmp(&best.tier)
                .then(bid.score_ms.total_cmp(&best.score_ms))
                .then(bid.in_flight.cmp(&best.in_flight))
                .then(bid.coin.cmp(&best.coin))
                .is_lt()
        });
        if better {
            self.0 = Some(bid);
        }
    }
}
