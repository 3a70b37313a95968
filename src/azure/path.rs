//! The parts of a request target: decoded once, and nothing normalised.
//!
//! Two readings of one path are how checks are walked around. Whatever two readers might resolve differently (dot
//! segments, `//`, an encoded slash, a backslash, a fragment) is refused.

use crate::azure::route_error::RouteError;
use std::borrow::Cow;

/// Longest deployment name or API version that is taken; Azure's own limit for deployment names.
const NAME_BYTES_MAX: usize = 64;

/// Longest other part of a path. Ids of responses have some hundred bytes.
const PART_BYTES_MAX: usize = 512;

/// Refuses what no path may hold in any reading: only then is it split and decoded.
pub(super) fn check_characters(target: &str) -> Result<(), RouteError> {
    if target == "*" {
        return Err(RouteError::NotFound);
    }
    let bad = target.bytes().find_map(|byte| match byte {
        b'\\' => Some("a backslash"),
        b'#' => Some("a fragment"),
        0x80.. => Some("a character outside ASCII; percent-encode it"),
        0..=b' ' | 0x7f => Some("a space or control character"),
        _ => None,
    });
    match bad {
        Some(what) => Err(RouteError::BadPath(what)),
        None if target.starts_with('/') => Ok(()),
        None => Err(RouteError::BadPath("a missing slash at its beginning")),
    }
}

/// The parts of a path, decoded once, each of them a plain name.
pub(super) fn segments(path: &str) -> Result<Vec<Cow<'_, str>>, RouteError> {
    let segments = path.split('/').skip(1).map(|segment| {
        let decoded =
            percent_decode(segment).ok_or(RouteError::BadPath("a broken percent-encoding"))?;
        let bad = |byte: u8| matches!(byte, b'/' | b'\\' | 0..=0x1f | 0x7f..);
        match decoded.as_ref() {
            "." | ".." => Err(RouteError::BadPath("a dot segment")),
            text if text.bytes().any(bad) => {
                Err(RouteError::BadPath("an encoded slash or control character"))
            }
            text if text.len() > PART_BYTES_MAX => Err(RouteError::BadPath("a part of 512 bytes")),
            _ => Ok(decoded),
        }
    });
    let segments: Vec<_> = segments.collect::<Result<_, _>>()?;
    // The last part may be empty: that is a trailing slash, and no path that is served ends with one.
    let inner = segments.split_last().map_or_else(Default::default, |(_, inner)| inner);
    if inner.iter().any(|segment| segment.is_empty()) {
        return Err(RouteError::BadPath("an empty segment"));
    }
    Ok(segments)
}

/// A deployment, model or version as Azure allows it.
pub(super) fn name(text: &str) -> Result<String, RouteError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(allowed) {
        return Err(RouteError::BadPath(
            "a name that is not 1 to 64 letters, digits, dots, underscores or hyphens",
        ));
    }
    Ok(text.to_owned())
}

/// Decodes once and strictly: every `%` is followed by two digits, and the result is ASCII.
pub(super) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let (byte, after) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => (hex_digit(*high)? << 4 | hex_digit(*low)?, after),
            (b'%', _) => return None,
            _ => (*byte, after),
        };
        decoded.push(char::from(byte));
        rest = after;
    }
    Some(Cow::Owned(decoded))
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Names from the configuration need it even if Azure's own never do.
pub(super) fn percent_encode(text: &str) -> Cow<'_, str> {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~');
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let encode =
        |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    Cow::Owned(text.bytes().map(encode).collect())
}
