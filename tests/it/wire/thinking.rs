//! Streams of models that think for long: signs of progress keep them, and what nobody waits for is not cut.

use crate::support::{Answer, KEY, Setup, World};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_0123456789abcdef0123\",\"status\":\"in_progress\"}}\n\n";
const SIGN: &str = "event: keepalive\ndata: {\"type\":\"keepalive\"}\n\n";
const REST: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n\
    event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"}}\n\n";
/// The time between the first event and the content; with signs in between where there are some.
const THINKS: Duration = Duration::from_millis(1500);
const SIGNS: u32 = 15;

/// A world of one region that thinks so.
async fn world(signs: bool, more: &'static str) -> World {
    let world = World::of(Setup { regions: vec!["a"], more, ..Setup::default() }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(think(socket, signs));
        }
    });
    let mock = format!("http://{}\"", world.mock.address("a").unwrap());
    let yaml = world.yaml.replace(&mock, &format!("http://{address}\""));
    world.reload(&yaml).await.unwrap();
    world
}

/// Answers the first request of a connection. Whoever leaves meanwhile is not missed.
async fn think(mut socket: TcpStream, signs: bool) -> Option<()> {
    let mut read = vec![0; 8 << 10];
    let _length = socket.read(&mut read).await.ok()?;
    socket.write_all(format!("{HEAD}{CREATED}").as_bytes()).await.ok()?;
    for _ in 0..SIGNS {
        tokio::time::sleep(THINKS / SIGNS).await;
        if signs {
            socket.write_all(SIGN.as_bytes()).await.ok()?;
        }
    }
    socket.write_all(REST.as_bytes()).await.ok()?;
    socket.shutdown().await.ok()
}

fn check_whole(answer: &Answer) {
    assert!(answer.status == 200 && answer.complete, "{} {}", answer.status, answer.text());
    assert!(answer.text().contains("response.completed"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_progress_keep_what_can_go_nowhere_else() {
    let body = json!({"model": "gpt-4o", "stream": true, "store": true, "input": "Say hi"});
    let more = "timeouts: { first_token_seconds: 0.6 }";
    let answer = world(true, more).await.post("/openai/v1/responses", &body).await;
    check_whole(&answer);
    // Without a sign, what the operator wrote is a bound.
    let answer = world(false, more).await.post("/openai/v1/responses", &body).await;
    assert!(!answer.text().contains("response.completed"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_idle_timer_waits_for_the_first_content() {
    let more = "timeouts: { idle_seconds: 0.4 }";
    let world = world(false, more).await;
    let body = json!({"model": "gpt-4o", "stream": true, "background": true, "input": "Say hi"});
    check_whole(&world.post("/openai/v1/responses", &body).await);
    let url =
        world.url("/openai/v1/responses/resp_0123456789abcdef0123?stream=true&starting_after=1");
    let resumed = world.client.get(url).header("api-key", KEY).send().await.unwrap();
    check_whole(&Answer::read(resumed).await);
}
