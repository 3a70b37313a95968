//! Watching a stream of server-sent events pass, without holding it up.
//!
//! The scanner sees every chunk that is relayed and answers four questions: has the model said its first
//! token, how much content has passed, has the stream failed, is the response whole. It splits chunks into lines and events as the WHATWG standard
//! says (CR, LF or CRLF; a byte order mark; comments; `data` over several lines), so its answer does not
//! depend on how the network cut the bytes.
//!
//! Cost: no chunk allocates once the two buffers have grown to the size of an event. Up to the first token
//! each event is read as JSON; after it, only the words that an event with content, usage or an error must
//! contain are looked for. Streams whose events say their type are read as JSON throughout. Memory: at most 64 KiB for a line and
//! 64 KiB for an event. A larger event is known by its beginning. Where events say their type that tells all: the
//! first event of a response repeats its instructions and tools, however large, and is no token. Elsewhere a larger event before
//! the first token counts as content, because nothing but content is that large, and timing it is better than
//! calling a working stream dead.
//!
//! What an event means is read in `event` and `typed`; what becomes of the request is the proxy's business.

use crate::azure::ending::{Choices, Ending, Mark, bit, number};
use crate::azure::event;
use crate::azure::event::Said;
pub use crate::azure::event::StreamError;
use crate::azure::kind::{Kind, Name};
use crate::azure::lines::{Data, KEPT_BYTES_MAX, Lines, Size, field};
use crate::azure::route::Operation;
use crate::azure::typed;
use crate::azure::usage;
use crate::azure::usage::Usage;
use memchr::memmem::Finder;

/// What is known of a stream after a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether the first token has passed, in this chunk or before.
    pub first_token: bool,
    /// If it was in this chunk: how many bytes of the chunk there are up to the end of its event.
    pub first_token_end: Option<usize>,
    /// The first error event, in this chunk or before. With `first_token` false nothing came before it.
    pub error: Option<StreamError>,
    /// Whether the event that ends a complete stream has passed: `[DONE]`, or `response.completed` and its like.
    pub done: bool,
    /// How many events with content have passed from the first token on, in this chunk and before. Most hold
    /// one token.
    pub content_events: u32,
}

/// Watches one stream.
///
/// # Examples
///
/// ```
/// use firstlight::azure::{route::Operation, sse::Scanner};
///
/// let mut scanner = Scanner::new(Operation::ChatCompletions);
/// assert!(!scanner.scan(b"data: {\"choices\":[{\"delta\":{\"content\":\"H").first_token);
/// assert!(scanner.scan(b"i\"}}]}\n\n").first_token);
/// assert!(scanner.scan(b"data: [DONE]\n\n").done);
/// ```
#[derive(Debug)]
pub struct Scanner {
    operation: Operation,
    lines: Lines,
    data: Data,
    /// What the `event` field says.
    name: Name,
    seen: Seen,
    ending: Ending,
    choices: Choices,
    /// Whether a finish reason has passed.
    finished: bool,
    usage: Option<Usage>,
    needles: Needles,
}

impl Scanner {
    /// A scanner for the answer to `operation`.
    pub fn new(operation: Operation) -> Self {
        Self {
            operation,
            lines: Lines::default(),
            data: Data::default(),
            name: Name::default(),
            seen: Seen::default(),
            ending: Ending::default(),
            choices: Choices::default(),
            finished: false,
            usage: None,
            needles: Needles::new(operation),
        }
    }

    /// Takes the next bytes of the stream.
    pub fn scan(&mut self, chunk: &[u8]) -> Seen {
        self.seen.first_token_end = None;
        let mut rest = self.lines.skip_line_feed(chunk);
        while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
            let (line, after) = rest.split_at_checked(end).unwrap_or_default();
            let (ended_by, after) =
                after.split_first().map_or((b'\n', after), |(byte, after)| (*byte, after));
            self.line(line, chunk.len() - after.len());
            self.lines.after_carriage_return = ended_by == b'\r';
            rest = self.lines.skip_line_feed(after);
        }
        self.lines.keep(rest, &mut self.data);
        self.seen
    }

    /// Says that the stream has ended: an event whose last line was not ended counts too.
    pub fn finish(&mut self) -> Seen {
        self.seen.first_token_end = None;
        self.line(b"", 0);
        self.line(b"", 0);
        self.seen.first_token_end = None;
        self.seen
    }

    /// The usage event of the stream, if one has passed.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// What is known after the last chunk.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// How far the response has come.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// Whether a choice has ended with a finish reason: then a stream without content is an empty answer, not
    /// a broken one. Only looked for up to the first token.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// Takes the end of a line; `end` is where its event would end in the chunk.
    fn line(&mut self, last: &[u8], end: usize) {
        // A line is cut where keeping stops, also one that passes in one piece.
        if self.lines.is_begun() || last.len() > KEPT_BYTES_MAX {
            self.lines.keep(last, &mut self.data);
        }
        let (kept, long) = self.lines.take();
        let is_cut = kept.len() > KEPT_BYTES_MAX;
        let line = self.lines.past_mark(if kept.is_empty() { last } else { &kept });
        match field(line) {
            _ if line.is_empty() => self.event(end),
            (b"data", value) if is_cut => self.data.push_large_line(value, long),
            (b"data", value) => self.data.push_line(value),
            (b"event", value) => self.name = Name::of(value),
            _ => {}
        }
        self.lines.give_back(kept);
    }

    /// Takes the end of an event that ends at `end` in the chunk.
    fn event(&mut self, end: usize) {
        let name = std::mem::take(&mut self.name);
        let said = match self.data.size {
            Size::None => Said::Nothing,
            Size::Kept => self.read(name),
            Size::TooLarge => self.read_large(name),
        };
        self.data.clear();
        match said {
            Said::Nothing => {}
            Said::Finish => self.finished = true,
            Said::Error(error) => {
                self.seen.error = self.seen.error.or(Some(error));
                self.ending = self.ending.failed(error);
            }
            Said::Content if self.seen.first_token => self.count(),
            // What comes after an error is no answer.
            Said::Content if self.seen.error.is_some() => {}
            Said::Content => {
                self.seen.first_token = true;
                self.seen.first_token_end = Some(end);
                self.count();
            }
        }
    }

    fn read(&mut self, name: Name) -> Said {
        let data = self.data.bytes();
        if data.trim_ascii() == b"[DONE]" {
            self.seen.done = true;
            self.ending = self.ending.after(Mark::Last);
            return Said::Nothing;
        }
        if self.needles.carries_usage(data) {
            self.usage = usage::of_event(data).or(self.usage);
        }
        if typed::is_typed(self.operation) {
            return self.read_typed(name);
        }
        // This runs on every chunk of every stream: once the first token has passed, only errors and ends matter.
        let plain = self.settled()
            && name.kind != Kind::Error
            && self.needles.error.find(data).is_none()
            && !self.needles.turns(data, &self.choices);
        if plain {
            let content = self.seen.first_token && self.needles.carries_content(data);
            return if content { Said::Content } else { Said::Nothing };
        }
        let (said, choices) = event::read(self.operation, name.kind, data);
        if let Some(choices) = choices {
            self.choices.merge(choices, self.needles.indices(data));
            self.ending = self.ending.after(self.choices.mark());
        }
        said
    }

    /// Reads an event of which only the beginning is there.
    fn read_large(&mut self, name: Name) -> Said {
        self.usage = self.data.usage().or(self.usage);
        if typed::is_typed(self.operation) {
            self.read_typed(name)
        } else if name.kind == Kind::Error {
            Said::Error(StreamError::Error)
        } else {
            self.ending = self.ending.after(Mark::Going);
            Said::Content
        }
    }

    fn read_typed(&mut self, name: Name) -> Said {
        let (said, is_last, mark) = typed::read(name, self.data.bytes(), self.data.size);
        self.seen.done |= is_last;
        self.ending = self.ending.after(mark);
        said
    }

    fn count(&mut self) {
        self.seen.content_events = self.seen.content_events.saturating_add(1);
    }

    /// Whether it is known how the stream began.
    fn settled(&self) -> bool {
        self.seen.first_token || self.seen.error.is_some()
    }
}

/// Words to look for in data that is not read as JSON. In a text their quotes are escaped.
#[derive(Debug)]
struct Needles {
    usage: Finder<'static>,
    error: Finder<'static>,
    content: Finder<'static>,
    finish: Finder<'static>,
    index: Finder<'static>,
}

impl Needles {
    fn new(operation: Operation) -> Self {
        let content = if operation == Operation::Completions { "\"text\"" } else { "\"delta\"" };
        Self {
            usage: Finder::new(b"\"usage\""),
            error: Finder::new(b"\"error\""),
            content: Finder::new(content),
            finish: Finder::new(b"\"finish_reason\""),
            index: Finder::new(b"\"index\""),
        }
    }

    /// Whether a usage object may be in there: most events of a stream say `"usage":null`.
    fn carries_usage(&self, data: &[u8]) -> bool {
        has_value(&self.usage, data, |value| value.starts_with(b"{"))
    }

    /// Whether a choice may begin or finish in there.
    fn turns(&self, data: &[u8], choices: &Choices) -> bool {
        has_value(&self.finish, data, |value| value.starts_with(b"\""))
            || choices.may_begin(self.indices(data))
    }

    /// All that an `index` in there says, as bits.
    fn indices(&self, data: &[u8]) -> u128 {
        values(&self.index, data).filter_map(number).fold(0, |all, index| all | bit(index))
    }

    /// Whether there seems to be content in there: the last delta, that of the finish reason, is empty.
    fn carries_content(&self, data: &[u8]) -> bool {
        has_value(&self.content, data, |value| match value {
            [b'{', next, ..] => *next != b'}',
            [b'"', next, ..] => *next != b'"',
            _ => false,
        })
    }
}

/// Whether the data has a member of this name and such a value, which is shown with all that follows.
pub(super) fn has_value(name: &Finder<'_>, data: &[u8], is_such: impl Fn(&[u8]) -> bool) -> bool {
    values(name, data).any(is_such)
}

/// The values of the members of this name, each with all that follows.
fn values<'a>(name: &Finder<'_>, data: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    name.find_iter(data).filter_map(move |at| {
        let behind = data.get(at + name.needle().len()..).unwrap_or_default();
        let value = behind.trim_ascii_start().strip_prefix(b":")?;
        Some(value.trim_ascii_start())
    })
}

/// Whether an answer says that it is an event stream.
pub fn is_event_stream(headers: &http::HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE);
    kind.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTER: &str = r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}"#;
    const ROLE: &str = r#"{"choices":[{"delta":{"content":"","refusal":null,"role":"assistant"},"finish_reason":null,"index":0}],"id":"chatcmpl-1","object":"chat.completion.chunk","obfuscation":"aB3","usage":null}"#;
    const TOKEN: &str = r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":null,"index":0}],"id":"chatcmpl-1","object":"chat.completion.chunk","obfuscation":"x","service_tier":"default","usage":null}"#;
    const STOP: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop","index":0}],"id":"chatcmpl-1","usage":null}"#;
    const USAGE: &str = r#"{"choices":[],"id":"chatcmpl-1","usage":{"completion_tokens":1,"prompt_tokens":9,"total_tokens":10},"latency_checkpoint":{"engine_ttft_ms":28}}"#;

    fn stream(events: &[&str]) -> String {
        events.iter().flat_map(|data| ["data: ", data, "\n\n"]).collect()
    }

    fn scan(text: &[u8]) -> Scanner {
        let mut scanner = Scanner::new(Operation::ChatCompletions);
        scanner.scan(text);
        scanner
    }

    fn check(text: &[u8], first_token_end: Option<usize>) {
        let seen = scan(text).seen;
        assert_eq!(
            (seen.first_token, seen.first_token_end),
            (first_token_end.is_some(), first_token_end)
        );
    }

    #[test]
    fn a_chat_stream() {
        let before = stream(&[FILTER, ROLE]);
        let token = stream(&[TOKEN]);
        let mut scanner = Scanner::new(Operation::ChatCompletions);
        assert_eq!(scanner.scan(before.as_bytes()), Seen::default());
        let first = Seen {
            first_token: true,
            first_token_end: Some(token.len()),
            content_events: 2,
            ..Seen::default()
        };
        assert_eq!(scanner.scan((token + &stream(&[TOKEN])).as_bytes()), first);
        let later = Seen { first_token_end: None, ..first };
        assert_eq!(scanner.scan(stream(&[STOP, USAGE]).as_bytes()), later);
        assert_eq!(scanner.scan(b"data: [DONE]\n\n"), Seen { done: true, ..later });
        assert_eq!(scanner.usage().unwrap().prompt, Some(9));
    }

    #[test]
    fn content_is_counted_from_the_first_token_on() {
        const ANNOTATION: &str = r#"{"choices":[{"content_filter_offsets":{"check_offset":44},"content_filter_results":{},"finish_reason":null,"index":0}],"id":""}"#;
        let check = |operation, events: &[&str], expected: u32| {
            let mut scanner = Scanner::new(operation);
            let seen = scanner.scan(stream(events).as_bytes());
            assert_eq!(seen.content_events, expected, "{events:?}");
        };
        let chat = Operation::ChatCompletions;
        check(chat, &[FILTER, ROLE], 0);
        check(chat, &[FILTER, ROLE, TOKEN], 1);
        check(chat, &[TOKEN, TOKEN, ANNOTATION, TOKEN, STOP, USAGE, "[DONE]"], 3);
        let spaced = TOKEN.replace(':', " : ");
        let quoting = ANNOTATION.replace("null", r#""\"delta\":{\"x\"""#);
        check(chat, &[TOKEN, &spaced, &quoting], 2);
        check(chat, &[TOKEN, &TOKEN.replace("Hi", r#"\"error\""#)], 2);
        check(chat, &[r#"{"error":{}}"#, TOKEN, TOKEN], 0);
        let words = ["", "Hi", " ", "", "\\n"]
            .map(|text| format!(r#"{{"choices":[{{"text":"{text}"}}]}}"#));
        check(Operation::Completions, &words.each_ref().map(String::as_str), 3);
    }

    #[test]
    fn a_stream_without_content_is_told_from_a_broken_one() {
        assert!(scan(stream(&[FILTER, ROLE, STOP, USAGE, "[DONE]"]).as_bytes()).finished());
        assert!(!scan(stream(&[FILTER, ROLE]).as_bytes()).finished());
    }

    #[test]
    fn lines_end_as_the_standard_says() {
        for end in ["\n", "\r", "\r\n"] {
            let event = format!("data: {TOKEN}{end}{end}");
            // A line feed that belongs to a carriage return is not waited for.
            check(event.as_bytes(), Some(event.len() - (end.len() - 1)));
        }
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        let all = |text: &str| Some(text.len());
        for text in [
            format!("\u{feff}data:{TOKEN}\n\n"),
            format!(": comment\nid: 1\nevent: message\nretry: 3\ndata: {TOKEN}\n\n"),
            format!("data: {}\n\n", TOKEN.replacen(',', ",\ndata:", 3)),
            format!("data\ndata: {TOKEN}\ndata\n\n"),
            format!("\n\n\ndata: {TOKEN}\n\n"),
        ] {
            check(text.as_bytes(), all(&text));
        }
        for text in [
            format!("data: {TOKEN}\n"),
            format!(":data: {TOKEN}\n\n"),
            format!("\n\u{feff}data: {TOKEN}\n\n"),
            format!("Data: {TOKEN}\n\n"),
            format!(" data: {TOKEN}\n\n"),
            format!("data: {}\n\n", TOKEN.replacen("Hi", "H\ndata:i", 1)),
        ] {
            check(text.as_bytes(), None);
        }
    }

    #[test]
    fn errors_are_seen_before_and_after_content() {
        let limited = r#"{"error":{"code":"429","message":"exceeded token rate limit"}}"#;
        let seen = scan(stream(&[FILTER, limited, TOKEN]).as_bytes()).seen;
        assert_eq!((seen.first_token, seen.error), (false, Some(StreamError::RateLimited)));
        let seen =
            scan(format!("{}event: error\ndata: {{}}\n\n", stream(&[TOKEN])).as_bytes()).seen;
        assert_eq!((seen.first_token, seen.error), (true, Some(StreamError::Error)));
        let seen = scan(format!("event: error\n\n{}", stream(&[TOKEN])).as_bytes()).seen;
        assert_eq!((seen.first_token, seen.error), (true, None));
    }

    #[test]
    fn words_in_the_text_are_not_events() {
        let text =
            TOKEN.replace("Hi", r#"\"usage\":{\"prompt_tokens\":1},\"error\":{}, data: [DONE]"#);
        let scanner = scan(stream(&[TOKEN, &text]).as_bytes());
        assert_eq!((scanner.usage(), scanner.seen.error, scanner.seen.done), (None, None, false));
    }

    #[test]
    fn the_end_of_the_stream_ends_the_last_event() {
        let mut scanner = scan(b"data: {\"error\":{}}");
        assert_eq!(scanner.seen.error, None);
        assert_eq!(scanner.finish().error, Some(StreamError::Error));
    }

    #[test]
    fn what_is_too_large_is_content_and_is_not_kept() {
        let large = format!("data: {}\n\n", "x".repeat(KEPT_BYTES_MAX));
        let many = "data: x\n".repeat(KEPT_BYTES_MAX) + "\n";
        let comment = format!(": {}\n\n", "x".repeat(2 * KEPT_BYTES_MAX));
        for (text, first_token) in [(large, true), (many, true), (comment, false)] {
            let mut scanner = Scanner::new(Operation::ChatCompletions);
            for chunk in text.as_bytes().chunks(1_000) {
                scanner.scan(chunk);
                let kept = scanner.lines.capacity() + scanner.data.capacity();
                assert!(kept <= 4 * (KEPT_BYTES_MAX + 1), "{kept}");
            }
            assert_eq!(scanner.seen.first_token, first_token);
            assert_eq!(scan(text.as_bytes()).seen.first_token, first_token);
        }
    }
}
