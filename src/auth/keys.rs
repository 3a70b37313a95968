//! API keys of client applications.
//!
//! The configuration holds only SHA-256 hashes. Keys are 32 random bytes, so a fast hash is enough: there is
//! no dictionary to try. A presented key is hashed and its hash compared with *every* entry in constant
//! time, so that an answer's delay tells neither how much of a guess was right nor which entry it met. With
//! the few hundred keys of a large installation that is some microseconds.
//!
//! A request proves itself with `api-key` or with `Authorization: Bearer`, once. Two different credentials
//! are refused rather than ranked: whichever were taken, another proxy on the way may take the other.
//!
//! What an app may do is not decided here. No type in this file prints a key.

use http::HeaderMap;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use sha2::Digest;
use sha2::Sha256;
use subtle::ConditionallySelectable;
use subtle::ConstantTimeEq;

/// Longest credential that is looked at, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 512;

/// Hexadecimal digits of a hash that name a key in the log.
const KEY_ID_DIGITS: usize = 8;

/// The known keys.
pub struct KeyRing {
    /// The last listed comes first: see [`KeyRing::find`].
    entries: Vec<Entry>,
}

/// Which key was presented, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMatch<'a> {
    /// The app that the key belongs to.
    pub app: &'a str,
    /// What the operator calls the key.
    pub key_name: &'a str,
    /// The first digits of its hash: names it in the log and is no secret.
    pub key_id: &'a str,
}

/// A hash that is not 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key {key_name} of the app {app} is not 64 hexadecimal digits of SHA-256")]
pub struct BadHash {
    /// The app whose key it is.
    pub app: String,
    /// What the operator calls the key.
    pub key_name: String,
}

/// Why the credential of a request cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// More than one header, with more than one possible meaning.
    #[error("more than one credential")]
    Ambiguous,
    /// `Authorization` with another scheme than Bearer.
    #[error("an authorization scheme other than Bearer")]
    NotBearer,
    /// Longer than any key.
    #[error("a credential longer than {CREDENTIAL_BYTES_MAX} bytes")]
    TooLong,
}

struct Entry {
    hash: [u8; 32],
    app: String,
    key_name: String,
    key_id: String,
}

impl KeyRing {
    /// Builds the ring from (app name, key name, SHA-256 in hexadecimal).
    ///
    /// If one key is listed twice, the first listing wins.
    pub fn new<'a>(
        keys: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> Result<Self, BadHash> {
        let entries = keys.into_iter().map(|(app, key_name, sha256)| {
            let mut hash = [0; 32];
            let (app, key_name) = (app.to_owned(), key_name.to_owned());
            if hex::decode_to_slice(sha256, &mut hash).is_err() {
                return Err(BadHash { app, key_name });
            }
            let key_id =
                sha256.chars().take(KEY_ID_DIGITS).collect::<String>().to_ascii_lowercase();
            Ok(Entry { hash, app, key_name, key_id })
        });
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        entries.reverse();
        Ok(Self { entries })
    }

    /// Whose key this is.
    pub fn find(&self, presented: &[u8]) -> Option<KeyMatch<'_>> {
        let hash = Sha256::digest(presented);
        let mut found = u64::MAX;
        // Every entry is compared and selected alike; the match that is met last, the first listed, stays.
        for (index, entry) in (0_u64..).zip(&self.entries) {
            found.conditional_assign(&index, entry.hash.ct_eq(hash.as_slice()));
        }
        let entry = self.entries.get(usize::try_from(found).ok()?)?;
        Some(KeyMatch { app: &entry.app, key_name: &entry.key_name, key_id: &entry.key_id })
    }
}

/// The credential that a request presents: the value of `api-key`, or of `Authorization` without `Bearer`.
///
/// An empty one is none: some SDKs send the header even when they were given no key.
pub fn credential(headers: &HeaderMap) -> Result<Option<&[u8]>, CredentialError> {
    let api_key = only(headers, "api-key")?.map(|value| value.as_bytes().trim_ascii());
    let bearer = only(headers, AUTHORIZATION.as_str())?.map(bearer).transpose()?;
    let api_key = api_key.filter(|key| !key.is_empty());
    let bearer = bearer.filter(|key| !key.is_empty());
    if let (Some(api_key), Some(bearer)) = (api_key, bearer)
        && api_key != bearer
    {
        return Err(CredentialError::Ambiguous);
    }
    match api_key.or(bearer) {
        Some(key) if key.len() > CREDENTIAL_BYTES_MAX => Err(CredentialError::TooLong),
        found => Ok(found),
    }
}

fn only<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> Result<Option<&'a HeaderValue>, CredentialError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(CredentialError::Ambiguous) } else { Ok(first) }
}

/// The token behind the scheme, whose name is read in any case (RFC 9110, section 11.1).
fn bearer(value: &HeaderValue) -> Result<&[u8], CredentialError> {
    let value = value.as_bytes().trim_ascii();
    let (scheme, token) =
        value.split_at_checked("bearer".len()).ok_or(CredentialError::NotBearer)?;
    let separated = token.is_empty() || token.starts_with(b" ");
    if !scheme.eq_ignore_ascii_case(b"bearer") || !separated {
        return Err(CredentialError::NotBearer);
    }
    Ok(token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: &str) -> String {
        hex::encode(Sha256::digest(key))
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn check(pairs: &[(&'static str, &str)], expected: Result<Option<&str>, CredentialError>) {
        let headers = headers(pairs);
        assert_eq!(credential(&headers), expected.map(|key| key.map(str::as_bytes)), "{pairs:?}");
    }

    #[test]
    fn a_key_leads_to_its_app() {
        let (a, b, c) = (hash("key-a"), hash("key-b"), hash("key-c").to_ascii_uppercase());
        let keys = [
            ("batch", "old", &*a),
            ("batch", "new", &b),
            ("chat", "one", &c),
            ("zeta", "copy", &a),
        ];
        let ring = KeyRing::new(keys).unwrap();
        let found = |key: &str| ring.find(key.as_bytes()).map(|key| (key.app, key.key_name));
        assert_eq!(found("key-a"), Some(("batch", "old")));
        assert_eq!(found("key-b"), Some(("batch", "new")));
        assert_eq!(found("key-c"), Some(("chat", "one")));
        assert_eq!(found("key-d"), None);
        assert_eq!(found(&a), None);
        assert_eq!(ring.find(b"key-c").unwrap().key_id, &hash("key-c")[..8]);
    }

    #[test]
    fn an_empty_ring_knows_nobody() {
        assert_eq!(KeyRing::new([]).unwrap().find(b"").map(|key| key.app), None);
    }

    #[test]
    fn a_bad_hash_is_told_with_its_place() {
        for sha256 in ["", "00", "zz", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            let refused = KeyRing::new([("chat", "one", sha256)]).err().unwrap();
            assert_eq!((&*refused.app, &*refused.key_name), ("chat", "one"));
        }
    }

    #[test]
    fn either_header_carries_the_key() {
        check(&[], Ok(None));
        check(&[("api-key", "k")], Ok(Some("k")));
        check(&[("authorization", "Bearer k")], Ok(Some("k")));
        check(&[("authorization", "bEARER   k ")], Ok(Some("k")));
        check(&[("api-key", "k"), ("authorization", "Bearer k")], Ok(Some("k")));
        check(&[("api-key", ""), ("authorization", "Bearer ")], Ok(None));
        check(&[("api-key", ""), ("authorization", "Bearer k")], Ok(Some("k")));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        use CredentialError::{Ambiguous, NotBearer, TooLong};
        check(&[("api-key", "k"), ("authorization", "Bearer j")], Err(Ambiguous));
        check(&[("api-key", "k"), ("api-key", "k")], Err(Ambiguous));
        check(&[("authorization", "Bearer k"), ("authorization", "Bearer k")], Err(Ambiguous));
        check(&[("authorization", "Basic abc")], Err(NotBearer));
        check(&[("authorization", "k")], Err(NotBearer));
        check(&[("authorization", "Bearerk")], Err(NotBearer));
        check(&[("api-key", "k"), ("authorization", "Basic abc")], Err(NotBearer));
        check(&[("api-key", &"k".repeat(512))], Ok(Some(&"k".repeat(512))));
        check(&[("api-key", &"k".repeat(513))], Err(TooLong));
    }
}
