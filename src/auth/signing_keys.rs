//! The keys that a tenant's tokens are signed with, out of the key set document (JWKS) that Entra publishes.
//!
//! The algorithm is ours and not the token's: a key is kept only if it is an RSA key for RS256 signatures, and is
//! used for nothing else. A public key can so never be taken for the secret of an HMAC. Documents of several
//! tenants name the issuer of each key; those of others are dropped.

use crate::auth::header::{ALGORITHM, is_key_id};
use crate::auth::issuer::Issuer;
use crate::auth::json::{Object, object};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::verify;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

/// Longest document that is read, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// Most keys of a document. Entra has fewer than ten at a time.
pub const KEYS_MAX: usize = 64;

const MODULUS_BITS: RangeInclusive<usize> = 2048..=8192;

/// From 65,537, the least that is in use, to what `aws-lc-rs` takes.
const EXPONENT_BITS: RangeInclusive<usize> = 17..=33;

/// The signing keys of one tenant: at least one.
#[derive(Clone)]
pub struct SigningKeys {
    keys: BTreeMap<String, DecodingKey>,
    dropped: usize,
    revision: u64,
}

/// Why a document is not used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// Longer than [`DOCUMENT_BYTES_MAX`].
    #[error("a key set longer than {DOCUMENT_BYTES_MAX} bytes")]
    TooLong,
    /// Not an object with a list `keys`, or a name stands twice in one object.
    #[error("not a key set: no JSON object with a list `keys`, or one with a name twice")]
    Malformed,
    /// More than [`KEYS_MAX`] keys.
    #[error("a key set with more than {KEYS_MAX} keys")]
    TooMany,
    /// No key that could be used.
    #[error("a key set without any RSA key for RS256 signatures of this tenant ({dropped} others)")]
    NoneUsable {
        /// How many keys it has.
        dropped: usize,
    },
}

impl SigningKeys {
    /// Reads a key set document. Keys that cannot be used are dropped: Entra may add kinds that are new.
    pub fn parse(document: &[u8], issuer: &Issuer) -> Result<Self, BadKeys> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(BadKeys::TooLong);
        }
        let mut document = object(document).map_err(|_| BadKeys::Malformed)?;
        let Some(Value::Array(listed)) = document.remove("keys") else {
            return Err(BadKeys::Malformed);
        };
        if listed.len() > KEYS_MAX {
            return Err(BadKeys::TooMany);
        }
        let mut usable = BTreeMap::new();
        for key in listed.iter().filter_map(|key| RsaKey::read(key.as_object()?, issuer)) {
            usable.entry(key.id.clone()).or_insert(key);
        }
        let dropped = listed.len() - usable.len();
        if usable.is_empty() {
            return Err(BadKeys::NoneUsable { dropped });
        }
        let revision = revision(usable.values());
        let keys = usable.into_iter().map(|(id, key)| (id, key.for_verifying())).collect();
        Ok(Self { keys, dropped, revision })
    }

    /// Whether there is a key with this id.
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.contains_key(kid)
    }

    /// How many keys there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a set without a key is not made")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many keys of the document were not usable.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// A hash of the usable keys: sets with the same keys have the same.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The key ids, in alphabetical order.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Whether the key made the signature; `None` if there is no such key.
    pub(super) fn verify(&self, kid: &str, signed: &str, signature: &str) -> Option<bool> {
        let key = self.keys.get(kid)?;
        Some(verify(signature, signed.as_bytes(), key, Algorithm::RS256).unwrap_or(false))
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.key_ids()).finish()
    }
}

struct RsaKey {
    id: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl RsaKey {
    /// The key of an entry, if it is one for us.
    fn read(entry: &Object, issuer: &Issuer) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        let absent_or =
            |name: &str, wanted: &str| !entry.contains_key(name) || text(name) == Some(wanted);
        let ours = match entry.get("issuer") {
            None => true,
            Some(of) => of.as_str().is_some_and(|of| issuer.owns_key_of(of)),
        };
        let for_us = text("kty") == Some("RSA")
            && absent_or("alg", ALGORITHM)
            && absent_or("use", "sig")
            && ours
            && entry.get("key_ops").is_none_or(lists_verify);
        if !for_us {
            return None;
        }
        let id = text("kid").filter(|id| is_key_id(id))?.to_owned();
        let number = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let (modulus, exponent) = (number("n")?, number("e")?);
        let sound = MODULUS_BITS.contains(&bits(&modulus)) && is_exponent(&exponent);
        sound.then_some(Self { id, modulus, exponent })
    }

    fn for_verifying(&self) -> DecodingKey {
        DecodingKey::from_rsa_raw_components(&self.modulus, &self.exponent)
    }
}

fn lists_verify(key_ops: &Value) -> bool {
    key_ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify"))
}

/// The length of a big-endian number; 0 for one that is not written in its shortest form.
fn bits(number: &[u8]) -> usize {
    match number.first() {
        None | Some(0) => 0,
        Some(first) => {
            number.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or_default()
        }
    }
}

fn is_exponent(number: &[u8]) -> bool {
    let odd = number.last().is_some_and(|byte| byte % 2 == 1);
    odd && EXPONENT_BITS.contains(&bits(number))
}

fn revision<'k>(keys: impl Iterator<Item = &'k RsaKey>) -> u64 {
    let mut hash = Sha256::new();
    for key in keys {
        for part in [key.id.as_bytes(), &key.modulus, &key.exponent] {
            // The length first, so that no two sets write the same bytes.
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}
