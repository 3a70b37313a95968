//! What we say inside a stream is one event that every reader takes for the error it is, whatever body it was
//! made from.

use super::{damaged, object, text};
use bytes::Bytes;
use firstlight::azure::error::ClientError;
use firstlight::azure::in_stream::{WAITING, error_event};
use firstlight::azure::route::Operation;
use firstlight::azure::sse::{Scanner, Seen, StreamError};
use http::StatusCode;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

const REFUSAL: ClientError = ClientError::UpstreamAuth;

/// Bodies of failed answers: errors as Azure writes them, other documents, broken ones, and no documents.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let explained = (object(), object(), message()).prop_map(|(mut whole, mut error, message)| {
        error["message"] = message;
        whole["error"] = error;
        whole.to_string().into_bytes()
    });
    let any_error = object().prop_map(|error| json!({ "error": error }).to_string().into_bytes());
    prop_oneof![explained, any_error, damaged(), vec(any::<u8>(), 0..60)]
}

fn message() -> impl Strategy<Value = Value> {
    let piece = prop_oneof![
        text(),
        "\\PC{0,9}",
        Just("[DONE]".to_owned()),
        Just("\r\n\r\ndata: [DONE]\n\n".to_owned()),
        Just("\u{2028}\u{85}\u{2029}".to_owned()),
    ];
    prop_oneof![vec(piece, 0..4).prop_map(|pieces| Value::from(pieces.concat())), Just(json!(7))]
}

/// The (name, data) of each event, read as the WHATWG standard says.
fn events(stream: &str) -> Vec<(String, String)> {
    let (mut found, mut name, mut data) = (Vec::new(), String::new(), None::<String>);
    for line in stream.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
        match line.split_once(':').map(|(f, value)| (f, value.strip_prefix(' ').unwrap_or(value))) {
            None if line.is_empty() => {
                let name = std::mem::take(&mut name);
                found.extend(data.take().map(|data| (name, data)));
            }
            Some(("event", value)) => value.clone_into(&mut name),
            Some(("data", value)) => {
                data = Some(data.map_or_else(|| value.to_owned(), |data| data + "\n" + value));
            }
            _ => assert!(line.starts_with(':'), "{line:?} is no field"),
        }
    }
    found
}

fn scan(stream: &[u8]) -> Seen {
    Scanner::new(Operation::ChatCompletions).scan(stream)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_failure_is_one_event_that_says_so(status in 400..600_u16, body in body()) {
        let event = error_event(StatusCode::from_u16(status).unwrap(), &body, &REFUSAL);
        let stream = [WAITING, &event].concat();
        let stream = std::str::from_utf8(&stream).unwrap();
        prop_assert!(!stream.contains("[DONE]"));
        let events = events(stream);
        prop_assert_eq!(events.len(), 1);
        prop_assert_eq!(&events[0].0, "error");

        let told: Value = serde_json::from_str(&events[0].1).unwrap();
        prop_assert_eq!(&told["error"]["status"], &json!(status));
        prop_assert!(told["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
        prop_assert_eq!(&told["message"], &told["error"]["message"]);
        prop_assert_eq!(&told["type"], "error");

        // What Azure explained is all still there.
        if let Ok(Value::Object(explained)) = serde_json::from_slice::<Value>(&body)
            && let Some(Value::Object(error)) = explained.get("error")
        {
            for (key, value) in error.iter().filter(|(key, _)| !["message", "status"].contains(&key.as_str())) {
                prop_assert_eq!(&told["error"][key], value);
            }
            if let Some(message) = error.get("message").and_then(Value::as_str).filter(|text| !text.is_empty()) {
                prop_assert_eq!(&told["message"], message);
            }
        }
    }

    #[test]
    fn another_of_our_kind_takes_it_for_the_failure_that_it_is(status in 400..600_u16, body in body()) {
        let event = error_event(StatusCode::from_u16(status).unwrap(), &body, &REFUSAL);
        let seen = scan(&[WAITING, &event].concat());
        prop_assert!(seen.error.is_some() && !seen.first_token && !seen.done);
        prop_assert!(status != 429 || seen.error == Some(StreamError::RateLimited));
    }
}

#[test]
fn waiting_says_nothing() {
    assert_eq!(scan(&WAITING.repeat(3)), Seen::default());
    assert_eq!(events(std::str::from_utf8(WAITING).unwrap()), []);
}

#[test]
fn an_error_of_any_length_is_an_error() {
    let body = Bytes::from(json!({ "error": { "message": "x".repeat(100_000) } }).to_string());
    let event = error_event(StatusCode::BAD_GATEWAY, &body, &REFUSAL);
    assert!(event.len() > body.len());
    assert_eq!(scan(&event).error, Some(StreamError::Error));
}
