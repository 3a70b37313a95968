//! Rows of the contract in which a 200 is empty, or no response of the API.

use super::canned::{Canned, answer};
use super::{
    FIRST, V1_RESPONSES, asked_elsewhere, attempts, check_ours, plain, response, settled, setup,
    view,
};
use crate::support::{Answer, Setup, V1_CHAT, World, chat, streamed_chat, wait_until};
use firstlight::azure::error::ClientError;
use firstlight::routing::State;
use serde_json::{Value, json};

const HTML: &str = "<html><body>It works!</body></html>";

/// A whole response of a type, framed in each of the three ways.
fn framed(kind: &str, body: &str) -> [String; 3] {
    let head = format!("HTTP/1.1 200 OK\r\n{kind}connection: close\r\n");
    let length = body.len();
    let chunk = if body.is_empty() { String::new() } else { format!("{length:x}\r\n{body}\r\n") };
    [
        format!("{head}content-length: {length}\r\n\r\n{body}"),
        format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"),
        format!("{head}\r\n{body}"),
    ]
}

const JSON: &str = "content-type: application/json\r\n";
const EVENTS: &str = "content-type: text/event-stream\r\n";

/// What asks for JSON objects, streamed or not.
fn questions() -> Vec<(&'static str, Value)> {
    let embedding = json!({"model": "text-embedding-3-large", "input": "x"});
    let image = json!({"model": "gpt-4o", "prompt": "a cat"});
    let mut all = plain().to_vec();
    all.push(("/openai/v1/embeddings", embedding));
    all.push(("/openai/v1/images/generations", image));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_its_form_goes_elsewhere() {
    let pages = [("content-type: text/html\r\n", HTML), (JSON, HTML), ("", HTML)];
    let others = [(JSON, ""), ("", ""), (JSON, " \n"), (JSON, "null"), (JSON, "[1]")];
    for (kind, body) in pages.into_iter().chain(others) {
        for said in framed(kind, body) {
            check_malformed(said, &questions()[..2], body).await;
        }
    }
    for said in [answer("200 OK", "", ""), answer("200 OK", "", HTML)] {
        for pair in questions().chunks(1) {
            check_malformed(said.clone(), pair, HTML).await;
        }
    }
}

/// Another backend's response to each, and an error of the first.
async fn check_malformed(said: String, questions: &[(&str, Value)], body: &str) {
    let canned = Canned::new(said);
    let world = canned.first().await;
    for (path, question) in questions {
        let answer = world.post(path, question).await;
        assert_eq!((answer.status, answer.attempts()), (200, Some(2)), "{path} {body:?}");
        assert!(answer.complete && answer.text() != body, "{}", answer.text());
        let line = world.log_line(answer.request_id()).await;
        assert_eq!(line["attempts"][0]["outcome"], "malformed", "{line}");
    }
}

/// As any error: two of them ask for a probe, and when that is empty, too, the target is out.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_an_error_and_no_latency() {
    let world = Canned::new(answer("200 OK", "", "")).first().await;
    for _ in 0..2 {
        let answer = world.post(V1_CHAT, &chat()).await;
        assert_eq!((answer.status, answer.attempts()), (200, Some(2)));
    }
    wait_until("the probe has failed", || view(&world, FIRST).state == State::Degraded).await;
    assert_eq!(view(&world, FIRST).base_ms, None);
    assert_eq!(asked_elsewhere(&world), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_events_goes_elsewhere() {
    for body in ["", HTML, ": ping\n\n", "\n\n", "data: [DONE]\n\n"] {
        for said in framed(EVENTS, body) {
            let canned = Canned::new(said);
            let world = canned.first().await;
            let answers = [
                world.post(V1_CHAT, &streamed_chat()).await,
                world.post(V1_RESPONSES, &response()).await,
            ];
            let served = |a: &Answer| (a.status, a.attempts()) == (200, Some(2));
            assert!(answers.iter().all(served), "{body:?}");
            assert_eq!(attempts(&world, FIRST).await, "empty_stream 2", "{body:?}");
        }
    }
}

async fn check_malformed_everywhere(world: &World, question: &Value) {
    let answer = world.post(V1_CHAT, question).await;
    check_ours(&answer, (502, "upstream_malformed"), &ClientError::UpstreamMalformed);
    assert_eq!(answer.attempts(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_empty_is_a_502_of_ours() {
    for (kind, body) in [(JSON, ""), (EVENTS, ""), (JSON, HTML)] {
        for said in framed(kind, body) {
            let canned = Canned::new(said);
            let world = canned.everywhere().await;
            check_malformed_everywhere(&world, &streamed_chat()).await;
            check_malformed_everywhere(&world, &chat()).await;
            settled(&world).await;
            assert_eq!(view(&world, FIRST).base_ms, None);
        }
    }
    // With one backend, too.
    let setup = Setup { regions: vec![FIRST], ..setup() };
    let world = Canned::world(setup, &[(FIRST, &Canned::new(answer("200 OK", "", "")))]).await;
    let answer = world.post(V1_CHAT, &chat()).await;
    check_ours(&answer, (502, "upstream_malformed"), &ClientError::UpstreamMalformed);
}

fn check_passed(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status, answer.text()), (status, body));
    assert_eq!((answer.attempts(), answer.backend()), (Some(1), Some(FIRST)));
}

async fn passed(said: String) -> World {
    Canned::new(said).first().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_fixed_form_passes() {
    // A stream was asked for, and a gateway answers whole.
    let whole = r#" {"choices":[{"message":{"content":"Hi"}}]}"#;
    for said in framed(JSON, whole) {
        let world = passed(said).await;
        check_passed(&world.post(V1_CHAT, &streamed_chat()).await, 200, whole);
        assert_eq!(attempts(&world, FIRST).await, "ok 1");
    }
    let world = passed("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_owned()).await;
    check_passed(&world.post(V1_CHAT, &chat()).await, 204, "");
    // Nobody asked for an encoding; what it holds is not looked at.
    let world = passed(answer("200 OK", "content-encoding: gzip\r\n", "not JSON")).await;
    let encoded = world.post(V1_CHAT, &chat()).await;
    assert_eq!((encoded.status, encoded.attempts()), (200, Some(1)));
    for said in framed("content-type: audio/mpeg\r\n", "ID3") {
        let world = passed(said).await;
        let speech = json!({"model": "gpt-4o", "input": "Hi", "voice": "alloy"});
        check_passed(&world.post("/openai/v1/audio/speech", &speech).await, 200, "ID3");
    }
}
