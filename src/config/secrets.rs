//! Secrets: where they come from, and the hashes of those that are only compared.
//!
//! The file never holds a secret, only where to find it. What stands in a secret's place is not repeated
//! in any message, nor are unknown keys there: it may be the secret itself.

use crate::config::at::At;
use crate::config::checked::SecretSource;
use crate::config::names;
use crate::config::problem::Problems;
use crate::config::tree::Value;
use std::path::PathBuf;

const FORMS: &str = "{ env: NAME }, { file: /path } or { credential: name }";

/// SHA-256 of nothing: what `sha256sum` prints when the variable was empty.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Reads the place of a secret.
pub(super) fn source(at: &At<'_>, problems: &mut Problems) -> Option<SecretSource> {
    if !matches!(at.value(), Value::Map(_)) {
        let instead = format!("put it elsewhere and write {FORMS}");
        problems.refuse(&at.spot, "a secret, or nothing, where its source belongs", instead);
        return None;
    }
    let entries = at.entries(FORMS, problems).unwrap_or_default();
    if let [(form @ ("env" | "file" | "credential"), value)] = entries.as_slice() {
        return read(form, value, "the path of a file that holds the key", problems);
    }
    problems.refuse(&at.spot, "not exactly one source of a secret", format!("write {FORMS}"));
    None
}

/// Reads the place of a PEM text: a path as such, or a map that says where. Not the environment, which is no
/// place for many lines.
pub(super) fn pem(at: &At<'_>, problems: &mut Problems) -> Option<SecretSource> {
    const FILE: &str = "the path of a PEM file";
    const FORMS: &str = "the path of a PEM file, or { credential: NAME }";
    if !matches!(at.value(), Value::Map(_)) {
        return path(at, FORMS, problems).map(SecretSource::File);
    }
    let entries = at.entries(FORMS, problems).unwrap_or_default();
    if let [(form @ ("file" | "credential"), value)] = entries.as_slice() {
        return read(form, value, FILE, problems);
    }
    problems.refuse(&at.spot, "not exactly one source of a PEM text", format!("write {FORMS}"));
    None
}

/// `file` says what the file holds.
fn read(form: &str, at: &At<'_>, file: &str, problems: &mut Problems) -> Option<SecretSource> {
    match form {
        "env" => {
            let name = at.text("the name of an environment variable", problems)?;
            if names::is_variable(name) {
                return Some(SecretSource::Env(name.to_owned()));
            }
            problems.refuse(
                &at.spot,
                "not the name of an environment variable",
                "write letters, digits and `_`, no digit first; the secret itself belongs in the variable",
            );
        }
        "file" => {
            return path(at, file, problems).map(SecretSource::File);
        }
        _ => {
            let name = at.text("the name of a systemd credential", problems)?;
            if names::is_credential(name) {
                return Some(SecretSource::Credential(name.to_owned()));
            }
            problems.refuse(
                &at.spot,
                "not the name of a systemd credential",
                "write the plain name from `LoadCredential=`, without a path",
            );
        }
    }
    None
}

/// Reads the path of a file. Whether it exists is for those to say who open it.
pub(super) fn path(at: &At<'_>, what: &str, problems: &mut Problems) -> Option<PathBuf> {
    let text = at.text(what, problems)?;
    if text.chars().any(char::is_control) {
        problems.refuse(&at.spot, "a path with control characters", format!("write {what}"));
        return None;
    }
    Some(PathBuf::from(text))
}

/// Reads the SHA-256 of a client's key.
pub(super) fn hash(at: &At<'_>, problems: &mut Problems) -> Option<String> {
    const HOW: &str = "write what `firstlight key hash` prints for the key";
    let text = at.text("64 hexadecimal digits", problems)?.to_ascii_lowercase();
    let wrong = if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        "not a SHA-256: 64 hexadecimal digits"
    } else if text.bytes().all(|b| b == b'0') {
        "zeros, which no key hashes to"
    } else if text == OF_NOTHING {
        "the SHA-256 of nothing: the key was empty when it was hashed"
    } else {
        return Some(text);
    };
    problems.refuse(&at.spot, wrong, HOW);
    None
}
