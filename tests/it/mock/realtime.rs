//! Realtime on the mock: the handshake, what is said, and how it fails.

use crate::mock::Stage;
use firstlight::mock::{BackendSpec, Behaviour, Fault, Outcome};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

type Socket = WebSocketStream<TcpStream>;

const V1: &str = "/openai/v1/realtime?model=gpt-realtime";

async fn keyed() -> Stage {
    let mut spec = BackendSpec::local("a", Behaviour::instant());
    spec.api_key = Some("secret".to_owned());
    spec.deployments = Some(vec!["gpt-realtime".to_owned()]);
    Stage::of(spec).await
}

/// The socket, or the status of the refusal.
async fn open(stage: &Stage, path: &str, key: Option<&'static str>) -> Result<Socket, u16> {
    let address = stage.mock.address("a").unwrap();
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    if let Some(key) = key {
        request.headers_mut().insert("api-key", key.parse().unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn say(socket: &mut Socket, event: Value) {
    socket.send(Message::text(event.to_string())).await.unwrap();
}

async fn heard(socket: &mut Socket) -> Value {
    let message = socket.next().await.unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

/// The types of the events up to this one, and the last of them.
async fn until(socket: &mut Socket, last: &str) -> (Vec<String>, Value) {
    let mut names = Vec::new();
    loop {
        let event = heard(socket).await;
        names.push(event["type"].as_str().unwrap().to_owned());
        if event["type"] == last {
            return (names, event);
        }
    }
}

#[tokio::test]
async fn a_session_answers_and_ends() {
    let stage = keyed().await;
    let mut socket = open(&stage, V1, Some("secret")).await.unwrap();
    let created = heard(&mut socket).await;
    assert_eq!(created["type"], "session.created");
    assert_eq!(created["session"]["model"], "gpt-realtime");
    say(&mut socket, json!({"type": "response.create"})).await;
    let (names, done) = until(&mut socket, "response.done").await;
    assert_eq!(names[0], "response.created");
    assert_eq!(names.iter().filter(|name| *name == "response.output_text.delta").count(), 5);
    assert_eq!(done["response"]["usage"]["output_tokens"], 5);
    say(&mut socket, json!({"type": "input_text", "x": "\u{e9}"})).await;
    let echo = heard(&mut socket).await;
    assert_eq!(echo["type"], "conversation.item.created");
    assert_eq!(echo["echo"]["x"], "\u{e9}");
    socket.send(Message::Binary(vec![0, 255].into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_data().as_ref(), [0, 255]);
    socket.send(Message::Ping(b"p"[..].into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(b"p"[..].into()));
    socket.close(None).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    let counters = stage.mock.wait_until("a", |counters| counters.in_flight == 0).await.unwrap();
    assert_eq!((counters.completed, counters.streams, counters.answered_tokens), (1, 1, 5));
    let recorded = stage.mock.last_request("a").unwrap().unwrap();
    assert_eq!(recorded.model.as_deref(), Some("gpt-realtime"));
}

#[tokio::test]
async fn a_handshake_needs_a_key_and_a_model() {
    let stage = keyed().await;
    let azure = "/openai/realtime?api-version=2025-04-01-preview&deployment=gpt-realtime";
    assert!(open(&stage, azure, Some("secret")).await.is_ok());
    assert!(open(&stage, &format!("{V1}&api-key=secret"), None).await.is_ok());
    assert_eq!(open(&stage, V1, None).await.err(), Some(401));
    assert_eq!(open(&stage, V1, Some("wrong")).await.err(), Some(401));
    let other = "/openai/v1/realtime?model=other";
    assert_eq!(open(&stage, other, Some("secret")).await.err(), Some(404));
    assert_eq!(open(&stage, "/openai/v1/realtime", Some("secret")).await.err(), Some(400));
    let plain = stage.client.get(stage.url(V1)).header("api-key", "secret").send().await.unwrap();
    assert_eq!(plain.status().as_u16(), 426);
}

#[tokio::test]
async fn faults_strike_the_handshake_and_the_answers() {
    let stage = keyed().await;
    let mut socket = open(&stage, V1, Some("secret")).await.unwrap();
    heard(&mut socket).await;
    stage.mock.set_fault("a", Fault::Status5xx { status: 503 }).unwrap();
    assert_eq!(open(&stage, V1, Some("secret")).await.err(), Some(503));
    say(&mut socket, json!({"type": "response.create"})).await;
    assert_eq!(heard(&mut socket).await["type"], "error");
    stage.mock.set_fault("a", Fault::ErrorAfter200RateLimit).unwrap();
    say(&mut socket, json!({"type": "response.create"})).await;
    let (names, done) = until(&mut socket, "response.done").await;
    assert_eq!(names, ["response.created", "error", "response.done"]);
    assert_eq!(done["response"]["status"], "failed");
    stage.mock.set_fault("a", Fault::Truncate { after_tokens: 1 }).unwrap();
    say(&mut socket, json!({"type": "response.create"})).await;
    until(&mut socket, "response.output_text.delta").await;
    assert!(!matches!(socket.next().await, Some(Ok(_))), "it went on");
    stage.mock.wait_until("a", |counters| counters.in_flight == 0).await.unwrap();
    assert_eq!(stage.mock.requests("a").unwrap()[0].outcome, Some(Outcome::Faulted));
}
