//! From samples to the row of a table.
//!
//! Slow is what takes four times the median of the calm: well above the spread of healthy answers, well below
//! what the trouble does. Percentiles are of the requests that got a first token at all.

use crate::client::Sample;
use crate::scenario::Scenario;
use crate::story::Story;
use firstlight::time::{Time, millis};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What one run of one contender has to tell.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) samples: Vec<Sample>,
    pub(crate) story: Story,
}

/// All runs of one contender in one scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    scenario: String,
    contender: &'static str,
    runs: usize,
    requests: usize,
    failed: usize,
    /// How often each kind of failure was seen.
    failures: BTreeMap<String, usize>,
    slow: usize,
    slow_percent: f64,
    /// The same of the run with the most slow requests.
    slow_percent_worst: f64,
    ttft_ms_p50: Option<f64>,
    ttft_ms_p95: Option<f64>,
    ttft_ms_p99: Option<f64>,
    /// From the beginning of the trouble to the region's being marked, of each run in which it was.
    marked_after_ms: Vec<f64>,
    /// From the end of the trouble to the region's being in use again, of each run in which it was.
    back_after_ms: Vec<f64>,
    /// Requests that left after that, and were slow all the same.
    slow_after_mark: usize,
    /// Upstream requests to the marked region while it was ill.
    sent_after_mark: u64,
    /// Markings of regions that had done nothing.
    false_marks: u64,
}

/// How much slower than in the calm is slow.
const SLOW_FACTOR: u32 = 4;

/// The columns of [`Row`]'s `Display`.
pub(crate) const HEADER: &str = "\
| scenario | contender | requests | failed | slow | worst run | p50 ms | p95 ms | p99 ms | marked after | slow after mark | sent there after mark | back after | healthy marked |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

impl Row {
    /// Adds up what one contender's clients saw.
    pub(crate) fn new(scenario: &Scenario, contender: &'static str, runs: &[Run]) -> Self {
        let all = sorted(runs.iter().flat_map(|run| &run.samples));
        let percentile = |share| at(&all, share).map(millis);
        let mut row = Self {
            scenario: scenario.told(),
            contender,
            runs: runs.len(),
            requests: 0,
            failed: 0,
            failures: BTreeMap::new(),
            slow: 0,
            slow_percent: 0.0,
            slow_percent_worst: 0.0,
            ttft_ms_p50: percentile(0.5),
            ttft_ms_p95: percentile(0.95),
            ttft_ms_p99: percentile(0.99),
            marked_after_ms: Vec::new(),
            back_after_ms: Vec::new(),
            slow_after_mark: 0,
            sent_after_mark: 0,
            false_marks: 0,
        };
        for run in runs {
            row.add(run, Time::at(scenario.calm));
        }
        row.slow_percent = percent(row.slow, row.requests);
        row
    }

    fn add(&mut self, Run { samples, story }: &Run, begins: Time) {
        let slow = slow(samples, begins);
        self.requests += samples.len();
        self.slow += slow.len();
        let slow_percent = percent(slow.len(), samples.len());
        self.slow_percent_worst = self.slow_percent_worst.max(slow_percent);
        for failure in samples.iter().filter_map(|sample| sample.failure.clone()) {
            self.failed += 1;
            *self.failures.entry(failure).or_default() += 1;
        }
        if let Some(after) = story.marked_after {
            self.marked_after_ms.push(millis(after));
            self.slow_after_mark += slow.iter().filter(|sent| **sent >= begins + after).count();
        }
        self.back_after_ms.extend(story.back_after.map(millis));
        self.sent_after_mark += story.sent_after_mark;
        self.false_marks += story.false_marks;
    }

    /// How many requests did not succeed.
    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    fn failures(&self) -> String {
        let told: Vec<String> =
            self.failures.iter().map(|(what, count)| format!("{what} x {count}")).collect();
        if told.is_empty() {
            "0".to_owned()
        } else {
            format!("{} ({})", self.failed, told.join(", "))
        }
    }

    /// The earliest and the latest return.
    fn back(&self) -> String {
        range(&self.back_after_ms).unwrap_or_else(|| "-".to_owned())
    }

    /// The earliest and the latest marking, how many runs had one, and what came after.
    fn marks(&self) -> String {
        let marked = &self.marked_after_ms;
        let Some(range) = range(marked) else { return "- | - | -".to_owned() };
        let runs = if marked.len() == self.runs {
            String::new()
        } else {
            format!(" ({} of {} runs)", marked.len(), self.runs)
        };
        let after = format!("{} | {}", self.slow_after_mark, self.sent_after_mark);
        format!("{range}{runs} | {after}")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {} | {} | {} | {} ({:.2} %) | {:.1} % | {} | {} | {} | {} | {} | {} |",
            self.scenario,
            self.contender,
            self.requests,
            self.failures(),
            self.slow,
            self.slow_percent,
            self.slow_percent_worst,
            shown(self.ttft_ms_p50),
            shown(self.ttft_ms_p95),
            shown(self.ttft_ms_p99),
            self.marks(),
            self.back(),
            self.false_marks,
        )
    }
}

/// The earliest and the latest, in seconds.
fn range(times_ms: &[f64]) -> Option<String> {
    let first = times_ms.iter().copied().reduce(f64::min)? / 1000.0;
    let last = times_ms.iter().copied().reduce(f64::max)? / 1000.0;
    Some(format!("{first:.1}-{last:.1} s"))
}

/// When the slow requests of one run were sent.
fn slow(samples: &[Sample], begins: Time) -> Vec<Time> {
    let calm = sorted(samples.iter().filter(|sample| sample.sent < begins));
    let Some(from) = at(&calm, 0.5).map(|median| median * SLOW_FACTOR) else { return Vec::new() };
    let is_slow = |sample: &&Sample| sample.ttft.is_some_and(|ttft| ttft > from);
    samples.iter().filter(is_slow).map(|sample| sample.sent).collect()
}

fn sorted<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<Duration> {
    let mut times: Vec<Duration> = samples.filter_map(|sample| sample.ttft).collect();
    times.sort_unstable();
    times
}

/// The smallest time that at least this share of the requests did not exceed.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a few thousand requests, and a share between 0 and 1"
)]
fn at(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a few thousand requests")]
fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

fn shown(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"))
}
