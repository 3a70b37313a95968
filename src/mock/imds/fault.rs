//! What can be wrong with a fake IMDS.

use crate::mock::entra::fault::{failure, millis};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A kind of failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImdsFault {
    /// All is well.
    #[default]
    None,
    /// Connections are reset as soon as they ask for something.
    Down,
    /// This status code, 400 to 599: 404, 410, 429 and those of the 500s are worth another try.
    Status(u16),
    /// The answer takes so long and is then right. In JSON: milliseconds.
    #[serde(rename = "slow_ms", with = "millis")]
    Slow(Duration),
    /// There is never an answer.
    Hang,
    /// 200 and something that is no JSON.
    Garbage,
}

impl ImdsFault {
    /// Says what is wrong with the fault's number, if anything is.
    pub(super) fn check(self) -> Result<(), String> {
        match self {
            Self::Status(status) => failure(status).map(drop),
            Self::None | Self::Down | Self::Slow(_) | Self::Hang | Self::Garbage => Ok(()),
        }
    }
}
