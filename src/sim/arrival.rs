//! When requests arrive: a Poisson process by thinning. Candidates come at the highest rate there is; each
//! is kept with the probability of the present rate over that one.

use crate::rng::Rng;
use crate::sim::scenario::Arrivals;
use crate::sim::scenario::Burst;

/// A source of arrivals.
#[derive(Debug)]
pub(super) struct Stream {
    plan: Arrivals,
    rng: Rng,
    now: f64,
    highest: f64,
    /// Whether a rush is on, and until when this phase lasts.
    rush: bool,
    phase_to: f64,
}

impl Stream {
    pub(super) fn new(plan: &Arrivals, rng: Rng) -> Self {
        let most = plan.steps.iter().map(|(_, rps)| *rps).fold(plan.rps, f64::max);
        let factor = plan.burst.map_or(1.0, |burst| burst.factor.max(1.0));
        Self {
            plan: plan.clone(),
            rng,
            now: 0.0,
            highest: most * factor,
            rush: false,
            phase_to: 0.0,
        }
    }

    /// The next arrival in seconds, or `None` when there is none before `end`.
    pub(super) fn next(&mut self, end: f64) -> Option<f64> {
        while self.highest > 0.0 && self.now < end {
            self.now += exponential(&mut self.rng) / self.highest;
            let rate = self.rate();
            if self.now < end && self.rng.unit() * self.highest < rate {
                return Some(self.now);
            }
        }
        None
    }

    fn rate(&mut self) -> f64 {
        let step = self.plan.steps.iter().rev().find(|(from, _)| from.as_secs_f64() <= self.now);
        let rps = step.map_or(self.plan.rps, |(_, rps)| *rps);
        rps * self.plan.burst.map_or(1.0, |burst| self.swing(burst))
    }

    fn swing(&mut self, Burst { factor, share, length }: Burst) -> f64 {
        let rush = length.as_secs_f64();
        let lull = rush * (1.0 - share) / share.max(1e-9);
        while self.phase_to <= self.now {
            self.rush = !self.rush;
            self.phase_to += exponential(&mut self.rng) * if self.rush { rush } else { lull };
        }
        if self.rush { factor } else { ((1.0 - share * factor) / (1.0 - share).max(1e-9)).max(0.0) }
    }
}

/// An exponential number of mean 1.
fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.unit()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn all(plan: &Arrivals, end: f64) -> Vec<f64> {
        let mut stream = Stream::new(plan, Rng::from_seed(1));
        std::iter::from_fn(|| stream.next(end)).collect()
    }

    #[test]
    fn an_even_rate_is_kept() {
        let count = all(&Arrivals::even(10.0), 5400.0).len();
        assert!((53_000..55_000).contains(&count), "{count}");
    }

    #[test]
    fn a_step_changes_the_rate() {
        let plan =
            Arrivals { steps: vec![(Duration::from_secs(1000), 30.0)], ..Arrivals::even(10.0) };
        let arrivals = all(&plan, 2000.0);
        let before = arrivals.iter().filter(|at| **at < 1000.0).count();
        assert!((9_600..10_400).contains(&before), "{before}");
        assert!((29_300..30_700).contains(&(arrivals.len() - before)));
    }

    #[test]
    fn rushes_keep_the_mean_and_are_rushes() {
        let burst = Burst { factor: 4.0, share: 0.2, length: Duration::from_secs(30) };
        let arrivals = all(&Arrivals { burst: Some(burst), ..Arrivals::even(10.0) }, 100_000.0);
        assert!((930_000..1_070_000).contains(&arrivals.len()), "{}", arrivals.len());
        let mut per_second = vec![0_u32; 100_001];
        for at in &arrivals {
            per_second[usize::try_from(Duration::from_secs_f64(*at).as_secs()).unwrap()] += 1;
        }
        let busy = per_second.iter().filter(|n| **n >= 25).count();
        assert!((15_000..25_000).contains(&busy), "{busy} seconds of a rush");
    }
}
