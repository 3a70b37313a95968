//! Ids of what lives on one resource: in requests, where they tell which resource is meant, and in answers, where
//! they appear.
//!
//! They are known by their prefixes, which are the same in every official SDK. An id is a whole JSON string: a text
//! that mentions one is a text. The ids of messages, steps and function calls are left out, for whoever names one
//! names its thread or response as well; reasoning items are not, since what is encrypted in them is bound to its
//! resource.

use crate::azure::json::Token;

/// What ids of things that are kept begin with.
const PREFIXES: [&[u8]; 22] = [
    b"asst_",
    b"assistant-",
    b"batch_",
    b"cfile_",
    b"chatcmpl-",
    b"cntr_",
    b"container_",
    b"conv_",
    b"eval_",
    b"evalrun_",
    b"file-",
    b"file_",
    b"ftjob-",
    b"resp_",
    b"rs_",
    b"rtc_",
    b"run_",
    b"thread_",
    b"upload_",
    b"video_",
    b"vs_",
    b"vsfb_",
];

/// The shortest and the longest id.
const BYTES: std::ops::RangeInclusive<usize> = 6..=256;

/// Most ids that are taken from one request or one answer.
const COUNT_MAX: usize = 256;

/// Whether a text is an id of something that is kept on one resource.
pub fn is_kept(text: &[u8]) -> bool {
    is_id(text)
        && PREFIXES.iter().any(|prefix| text.len() > prefix.len() && text.starts_with(prefix))
}

/// Whether a text could be an id of any kind.
fn is_id(text: &[u8]) -> bool {
    BYTES.contains(&text.len())
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Whether it is an id of something that an app sets up and then uses with models: what an app makes next belongs
/// beside it.
pub fn is_furniture(id: &str) -> bool {
    const PASSING: [&str; 5] = ["resp_", "rs_", "run_", "chatcmpl-", "rtc_"];
    !PASSING.iter().any(|prefix| id.starts_with(prefix))
}

/// The ids in a request body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named<'a> {
    /// Those that decide where the request must go: what it goes on from.
    pub decisive: Vec<&'a str>,
    /// All others: they decide if they are known.
    pub mentioned: Vec<&'a str>,
}

impl<'a> Named<'a> {
    /// Takes a string of the body.
    pub(super) fn mention(&mut self, string: Token<'a>) {
        if is_kept(string.raw()) {
            push(&mut self.mentioned, string.raw());
        }
    }

    /// Takes the value of a member that names what the request goes on from.
    pub(super) fn decide(&mut self, string: Token<'a>) {
        push(&mut self.decisive, string.raw());
    }
}

fn push<'a>(ids: &mut Vec<&'a str>, raw: &'a [u8]) {
    if ids.len() < COUNT_MAX
        && let Ok(id) = std::str::from_utf8(raw)
    {
        ids.push(id);
    }
}

/// Finds ids in an answer while it passes, JSON or a stream of it, whichever way it is cut.
///
/// # Examples
///
/// ```
/// let mut collector = firstlight::azure::ids::Collector::new(firstlight::azure::ids::Which::Kept);
/// let mut found = Vec::new();
/// collector.push(br#"{"id":"resp_12"#, &mut |id| found.push(id.to_owned()));
/// collector.push(br#"34","object":"response"}"#, &mut |id| found.push(id.to_owned()));
/// assert_eq!(found, ["resp_1234"]);
/// ```
#[derive(Debug)]
pub struct Collector {
    which: Which,
    place: Place,
    /// The beginning of the string that is passing, or of the last one.
    string: Vec<u8>,
    /// Whether the last string was `id`, and what has passed since.
    key: Key,
    count: usize,
}

/// Which ids are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of things that are kept, by their prefixes.
    Kept,
    /// Also whatever a member `id` has.
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
}

impl Collector {
    /// A collector for one answer.
    pub fn new(which: Which) -> Self {
        let string = Vec::with_capacity(*BYTES.end() + 1);
        Self { which, place: Place::Outside, string, key: Key::Other, count: 0 }
    }

    /// Takes the next bytes; `found` is told of each id.
    pub fn push(&mut self, chunk: &[u8], found: &mut impl FnMut(&str)) {
        let mut rest = chunk;
        while !rest.is_empty() && self.count < COUNT_MAX {
            rest = match self.place {
                Place::Outside => self.outside(rest),
                Place::String => self.inside(rest, found),
                Place::Escape => {
                    self.place = Place::String;
                    rest.get(1..).unwrap_or_default()
                }
            };
        }
    }

    fn outside<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let end = memchr::memchr(b'"', bytes).unwrap_or(bytes.len());
        let (between, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        for byte in between {
            if self.key == Key::Other {
                break;
            }
            self.key = match (self.key, byte) {
                (key, b' ' | b'\t' | b'\r' | b'\n') => key,
                (Key::Id, b':') => Key::Colon,
                _ => Key::Other,
            };
        }
        if !rest.is_empty() {
            self.place = Place::String;
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
        match rest.first() {
            Some(b'"') => self.close(found),
            Some(_) => {
                // No id has an escape: what follows must not look like one.
                self.string.resize(BYTES.end() + 1, b'\\');
                self.place = Place::Escape;
            }
            None => {}
        }
        rest.get(1..).unwrap_or_default()
    }

    fn close(&mut self, found: &mut impl FnMut(&str)) {
        self.place = Place::Outside;
        let any = self.which == Which::Any && self.key == Key::Colon && is_id(&self.string);
        if (any || is_kept(&self.string))
            && let Ok(id) = std::str::from_utf8(&self.string)
        {
            found(id);
            self.count += 1;
        }
        self.key = if self.string == b"id" { Key::Id } else { Key::Other };
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

    #[test]
    fn ids_are_told_from_texts() {
        for id in ["resp_1", "file-abc", "assistant-A9", "thread_abc", "vs_1234", "ftjob-1"] {
            assert!(is_kept(id.as_bytes()), "{id}");
        }
        for text in ["resp_", "response", "msg_123", "call_123", "file-a b", "a resp_123", "gpt-4o"]
        {
            assert!(!is_kept(text.as_bytes()), "{text}");
        }
        assert!(!is_kept(format!("resp_{}", "a".repeat(300)).as_bytes()));
    }

    const ANSWER: &str = r#"{"id" : "made-up-1","output":[{"id":"rs_123","text":"say \"id\":\"resp_9\" resp_8"}],
        "file":"file-77","x":["id","vs_1"],"id":7,"name":"other-id"}"#;

    #[test]
    fn an_answer_tells_its_ids() {
        assert_eq!(collect(Which::Kept, &[ANSWER.as_bytes()]), ["rs_123", "file-77"]);
        assert_eq!(collect(Which::Any, &[ANSWER.as_bytes()]), ["made-up-1", "rs_123", "file-77"]);
        let many = "\"resp_0001\",".repeat(400);
        assert_eq!(collect(Which::Kept, &[many.as_bytes()]).len(), COUNT_MAX);
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(cuts in proptest::collection::vec(0..ANSWER.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, ANSWER.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> =
                cuts.windows(2).map(|pair| &ANSWER.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(collect(Which::Any, &chunks), ["made-up-1", "rs_123", "file-77"]);
        }
    }
}
