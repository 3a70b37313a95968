//! The signing keys: RSA of 2048 bits, which of them signs, and which of them are published.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io;
use std::sync::Arc;

/// A key that signs tokens.
#[derive(Debug)]
pub(in crate::mock) struct SigningKey {
    pub(in crate::mock) kid: String,
    /// Modulus and exponent in base64url.
    pub(in crate::mock) modulus: String,
    pub(in crate::mock) exponent: String,
    pair: KeyPair,
}

/// Whether a key is in the set that everybody can get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publication {
    Published,
    Withheld,
}

/// The keys, the oldest first; the last one signs.
#[derive(Debug)]
pub(super) struct Keyring {
    keys: Vec<(Arc<SigningKey>, Publication)>,
    signer: Arc<SigningKey>,
}

impl SigningKey {
    /// Makes a key. It takes a good part of a second.
    pub(super) fn generate() -> io::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048)
            .map_err(|_| io::Error::other("no RSA key could be made"))?;
        let modulus = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
        let exponent = pair.public_key().exponent().big_endian_without_leading_zero().to_vec();
        // Entra's key ids are the 20 bytes of a certificate's thumbprint; these are as long.
        let digest = Sha256::digest(&modulus);
        let thumbprint: Vec<u8> = digest.into_iter().take(20).collect();
        Ok(Self {
            kid: URL_SAFE_NO_PAD.encode(thumbprint),
            modulus: URL_SAFE_NO_PAD.encode(modulus),
            exponent: URL_SAFE_NO_PAD.encode(exponent),
            pair,
        })
    }

    /// Signs a header and claims, whatever they are, into the compact form of a JWS.
    pub(super) fn sign(&self, header: &[u8], claims: &[u8]) -> String {
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            message.as_bytes(),
            &mut signature,
        );
        if signed.is_err() {
            // Nobody accepts a token without a signature.
            signature.clear();
        }
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn jwk(&self) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "kid": self.kid, "x5t": self.kid,
            "n": self.modulus, "e": self.exponent, "cloud_instance_name": "microsoftonline.com",
        })
    }
}

impl Keyring {
    pub(super) fn new(key: SigningKey) -> Self {
        let key = Arc::new(key);
        Self { signer: Arc::clone(&key), keys: vec![(key, Publication::Published)] }
    }

    /// Adds a key, which signs from now on.
    pub(super) fn add(&mut self, key: SigningKey, publication: Publication) {
        self.signer = Arc::new(key);
        self.keys.push((Arc::clone(&self.signer), publication));
    }

    /// Publishes every key.
    pub(super) fn publish(&mut self) {
        self.keys.iter_mut().for_each(|(_, publication)| *publication = Publication::Published);
    }

    /// Forgets all keys but the one that signs.
    pub(super) fn retire_old(&mut self) {
        self.keys.retain(|(key, _)| Arc::ptr_eq(key, &self.signer));
    }

    pub(super) fn signer(&self) -> Arc<SigningKey> {
        Arc::clone(&self.signer)
    }

    /// A key that is not retired, published or not.
    pub(super) fn find(&self, kid: &str) -> Option<Arc<SigningKey>> {
        self.keys.iter().find(|(key, _)| key.kid == kid).map(|(key, _)| Arc::clone(key))
    }

    /// The published keys as a JSON Web Key Set; `issuer` is who they sign for, where that is said.
    pub(super) fn document(&self, issuer: Option<&str>) -> Value {
        let keys: Vec<Value> = self
            .published()
            .map(|key| {
                let mut jwk = key.jwk();
                if let (Some(issuer), Some(fields)) = (issuer, jwk.as_object_mut()) {
                    fields.insert("issuer".to_owned(), issuer.into());
                }
                jwk
            })
            .collect();
        json!({ "keys": keys })
    }

    pub(super) fn published(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        let published =
            |(_, publication): &&(_, Publication)| *publication == Publication::Published;
        self.keys.iter().filter(published).map(|(key, _)| key)
    }
}
