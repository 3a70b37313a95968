//! The prompt cache of one backend: a prompt whose beginning was there before is told as cached. Nothing is
//! forgotten: a test is over sooner than a cache.

use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Shorter prompts are not cached.
const TOKENS_LEAST: u32 = 1_024;
/// Cached tokens come in so many.
const STEP: u32 = 128;
/// The bytes of about so many tokens.
const PREFIX_BYTES: usize = 4_096;

/// The prompts that were here.
#[derive(Debug, Default)]
pub(super) struct Cache {
    known: Mutex<HashSet<u64>>,
}

impl Cache {
    /// How many tokens of a prompt are cached; from now on it is.
    pub(super) fn cached(&self, prefix: Option<u64>, prompt_tokens: u32) -> u32 {
        let Some(prefix) = prefix.filter(|_| prompt_tokens >= TOKENS_LEAST) else { return 0 };
        if self.known.lock().insert(prefix) { 0 } else { prompt_tokens / STEP * STEP }
    }
}

/// What a prompt is found by: how its messages begin, and its key.
pub(super) fn prefix(messages: Option<&[Value]>, cache_key: Option<&str>) -> Option<u64> {
    let written = serde_json::to_vec(messages?).ok()?;
    let begin = written.get(..PREFIX_BYTES)?;
    let mut hasher = DefaultHasher::new();
    (begin, cache_key).hash(&mut hasher);
    Some(hasher.finish())
}
