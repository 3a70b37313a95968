//! Who asks: the app that the credential of a request belongs to.

use crate::auth::caller::Caller;
use crate::auth::credential::{CredentialError, Presented, credential};
use crate::auth::keys::{KeyError, KeyMatch};
use crate::auth::token_error::{Refused, TokenError};
use crate::auth::verifier::Verifier;
use crate::azure::error::ClientError;
use crate::live::Snapshot;
use http::HeaderMap;
use std::sync::Arc;

/// How a client proved itself, for the log and for backends.
#[derive(Clone, Default)]
pub(super) enum Proof {
    /// It did not, or an app takes requests without a proof.
    #[default]
    None,
    /// With a key.
    Key {
        /// The first digits of its hash.
        id: String,
        /// What the operator calls it.
        name: String,
    },
    /// With a token of Entra ID.
    Token(Arc<Caller>),
}

impl Proof {
    /// The word for it in the log.
    pub(super) fn word(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Key { .. } => Some("key"),
            Self::Token(_) => Some("jwt"),
        }
    }

    /// Key id and name.
    pub(super) fn key(&self) -> Option<(&str, &str)> {
        if let Self::Key { id, name } = self { Some((id, name)) } else { None }
    }

    /// Whom a token proved to be there.
    pub(super) fn caller(&self) -> Option<&Caller> {
        if let Self::Token(caller) = self { Some(caller) } else { None }
    }
}

/// Who asks, as far as it is known: whoever is refused may have proved who it is.
pub(super) struct Identified {
    pub(super) app: Result<Arc<str>, ClientError>,
    pub(super) proof: Proof,
}

/// Whose the credential is, at a moment in Unix seconds. Waits for nothing: a token whose signing key is not known is
/// refused, and its keys are wished for.
pub(super) fn identify(headers: &HeaderMap, snapshot: &Snapshot, now: u64) -> Identified {
    match credential(headers) {
        Err(error) => Identified { app: Err(unclear(error)), proof: Proof::None },
        Ok(Presented::Nothing) => {
            let app = snapshot.anonymous.clone().ok_or(ClientError::MissingKey);
            Identified { app, proof: Proof::None }
        }
        Ok(Presented::Key(key)) => by_key(snapshot.keys.find(key, now)),
        Ok(Presented::Token(token)) => by_token(verify(token, now, snapshot), token),
    }
}

fn by_key(found: Result<KeyMatch<'_>, KeyError<'_>>) -> Identified {
    let proof = |found: KeyMatch<'_>| {
        let (id, name) = (found.key_id.to_owned(), found.key_name.to_owned());
        Proof::Key { id, name }
    };
    match found {
        Ok(found) => Identified { app: Ok(found.app.into()), proof: proof(found) },
        Err(KeyError::Expired(found)) => {
            Identified { app: Err(ClientError::ExpiredKey), proof: proof(found) }
        }
        Err(KeyError::Unknown) => Identified { app: Err(ClientError::BadKey), proof: Proof::None },
    }
}

fn by_token(verified: Result<Arc<Caller>, TokenError>, token: &str) -> Identified {
    match verified {
        Ok(caller) => Identified { app: Ok(Arc::clone(&caller.app)), proof: Proof::Token(caller) },
        Err(error) => {
            // The log tells whom it was that had no permission.
            let genuine = error.kind() == Refused::Forbidden;
            let named = genuine.then(|| Verifier::forbidden(token)).flatten();
            let proof = named.map_or(Proof::None, |caller| Proof::Token(Arc::new(caller)));
            Identified { app: Err(refused(&error)), proof }
        }
    }
}

fn verify(token: &str, now: u64, snapshot: &Snapshot) -> Result<Arc<Caller>, TokenError> {
    let tenants = &snapshot.tenants;
    let checked = tenants.verifier().check(token, now, |tenant| tenants.get(tenant)?.keys());
    checked.inspect_err(|error| {
        if let TokenError::UnknownKey { tenant } = error
            && let Some(tenant) = tenants.get(tenant)
        {
            tenant.want_keys();
        }
    })
}

fn refused(error: &TokenError) -> ClientError {
    let (code, description) = (error.reason(), error.description());
    match error.kind() {
        Refused::Invalid => ClientError::BadToken { code, description },
        Refused::Forbidden => ClientError::TokenForbidden { code, description },
        Refused::Unavailable => ClientError::TokenUnchecked { code, description },
    }
}

fn unclear(error: CredentialError) -> ClientError {
    match error {
        CredentialError::Ambiguous | CredentialError::NotBearer => ClientError::AmbiguousCredential,
        CredentialError::TooLong => refused(&TokenError::TooLong),
    }
}
