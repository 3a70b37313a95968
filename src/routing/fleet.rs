//! What twice a second is taken down of a pool as a whole: what a first token costs in it now and normally,
//! what follows for the share that overflows, and among which targets to draw.
//!
//! `pool_ratio` is the lower median of score over base: 1 when all is well. Above 2 the pool is *congested*:
//! nobody learns from it what is normal, and nothing is hedged, or an overload would feed itself.

use crate::routing::guard::lower_median;
use crate::routing::settings::Settings;
use crate::routing::target::TargetState;
use crate::time::Time;
use std::time::Duration;

/// The `pool_ratio` from which on a pool is congested.
pub(super) const CONGESTED: f64 = 2.0;
/// The least that a whole response counts that waits, in first tokens.
const WHOLE_LEAST: f64 = 0.05;
/// So long a congestion is the new normal.
const NEW_NORMAL: Duration = Duration::from_mins(30);

/// A pool as it was at the last tick.
#[derive(Clone, Debug, Default)]
pub(super) struct Fleet {
    /// Lower median of the scores; `None`: nothing is known.
    pub(super) now_ms: Option<f64>,
    /// Lower median of the bases.
    pub(super) base_ms: Option<f64>,
    /// Lower median of score over base.
    pub(super) ratio: f64,
    /// What a whole response that waits counts, in first tokens.
    pub(super) whole: f64,
    /// The best score over base of a usable target.
    pub(super) best_ratio: f64,
    /// Share of the requests that go to a degraded target.
    pub(super) overflow: f64,
    /// Every usable target is suspect.
    pub(super) all_suspect: bool,
    /// Congested for so long that it is learned as normal.
    pub(super) new_normal: bool,
    /// Since when it is congested.
    congested_since: Option<Time>,
    /// Usable targets by tier, the lowest first.
    pub(super) tiers: Vec<Tier>,
    pub(super) degraded: Vec<usize>,
}

/// The usable targets of one tier.
#[derive(Clone, Debug, Default)]
pub(super) struct Tier {
    pub(super) number: u32,
    pub(super) targets: Vec<usize>,
    /// Running sum of their weights; empty if the operator set none.
    pub(super) weights: Vec<u64>,
}

/// A target as the tick sees it.
pub(super) struct Member<'a> {
    pub(super) state: &'a TargetState,
    pub(super) tier: u32,
    pub(super) weight: u32,
}

impl Fleet {
    /// Nothing known, and everything in use.
    pub(super) fn new() -> Self {
        Self { ratio: 1.0, best_ratio: 1.0, whole: 1.0, ..Self::default() }
    }

    pub(super) fn is_congested(&self) -> bool {
        self.ratio > CONGESTED
    }

    /// The same, where whole responses usually take `total_ms`. Each waits for many first tokens' time, but of all
    /// that come in a while no more do wait: counted as a first token each, they would drown those in every cost.
    pub(super) fn with_totals(self, total_ms: Option<f64>) -> Self {
        let share = self.base_ms.zip(total_ms).map(|(first, total)| first / total.max(0.01));
        Self { whole: share.map_or(1.0, |share| share.clamp(WHOLE_LEAST, 1.0)), ..self }
    }

    /// What stands for a target that nothing is known about.
    pub(super) fn unknown_ms(&self, settings: &Settings) -> f64 {
        self.base_ms.unwrap_or(settings.default_score_ms)
    }

    /// Takes the pool down as it is now.
    pub(super) fn look(&self, settings: &Settings, members: &[Member<'_>], now: Time) -> Self {
        let there = members.iter().filter(|m| !m.state.is_drained());
        let known: Vec<(f64, f64)> = there
            .filter_map(|m| m.state.base_ms().map(|base| (base, m.state.ratio(settings, now))))
            .collect();
        let mut bases: Vec<f64> = known.iter().map(|(base, _)| *base).collect();
        let mut ratios: Vec<f64> = known.iter().map(|(_, ratio)| *ratio).collect();
        // In the measure of the bases: a middle, not an average.
        let mut scores: Vec<f64> = known.iter().map(|(base, ratio)| base * ratio).collect();
        let ratio = lower_median(&mut ratios).unwrap_or(1.0);
        let usable = |m: &&Member<'_>| m.state.is_usable(now);
        let mut in_use = members.iter().filter(usable).peekable();
        let some_in_use = in_use.peek().is_some();
        let best = members.iter().filter(usable).map(|m| m.state.ratio(settings, now));
        let overflow = &settings.overflow;
        let congested_since = (ratio > CONGESTED).then(|| self.congested_since.unwrap_or(now));
        Self {
            now_ms: lower_median(&mut scores),
            base_ms: lower_median(&mut bases),
            ratio,
            best_ratio: best.fold(f64::INFINITY, f64::min),
            whole: self.whole,
            overflow: (overflow.gain * (ratio - overflow.start)).clamp(0.0, overflow.max),
            all_suspect: some_in_use && in_use.all(|m| m.state.is_suspect()),
            new_normal: congested_since.is_some_and(|at| now.since(at) >= NEW_NORMAL),
            congested_since,
            tiers: tiers(members, now),
            degraded: positions(members, |m| m.state.is_degraded(now)),
        }
    }
}

fn positions(members: &[Member<'_>], is: impl Fn(&Member<'_>) -> bool) -> Vec<usize> {
    members.iter().enumerate().filter(|(_, m)| is(m)).map(|(index, _)| index).collect()
}

fn tiers(members: &[Member<'_>], now: Time) -> Vec<Tier> {
    let mut numbers: Vec<u32> = members.iter().map(|m| m.tier).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let tier = |number: u32| {
        let usable = |m: &Member<'_>| m.tier == number && m.state.is_usable(now);
        let targets = positions(members, usable);
        let weighted = members.iter().any(|m| m.tier == number && m.weight != 1);
        let weight_of = |&index: &usize| members.get(index).map_or(0, |m| u64::from(m.weight));
        let running = targets.iter().map(weight_of).scan(0_u64, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        let weights = if weighted { running.collect() } else { Vec::new() };
        Tier { number, targets, weights }
    };
    numbers.into_iter().map(tier).collect()
}
