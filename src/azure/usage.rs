//! What an answer cost, read from the bytes that pass.
//!
//! Azure reports tokens in a `usage` object: at the top level of an answer that is not streamed (after the
//! content, for embeddings after megabytes of numbers), and at the top level of a stream's last event if the
//! request asked for it. [`Collector`] finds the former while the body passes through, whichever way it is
//! cut: it follows only strings and brackets, remembers only the `usage` object itself, and of that at most
//! 64 KiB. [`of_event`] reads the latter.
//!
//! A number that is missing or odd is `None`: accounting falls back to its estimate, and nothing fails.

use crate::azure::json::run_without;
use serde::Deserialize;

/// The longest `usage` object that is read.
const USAGE_BYTES_MAX: usize = 64 * 1024;

/// The key, as it stands between its quotes.
const KEY: &[u8] = b"usage";

/// Tokens of one answer, as far as Azure told them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt: Option<u64>,
    /// Tokens of the answer, reasoning included; `None` for embeddings.
    pub completion: Option<u64>,
    /// Tokens of the prompt that came from the prompt cache.
    pub cached: Option<u64>,
    /// Tokens of the answer that were spent on reasoning.
    pub reasoning: Option<u64>,
}

/// Finds the usage of an answer that is not streamed, chunk by chunk.
///
/// # Examples
///
/// ```
/// let mut collector = firstlight::azure::usage::Collector::default();
/// collector.push(br#"{"data":[0.1,0.2],"usa"#);
/// collector.push(br#"ge":{"prompt_tokens":8,"total_tokens":8}}"#);
/// assert_eq!(collector.usage().unwrap().prompt, Some(8));
/// ```
#[derive(Debug, Default)]
pub struct Collector {
    place: Place,
    /// Brackets that are open.
    depth: u32,
    /// The beginning of the last string directly inside the outermost object.
    word: Vec<u8>,
    /// What the next value inside the outermost object is.
    next: Next,
    /// The bytes of the `usage` object so far.
    captured: Vec<u8>,
    usage: Option<Usage>,
}

/// Where the last byte left us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    String,
    /// In a string, behind a backslash.
    Escape,
}

/// What a bracket that opens inside the outermost object begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Other,
    Usage,
}

impl Collector {
    /// Takes the next bytes of the body.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let (run, after) = rest.split_at_checked(self.dull_run(rest)).unwrap_or((rest, &[]));
            self.keep(run);
            let Some((&byte, after)) = after.split_first() else { return };
            self.turn(byte);
            rest = after;
        }
    }

    /// The usage, once its object has passed.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// How many bytes can pass without changing where we are.
    fn dull_run(&self, bytes: &[u8]) -> usize {
        let bracket = |byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
        match self.place {
            Place::Escape => 0,
            Place::String => memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len()),
            // Only directly inside the outermost object do keys matter: elsewhere numbers pass unseen.
            Place::Outside if self.depth == 1 => {
                run_without(bytes, |byte| bracket(byte) || matches!(byte, b':' | b','))
            }
            Place::Outside => run_without(bytes, bracket),
        }
    }

    /// Remembers bytes that belong to a word or to the usage object.
    fn keep(&mut self, bytes: &[u8]) {
        if self.capturing() {
            let room = USAGE_BYTES_MAX.saturating_sub(self.captured.len());
            self.captured.extend(bytes.iter().take(room));
        } else if self.depth == 1 && self.place != Place::Outside {
            // One byte more than the key has tells a longer word from it.
            let room = (KEY.len() + 1).saturating_sub(self.word.len());
            self.word.extend(bytes.iter().take(room));
        }
    }

    fn capturing(&self) -> bool {
        !self.captured.is_empty()
    }

    /// Passes a byte that changes where we are.
    fn turn(&mut self, byte: u8) {
        match (self.place, byte) {
            (Place::Escape, _) => {
                self.keep(&[byte]);
                self.place = Place::String;
            }
            (Place::String, b'\\') => {
                self.keep(&[byte]);
                self.place = Place::Escape;
            }
            (Place::String, _) => {
                self.place = Place::Outside;
                self.keep(&[byte]);
            }
            (Place::Outside, b'"') => {
                self.keep(&[byte]);
                self.place = Place::String;
                self.word.clear();
            }
            (Place::Outside, b'{' | b'[') => self.open(byte),
            (Place::Outside, b'}' | b']') => self.close(byte),
            (Place::Outside, _) => {
                self.keep(&[byte]);
                self.next =
                    if byte == b':' && self.word == KEY { Next::Usage } else { Next::Other };
            }
        }
    }

    fn open(&mut self, bracket: u8) {
        if self.depth == 1 && self.next == Next::Usage && bracket == b'{' {
            self.captured.push(bracket);
        } else {
            self.keep(&[bracket]);
        }
        self.next = Next::Other;
        self.depth = self.depth.saturating_add(1);
    }

    fn close(&mut self, bracket: u8) {
        self.keep(&[bracket]);
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 1 && self.capturing() {
            self.usage =
                serde_json::from_slice::<Wire>(&self.captured).ok().map(Usage::from).or(self.usage);
            self.captured.clear();
        }
        self.word.clear();
    }
}

/// The usage in the data of one stream event, if it is the event that carries it.
pub fn of_event(data: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Event {
        usage: Option<Wire>,
    }
    serde_json::from_slice::<Event>(data).ok()?.usage.map(Usage::from)
}

/// The object as Azure writes it.
#[derive(Deserialize)]
struct Wire {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

impl From<Wire> for Usage {
    fn from(wire: Wire) -> Self {
        Self {
            prompt: wire.prompt_tokens,
            completion: wire.completion_tokens,
            cached: wire.prompt_tokens_details.and_then(|details| details.cached_tokens),
            reasoning: wire.completion_tokens_details.and_then(|details| details.reasoning_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Option<Usage>) {
        let mut whole = Collector::default();
        whole.push(body.as_bytes());
        assert_eq!(whole.usage(), expected, "{body}");
        let mut bytewise = Collector::default();
        body.as_bytes().chunks(1).for_each(|byte| bytewise.push(byte));
        assert_eq!(bytewise.usage(), expected, "byte by byte: {body}");
    }

    #[test]
    fn a_chat_answer() {
        let body = r#"{"choices":[{"content_filter_results":{},"finish_reason":"stop","index":0,"message":{"content":"Say \"usage\":{\"prompt_tokens\":1}, \\","role":"assistant"}}],"created":1,"model":"gpt-4o",
            "usage": {"completion_tokens":20,"completion_tokens_details":{"accepted_prediction_tokens":0,"audio_tokens":0,"reasoning_tokens":12},"prompt_tokens":1500,"prompt_tokens_details":{"audio_tokens":0,"cached_tokens":1024},"total_tokens":1520},"system_fingerprint":"fp_1"}"#;
        check(
            body,
            Some(Usage {
                prompt: Some(1500),
                completion: Some(20),
                cached: Some(1024),
                reasoning: Some(12),
            }),
        );
    }

    #[test]
    fn only_the_usage_of_the_whole_answer_counts() {
        check(
            r#"{"choices":[{"usage":{"prompt_tokens":1}}],"a":{"usage":{"prompt_tokens":2}}}"#,
            None,
        );
        check(r#"{"a":"usage","b":{"prompt_tokens":3}}"#, None);
        check(r#"{"usage":null,"x":{"prompt_tokens":3}}"#, None);
        check(r#"{"usages":{"prompt_tokens":3}}"#, None);
        check(r#"["usage",{"prompt_tokens":3}]"#, None);
        check(r#"{"usage":[{"prompt_tokens":3}]}"#, None);
        check(r#"{"usage":{"prompt_tokens":"three"}}"#, None);
        check(r#"{"usage":{"prompt_tokens":3"#, None);
        check("<html>usage:{}</html>", None);
        check("}}}]]]{\"usage\":{}}", Some(Usage::default()));
    }

    #[test]
    fn an_endless_usage_is_not_kept() {
        let mut collector = Collector::default();
        collector.push(b"{\"usage\":{\"prompt_tokens\":1,\"x\":\"");
        (0..100).for_each(|_| collector.push(&[b'x'; 4096]));
        assert!(collector.captured.len() <= USAGE_BYTES_MAX);
        collector.push(b"\"}}");
        assert_eq!(collector.usage(), None);
    }

    #[test]
    fn the_last_event_of_a_stream() {
        let event = br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11},"latency_checkpoint":{"engine_ttft_ms":28}}"#;
        assert_eq!(
            of_event(event),
            Some(Usage { prompt: Some(9), completion: Some(2), ..Usage::default() })
        );
        assert_eq!(of_event(br#"{"choices":[],"usage":null}"#), None);
        assert_eq!(of_event(b"[DONE]"), None);
    }
}
