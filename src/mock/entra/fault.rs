//! What can be wrong with a fake Entra, separately at each of its endpoints.
//!
//! In JSON: `{"endpoint": "keys", "fault": {"slow_ms": 500}}`, or `"fault": "hang"`.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What Entra serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntraEndpoint {
    /// The documents `.well-known/openid-configuration`.
    Discovery,
    /// The signing keys.
    Keys,
    /// Where clients get tokens.
    Token,
}

impl EntraEndpoint {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Discovery, Self::Keys, Self::Token];
}

/// A kind of failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntraFault {
    /// All is well.
    #[default]
    None,
    /// Connections are reset as soon as they ask for something. (A port that refuses connections is what a
    /// dropped Entra leaves behind.)
    Down,
    /// The answer takes so long and is then right. In JSON: milliseconds.
    #[serde(rename = "slow_ms", with = "millis")]
    Slow(Duration),
    /// There is never an answer.
    Hang,
    /// This status code, 400 to 599, and an error of Entra's form.
    Status(u16),
    /// 200 and something that is no JSON.
    Garbage,
    /// The right document, with four MiB of something unknown in it.
    Huge,
    /// The discovery document, the keys or the tokens name another tenant's issuer.
    WrongIssuer,
    /// A set of keys without a key; at the endpoint of the keys only.
    EmptyKeys,
}

impl EntraFault {
    /// Says why it cannot be a fault of this endpoint, if it cannot.
    pub(in crate::mock) fn check(self, endpoint: EntraEndpoint) -> Result<(), String> {
        match self {
            Self::Status(status) => failure(status).map(drop),
            Self::EmptyKeys if endpoint != EntraEndpoint::Keys => {
                Err("empty_keys is a fault of the endpoint keys only".to_owned())
            }
            Self::None
            | Self::Down
            | Self::Slow(_)
            | Self::Hang
            | Self::Garbage
            | Self::Huge
            | Self::WrongIssuer
            | Self::EmptyKeys => Ok(()),
        }
    }
}

/// A status code that tells of a failure.
pub(in crate::mock) fn failure(status: u16) -> Result<StatusCode, String> {
    let code = StatusCode::from_u16(status).ok();
    code.filter(|code| code.is_client_error() || code.is_server_error())
        .ok_or_else(|| format!("status is {status}; it must lie between 400 and 599"))
}

/// A duration as its milliseconds.
pub(in crate::mock) mod millis {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::time::Duration;

    pub(in crate::mock) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(in crate::mock) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use crate::mock::entra::fault::{EntraEndpoint, EntraFault};
    use std::time::Duration;

    #[test]
    fn faults_are_written_in_json() {
        let read = |text: &str| serde_json::from_str::<EntraFault>(text).unwrap();
        let slow = EntraFault::Slow(Duration::from_millis(1_500));
        assert_eq!(read(r#"{"slow_ms": 1500}"#), slow);
        assert_eq!(serde_json::to_string(&slow).unwrap(), r#"{"slow_ms":1500}"#);
        assert_eq!(read(r#"{"status": 503}"#), EntraFault::Status(503));
        assert_eq!(read(r#""wrong_issuer""#), EntraFault::WrongIssuer);
    }

    #[test]
    fn a_fault_has_to_make_sense_where_it_is() {
        let check = |fault: EntraFault, endpoint| fault.check(endpoint).is_ok();
        assert!(check(EntraFault::EmptyKeys, EntraEndpoint::Keys));
        assert!(!check(EntraFault::EmptyKeys, EntraEndpoint::Token));
        for (status, possible) in [(399, false), (400, true), (599, true), (600, false)] {
            assert_eq!(check(EntraFault::Status(status), EntraEndpoint::Token), possible);
        }
    }
}
