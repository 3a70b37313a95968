//! Takes the usage out of a stream whose client did not ask for it, where we did.
//!
//! Asked for usage, Azure sends one event more, without choices, before `[DONE]`. A client that did not ask may
//! take it for a broken one (`choices[0]` is what most read first), so it is removed. Every other event passes as it is: in the same
//! bytes, and with the chunk that brought its end. What is held back is the event that has begun and not ended, at most 64 KiB of
//! it: a larger one is no usage, and passes as it comes.

use crate::azure::event::is_empty;
use crate::azure::json::Cursor;
use crate::azure::json::Fault;
use crate::azure::lines::field;
use crate::azure::sse::has_value;
use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use std::borrow::Cow;
use std::ops::Range;

/// The most that is held back of an event.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Removes the event from one stream.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use firstlight::azure::unasked::Unasked;
///
/// let mut unasked = Unasked::default();
/// let chunk = Bytes::from_static(b"data: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n");
/// assert_eq!(unasked.pass(&chunk), "data: [DONE]\n\n");
/// ```
#[derive(Debug)]
pub struct Unasked {
    /// The beginning of an event whose end has not arrived.
    held: BytesMut,
    /// Whether a line has begun.
    is_in_line: bool,
    /// Whether the last byte was a carriage return: a line feed right behind it belongs to it.
    after_return: bool,
    fate: Fate,
    usage: Finder<'static>,
}

/// What becomes of the event that we are in, or of the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    /// It is held until it ends, and passed on then.
    #[default]
    Held,
    /// It is too large to be held.
    Passing,
    /// It was the usage.
    Removed,
}

impl Default for Unasked {
    fn default() -> Self {
        Self {
            held: BytesMut::new(),
            is_in_line: false,
            after_return: false,
            fate: Fate::default(),
            usage: Finder::new(b"\"usage\""),
        }
    }
}

impl Unasked {
    /// Takes a chunk, and returns what goes on now.
    pub fn pass(&mut self, chunk: &Bytes) -> Bytes {
        let mut out = Out { chunk, before: BytesMut::new(), run: 0..0 };
        let mut begin = 0;
        let between_events = self.held.is_empty() && self.fate != Fate::Passing;
        if between_events && self.after_return && chunk.first() == Some(&b'\n') {
            // It belongs to the event before.
            begin = 1;
            if self.fate != Fate::Removed {
                out.push(0..begin);
            }
            self.after_return = false;
        }
        while let Some(end) = self.event_end(chunk, begin) {
            self.end_event(begin..end, &mut out);
            begin = end;
        }
        self.hold(begin..chunk.len(), &mut out);
        out.finish()
    }

    /// The stream has ended: what was held goes on.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }

    /// Where the event ends that goes on at `at`, if it ends in this chunk.
    fn event_end(&mut self, chunk: &[u8], mut at: usize) -> Option<usize> {
        loop {
            let rest = chunk.get(at..)?;
            let next = rest.first()?;
            if std::mem::take(&mut self.after_return) && *next == b'\n' {
                at += 1;
                continue;
            }
            let Some(length) = memchr::memchr2(b'\r', b'\n', rest) else {
                self.is_in_line = true;
                return None;
            };
            let is_blank = length == 0 && !self.is_in_line;
            self.is_in_line = false;
            at += length + 1;
            if rest.get(length) == Some(&b'\r') {
                self.after_return = at == chunk.len();
                at += usize::from(chunk.get(at) == Some(&b'\n'));
            }
            if is_blank {
                return Some(at);
            }
        }
    }

    /// An event ends with this part of the chunk.
    fn end_event(&mut self, part: Range<usize>, out: &mut Out<'_>) {
        let last = out.chunk.get(part.clone()).unwrap_or_default();
        let whole = if self.held.is_empty() {
            Cow::Borrowed(last)
        } else {
            Cow::Owned([&self.held, last].concat())
        };
        let has_usage = || has_value(&self.usage, &whole, |value| value.starts_with(b"{"));
        if self.fate != Fate::Passing && has_usage() && is_usage(&whole) {
            self.held.clear();
            self.fate = Fate::Removed;
        } else {
            out.push_held(&mut self.held);
            out.push(part);
            self.fate = Fate::Held;
        }
    }

    /// The chunk ends with the beginning of an event, or with more of it.
    fn hold(&mut self, part: Range<usize>, out: &mut Out<'_>) {
        let rest = out.chunk.get(part.clone()).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        if self.fate == Fate::Passing || self.held.len() + rest.len() > HELD_BYTES_MAX {
            self.fate = Fate::Passing;
            out.push_held(&mut self.held);
            out.push(part);
        } else {
            self.fate = Fate::Held;
            self.held.extend_from_slice(rest);
        }
    }
}

/// What goes on of a chunk: a part of the very same bytes, where it can be.
struct Out<'a> {
    chunk: &'a Bytes,
    /// What comes before `run`, if that is not all.
    before: BytesMut,
    /// The last part of the chunk.
    run: Range<usize>,
}

impl Out<'_> {
    fn push(&mut self, part: Range<usize>) {
        if self.run.end == part.start {
            self.run.end = part.end;
            return;
        }
        self.flush();
        self.run = part;
    }

    fn push_held(&mut self, held: &mut BytesMut) {
        if held.is_empty() {
            return;
        }
        self.flush();
        self.before.unsplit(std::mem::take(held));
    }

    fn flush(&mut self) {
        let run = std::mem::replace(&mut self.run, 0..0);
        self.before.extend_from_slice(self.chunk.get(run).unwrap_or_default());
    }

    fn finish(mut self) -> Bytes {
        if self.before.is_empty() {
            return self.chunk.slice(self.run);
        }
        self.flush();
        self.before.freeze()
    }
}

/// Whether an event is the one with the usage: no choices, and a usage.
fn is_usage(event: &[u8]) -> bool {
    let mut data = Cow::Borrowed(&b""[..]);
    for line in event.split(|byte| matches!(byte, b'\r' | b'\n')) {
        match field(line) {
            (b"data", value) if data.is_empty() => data = Cow::Borrowed(value),
            (b"data", value) => {
                let all = data.to_mut();
                all.push(b'\n');
                all.extend_from_slice(value);
            }
            _ => {}
        }
    }
    let (mut no_choices, mut usage, mut error) = (false, false, false);
    let mut cursor = Cursor::new(&data);
    let read = cursor.object(|cursor, key| {
        let value = cursor.raw_value()?;
        match key.raw() {
            b"choices" => no_choices = value.starts_with(b"[") && is_empty(value),
            b"usage" => usage = value.starts_with(b"{"),
            b"error" => error = value != b"null",
            _ => {}
        }
        Ok::<(), Fault>(())
    });
    read.is_ok() && no_choices && usage && !error
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = r#"data: {"choices":[{"delta":{"content":"\"usage\":{}"}}],"usage":null}"#;
    const FILTER: &str = r#"data: {"choices":[],"prompt_filter_results":[{"usage":{}}]}"#;
    const USAGE: &str =
        r#"data: {"choices":[ ],"usage":{"prompt_tokens":9},"latency_checkpoint":{}}"#;
    const WITH_CHOICES: &str = r#"data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":9}}"#;
    const ERROR: &str = r#"data: {"choices":[],"usage":{},"error":{"code":"x"}}"#;
    const DONE: &str = "data: [DONE]";

    fn pass(chunks: &[&[u8]]) -> Vec<u8> {
        let mut unasked = Unasked::default();
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend(unasked.pass(&Bytes::copy_from_slice(chunk)));
        }
        out.extend(unasked.finish());
        out
    }

    /// The same however it is cut.
    fn check(text: &str, expected: &str) {
        let bytes = text.as_bytes();
        assert_eq!(String::from_utf8(pass(&[bytes])).unwrap(), expected);
        for size in 1..=text.len().min(200) {
            let out = pass(&bytes.chunks(size).collect::<Vec<_>>());
            assert_eq!(String::from_utf8(out).unwrap(), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn only_the_usage_is_removed() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = |lines: &[&str]| {
                lines.iter().flat_map(|line| [*line, end, end]).collect::<String>()
            };
            let others = [FILTER, TOKEN, WITH_CHOICES, ERROR, ": comment", TOKEN, DONE];
            check(&stream(&others), &stream(&others));
            let all = [FILTER, TOKEN, USAGE, WITH_CHOICES, ERROR, USAGE, USAGE, DONE];
            check(&stream(&all), &stream(&[FILTER, TOKEN, WITH_CHOICES, ERROR, DONE]));
            let split = USAGE.replace(",\"", &format!(",{end}data: \""));
            check(&stream(&[TOKEN, &split, DONE]), &stream(&[TOKEN, DONE]));
        }
    }

    #[test]
    fn an_event_that_does_not_end_is_not_lost() {
        check(USAGE, USAGE);
        check("data: {\"cho", "data: {\"cho");
        check(&format!("{USAGE}\n"), &format!("{USAGE}\n"));
        // As when the upstream breaks off in the middle.
        let (half, _) = USAGE.split_at(30);
        let cut = format!("{TOKEN}\n\n{half}\n\nevent: error\ndata: {{\"error\":{{}}}}\n\n");
        check(&cut, &cut);
    }

    #[test]
    fn whole_events_pass_at_once_and_uncopied() {
        let mut unasked = Unasked::default();
        let chunk = Bytes::from(format!("{TOKEN}\n\n{TOKEN}\n\n"));
        let out = unasked.pass(&chunk);
        assert_eq!((out.as_ptr(), out.len()), (chunk.as_ptr(), chunk.len()));
        let half = Bytes::from_static(b"data: {");
        assert_eq!(unasked.pass(&half), "");
        assert_eq!(unasked.pass(&Bytes::from_static(b"}\n\ndata")), "data: {}\n\n");
        assert_eq!(unasked.finish(), "data");
    }

    #[test]
    fn a_large_event_is_not_held() {
        let mut unasked = Unasked::default();
        let begin = Bytes::from_static(b"data: {\"x\":\"");
        let more = Bytes::from("y".repeat(HELD_BYTES_MAX));
        assert_eq!(unasked.pass(&begin), "");
        assert_eq!(unasked.pass(&more).len(), begin.len() + more.len());
        assert_eq!(unasked.pass(&more), more);
        let end = Bytes::from(format!("\"}}\n\n{USAGE}\n\n{DONE}\n\n"));
        assert_eq!(unasked.pass(&end), format!("\"}}\n\n{DONE}\n\n"));
        assert_eq!(unasked.finish(), "");
    }
}
