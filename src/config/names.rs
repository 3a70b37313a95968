//! Names: which characters they may have, and which one was meant.
//!
//! Names of backends, models and apps become header values, metric labels and parts of key paths, so they
//! are plain words. Deployment names are Azure's and have Azure's characters.

use crate::config::at::At;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::problem::shown;

const LENGTH_MAX: usize = 64;

/// From this likeness on (Jaro-Winkler, 0 to 1) a name is taken for a misspelling of another.
const ALIKE: f64 = 0.8;

/// Notes a name that is not a plain word.
pub(super) fn check(name: &str, spot: &Spot, problems: &mut Problems) -> Option<String> {
    let plain =
        name.bytes().all(is_word_byte) && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if plain && name.len() <= LENGTH_MAX {
        return Some(name.to_owned());
    }
    let instead = "write 1 to 64 letters, digits, `.`, `_` or `-`, the first one a letter or digit";
    problems.refuse(spot, "not a name", instead);
    None
}

/// Whether Azure accepts this as a deployment's name.
pub(super) fn is_deployment(name: &str) -> bool {
    !name.is_empty() && name.len() <= LENGTH_MAX && name.bytes().all(is_word_byte)
}

/// Whether this can be the name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Whether this can be the name of a systemd credential: a file name and nothing that leads elsewhere.
pub(super) fn is_credential(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name.bytes().all(is_word_byte)
        && !name.starts_with('.')
}

/// Reads a GUID, lower case. `what` says whose.
pub(super) fn guid(at: &At<'_>, what: &str, problems: &mut Problems) -> Option<String> {
    let text = at.text(what, problems)?.to_ascii_lowercase();
    let lengths = text.split('-').map(str::len);
    if lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Some(text);
    }
    let instead = format!("write {what}: 8-4-4-4-12 hexadecimal digits, as in the Azure portal");
    problems.refuse(&at.spot, "not a GUID", instead);
    None
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// What a list may name.
pub(super) struct Known<'a> {
    /// What one of them is called.
    pub(super) one: &'static str,
    pub(super) names: &'a [&'a str],
}

/// Reads a list of those that may, by names that stand elsewhere in the file; each once.
pub(super) fn known(at: &At<'_>, known: &Known<'_>, problems: &mut Problems) -> Vec<String> {
    let Known { one, names } = known;
    let mut allowed: Vec<String> = Vec::new();
    for item in at.items(&format!("{one}s, or leave it out to allow all of them"), problems) {
        let Some(name) = item.text(&format!("the name of a {one}"), problems) else { continue };
        if !names.contains(&name) {
            let wrong = format!("no {one} has this name");
            problems.refuse(&item.spot, wrong, did_you_mean(name, names));
        }
        if allowed.iter().any(|other| other == name) {
            let wrong = format!("this {one} stands twice in the list");
            problems.refuse(&item.spot, wrong, "keep one of them");
        }
        allowed.push(name.to_owned());
    }
    allowed
}

/// The name among `known` that was probably meant, or else all of them.
pub(super) fn did_you_mean(name: &str, known: &[&str]) -> String {
    let best = known
        .iter()
        .map(|known| (likeness(name, known), *known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((likeness, best)) if likeness >= ALIKE => format!("did you mean `{}`?", shown(best)),
        Some((_, only)) if known.len() == 1 => format!("write `{}`", shown(only)),
        Some(_) => format!("write one of {}", list(known)),
        None => "there is none yet".to_owned(),
    }
}

/// 0 to 1. One slip in a short word, such as `gtp`, is more alike than Jaro and Winkler find it.
fn likeness(name: &str, known: &str) -> f64 {
    let slip =
        (3..=LENGTH_MAX).contains(&name.len()) && strsim::damerau_levenshtein(name, known) == 1;
    if slip { 0.95 } else { strsim::jaro_winkler(name, known) }
}

/// `a`, `b`, `c`; not more than fit on a line or two.
pub(super) fn list(names: &[&str]) -> String {
    const MOST: usize = 20;
    let mut listed: Vec<String> =
        names.iter().take(MOST).map(|name| format!("`{}`", shown(name))).collect();
    if names.len() > MOST {
        listed.push(format!("{} more", names.len() - MOST));
    }
    listed.join(", ")
}
