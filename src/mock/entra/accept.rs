//! Looks at a token as a service of Azure would that trusts this Entra.

use crate::mock::entra::keyring::{Keyring, SigningKey};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use std::sync::Arc;

/// What is asked of a token.
pub(super) struct Wanted<'a> {
    pub(super) audiences: &'a [String],
    pub(super) issuers: &'a [String],
    /// Unix seconds.
    pub(super) now: u64,
}

#[derive(Deserialize)]
struct Times {
    exp: u64,
    nbf: u64,
}

/// The key that a token says it was signed with, unless that is retired.
pub(super) fn key_of(token: &str, keyring: &Keyring) -> Option<Arc<SigningKey>> {
    keyring.find(&decode_header(token).ok()?.kid?)
}

/// Whether a token was signed with this key, is for one of these audiences, and is valid now.
pub(super) fn accepts(token: &str, key: &SigningKey, wanted: &Wanted<'_>) -> bool {
    let Ok(key) = DecodingKey::from_rsa_components(&key.modulus, &key.exponent) else {
        return false;
    };
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(wanted.audiences);
    validation.set_issuer(wanted.issuers);
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    // The time is compared below, with the clock of the mock.
    validation.validate_exp = false;
    let times = decode::<Times>(token, &key, &validation).map(|token| token.claims);
    times.is_ok_and(|Times { exp, nbf }| nbf <= wanted.now && wanted.now < exp)
}
