//! What is remembered of verified tokens, and when it no longer counts.

use super::Desk;
use crate::support::tokens::{
    NOW, OTHER_SIGNER, SIGNER, TENANT, grant, header, issuer_of, keys_of, v2_claims, with,
};
use firstlight::auth::token_error::TokenError;
use firstlight::auth::verifier::Verifier;
use serde_json::json;
use std::cell::Cell;
use std::sync::Arc;

fn token() -> String {
    SIGNER.sign(&header(), &v2_claims())
}

/// Whether the second of two checks, at another moment, was answered from memory: the same caller, in one place.
fn remembered(desk: &mut Desk, token: &str, now: u64) -> bool {
    let first = desk.check(token).unwrap();
    desk.now = now;
    desk.check(token).is_ok_and(|second| Arc::ptr_eq(&first, &second))
}

#[test]
fn a_token_is_remembered_for_five_minutes() {
    for (now, expected) in [(NOW, true), (NOW + 299, true), (NOW + 300, false)] {
        assert_eq!(remembered(&mut Desk::new(), &token(), now), expected, "{now}");
    }
}

#[test]
fn a_remembered_token_ends_when_it_ends() {
    let short = SIGNER.sign(&header(), &with(&v2_claims(), &json!({ "exp": NOW + 10 })));
    assert!(remembered(&mut Desk::new(), &short, NOW + 9));
    let mut desk = Desk::new();
    // Still good for the minute of skew, and verified each time.
    assert!(!remembered(&mut desk, &short, NOW + 10));
    assert!(desk.check(&short).is_ok());
    desk.now = NOW + 70;
    assert_eq!(desk.check(&short), Err(TokenError::Expired));
}

#[test]
fn a_clock_that_jumps_does_not_keep_a_token_alive() {
    let mut desk = Desk::new();
    assert!(desk.check(&token()).is_ok());
    // Far back: the token is not valid yet, whatever is remembered.
    desk.now = NOW - 3600;
    assert_eq!(desk.check(&token()), Err(TokenError::NotYetValid));
    // A little back: good, but verified anew.
    assert!(!remembered(&mut Desk::new(), &token(), NOW - 30));
    // Forward, beyond the end, and back.
    desk.now = NOW + 7200;
    assert_eq!(desk.check(&token()), Err(TokenError::Expired));
    desk.now = NOW;
    assert!(desk.check(&token()).is_ok());
}

#[test]
fn other_keys_make_it_forgotten() {
    let mut desk = Desk::new();
    let first = desk.check(&token()).unwrap();
    // The same keys, fetched again.
    desk.keys = Some(Arc::new(keys_of(&[&SIGNER])));
    assert!(Arc::ptr_eq(&first, &desk.check(&token()).unwrap()));
    // One more key: verified anew.
    desk.keys = Some(Arc::new(keys_of(&[&SIGNER, &OTHER_SIGNER])));
    let second = desk.check(&token()).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    // The key is gone, and with it all that it signed.
    desk.keys = Some(Arc::new(keys_of(&[&OTHER_SIGNER])));
    assert_eq!(desk.check(&token()), Err(TokenError::UnknownKey { tenant: TENANT.to_owned() }));
    desk.keys = None;
    assert_eq!(desk.check(&token()), Err(TokenError::NoKeys { tenant: TENANT.to_owned() }));
}

/// Entra publishes a new key before it signs with it, and keeps the old one while its tokens live.
#[test]
fn keys_rotate_while_the_old_one_is_in_use() {
    let (old, new) = (token(), {
        let header = with(&header(), &json!({ "kid": OTHER_SIGNER.kid }));
        OTHER_SIGNER.sign(&header, &v2_claims())
    });
    let mut desk = Desk::new();
    let unknown = || Err(TokenError::UnknownKey { tenant: TENANT.to_owned() });
    let both = |desk: &Desk| (desk.check(&old).map(|_| ()), desk.check(&new).map(|_| ()));
    assert_eq!(both(&desk), (Ok(()), unknown()));
    desk.keys = Some(Arc::new(keys_of(&[&SIGNER, &OTHER_SIGNER])));
    assert_eq!(both(&desk), (Ok(()), Ok(())));
    desk.keys = Some(Arc::new(keys_of(&[&OTHER_SIGNER])));
    assert_eq!(both(&desk), (unknown(), Ok(())));
}

/// An unknown key is not remembered: the next key set may have it. Nor is a token that came too early.
#[test]
fn only_verdicts_that_last_are_remembered() {
    let mut desk = Desk { keys: Some(Arc::new(keys_of(&[&OTHER_SIGNER]))), ..Desk::new() };
    assert!(desk.check(&token()).is_err());
    desk.keys = Some(Arc::new(keys_of(&[&SIGNER])));
    assert!(desk.check(&token()).is_ok());
    let desk = Desk { now: NOW - 3600, ..Desk::new() };
    assert!(desk.check(&token()).is_err());
    assert!(Desk { now: NOW, ..desk }.check(&token()).is_ok());
}

/// A wrong signature is remembered too, for the same keys only.
#[test]
fn a_wrong_signature_is_not_verified_twice() {
    // The right signature by the wrong key: with other keys of that name it is genuine.
    let forged = OTHER_SIGNER.sign(&header(), &v2_claims());
    let verifier = Verifier::new(vec![grant()], vec![issuer_of(TENANT)]);
    let keys = Arc::new(keys_of(&[&SIGNER]));
    let asked = Cell::new(0);
    let check = |now| {
        asked.set(0);
        let verdict = verifier.check(&forged, now, |_| {
            asked.set(asked.get() + 1);
            Some(Arc::clone(&keys))
        });
        (verdict.unwrap_err(), asked.get())
    };
    // Keys are asked for once, and then once more to see that they are the same.
    assert_eq!(check(NOW), (TokenError::BadSignature, 1));
    assert_eq!(check(NOW + 299), (TokenError::BadSignature, 1));
    assert_eq!(check(NOW - 1), (TokenError::BadSignature, 1));
    let renamed = json!({ "keys": [with(&OTHER_SIGNER.jwk(), &json!({ "kid": SIGNER.kid }))] });
    let renamed = firstlight::auth::signing_keys::SigningKeys::parse(
        renamed.to_string().as_bytes(),
        &issuer_of(TENANT),
    );
    let renamed = Arc::new(renamed.unwrap());
    assert!(verifier.check(&forged, NOW, |_| Some(Arc::clone(&renamed))).is_ok());
}

#[test]
fn a_new_verifier_remembers_nothing() {
    let before = Desk::new();
    assert!(before.check(&token()).is_ok());
    let mut other = grant();
    other.roles = vec!["Other".to_owned()];
    assert_eq!(Desk::of(vec![other]).check(&token()), Err(TokenError::MissingRole));
}
