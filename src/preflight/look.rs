//! What one look found: good, bad or not looked at, in a few words, and what to do.

use serde_json::{Value, json};

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether it is well; `None`: nobody looked.
    pub good: Option<bool>,
    /// What was found, in a few words.
    pub told: String,
    /// What to do, or to know.
    pub advice: Option<String>,
}

impl Look {
    pub(super) fn good(told: impl Into<String>) -> Self {
        Self { good: Some(true), told: told.into(), advice: None }
    }

    pub(super) fn bad(told: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { good: Some(false), told: told.into(), advice: Some(advice.into()) }
    }

    /// Not looked at: something before it is bad, or there is nothing to look at.
    pub(super) fn skipped(told: impl Into<String>) -> Self {
        Self { good: None, told: told.into(), advice: None }
    }

    pub(super) fn noting(self, note: impl Into<String>) -> Self {
        Self { advice: Some(note.into()), ..self }
    }

    /// Whether somebody looked, and it is well.
    pub fn is_good(&self) -> bool {
        self.good == Some(true)
    }

    /// Whether somebody looked, and it is not well.
    pub fn is_bad(&self) -> bool {
        self.good == Some(false)
    }

    pub(super) fn json(&self) -> Value {
        json!({ "ok": self.good, "told": self.told })
    }
}
