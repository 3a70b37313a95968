//! What the clients of one proxy have felt, answer by answer.
//!
//! The figures come from the client's own clock, not from the proxy's. A percentile is the smallest measured
//! value that so large a share does not exceed; requests without a first token have none to measure and are
//! counted as failed.

use crate::demo::scenario::SLOW_MS;
use crate::time::Time;
use crate::time::millis;
use std::time::Duration;

/// One request as its client saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When it was sent, counted from the first request.
    pub sent: Time,
    /// From then to the first content token, if one came.
    pub ttft: Option<Duration>,
    /// Which region answered, as the proxy says.
    pub region: Option<String>,
    /// Why it does not count as a good answer; `None` for status 200 and a complete stream.
    pub failure: Option<Failure>,
}

/// What can be wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// No answer, or one that broke off, or that took too long.
    #[error("connection failed or timed out")]
    Transport,
    /// An error event in the stream.
    #[error("error event in the stream")]
    ErrorEvent,
    /// A stream that ended without content or without `[DONE]`.
    #[error("incomplete stream")]
    Incomplete,
    /// Too many requests were waiting to send another.
    #[error("not sent, too many were waiting")]
    NotSent,
}

impl Sample {
    /// Whether the first token took too long.
    pub fn is_slow(&self) -> bool {
        self.ttft.is_some_and(|ttft| millis(ttft) > SLOW_MS)
    }

    fn answered(&self) -> Option<Time> {
        self.ttft.map(|ttft| self.sent + ttft)
    }
}

/// All answers of one proxy, in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    samples: Vec<Sample>,
    slow: usize,
    failed: usize,
}

impl Tally {
    /// Adds a request that has ended.
    pub fn add(&mut self, sample: Sample) {
        self.slow += usize::from(sample.is_slow());
        self.failed += usize::from(sample.failure.is_some());
        self.samples.push(sample);
    }

    /// How many have ended.
    pub fn requests(&self) -> usize {
        self.samples.len()
    }

    /// How many of them were slow.
    pub fn slow(&self) -> usize {
        self.slow
    }

    /// How many of them failed.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// The first failure.
    pub fn first_failure(&self) -> Option<Failure> {
        self.samples.iter().find_map(|sample| sample.failure)
    }

    /// How many were sent between two moments, and how many of these were slow.
    pub fn between(&self, from: Time, until: Time) -> (usize, usize) {
        let sent = self.samples.iter().filter(|sample| from <= sample.sent && sample.sent < until);
        sent.fold((0, 0), |(all, slow), sample| (all + 1, slow + usize::from(sample.is_slow())))
    }

    /// Percentiles of the time to first token in milliseconds; 0 while there is none.
    pub fn percentiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mut times: Vec<Duration> = self.samples.iter().filter_map(|s| s.ttft).collect();
        times.sort_unstable();
        shares.map(|share| percentile(&times, share))
    }

    /// First tokens from `region` after `since`.
    pub fn answers_since(&self, region: &str, since: Time) -> usize {
        // Answers are in the order of their ends, and none lasts longer than a client waits.
        let recent = self.samples.iter().rev().take(RECENT_MAX);
        recent
            .filter(|sample| sample.region.as_deref() == Some(region))
            .filter(|sample| sample.answered().is_some_and(|at| at >= since))
            .count()
    }
}

/// More answers than the busiest demo has in the seconds that are looked back.
const RECENT_MAX: usize = 2_000;

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let fits = |rank: usize| ratio(rank, sorted.len()) >= share;
    let found = sorted.iter().enumerate().find(|(index, _)| fits(index + 1));
    found.map_or(0.0, |(_, time)| millis(*time))
}

/// `part` of `whole`, from 0 to 1; nothing of nothing is 0.
pub fn ratio(part: usize, whole: usize) -> f64 {
    float(part) / float(whole).max(1.0)
}

/// A count as a float: exact below four thousand million.
pub fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sent_ms: u64, ttft_ms: u64) -> Sample {
        Sample {
            sent: Time::at(Duration::from_millis(sent_ms)),
            ttft: Some(Duration::from_millis(ttft_ms)),
            region: Some("eastus2".to_owned()),
            failure: None,
        }
    }

    #[test]
    fn slow_and_failed_requests_are_counted() {
        let mut tally = Tally::default();
        tally.add(sample(0, 400));
        tally.add(sample(10, 401));
        tally.add(Sample { ttft: None, failure: Some(Failure::Status(503)), ..sample(20, 0) });
        assert_eq!((tally.requests(), tally.slow(), tally.failed()), (3, 1, 1));
        assert_eq!(tally.first_failure(), Some(Failure::Status(503)));
        let at = |ms| Time::at(Duration::from_millis(ms));
        assert_eq!(tally.between(at(0), at(10)), (1, 0), "the end of a window is not in it");
        assert_eq!(tally.between(at(10), at(99)), (2, 1));
        assert_eq!(tally.answers_since("eastus2", at(405)), 1);
        assert_eq!(tally.answers_since("westus3", at(0)), 0);
    }

    #[test]
    fn percentiles_are_measured_values() {
        let mut tally = Tally::default();
        assert_eq!(tally.percentiles([0.5]).map(f64::to_bits), [0.0_f64.to_bits()]);
        (1..=100).rev().for_each(|ms| tally.add(sample(0, ms)));
        let found = tally.percentiles([0.5, 0.95, 0.99, 1.0]).map(|ms| format!("{ms:.0}"));
        assert_eq!(found, ["50", "95", "99", "100"]);
    }
}
