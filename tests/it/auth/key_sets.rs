//! Key set documents: which keys are taken out of them, and which documents are refused.

use crate::support::tokens::{OTHER_SIGNER, SIGNER, TENANT, encode, issuer_of, keys_of, with};
use firstlight::auth::signing_keys::{BadKeys, DOCUMENT_BYTES_MAX, SigningKeys};
use serde_json::{Value, json};

fn parse(keys: &[Value]) -> Result<SigningKeys, BadKeys> {
    let document = json!({ "keys": keys }).to_string();
    SigningKeys::parse(document.as_bytes(), &issuer_of(TENANT))
}

/// Whether a key is taken that differs from a good one in some members; `null` takes one out.
fn taken(members: &Value) -> bool {
    match parse(&[with(&SIGNER.jwk(), members)]) {
        Ok(keys) => keys.len() == 1 && keys.dropped() == 0,
        Err(why) => {
            assert_eq!(why, BadKeys::NoneUsable { dropped: 1 }, "{members}");
            false
        }
    }
}

#[test]
fn rsa_keys_for_signatures_are_taken() {
    for good in [
        json!({}),
        json!({ "use": null }),
        json!({ "alg": "RS256" }),
        json!({ "key_ops": ["verify"] }),
        json!({ "x5c": ["MIIB"], "x5t": "t", "cloud_instance_name": "microsoftonline.com" }),
    ] {
        assert!(taken(&good), "{good}");
    }
}

#[test]
fn keys_for_anything_else_are_dropped() {
    for bad in [
        json!({ "kty": "EC" }),
        json!({ "kty": "oct" }),
        json!({ "kty": "rsa" }),
        json!({ "kty": null }),
        json!({ "use": "enc" }),
        json!({ "use": 7 }),
        json!({ "alg": "RS384" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "none" }),
        json!({ "alg": 256 }),
        json!({ "key_ops": ["encrypt"] }),
        json!({ "key_ops": "verify" }),
        json!({ "kid": null }),
        json!({ "kid": "" }),
        json!({ "kid": "a\u{0}" }),
        json!({ "kid": 1 }),
        json!({ "kid": "x".repeat(257) }),
        json!({ "n": null }),
        json!({ "e": null }),
        json!({ "n": "!" }),
        json!({ "e": "AQAB==" }),
    ] {
        assert!(!taken(&bad), "{bad}");
    }
}

#[test]
fn keys_are_strong_and_not_too_strong_to_use() {
    let modulus = |bytes: usize, first: u8| {
        let mut modulus = vec![0xff_u8; bytes];
        modulus[0] = first;
        taken(&json!({ "n": encode(modulus) }))
    };
    assert!(modulus(256, 0x80));
    assert!(!modulus(256, 0x7f) && !modulus(128, 0xff) && !modulus(257, 0));
    assert!(modulus(1024, 0xff) && !modulus(1025, 0x01));
    let exponent = |bytes: &[u8]| taken(&json!({ "e": encode(bytes) }));
    assert!(exponent(&[1, 0, 1]) && exponent(&[1, 0, 0, 0, 1]));
    for bad in [&[1][..], &[3], &[1, 0, 0], &[0, 1, 0, 1], &[2, 0, 0, 0, 1], &[1; 256], &[]] {
        assert!(!exponent(bad), "{bad:?}");
    }
}

/// The document of all tenants together says whose each key is.
#[test]
fn keys_of_another_issuer_are_dropped() {
    for good in [
        "https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(),
        "https://sts.windows.net/{tenantid}/".to_owned(),
        issuer_of(TENANT).v2,
        issuer_of(TENANT).v1,
    ] {
        assert!(taken(&json!({ "issuer": good })), "{good}");
    }
    for bad in [
        json!("https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"),
        json!("https://login.microsoftonline.us/{tenantid}/v2.0"),
        json!("https://login.microsoftonline.com/{tenantid}"),
        json!(""),
        json!(7),
    ] {
        assert!(!taken(&json!({ "issuer": bad })), "{bad}");
    }
}

#[test]
fn what_is_dropped_is_counted() {
    let unknown = json!({ "kty": "AKP", "kid": "new", "pub": "x" });
    let again = with(&OTHER_SIGNER.jwk(), &json!({ "kid": SIGNER.kid }));
    let keys = parse(&[unknown, SIGNER.jwk(), json!(7), OTHER_SIGNER.jwk(), again]).unwrap();
    assert_eq!((keys.len(), keys.dropped()), (2, 3));
    assert!(keys.knows("key-1") && keys.knows("key-2") && !keys.knows("new"));
    assert_eq!(keys.key_ids().collect::<Vec<_>>(), ["key-1", "key-2"]);
    // The first of two keys with one name counts.
    assert_eq!(keys.revision(), keys_of(&[&SIGNER, &OTHER_SIGNER]).revision());
}

#[test]
fn a_revision_is_that_of_the_keys() {
    let both = keys_of(&[&SIGNER, &OTHER_SIGNER]).revision();
    assert_eq!(both, keys_of(&[&OTHER_SIGNER, &SIGNER]).revision());
    assert_ne!(both, keys_of(&[&SIGNER]).revision());
    let renamed = parse(&[with(&SIGNER.jwk(), &json!({ "kid": "k" }))]).unwrap();
    assert_ne!(renamed.revision(), keys_of(&[&SIGNER]).revision());
}

#[test]
fn documents_that_are_none_are_refused() {
    let parse = |document: &[u8]| SigningKeys::parse(document, &issuer_of(TENANT)).err().unwrap();
    for garbage in [
        "",
        "<html>502 Bad Gateway</html>",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        "{\"keys\":[",
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[{"kid":"a","kid":"b"}]}"#,
    ] {
        assert_eq!(parse(garbage.as_bytes()), BadKeys::Malformed, "{garbage}");
    }
    assert_eq!(parse(br#"{"keys":[]}"#), BadKeys::NoneUsable { dropped: 0 });
    let keys = |count: usize| json!({ "keys": vec![SIGNER.jwk(); count] }).to_string();
    assert_eq!(parse(keys(65).as_bytes()), BadKeys::TooMany);
    let full = SigningKeys::parse(keys(64).as_bytes(), &issuer_of(TENANT)).unwrap();
    assert_eq!((full.len(), full.dropped()), (1, 63));
    let long = keys(1) + &" ".repeat(DOCUMENT_BYTES_MAX);
    assert_eq!(parse(long.as_bytes()), BadKeys::TooLong);
    assert_eq!(parse("[".repeat(DOCUMENT_BYTES_MAX).as_bytes()), BadKeys::Malformed);
}
