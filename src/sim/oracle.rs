//! The policy that knows the truth: which regions have a fault now, and every healthy median. Of the good ones
//! it takes the least `(waiting + 1) x median`. It does not hedge, so a hedging policy may beat it.

use crate::rng::Rng;
use crate::sim::plain::Choose;
use crate::sim::scenario::Scenario;
use crate::sim::seconds;
use crate::sim::world::World;
use crate::time::Time;
use std::time::Duration;

pub(super) struct Oracle {
    /// Never sent anything: asked for its faults only.
    truth: World,
    medians: Vec<f64>,
    waiting: Vec<u32>,
}

impl Oracle {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let medians = scenario.regions.iter().map(|r| r.median.as_secs_f64()).collect();
        let waiting = vec![0; scenario.regions.len()];
        Self { truth: World::new(scenario, seed), medians, waiting }
    }

    fn cost(&self, region: usize) -> f64 {
        let waiting = self.waiting.get(region).copied().unwrap_or_default();
        self.medians.get(region).map_or(f64::INFINITY, |median| median * f64::from(waiting + 1))
    }
}

impl Choose for Oracle {
    fn choose(&mut self, open: &[usize], now: Time, _rng: &mut Rng) -> Option<usize> {
        let bad = |region: &usize| self.truth.is_bad(*region, seconds(now));
        let key = |region: &usize| (bad(region), self.cost(*region));
        let less = |a: &usize, b: &usize| {
            let (a, b) = (key(a), key(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        };
        open.iter().copied().min_by(less)
    }

    fn sent(&mut self, region: usize) {
        if let Some(waiting) = self.waiting.get_mut(region) {
            *waiting += 1;
        }
    }

    fn heard(&mut self, region: usize, _took: Duration, _now: Time) {
        if let Some(waiting) = self.waiting.get_mut(region) {
            *waiting = waiting.saturating_sub(1);
        }
    }
}
