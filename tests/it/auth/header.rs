//! What the header may say: algorithm, type, key id, and nothing that chooses a key.

use super::Desk;
use crate::support::tokens::{SIGNER, header, v2_claims, with};
use firstlight::auth::token_error::TokenError;
use serde_json::{Value, json};

#[track_caller]
fn check(members: &Value, expected: &Result<(), TokenError>) {
    let token = SIGNER.sign(&with(&header(), members), &v2_claims());
    assert_eq!(Desk::new().check(&token).map(|_| ()), *expected, "{members}");
}

#[test]
fn the_algorithm_is_rs256() {
    for alg in [
        "none", "None", "NONE", "HS256", "HS384", "HS512", "RS384", "RS512", "PS256", "ES256",
        "EdDSA", "rs256", "RS256 ", "",
    ] {
        check(&json!({ "alg": alg }), &Err(TokenError::WrongAlgorithm));
    }
    for alg in [json!(null), json!(256), json!(["RS256"])] {
        check(&json!({ "alg": alg }), &Err(TokenError::WrongAlgorithm));
    }
}

#[test]
fn parameters_that_choose_a_key_or_a_meaning_are_refused() {
    let jwk = SIGNER.jwk();
    for parameter in [
        json!({ "jku": "https://evil.example/keys" }),
        json!({ "x5u": "https://evil.example/chain" }),
        json!({ "jwk": jwk }),
        json!({ "x5c": ["MIIB"] }),
        json!({ "crit": ["exp"] }),
        json!({ "crit": [] }),
        json!({ "b64": false }),
        json!({ "b64": true }),
    ] {
        check(&parameter, &Err(TokenError::ForbiddenHeader));
    }
    // A thumbprint chooses nothing, and v1 tokens have it.
    check(&json!({ "x5t": SIGNER.kid }), &Ok(()));
}

#[test]
fn the_type_is_that_of_an_access_token() {
    for typ in [json!("JWT"), json!("jwt"), json!("at+jwt"), json!("AT+JWT"), json!(null)] {
        check(&json!({ "typ": typ }), &Ok(()));
    }
    for typ in [
        json!("JWE"),
        json!("logout+jwt"),
        json!("secevent+jwt"),
        json!("dpop+jwt"),
        json!(""),
        json!(1),
    ] {
        check(&json!({ "typ": typ }), &Err(TokenError::WrongType));
    }
}

#[test]
fn the_key_id_is_one_that_a_key_could_have() {
    for kid in [
        json!(null),
        json!(7),
        json!(["key-1"]),
        json!(""),
        json!("x".repeat(257)),
        json!("key-1\u{0}"),
        json!("\u{0}"),
        json!("key\n1"),
        json!("key-1\u{7f}"),
        json!("key\u{85}"),
    ] {
        check(&json!({ "kid": kid }), &Err(TokenError::BadKeyId));
    }
    let unknown =
        || Err(TokenError::UnknownKey { tenant: crate::support::tokens::TENANT.to_owned() });
    for kid in ["key-2", "KEY-1", "key-1 ", "kéy-1", "ｋey-1", "../key-1", &"é".repeat(128)] {
        check(&json!({ "kid": kid }), &unknown());
    }
}
