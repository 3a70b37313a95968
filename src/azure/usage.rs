//! What an answer cost, read from the bytes that pass.
//!
//! Azure reports tokens in a `usage` object: at the top level of an answer that is not streamed (after the
//! content, for embeddings and pictures after megabytes of it), and in a stream's last event: at its top level (in chat only if the
//! request asked for it), for responses in the `response` in it. [`Collector`] finds it while a body passes through, whichever way it is
//! cut: it follows only strings and brackets, remembers only the `usage` object itself, and of that at most
//! 64 KiB. [`of_event`] reads it in an event that is there whole.
//!
//! Older operations say `prompt_tokens` and `completion_tokens`, newer ones `input_tokens` and `output_tokens`;
//! a transcription may be billed by the length of its audio instead.
//!
//! A number that is missing or odd is `None`: accounting falls back to its estimate, and nothing fails.

use crate::azure::json::equal;
use crate::azure::json::run_before;
use serde::Deserialize;
use std::time::Duration;

/// The longest `usage` object that is read.
const USAGE_BYTES_MAX: usize = 64 * 1024;

/// The keys, as they stand between their quotes.
const KEY: &[u8] = b"usage";
const RESPONSE: &[u8] = b"response";

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
    /// The length of the audio, where that is billed in the place of tokens.
    pub audio: Option<Duration>,
}

impl Usage {
    /// Whether it tells nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
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
    /// Whether a `response` in the outermost object is looked into.
    looks_into: bool,
    /// Whether we are in it.
    is_inside: bool,
    /// The beginning of the last string directly inside the object whose keys matter.
    word: Vec<u8>,
    /// What the next value in there is.
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

/// What a bracket begins that opens where keys matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Other,
    Usage,
    Response,
}

impl Collector {
    /// One for an event of a stream: there the usage may be that of the `response`.
    pub(super) fn of_event() -> Self {
        Self { looks_into: true, ..Self::default() }
    }

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
        let quote_or_bracket = |word| {
            let brackets =
                equal(word, b'{') | equal(word, b'}') | equal(word, b'[') | equal(word, b']');
            brackets | equal(word, b'"')
        };
        match self.place {
            Place::Escape => 0,
            Place::String => memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len()),
            // Elsewhere numbers pass unseen.
            Place::Outside if self.keys_matter() => run_before(bytes, |word| {
                quote_or_bracket(word) | equal(word, b':') | equal(word, b',')
            }),
            Place::Outside => run_before(bytes, quote_or_bracket),
        }
    }

    /// Remembers bytes that belong to a word or to the usage object.
    fn keep(&mut self, bytes: &[u8]) {
        if self.capturing() {
            let room = USAGE_BYTES_MAX.saturating_sub(self.captured.len());
            self.captured.extend(bytes.iter().take(room));
        } else if self.keys_matter() && self.place != Place::Outside {
            // One byte more than the longest key has tells a longer word from it.
            let room = (RESPONSE.len() + 1).saturating_sub(self.word.len());
            self.word.extend(bytes.iter().take(room));
        }
    }

    /// Directly inside the outermost object, and inside its `response`, they do.
    fn keys_matter(&self) -> bool {
        self.depth == 1 || (self.is_inside && self.depth == 2)
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
                self.next = match self.word.as_slice() {
                    KEY if byte == b':' => Next::Usage,
                    RESPONSE if byte == b':' && self.looks_into => Next::Response,
                    _ => Next::Other,
                };
            }
        }
    }

    fn open(&mut self, bracket: u8) {
        match (self.next, bracket) {
            _ if self.capturing() || !self.keys_matter() => self.keep(&[bracket]),
            (Next::Usage, b'{') => self.captured.push(bracket),
            (Next::Response, b'{') if self.depth == 1 => self.is_inside = true,
            _ => {}
        }
        self.next = Next::Other;
        self.depth = self.depth.saturating_add(1);
    }

    fn close(&mut self, bracket: u8) {
        self.keep(&[bracket]);
        self.depth = self.depth.saturating_sub(1);
        self.is_inside &= self.depth > 1;
        if self.keys_matter() && self.capturing() {
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
        response: Option<Response>,
    }
    #[derive(Deserialize)]
    struct Response {
        usage: Option<Wire>,
    }
    let Event { usage, response } = serde_json::from_slice(data).ok()?;
    usage.or_else(|| response?.usage).map(Usage::from)
}

/// The object as Azure writes it, by its older and its newer names.
#[derive(Deserialize)]
struct Wire {
    prompt_tokens: Option<u64>,
    input_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    output_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
    input_tokens_details: Option<Details>,
    completion_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
    /// Of audio.
    seconds: Option<f64>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

impl From<Wire> for Usage {
    fn from(wire: Wire) -> Self {
        let input = wire.prompt_tokens_details.or(wire.input_tokens_details);
        let output = wire.completion_tokens_details.or(wire.output_tokens_details);
        Self {
            prompt: wire.prompt_tokens.or(wire.input_tokens),
            completion: wire.completion_tokens.or(wire.output_tokens),
            cached: input.and_then(|details| details.cached_tokens),
            reasoning: output.and_then(|details| details.reasoning_tokens),
            audio: wire.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
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
                audio: None,
            }),
        );
    }

    #[test]
    fn every_operation_has_its_names() {
        let check_one = |usage: &str, expected: Usage| {
            check(&format!(r#"{{"object":"x","usage":{usage}}}"#), Some(expected));
            assert_eq!(of_event(format!(r#"{{"usage":{usage}}}"#).as_bytes()), Some(expected));
        };
        let (prompt, completion) = (Some(36), Some(87));
        // A response.
        check_one(
            r#"{"input_tokens":36,"input_tokens_details":{"cached_tokens":5},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":7},"total_tokens":123}"#,
            Usage { prompt, completion, cached: Some(5), reasoning: Some(7), audio: None },
        );
        // A picture.
        check_one(
            r#"{"input_tokens":36,"input_tokens_details":{"image_tokens":0,"text_tokens":36},"output_tokens":87,"total_tokens":123}"#,
            Usage { prompt, completion, ..Usage::default() },
        );
        // A transcription, by tokens and by time.
        check_one(
            r#"{"type":"tokens","input_tokens":36,"input_token_details":{"audio_tokens":36,"text_tokens":0},"output_tokens":87}"#,
            Usage { prompt, completion, ..Usage::default() },
        );
        let audio = Some(Duration::from_millis(9_500));
        check_one(r#"{"type":"duration","seconds":9.5}"#, Usage { audio, ..Usage::default() });
        check_one(r#"{"type":"duration","seconds":-1}"#, Usage::default());
        // A run of an assistant, and somebody who says it twice.
        check_one(
            r#"{"prompt_tokens":36,"completion_tokens":87,"prompt_token_details":{"cached_tokens":0}}"#,
            Usage { prompt, completion, ..Usage::default() },
        );
        check_one(
            r#"{"prompt_tokens":36,"input_tokens":36,"completion_tokens":87,"output_tokens":87}"#,
            Usage { prompt, completion, ..Usage::default() },
        );
    }

    #[test]
    fn in_an_event_the_response_may_have_it() {
        let of = |data: &str| {
            let mut collector = Collector::of_event();
            data.as_bytes().chunks(3).for_each(|chunk| collector.push(chunk));
            assert_eq!(of_event(data.as_bytes()), collector.usage(), "{data}");
            let mut plain = Collector::default();
            plain.push(data.as_bytes());
            (collector.usage().and_then(|usage| usage.prompt), plain.usage().is_some())
        };
        let told = r#"{"input_tokens":7,"output_tokens_details":{"usage":{}}}"#;
        let response =
            |inner: &str| format!(r#"{{"type":"response.completed","response":{inner}}}"#);
        assert_eq!(
            of(&response(&format!(r#"{{"id":"r","usage":{told},"user":null}}"#))),
            (Some(7), false)
        );
        assert_eq!(
            of(&response(&format!(r#"{{"tools":[{{"usage":{told}}}],"usage":null}}"#))),
            (None, false)
        );
        assert_eq!(
            of(&response(&format!(r#"{{"text":{{"usage":{told}}}}},"part":{{"usage":{told}}}"#))),
            (None, false)
        );
        assert_eq!(
            of(&format!(r#"{{"responses":{{"usage":{told}}},"usage":{told}}}"#)),
            (Some(7), true)
        );
    }

    #[test]
    fn a_picture_of_megabytes_passes() {
        let mut collector = Collector::default();
        collector.push(br#"{"created":1,"data":[{"b64_json":""#);
        (0..1_000).for_each(|_| collector.push(&[b'A'; 4_096]));
        assert!(collector.captured.capacity() + collector.word.capacity() < 64);
        collector.push(br#""}],"usage":{"input_tokens":3,"output_tokens":4160}}"#);
        assert_eq!(collector.usage().unwrap().completion, Some(4_160));
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
