//! One run's figures, and their means over seeds.

use crate::sim::float;
use crate::sim::run::Run;
use serde::Serialize;

/// The figures of one run. Times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Which run.
    pub seed: u64,
    /// Requests in the window of the faults.
    pub requests: u32,
    /// Over 4 times the healthy median of their prompt.
    pub slow4: u32,
    /// Over 2 times.
    pub slow2: u32,
    /// Over 4 times, outside the window.
    pub slow4_outside: u32,
    /// Refused, or left by their client, in the whole run.
    pub errors: u32,
    /// Good responses a second, to requests that came in the window.
    pub good_rps: f64,
    /// Requests that failed and could have been served, as a share of those that came in the window.
    pub refused_share: f64,
    /// Left by their client, in the whole run.
    pub unanswered: u32,
    /// Failed, and no region would have served them, in the whole run.
    pub hopeless: u32,
    /// Time to first token, in the window.
    pub p50: f64,
    /// Time to first token, in the window.
    pub p95: f64,
    /// Time to first token, in the window.
    pub p99: f64,
    /// How often a region was taken out.
    pub exclusions: u32,
    /// Exclusions of regions without a fault, in the whole run.
    pub false_exclusions: u32,
    /// From the beginning of the fault until the region was excluded, or got no more traffic.
    pub off_seconds: Option<f64>,
    /// From the end of the fault until the region had its traffic back.
    pub back_seconds: Option<f64>,
    /// Hedges, retries and probes, in the whole run.
    pub extra_requests: u32,
    /// Hedges alone.
    pub hedges: u32,
    /// Requests whose hedge answered first.
    pub hedges_won: u32,
    /// Tokens of the extra requests, as a share of the prompt tokens of all requests.
    pub extra_tokens_share: f64,
    /// Prompts that were cached where they were sent, as a share; `None` without conversations.
    pub cached_share: Option<f64>,
}

impl From<&Run> for Figures {
    fn from(run: &Run) -> Self {
        let tally = &run.tally;
        let mut times = tally.times.clone();
        times.sort_by(f64::total_cmp);
        Self {
            seed: run.seed,
            requests: tally.requests,
            slow4: tally.slow4,
            slow2: tally.slow2,
            slow4_outside: tally.slow4_outside,
            errors: tally.errors,
            good_rps: tally.good_rps(),
            refused_share: f64::from(tally.refused) / f64::from(tally.requests.max(1)),
            unanswered: tally.unanswered,
            hopeless: tally.hopeless,
            p50: quantile(&times, 0.50),
            p95: quantile(&times, 0.95),
            p99: quantile(&times, 0.99),
            exclusions: tally.exclusions,
            false_exclusions: tally.false_exclusions,
            off_seconds: tally.off_seconds(run.seed),
            back_seconds: tally.back_seconds(run.seed),
            extra_requests: tally.extra_requests(),
            hedges: tally.hedges,
            hedges_won: tally.hedges_won,
            extra_tokens_share: tally.extra_tokens / tally.prompt_tokens.max(1.0),
            cached_share: cached_share(tally.cached),
        }
    }
}

fn cached_share((hits, all): (u32, u32)) -> Option<f64> {
    (all > 0).then(|| f64::from(hits) / f64::from(all))
}

/// The value below which this share of the sorted `times` lies; zero when there is none.
fn quantile(times: &[f64], share: f64) -> f64 {
    let rank = (float(times.len()) * share).ceil().max(1.0) - 1.0;
    let rank = usize::try_from(crate::sim::duration(rank).as_secs()).unwrap_or(usize::MAX);
    times.get(rank).or_else(|| times.last()).copied().unwrap_or_default()
}

/// The means of several runs of one policy in one scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The scenario.
    pub scenario: String,
    /// The policy.
    pub policy: String,
    /// Every run.
    pub runs: Vec<Figures>,
}

impl Summary {
    /// The mean of a figure over the runs.
    pub fn mean(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        self.runs.iter().map(figure).sum::<f64>() / float(self.runs.len().max(1))
    }

    /// The mean over the runs that have it, if at least half of them do.
    pub fn mean_of_most(&self, figure: impl Fn(&Figures) -> Option<f64>) -> Option<f64> {
        let found: Vec<f64> = self.runs.iter().filter_map(figure).collect();
        let most = !found.is_empty() && found.len() * 2 >= self.runs.len();
        most.then(|| found.iter().sum::<f64>() / float(found.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let times: Vec<f64> = (1..=200).map(f64::from).collect();
        let found = [0.5, 0.95, 0.99, 1.0].map(|share| quantile(&times, share).round());
        assert!(found.iter().zip([100.0, 190.0, 198.0, 200.0]).all(|(a, b)| (a - b).abs() < 1e-9));
        assert!(quantile(&[], 0.5).abs() < 1e-9 && (quantile(&[7.0], 0.5) - 7.0).abs() < 1e-9);
    }
}
