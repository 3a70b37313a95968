//! Tokens of Entra ID: every rule, and what hostile people send.

mod caching;
mod claims;
mod header;
mod hostile;
mod inspecting;
mod key_sets;

use crate::support::tokens::{
    NOW, SIGNER, TENANT, grant, header, issuer_of, keys_of, v1_claims, v2_claims, with,
};
use firstlight::auth::caller::Caller;
use firstlight::auth::grant::Grant;
use firstlight::auth::signing_keys::SigningKeys;
use firstlight::auth::token_error::{Refused, TokenError};
use firstlight::auth::verifier::Verifier;
use serde_json::Value;
use std::sync::Arc;

/// A verifier, the keys that it is given, and the moment.
struct Desk {
    verifier: Verifier,
    keys: Option<Arc<SigningKeys>>,
    now: u64,
}

impl Desk {
    fn new() -> Self {
        Self::of(vec![grant()])
    }

    fn of(grants: Vec<Grant>) -> Self {
        let verifier = Verifier::new(grants, vec![issuer_of(TENANT)]);
        Self { verifier, keys: Some(Arc::new(keys_of(&[&SIGNER]))), now: NOW }
    }

    fn check(&self, token: &str) -> Result<Arc<Caller>, TokenError> {
        let keys = |tenant: &str| self.keys.clone().filter(|_| tenant == TENANT);
        self.verifier.check(token, self.now, keys)
    }
}

/// What becomes of a well-signed token with these claims.
fn claimed(claims: &Value) -> Result<Arc<Caller>, TokenError> {
    Desk::new().check(&SIGNER.sign(&header(), claims))
}

/// What becomes of a v2 token with some claims set; `null` takes one out.
fn changed(claims: &Value) -> Result<Arc<Caller>, TokenError> {
    claimed(&with(&v2_claims(), claims))
}

#[test]
fn tokens_of_both_versions_are_taken() {
    for claims in [v2_claims(), v1_claims()] {
        let caller = claimed(&claims).unwrap();
        let expected = Caller {
            app: "chat".into(),
            tenant: TENANT.to_owned(),
            object_id: claims["oid"].as_str().map(str::to_owned),
            subject: claims["sub"].as_str().map(str::to_owned),
            client: Some(crate::support::tokens::CLIENT.to_owned()),
            may_probe: false,
            expires: NOW + 3600,
        };
        assert_eq!(*caller, expected);
    }
}

/// The sentence goes into a quoted string of a header, the reason into a label.
#[test]
fn every_refusal_has_a_code_and_a_sentence() {
    let tenant = || TENANT.to_owned();
    let all = [
        (TokenError::Expired, Refused::Invalid, "expired"),
        (TokenError::UnknownKey { tenant: tenant() }, Refused::Invalid, "unknown_signing_key"),
        (TokenError::NoKeys { tenant: tenant() }, Refused::Unavailable, "no_signing_keys"),
        (TokenError::MissingRole, Refused::Forbidden, "missing_role"),
        (TokenError::NoPermission, Refused::Forbidden, "no_permission"),
        (TokenError::ClientNotPermitted, Refused::Forbidden, "client_not_permitted"),
        (TokenError::WrongAudience, Refused::Invalid, "wrong_audience"),
        (TokenError::UnknownTenant, Refused::Invalid, "unknown_tenant"),
        (TokenError::BadClaim("nbf"), Refused::Invalid, "bad_claim"),
    ];
    for (error, kind, reason) in all {
        assert_eq!((error.kind(), error.reason()), (kind, reason));
        let sentence = error.description();
        assert!(sentence.is_ascii() && !sentence.contains(['"', '\\']), "{sentence}");
        assert!(!sentence.contains(TENANT));
    }
    let unknown = TokenError::UnknownKey { tenant: tenant() };
    assert_eq!(unknown.description(), "unknown signing key");
}
