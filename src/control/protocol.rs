//! What is said over the admin socket: one line of JSON each way, then the connection ends.
//!
//! The command line of one version talks to a process of another during an upgrade: fields may be added, never
//! renamed or removed.

use serde::{Deserialize, Serialize};

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// How everything is.
    Status,
    /// What the file says that is not live.
    Diff,
    /// Make the file live.
    Reload,
    /// Start the binary anew beside this process and hand over to it.
    Upgrade,
    /// Send no new requests to a backend.
    Drain {
        /// Its name in the configuration.
        backend: String,
    },
    /// Use a backend again.
    Enable {
        /// Its name in the configuration.
        backend: String,
    },
}

impl Command {
    /// Whether it only looks.
    pub fn only_looks(&self) -> bool {
        matches!(self, Self::Status | Self::Diff)
    }
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub done: bool,
    /// For people: what was done, or why not.
    pub lines: Vec<String>,
    /// For programs; `null` where the lines say it all.
    #[serde(default)]
    pub data: serde_json::Value,
}

impl Answer {
    /// It was done.
    pub fn done(lines: Vec<String>) -> Self {
        Self { done: true, lines, data: serde_json::Value::Null }
    }

    /// It was not done.
    pub fn refused(why: &str) -> Self {
        let lines = why.lines().map(str::to_owned).collect();
        Self { done: false, lines, data: serde_json::Value::Null }
    }
}
