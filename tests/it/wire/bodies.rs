//! Request bodies of any size and framing reach the backend unchanged, also on the second attempt.
//!
//! The checksum is taken by the mock, over what it received.

use crate::support::{Answer, KEY, Setup, Streamed, V1_CHAT, World, chat, client, streamed_chat};
use firstlight::mock::{Behaviour, Fault, Limit, RetryAfter};
use reqwest::{Client, ClientBuilder};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SIZES: [usize; 3] = [2 << 10, 70 << 10, 5 << 20];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Length,
    Chunked,
}

fn body_of(size: usize) -> Vec<u8> {
    let mut body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": ""}]});
    let padding = size.saturating_sub(body.to_string().len());
    let text: String =
        (0..padding).map(|i| char::from(b'a' + u8::try_from(i % 26).unwrap())).collect();
    body["messages"][0]["content"] = text.into();
    body.to_string().into_bytes()
}

async fn send(client: &Client, base: &str, body: &[u8], framing: Framing) -> Answer {
    let request = client.post(format!("{base}{V1_CHAT}")).header("api-key", KEY);
    let request = request.header("content-type", "application/json");
    let request = match framing {
        Framing::Length => request.body(body.to_vec()),
        Framing::Chunked => {
            let chunks: Vec<_> =
                body.chunks(9_000).map(|c| Ok::<_, Infallible>(c.to_vec())).collect();
            request.body(reqwest::Body::wrap_stream(futures_util::stream::iter(chunks)))
        }
    };
    Answer::read(request.send().await.unwrap()).await
}

fn check_arrived(world: &World, region: &str, body: &[u8], what: &str) {
    let seen = world.mock.last_request(region).unwrap().unwrap();
    assert_eq!(seen.body_bytes, body.len(), "{what}");
    assert_eq!(seen.body_sha256, hex::encode(Sha256::digest(body)), "{what}");
    assert_eq!(seen.header("content-length"), Some(body.len().to_string().as_str()), "{what}");
    assert_eq!(seen.header("transfer-encoding"), None, "{what}");
    assert_eq!(seen.header("expect"), None, "{what}");
}

/// Every size and framing, first try and failover.
async fn check_all(
    setup: Setup,
    scheme: &str,
    configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
) {
    let world = World::of(setup).await;
    let client = client(configure);
    let base = format!("{scheme}://localhost:{}", world.address().port());
    for size in SIZES {
        for framing in [Framing::Length, Framing::Chunked] {
            let what = format!("{scheme} {size} {framing:?}");
            let body = body_of(size);
            world.fault("a", Fault::None);
            let answer = send(&client, &base, &body, framing).await;
            assert_eq!(
                (answer.status, answer.backend()),
                (200, Some("a")),
                "{what}: {}",
                answer.text()
            );
            check_arrived(&world, "a", &body, &what);
            world.fault("a", Fault::Status5xx { status: 503 });
            let answer = send(&client, &base, &body, framing).await;
            assert_eq!(
                (answer.status, answer.attempts()),
                (200, Some(2)),
                "{what}: {}",
                answer.text()
            );
            check_arrived(&world, answer.backend().unwrap(), &body, &what);
            let good = send_good(&world, &client, &base).await;
            assert_eq!(good, 200, "the good answer takes the strike back");
        }
    }
}

/// Under a name of its own on each backend, and nothing else is different.
#[tokio::test(flavor = "multi_thread")]
async fn under_other_names() {
    let models =
        "  gpt-4o: { backends: { a: deployed, b: also, c: also } }\n  text-embedding-3-large: {}\n";
    let world = World::of(Setup { models, ..Setup::default() }).await;
    let base = format!("http://{}", world.address());
    for size in SIZES {
        let body = body_of(size);
        let named = |deployment: &str| {
            let text = String::from_utf8(body.clone()).unwrap();
            text.replacen("gpt-4o", deployment, 1).into_bytes()
        };
        world.fault("a", Fault::None);
        let answer = send(&world.client, &base, &body, Framing::Length).await;
        assert_eq!((answer.status, answer.backend()), (200, Some("a")), "{}", answer.text());
        check_arrived(&world, "a", &named("deployed"), &format!("{size}"));
        world.fault("a", Fault::Status5xx { status: 503 });
        let answer = send(&world.client, &base, &body, Framing::Length).await;
        assert_eq!((answer.status, answer.attempts()), (200, Some(2)), "{}", answer.text());
        check_arrived(&world, answer.backend().unwrap(), &named("also"), &format!("{size}"));
        assert_eq!(send_good(&world, &world.client, &base).await, 200);
    }
}

/// A streamed answer under `clear_ms`, from a healed first region.
async fn send_good(world: &World, client: &Client, base: &str) -> u16 {
    world.fault("a", Fault::None);
    let request = client.post(format!("{base}{V1_CHAT}")).header("api-key", KEY);
    Answer::read(request.json(&streamed_chat()).send().await.unwrap()).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_1() {
    check_all(Setup::default(), "http", |b| b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_h2_with_prior_knowledge() {
    check_all(Setup::default(), "http", ClientBuilder::http2_prior_knowledge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_h2_by_negotiation() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let tls = Some((
        write("tls.crt", made.cert.pem()),
        write("tls.key", made.signing_key.serialize_pem()),
    ));
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    check_all(Setup { tls, ..Setup::default() }, "https", |b| b.tls_certs_only([trusted])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rate_limit_too() {
    let world = World::plain().await;
    let body = body_of(5 << 20);
    world.fault(
        "a",
        Fault::Status429 { retry_after: RetryAfter::Millis(10), limit: Limit::default() },
    );
    let base = format!("http://{}", world.address());
    let answer = send(&world.client, &base, &body, Framing::Length).await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(2)));
    check_arrived(&world, answer.backend().unwrap(), &body, "429");
}

/// Sends a body only after `100 Continue`; what came back after it.
async fn send_expecting(world: &World, body: &[u8]) -> String {
    let mut socket = TcpStream::connect(world.address()).await.unwrap();
    let head = format!(
        "POST {V1_CHAT} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    read_until(&mut socket, &mut seen, b"\r\n\r\n").await;
    assert!(seen.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&seen));
    socket.write_all(body).await.unwrap();
    seen.clear();
    socket.read_to_end(&mut seen).await.unwrap();
    String::from_utf8(seen).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_expect_100_continue() {
    let world = World::plain().await;
    for size in SIZES {
        let body = body_of(size);
        let seen = send_expecting(&world, &body).await;
        assert!(seen.starts_with("HTTP/1.1 200 "), "{seen}");
        check_arrived(&world, "a", &body, &format!("expect {size}"));
    }
}

/// `100 Continue` is not an answer: what fails after it still goes elsewhere, or is told.
#[tokio::test(flavor = "multi_thread")]
async fn after_100_continue_failover_and_errors_work() {
    let world = World::plain().await;
    let body = streamed_chat().to_string().into_bytes();
    world.fault("a", Fault::Status5xx { status: 500 });
    let seen = send_expecting(&world, &body).await;
    assert!(seen.starts_with("HTTP/1.1 200 "), "{seen}");
    assert!(seen.contains("x-firstlight-attempts: 2"), "{seen}");
    world.fault("b", Fault::Status5xx { status: 500 });
    world.fault("c", Fault::Status5xx { status: 500 });
    let seen = send_expecting(&world, &body).await;
    assert!(seen.starts_with("HTTP/1.1 503 ") && seen.contains("no_backend_available"), "{seen}");
}

/// It does not know `100 Continue`: to it that would be the answer.
#[tokio::test(flavor = "multi_thread")]
async fn with_expect_of_http_1_0() {
    let world = World::plain().await;
    let body = chat().to_string();
    let mut socket = TcpStream::connect(world.address()).await.unwrap();
    let request = format!(
        "POST {V1_CHAT} HTTP/1.0\r\nhost: x\r\napi-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    socket.read_to_end(&mut seen).await.unwrap();
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with("HTTP/1.1 200 OK\r\n"), "{seen}");
}

/// Somebody without a key is not even asked for the body.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_comes_before_the_body() {
    let world = World::plain().await;
    let mut socket = TcpStream::connect(world.address()).await.unwrap();
    let head = format!(
        "POST {V1_CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\
         expect: 100-continue\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    socket.read_to_end(&mut seen).await.unwrap();
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with("HTTP/1.1 401 ") && seen.contains("missing_api_key"), "{seen}");
}

async fn read_until(socket: &mut TcpStream, seen: &mut Vec<u8>, end: &[u8]) {
    while !seen.ends_with(end) {
        let byte = socket.read_u8().await.unwrap();
        seen.push(byte);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_bodies_together_are_bounded_and_given_back() {
    let more = "limits: { body_mib: 1, buffered_mib: 1 }";
    let world = World::of(Setup { more, ..Setup::default() }).await;
    world.fault("a", Fault::FreezeBeforeHeaders);
    let base = format!("http://{}", world.address());
    let body = body_of(700 << 10);
    let (client, address, held) = (world.client.clone(), base.clone(), body.clone());
    let stuck = tokio::spawn(async move { send(&client, &address, &held, Framing::Length).await });
    world.mock.wait_until("a", |c| c.in_flight == 1).await.unwrap();
    for framing in [Framing::Length, Framing::Chunked] {
        let answer = send(&world.client, &base, &body, framing).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "overloaded"));
        assert!(answer.header("retry-after").is_some());
    }
    stuck.abort();
    crate::support::wait_until("the memory is given back", || world.proxy.in_flight() == 0).await;
    world.fault("a", Fault::None);
    assert_eq!(send(&world.client, &base, &body, Framing::Length).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_and_loses_nothing_else() {
    let world = World::of(Setup { more: "limits: { body_mib: 1 }", ..Setup::default() }).await;
    let base = format!("http://{}", world.address());
    let over = body_of((1 << 20) + 1);
    for framing in [Framing::Length, Framing::Chunked] {
        let answer = send(&world.client, &base, &over, framing).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (413, "body_too_large"));
    }
    let under = body_of(1 << 20);
    assert_eq!(send(&world.client, &base, &under, Framing::Length).await.status, 200);
    assert_eq!(world.requests("a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_given_back_when_its_answer_begins() {
    // Tokens an hour apart; with and without another backend that the header would be held for.
    for regions in [vec!["a", "b", "c"], vec!["a"]] {
        let behaviour = Behaviour { gap_ms: 3_600_000.0, ..Behaviour::instant() };
        let more = "limits: { body_mib: 1, buffered_mib: 1 }";
        let world = World::of(Setup { regions, behaviour, more, ..Setup::default() }).await;
        let mut body = streamed_chat();
        body["messages"][0]["content"] = "x".repeat(700 << 10).into();
        let mut streams = Vec::new();
        for _ in 0..3 {
            let response = world.request(V1_CHAT).json(&body).send().await.unwrap();
            assert_eq!(response.status(), 200, "one such body fits, not two");
            streams.push(Streamed::of(response));
        }
        assert_eq!(world.mock.counters("a").unwrap().in_flight, 3);
    }
}
