//! What one event of a chat completion or a legacy completion says.
//!
//! The first token is the first content: a delta with non-empty text, reasoning, refusal, audio, tool call
//! or function call; for legacy completions a non-empty text. Azure sends other events before it, within
//! milliseconds and whatever state the model is in: the prompt filter's results (no choices) and the role
//! (a delta with empty content). Timing those would call a stalled region fast, so they count for nothing.
//! So do annotations, the finish reason and the usage.
//!
//! Emptiness can be seen in the text of a value, so nothing is decoded here and nothing allocated. An event
//! that is not JSON says nothing.

use crate::azure::ending::{Choices, number};
use crate::azure::json::Cursor;
use crate::azure::json::Fault;
use crate::azure::json::Token;
use crate::azure::kind::Kind;
use crate::azure::route::Operation;

/// What an error event blames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamError {
    /// Anything but a rate limit: counts as a failed attempt.
    #[default]
    Error,
    /// A rate limit, told after the 200: counts as a 429.
    RateLimited,
}

/// What one event brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing that anybody waits for.
    Nothing,
    /// A token.
    Content,
    /// A finish reason, and no content beside it.
    Finish,
    /// Something went wrong after the 200.
    Error(StreamError),
}

/// Reads the data of one event, and the choices in it, if it is a chunk of a completion.
pub(super) fn read(operation: Operation, name: Kind, data: &[u8]) -> (Said, Option<Choices>) {
    let mut event = Event::default();
    let read = Cursor::new(data).object(|cursor, key| event.member(operation, cursor, key));
    let choices = event.choices.filter(|_| read.is_ok());
    let said = match event.fault {
        Some(error) => Said::Error(error),
        // Called an error, it is one, whatever it says.
        None if name == Kind::Error => Said::Error(event.blamed),
        None if read.is_err() => Said::Nothing,
        None if event.content => Said::Content,
        None if event.finished => Said::Finish,
        None => Said::Nothing,
    };
    (said, choices)
}

#[derive(Default)]
struct Event {
    content: bool,
    finished: bool,
    choices: Option<Choices>,
    /// The `error` member.
    fault: Option<StreamError>,
    /// What a `code` or `type` beside it would blame: some errors come without an `error` member.
    blamed: StreamError,
}

impl Event {
    fn member(
        &mut self,
        operation: Operation,
        cursor: &mut Cursor<'_>,
        key: Token<'_>,
    ) -> Result<(), Fault> {
        match (key.raw(), cursor.next_byte()) {
            (b"choices", Some(b'[')) => {
                let mut choices = Choices::default();
                cursor.array(|cursor| self.choice(operation, cursor, &mut choices))?;
                self.choices = Some(choices);
                Ok(())
            }
            (b"error", Some(b'{')) => {
                let mut blamed = StreamError::Error;
                cursor.object(|cursor, key| blame(&mut blamed, cursor, key))?;
                self.fault = Some(blamed);
                Ok(())
            }
            (b"error", Some(b'"')) => {
                self.fault = Some(StreamError::Error);
                cursor.skip_value()
            }
            _ => blame(&mut self.blamed, cursor, key),
        }
    }

    fn choice(
        &mut self,
        operation: Operation,
        cursor: &mut Cursor<'_>,
        choices: &mut Choices,
    ) -> Result<(), Fault> {
        let (mut index, mut finished) = (0, false);
        cursor.object(|cursor, key| {
            match key.raw() {
                b"index" => {
                    index = number(cursor.raw_value()?).unwrap_or(0);
                    return Ok(());
                }
                b"finish_reason" => finished = cursor.next_byte() == Some(b'"'),
                _ => {}
            }
            self.choice_member(operation, cursor, key)
        })?;
        choices.add(index, finished);
        Ok(())
    }

    fn choice_member(
        &mut self,
        operation: Operation,
        cursor: &mut Cursor<'_>,
        key: Token<'_>,
    ) -> Result<(), Fault> {
        let legacy = operation == Operation::Completions;
        match (key.raw(), cursor.next_byte()) {
            (b"delta", Some(b'{')) if !legacy => cursor.object(|cursor, key| {
                let filled = !is_empty(cursor.raw_value()?);
                self.content |= filled && DELTA_CONTENT.contains(&key.raw());
                Ok(())
            }),
            (b"text", _) if legacy => {
                self.content |= !is_empty(cursor.raw_value()?);
                Ok(())
            }
            (b"finish_reason", Some(b'"')) => {
                self.finished = true;
                cursor.skip_value()
            }
            _ => cursor.skip_value(),
        }
    }
}

/// The members of a delta that a model fills token by token.
const DELTA_CONTENT: [&[u8]; 7] = [
    b"content",
    b"reasoning_content",
    b"reasoning",
    b"refusal",
    b"audio",
    b"tool_calls",
    b"function_call",
];

/// Whether a value holds nothing: an empty string, array or object, `null`, or no container at all.
pub(super) fn is_empty(value: &[u8]) -> bool {
    match value {
        [b'"', inner @ .., b'"'] => inner.is_empty(),
        [b'[', inner @ .., b']'] | [b'{', inner @ .., b'}'] => inner.trim_ascii().is_empty(),
        _ => true,
    }
}

/// Reads one member of an error, which may say that the quota is used up, in any spelling that has been seen.
pub(super) fn blame(
    blamed: &mut StreamError,
    cursor: &mut Cursor<'_>,
    key: Token<'_>,
) -> Result<(), Fault> {
    const WORDS: [&[u8]; 4] =
        [b"rate_limit", b"ratelimit", b"too_many_requests", b"toomanyrequests"];
    let value = cursor.raw_value()?;
    let says =
        |word: &[u8]| value.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    let names_cause = matches!(key.raw(), b"code" | b"type" | b"status");
    if names_cause && (matches!(value, b"429" | b"\"429\"") || WORDS.into_iter().any(says)) {
        *blamed = StreamError::RateLimited;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &str, expected: Said) {
        assert_eq!(
            read(Operation::ChatCompletions, Kind::Other, data.as_bytes()).0,
            expected,
            "{data}"
        );
    }

    fn check_delta(delta: &str, expected: Said) {
        check(
            &format!(
                r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}],"usage":null}}"#
            ),
            expected,
        );
    }

    #[test]
    fn what_comes_before_the_first_token_says_nothing() {
        check(
            r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}"#,
            Said::Nothing,
        );
        check(
            r#"{"choices":[{"content_filter_offsets":{"check_offset":44},"content_filter_results":{},"finish_reason":null,"index":0}],"id":""}"#,
            Said::Nothing,
        );
        check(r#"{"choices":[],"usage":{"prompt_tokens":9}}"#, Said::Nothing);
        check_delta(r#"{"content":"","refusal":null,"role":"assistant"}"#, Said::Nothing);
        check_delta(r#"{"role":"assistant","content":null,"tool_calls":[ ]}"#, Said::Nothing);
        check_delta("{}", Said::Nothing);
    }

    #[test]
    fn every_kind_of_content_is_a_token() {
        check_delta(r#"{"content":"Hi"}"#, Said::Content);
        check_delta(r#"{"content":"\n"}"#, Said::Content);
        check_delta(r#"{"content":" "}"#, Said::Content);
        check_delta(r#"{"content":null,"reasoning_content":"Let"}"#, Said::Content);
        check_delta(r#"{"reasoning":"Let"}"#, Said::Content);
        check_delta(r#"{"refusal":"I"}"#, Said::Content);
        check_delta(
            r#"{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"f","arguments":""}}]}"#,
            Said::Content,
        );
        check_delta(r#"{"function_call":{"name":"f"}}"#, Said::Content);
        check_delta(r#"{"audio":{"id":"audio_1","transcript":"H"}}"#, Said::Content);
    }

    #[test]
    fn a_finish_reason_without_content_is_told_apart() {
        check(r#"{"choices":[{"delta":{},"finish_reason":"stop","index":0}]}"#, Said::Finish);
        check(r#"{"choices":[{"finish_reason":"length","delta":{"content":"x"}}]}"#, Said::Content);
    }

    #[test]
    fn choices_are_read_from_whole_chunks_only() {
        let choices = |data: &str| read(Operation::ChatCompletions, Kind::Other, data.as_bytes()).1;
        assert_eq!(choices(r#"{"error":{}}"#), None);
        assert_eq!(choices(r#"{"choices":[{"index":0,"finish_reason":"stop"}]"#), None);
        assert_eq!(choices(r#"{"choices":[],"usage":{}}"#), Some(Choices::default()));
        let mut expected = Choices::default();
        expected.add(2, true);
        expected.add(0, false);
        let two = r#"{"choices":[{"index":2,"delta":{"tool_calls":[{"index":7}]},"finish_reason":"stop"},{"finish_reason":null}]}"#;
        assert_eq!(choices(two), Some(expected));
    }

    #[test]
    fn legacy_completions_have_a_text() {
        let said = |data: &str| read(Operation::Completions, Kind::Other, data.as_bytes()).0;
        assert_eq!(
            said(r#"{"choices":[{"text":"Hi","index":0,"finish_reason":null}]}"#),
            Said::Content
        );
        assert_eq!(
            said(r#"{"choices":[{"text":"","index":0,"finish_reason":"stop"}]}"#),
            Said::Finish
        );
        check(r#"{"choices":[{"text":"Hi"}]}"#, Said::Nothing);
    }

    #[test]
    fn errors_are_told_from_rate_limits() {
        let (error, limited) =
            (Said::Error(StreamError::Error), Said::Error(StreamError::RateLimited));
        check(
            r#"{"error":{"message":"The server had an error","type":"server_error","code":null}}"#,
            error,
        );
        check(r#"{"error":"overloaded"}"#, error);
        check(r#"{"error":{"message":"429 rate_limit","code":"500"}}"#, error);
        check(r#"{"error":{"code":"429","message":"Requests have exceeded"}}"#, limited);
        check(r#"{"error":{"code":429}}"#, limited);
        check(r#"{"error":{"type":"too_many_requests"}}"#, limited);
        check(r#"{"error":{"code":"RateLimitReached"}}"#, limited);
        check(r#"{"error":{"code":"rate_limit_exceeded"}"#, limited);
        check(r#"{"error":null,"choices":[{"delta":{"content":"Hi"}}]}"#, Said::Content);
        let named = |data: &str| read(Operation::ChatCompletions, Kind::Error, data.as_bytes()).0;
        assert_eq!(named("overloaded"), error);
        assert_eq!(named(r#"{"type":"error","code":"rate_limit_exceeded"}"#), limited);
        assert_eq!(named(r#"{"error":{"code":"rate_limit_exceeded"}}"#), limited);
    }

    #[test]
    fn what_is_not_json_says_nothing() {
        for data in [
            "",
            "[DONE]",
            "null",
            "[]",
            r#"{"choices":[{"delta":{"content":"Hi"}}"#,
            r#"{"choices":[1]}"#,
        ] {
            check(data, Said::Nothing);
        }
    }
}
