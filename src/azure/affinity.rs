//! Which requests share a prompt cache, as far as a body tells.
//!
//! Azure keeps the prompts of the last minutes in each deployment and finds them by their first 1,024 tokens or
//! more, together with `prompt_cache_key` or `user`. Scattered over regions a conversation finds nothing. So
//! requests get a key: that of `prompt_cache_key`, else of `user`, else of the first 4 KiB of the prompt, which
//! are about 1,024 tokens; a shorter prompt is not cached and has none.
//!
//! The key is a hash that is the same in every process and version, so that instances agree. Nobody gains by
//! aiming at a target: one that costs more than others loses its keys. Apps are not kept apart, as Azure's caches
//! are a subscription's; the key decides where, and nothing else.

use crate::rng::stable_hash;

/// The bytes of about 1,024 tokens.
const PREFIX_BYTES: usize = 4_096;

/// What a body says about it.
#[derive(Default)]
pub(super) struct Affinity {
    cache_key: Option<u64>,
    user: Option<u64>,
    prefix: Option<u64>,
}

impl Affinity {
    /// Takes the string of `prompt_cache_key` or `user`. An empty one says nothing.
    pub(super) fn named(&mut self, member: &str, value: &[u8]) {
        let hash = (!value.is_empty()).then(|| stable_hash(value));
        if member == "user" {
            self.user = hash;
        } else {
            self.cache_key = hash;
        }
    }

    /// Takes a part of the prompt as it is written; the first that is long enough counts.
    pub(super) fn prompt(&mut self, written: &[u8]) {
        self.prefix = self.prefix.or_else(|| written.get(..PREFIX_BYTES).map(stable_hash));
    }

    /// The key of the request, if it has one.
    pub(super) fn key(&self) -> Option<u64> {
        self.cache_key.or(self.user).or(self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use crate::azure::peek::peek;

    fn key(body: &str) -> Option<u64> {
        peek(body.as_bytes()).unwrap().affinity
    }

    fn with(members: &str, prompt: &str) -> Option<u64> {
        key(&format!(
            r#"{{{members}"model":"m","messages":[{{"role":"user","content":"{prompt}"}}]}}"#
        ))
    }

    #[test]
    fn the_cache_key_goes_before_the_user_and_both_before_the_prompt() {
        let long = "x".repeat(5_000);
        let user = with(r#""user":"u1","#, &long);
        let named = with(r#""user":"u1","prompt_cache_key":"k1","#, &long);
        assert!(user.is_some() && named.is_some() && user != named);
        assert_eq!(named, with(r#""prompt_cache_key":"k1","#, "hi"));
        assert_eq!(user, with(r#""user":"u1","prompt_cache_key":"","#, "hi"));
        assert_ne!(user, with(r#""user":"u2","#, &long));
        assert_eq!(with(r#""user":7,"prompt_cache_key":null,"#, "hi"), None);
    }

    #[test]
    fn a_long_prompt_is_known_by_how_it_begins() {
        let begin = "x".repeat(4_096);
        let first = with("", &format!("{begin} and then"));
        assert!(first.is_some());
        assert_eq!(first, with(r#""temperature":1,"#, &format!("{begin} or else")));
        assert_ne!(first, with("", &format!("y{begin}")));
        assert_eq!(with("", &"x".repeat(4_000)), None, "too short to be cached");
        let response = |name: &str| key(&format!(r#"{{"model":"m","{name}":"{begin}"}}"#));
        assert!(response("input").is_some() && response("input") == response("instructions"));
        assert_eq!(response("metadata"), None);
    }

    /// Other instances, of other versions, agree: these numbers never change.
    #[test]
    fn the_key_is_the_same_everywhere() {
        assert_eq!(with(r#""user":"a","#, ""), Some(0xAF63_DC4C_8601_EC8C));
    }
}
