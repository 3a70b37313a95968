//! How streams end: by what their events say, whatever their connections do.
//!
//! A raw backend sends the events of one operation, in one framing, and then ends the body, breaks it, resets the
//! connection or holds it open. What the client gets and what is learned must depend on the events alone.

use super::canned::request;
use super::{ALL, FIRST, attempts, check_nothing_learned, check_strikes, setup, view};
use crate::support::{Answer, Streamed, V1_CHAT, World, streamed_chat};
use firstlight::routing::State;
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Far below the idle time-out of two minutes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the length of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Chunked,
    UntilClose,
    /// With a length; of a body that does not end, a larger one.
    Length,
}

/// What the connection does behind the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It ends the body.
    End,
    /// It closes within the body.
    Cut,
    /// It is reset.
    Reset,
    /// Nothing more.
    Hold,
}

/// A backend that says this to every request.
#[derive(Clone)]
struct Raw {
    events: String,
    framing: Framing,
    then: Then,
    /// The client has all of the events.
    seen: Arc<Notify>,
}

impl Raw {
    fn new(events: &str, framing: Framing, then: Then) -> Self {
        Self { events: events.to_owned(), framing, then, seen: Arc::default() }
    }

    /// A world in which it is the first region.
    async fn first(&self) -> World {
        let world = World::of(setup()).await;
        let mock = format!("http://{}\"", world.mock.address(FIRST).unwrap());
        assert!(world.yaml.contains(&mock), "{}", world.yaml);
        let raw = format!("http://{}\"", self.clone().listen().await);
        world.reload(&world.yaml.replace(&mock, &raw)).await.unwrap();
        world
    }

    async fn listen(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(self.clone().serve(socket));
            }
        });
        address
    }

    async fn serve(self, mut socket: TcpStream) {
        while request(&mut socket).await.is_some() {
            socket.write_all(self.said().as_bytes()).await.unwrap();
            match self.then {
                Then::End if self.framing != Framing::UntilClose => {}
                // Dropped, it closes.
                Then::End | Then::Cut => return,
                Then::Hold => return drop(socket.read(&mut [0]).await),
                Then::Reset => {
                    // It takes with it what was not read.
                    self.seen.notified().await;
                    return socket.set_zero_linger().unwrap();
                }
            }
        }
    }

    fn said(&self) -> String {
        let (events, ends) = (&self.events, self.then == Then::End);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n";
        let length = events.len();
        match self.framing {
            Framing::Chunked => {
                let last = if ends { "0\r\n\r\n" } else { "" };
                format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{events}\r\n{last}")
            }
            Framing::UntilClose => format!("{head}\r\n{events}"),
            Framing::Length => {
                let length = if ends { length } else { length + 9 };
                format!("{head}content-length: {length}\r\n\r\n{events}")
            }
        }
    }
}

/// What is asked, and the events of its streams.
struct Operation {
    path: &'static str,
    content_type: &'static str,
    body: String,
    /// Of half of a response.
    half: String,
    /// What makes it whole, with whatever closes it and without.
    wholes: Vec<&'static str>,
    /// What tells of a failure instead.
    failures: Vec<&'static str>,
}

const ERROR: &str = "data: {\"error\":{\"message\":\"The server had an error\",\"type\":\"server_error\",\"code\":null}}\n\n";
const NAMED: &str = "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"m\",\"param\":null}\n\n";

fn json_of(path: &'static str, body: &serde_json::Value, half: &str) -> Operation {
    let content_type = "application/json";
    let half = half.to_owned();
    Operation {
        path,
        content_type,
        body: body.to_string(),
        half,
        wholes: vec![],
        failures: vec![NAMED],
    }
}

fn chat() -> Operation {
    let half = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null,\"index\":0}]}\n\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null,\"index\":0}]}\n\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"!\"},\"finish_reason\":null,\"index\":0}]}\n\n";
    Operation {
        wholes: vec![
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\",\"index\":0}]}\n\ndata: [DONE]\n\n",
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\",\"index\":0}]}\n\n",
            "data: [DONE]\n\n",
        ],
        failures: vec![ERROR, NAMED],
        ..json_of(V1_CHAT, &streamed_chat(), half)
    }
}

fn completion() -> Operation {
    let body = json!({"model": "gpt-4o", "prompt": "Hi", "stream": true, "stream_options": {"include_usage": true}});
    let half = "data: {\"choices\":[{\"text\":\"Hi\",\"index\":0,\"finish_reason\":null}]}\n\n";
    Operation {
        wholes: vec![
            "data: {\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[{\"text\":\".\",\"index\":0,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ],
        failures: vec![ERROR],
        ..json_of("/openai/v1/completions", &body, half)
    }
}

fn response() -> Operation {
    let half = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n\
        event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n";
    Operation {
        wholes: vec![
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"error\":null}}\n\n",
            "event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"response\":{\"error\":null}}\n\n",
        ],
        failures: vec![
            NAMED,
            "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}\n\n",
        ],
        ..json_of(super::V1_RESPONSES, &super::response(), half)
    }
}

fn run() -> Operation {
    let body = json!({"stream": true});
    let half = "event: thread.run.created\ndata: {\"id\":\"run_1\",\"object\":\"thread.run\"}\n\n\
        event: thread.message.delta\ndata: {\"delta\":{\"content\":[{\"index\":0,\"type\":\"text\"}]}}\n\n";
    Operation {
        wholes: vec![
            "event: thread.run.completed\ndata: {\"id\":\"run_1\"}\n\nevent: done\ndata: [DONE]\n\n",
            "event: thread.run.requires_action\ndata: {\"id\":\"run_1\"}\n\n",
        ],
        failures: vec![
            "event: thread.run.failed\ndata: {\"last_error\":{\"code\":\"server_error\"}}\n\nevent: done\ndata: [DONE]\n\n",
        ],
        ..json_of("/openai/v1/threads/runs", &body, half)
    }
}

fn speech() -> Operation {
    let body = json!({"model": "gpt-4o", "input": "Hi", "voice": "alloy", "stream_format": "sse"});
    let half = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}\n\n";
    Operation {
        wholes: vec!["data: {\"type\":\"speech.audio.done\",\"usage\":{}}\n\n"],
        ..json_of("/openai/v1/audio/speech", &body, half)
    }
}

fn transcription() -> Operation {
    let field = |name: &str, value: &str| {
        format!("--xx\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = field("model", "gpt-4o") + &field("stream", "true") + "--xx--\r\n";
    let half = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}\n\n";
    Operation {
        content_type: "multipart/form-data; boundary=xx",
        body,
        wholes: vec!["data: {\"type\":\"transcript.text.done\",\"text\":\"Hi\"}\n\n"],
        ..json_of("/openai/v1/audio/transcriptions", &json!({}), half)
    }
}

fn picture() -> Operation {
    let body = json!({"model": "gpt-4o", "prompt": "A cat", "stream": true});
    let half = "event: image_generation.partial_image\n\
        data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AAAA\",\"partial_image_index\":0}\n\n";
    Operation {
        wholes: vec!["data: {\"type\":\"image_generation.completed\",\"b64_json\":\"AAAA\"}\n\n"],
        ..json_of("/openai/v1/images/generations", &body, half)
    }
}

/// What the client got, and the words of the log: of the attempt and of the request.
struct Seen {
    answer: Answer,
    outcome: String,
    term: String,
}

async fn ask(world: &World, raw: &Raw, operation: &Operation) -> Answer {
    let request = world.request(operation.path).header("content-type", operation.content_type);
    let response = request.body(operation.body.clone()).send().await.unwrap();
    let mut stream = Streamed::of(response);
    let mut got = 0;
    while let Some(piece) = stream.next().await {
        got += piece.len();
        if got >= raw.events.len() {
            raw.seen.notify_one();
        }
    }
    stream.into_answer()
}

async fn see(operation: &Operation, raw: Raw) -> Seen {
    let what = format!("{} {:?} {:?} {}", operation.path, raw.framing, raw.then, raw.events);
    let world = raw.first().await;
    let answer = timeout(PATIENCE, ask(&world, &raw, operation)).await.expect(&what);
    assert_eq!((answer.status, answer.backend()), (200, Some(FIRST)), "{what}: {}", answer.text());
    assert!(answer.text().starts_with(&raw.events), "{what}: {}", answer.text());
    let line = world.log_line(answer.request_id()).await;
    let outcome = line["attempts"][0]["outcome"].as_str().unwrap().to_owned();
    Seen { answer, outcome, term: line["term"].as_str().unwrap().to_owned() }
}

/// All ways in which a connection can end behind these events.
fn all_ways(events: &str) -> Vec<Raw> {
    let framings = [Framing::Chunked, Framing::UntilClose, Framing::Length];
    let ways = framings.into_iter().flat_map(|framing| {
        [Then::End, Then::Cut, Then::Reset, Then::Hold].map(|then| (framing, then))
    });
    // Without a length, a cut is an end.
    let ways = ways.filter(|way| *way != (Framing::UntilClose, Then::Cut));
    ways.map(|(framing, then)| Raw::new(events, framing, then)).collect()
}

async fn check_whole(operation: &Operation, events: &str) {
    join_all(all_ways(events).into_iter().map(|raw| async {
        let what = format!("{:?} {:?} {events}", raw.framing, raw.then);
        let seen = see(operation, raw).await;
        assert_eq!(seen.answer.text(), events, "{what}");
        assert!(seen.answer.complete, "{what}");
        assert_eq!((&*seen.outcome, &*seen.term), ("ok", "ok"), "{what}");
    }))
    .await;
}

async fn check_half(operation: &Operation, events: &str) {
    // Held open, it has the idle time-out.
    let ways = all_ways(events).into_iter().filter(|raw| raw.then != Then::Hold);
    join_all(ways.map(|raw| async {
        let what = format!("{:?} {:?} {events}", raw.framing, raw.then);
        let Seen { answer, outcome, term } = see(operation, raw).await;
        let told = answer.text().strip_prefix(events).unwrap();
        assert!(told.starts_with("\n\nevent: error\ndata: {"), "{what}: {told}");
        assert!(told.contains("\"upstream_abort\"") && told.ends_with("}\n\n"), "{what}: {told}");
        assert!(!answer.complete, "{what}: it looks complete");
        assert_eq!((&*outcome, &*term), ("broken_off", "upstream_abort"), "{what}");
    }))
    .await;
}

async fn check_failed(operation: &Operation, events: &str) {
    join_all(all_ways(events).into_iter().map(|raw| async {
        let what = format!("{:?} {:?} {events}", raw.framing, raw.then);
        let then = raw.then;
        let Seen { answer, outcome, term } = see(operation, raw).await;
        assert_eq!(answer.text(), events, "{what}: nothing of ours behind it");
        // As the upstream ended it.
        let ends = matches!(then, Then::End | Then::Hold);
        assert_eq!(answer.complete, ends, "{what}");
        let expected = if ends { "failed" } else { "upstream_abort" };
        assert_eq!((&*outcome, &*term), ("broken_off", expected), "{what}");
    }))
    .await;
}

async fn check(operation: Operation) {
    let half = &operation.half;
    check_half(&operation, half).await;
    for whole in &operation.wholes {
        check_whole(&operation, &format!("{half}{whole}")).await;
    }
    for failure in &operation.failures {
        check_failed(&operation, &format!("{half}{failure}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_chat() {
    check(chat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_legacy_completion() {
    check(completion()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_response() {
    check(response()).await;
}

/// It is kept: its header is passed on before its first content.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_response_that_is_kept() {
    check(Operation { body: super::kept_response().to_string(), ..response() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_run_of_an_assistant() {
    check(run()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_speech() {
    check(speech()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_transcription() {
    check(transcription()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_picture() {
    check(picture()).await;
}

/// Every choice that began must have its finish reason.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_chat_with_two_choices() {
    let of = |index: u8, delta: &str, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{{delta}}},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let hi = "\"content\":\"Hi\"";
    let half =
        [of(0, hi, "null"), of(1, hi, "null"), of(0, "", "\"stop\""), of(1, hi, "null")].concat();
    let operation = Operation { half, ..chat() };
    check_half(&operation, &operation.half).await;
    let whole = operation.half.clone() + &of(1, "", "\"stop\"");
    check_whole(&operation, &whole).await;
}

/// A stream of a form that is not known ends as its connection does.
#[tokio::test(flavor = "multi_thread")]
async fn of_what_is_not_known() {
    let events = "event: agent.step\ndata: {\"step\":1}\n\n";
    let operation = Operation { half: events.to_owned(), ..run() };
    for framing in [Framing::Chunked, Framing::UntilClose, Framing::Length] {
        let seen = see(&operation, Raw::new(events, framing, Then::End)).await;
        assert!(seen.answer.complete && seen.answer.text() == events, "{}", seen.answer.text());
    }
    let seen = see(&operation, Raw::new(events, Framing::Chunked, Then::Cut)).await;
    assert!(!seen.answer.complete && seen.answer.text().contains("\"upstream_abort\""));
}

/// A response that came to nothing, and says so, is a good one without content.
#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_response_without_content_is_an_empty_one() {
    let events = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n\
        event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"response\":{\"incomplete_details\":{\"reason\":\"content_filter\"}}}\n\n";
    check_whole(&Operation { half: String::new(), ..response() }, events).await;
}

/// Half of a response and a failure that is told count alike: a strike from the second request on, then the target
/// is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_streams_fail_loses_its_traffic() {
    let chat = chat();
    for events in [chat.half.clone(), chat.half.clone() + ERROR] {
        let raw = Raw::new(&events, Framing::Chunked, Then::End);
        let world = raw.first().await;
        for strikes in [0.0, 1.0] {
            assert_eq!(ask(&world, &raw, &chat).await.backend(), Some(FIRST));
            check_strikes(&world, FIRST, strikes);
        }
        ask(&world, &raw, &chat).await;
        assert_eq!(view(&world, FIRST).state, State::Degraded, "{events}");
        assert_eq!(attempts(&world, FIRST).await, "broken_off 3, ok 3");
        let answer = world.chat().await;
        answer.assert_whole_stream();
        assert!(answer.backend() != Some(FIRST) && ALL.contains(&answer.backend().unwrap()));
    }
}

/// What ends badly behind a whole response, or at a limit, is held against nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_keeps_its_record_when_its_responses_are_whole_or_limited() {
    let limited = "data: {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"m\"}}\n\n";
    let chat = chat();
    for (last, then, counted) in [
        (chat.wholes[0], Then::Cut, "ok 5"),
        (chat.wholes[1], Then::Cut, "ok 5"),
        (limited, Then::End, "limited 5, ok 5"),
    ] {
        let raw = Raw::new(&format!("{}{last}", chat.half), Framing::Chunked, then);
        let world = raw.first().await;
        for _ in 0..5 {
            let answer = ask(&world, &raw, &chat).await;
            assert_eq!((answer.backend(), answer.text()), (Some(FIRST), &*raw.events));
            assert!(answer.complete);
        }
        assert_eq!(attempts(&world, FIRST).await, counted);
        let view = view(&world, FIRST);
        assert_eq!((view.state, view.limited), (State::Healthy, Duration::ZERO), "{view:?}");
        check_strikes(&world, FIRST, 0.0);
        check_nothing_learned(&world, ALL[1]);
    }
}
