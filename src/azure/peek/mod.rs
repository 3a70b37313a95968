//! What a request body asks for, read in one pass without building a tree.
//!
//! Routing needs four things from a body before it may be sent on: which `model`, whether `stream`, whether
//! the request leaves something behind (`store`, `background`, `tools`), and about how long the prompt is; the
//! limits of an app need to know how long the answer may become. Everything else passes unread but not unchecked:
//! a body that is not strictly valid JSON is refused here, and so is one that says `model`, `stream`, `store`,
//! `background` or `tools` twice. Two readers disagree about such bodies (first wins, last wins), and then permission would
//! be checked for one model and another would answer. What is only measured (the usage option, the reasoning
//! effort, the length of the answer) decides nothing: whatever is wrong with it is left for Azure to say.
//!
//! The length is an estimate: see `size`.
//!
//! What is deliberately not judged: whether the request makes sense to the model. That is Azure's answer.

mod found;

use crate::azure::edit::Edit;
pub use crate::azure::effort::Effort;
use crate::azure::ids::Named;
use crate::azure::json::Cursor;
use crate::azure::json::Fault;
use crate::azure::tools::Tools;
use found::Found;
use std::borrow::Cow;
use std::ops::Range;

/// What a request body says. The default is what a request without a body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "members of a body, each for itself")]
pub struct Peek<'a> {
    /// The `model` member, escapes resolved.
    pub model: Option<Cow<'a, str>>,
    /// Where the value of `model` stands in the body, quotes included: see [`Edit::of_model`].
    pub model_span: Option<Range<usize>>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a streamed answer is to end with a usage event.
    pub include_usage: bool,
    /// What to write so that it does; `None` where it does already, where nothing is streamed, and where the
    /// request can be read in two ways.
    pub usage_edit: Option<Edit>,
    /// The `store` member: `Some(true)` asks Azure to keep the answer, so it must not be asked for twice.
    pub store: Option<bool>,
    /// The `background` member: `Some(true)` asks Azure to go on by itself, so it must not be asked for twice.
    pub background: Option<bool>,
    /// How much the model is to reason, if the request says so in words: the last such word.
    pub effort: Option<Effort>,
    /// The most tokens that one answer may have, if the request says so: the largest of `max_tokens`,
    /// `max_completion_tokens` and `max_output_tokens`.
    pub max_tokens: Option<u64>,
    /// How many answers are written: the larger of `n` and `best_of`, if the request gives one.
    pub answers: Option<u64>,
    /// Requests with the same number share a prompt cache; `None`: nothing tells, or the prompt is too short.
    pub affinity: Option<u64>,
    /// About how many tokens the prompt has.
    pub prompt_tokens_estimate: u64,
    /// The ids in it of what lives on one resource.
    pub ids: Named<'a>,
    /// Whether it brings data sources, which may name deployments of their own.
    pub own_data: bool,
    /// The `model` member of `session`: of a realtime session that is begun later.
    pub session_model: Option<Cow<'a, str>>,
    /// Where its value stands, quotes included.
    pub session_model_span: Option<Range<usize>>,
    /// Whether the response is to be added to a conversation.
    pub conversation: bool,
    /// The tools that may have an effect.
    pub tools: Tools<'a>,
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
    let mut found = Found::new(cursor.place() + 1);
    cursor.object(|cursor, key| found.member(cursor, key))?;
    cursor.end()?;
    found.into_peek(body.len())
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
        assert_eq!(body.get(peek.model_span.unwrap()), Some(r#""gpt-4o""#));
        assert!(peek.stream && peek.include_usage);
        assert_eq!(peek.store, Some(false));
        assert_eq!(usize::try_from(peek.prompt_tokens_estimate), Ok(body.len() / 4));
    }

    #[test]
    fn only_the_top_level_counts() {
        let body = br#"{"a":{"background":1,"reasoning_effort":"low"},"effort":"low"}"#;
        let found = Peek { prompt_tokens_estimate: 0, ..peek(body).unwrap() };
        assert_eq!(found, Peek::default());
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
    fn a_session_names_its_model() {
        let body = r#"{"session":{"type":"realtime","model":"gpt-realtime","x":{"model":"y"}}}"#;
        let peek = peek(body.as_bytes()).unwrap();
        assert_eq!(peek.model, None);
        assert_eq!(peek.session_model.as_deref(), Some("gpt-realtime"));
        assert_eq!(body.get(peek.session_model_span.unwrap()), Some(r#""gpt-realtime""#));
    }

    #[test]
    fn null_is_absent() {
        let body = br#"{"model":null,"stream":null,"store":null,"stream_options":null,
            "background":null,"reasoning":null,"reasoning_effort":null}"#;
        let found = Peek { prompt_tokens_estimate: 0, ..peek(body).unwrap() };
        assert_eq!(found, Peek::default());
    }

    #[test]
    fn a_member_that_decides_may_not_stand_twice() {
        check_refused(br#"{"model":"a","model":"a"}"#, "model is given twice");
        check_refused(br#"{"model":null,"mo\u0064el":"b"}"#, "model is given twice");
        check_refused(br#"{"stream":true,"x":0,"stream":false}"#, "stream is given twice");
        check_refused(br#"{"store":true,"store":true}"#, "store is given twice");
        check_refused(br#"{"background":false,"background":true}"#, "background is given twice");
    }

    #[test]
    fn a_member_that_decides_has_a_type() {
        check_refused(br#"{"model":7}"#, "model must be a string");
        check_refused(br#"{"stream":"true"}"#, "stream must be true or false");
        check_refused(br#"{"store":1}"#, "store must be true or false");
        check_refused(br#"{"background":1}"#, "background must be true or false");
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
    fn a_background_request_is_told() {
        assert_eq!(peek(br#"{"background":true}"#).unwrap().background, Some(true));
        assert_eq!(peek(br#"{"background":false}"#).unwrap().background, Some(false));
        // Of a picture.
        assert_eq!(peek(br#"{"background":"transparent"}"#).unwrap().background, None);
    }

    #[test]
    fn the_effort_is_read_and_never_refused() {
        let check = |body: &str, expected: Option<Effort>| {
            assert_eq!(peek(body.as_bytes()).unwrap().effort, expected, "{body}");
        };
        for effort in Effort::ALL {
            check(&format!(r#"{{"reasoning_effort":"{}"}}"#, effort.label()), Some(effort));
            check(
                &format!(r#"{{"reasoning":{{"summary":"auto","effort":"{}"}}}}"#, effort.label()),
                Some(effort),
            );
        }
        check(r#"{"reasoning_effort":"HIGH"}"#, Some(Effort::Other));
        check(r#"{"reasoning_effort":"","x":1}"#, Some(Effort::Other));
        check(r#"{"reasoning_effort":"low","reasoning_effort":"high"}"#, Some(Effort::High));
        // A string that stands for no text is Azure's to refuse: nobody reads it here.
        check(r#"{"reasoning_effort":"\ud800"}"#, Some(Effort::Other));
        for nothing in ["null", "3", "true", "[\"low\"]", "{\"x\":{\"effort\":\"low\"}}"] {
            check(&format!(r#"{{"reasoning_effort":{nothing}}}"#), None);
            check(&format!(r#"{{"reasoning":{nothing}}}"#), None);
            check(&format!(r#"{{"reasoning":{{"effort":{nothing}}}}}"#), None);
        }
        check_refused(
            br#"{"reasoning":{"effort":"low",}}"#,
            "not a JSON object, at byte 29: a string is expected here",
        );
    }

    #[test]
    fn the_length_of_the_answer_is_read_and_never_refused() {
        let check = |body: &str, max_tokens: Option<u64>, answers: Option<u64>| {
            let found = peek(body.as_bytes()).unwrap();
            assert_eq!((found.max_tokens, found.answers), (max_tokens, answers), "{body}");
        };
        for key in ["max_tokens", "max_completion_tokens", "max_output_tokens"] {
            check(&format!(r#"{{"{key}": 800 }}"#), Some(800), None);
            check(&format!(r#"{{"{key}":18446744073709551615,"n":0}}"#), Some(u64::MAX), Some(0));
            let inner = format!(r#"{{"messages":[{{"{key}":3,"n":2}}],"x":{{"{key}":4}}}}"#);
            check(&inner, None, None);
            for odd in ["null", "-1", "1.5", "1e30", "true", "\"800\"", "[800]", "{\"n\":1}"] {
                check(&format!(r#"{{"{key}":{odd},"n":{odd}}}"#), None, None);
            }
            check(&format!(r#"{{"{key}":18446744073709551616}}"#), None, None);
        }
        check(r#"{"max_tokens":9,"max_completion_tokens":70,"n":3}"#, Some(70), Some(3));
        check(r#"{"max_tokens":9,"max_tokens":7,"max_tokens":1e9}"#, Some(1_000_000_000), None);
        check(r#"{"best_of":5,"n":2}"#, None, Some(5));
        check_refused(
            br#"{"max_tokens":01}"#,
            "not a JSON object, at byte 15: a comma or } is expected here",
        );
        check_refused(br#"{"n":1.}"#, "not a JSON object, at byte 7: a digit is expected here");
    }
}
