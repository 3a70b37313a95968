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
        repeatable_tools: repeatable_tools(&section, problems),
    }
}

/// Longest type of a tool.
const TOOL_BYTES_MAX: usize = 64;

fn repeatable_tools(retry: &Section<'_>, problems: &mut Problems) -> Vec<String> {
    let key = &keys::REPEATABLE_TOOLS;
    let Some(at) = retry.get(keys::name(key.path)) else { return Vec::new() };
    let mut tools: Vec<String> = Vec::new();
    for item in at.items(key.shown, problems) {
        let Some(tool) = item.text(key.shown, problems) else { continue };
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if tool.len() > TOOL_BYTES_MAX || !tool.bytes().all(plain) {
            let instead = "write types as requests name them, such as `mcp`, or `all`";
            problems.refuse(&item.spot, "not the type of a tool", instead);
        } else if tools.iter().any(|other| other == tool) {
            problems.refuse(&item.spot, "it stands twice in the list", "keep one of them");
        }
        tools.push(tool.to_owned());
    }
    tools
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
