//! Tokens as Entra ID makes them, and any others.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use firstlight::auth::grant::Grant;
use firstlight::auth::issuer::Issuer;
use firstlight::auth::signing_keys::SigningKeys;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The moment of the tests, in Unix seconds.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const TENANT: &str = "11111111-aaaa-4bbb-8ccc-222222222222";
pub(crate) const AUDIENCE: &str = "33333333-aaaa-4bbb-8ccc-444444444444";
pub(crate) const CLIENT: &str = "55555555-aaaa-4bbb-8ccc-666666666666";

/// Keys are made once in a process: it takes a tenth of a second.
pub(crate) static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new("key-1"));
pub(crate) static OTHER_SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new("key-2"));

/// One who signs tokens.
pub(crate) struct Signer {
    pub(crate) kid: &'static str,
    key: RsaKeyPair,
}

impl Signer {
    pub(crate) fn new(kid: &'static str) -> Self {
        Self { kid, key: RsaKeyPair::generate(KeySize::Rsa2048).unwrap() }
    }

    /// A token with this header and these claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    /// A token with parts that need not be JSON.
    pub(crate) fn sign_texts(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signature(&signed);
        format!("{signed}.{signature}")
    }

    pub(crate) fn signature(&self, signed: &str) -> String {
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
        encode(signature)
    }

    /// The public key as a key set has it.
    pub(crate) fn jwk(&self) -> Value {
        let (n, e) = self.numbers();
        json!({ "kty": "RSA", "use": "sig", "kid": self.kid, "n": encode(n), "e": encode(e) })
    }

    /// Modulus and exponent, out of the DER of RFC 8017: a head of 9 bytes, 256 bytes of modulus, 2 of head, 65,537.
    fn numbers(&self) -> (&[u8], &[u8]) {
        let der = self.key.public_key().as_ref();
        let numbers = der.strip_prefix(b"\x30\x82\x01\x0a\x02\x82\x01\x01\x00").unwrap();
        let (modulus, rest) = numbers.split_at(256);
        (modulus, rest.strip_prefix(b"\x02\x03").unwrap())
    }

    /// The public key in the form that an attacker would take for an HMAC secret.
    pub(crate) fn public_der(&self) -> Vec<u8> {
        self.key.public_key().as_der().unwrap().as_ref().to_vec()
    }
}

pub(crate) fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// The header that Entra writes.
pub(crate) fn header() -> Value {
    json!({ "typ": "JWT", "alg": "RS256", "kid": SIGNER.kid })
}

/// An app-only token of the v2 endpoint.
pub(crate) fn v2_claims() -> Value {
    json!({
        "aud": AUDIENCE, "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 3600, "azp": CLIENT, "azpacr": "1",
        "oid": "77777777-aaaa-4bbb-8ccc-888888888888", "sub": "77777777-aaaa-4bbb-8ccc-888888888888",
        "roles": ["LLM.Invoke"], "tid": TENANT, "ver": "2.0", "uti": "u", "rh": "0.r",
    })
}

/// An app-only token of a custom API that asks for no version, as most.
pub(crate) fn v1_claims() -> Value {
    with(
        &v2_claims(),
        &json!({
            "aud": format!("api://{AUDIENCE}"), "iss": format!("https://sts.windows.net/{TENANT}/"),
            "ver": "1.0", "appid": CLIENT, "appidacr": "1", "azp": null, "azpacr": null,
        }),
    )
}

/// What a user's token has beside `v2_claims`; it has no roles.
pub(crate) fn delegated_claims() -> Value {
    with(&v2_claims(), &json!({ "scp": "openid llm.invoke profile", "roles": null, "name": "N" }))
}

/// Members set; `null` takes one out.
pub(crate) fn with(object: &Value, members: &Value) -> Value {
    let mut object = object.as_object().unwrap().clone();
    for (name, value) in members.as_object().unwrap() {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    Value::Object(object)
}

pub(crate) fn issuer_of(tenant: &str) -> Issuer {
    Issuer {
        tenant: tenant.to_owned(),
        v2: format!("https://login.microsoftonline.com/{tenant}/v2.0"),
        v1: format!("https://sts.windows.net/{tenant}/"),
    }
}

/// An app that takes both forms of the audience, one role, no scope, any client.
pub(crate) fn grant() -> Grant {
    Grant {
        app: "chat".into(),
        tenant: TENANT.to_owned(),
        audiences: vec![AUDIENCE.to_owned(), format!("api://{AUDIENCE}")],
        roles: vec!["LLM.Invoke".to_owned()],
        scopes: Vec::new(),
        clients: Vec::new(),
        probe_roles: vec!["Probe.Execute".to_owned()],
    }
}

pub(crate) fn keys_of(signers: &[&Signer]) -> SigningKeys {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    let document = json!({ "keys": keys }).to_string();
    SigningKeys::parse(document.as_bytes(), &issuer_of(TENANT)).unwrap()
}
