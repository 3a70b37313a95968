//! Reads the secrets that the configuration points at, and keeps them from being printed.

use crate::config::checked::SecretSource;
use std::fmt;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// A secret text. `Debug` is masked and there is no `Display` and no `Serialize`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text that must not be printed.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself: for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Why a secret could not be had. Never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("environment variable {0} is not set; set it for the service, or use {{ file: PATH }}")]
    NotSet(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {source}; put the text there and let the service's user read it", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no systemd credentials directory.
    #[error(
        "credential {0}: CREDENTIALS_DIRECTORY is not set; add LoadCredential={0}:PATH to the unit"
    )]
    NoCredentials(String),
    /// It is there, and empty.
    #[error("{0} is empty; put the key there")]
    Empty(String),
    /// It cannot be sent as a header.
    #[error("{0} holds a character that cannot be sent in a header (a line break inside?)")]
    Unprintable(String),
}

/// What a source is called in messages.
pub fn name(source: &SecretSource) -> String {
    match source {
        SecretSource::Env(name) | SecretSource::Credential(name) => name.clone(),
        SecretSource::File(path) => path.display().to_string(),
    }
}

/// Reads a secret text as it stands, line breaks and all: a PEM file.
pub fn read_text(source: &SecretSource) -> Result<Secret, SecretError> {
    let text = match source {
        SecretSource::Env(name) => {
            variable(name).ok_or_else(|| SecretError::NotSet(name.clone()))?
        }
        SecretSource::File(path) => read(path)?,
        SecretSource::Credential(name) => {
            let directory = variable("CREDENTIALS_DIRECTORY")
                .ok_or_else(|| SecretError::NoCredentials(name.clone()))?;
            read(&Path::new(&directory).join(name))?
        }
    };
    Ok(Secret(text))
}

/// Reads one secret that is sent as a header: surrounding white space is removed.
pub fn resolve(source: &SecretSource) -> Result<Secret, SecretError> {
    let (name, text) = (name(source), read_text(source)?);
    let text = text.expose().trim();
    if text.is_empty() {
        return Err(SecretError::Empty(name));
    }
    if text.bytes().any(|b| !(0x21..=0x7e).contains(&b)) {
        return Err(SecretError::Unprintable(name));
    }
    Ok(Secret(text.to_owned()))
}

#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read(path: &Path) -> Result<String, SecretError> {
    fs::read_to_string(path)
        .map_err(|source| SecretError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_trimmed_and_never_printed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "  s3cret\n").unwrap();
        let secret = resolve(&SecretSource::File(file.path().to_owned())).unwrap();
        assert_eq!(secret.expose(), "s3cret");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = resolve(&SecretSource::Env("FIRSTLIGHT_NO_SUCH".into())).unwrap_err();
        assert!(error.to_string().contains("FIRSTLIGHT_NO_SUCH is not set"), "{error}");
        let error = resolve(&SecretSource::File("/no/such/file".into())).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"), "{error}");
    }
}
