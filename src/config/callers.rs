//! What backends are told of callers.

use crate::config::checked::{CallerHeaders, CallerId};
use crate::config::keys;
use crate::config::problem::Problems;
use crate::config::section::Section;

/// Headers that mean something to us, to a backend or to HTTP: not for a name. (And none that begins like ours.)
const TAKEN: &[&str] = &[
    "accept",
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "ocp-apim-subscription-key",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
const TAKEN_PREFIXES: &[&str] =
    &["openai-", "x-caller-", "x-forwarded-", "x-ms-", "x-probe-", "x-stainless-"];

/// Reads `caller`.
pub(super) fn read(file: &Section<'_>, problems: &mut Problems) -> CallerHeaders {
    let section = file.inner("caller", problems);
    let id = match section.word(&keys::CALLER_ID, problems) {
        Some("oid") => CallerId::Oid,
        Some("sub") => CallerId::Sub,
        _ => CallerId::Off,
    };
    let all = section.flag(&keys::CALLER_HEADERS, problems);
    CallerHeaders { all, id, id_header: id_header(&section, problems) }
}

fn id_header(section: &Section<'_>, problems: &mut Problems) -> String {
    let usual = keys::CALLER_ID_HEADER.shown;
    let Some(at) = section.get(keys::name(keys::CALLER_ID_HEADER.path)) else {
        return usual.to_owned();
    };
    let Some(text) = at.text("the name of a header", problems) else { return usual.to_owned() };
    let name = text.to_ascii_lowercase();
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 64;
    if !plain {
        problems.refuse(
            &at.spot,
            "not the name of a header",
            "write letters, digits and `-`, as in `caller-objectid`",
        );
    } else if TAKEN.contains(&name.as_str())
        || TAKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    {
        problems.refuse(
            &at.spot,
            "a header that means something else",
            "choose another, such as `caller-objectid`",
        );
    }
    name
}
