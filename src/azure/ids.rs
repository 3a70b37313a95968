//! Ids of what lives on one resource: in requests, where they tell which resource is meant, and in answers, where
//! they appear.
//!
//! They are known by their prefixes, which are the same in every official SDK. An id is a whole JSON string: a text
//! that mentions one is a text.
//!
//! The items of a response (messages, function calls) are a case of their own. Most clients send them back whole, and
//! then they can go anywhere; only an `item_reference` needs the resource that stored them. Reasoning and compaction
//! items always do: what is encrypted in them is bound to their resource. Without their id the encrypted content itself
//! leads there: see `encrypted`.

pub use crate::azure::encrypted::is_key as is_encrypted;
use crate::azure::encrypted::{Hasher, MEMBER, key_of};
use crate::azure::json::Token;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What ids of things that are kept begin with.
const PREFIXES: [&[u8]; 25] = [
    b"asst_",
    b"assistant-",
    b"batch_",
    b"cfile_",
    b"chatcmpl-",
    b"cmp_",
    b"cntr_",
    b"container_",
    b"conv_",
    b"eval_",
    b"evalrun_",
    b"file-",
    b"file_",
    b"ftjob-",
    b"gen_",
    b"resp_",
    b"rs_",
    b"rtc_",
    b"run_",
    b"task_",
    b"thread_",
    b"upload_",
    b"video_",
    b"vs_",
    b"vsfb_",
];

/// What ids of a response's items begin with, other than those above.
const ITEMS: [&[u8]; 11] =
    [b"ci_", b"ctc_", b"cu_", b"fc_", b"fs_", b"ig_", b"mcp_", b"mcpl_", b"mcpr_", b"msg_", b"ws_"];

/// Says of an item that only its id is given.
const REFERENCE: &[u8] = b"item_reference";

/// The shortest and the longest id of any kind.
const BYTES: std::ops::RangeInclusive<usize> = 6..=256;

/// What follows the prefix is random, and at least so long. Words of the protocol (`file_search`, `thread_id`) are
/// shorter, or go on with an underscore.
const RANDOM_BYTES_MIN: usize = 16;

/// Most ids that one request may name, and that are taken from one answer.
const COUNT_MAX: usize = 4096;

/// Most encrypted contents of a request that are looked at: the last ones.
const ENCRYPTED_MAX: usize = 32;

/// A longer string is no id, even if every letter of it is escaped.
const RAW_BYTES_MAX: usize = 6 * 256;

/// Members of a request that name what it goes on from.
const DECISIVE: [&str; 9] = [
    "previous_response_id",
    "conversation",
    "assistant_id",
    "thread_id",
    "input_file_id",
    "training_file",
    "validation_file",
    "file_id",
    "response_id",
];

/// The member of this name, if it decides where a request must go.
pub(super) fn decisive(member: &str) -> Option<&'static str> {
    DECISIVE.into_iter().find(|known| *known == member)
}

/// Whether a text is an id of something that is kept on one resource.
pub fn is_kept(text: &[u8]) -> bool {
    is_random_behind(&PREFIXES, text)
}

/// Whether it is the id of an item of a response.
fn is_item(text: &[u8]) -> bool {
    is_random_behind(&ITEMS, text)
}

fn is_random_behind(prefixes: &[&[u8]], text: &[u8]) -> bool {
    let random = |rest: &[u8]| {
        rest.len() >= RANDOM_BYTES_MIN
            && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    BYTES.contains(&text.len())
        && prefixes.iter().any(|prefix| text.strip_prefix(*prefix).is_some_and(random))
}

/// Whether a part of a path, or the member `id` of what was made, looks like an id of any kind: it is long and has a
/// digit. A word would be noted as its first user's, and refused to all others.
pub fn is_made(text: &[u8]) -> bool {
    is_kept(text)
        || ((RANDOM_BYTES_MIN..=*BYTES.end()).contains(&text.len())
            && text.iter().any(u8::is_ascii_digit)
            && text.iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\/".contains(byte)))
}

/// The ids in a request body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named<'a> {
    /// Those that decide where the request must go: what it goes on from.
    pub decisive: Vec<Cow<'a, str>>,
    /// All others: they decide if they are known.
    pub mentioned: Vec<Cow<'a, str>>,
    /// Whether there were more than are looked at.
    pub too_many: bool,
    /// Encrypted contents as they are written, the last ones.
    encrypted: Vec<&'a [u8]>,
    /// Items of responses, until it is known whether they are only referred to.
    items: Vec<Cow<'a, str>>,
    refers: bool,
}

impl<'a> Named<'a> {
    /// Takes a string of the body, escaped or not: behind us it is read without its escapes.
    pub(super) fn mention(&mut self, string: Token<'a>) {
        let raw = string.raw();
        if string.key() == MEMBER {
            if self.encrypted.len() == ENCRYPTED_MAX {
                self.encrypted.remove(0);
            }
            return self.encrypted.push(raw);
        }
        if raw.len() > RAW_BYTES_MAX {
            return;
        }
        let escaped = memchr::memchr(b'\\', raw).is_some();
        // Every letter of an id may be written as an escape, which is made of the same letters.
        let possible =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'\\');
        self.refers |= raw == REFERENCE;
        let is_id = |text: &[u8]| is_kept(text) || is_item(text);
        let may_be = if escaped { raw.iter().all(possible) } else { is_id(raw) };
        if may_be && let Ok(text) = string.text() {
            if is_kept(text.as_bytes()) {
                self.push(text);
            } else if is_item(text.as_bytes()) && self.items.len() <= COUNT_MAX {
                self.items.push(text);
            }
        }
    }

    /// The keys of its encrypted contents, the last one first.
    pub fn encrypted_keys(&self) -> Vec<String> {
        self.encrypted.iter().rev().filter_map(|raw| key_of(raw)).collect()
    }

    /// All was seen: what is only referred to counts.
    pub(super) fn finish(&mut self) {
        for item in std::mem::take(&mut self.items) {
            if self.refers {
                self.push(item);
            }
        }
        self.refers = false;
    }

    /// Takes the part of a form.
    pub(super) fn mention_part(&mut self, value: &'a str) {
        if is_kept(value.as_bytes()) {
            self.push(value.into());
        }
    }

    fn push(&mut self, id: Cow<'a, str>) {
        if self.mentioned.len() < COUNT_MAX {
            self.mentioned.push(id);
        } else {
            self.too_many = true;
        }
    }
}

/// Finds ids in an answer while it passes, JSON or a stream of it, whichever way it is cut.
///
/// # Examples
///
/// ```
/// let mut collector = firstlight::azure::ids::Collector::new(firstlight::azure::ids::Which::Kept);
/// let mut found = Vec::new();
/// collector.push(br#"{"id":"resp_12345678"#, &mut |id| found.push(id.to_owned()));
/// collector.push(br#"90123456","object":"response"}"#, &mut |id| found.push(id.to_owned()));
/// assert_eq!(found, ["resp_1234567890123456"]);
/// ```
#[derive(Debug)]
pub struct Collector {
    which: Which,
    place: Place,
    /// The beginning of the string that is passing, or of the last one.
    string: Vec<u8>,
    /// Whether the last string was `id`, and what has passed since.
    key: Key,
    /// The last string was an id, unless it turns out to be a key.
    pending: bool,
    /// Hashes the value of `encrypted_content`.
    hasher: Hasher,
    /// How many objects and lists are open.
    depth: usize,
    told: BTreeSet<Box<str>>,
}

/// Which ids are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of things that are kept, by their prefixes.
    Kept,
    /// Also those of a response's items.
    Items,
    /// Also whatever the member `id` of the answer itself has, if it looks like one. Deeper inside is what the request
    /// brought.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    String,
    Escape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Other,
    /// The string `id` has passed.
    Id,
    /// And a colon behind it.
    Colon,
    /// The string `encrypted_content` has passed.
    Encrypted,
    /// And a colon behind it.
    EncryptedColon,
}

impl Collector {
    /// A collector for one answer.
    pub fn new(which: Which) -> Self {
        let string = Vec::with_capacity(*BYTES.end() + 1);
        let (key, told) = (Key::Other, BTreeSet::new());
        let (place, hasher) = (Place::Outside, Hasher::default());
        Self { which, place, string, key, pending: false, hasher, depth: 0, told }
    }

    /// Takes the next bytes; `found` is told of each id.
    pub fn push(&mut self, chunk: &[u8], found: &mut impl FnMut(&str)) {
        let mut rest = chunk;
        while !rest.is_empty() && self.told.len() < COUNT_MAX {
            rest = match self.place {
                Place::Outside => self.outside(rest, found),
                Place::String => self.inside(rest, found),
                Place::Escape => {
                    self.hash(rest.get(..1).unwrap_or_default());
                    self.place = Place::String;
                    rest.get(1..).unwrap_or_default()
                }
            };
        }
    }

    fn outside<'b>(&mut self, bytes: &'b [u8], found: &mut impl FnMut(&str)) -> &'b [u8] {
        let end = memchr::memchr(b'"', bytes).unwrap_or(bytes.len());
        let (between, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        for byte in between {
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if byte.is_ascii_whitespace() {
                continue;
            }
            let colon = *byte == b':';
            if std::mem::take(&mut self.pending) && !colon {
                self.tell(found);
            }
            self.key = match self.key {
                Key::Id if colon => Key::Colon,
                Key::Encrypted if colon => Key::EncryptedColon,
                Key::Other | Key::Id | Key::Colon | Key::Encrypted | Key::EncryptedColon => {
                    Key::Other
                }
            };
        }
        if !rest.is_empty() {
            self.place = Place::String;
            self.pending = false;
            self.string.clear();
        }
        rest.get(1..).unwrap_or_default()
    }

    fn inside<'b>(&mut self, bytes: &'b [u8], found: &mut impl FnMut(&str)) -> &'b [u8] {
        let end = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        let (run, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        // One byte more than the longest id tells a longer text from it.
        let room = (BYTES.end() + 1).saturating_sub(self.string.len());
        self.string.extend(run.iter().take(room));
        self.hash(run);
        match rest.first() {
            Some(b'"') => self.close(found),
            Some(_) => {
                self.hash(b"\\");
                // No id has an escape: what follows must not look like one.
                self.string.resize(BYTES.end() + 1, b'\\');
                self.place = Place::Escape;
            }
            None => {}
        }
        rest.get(1..).unwrap_or_default()
    }

    /// Takes a part of the value of `encrypted_content`, if it is one.
    fn hash(&mut self, raw: &[u8]) {
        if self.key == Key::EncryptedColon {
            self.hasher.push(raw);
        }
    }

    fn close(&mut self, found: &mut impl FnMut(&str)) {
        self.place = Place::Outside;
        if self.key == Key::EncryptedColon {
            self.key = Key::Other;
            if let Some(key) = self.hasher.take() {
                self.tell_of(&key, found);
            }
            return;
        }
        let asked_for = match self.which {
            Which::Kept => false,
            Which::Items => is_item(&self.string),
            Which::Any => self.depth == 1 && self.key == Key::Colon && is_made(&self.string),
        };
        self.pending = asked_for || is_kept(&self.string);
        self.key = match self.string.as_slice() {
            b"id" => Key::Id,
            MEMBER => Key::Encrypted,
            _ => Key::Other,
        };
    }

    /// Tells of the last string, once.
    fn tell(&mut self, found: &mut impl FnMut(&str)) {
        let string = std::mem::take(&mut self.string);
        if let Ok(id) = std::str::from_utf8(&string) {
            self.tell_of(id, found);
        }
        self.string = string;
    }

    fn tell_of(&mut self, id: &str, found: &mut impl FnMut(&str)) {
        if !self.told.contains(id) {
            found(id);
            self.told.insert(id.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collect(which: Which, chunks: &[&[u8]]) -> Vec<String> {
        let (mut collector, mut found) = (Collector::new(which), Vec::new());
        for chunk in chunks {
            collector.push(chunk, &mut |id| found.push(id.to_owned()));
        }
        found
    }

    const FILE: &str = "file-0123456789abcdefgh";

    #[test]
    fn ids_are_told_from_texts_and_from_words_of_the_protocol() {
        for prefix in ["resp_", "file-", "assistant-", "thread_", "vs_", "ftjob-", "chatcmpl-"] {
            assert!(is_kept(format!("{prefix}0123456789abcdefgh").as_bytes()), "{prefix}");
        }
        for text in [
            "resp_",
            "response",
            "msg_0123456789abcdefgh",
            "file_search",
            "file_search_call",
            "thread_id",
            "container_file_citation",
            "file_citation_annotation_x",
            "run_id",
            "batch_id",
            "conv_short",
            "file-0123456789abcdef gh",
            "a resp_0123456789abcdefgh",
        ] {
            assert!(!is_kept(text.as_bytes()), "{text}");
        }
        assert!(!is_kept(format!("resp_{}", "a".repeat(300)).as_bytes()));
    }

    #[test]
    fn words_are_not_made() {
        for id in ["file-0123456789abcdefgh", "msg_0123456789abcdef", "ft:gpt-4o:2026:abcd:1234"] {
            assert!(is_made(id.as_bytes()), "{id}");
        }
        for word in [
            "import",
            "thumbnail",
            "transcription_sessions",
            "v2",
            "gpt-4o",
            "",
            "a 0123456789abcdefg",
        ] {
            assert!(!is_made(word.as_bytes()), "{word}");
        }
        let inner = r#"{"metadata":{"id":"agent_1123456789abcdef"},"x":[1,{"a":{}}],"id":"agent_0123456789abcdef"}"#;
        assert_eq!(collect(Which::Any, &[inner.as_bytes()]), ["agent_0123456789abcdef"]);
    }

    #[test]
    fn items_count_where_they_are_only_referred_to() {
        let (message, thought) = ("msg_0123456789abcdef", "rs_0123456789abcdef");
        let mentioned = |kind: &str| {
            let body = format!(
                r#"{{"input":[{{"id":"{message}","type":"{kind}"}},{{"id":"{thought}"}}]}}"#
            );
            crate::azure::peek::peek(body.as_bytes()).unwrap().ids.mentioned.join(" ")
        };
        assert_eq!(mentioned("message"), thought);
        assert_eq!(mentioned("item_reference"), format!("{thought} {message}"));
        let answer = format!(r#"{{"output":[{{"id":"{message}"}},{{"id":"{thought}"}}]}}"#);
        assert_eq!(collect(Which::Kept, &[answer.as_bytes()]), [thought]);
        assert_eq!(collect(Which::Items, &[answer.as_bytes()]), [message, thought]);
    }

    #[test]
    fn an_escaped_id_is_an_id() {
        let peeked = |body: &str| {
            let peek = crate::azure::peek::peek(body.as_bytes()).unwrap().ids;
            (peek.decisive.concat(), peek.mentioned.concat())
        };
        let escaped = FILE.replace('-', "\\u002d");
        let body =
            format!(r#"{{"tools":[{{"ids":["{escaped}"]}}],"previous_response_id":"a\u005fb"}}"#);
        assert_eq!(peeked(&body), ("a_b".to_owned(), FILE.to_owned()));
        let form =
            format!("--x\r\nContent-Disposition: form-data; name=file_id\r\n\r\n{FILE}\r\n--x--");
        let form = crate::azure::multipart::read(b"a; boundary=x", form.as_bytes()).unwrap();
        assert_eq!(form.ids.mentioned, [FILE]);
    }

    #[test]
    fn more_ids_than_are_looked_at_are_refused() {
        let many = vec![FILE; COUNT_MAX + 1].join("\",\"");
        let body = format!("{{\"ids\":[\"{many}\"]}}");
        assert!(crate::azure::peek::peek(body.as_bytes()).is_err());
        let twice = r#"{"previous_response_id":"a","previous_response_id":"b"}"#;
        assert!(crate::azure::peek::peek(twice.as_bytes()).is_err());
    }

    const ANSWER: &str = r#"{"id" : "made-up-by-nobody-1","output":[{"id":"rs_0123456789abcdef","text":"say \"id\":\"resp_9\" x"}],
        "file":"file-0123456789abcdef","x":["id","vs_1"],"id":7,"name":"other-id",
        "vs_0123456789abcdef" : "file-0123456789abcdef"}"#;
    const TOLD: [&str; 3] = ["made-up-by-nobody-1", "rs_0123456789abcdef", "file-0123456789abcdef"];

    #[test]
    fn an_answer_tells_its_ids() {
        assert_eq!(collect(Which::Kept, &[ANSWER.as_bytes()]), TOLD[1..]);
        assert_eq!(collect(Which::Any, &[ANSWER.as_bytes()]), TOLD);
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(cuts in proptest::collection::vec(0..ANSWER.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, ANSWER.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> =
                cuts.windows(2).map(|pair| &ANSWER.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(collect(Which::Any, &chunks), TOLD);
        }
    }
}
