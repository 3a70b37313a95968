//! The numbers that do not depend on the policy: when to try again, how long to wait, how much to hold.

use crate::config::checked::Limits;
use crate::config::checked::Log;
use crate::config::checked::Retry;
use crate::config::checked::Timeouts;
use crate::config::keys;
use crate::config::problem::Problems;
use crate::config::section::Section;

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
    let concurrent = section.whole(&keys::CONCURRENT, problems);
    Limits { concurrent, body_bytes, buffered_bytes: buffered_bytes.max(body_bytes) }
}

/// A size in the file's unit.
pub(super) const fn mebibytes(bytes: usize) -> usize {
    bytes / MEBIBYTE
}

/// Reads `log`.
pub(super) fn log(file: &Section<'_>, problems: &mut Problems) -> Log {
    Log { access: file.inner("log", problems).flag(&keys::LOG_ACCESS, problems) }
}
