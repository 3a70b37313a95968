//! Cutting a stream of server-sent events into its lines, and the data of one event.
//!
//! Memory: at most 64 KiB of a line and 64 KiB of an event are kept. What an event has beyond that only passes
//! a [`Collector`]: the events that end a response or a picture are large, and carry the usage.

use crate::azure::usage::Collector;
use crate::azure::usage::Usage;

/// The most that is kept of a line, and of the data of one event.
pub(super) const KEPT_BYTES_MAX: usize = 64 * 1024;

/// The lines of a stream, across chunks.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of a line whose end has not arrived; one byte more than is kept tells that it is longer.
    begun: Vec<u8>,
    long: Long,
    /// Whether the last byte was a carriage return: a line feed right behind it belongs to it.
    pub(super) after_carriage_return: bool,
    /// Whether the first line has passed: only that may begin with a byte order mark.
    past_first: bool,
}

/// Whether the line is longer than what is kept, and what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Long {
    #[default]
    No,
    /// A line of data: the rest of it is followed.
    Data,
    /// Any other: nobody needs the rest.
    Other,
}

impl Lines {
    pub(super) fn skip_line_feed<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if !self.after_carriage_return || bytes.is_empty() {
            return bytes;
        }
        self.after_carriage_return = false;
        bytes.strip_prefix(b"\n").unwrap_or(bytes)
    }

    /// Whether a line has begun whose end has not arrived.
    pub(super) fn is_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Takes a part of a line. What is beyond the part that is kept goes to `data`, if it is data.
    pub(super) fn keep(&mut self, bytes: &[u8], data: &mut Data) {
        let room = (KEPT_BYTES_MAX + 1).saturating_sub(self.begun.len());
        let (kept, beyond) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        self.begun.extend_from_slice(kept);
        if beyond.is_empty() {
            return;
        }
        if self.long == Long::No {
            let begun = if self.past_first { &self.begun } else { without_mark(&self.begun) };
            self.long = match field(begun) {
                (b"data", value) => {
                    data.begin_large_line(value);
                    Long::Data
                }
                _ => Long::Other,
            };
        }
        if self.long == Long::Data {
            data.follow(beyond);
        }
    }

    /// The line that was begun, which has ended, and whether it was longer than that.
    pub(super) fn take(&mut self) -> (Vec<u8>, Long) {
        (std::mem::take(&mut self.begun), std::mem::take(&mut self.long))
    }

    /// Returns the buffer for the next line.
    pub(super) fn give_back(&mut self, mut line: Vec<u8>) {
        line.clear();
        self.begun = line;
    }

    /// The line without the mark that the first one may begin with.
    pub(super) fn past_mark<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        if std::mem::replace(&mut self.past_first, true) { line } else { without_mark(line) }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.begun.capacity()
    }
}

/// The name and the value of a line's field.
pub(super) fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = memchr::memchr(b':', line).unwrap_or(line.len());
    let (field, value) = line.split_at_checked(colon).unwrap_or_default();
    let value = value.strip_prefix(b":").unwrap_or_default();
    (field, value.strip_prefix(b" ").unwrap_or(value))
}

fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

/// The data of the event so far.
#[derive(Debug, Default)]
pub(super) struct Data {
    bytes: Vec<u8>,
    pub(super) size: Size,
    /// Reads the usage of an event that is too large to be kept.
    large: Option<Box<Collector>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Size {
    /// No data field yet: an event without one is no event.
    #[default]
    None,
    /// All of it is kept.
    Kept,
    /// Only its beginning is.
    TooLarge,
}

impl Data {
    /// The data, or its beginning.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The usage in an event that is too large to be kept.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.large.as_ref()?.usage()
    }

    /// Takes a whole line.
    pub(super) fn push_line(&mut self, line: &[u8]) {
        if self.size == Size::TooLarge || self.bytes.len() + line.len() >= KEPT_BYTES_MAX {
            self.begin_large_line(line);
            return self.keep_beginning(line);
        }
        if self.size == Size::Kept {
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(line);
        self.size = Size::Kept;
    }

    /// Takes a line that was longer than what is kept of a line, at its end.
    pub(super) fn push_large_line(&mut self, begin: &[u8], long: Long) {
        if long == Long::No {
            self.begin_large_line(begin);
        }
        self.keep_beginning(begin);
    }

    /// Forgets the event.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.size = Size::None;
        self.large = None;
    }

    /// Begins a line that does not fit, with what is known of it.
    fn begin_large_line(&mut self, begin: &[u8]) {
        if let Some(large) = self.large.as_mut() {
            large.push(b"\n");
        } else {
            let mut large = Box::new(Collector::of_event());
            large.push(&self.bytes);
            self.large = Some(large);
        }
        self.follow(begin);
    }

    /// What follows on such a line.
    fn follow(&mut self, bytes: &[u8]) {
        if let Some(large) = self.large.as_mut() {
            large.push(bytes);
        }
    }

    fn keep_beginning(&mut self, line: &[u8]) {
        let room = KEPT_BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(line.get(..room).unwrap_or(line));
        self.size = Size::TooLarge;
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
