//! The policies that others ship.
//!
//! - *round robin* and *random* look at nothing.
//! - *least requests*: the fewest open requests, streams included; a tie is drawn.
//! - *P2C `PeakEWMA`* (Finagle, Linkerd, tower): of two drawn regions the one with the lower
//!   `ewma x (outstanding + 1)`. The average jumps up to a slower sample at once and decays with a time constant
//!   of 10 s, towards zero while nothing comes. An error is timed like an answer.

use crate::rng::Rng;
use crate::sim::plain::Choose;
use crate::time::Time;
use std::time::Duration;

/// Each in turn.
#[derive(Default)]
pub(super) struct RoundRobin {
    next: usize,
}

impl Choose for RoundRobin {
    fn choose(&mut self, open: &[usize], _now: Time, _rng: &mut Rng) -> Option<usize> {
        let next = open.iter().find(|region| **region >= self.next).or_else(|| open.first());
        self.next = next? + 1;
        next.copied()
    }
}

/// Any.
pub(super) struct Random;

impl Choose for Random {
    fn choose(&mut self, open: &[usize], _now: Time, rng: &mut Rng) -> Option<usize> {
        open.get(rng.below(open.len().max(1))).copied()
    }
}

/// The fewest open requests.
pub(super) struct LeastRequests {
    open: Vec<u32>,
}

impl LeastRequests {
    pub(super) fn new(regions: usize) -> Self {
        Self { open: vec![0; regions] }
    }
}

impl Choose for LeastRequests {
    fn choose(&mut self, open: &[usize], _now: Time, rng: &mut Rng) -> Option<usize> {
        let load = |region: &usize| (self.open.get(*region).copied(), rng.bits());
        open.iter().copied().min_by_key(load)
    }

    fn sent(&mut self, region: usize) {
        if let Some(open) = self.open.get_mut(region) {
            *open += 1;
        }
    }

    fn over(&mut self, region: usize) {
        if let Some(open) = self.open.get_mut(region) {
            *open = open.saturating_sub(1);
        }
    }
}

const DECAY_SECONDS: f64 = 10.0;

/// Power of two choices over a peak-sensitive moving average.
pub(super) struct PeakEwma {
    regions: Vec<Peak>,
}

/// What is known of one region.
#[derive(Clone, Default)]
struct Peak {
    outstanding: u32,
    average: f64,
    at: Time,
}

impl PeakEwma {
    pub(super) fn new(regions: usize) -> Self {
        Self { regions: vec![Peak::default(); regions] }
    }

    fn cost(&self, region: usize, now: Time) -> f64 {
        self.regions.get(region).map_or(f64::INFINITY, |peak| {
            peak.average * peak.kept(now) * f64::from(peak.outstanding + 1)
        })
    }
}

impl Peak {
    /// The share of the average that is left.
    fn kept(&self, now: Time) -> f64 {
        (-now.since(self.at).as_secs_f64() / DECAY_SECONDS).exp()
    }

    fn observe(&mut self, sample: f64, now: Time) {
        let kept = self.kept(now);
        self.average = sample.max(self.average * kept + sample * (1.0 - kept));
        self.at = now;
    }
}

impl Choose for PeakEwma {
    fn choose(&mut self, open: &[usize], now: Time, rng: &mut Rng) -> Option<usize> {
        let first = rng.below(open.len().max(1));
        let other = rng.below(open.len().saturating_sub(1).max(1));
        let second = if other >= first && open.len() > 1 { other + 1 } else { other };
        let (first, second) = (*open.get(first)?, *open.get(second)?);
        Some(if self.cost(second, now) < self.cost(first, now) { second } else { first })
    }

    fn sent(&mut self, region: usize) {
        if let Some(peak) = self.regions.get_mut(region) {
            peak.outstanding += 1;
        }
    }

    fn heard(&mut self, region: usize, took: Duration, now: Time) {
        if let Some(peak) = self.regions.get_mut(region) {
            peak.observe(took.as_secs_f64(), now);
            peak.outstanding = peak.outstanding.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::at(Duration::from_secs(seconds))
    }

    #[test]
    fn round_robin_takes_turns_among_what_is_open() {
        let mut rule = RoundRobin::default();
        let mut rng = Rng::from_seed(1);
        let mut turn = |open: &[usize]| rule.choose(open, at(0), &mut rng).unwrap();
        let all = [0, 1, 2];
        assert_eq!([turn(&all), turn(&all), turn(&[0, 1]), turn(&all)], [0, 1, 0, 1]);
    }

    #[test]
    fn the_peak_is_taken_at_once_and_decays() {
        let mut peak = Peak::default();
        peak.observe(1.0, at(0));
        peak.observe(10.0, at(1));
        assert!((peak.average - 10.0).abs() < 1e-9);
        peak.observe(1.0, at(11));
        assert!((peak.average - (1.0 + 9.0 * (-1.0_f64).exp())).abs() < 1e-9, "{}", peak.average);
    }

    #[test]
    fn of_two_the_cheaper_is_taken() {
        let mut rule = PeakEwma::new(2);
        rule.heard(0, Duration::from_secs(5), at(0));
        rule.heard(1, Duration::from_secs(1), at(0));
        let mut rng = Rng::from_seed(1);
        assert!((0..50).all(|_| rule.choose(&[0, 1], at(0), &mut rng) == Some(1)));
        (0..5).for_each(|_| rule.sent(1));
        assert!((0..50).all(|_| rule.choose(&[0, 1], at(0), &mut rng) == Some(0)));
    }
}
