//! Keys of encrypted content.
//!
//! What a model thought is returned as `encrypted_content`, which only the resource that wrote it can read. Many
//! clients send it back without the id of its item, so the value itself must lead back: its key is a hash of it, `enc_`
//! and 32 hex digits of its SHA-256. The values are kilobytes and pass in pieces, so the hash is fed as they come.
//! Encoders differ in what they escape (`\/`, `\u002b`): what is hashed is the text that the string stands for.

use sha2::{Digest, Sha256};

/// The member that has such a value, in requests and responses.
pub(super) const MEMBER: &[u8] = b"encrypted_content";

/// What the keys begin with.
const PREFIX: &str = "enc_";

/// Bytes of the hash that a key has.
const KEY_BYTES: usize = 16;

/// A shorter value is no encrypted content.
const LEAST_BYTES: usize = 16;

/// Whether an id is the key of encrypted content.
pub fn is_key(id: &str) -> bool {
    id.strip_prefix(PREFIX).is_some_and(|hash| hash.len() == 2 * KEY_BYTES)
}

/// The key of a value that is there whole, as it is written between its quotes.
pub(super) fn key_of(raw: &[u8]) -> Option<String> {
    let mut hasher = Hasher::default();
    hasher.push(raw);
    hasher.take()
}

/// Hashes one value while it passes.
#[derive(Debug, Default)]
pub(super) struct Hasher {
    hash: Sha256,
    bytes: usize,
    escape: Escape,
}

/// How far an escape has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    /// Digits of `\u` that are still to come, and the value of those before.
    Unicode(u8, u32),
}

impl Hasher {
    /// Takes the next bytes of the string as they are written, whichever way they are cut.
    pub(super) fn push(&mut self, raw: &[u8]) {
        let mut rest = raw;
        while let Some((&first, after)) = rest.split_first() {
            rest = match self.escape {
                Escape::None => self.plain(rest),
                Escape::Begun => {
                    self.escaped(first);
                    after
                }
                Escape::Unicode(left, value) => {
                    let digit = char::from(first).to_digit(16).unwrap_or(0);
                    self.digit(left, (value << 4) | digit);
                    after
                }
            };
        }
    }

    /// The key of what has passed, if it is long enough; the next value begins.
    pub(super) fn take(&mut self) -> Option<String> {
        let Self { hash, bytes, .. } = std::mem::take(self);
        if bytes < LEAST_BYTES {
            return None;
        }
        let hash = hash.finalize();
        let hash = hash.get(..KEY_BYTES)?;
        Some(format!("{PREFIX}{}", hex::encode(hash)))
    }

    fn plain<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let end = memchr::memchr(b'\\', bytes).unwrap_or(bytes.len());
        let (run, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        self.add(run);
        if !rest.is_empty() {
            self.escape = Escape::Begun;
        }
        rest.get(1..).unwrap_or_default()
    }

    fn escaped(&mut self, byte: u8) {
        self.escape = Escape::None;
        match byte {
            b'u' => self.escape = Escape::Unicode(4, 0),
            b'b' => self.add(b"\x08"),
            b'f' => self.add(b"\x0c"),
            b'n' => self.add(b"\n"),
            b'r' => self.add(b"\r"),
            b't' => self.add(b"\t"),
            other => self.add(&[other]),
        }
    }

    fn digit(&mut self, left: u8, value: u32) {
        if left > 1 {
            self.escape = Escape::Unicode(left - 1, value);
            return;
        }
        self.escape = Escape::None;
        // Half of a surrogate pair is no character: in either half the same bytes stand for it.
        let character = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.add(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::ids::{Collector, Which};
    use proptest::prelude::*;

    fn collect(chunks: &[&[u8]]) -> Vec<String> {
        let (mut collector, mut found) = (Collector::new(Which::Kept), Vec::new());
        for chunk in chunks {
            collector.push(chunk, &mut |id| found.push(id.to_owned()));
        }
        found
    }

    const VALUE: &str = "gAAAAABo+x/Zq0_T-encrypted==";

    #[test]
    fn the_key_is_of_the_text_and_not_of_its_escapes() {
        let key = key_of(VALUE.as_bytes()).unwrap();
        let hash = hex::encode(Sha256::digest(VALUE));
        assert_eq!(key, format!("enc_{}", hash.get(..32).unwrap()));
        assert!(is_key(&key) && !is_key("enc_12") && !is_key("rs_0123456789abcdef"));
        for escaped in [
            VALUE.replace('/', "\\/"),
            VALUE.replace('+', "\\u002B"),
            VALUE.replace('+', "\\u002b").replace('=', "\\u003D"),
        ] {
            assert_eq!(key_of(escaped.as_bytes()).as_ref(), Some(&key), "{escaped}");
        }
        assert_ne!(key_of(VALUE.replace('+', "-").as_bytes()).as_ref(), Some(&key));
    }

    #[test]
    fn words_have_no_key() {
        for word in ["", "none", "0123456789abcde", "\\u0041\\u0041"] {
            assert_eq!(key_of(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn encrypted_content_is_told_and_named_by_the_same_key() {
        let value = "gAAAAABo+x/Zq0_T-encrypted==".repeat(200);
        let answer = format!(
            r#"{{"output":[{{"encrypted_content" : "{value}","id":"rs_0123456789abcdef"}},{{"encrypted_content":null}},
            {{"encrypted_content":"short"}},"encrypted_content",{{"text":"{value}"}}],"again":{{"encrypted_content":"{value}"}}}}"#
        );
        let key = key_of(value.as_bytes()).unwrap();
        let told = [key.as_str(), "rs_0123456789abcdef"];
        assert_eq!(collect(&[answer.as_bytes()]), told);
        for cut in [1, 10, 30, 31, 40, 700, 5_000, answer.len() - 30] {
            let (head, tail) = answer.as_bytes().split_at(cut);
            assert_eq!(collect(&[head, tail]), told, "{cut}");
        }
        let escaped = value.replace('/', "\\/").replace('+', "\\u002b");
        let bytes: Vec<&[u8]> = escaped.as_bytes().chunks(1).collect();
        let all =
            [&[br#"{"encrypted_content":""#.as_slice()], bytes.as_slice(), &[br#""}"#]].concat();
        assert_eq!(collect(&all), [key.as_str()]);
        let body = format!(
            r#"{{"input":[{{"type":"reasoning","encrypted_content":"{escaped}","summary":[]}},{{"text":"{value}"}}]}}"#
        );
        let ids = crate::azure::peek::peek(body.as_bytes()).unwrap().ids;
        assert_eq!(ids.encrypted_keys(), [key]);
        assert!(ids.mentioned.is_empty());
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(text in "[a-zA-Z+/=\\n\u{e9}]{16,80}", cut in 0_usize..400) {
            let written = serde_json::to_string(&text).unwrap().replace('/', "\\/").replace('+', "\\u002b");
            let raw = &written.as_bytes()[1..written.len() - 1];
            let (head, tail) = raw.split_at(cut % raw.len());
            let mut hasher = Hasher::default();
            hasher.push(head);
            hasher.push(tail);
            prop_assert_eq!(hasher.take(), key_of(text.as_bytes()));
            prop_assert_eq!(hasher.take(), None, "the next value begins");
        }
    }
}
