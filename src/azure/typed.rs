//! What one event of a stream says whose events say their type: responses, pictures, speech, transcripts, and
//! the runs of assistants (which say it in the `event` field only).
//!
//! The first token is the first `…delta` that is not empty, a picture, or the item of a call: that the model
//! calls something, and what, is the first that it decides. What comes before (`response.created`, `queued`,
//! `in_progress`, the items and parts that are opened) says how the request stands, not how the model does, and
//! repeats what was asked: none of it is a token, however large.
//!
//! | event | means |
//! |---|---|
//! | `error`, `response.failed`, `thread.run.failed` | an error; a rate limit if its code says so |
//! | `….delta` with text, arguments, code or audio | content |
//! | `….partial_image`, `image_generation.completed`, `image_edit.completed` | content |
//! | `response.output_item.added`, `….done` of a `…_call` | content |
//! | `transcript.text.done` | content if it has a text, and the end |
//! | `response.completed`, `response.incomplete`, `speech.audio.done`, a run's end | the end |
//! | anything else | nothing |
//!
//! What each says of the end of its stream is the table in `ending`.
//!
//! As in `event`, nothing is decoded and nothing allocated. Of an event that is too large only the beginning is
//! there: what its type says holds, and what is not there is not known.

use crate::azure::ending::Mark;
use crate::azure::event::Said;
use crate::azure::event::StreamError;
use crate::azure::event::blame;
use crate::azure::event::is_empty;
use crate::azure::json::Cursor;
use crate::azure::json::Fault;
use crate::azure::json::Token;
use crate::azure::kind::Kind;
use crate::azure::kind::Name;
use crate::azure::lines::Size;
use crate::azure::route::Operation;

/// Whether the events of such a stream say their type.
pub(super) fn is_typed(operation: Operation) -> bool {
    match operation {
        Operation::ChatCompletions | Operation::Completions | Operation::Embeddings => false,
        Operation::Responses
        | Operation::Images
        | Operation::Transcriptions
        | Operation::Speech
        | Operation::Models
        | Operation::Realtime
        | Operation::Resource => true,
    }
}

/// Reads the data of one event, or its beginning. Also tells whether it ends the stream, in a word that the quota
/// goes by, and as its row of `ending` says.
pub(super) fn read(name: Name, data: &[u8], size: Size) -> (Said, bool, Mark) {
    let mut event = Event::default();
    let read = Cursor::new(data).object(|cursor, key| event.member(cursor, key));
    let Name { kind, mark } = if event.name == Name::default() { name } else { event.name };
    let is_cut = size == Size::TooLarge;
    let said = match (event.fault, kind) {
        (Some(error), _) => Said::Error(error),
        // Called an error, it is one, whatever it says.
        (None, Kind::Error | Kind::Failed) => Said::Error(event.blamed),
        _ if read.is_err() && !is_cut => Said::Nothing,
        (None, Kind::Picture) => Said::Content,
        (None, Kind::Delta | Kind::Transcript) if event.is_filled || is_cut => Said::Content,
        (None, Kind::Item) if event.is_call => Said::Content,
        (None, Kind::End | Kind::Transcript) => Said::Finish,
        (None, Kind::Delta | Kind::Item | Kind::Other) => Said::Nothing,
    };
    let is_end = matches!(kind, Kind::End | Kind::Transcript);
    // Half of an event, at the end of its stream, ends nothing.
    let mark = if read.is_err() && !is_cut { Mark::Unknown } else { mark };
    (said, is_end && matches!(said, Said::Content | Said::Finish), mark)
}

#[derive(Default)]
struct Event {
    name: Name,
    /// Whether there is something in what the model writes.
    is_filled: bool,
    /// Whether the item calls something.
    is_call: bool,
    /// The `error` member.
    fault: Option<StreamError>,
    /// What a `code` beside it, or the error of the failed response, blames.
    blamed: StreamError,
}

impl Event {
    fn member(&mut self, cursor: &mut Cursor<'_>, key: Token<'_>) -> Result<(), Fault> {
        match (key.raw(), cursor.next_byte()) {
            (b"type", Some(b'"')) => {
                self.name = Name::of(cursor.string()?.raw());
                Ok(())
            }
            (b"delta" | b"audio" | b"text", _) => {
                self.is_filled |= !is_empty(cursor.raw_value()?);
                Ok(())
            }
            (b"item", Some(b'{')) => cursor.object(|cursor, key| self.item(cursor, key)),
            (b"response", Some(b'{')) => cursor.object(|cursor, key| match key.raw() {
                b"error" => self.cause(cursor),
                _ => cursor.skip_value(),
            }),
            (b"last_error", _) => self.cause(cursor),
            (b"error", Some(b'{')) => {
                let fault = self.fault.insert(StreamError::Error);
                cursor.object(|cursor, key| blame(fault, cursor, key))
            }
            (b"error", Some(b'"')) => {
                self.fault = Some(StreamError::Error);
                cursor.skip_value()
            }
            _ => blame(&mut self.blamed, cursor, key),
        }
    }

    fn item(&mut self, cursor: &mut Cursor<'_>, key: Token<'_>) -> Result<(), Fault> {
        if key.raw() == b"type" && cursor.next_byte() == Some(b'"') {
            self.is_call = cursor.string()?.raw().ends_with(b"_call");
            return Ok(());
        }
        cursor.skip_value()
    }

    fn cause(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        if cursor.next_byte() != Some(b'{') {
            return cursor.skip_value();
        }
        cursor.object(|cursor, key| blame(&mut self.blamed, cursor, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an event says, with its type in its data, and with its type in its name only.
    fn check(kind: &str, members: &str, expected: (Said, bool)) {
        let comma = if members.is_empty() { "" } else { "," };
        for (name, data) in [
            ("", format!(r#"{{"type":"{kind}","sequence_number":3{comma}{members}}}"#)),
            ("", format!(r#"{{"sequence_number":3{comma}{members}, "type": "{kind}"}}"#)),
            (kind, format!(r#"{{"sequence_number":3{comma}{members}}}"#)),
        ] {
            let (said, is_end, mark) = read(Name::of(name.as_bytes()), data.as_bytes(), Size::Kept);
            assert_eq!((said, is_end), expected, "{name} {data}");
            assert_eq!(mark, Mark::of(kind.as_bytes()), "{name} {data}");
        }
    }

    const NOTHING: (Said, bool) = (Said::Nothing, false);
    const CONTENT: (Said, bool) = (Said::Content, false);
    const END: (Said, bool) = (Said::Finish, true);

    #[test]
    fn how_the_request_stands_is_no_token() {
        let response = r#""response":{"id":"resp_1","error":null,"instructions":"x","usage":null}"#;
        for kind in ["created", "queued", "in_progress"] {
            check(&format!("response.{kind}"), response, NOTHING);
        }
        check("response.output_item.added", r#""item":{"type":"message","content":[]}"#, NOTHING);
        check("response.output_item.added", r#""item":{"type":"reasoning","summary":[]}"#, NOTHING);
        check("response.output_item.done", r#""item":{"type":"reasoning","summary":[]}"#, NOTHING);
        check("response.output_item.done", r#""item":{"type":"mcp_list_tools"}"#, NOTHING);
        check("response.content_part.added", r#""part":{"type":"output_text","text":""}"#, NOTHING);
        check("response.output_text.delta", r#""delta":"","obfuscation":"aB""#, NOTHING);
        check("thread.run.created", r#""usage":null,"last_error":null"#, NOTHING);
    }

    #[test]
    fn every_kind_of_content_is_a_token() {
        for kind in [
            "response.output_text",
            "response.reasoning_text",
            "response.reasoning_summary_text",
            "response.refusal",
            "response.function_call_arguments",
            "response.mcp_call_arguments",
            "response.custom_tool_call_input",
            "response.code_interpreter_call_code",
            "response.audio",
            "response.audio.transcript",
            "transcript.text",
        ] {
            check(&format!("{kind}.delta"), r#""delta":" ""#, CONTENT);
        }
        check("speech.audio.delta", r#""audio":"AAAA""#, CONTENT);
        check("thread.message.delta", r#""delta":{"content":[{"index":0}]}"#, CONTENT);
        check("response.image_generation_call.partial_image", "", CONTENT);
        check("image_generation.partial_image", r#""b64_json":"AAAA""#, CONTENT);
        check("image_edit.completed", r#""b64_json":"AAAA""#, CONTENT);
        check("transcript.text.segment", r#""text":"Hi""#, CONTENT);
        let call = r#""item":{"type":"function_call","name":"f","arguments":""}"#;
        check("response.output_item.added", call, CONTENT);
        check("response.output_item.done", r#""item":{"type":"web_search_call"}"#, CONTENT);
    }

    #[test]
    fn good_ends_are_told() {
        check("response.completed", r#""response":{"error":null,"usage":{}}"#, END);
        check("response.incomplete", r#""response":{"status":"incomplete"}"#, END);
        check("response.cancelled", r#""response":{"status":"cancelled"}"#, END);
        check("speech.audio.done", r#""usage":{}"#, END);
        check("thread.run.completed", "", END);
        check("transcript.text.done", r#""text":"Hi""#, (Said::Content, true));
        check("transcript.text.done", r#""text":"""#, END);
    }

    #[test]
    fn errors_are_told_from_rate_limits() {
        let (error, limited) = (
            (Said::Error(StreamError::Error), false),
            (Said::Error(StreamError::RateLimited), false),
        );
        check("error", r#""code":"server_error","message":"rate_limit""#, error);
        check("error", r#""code":"rate_limit_exceeded","message":"m""#, limited);
        check("error", r#""error":{"type":"too_many_requests","code":"x"}"#, limited);
        check("error", r#""error":{"code":"x"}"#, error);
        let failed = |code: &str| format!(r#""response":{{"error":{{"code":"{code}"}}}}"#);
        check("response.failed", &failed("server_error"), error);
        check("response.failed", &failed("rate_limit_exceeded"), limited);
        check("response.failed", r#""response":{"error":null}"#, error);
        check("thread.run.failed", r#""last_error":{"code":"rate_limit_exceeded"}"#, limited);
        check("anything.else", r#""error":{"code":"429"}"#, limited);
    }

    #[test]
    fn of_a_large_event_the_beginning_tells() {
        let said = |name: &str, data: &str| {
            let (said, is_end, _) =
                read(Name::of(name.as_bytes()), data.as_bytes(), Size::TooLarge);
            (said, is_end)
        };
        let created = r#"{"type":"response.created","response":{"error":null,"instructions":"Be"#;
        assert_eq!(said("", created), NOTHING);
        assert_eq!(said("response.created", r#"{"response":{"instructions":"Be"#), NOTHING);
        assert_eq!(said("", r#"{"response":{"instructions":"Be"#), NOTHING);
        assert_eq!(said("", r#"{"type":"response.completed","response":{"output":["#), END);
        assert_eq!(said("", r#"{"type":"image_generation.completed","b64_json":"AA"#), CONTENT);
        assert_eq!(said("", r#"{"type":"response.output_text.delta","delta":"AA"#), CONTENT);
        let failed = r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"m"},"instructions":"Be"#;
        assert_eq!(said("", failed), (Said::Error(StreamError::RateLimited), false));
    }

    #[test]
    fn what_is_not_json_says_nothing() {
        for data in ["", "null", "[]", r#"{"type":"response.completed""#] {
            let half = read(Name::default(), data.as_bytes(), Size::Kept);
            assert_eq!(half, (Said::Nothing, false, Mark::Unknown), "{data}");
        }
        let data = br#"{"type":"response.output_text.delta","delta":"Hi""#;
        let half = read(Name::of(b"response.completed"), data, Size::Kept);
        assert_eq!(half, (Said::Nothing, false, Mark::Unknown));
    }
}
