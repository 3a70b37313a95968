//! Tokens of people who mean harm. Each is refused, and none costs much.

use super::Desk;
use crate::support::tokens::{
    NOW, OTHER_SIGNER, SIGNER, TENANT, encode, grant, header, issuer_of, keys_of, v2_claims, with,
};
use aws_lc_rs::hmac;
use firstlight::auth::credential::{CredentialError, credential};
use firstlight::auth::token_error::TokenError;
use firstlight::auth::verifier::Verifier;
use firstlight::clock::Clock;
use http::HeaderMap;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

fn refused(token: &str) -> TokenError {
    Desk::new().check(token).unwrap_err()
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let none = with(&header(), &json!({ "alg": "none" }));
    let unsigned = format!("{}.{}.", encode(none.to_string()), encode(v2_claims().to_string()));
    assert_eq!(refused(&unsigned), TokenError::WrongAlgorithm);
    let cut = format!("{}.{}.", encode(header().to_string()), encode(v2_claims().to_string()));
    assert_eq!(refused(&cut), TokenError::BadSignature);
}

/// The public key, which everybody has, as the secret of an HMAC.
#[test]
fn a_public_key_is_no_secret() {
    let hs256 = with(&header(), &json!({ "alg": "HS256" }));
    for header in [hs256, header()] {
        let signed = format!("{}.{}", encode(header.to_string()), encode(v2_claims().to_string()));
        let jwk = SIGNER.jwk();
        for secret in
            [SIGNER.public_der(), jwk["n"].as_str().unwrap().into(), jwk.to_string().into()]
        {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            let token = format!("{signed}.{}", encode(hmac::sign(&key, signed.as_bytes())));
            let expected = if header["alg"] == "HS256" {
                TokenError::WrongAlgorithm
            } else {
                TokenError::BadSignature
            };
            assert_eq!(refused(&token), expected);
        }
    }
}

#[test]
fn a_changed_or_foreign_signature_is_refused() {
    let good = SIGNER.sign(&header(), &v2_claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = SIGNER.sign(&header(), &with(&v2_claims(), &json!({ "roles": ["Other"] })));
    let foreign = OTHER_SIGNER.signature(signed);
    let swapped = other.rsplit_once('.').unwrap().1;
    let longer = format!("{signature}AA");
    let shorter: String = signature.chars().skip(4).collect();
    for signature in [&*foreign, swapped, "", "AAAA", &shorter, &longer] {
        assert_eq!(refused(&format!("{signed}.{signature}")), TokenError::BadSignature);
    }
}

/// Base64 has several texts for one meaning; only one of them is a token.
#[test]
fn a_token_has_one_spelling() {
    let good = SIGNER.sign(&header(), &v2_claims());
    assert!(Desk::new().check(&good).is_ok());
    for other in [
        format!("{good}="),
        format!("{good}\n"),
        format!(" {good}"),
        good.replace('.', ". "),
        format!("{good}."),
        format!(".{good}"),
        good.replacen('.', "..", 1),
        format!("{good}.x"),
    ] {
        assert_eq!(refused(&other), TokenError::Malformed, "{other}");
    }
    // 256 bytes leave four bits of the last character unused.
    let last = good.chars().last().unwrap();
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = digits.chars().nth(digits.find(last).unwrap() + 1).unwrap();
    let same_bytes = format!("{}{next}", good.strip_suffix(last).unwrap());
    assert_eq!(refused(&same_bytes), TokenError::BadSignature);
}

#[test]
fn encrypted_and_other_shapes_are_refused() {
    assert_eq!(refused("eyJ.a.b.c.d"), TokenError::Encrypted);
    for shape in ["", ".", "..", "a", "a.b", "a.b.c.d", "eyJhbGciOiJSUzI1NiJ9"] {
        let why = refused(shape);
        assert!(matches!(why, TokenError::Malformed | TokenError::BadHeader), "{shape} {why:?}");
    }
    // A nested token: the claims are another token.
    let inner = SIGNER.sign(&header(), &v2_claims());
    let nested = with(&header(), &json!({ "cty": "JWT" }));
    assert_eq!(refused(&SIGNER.sign_texts(&nested.to_string(), &inner)), TokenError::BadClaims);
}

#[test]
fn a_member_that_stands_twice_is_refused() {
    let (header, claims) = (header().to_string(), v2_claims().to_string());
    let add = |text: &str, member: &str| format!("{},{member}}}", text.strip_suffix('}').unwrap());
    for member in
        [r#""aud":"x""#, r#""exp":9999999999"#, r#""roles":["Admin"]"#, r#""\u0074id":"x""#]
    {
        let token = SIGNER.sign_texts(&header, &add(&claims, member));
        assert_eq!(refused(&token), TokenError::Duplicate, "{member}");
    }
    for member in [r#""alg":"RS256""#, r#""kid":"key-2""#] {
        let token = SIGNER.sign_texts(&add(&header, member), &claims);
        assert_eq!(refused(&token), TokenError::Duplicate, "{member}");
    }
}

#[test]
fn parts_have_a_longest_size() {
    let padded = |bytes: usize, object: &serde_json::Value| {
        let rest = bytes - with(object, &json!({ "p": "" })).to_string().len();
        with(object, &json!({ "p": "x".repeat(rest) })).to_string()
    };
    let claims = v2_claims().to_string();
    let token = |header: &str, claims: &str| Desk::new().check(&SIGNER.sign_texts(header, claims));
    assert!(token(&padded(1024, &header()), &claims).is_ok());
    assert_eq!(token(&padded(1025, &header()), &claims), Err(TokenError::BadHeader));
    let header = header().to_string();
    // Three bytes make four characters: the whole token is too long before its claims are.
    assert!(token(&header, &padded(11_700, &v2_claims())).is_ok());
    assert_eq!(token(&header, &padded(12_000, &v2_claims())), Err(TokenError::TooLong));
    assert_eq!(token(&header, "[]"), Err(TokenError::BadClaims));
    assert_eq!(token("7", &claims), Err(TokenError::BadHeader));
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(token(&header, &deep), Err(TokenError::BadClaims));
}

#[test]
fn two_headers_and_other_doubts_are_refused() {
    let token = SIGNER.sign(&header(), &v2_claims());
    let check = |pairs: &[(&'static str, String)], expected: CredentialError| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        assert_eq!(credential(&headers).err(), Some(expected));
    };
    let bearer = || ("authorization", format!("Bearer {token}"));
    check(&[bearer(), bearer()], CredentialError::Ambiguous);
    check(&[bearer(), ("authorization", "Bearer key".to_owned())], CredentialError::Ambiguous);
    check(&[bearer(), ("api-key", "key".to_owned())], CredentialError::Ambiguous);
    let long = format!("Bearer {}.{}.c", "eyJ", "b".repeat(1024 * 1024));
    check(&[("authorization", long)], CredentialError::TooLong);
}

/// Every kind of token that makes work, and what it costs at its cheapest of some runs: the machine may be busy,
/// and a token is not cheaper than it is.
#[test]
fn no_token_costs_more_than_a_millisecond() {
    let good = SIGNER.sign(&header(), &v2_claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let wrong = format!("{signed}.{}", OTHER_SIGNER.signature(signed));
    let part =
        |text: &str| format!("{}.{}.{signature}", encode(header().to_string()), encode(text));
    let many: Vec<String> = (0..1_500).map(|n| format!("\"{n}\":1")).collect();
    let tokens = [
        "eyJ".to_owned() + &"a.".repeat(524_288),
        good.clone(),
        wrong,
        ".".repeat(16_384),
        "eyJ".repeat(5_461),
        part(&format!("{{{}}}", many.join(","))),
        part(&format!("{{\"a\":[{}1]}}", "1,".repeat(5_500))),
        part(&format!("{{\"a\":\"{}\"}}", "\\u0061".repeat(1_800))),
        part(&format!("{{\"a\":{}", "[".repeat(11_000))),
        format!(
            "{}.{}.{}",
            encode(header().to_string()),
            encode(v2_claims().to_string()),
            "A".repeat(14_000)
        ),
    ];
    let keys = Arc::new(keys_of(&[&SIGNER, &OTHER_SIGNER]));
    let clock = Clock::start();
    for token in &tokens {
        let cost = |_| {
            // A new one remembers nothing.
            let verifier = Verifier::new(vec![grant()], vec![issuer_of(TENANT)]);
            let start = clock.now();
            let verdict = verifier.check(token, NOW, |_| Some(Arc::clone(&keys)));
            assert_eq!(verdict.is_ok(), *token == good);
            clock.now().since(start)
        };
        let least = (0..20).map(cost).min().unwrap();
        let begins: String = token.chars().take(40).collect();
        assert!(least < Duration::from_millis(1), "{least:?} for {begins}...");
    }
}
