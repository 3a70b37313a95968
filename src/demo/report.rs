//! The figures at the end, and whether they show what the demo claims. Pure.
//!
//! The claim: a region that answers late and without errors spoils the answers of round robin; Firstlight
//! sees it, spares its clients most of that, leaves the region alone while it is bad, takes it back when it
//! has healed, and loses no request over it. Each part can fail, and says so in a sentence.

use crate::demo::scenario::BAD_REGION;
use crate::demo::scenario::HEALTHY_MS;
use crate::demo::scenario::SLOW_MS;
use crate::demo::tally::Tally;
use crate::demo::tally::float;
use crate::demo::watch::Watch;
use serde::Serialize;

/// Round robin has suffered if at least so large a share of its requests in the bad time was slow. With one
/// region of three bad, a third of them should be.
const SUFFERED_SHARE: f64 = 0.1;
/// Firstlight may have one slow request for so many of round robin's.
const SLOW_RATIO: usize = 4;

/// What came of the traffic through one proxy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Requests that were sent.
    pub requests: usize,
    /// Those whose first token took more than [`SLOW_MS`].
    pub slow: usize,
    /// Median time to first token.
    pub ttft_p50_ms: f64,
    /// 95th percentile.
    pub ttft_p95_ms: f64,
    /// 99th percentile.
    pub ttft_p99_ms: f64,
    /// Requests without status 200 and a complete stream.
    pub failed: usize,
    /// What was wrong with the first of them.
    pub first_failure: Option<String>,
    /// Requests that were sent while the region was bad, to whichever region.
    pub bad_time_requests: usize,
    /// Those of them that were slow.
    pub bad_time_slow: usize,
    /// Requests that the proxy sent to the region while it was bad.
    pub sent_to_bad: u64,
    /// Those of them that it sent although it had marked the region.
    pub sent_after_mark: u64,
    /// From the beginning of the trouble until the region was marked as degraded.
    pub marked_after_seconds: Option<f64>,
    /// From the end of the trouble until the region was healthy again.
    pub back_after_seconds: Option<f64>,
    /// Requests that were sent to the region after that.
    pub sent_after_return: u64,
}

impl Figures {
    /// Sums up what the clients felt and what was seen of the proxy.
    pub fn of(tally: &Tally, watch: &Watch) -> Self {
        let [ttft_p50_ms, ttft_p95_ms, ttft_p99_ms] =
            tally.percentiles([0.50, 0.95, 0.99]).map(rounded);
        let (from, until) = watch.bad_window();
        let (bad_time_requests, bad_time_slow) = tally.between(from, until);
        let seconds = |time: std::time::Duration| rounded(time.as_secs_f64());
        Self {
            requests: tally.requests(),
            slow: tally.slow(),
            ttft_p50_ms,
            ttft_p95_ms,
            ttft_p99_ms,
            failed: tally.failed(),
            first_failure: tally.first_failure().map(|failure| failure.to_string()),
            bad_time_requests,
            bad_time_slow,
            sent_to_bad: watch.sent_while_bad(),
            sent_after_mark: watch.sent_after_mark(),
            marked_after_seconds: watch.time_to_mark().map(seconds),
            back_after_seconds: watch.time_to_return().map(seconds),
            sent_after_return: watch.sent_after_return(),
        }
    }
}

/// Two places after the point are plenty, and JSON shows no more.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Whether the claim held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Whether all of it did.
    pub held: bool,
    /// A sentence for each part that did not.
    pub failures: Vec<String>,
}

/// All that the demo found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How long requests were sent.
    pub seconds: u64,
    /// Requests a second to each proxy.
    pub rate: u32,
    /// The usual time to first token.
    pub healthy_median_ms: f64,
    /// A request is slow if its first token took longer.
    pub slow_over_ms: f64,
    /// The region that was bad.
    pub bad_region: &'static str,
    /// Through Firstlight.
    pub firstlight: Figures,
    /// The same traffic through round robin.
    pub round_robin: Figures,
    /// What follows.
    pub claim: Claim,
}

impl Report {
    /// The report of a demo of `seconds` at `rate`, with its verdict.
    pub fn new(seconds: u64, rate: u32, firstlight: Figures, round_robin: Figures) -> Self {
        let failures = judge(&firstlight, &round_robin);
        let claim = Claim { held: failures.is_empty(), failures };
        let (healthy_median_ms, slow_over_ms) = (HEALTHY_MS, SLOW_MS);
        let bad_region = BAD_REGION;
        Self {
            seconds,
            rate,
            healthy_median_ms,
            slow_over_ms,
            bad_region,
            firstlight,
            round_robin,
            claim,
        }
    }
}

/// What the figures do not show of the claim, a sentence each.
pub fn judge(firstlight: &Figures, round_robin: &Figures) -> Vec<String> {
    let checks = [
        suffered(round_robin),
        spared(firstlight.slow, round_robin.slow),
        left_alone(firstlight),
        taken_back(firstlight),
        complete("firstlight", firstlight),
        complete("round robin", round_robin),
    ];
    checks.into_iter().flatten().collect()
}

fn suffered(round_robin: &Figures) -> Option<String> {
    let (slow, all) = (round_robin.bad_time_slow, round_robin.bad_time_requests);
    let enough = slow > 0 && float(slow) >= SUFFERED_SHARE * float(all);
    (!enough).then(|| {
        format!(
            "round robin did not suffer enough to compare with: {slow} of the {all} requests while \
             {BAD_REGION} was bad were slow, less than 10 %"
        )
    })
}

fn spared(firstlight: usize, round_robin: usize) -> Option<String> {
    (firstlight * SLOW_RATIO > round_robin).then(|| {
        format!(
            "firstlight had {firstlight} slow requests, more than a quarter of round robin's {round_robin}"
        )
    })
}

fn left_alone(firstlight: &Figures) -> Option<String> {
    if firstlight.marked_after_seconds.is_none() {
        return Some(format!("firstlight did not mark {BAD_REGION} as degraded while it was bad"));
    }
    let sent = firstlight.sent_after_mark;
    (sent > 0).then(|| {
        format!("firstlight sent {sent} requests to {BAD_REGION} after marking it as degraded")
    })
}

fn taken_back(firstlight: &Figures) -> Option<String> {
    let marked = firstlight.marked_after_seconds.is_some();
    (marked && firstlight.back_after_seconds.is_none())
        .then(|| format!("{BAD_REGION} healed and firstlight did not take it back before the end"))
}

fn complete(policy: &str, figures: &Figures) -> Option<String> {
    let why = figures.first_failure.as_deref().unwrap_or("reason unknown");
    (figures.failed > 0)
        .then(|| format!("{} requests failed through {policy}; the first: {why}", figures.failed))
}
