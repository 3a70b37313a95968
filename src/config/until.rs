//! Until when something is good: a day, or a moment.

use crate::config::at::At;
use crate::config::problem::Problems;
use std::time::UNIX_EPOCH;

const DAY: u64 = 24 * 60 * 60;

/// Reads a date, which is good to the end of that day in UTC, or a moment (RFC 3339, in UTC). Gives the first
/// second at which it is over, since 1970.
pub(super) fn read(at: &At<'_>, problems: &mut Problems) -> Option<u64> {
    let text = at.text("a day such as 2027-06-30", problems)?;
    let over = match text.len() {
        10 => seconds(&format!("{text}T00:00:00Z")).map(|begin| begin + DAY),
        _ => seconds(text),
    };
    if over.is_none() {
        let instead =
            "write a day such as 2027-06-30, or a moment in UTC such as 2027-06-30T12:00:00Z";
        problems.refuse(&at.spot, "neither a day nor a moment", instead);
    }
    over
}

/// How a moment is written in a file.
pub(super) fn written(over: u64) -> String {
    let moment = UNIX_EPOCH + std::time::Duration::from_secs(over);
    humantime::format_rfc3339_seconds(moment).to_string()
}

fn seconds(text: &str) -> Option<u64> {
    let moment = humantime::parse_rfc3339(text).ok()?;
    moment.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}
