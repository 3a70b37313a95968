//! Paths that are passed on beside those that are known.

use crate::config::keys;
use crate::config::problem::Problems;
use crate::config::section::Section;

/// Longest part of a path.
const PART_BYTES_MAX: usize = 64;

/// Reads `extra_paths`.
pub(super) fn read(file: &Section<'_>, problems: &mut Problems) -> Vec<String> {
    let key = &keys::EXTRA_PATHS;
    let Some(at) = file.get(keys::name(key.path)) else { return Vec::new() };
    let mut parts: Vec<String> = Vec::new();
    for item in at.items(key.shown, problems) {
        let Some(part) = item.text(key.shown, problems) else { continue };
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if part.is_empty() || part.len() > PART_BYTES_MAX || !part.bytes().all(plain) {
            let instead = "write one part of a path: small letters, digits and underscores";
            problems.refuse(&item.spot, "not a part of a path", instead);
        } else if parts.iter().any(|other| other == part) {
            problems.refuse(&item.spot, "it stands twice in the list", "keep one of them");
        }
        parts.push(part.to_owned());
    }
    parts
}
