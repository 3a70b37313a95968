//! What a request body asks for, read in one pass without building a tree.
//!
//! Routing needs four things from a body before it may be sent on: which `model`, whether `stream`, whether
//! the request leaves something behind (`store`), and about how long the prompt is. Everything else passes
//! unread but not unchecked: a body that is not strictly valid JSON is refused here, and so is one that says
//! `model`, `stream` or `store` twice. Two readers disagree about such bodies (first wins, last wins), and
//! then permission would be checked for one model and another would answer.
//!
//! The estimate is bytes / 4, text inside `data:` URLs left out and 1,000 tokens for each image instead. It
//! only sorts prompts by size; it is not a bill.
//!
//! What is deliberately not judged: whether the request makes sense to the model. That is Azure's answer.

use crate::azure::json::Cursor;
use crate::azure::json::Fault;
use crate::azure::json::Token;
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::Range;

/// Bytes of English text in one token, nearly enough.
const BYTES_PER_TOKEN: u64 = 4;

/// What one image costs, nearly enough: a large picture in high detail.
const TOKENS_PER_IMAGE: u64 = 1_000;

/// What a request body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek<'a> {
    /// The `model` member, escapes resolved.
    pub model: Option<Cow<'a, str>>,
    /// Where the value of `model` stands in the body, quotes included: see [`with_model`].
    pub model_span: Option<Range<usize>>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a streamed answer is to end with a usage event.
    pub include_usage: bool,
    /// The `store` member: `Some(true)` asks Azure to keep the answer, so it must not be asked for twice.
    pub store: Option<bool>,
    /// About how many tokens the prompt has.
    pub prompt_tokens_estimate: u64,
}

/// Why a body is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeekError {
    /// Not a JSON object in UTF-8.
    #[error("not a JSON object, at byte {offset}: {what}")]
    BadJson {
        /// The byte where reading stopped.
        offset: usize,
        /// What was expected there.
        what: &'static str,
    },
    /// A member that decides the routing stands there twice.
    #[error("{0} is given twice")]
    Duplicate(&'static str),
    /// A member that decides the routing has a value of the wrong type.
    #[error("{key} must be {expected}")]
    WrongType {
        /// The member.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

impl From<Fault> for PeekError {
    fn from(fault: Fault) -> Self {
        Self::BadJson { offset: fault.offset, what: fault.what }
    }
}

/// Reads what routing needs from a request body.
///
/// # Examples
///
/// ```
/// let peek = firstlight::azure::peek::peek(br#"{"model":"gpt-4o","stream":true,"messages":[]}"#)?;
/// assert_eq!(peek.model.as_deref(), Some("gpt-4o"));
/// assert!(peek.stream);
/// # Ok::<(), firstlight::azure::peek::PeekError>(())
/// ```
pub fn peek(body: &[u8]) -> Result<Peek<'_>, PeekError> {
    if let Err(error) = std::str::from_utf8(body) {
        return Err(PeekError::BadJson {
            offset: error.valid_up_to(),
            what: "the body must be UTF-8",
        });
    }
    let mut cursor = Cursor::new(body);
    if cursor.next_byte() != Some(b'{') {
        return Err(cursor.fault("the body must be a JSON object").into());
    }
    let mut found = Found::default();
    cursor.object(|cursor, key| found.member(cursor, key))?;
    cursor.end()?;
    found.into_peek(body.len())
}

/// The body with another model name where `span` (of [`Peek::model_span`]) says the model stands.
///
/// The very same bytes, not a copy, if the name is already there.
pub fn with_model(body: &Bytes, span: Range<usize>, deployment: &str) -> Bytes {
    let value = serde_json::Value::from(deployment).to_string();
    let (before, after) = (body.get(..span.start), body.get(span.end..));
    let (Some(before), Some(after)) = (before, after) else {
        debug_assert!(false, "the span is not of this body");
        return body.clone();
    };
    if body.get(span) == Some(value.as_bytes()) {
        return body.clone();
    }
    Bytes::from([before, value.as_bytes(), after].concat())
}

/// What has been read so far.
#[derive(Default)]
struct Found<'a> {
    model: Once<Token<'a>>,
    stream: Once<bool>,
    store: Once<bool>,
    include_usage: bool,
    media: Media,
}

impl<'a> Found<'a> {
    fn member(&mut self, cursor: &mut Cursor<'a>, key: Token<'a>) -> Result<(), PeekError> {
        match key.text()?.as_ref() {
            "model" => self.model.set("model", model(cursor)?),
            "stream" => self.stream.set("stream", boolean(cursor, "stream")?),
            "store" => self.store.set("store", boolean(cursor, "store")?),
            "stream_options" if cursor.next_byte() == Some(b'{') => {
                cursor.object(|cursor, key| self.stream_option(cursor, key))
            }
            _ => Ok(cursor.skip_value_seeing(&mut |string| self.media.see(string))?),
        }
    }

    /// A hint for the accounting only, so whatever is wrong with it is left for Azure to say.
    fn stream_option(&mut self, cursor: &mut Cursor<'a>, key: Token<'a>) -> Result<(), PeekError> {
        let value = cursor.raw_value()?;
        self.include_usage |= key.text()? == "include_usage" && value == b"true";
        Ok(())
    }

    fn into_peek(self, body_bytes: usize) -> Result<Peek<'a>, PeekError> {
        Ok(Peek {
            model: self.model.value.map(|token| token.text()).transpose()?,
            model_span: self.model.value.map(|token| token.span()),
            stream: self.stream.value.unwrap_or(false),
            include_usage: self.include_usage,
            store: self.store.value,
            prompt_tokens_estimate: self.media.tokens_estimate(body_bytes),
        })
    }
}

/// A member that may stand in the body once; `null` counts as standing there without a value.
struct Once<T> {
    seen: bool,
    value: Option<T>,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self { seen: false, value: None }
    }
}

impl<T> Once<T> {
    fn set(&mut self, key: &'static str, value: Option<T>) -> Result<(), PeekError> {
        if self.seen {
            return Err(PeekError::Duplicate(key));
        }
        *self = Self { seen: true, value };
        Ok(())
    }
}

/// The parts of a prompt whose bytes say little about its tokens.
#[derive(Default)]
struct Media {
    image_parts: u64,
    data_urls: u64,
    data_url_bytes: usize,
}

impl Media {
    fn see(&mut self, string: Token<'_>) {
        let raw = string.raw();
        if raw == b"image_url" {
            self.image_parts += 1;
        } else if raw.starts_with(b"data:") {
            self.data_urls += 1;
            self.data_url_bytes += raw.len();
        }
    }

    fn tokens_estimate(&self, body_bytes: usize) -> u64 {
        // An image inside the body shows up as both, an image on the web only as a part.
        let images = self.image_parts.max(self.data_urls);
        let text_bytes =
            u64::try_from(body_bytes.saturating_sub(self.data_url_bytes)).unwrap_or(u64::MAX);
        (text_bytes / BYTES_PER_TOKEN).saturating_add(images.saturating_mul(TOKENS_PER_IMAGE))
    }
}

fn model<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Token<'a>>, PeekError> {
    match cursor.next_byte() {
        Some(b'"') => Ok(Some(cursor.string()?)),
        Some(b'n') => Ok(cursor.literal(b"null").map(|()| None)?),
        _ => wrong_type(cursor, "model", "a string"),
    }
}

fn boolean(cursor: &mut Cursor<'_>, key: &'static str) -> Result<Option<bool>, PeekError> {
    match cursor.next_byte() {
        Some(b't') => Ok(cursor.literal(b"true").map(|()| Some(true))?),
        Some(b'f') => Ok(cursor.literal(b"false").map(|()| Some(false))?),
        Some(b'n') => Ok(cursor.literal(b"null").map(|()| None)?),
        _ => wrong_type(cursor, key, "true or false"),
    }
}

/// What is there is not of the right type; broken JSON is told as such.
fn wrong_type<T>(
    cursor: &mut Cursor<'_>,
    key: &'static str,
    expected: &'static str,
) -> Result<T, PeekError> {
    cursor.skip_value()?;
    Err(PeekError::WrongType { key, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model_of(body: &str) -> Option<String> {
        peek(body.as_bytes()).unwrap().model.map(Cow::into_owned)
    }

    fn check_refused(body: &[u8], expected: &str) {
        assert_eq!(
            peek(body).unwrap_err().to_string(),
            expected,
            "{}",
            String::from_utf8_lossy(body)
        );
    }

    #[test]
    fn a_chat_request_is_read() {
        let body = r#"{"messages":[{"role":"user","content":"Hi"}],"model":"gpt-4o","stream":true,
            "stream_options":{"include_usage":true},"store":false}"#;
        let peek = peek(body.as_bytes()).unwrap();
        assert_eq!(peek.model.as_deref(), Some("gpt-4o"));
        assert_eq!(&body[peek.model_span.unwrap()], r#""gpt-4o""#);
        assert!(peek.stream && peek.include_usage);
        assert_eq!(peek.store, Some(false));
        assert_eq!(peek.prompt_tokens_estimate, body.len() as u64 / 4);
    }

    #[test]
    fn only_the_top_level_counts() {
        assert_eq!(
            model_of(r#"{"metadata":{"model":"x","stream":true},"tools":[{"model":1}]}"#),
            None
        );
        assert_eq!(
            model_of(r#"{"a":"\"model\":\"x\"","mod\u0065l":"\u0067pt"}"#).as_deref(),
            Some("gpt")
        );
    }

    #[test]
    fn null_is_absent() {
        let peek =
            peek(br#"{"model":null,"stream":null,"store":null,"stream_options":null}"#).unwrap();
        assert_eq!(
            (peek.model, peek.model_span, peek.stream, peek.store),
            (None, None, false, None)
        );
    }

    #[test]
    fn a_member_that_decides_may_not_stand_twice() {
        check_refused(br#"{"model":"a","model":"a"}"#, "model is given twice");
        check_refused(br#"{"model":null,"mo\u0064el":"b"}"#, "model is given twice");
        check_refused(br#"{"stream":true,"x":0,"stream":false}"#, "stream is given twice");
        check_refused(br#"{"store":true,"store":true}"#, "store is given twice");
    }

    #[test]
    fn a_member_that_decides_has_a_type() {
        check_refused(br#"{"model":7}"#, "model must be a string");
        check_refused(br#"{"stream":"true"}"#, "stream must be true or false");
        check_refused(br#"{"store":1}"#, "store must be true or false");
        check_refused(
            br#"{"stream":[1,]}"#,
            "not a JSON object, at byte 13: a value is expected here",
        );
    }

    #[test]
    fn broken_bodies_are_refused_with_their_place() {
        check_refused(b"", "not a JSON object, at byte 0: the body must be a JSON object");
        check_refused(b"[1]", "not a JSON object, at byte 0: the body must be a JSON object");
        check_refused(b"{\"a\":\"\xff\"}", "not a JSON object, at byte 6: the body must be UTF-8");
        check_refused(
            b"{\"a\":1}}",
            "not a JSON object, at byte 7: nothing may follow the JSON object",
        );
        check_refused(
            b"\xef\xbb\xbf{}",
            "not a JSON object, at byte 0: the body must be a JSON object",
        );
        check_refused(
            br#"{"model":"gpt"#,
            "not a JSON object, at byte 13: the body ends inside a string",
        );
        // A lone surrogate stands for no character: readers disagree on what such a name is.
        let no_character = "this string holds a character that does not exist";
        check_refused(
            br#"{"mo\ud800del":1}"#,
            &format!("not a JSON object, at byte 1: {no_character}"),
        );
        check_refused(
            br#"{"model":"\ud800"}"#,
            &format!("not a JSON object, at byte 9: {no_character}"),
        );
    }

    #[test]
    fn images_count_as_images() {
        let picture = "A".repeat(400_000);
        let part = format!(
            r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{picture}"}}}}"#
        );
        let body = format!(r#"{{"messages":[{{"content":[{part},{part}]}}]}}"#);
        let estimate = peek(body.as_bytes()).unwrap().prompt_tokens_estimate;
        assert!((2_000..2_100).contains(&estimate), "{estimate}");
        let web = r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://a/b.png"}}]}]}"#;
        assert_eq!(
            peek(web.as_bytes()).unwrap().prompt_tokens_estimate,
            1_000 + web.len() as u64 / 4
        );
    }

    #[test]
    fn another_model_is_written_in_place() {
        let body = Bytes::from_static(br#"{"model" : "gpt-4o","n":1}"#);
        let span = peek(&body).unwrap().model_span.unwrap();
        assert_eq!(
            with_model(&body, span.clone(), "mini-prod"),
            &br#"{"model" : "mini-prod","n":1}"#[..]
        );
        assert_eq!(with_model(&body, span.clone(), "a\"b"), &br#"{"model" : "a\"b","n":1}"#[..]);
        assert_eq!(with_model(&body, span, "gpt-4o").as_ptr(), body.as_ptr());
    }
}
