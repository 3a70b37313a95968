//! Tokens that were verified, so that the same one is not verified with each request.
//!
//! An entry is found by the token's SHA-256: the token itself is kept nowhere. It counts for at most 300 s, never
//! beyond the token's own end, never before the moment at which it was made (a clock that was put back makes the
//! token be verified again), and only with the key set that it was verified with.
//!
//! Wrong signatures are remembered too, in a cache of their own that is small: a stranger's tokens never push out
//! those of callers. Both are bounded; the least recently used goes first.

use crate::auth::caller::Caller;
use crate::auth::token_error::TokenError;
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Longest time that an entry counts, in seconds.
const SECONDS_MAX: u64 = 300;

/// Parts with a lock each, which is held for a look-up only.
const SHARDS: usize = 16;

/// Verified tokens of a shard: 16,384 in all, about 10 MB.
const GENUINE_MAX: usize = 1024;

/// Wrong signatures of a shard: 1,024 in all.
const FORGED_MAX: usize = 64;

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenId([u8; 32]);

/// What is known of a token.
#[derive(Clone)]
pub(super) enum Outcome {
    Genuine(Arc<Caller>),
    /// Not signed by a key of this tenant.
    Forged(Arc<str>),
}

/// Which keys an outcome was found with.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) outcome: Outcome,
    /// The revision of the tenant's keys.
    pub(super) revision: u64,
}

pub(super) struct Seen {
    shards: Vec<Mutex<Shard>>,
}

struct Shard {
    genuine: LruCache<TokenId, Entry>,
    forged: LruCache<TokenId, Entry>,
}

struct Entry {
    known: Known,
    from: u64,
    until: u64,
}

impl TokenId {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl Known {
    /// Whose keys it depends on.
    pub(super) fn tenant(&self) -> &str {
        match &self.outcome {
            Outcome::Genuine(caller) => &caller.tenant,
            Outcome::Forged(tenant) => tenant,
        }
    }

    pub(super) fn verdict(self) -> Result<Arc<Caller>, TokenError> {
        match self.outcome {
            Outcome::Genuine(caller) => Ok(caller),
            Outcome::Forged(_) => Err(TokenError::BadSignature),
        }
    }
}

impl Seen {
    pub(super) fn new() -> Self {
        // Without room in advance: after a reload there are two of these for a while.
        let shard = || Shard { genuine: LruCache::unbounded(), forged: LruCache::unbounded() };
        Self { shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect() }
    }

    /// What is known of a token and counts at this moment. The caller compares the revision.
    pub(super) fn find(&self, id: &TokenId, now: u64) -> Option<Known> {
        let mut shard = self.shard(id)?.lock();
        let Shard { genuine, forged } = &mut *shard;
        let entry = genuine.get(id).or_else(|| forged.get(id))?;
        (entry.from..entry.until).contains(&now).then(|| entry.known.clone())
    }

    /// Remembers a token in the place of what was known of it.
    pub(super) fn put(&self, id: TokenId, known: Known, now: u64) {
        let Some(shard) = self.shard(&id) else { return };
        let mut until = now.saturating_add(SECONDS_MAX);
        if let Outcome::Genuine(caller) = &known.outcome {
            until = until.min(caller.expires);
        }
        let mut shard = shard.lock();
        let Shard { genuine, forged } = &mut *shard;
        let (kept, other, entries_max) = match known.outcome {
            Outcome::Genuine(_) => (genuine, forged, GENUINE_MAX),
            Outcome::Forged(_) => (forged, genuine, FORGED_MAX),
        };
        other.pop(&id);
        kept.put(id, Entry { known, from: now, until });
        if kept.len() > entries_max {
            kept.pop_lru();
        }
    }

    fn shard(&self, id: &TokenId) -> Option<&Mutex<Shard>> {
        let [first, ..] = id.0;
        self.shards.get(usize::from(first) % SHARDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn genuine(expires: u64) -> Known {
        let caller = Caller {
            app: "app".into(),
            tenant: "t".to_owned(),
            object_id: None,
            subject: None,
            client: None,
            may_probe: false,
            expires,
        };
        Known { outcome: Outcome::Genuine(Arc::new(caller)), revision: 1 }
    }

    fn forged() -> Known {
        Known { outcome: Outcome::Forged("t".into()), revision: 1 }
    }

    #[test]
    fn an_entry_counts_from_its_making_to_its_end() {
        for (known, end) in [
            (genuine(NOW + 1000), NOW + 300),
            (genuine(NOW + 10), NOW + 10),
            (genuine(NOW), NOW),
            (genuine(NOW - 30), NOW),
            (forged(), NOW + 300),
        ] {
            let (seen, id) = (Seen::new(), TokenId::of("token"));
            seen.put(id, known, NOW);
            for now in [0, NOW - 1, NOW, NOW + 9, NOW + 10, NOW + 299, NOW + 300, u64::MAX] {
                let counts = NOW <= now && now < end;
                assert_eq!(seen.find(&id, now).is_some(), counts, "{now} {end}");
            }
            assert!(seen.find(&TokenId::of("other"), NOW).is_none());
        }
    }

    #[test]
    fn what_is_put_later_counts() {
        let (seen, id) = (Seen::new(), TokenId::of("token"));
        seen.put(id, forged(), NOW);
        seen.put(id, genuine(NOW + 1000), NOW);
        assert!(seen.find(&id, NOW).unwrap().verdict().is_ok());
        seen.put(id, forged(), NOW);
        assert_eq!(seen.find(&id, NOW).unwrap().verdict(), Err(TokenError::BadSignature));
    }

    #[test]
    fn it_is_bounded_and_the_forged_do_not_push_out_the_genuine() {
        let seen = Seen::new();
        let mine = TokenId::of("mine");
        seen.put(mine, genuine(NOW + 1000), NOW);
        for n in 0..20_000 {
            seen.put(TokenId::of(&format!("forged {n}")), forged(), NOW);
        }
        assert!(seen.find(&mine, NOW).is_some());
        for n in 0..40_000 {
            seen.put(TokenId::of(&format!("genuine {n}")), genuine(NOW + 1000), NOW);
        }
        assert!(seen.find(&mine, NOW).is_none());
        assert!(seen.find(&TokenId::of("genuine 39999"), NOW).is_some());
        for shard in &seen.shards {
            let shard = shard.lock();
            assert_eq!((shard.genuine.len(), shard.forged.len()), (GENUINE_MAX, FORGED_MAX));
        }
    }
}
