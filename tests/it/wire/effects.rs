//! Nothing with side effects is sent twice; what is stored only by default is, and the copy is deleted.
//!
//! The first region is where requests go first. Both are raw backends that note every request they get: what they
//! were really asked is what counts here.

use crate::support::{Answer, BACKEND_KEY, KEY, Setup, V1_CHAT, World, wait_for, wait_until};
use firstlight::owners::Known;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const V1_RESPONSES: &str = "/openai/v1/responses";
const FIRST_ID: &str = "resp_aaaaaaaaaaaaaaaaaaaa";
const SECOND_ID: &str = "resp_bbbbbbbbbbbbbbbbbbbb";

/// An attempt is late after 200 ms, and nobody probes.
const MODELS: &str = "  gpt-4o:
    probe: off
    routing: { detect: { trip_ms: 200, clear_ms: 150 } }
  other: {}
  text-embedding-3-large: {}
";

/// The same without hedges of what is stored.
const NOT_HEDGED: &str = "  gpt-4o:
    probe: off
    routing: { detect: { trip_ms: 200, clear_ms: 150 }, hedge: { stored_responses: false } }
  other: {}
  text-embedding-3-large: {}
";

const SOON: &str = "timeouts: { first_token_seconds: 0.5, answer_seconds: 0.5 }";

// ---- Raw backends ----

/// One request that a backend got.
#[derive(Clone, Debug)]
struct Got {
    line: String,
    head: String,
    body: String,
}

/// A backend that sends given bytes to each POST.
#[derive(Clone)]
struct Raw {
    said: Arc<str>,
    then: Then,
    /// The status of responses to DELETE.
    deletes: u16,
    got: Arc<Mutex<Vec<Got>>>,
    released: Arc<Notify>,
}

/// What a backend does behind the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Closes,
    Resets,
    /// It holds the connection open; released, it sends a good stream.
    Holds,
}

impl Raw {
    fn new(said: impl Into<Arc<str>>, then: Then) -> Self {
        let (got, released) = (Arc::default(), Arc::default());
        Self { said: said.into(), then, deletes: 200, got, released }
    }

    fn good() -> Self {
        Self::new(format!("{HEADER}{}", content(SECOND_ID)), Then::Closes)
    }

    fn silent() -> Self {
        Self::new("", Then::Holds)
    }

    fn count(&self, method: &str) -> usize {
        let begins = |got: &&Got| got.line.starts_with(method);
        self.got.lock().unwrap().iter().filter(begins).count()
    }

    /// The first deletion, waited for.
    async fn deletion(&self) -> Got {
        wait_for("a deletion", || async {
            let got = self.got.lock().unwrap();
            got.iter().find(|got| got.line.starts_with("DELETE")).cloned()
        })
        .await
    }

    async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let backend = self.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(backend.clone().serve(socket));
            }
        });
        address
    }

    async fn serve(self, mut socket: TcpStream) {
        let Some(got) = read(&mut socket).await else { return };
        let is_deletion = got.line.starts_with("DELETE");
        let is_chat = got.line.contains("/chat/");
        self.got.lock().unwrap().push(got);
        if is_deletion {
            let body = r#"{"object":"response","deleted":true}"#;
            let said = whole(self.deletes, body);
            return socket.write_all(said.as_bytes()).await.unwrap();
        }
        socket.write_all(self.said.as_bytes()).await.unwrap();
        match self.then {
            Then::Closes => socket.shutdown().await.unwrap(),
            Then::Resets => socket.set_zero_linger().unwrap(),
            Then::Holds => {
                let mut end = [0];
                tokio::select! {
                    _ = socket.read(&mut end) => return,
                    () = self.released.notified() => {}
                }
                let good = if is_chat { CHAT.to_owned() } else { content(FIRST_ID) };
                let said = format!("{HEADER}{good}");
                socket.write_all(said.as_bytes()).await.unwrap();
                socket.shutdown().await.unwrap();
            }
        }
    }
}

/// Reads one request.
async fn read(socket: &mut TcpStream) -> Option<Got> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let (line, head) = head.split_once("\r\n").unwrap();
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(Got { line: line.to_owned(), head, body: body.to_owned() });
            }
        }
        if socket.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

const HEADER: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

const CHAT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"w0 \"}}]}\n\ndata: [DONE]\n\n";

/// The first event of a response.
fn created(id: &str) -> String {
    let response = json!({"previous_response_id": null, "id": id, "object": "response"});
    let event = json!({"type": "response.created", "response": response});
    format!("event: response.created\ndata: {event}\n\n")
}

/// All events of a response.
fn content(id: &str) -> String {
    let delta = json!({"type": "response.output_text.delta", "delta": "w0 "});
    let end = json!({"type": "response.completed", "response": {"id": id, "object": "response"}});
    format!("{}data: {delta}\n\ndata: {end}\n\n", created(id))
}

/// A JSON response.
fn whole(status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

/// A world of two raw regions.
async fn world(regions: [&Raw; 2], more: &'static str, models: &'static str) -> World {
    let setup = Setup { regions: vec!["a", "b"], more, models, ..Setup::default() };
    let world = World::of(setup).await;
    let mut yaml = world.yaml.clone();
    for (name, raw) in ["a", "b"].into_iter().zip(regions) {
        let mock = format!("http://{}\"", world.mock.address(name).unwrap());
        assert!(yaml.contains(&mock), "{yaml}");
        yaml = yaml.replace(&mock, &format!("http://{}\"", raw.listen().await));
    }
    world.reload(&yaml).await.unwrap();
    world
}

fn asked(more: &Value) -> Value {
    let mut body = json!({"model": "gpt-4o", "stream": true, "input": "Say hi"});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

fn mcp() -> Value {
    let tool = json!({"type": "mcp", "server_label": "s", "server_url": "https://mcp.example",
        "require_approval": "never"});
    json!([{"type": "function", "name": "f", "parameters": {"type": "object"}}, tool])
}

async fn hedges(world: &World, result: &str) -> String {
    world.metric(&format!("firstlight_hedges_total{{model=\"gpt-4o\",result=\"{result}\"}}")).await
}

async fn copies(world: &World, backend: &str, result: &str) -> String {
    let labels = format!("backend=\"{backend}\",model=\"gpt-4o\",result=\"{result}\"");
    world.metric(&format!("firstlight_stored_copies_total{{{labels}}}")).await
}

async fn counted(world: &World, backend: &str, result: &str) {
    wait_for(result, || async { Some(copies(world, backend, result).await).filter(|n| n == "1") })
        .await;
}

// ---- What is sent once ----

/// The first region is silent until a hedge was denied, and then answers: nobody else is asked.
async fn check_once(path: &str, body: Value, more: &'static str) {
    let (first, second) = (Raw::silent(), Raw::good());
    let world = world([&first, &second], more, MODELS).await;
    let waiting = tokio::spawn(world.request(path).json(&body).send());
    wait_for("a denied hedge", || async {
        Some(hedges(&world, "denied_not_allowed").await).filter(|denied| denied != "0")
    })
    .await;
    first.released.notify_one();
    let answer = Answer::read(waiting.await.unwrap().unwrap()).await;
    assert_eq!((answer.status, answer.backend()), (200, Some("a")), "{body}: {}", answer.text());
    assert_eq!((first.count("POST"), second.count("POST")), (1, 0), "{body}");
    assert_eq!((first.count("DELETE"), hedges(&world, "sent").await.as_str()), (0, "0"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_backend_is_not_raced_for_what_has_an_effect() {
    let tool = |kind: &str| asked(&json!({"store": false, "tools": [{"type": kind}]}));
    for body in [
        asked(&json!({"store": false, "tools": mcp()})),
        asked(&json!({"tools": mcp()})),
        tool("code_interpreter"),
        tool("image_generation"),
        tool("shell"),
        tool("of_tomorrow"),
        asked(&json!({"store": true})),
        asked(&json!({"store": false, "prompt": {"id": "pmpt_1"}})),
    ] {
        check_once(V1_RESPONSES, body, "").await;
    }
    let chat = json!({"model": "gpt-4o", "stream": true, "store": true,
        "messages": [{"role": "user", "content": "Say hi"}]});
    check_once(V1_CHAT, chat, "").await;
    // Another tool is what the operator allows.
    let more = "retry: { repeatable_tools: [code_interpreter] }";
    check_once(V1_RESPONSES, asked(&json!({"store": false, "tools": mcp()})), more).await;
}

/// The first region fails after it took the request: nobody else is asked.
async fn check_failed_once(body: Value) {
    let fails = Raw::new(whole(500, r#"{"error":{"message":"x"}}"#), Then::Closes);
    for first in [fails, Raw::new("", Then::Resets), Raw::silent()] {
        let second = Raw::good();
        let world = world([&first, &second], SOON, MODELS).await;
        let answer = world.post(V1_RESPONSES, &body).await;
        assert_eq!((answer.status, answer.attempts()), (503, Some(1)), "{}", answer.text());
        assert_eq!((first.count("POST"), second.count("POST")), (1, 0), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_an_effect_is_not_repeated_after_a_failure() {
    for body in [
        asked(&json!({"store": false, "tools": mcp()})),
        asked(&json!({"store": true})),
        asked(&json!({"background": true})),
        asked(&json!({"store": false, "conversation": {}})),
    ] {
        check_failed_once(body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_sent_elsewhere_whatever_it_does() {
    let limit = Raw::new(whole(429, r#"{"error":{"code":"429"}}"#), Then::Closes);
    let second = Raw::good();
    let world = world([&limit, &second], SOON, MODELS).await;
    let answer = world.post(V1_RESPONSES, &asked(&json!({"tools": mcp(), "store": true}))).await;
    assert_eq!((answer.status, answer.backend()), (200, Some("b")), "{}", answer.text());
    assert_eq!((limit.count("POST"), second.count("POST")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_allow_a_tool_to_be_used_twice() {
    for more in ["retry: { repeatable_tools: [mcp] }", "retry: { repeatable_tools: [all] }"] {
        let (first, second) = (Raw::silent(), Raw::good());
        let world = world([&first, &second], more, MODELS).await;
        let body = asked(&json!({"store": false, "tools": mcp()}));
        let answer = world.post(V1_RESPONSES, &body).await;
        assert_eq!((answer.status, answer.backend()), (200, Some("b")), "{}", answer.text());
        assert_eq!(hedges(&world, "won").await, "1");
    }
}

// ---- What is stored only by default ----

/// The deletion names the copy, in this form, with our credential and nothing of the client's.
async fn check_deleted(first: &Raw, target: &str) {
    let deletion = first.deletion().await;
    assert_eq!(deletion.line, format!("DELETE {target} HTTP/1.1"));
    let keys = deletion.head.lines().filter(|line| line.starts_with("api-key: "));
    assert_eq!(keys.collect::<Vec<_>>(), [format!("api-key: {BACKEND_KEY}")]);
    assert!(!deletion.head.contains(KEY) && deletion.body.is_empty(), "{deletion:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_backend_is_raced_and_the_losers_copy_deleted() {
    let v1 = format!("{V1_RESPONSES}/{FIRST_ID}");
    let version = "api-version=2025-04-01-preview";
    let dated = format!("/openai/responses/{FIRST_ID}?{version}");
    let functions = json!({"tools": [{"type": "function", "name": "f"}, {"type": "file_search"}]});
    for (path, target, body) in [
        (V1_RESPONSES.to_owned(), v1, asked(&functions)),
        (format!("/openai/responses?{version}"), dated, asked(&json!({"store": null}))),
    ] {
        let said = format!("{HEADER}{}", created(FIRST_ID));
        let (first, second) = (Raw::new(said, Then::Holds), Raw::good());
        let world = world([&first, &second], "", MODELS).await;
        let answer = world.post(&path, &body).await;
        assert_eq!((answer.status, answer.backend()), (200, Some("b")), "{}", answer.text());
        assert_eq!(answer.attempts(), Some(2));
        assert!(answer.complete && !answer.text().contains(FIRST_ID), "{}", answer.text());
        check_deleted(&first, &target).await;
        counted(&world, "a", "deleted").await;
        assert_eq!((first.count("POST"), second.count("POST")), (1, 1));
        assert_eq!((first.count("DELETE"), second.count("DELETE")), (1, 0));
        // Only the winner's id leads somewhere, and the deletion was no attempt.
        let live = world.proxy.live();
        let find = |id| live.kept().find(id, "tests", live.clock().unix().as_secs());
        assert_eq!((find(FIRST_ID), find(SECOND_ID)), (Known::Unknown, Known::Own("b".into())));
        let line = world.log_line(answer.request_id()).await;
        assert_eq!(line["attempts"].as_array().unwrap().len(), 2, "{line}");
        assert_eq!(line["attempts"][0]["outcome"], "lost", "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_id_was_not_read_is_counted() {
    let (first, second) = (Raw::silent(), Raw::good());
    let world = world([&first, &second], "", MODELS).await;
    let answer = world.post(V1_RESPONSES, &asked(&json!({}))).await;
    assert_eq!((answer.status, answer.backend()), (200, Some("b")), "{}", answer.text());
    counted(&world, "a", "unseen").await;
    assert_eq!(first.count("DELETE"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_before_the_first_content_goes_elsewhere_and_leaves_no_copy() {
    let failed = json!({"type": "response.failed", "response": {"id": FIRST_ID,
        "error": {"code": "server_error"}}});
    let begun = format!("{HEADER}{}", created(FIRST_ID));
    let event = format!("{begun}event: response.failed\ndata: {failed}\n\n");
    for (first, has_copy) in [
        (Raw::new(whole(500, r#"{"error":{"message":"x"}}"#), Then::Closes), false),
        (Raw::new("", Then::Closes), false),
        (Raw::new(event, Then::Closes), true),
        (Raw::new(begun, Then::Closes), true),
    ] {
        let second = Raw::good();
        let world = world([&first, &second], "", NOT_HEDGED).await;
        let answer = world.post(V1_RESPONSES, &asked(&json!({}))).await;
        assert_eq!((answer.status, answer.backend()), (200, Some("b")), "{}", answer.text());
        if has_copy {
            check_deleted(&first, &format!("{V1_RESPONSES}/{FIRST_ID}")).await;
            counted(&world, "a", "deleted").await;
        }
        assert_eq!((first.count("POST"), second.count("POST")), (1, 1));
        assert_eq!(first.count("DELETE"), usize::from(has_copy));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_streamed_goes_elsewhere_too() {
    let first = Raw::new(whole(503, r#"{"error":{"message":"x"}}"#), Then::Closes);
    let body = json!({"id": SECOND_ID, "object": "response", "output": []}).to_string();
    let second = Raw::new(whole(200, &body), Then::Closes);
    let world = world([&first, &second], "", MODELS).await;
    let answer = world.post(V1_RESPONSES, &asked(&json!({"stream": false}))).await;
    assert_eq!((answer.status, answer.backend()), (200, Some("b")), "{}", answer.text());
    assert_eq!(answer.text(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_hedges_a_stored_response_is_retried_all_the_same() {
    let (first, second) = (Raw::silent(), Raw::good());
    let world = world([&first, &second], SOON, NOT_HEDGED).await;
    let answer = world.post(V1_RESPONSES, &asked(&json!({}))).await;
    assert_eq!((answer.status, answer.backend()), (200, Some("b")), "{}", answer.text());
    assert_ne!(hedges(&world, "denied_not_allowed").await, "0");
    assert_eq!(hedges(&world, "sent").await, "0");
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["attempts"][0]["outcome"], "timed_out", "{line}");
    // What is not stored is hedged as ever.
    let unstored = asked(&json!({"store": false}));
    assert_eq!(world.post(V1_RESPONSES, &unstored).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_tried_twice_and_no_more() {
    let said = format!("{HEADER}{}", created(FIRST_ID));
    for (status, result) in [(500, "failed"), (404, "missing")] {
        let first = Raw { deletes: status, ..Raw::new(&*said, Then::Holds) };
        let second = Raw::good();
        let world = world([&first, &second], "", MODELS).await;
        assert_eq!(world.post(V1_RESPONSES, &asked(&json!({}))).await.backend(), Some("b"));
        counted(&world, "a", result).await;
        assert_eq!(first.count("DELETE"), 2);
    }
}

/// A client that waits for one response and leaves leaves one.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_leave_two() {
    let begun = |id| Raw::new(format!("{HEADER}{}", created(id)), Then::Holds);
    let (first, second) = (begun(FIRST_ID), begun(SECOND_ID));
    let world = world([&first, &second], "", MODELS).await;
    let waiting = tokio::spawn(world.request(V1_RESPONSES).json(&asked(&json!({}))).send());
    wait_until("two attempts", || second.count("POST") == 1).await;
    waiting.abort();
    // Whether the second id was read by then is chance.
    wait_for("one copy", || async {
        let counts = [copies(&world, "b", "deleted").await, copies(&world, "b", "unseen").await];
        (counts.iter().filter(|count| *count == "1").count() == 1).then_some(())
    })
    .await;
    assert_eq!(first.count("DELETE"), 0);
}
