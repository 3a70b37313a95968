//! The numbers: how targets are chosen, when to try again, how long to wait. Each has a range and a
//! default in `keys`; here are the relations between them.

use crate::config::checked::Detect;
use crate::config::checked::Limits;
use crate::config::checked::Log;
use crate::config::checked::Policy;
use crate::config::checked::Probe;
use crate::config::checked::RateLimit;
use crate::config::checked::Retry;
use crate::config::checked::Routing;
use crate::config::checked::Timeouts;
use crate::config::keys;
use crate::config::keys::Real;
use crate::config::problem::Problems;
use crate::config::section::Section;
use std::time::Duration;

const MEBIBYTE: usize = 1 << 20;
/// Idle timers in front of us cut at a minute or four; a held header is what lets a silent 200 be rescued.
const HOLD_HEADERS: Duration = Duration::from_secs(20);

/// Reads `routing`.
pub(super) fn routing(file: &Section<'_>, problems: &mut Problems) -> Routing {
    let section = file.inner("routing", problems);
    let recover = section.inner("routing.recover", problems);
    Routing {
        policy: match section.word(&keys::POLICY, problems) {
            Some("round_robin") => Policy::RoundRobin,
            _ => Policy::Ema,
        },
        ema_alpha: section.real(&keys::EMA_ALPHA, problems),
        score_ttl: section.seconds(&keys::SCORE_TTL, problems),
        default_score_ms: section.real(&keys::DEFAULT_SCORE, problems),
        detect: detect(&section, problems),
        flag_ttl: recover.seconds(&keys::FLAG_TTL, problems),
        probe: probe(&section, problems),
        limit: limit(&section, problems),
    }
}

fn detect(routing: &Section<'_>, problems: &mut Problems) -> Detect {
    let section = routing.inner("routing.detect", problems);
    let detect = Detect {
        trip_ms: section.real(&keys::TRIP, problems),
        clear_ms: section.real(&keys::CLEAR, problems),
        strikes_to_trip: section.real(&keys::STRIKES_TO_TRIP, problems),
        strike_error: section.real(&keys::STRIKE_ERROR, problems),
        strike_ttl: section.seconds(&keys::STRIKE_TTL, problems),
    };
    at_most(&section, (&keys::CLEAR, detect.clear_ms), (&keys::TRIP, detect.trip_ms), problems);
    let most = (&keys::STRIKES_TO_TRIP, detect.strikes_to_trip);
    at_most(&section, (&keys::STRIKE_ERROR, detect.strike_error), most, problems);
    detect
}

fn probe(routing: &Section<'_>, problems: &mut Problems) -> Probe {
    let section = routing.inner("routing.probe", problems);
    Probe {
        interval: section.seconds(&keys::PROBE_INTERVAL, problems),
        count: section.whole(&keys::PROBE_COUNT, problems),
        timeout: section.seconds(&keys::PROBE_TIMEOUT, problems),
        jitter_share: section.real(&keys::JITTER, problems),
        max_tokens: section.whole(&keys::PROBE_TOKENS, problems),
    }
}

fn limit(routing: &Section<'_>, problems: &mut Problems) -> RateLimit {
    let section = routing.inner("routing.limit", problems);
    let limit = RateLimit {
        default_wait: section.seconds(&keys::LIMIT_DEFAULT, problems),
        max_wait: section.seconds(&keys::LIMIT_MAX, problems),
        ramp: section.seconds(&keys::LIMIT_RAMP, problems),
    };
    let most = (&keys::LIMIT_MAX, limit.max_wait.as_secs_f64());
    at_most(&section, (&keys::LIMIT_DEFAULT, limit.default_wait.as_secs_f64()), most, problems);
    limit
}

/// Notes a number above another that bounds it, at the one that is written; both may be defaults, which
/// agree.
fn at_most(
    section: &Section<'_>,
    low: (&'static Real, f64),
    high: (&'static Real, f64),
    problems: &mut Problems,
) {
    if low.1 <= high.1 || section.misread(low.0) || section.misread(high.0) {
        return;
    }
    let (low_name, high_name) = (keys::name(low.0.path), keys::name(high.0.path));
    if let Some(spot) = section.spot_of(low.0.path) {
        let wrong = format!("above `{high_name}`, which is {}", high.1);
        problems.refuse(spot, wrong, format!("write at most {}", high.1));
    } else if let Some(spot) = section.spot_of(high.0.path) {
        let wrong = format!("below `{low_name}`, which is {}", low.1);
        problems.refuse(
            spot,
            wrong,
            format!("write at least {}, or a smaller `{low_name}`", low.1),
        );
    }
}

/// Reads `retry`.
pub(super) fn retry(file: &Section<'_>, problems: &mut Problems) -> Retry {
    let section = file.inner("retry", problems);
    Retry {
        max_attempts: section.whole(&keys::MAX_ATTEMPTS, problems),
        budget_share: section.real(&keys::BUDGET_SHARE, problems),
        budget_min: section.whole(&keys::BUDGET_MIN, problems),
        hold_headers: HOLD_HEADERS,
    }
}

/// Reads `timeouts`, but for the time to the first token, which is each model's.
pub(super) fn timeouts(section: &Section<'_>, problems: &mut Problems) -> Timeouts {
    Timeouts {
        connect: section.seconds(&keys::CONNECT, problems),
        answer: section.seconds(&keys::ANSWER, problems),
        idle: section.seconds(&keys::IDLE, problems),
        body_idle: section.seconds(&keys::BODY_IDLE, problems),
        body_total: section.seconds(&keys::BODY_TOTAL, problems),
    }
}

/// Reads `limits`.
pub(super) fn limits(file: &Section<'_>, problems: &mut Problems) -> Limits {
    let section = file.inner("limits", problems);
    let mut bytes = |key| {
        let mebibytes = section.whole(key, problems);
        usize::try_from(mebibytes).unwrap_or(usize::MAX).saturating_mul(MEBIBYTE)
    };
    let (body_bytes, buffered_bytes) = (bytes(&keys::BODY), bytes(&keys::BUFFERED));
    // A body that is allowed must fit.
    Limits { body_bytes, buffered_bytes: buffered_bytes.max(body_bytes) }
}

/// A size in the file's unit.
pub(super) const fn mebibytes(bytes: usize) -> usize {
    bytes / MEBIBYTE
}

/// Reads `log`.
pub(super) fn log(file: &Section<'_>, problems: &mut Problems) -> Log {
    Log { access: file.inner("log", problems).flag(&keys::LOG_ACCESS, problems) }
}
