//! Large requests to backends that read slowly, or not at all.

use crate::support::{Answer, Setup, V1_CHAT, World, chat, streamed_chat, wait_until};
use firstlight::routing::{Size, State, View};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A stream of one token.
const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"w0 \"}}]}\n\n\
    data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
/// The time that the model of such a backend takes.
const THINKS: Duration = Duration::from_millis(200);
const LARGE: usize = 20 << 20;

/// How a backend reads the bodies of large requests.
#[derive(Clone, Copy)]
enum Reads {
    /// 256 KiB in 20 ms.
    Slowly,
    /// Its first bytes, then nothing more.
    Nothing,
}

/// A world whose first region reads so.
async fn world(reads: Reads) -> World {
    let world = World::of(Setup::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, reads));
        }
    });
    let mock = format!("http://{}\"", world.mock.address("a").unwrap());
    let yaml = world.yaml.replace(&mock, &format!("http://{address}\""));
    world.reload(&yaml).await.unwrap();
    world
}

async fn serve(mut socket: TcpStream, reads: Reads) {
    let mut read = vec![0; 256 << 10];
    let mut head = Vec::new();
    let length = loop {
        match socket.read(&mut read).await {
            Ok(0) | Err(_) => return,
            Ok(count) => head.extend_from_slice(&read[..count]),
        }
        if let Some(length) = whole(&head) {
            break length;
        }
    };
    let mut left = length.saturating_sub(head.len());
    while left > 0 {
        match reads {
            Reads::Slowly => tokio::time::sleep(Duration::from_millis(20)).await,
            Reads::Nothing => std::future::pending().await,
        }
        match socket.read(&mut read).await {
            Ok(0) | Err(_) => return,
            Ok(count) => left -= count.min(left),
        }
    }
    tokio::time::sleep(THINKS).await;
    if socket.write_all(GOOD.as_bytes()).await.is_ok() {
        drop(socket.shutdown().await);
    }
}

/// The length of head and body together, once the head is there.
fn whole(read: &[u8]) -> Option<usize> {
    let end = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    Some(end + length.parse::<usize>().unwrap())
}

/// With a picture: many bytes and few tokens.
fn large(mut request: Value) -> Value {
    let url = format!("data:image/png;base64,{}", "A".repeat(LARGE));
    let image = json!({ "type": "image_url", "image_url": { "url": url } });
    request["messages"] = json!([{ "role": "user", "content": [image] }]);
    request
}

fn view(world: &World) -> (View, f64) {
    let live = world.proxy.live();
    let model = live.snapshot().model("gpt-4o").cloned().unwrap();
    let view = model.pool.view(0, live.clock().now()).unwrap();
    (view, model.pool.expected_ms(0, Size::default()).unwrap())
}

async fn chats(world: &World, count: usize, body: &Value) -> Vec<Answer> {
    futures_util::future::join_all((0..count).map(|_| world.post(V1_CHAT, body))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_no_slow_first_token() {
    let world = world(Reads::Slowly).await;
    for _ in 0..3 {
        chats(&world, 10, &streamed_chat()).await;
    }
    let (_, before) = view(&world);
    for answer in chats(&world, 4, &large(streamed_chat())).await {
        assert_eq!((answer.status, answer.attempts()), (200, Some(1)), "{}", answer.text());
        let line = world.log_line(answer.request_id()).await;
        let attempt = &line["attempts"][0];
        assert_eq!(attempt["outcome"], "ok", "{line}");
        let [ttft, whole] = ["ttft_ms", "ms"].map(|name| attempt[name].as_f64().unwrap());
        assert!(whole > 1000.0 && 2.0 * ttft < whole, "the upload is the larger part: {line}");
    }
    wait_until("nothing in flight", || world.proxy.in_flight() == 0).await;
    let (after, expected) = view(&world);
    assert!(expected < 1.2 * before, "moved from {before} to {expected} ms");
    assert_eq!(after.state, State::Healthy, "{after:?}");
    assert!(after.strikes.abs() < 1e-9, "{after:?}");
}

/// Its request was never whole, so even what must not be done twice is served by another.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stalls_goes_elsewhere() {
    let mut stored = chat();
    stored["store"] = true.into();
    for body in [large(streamed_chat()), large(stored)] {
        check_stalled(&body).await;
    }
}

async fn check_stalled(body: &Value) {
    let world = world(Reads::Nothing).await;
    let answer = world.post(V1_CHAT, body).await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(2)), "{}", answer.text());
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["attempts"][0]["outcome"], "upload_stalled", "{line}");
    assert_eq!(world.requests("b") + world.requests("c"), 1);
    let live = world.proxy.live();
    let model = live.snapshot().model("gpt-4o").cloned().unwrap();
    let view = model.pool.view(0, live.clock().now()).unwrap();
    assert_eq!((view.state, view.base_ms), (State::Healthy, None), "one error: {view:?}");
}
