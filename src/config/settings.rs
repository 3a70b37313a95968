//! The numbers that do not depend on the policy: when to try again, how long to wait, how much to hold.

use crate::config::checked::Limits;
use crate::config::checked::Log;
use crate::config::checked::Retry;
use crate::config::checked::Timeouts;
use crate::config::keys;
use crate::config::problem::Problems;
use crate::config::section::Section;
use crate::config::section::to_duration;

const MEBIBYTE: usize = 1 << 20;

/// Reads `retry`.
pub(super) fn retry(file: &Section<'_>, problems: &mut Problems) -> Retry {
    let section = file.inner("retry", problems);
    Retry {
        max_attempts: section.whole(&keys::MAX_ATTEMPTS, problems),
        budget_share: section.real(&keys::BUDGET_SHARE, problems),
        budget_min: section.whole(&keys::BUDGET_MIN, problems),
        hold_headers: section.seconds(&keys::HOLD_HEADERS, problems),
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
        realtime_idle: section.seconds(&keys::REALTIME_IDLE, problems),
        realtime_total: section.seconds(&keys::REALTIME_TOTAL, problems),
        body_grace: section.seconds(&keys::BODY_GRACE, problems),
        header: section.seconds(&keys::HEADER_TIME, problems),
        keep_alive: section.seconds(&keys::KEEP_ALIVE, problems),
    }
}

impl Timeouts {
    /// Whether the time of responses that are not streamed is the default.
    pub fn is_answer_usual(&self) -> bool {
        self.answer == to_duration(keys::ANSWER.default.plain())
    }
}

/// Reads `limits`.
pub(super) fn limits(file: &Section<'_>, problems: &mut Problems) -> Limits {
    let section = file.inner("limits", problems);
    let concurrent = section.whole(&keys::CONCURRENT, problems);
    let mut size = |key| usize::try_from(section.whole(key, problems)).unwrap_or(usize::MAX);
    let body_bytes = size(&keys::BODY).saturating_mul(MEBIBYTE);
    let buffered_bytes = size(&keys::BUFFERED).saturating_mul(MEBIBYTE);
    Limits {
        concurrent,
        body_bytes,
        // A body that is allowed must fit.
        buffered_bytes: buffered_bytes.max(body_bytes),
        header_bytes: size(&keys::HEADER_BYTES),
        headers: size(&keys::HEADERS),
        kept_ids: size(&keys::KEPT_IDS),
        connections: size(&keys::CONNECTIONS),
        connections_per_ip: size(&keys::CONNECTIONS_PER_IP),
        body_rate: section.whole(&keys::BODY_RATE, problems),
        h2_streams: section.whole(&keys::H2_STREAMS, problems),
    }
}

/// A size in the file's unit.
pub(super) const fn mebibytes(bytes: usize) -> usize {
    bytes / MEBIBYTE
}

/// Reads `log`.
pub(super) fn log(file: &Section<'_>, problems: &mut Problems) -> Log {
    Log { access: file.inner("log", problems).flag(&keys::LOG_ACCESS, problems) }
}
