//! How it stands with what proves us to backends, and clients to us.

use crate::live::Snapshot;
use serde::Serialize;
use std::time::Duration;

/// How the token of one identity of ours is.
#[derive(Clone, Debug, Serialize)]
pub struct IdentityStatus {
    /// What it is called in metrics.
    pub identity: String,
    /// When its token ends, in seconds since 1970; `null`: there is none.
    pub expires: Option<u64>,
    /// How long its token may still be used, seconds.
    pub usable_seconds: u64,
    /// Why the last fetch failed; `null` if it did not.
    pub last_error: Option<String>,
}

impl IdentityStatus {
    pub(super) fn row(&self) -> Vec<String> {
        let usable = if self.usable_seconds > 0 {
            format!("{} s", self.usable_seconds)
        } else {
            "no token".to_owned()
        };
        let error = self.last_error.clone().unwrap_or_else(|| "-".to_owned());
        vec![self.identity.clone(), usable, error]
    }
}

/// How the signing keys of one tenant are.
#[derive(Clone, Debug, Serialize)]
pub struct TenantStatus {
    /// Its id.
    pub tenant: String,
    /// How many keys there are.
    pub keys: usize,
    /// How long ago they were fetched, seconds; `null`: never.
    pub age_seconds: Option<u64>,
    /// Why the last fetch failed; `null` if it did not.
    pub last_error: Option<String>,
}

impl TenantStatus {
    pub(super) fn row(&self) -> Vec<String> {
        let keys = match self.age_seconds {
            Some(age) => format!("{}, {age} s old", self.keys),
            None => "none".to_owned(),
        };
        let error = self.last_error.clone().unwrap_or_else(|| "-".to_owned());
        vec![self.tenant.clone(), keys, error]
    }
}

/// How the tokens of our own identities are at `unix`, the time since 1970.
pub(super) fn identities(snapshot: &Snapshot, unix: Duration) -> Vec<IdentityStatus> {
    let slots = snapshot.tokens().map(|slot| IdentityStatus {
        identity: slot.name().to_owned(),
        expires: slot.expires(),
        usable_seconds: slot.left(unix).as_secs(),
        last_error: slot.course().error,
    });
    slots.collect()
}

/// How the signing keys of tenants are at `unix`, the time since 1970.
pub(super) fn tenants(snapshot: &Snapshot, unix: Duration) -> Vec<TenantStatus> {
    let all = snapshot.tenants.iter().map(|tenant| TenantStatus {
        tenant: tenant.id().to_owned(),
        keys: tenant.keys().map_or(0, |keys| keys.len()),
        age_seconds: tenant.fetched().map(|at| unix.as_secs().saturating_sub(at)),
        last_error: tenant.course().error,
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_what_there_is_and_what_went_wrong() {
        let identity = |usable_seconds, last_error: Option<&str>| {
            let last_error = last_error.map(str::to_owned);
            IdentityStatus {
                identity: "system".to_owned(),
                expires: None,
                usable_seconds,
                last_error,
            }
        };
        assert_eq!(identity(90, None).row(), ["system", "90 s", "-"]);
        assert_eq!(identity(0, Some("no answer")).row(), ["system", "no token", "no answer"]);
        let tenant = |keys, age_seconds| TenantStatus {
            tenant: "t".to_owned(),
            keys,
            age_seconds,
            last_error: None,
        };
        assert_eq!(tenant(4, Some(60)).row(), ["t", "4, 60 s old", "-"]);
        assert_eq!(tenant(0, None).row(), ["t", "none", "-"]);
    }
}
