//! API keys of client applications.
//!
//! The configuration holds only SHA-256 hashes. Keys are 32 random bytes, so a fast hash is enough: there is
//! no dictionary to try. A presented key is hashed and its hash compared with *every* entry in constant
//! time, so that an answer's delay tells neither how much of a guess was right nor which entry it met. With
//! the few hundred keys of a large installation that is some microseconds.
//!
//! A key may have an end. It is judged after the comparison, so it tells nothing to those who have no key.
//!
//! What an app may do is not decided here. No type in this file prints a key.

use sha2::Digest;
use sha2::Sha256;
use subtle::ConditionallySelectable;
use subtle::ConstantTimeEq;

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

/// Why a presented key opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError<'a> {
    /// Nobody's key.
    Unknown,
    /// An app's key whose time is over.
    Expired(KeyMatch<'a>),
}

/// A key as the configuration lists it.
#[derive(Clone, Copy, Debug)]
pub struct ListedKey<'a> {
    /// The app that the key belongs to.
    pub app: &'a str,
    /// What the operator calls the key.
    pub name: &'a str,
    /// Its SHA-256 in hexadecimal.
    pub sha256: &'a str,
    /// The first moment at which it is no longer taken, in Unix seconds; `None`: it has no end.
    pub expires: Option<u64>,
}

struct Entry {
    hash: [u8; 32],
    app: String,
    key_name: String,
    key_id: String,
    expires: Option<u64>,
}

impl KeyRing {
    /// Builds the ring. If one key is listed twice, the first listing wins.
    pub fn new<'a>(keys: impl IntoIterator<Item = ListedKey<'a>>) -> Result<Self, BadHash> {
        let entries = keys.into_iter().map(|listed| {
            let mut hash = [0; 32];
            let (app, key_name) = (listed.app.to_owned(), listed.name.to_owned());
            if hex::decode_to_slice(listed.sha256, &mut hash).is_err() {
                return Err(BadHash { app, key_name });
            }
            let key_id = listed.sha256.chars().take(KEY_ID_DIGITS).collect::<String>();
            let key_id = key_id.to_ascii_lowercase();
            Ok(Entry { hash, app, key_name, key_id, expires: listed.expires })
        });
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        entries.reverse();
        Ok(Self { entries })
    }

    /// Whose key this is, at a moment in Unix seconds.
    pub fn find(&self, presented: &[u8], now: u64) -> Result<KeyMatch<'_>, KeyError<'_>> {
        let hash = Sha256::digest(presented);
        let mut found = u64::MAX;
        // Every entry is compared and selected alike; the match that is met last, the first listed, stays.
        for (index, entry) in (0_u64..).zip(&self.entries) {
            found.conditional_assign(&index, entry.hash.ct_eq(hash.as_slice()));
        }
        let entry = usize::try_from(found).ok().and_then(|found| self.entries.get(found));
        let entry = entry.ok_or(KeyError::Unknown)?;
        let found = KeyMatch { app: &entry.app, key_name: &entry.key_name, key_id: &entry.key_id };
        let ended = entry.expires.is_some_and(|expires| expires <= now);
        if ended { Err(KeyError::Expired(found)) } else { Ok(found) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn hash(key: &str) -> String {
        hex::encode(Sha256::digest(key))
    }

    fn listed<'a>(app: &'a str, name: &'a str, sha256: &'a str) -> ListedKey<'a> {
        ListedKey { app, name, sha256, expires: None }
    }

    #[test]
    fn a_key_leads_to_its_app() {
        let (a, b, c) = (hash("key-a"), hash("key-b"), hash("key-c").to_ascii_uppercase());
        let keys = [
            listed("batch", "old", &a),
            listed("batch", "new", &b),
            listed("chat", "one", &c),
            listed("zeta", "copy", &a),
        ];
        let ring = KeyRing::new(keys).unwrap();
        let found = |key: &str| ring.find(key.as_bytes(), NOW).map(|key| (key.app, key.key_name));
        assert_eq!(found("key-a"), Ok(("batch", "old")));
        assert_eq!(found("key-b"), Ok(("batch", "new")));
        assert_eq!(found("key-c"), Ok(("chat", "one")));
        assert_eq!(found("key-d"), Err(KeyError::Unknown));
        assert_eq!(found(&a), Err(KeyError::Unknown));
        let key_id = ring.find(b"key-c", NOW).unwrap().key_id;
        assert!(key_id.len() == 8 && hash("key-c").starts_with(key_id));
    }

    #[test]
    fn a_key_ends_at_its_moment() {
        let (a, b) = (hash("key-a"), hash("key-b"));
        let old = ListedKey { expires: Some(NOW), ..listed("batch", "old", &a) };
        let ring = KeyRing::new([old, listed("batch", "new", &b)]).unwrap();
        let found = |key: &str, now| ring.find(key.as_bytes(), now).map(|key| key.key_name);
        assert_eq!(found("key-a", NOW - 1), Ok("old"));
        assert!(
            matches!(found("key-a", NOW), Err(KeyError::Expired(key)) if key.app == "batch" && key.key_name == "old")
        );
        assert!(matches!(found("key-a", u64::MAX), Err(KeyError::Expired(_))));
        assert_eq!(found("key-b", u64::MAX), Ok("new"));
        assert_eq!(found("key-c", NOW), Err(KeyError::Unknown));
    }

    #[test]
    fn an_empty_ring_knows_nobody() {
        assert_eq!(KeyRing::new([]).unwrap().find(b"", NOW), Err(KeyError::Unknown));
    }

    #[test]
    fn a_bad_hash_is_told_with_its_place() {
        for sha256 in ["", "00", "zz", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            let refused = KeyRing::new([listed("chat", "one", sha256)]).err().unwrap();
            assert_eq!((&*refused.app, &*refused.key_name), ("chat", "one"));
        }
    }
}
