//! One line of the file: an id, its app, its backend, and when it was last used.
//!
//! The line is JSON, so that operators can read it. Reading it back is done with suspicion, for a file may be
//! damaged or another's: a line that cannot be is ignored.

use crate::owners::Owner;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The longest id, name of an app or name of a backend.
const TEXT_BYTES_MAX: usize = 512;

/// The longest line.
const LINE_BYTES_MAX: usize = 4 * TEXT_BYTES_MAX;

/// What is kept of one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The id.
    pub id: Arc<str>,
    /// Whose it is.
    pub owner: Owner,
    /// When it was last used, in Unix seconds.
    pub used: u64,
}

/// Why a line is ignored.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not the JSON that we write.
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Of an impossible length.
    #[error("a text in it is empty or too long")]
    Length,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    id: std::borrow::Cow<'a, str>,
    app: std::borrow::Cow<'a, str>,
    backend: std::borrow::Cow<'a, str>,
    used: u64,
}

impl Record {
    /// The line, with its end.
    pub fn line(&self) -> String {
        let (id, app, backend) = (&*self.id, &*self.owner.app, &*self.owner.backend);
        let line =
            Line { id: id.into(), app: app.into(), backend: backend.into(), used: self.used };
        // Texts and a number: writing them as JSON cannot fail.
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads a line.
    pub fn read(line: &[u8]) -> Result<Self, RecordError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(RecordError::Length);
        }
        let Line { id, app, backend, used } = serde_json::from_slice(line)?;
        if [&id, &app, &backend].iter().any(|text| !(1..=TEXT_BYTES_MAX).contains(&text.len())) {
            return Err(RecordError::Length);
        }
        let owner = Owner { app: app.into(), backend: backend.into() };
        Ok(Self { id: id.into(), owner, used })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let owner = Owner { app: "chat \"ui\"".into(), backend: "east\nus".into() };
        let record = Record { id: "resp_1".into(), owner, used: 7 };
        let line = record.line();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(Record::read(line.trim_end().as_bytes()).unwrap(), record);
    }

    #[test]
    fn what_cannot_be_is_ignored() {
        for line in [
            "",
            "{",
            "[]",
            r#"{"id":"a","app":"b","backend":"","used":1}"#,
            r#"{"id":"a","app":"b","backend":"c","used":-1}"#,
        ] {
            assert!(Record::read(line.as_bytes()).is_err(), "{line}");
        }
        let long = format!(r#"{{"id":"{}","app":"b","backend":"c","used":1}}"#, "a".repeat(600));
        assert!(Record::read(long.as_bytes()).is_err());
    }
}
