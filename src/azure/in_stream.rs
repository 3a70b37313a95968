//! What we say inside a stream whose 200 has already been sent: that there is nothing yet, or that it failed.
//!
//! There is one way to read a stream's failure in chat completions (an `error` member) and another in
//! responses (`type` is `error`, and code, message and param stand beside it); both have been seen in
//! responses. The official SDKs raise on the former only, some other clients read the latter only, and some
//! look at nothing but the event's name. So [`error_event`] says it in all three ways, whatever was asked for:
//!
//! ```text
//! event: error
//! data: {"code":"429","error":{"code":"429","message":"…","status":429},"message":"…","param":null,"type":"error"}
//! ```
//!
//! `status` is what the status line would have said; SDKs hand it out with the rest of the `error` member.
//! The data is one line for every reader of lines, the ones that split at Unicode's line ends as well, and
//! never contains the mark of a complete stream, not even in a message that quotes it.

use crate::azure::error::ClientError;
use bytes::Bytes;
use http::StatusCode;
use serde_json::Map;
use serde_json::Value;

/// Sent while nothing else can be, so that nobody between us and the client takes the stream for dead: a
/// comment, which readers of event streams must ignore. The official OpenAI SDKs do; one known client
/// (azure-ai-inference for Python) raises on every line that is not `data:`.
pub const WAITING: &[u8] = b": waiting\n\n";

/// What may stand in JSON and not in a stream, and what stands for it: it can only be inside a string.
const ESCAPED: [(&str, &str); 4] = [
    ("[DONE]", "\\u005bDONE]"),
    ("\u{85}", "\\u0085"),
    ("\u{2028}", "\\u2028"),
    ("\u{2029}", "\\u2029"),
];

/// The event that ends a stream in place of an answer with this status and body.
///
/// A body that is JSON with an `error` object is Azure's own explanation and is kept; instead of any other
/// one the client is told `otherwise`. For a refusal of ours the body is empty.
///
/// # Examples
///
/// ```
/// use firstlight::azure::{error::ClientError, in_stream::error_event};
///
/// let refusal = ClientError::UpstreamAuth;
/// let event = error_event(refusal.status(), b"", &refusal);
/// assert!(event.starts_with(b"event: error\ndata: {") && event.ends_with(b"}\n\n"));
/// ```
pub fn error_event(status: StatusCode, body: &[u8], otherwise: &ClientError) -> Bytes {
    let mut told = with_error(body).or_else(|| with_error(&otherwise.body())).unwrap_or_default();
    let mut error = match told.remove("error") {
        Some(Value::Object(error)) => error,
        _ => Map::new(),
    };
    if error.get("message").and_then(Value::as_str).is_none_or(str::is_empty) {
        error.insert("message".to_owned(), Value::from(otherwise.message()));
    }
    error.insert("status".to_owned(), Value::from(status.as_u16()));
    for key in ["code", "message", "param"] {
        told.insert(key.to_owned(), text_or_null(error.get(key)));
    }
    told.insert("type".to_owned(), Value::from("error"));
    told.insert("error".to_owned(), Value::Object(error));
    let mut data = Value::Object(told).to_string();
    for (plain, escaped) in ESCAPED {
        if data.contains(plain) {
            data = data.replace(plain, escaped);
        }
    }
    Bytes::from(format!("event: error\ndata: {data}\n\n"))
}

/// The event for a stream that the upstream broke off, wherever that was: it begins by ending what may stand
/// there half. It is followed by an unclean end of the body, so that no client can take the stream for complete.
pub fn cut_event() -> Bytes {
    let why = ClientError::BrokenOff;
    [b"\n\n", &*error_event(why.status(), b"", &why)].concat().into()
}

/// A body that is a JSON object with an `error` object.
fn with_error(body: &[u8]) -> Option<Map<String, Value>> {
    let told: Map<String, Value> = serde_json::from_slice(body).ok()?;
    told.get("error").is_some_and(Value::is_object).then_some(told)
}

/// Beside the `type`, clients expect texts: Azure writes some codes as numbers.
fn text_or_null(value: Option<&Value>) -> Value {
    match value {
        Some(Value::String(text)) => Value::from(text.as_str()),
        Some(Value::Number(number)) => Value::from(number.to_string()),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => {
            Value::Null
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const REFUSAL: ClientError = ClientError::UpstreamAuth;

    /// The data of the event for a body.
    fn told(status: u16, body: &str) -> Value {
        let status = StatusCode::from_u16(status).unwrap();
        let event = error_event(status, body.as_bytes(), &REFUSAL);
        let event = std::str::from_utf8(&event).unwrap();
        let data = event.strip_prefix("event: error\ndata: ").unwrap();
        serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap()
    }

    #[test]
    fn azures_explanation_is_kept() {
        let filtered = r#"{"error":{"message":"Filtered.\nAsk otherwise.","type":null,"param":"prompt",
            "code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#;
        let mut expected: Value = serde_json::from_str(filtered).unwrap();
        expected["type"] = json!("error");
        expected["code"] = json!("content_filter");
        expected["message"] = json!("Filtered.\nAsk otherwise.");
        expected["param"] = json!("prompt");
        assert_eq!(told(400, filtered), expected);
    }

    #[test]
    fn the_status_is_the_one_of_the_status_line() {
        assert_eq!(told(503, r#"{"error":{"message":"m","status":"x"}}"#)["error"]["status"], 503);
        assert_eq!(told(429, "")["error"]["status"], 429);
    }

    #[test]
    fn codes_are_texts_beside_the_type() {
        let event = told(429, r#"{"error":{"message":"m","code":429,"param":["a"]}}"#);
        assert_eq!((&event["code"], &event["error"]["code"]), (&json!("429"), &json!(429)));
        assert_eq!((&event["param"], &event["error"]["param"]), (&Value::Null, &json!(["a"])));
    }

    #[test]
    fn what_explains_nothing_is_replaced_by_our_own_error() {
        let ours: Value = serde_json::from_slice(&REFUSAL.body()).unwrap();
        for body in [
            "",
            "<html>Bad Gateway</html>",
            "[]",
            "{}",
            r#"{"error":null}"#,
            r#"{"error":"overloaded"}"#,
            r#"{"statusCode":401,"message":"Unauthorized. Access token is missing."}"#,
            r#"{"error":{"message":"cut"#,
            r#"{"error":{"message":"\ud800"}}"#,
            &("[".repeat(5_000) + &"]".repeat(5_000)),
        ] {
            let event = told(502, body);
            assert_eq!(event["error"]["message"], ours["error"]["message"], "{body}");
            assert_eq!(event["code"], ours["error"]["code"]);
        }
    }

    #[test]
    fn what_was_cut_is_ended_before_it_is_told() {
        let event = cut_event();
        let event = std::str::from_utf8(&event).unwrap();
        let data = event.strip_prefix("\n\nevent: error\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
        let told = [&data["code"], &data["error"]["code"]];
        assert_eq!(told, ["upstream_abort"; 2]);
        assert_eq!(
            (&data["type"], &data["error"]["type"]),
            (&json!("error"), &json!("server_error"))
        );
    }

    #[test]
    fn there_is_always_a_message() {
        for message in [r#""""#, "null", "7", r#"{"en":"no"}"#] {
            let event = told(500, &format!(r#"{{"error":{{"message":{message},"code":"c"}}}}"#));
            assert_eq!(event["message"], REFUSAL.message());
            assert_eq!(event["error"]["message"], REFUSAL.message());
            assert_eq!(event["error"]["code"], "c");
        }
    }

    #[test]
    fn a_message_ends_neither_its_line_nor_the_stream() {
        let message = "a\r\nb\u{2028}c\u{2029}d\u{85}e\n\ndata: [DONE]\n\n[[DONE]]";
        let body = json!({ "error": { "message": message, "[DONE]": "[DONE]" } }).to_string();
        assert_eq!(told(500, &body)["error"]["message"], message);
        let event = error_event(StatusCode::BAD_GATEWAY, body.as_bytes(), &REFUSAL);
        let event = std::str::from_utf8(&event).unwrap();
        assert!(!event.contains("[DONE]"));
        assert_eq!(event.split(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}']).count(), 4);
    }
}
