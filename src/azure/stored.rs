//! The id of a response that a backend stores, read from the beginning of what the backend sends.
//!
//! Where a request was sent twice, one of the two responses is nobody's. It can be deleted if its id was read
//! before its connection was closed. Only the response's own id counts: the member `id` of a JSON document, or of
//! the `response` in an event. All else may be an id that the client sent, as `previous_response_id` is.

use crate::azure::ids::is_kept;
use crate::azure::json::{Cursor, Fault, Token};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// What the ids of responses begin with.
const PREFIX: &str = "resp_";

/// The longest beginning that is searched. An id stands in the first few hundred bytes.
const SEARCHED_BYTES_MAX: usize = 64 << 10;

/// How often a beginning is searched anew as it grows: bytes that come one by one must not cost their square.
const SEARCHES_MAX: u32 = 64;

/// The id of one attempt's response, once it was read. Clones share it: the reader is dropped with the attempt.
#[derive(Clone, Debug, Default)]
pub struct StoredId {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    id: OnceLock<Box<str>>,
    searches: AtomicU32,
}

impl StoredId {
    /// The id, if it was read.
    pub fn get(&self) -> Option<&str> {
        self.inner.id.get().map(AsRef::as_ref)
    }

    /// Searches all that was read of the response so far.
    pub fn search(&self, beginning: &[u8]) {
        if self.inner.id.get().is_some()
            || beginning.len() > SEARCHED_BYTES_MAX
            || self.inner.searches.fetch_add(1, Ordering::Relaxed) >= SEARCHES_MAX
        {
            return;
        }
        if let Some(id) = response_id(beginning) {
            // Set by another: the same attempt has one response.
            drop(self.inner.id.set(id.into()));
        }
    }
}

/// The response's own id in the beginning of a JSON document or of an event stream.
///
/// # Examples
///
/// ```
/// use firstlight::azure::stored::response_id;
///
/// let event = br#"data: {"type":"response.created","response":{"id":"resp_0123456789abcdef","#;
/// assert_eq!(response_id(event).as_deref(), Some("resp_0123456789abcdef"));
/// ```
pub fn response_id(beginning: &[u8]) -> Option<String> {
    let text = beginning.trim_ascii_start();
    if text.starts_with(b"{") {
        return in_object(text, Level::Document);
    }
    let lines = text.split(|byte| matches!(byte, b'\n' | b'\r'));
    let data = lines.filter_map(|line| line.strip_prefix(b"data:"));
    data.into_iter().find_map(|data| in_object(data, Level::Event))
}

#[derive(Clone, Copy)]
enum Level {
    /// The object is the response.
    Document,
    /// The object has the response in it.
    Event,
}

/// The object may end anywhere: what stands before its end counts.
fn in_object(object: &[u8], level: Level) -> Option<String> {
    let mut found = None;
    // A fault is where what was read ends.
    let _end: Result<(), Fault> = Cursor::new(object).object(|cursor, key| match level {
        Level::Event if key.raw() == b"response" && cursor.next_byte() == Some(b'{') => {
            cursor.object(|cursor, key| id_member(cursor, key, &mut found))
        }
        Level::Event => cursor.skip_value(),
        Level::Document => id_member(cursor, key, &mut found),
    });
    found
}

fn id_member(
    cursor: &mut Cursor<'_>,
    key: Token<'_>,
    found: &mut Option<String>,
) -> Result<(), Fault> {
    if key.raw() != b"id" || cursor.next_byte() != Some(b'"') {
        return cursor.skip_value();
    }
    let id = cursor.string()?.text()?;
    if id.starts_with(PREFIX) && is_kept(id.as_bytes()) {
        *found = Some(id.into_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "resp_0123456789abcdef";

    fn check(beginning: &str, expected: Option<&str>) {
        assert_eq!(response_id(beginning.as_bytes()).as_deref(), expected, "{beginning}");
    }

    #[test]
    fn the_id_is_found_wherever_it_stands() {
        let document = format!(r#"{{"object":"response","output":[{{"id":"x"}}],"id":"{ID}"}}"#);
        check(&document, Some(ID));
        let created =
            format!(r#"{{"type":"response.created","response":{{"a":[1],"id":"{ID}"}}}}"#);
        for stream in [
            format!("event: response.created\ndata: {created}\n\n"),
            format!("event: response.created\r\ndata:{created}\r\n\r\ndata: {{\"type\":\"x\"}}"),
            format!(": keepalive\n\ndata: {{\"type\":\"keepalive\"}}\n\ndata: {created}"),
        ] {
            check(&stream, Some(ID));
        }
    }

    #[test]
    fn an_id_of_something_else_is_not_taken() {
        let other = "resp_ffffffffffffffff";
        check(&format!(r#"{{"previous_response_id":"{other}","id":"{ID}"}}"#), Some(ID));
        check(
            &format!(r#"{{"previous_response_id":"{other}","metadata":{{"id":"{other}"}}}}"#),
            None,
        );
        check(&format!(r#"data: {{"id":"{other}","item":{{"id":"{other}"}}}}"#), None);
        check(&format!(r#"data: {{"response":{{"metadata":{{"id":"{other}"}}}}}}"#), None);
        check(&format!(r#"data: {{"delta":"{{\"response\":{{\"id\":\"{other}\"}}}}"}}"#), None);
        for odd in ["chatcmpl-0123456789abcdef", "resp_short", "resp_0123456789abcde/../x", ""] {
            check(&format!(r#"{{"id":"{odd}"}}"#), None);
        }
    }

    #[test]
    fn a_beginning_is_enough_and_half_an_id_is_none() {
        let whole = format!(r#"data: {{"response":{{"id":"{ID}","instructions":"x"#);
        let end = whole.find(ID).unwrap() + ID.len() + 1;
        for cut in 0..=whole.len() {
            check(whole.get(..cut).unwrap(), (cut >= end).then_some(ID));
        }
    }

    #[test]
    fn the_search_is_bounded() {
        let found = format!(r#"{{"id":"{ID}"}}"#);
        let stored = StoredId::default();
        for _ in 0..SEARCHES_MAX {
            stored.search(b"{");
        }
        stored.search(found.as_bytes());
        assert_eq!(stored.get(), None);
        let stored = StoredId::default();
        stored.search(format!("{}{found}", " ".repeat(SEARCHED_BYTES_MAX)).as_bytes());
        assert_eq!(stored.get(), None);
        stored.search(found.as_bytes());
        stored.search(br#"{"id":"resp_ffffffffffffffff"}"#);
        assert_eq!(stored.get(), Some(ID));
    }
}
