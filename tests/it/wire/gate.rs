//! Heads that could be read in two ways are refused before anything else, and nothing behind them is read.
//!
//! One row per probe, over a raw socket. Behind each there is a good request, on the same connection: a server
//! that is fooled, or that goes on reading, asks a backend for it.

use crate::support::{BACKEND_KEY, KEY, V1_CHAT, World, streamed_chat};
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends everything, and reads until the server closes.
async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = socket.split();
    let mut seen = Vec::new();
    let both = async {
        // The server may close before it has read everything.
        let (_, read) = tokio::join!(write.write_all(bytes), read.read_to_end(&mut seen));
        drop(read);
    };
    tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    String::from_utf8_lossy(&seen).into_owned()
}

/// How many answers there are.
fn answers(seen: &str) -> usize {
    seen.split("HTTP/1.1 ").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).count()
}

fn body() -> String {
    streamed_chat().to_string()
}

fn chunked() -> String {
    format!("{:x}\r\n{}\r\n0\r\n\r\n", body().len(), body())
}

/// A request that is good but for what `fields` say.
fn post(fields: &str, body: &str) -> String {
    format!(
        "POST {V1_CHAT} HTTP/1.1\r\nHost: x\r\napi-key: {KEY}\r\nContent-Type: application/json\r\n{fields}\r\n\r\n{body}"
    )
}

fn length() -> String {
    format!("Content-Length: {}", body().len())
}

fn good() -> String {
    post(&length(), &body())
}

fn target(target: &str) -> String {
    good().replacen(V1_CHAT, target, 1)
}

/// Name, bytes and the status of the answer.
type Row = (&'static str, String, u16);

fn framing() -> Vec<Row> {
    let (n, body, chunked) = (length(), body(), chunked());
    let te = "Transfer-Encoding: chunked";
    let other = |value: &str| post(&format!("Transfer-Encoding: {value}"), &chunked);
    let sized = |value: &str| post(&format!("Content-Length: {value}"), &body);
    let plain = body.len();
    vec![
        ("CL, TE", post(&format!("{n}\r\n{te}"), &chunked), 400),
        ("TE, CL", post(&format!("{te}\r\n{n}"), &chunked), 400),
        ("two equal CL", post(&format!("{n}\r\n{n}"), &body), 400),
        ("two CL", post(&format!("{n}\r\nContent-Length: 2"), &body), 400),
        ("a list of CL", sized(&format!("{plain}, {plain}")), 400),
        ("CL with plus", sized(&format!("+{plain}")), 400),
        ("negative CL", sized("-2"), 400),
        ("hexadecimal CL", sized("0x2"), 400),
        ("empty CL", sized(""), 400),
        ("TE gzip, chunked", other("gzip, chunked"), 501),
        ("TE chunked, chunked", other("chunked, chunked"), 400),
        ("TE twice", post(&format!("{te}\r\n{te}"), &chunked), 400),
        ("TE identity", other("identity"), 400),
        ("TE xchunked", other("xchunked"), 400),
        ("TE with VT", other("\x0bchunked"), 400),
        ("TE and a space", post("Transfer-Encoding : chunked", &chunked), 400),
        ("TE on 1.0", post(te, &chunked).replacen("1.1", "1.0", 1), 400),
        ("TE folded", post("Transfer-Encoding:\r\n chunked", &chunked), 400),
        ("Content_Length", post(&format!("{n}\r\nContent_Length: 2"), &body), 400),
        ("Transfer_Encoding", post(&format!("{n}\r\nTransfer_Encoding: chunked"), &body), 400),
    ]
}

fn lines() -> Vec<Row> {
    let with = |field: &str| post(&format!("{}\r\n{field}", length()), &body());
    let many = (0..100).fold(length(), |mut all, i| {
        write!(all, "\r\nx-{i}: 1").unwrap();
        all
    });
    let bare = good().replace("\r\n", "\n");
    vec![
        ("bare LF", bare, 400),
        ("one bare LF", good().replacen("\r\n", "\n", 1), 400),
        ("bare CR", with("X-A: b\rX-B: c"), 400),
        ("NUL", with("X-A: b\0"), 400),
        ("CTL", with("X-A: b\x07"), 400),
        ("folded", with("X-A: b\r\n c"), 400),
        ("no colon", with("X-A"), 400),
        ("api_key", with("api_key: x"), 400),
        ("x_caller_app", with("x_caller_app: forged"), 400),
        ("an empty line first", format!("\r\n{}", good()), 400),
        ("no Host", good().replacen("Host: x\r\n", "", 1), 400),
        ("two Hosts", with("Host: y"), 400),
        ("a Host that is a path", good().replacen("Host: x", "Host: x/#", 1), 400),
        ("HTTP/1.2", good().replacen("1.1", "1.2", 1), 400),
        ("Expect", with("Expect: 200-ok"), 417),
        ("64 KiB", with(&format!("X-A: {}", "a".repeat(64 << 10))), 431),
        ("33 KiB in ten", with(&vec![format!("X-A: {}", "a".repeat(3300)); 10].join("\r\n")), 431),
        ("100 more headers", post(&many, &body()), 431),
    ]
}

fn targets() -> Vec<Row> {
    vec![
        ("space", target("/openai/v1/chat/completions?a b"), 400),
        ("tab", target("/openai/v1/chat/completions?a\tb"), 400),
        ("fragment", target(&format!("{V1_CHAT}#x")), 400),
        ("dots", target("/openai/../openai/v1/chat/completions"), 400),
        (
            "dots, without a body",
            good().replacen("POST", "GET", 1).replacen(V1_CHAT, "/openai/../x", 1),
            400,
        ),
        ("encoded dots", target("/openai/%2e%2e/openai/v1/chat/completions"), 400),
        ("encoded slash", target("/openai%2fv1/chat/completions"), 400),
        ("encoded backslash", target("/openai%5cv1/chat/completions"), 400),
        ("backslash", target("/openai\\v1/chat/completions"), 400),
        ("two slashes", target("//openai/v1/chat/completions"), 400),
        ("eight bits", target("/openai/v1/chat/completions\u{e9}"), 400),
        ("absolute", target("http://x/openai/v1/chat/completions"), 400),
        ("OPTIONS *", format!("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n{}", good()), 404),
        ("CONNECT", format!("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n{}", good()), 405),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read() {
    let world = World::plain().await;
    for (name, bytes, status) in [framing(), lines(), targets()].concat() {
        let seen = talk(world.address(), format!("{bytes}{}", good()).as_bytes()).await;
        assert!(seen.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {seen}");
        assert_eq!(answers(&seen), 1, "{name}: {seen}");
        let closes = seen.to_ascii_lowercase().contains("\r\nconnection: close\r\n");
        assert!(closes || matches!(status, 404 | 405), "{name}: {seen}");
        // Whether the client reads a whole answer or not: not one byte went to a backend.
        let asked: u64 = ["a", "b", "c"].iter().map(|region| world.requests(region)).sum();
        assert_eq!(asked, 0, "{name}: {seen}");
    }
    let malformed =
        world.metric("firstlight_requests_malformed_total{reason=\"two_framings\"}").await;
    assert_eq!(malformed, "2");
    world.chat().await.assert_whole_stream();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why_and_ends_the_connection() {
    let world = World::plain().await;
    let seen =
        talk(world.address(), post("", &body()).replacen("Host: x", "X: y", 1).as_bytes()).await;
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("\r\nconnection: close") && head.contains("\r\nx-request-id: "),
        "{head}"
    );
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["code"], "host");
    assert_eq!(body["error"]["type"], "invalid_request_error");
}

/// Broken chunks come after a good head: the body is never whole, so no backend hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn broken_chunks_reach_nobody() {
    let world = World::plain().await;
    let (te, body) = ("Transfer-Encoding: chunked", body());
    let size = format!("{:x}", body.len());
    for chunk in [
        format!("zz\r\n{body}\r\n0\r\n\r\n"),
        format!("-{size}\r\n{body}\r\n0\r\n\r\n"),
        format!("0x{size}\r\n{body}\r\n0\r\n\r\n"),
        format!("{size} \n{body}\n0\n\n"),
        format!("{size} \r\n{body}\r\n0\r\n\r\n"),
        format!("{size};a\nzz\r\n{body}\r\n0\r\n\r\n"),
        format!("{size}\r\n{body}xx0\r\n\r\n"),
        format!("fffffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
    ] {
        let seen =
            talk(world.address(), format!("{}{}", post(te, &chunk), good()).as_bytes()).await;
        assert!(seen.starts_with("HTTP/1.1 400 "), "{chunk:?}: {seen}");
        assert_eq!(seen.matches("HTTP/1.1").count(), 1, "{chunk:?}: {seen}");
        assert_eq!(world.requests("a"), 0, "{chunk:?}: {seen}");
    }
}

/// What is allowed is asked once, with framing of our own; what was sent behind it is never read as a request.
#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_one_request_with_framing_of_our_own() {
    let world = World::plain().await;
    let (n, te) = (length(), "Transfer-Encoding: chunked");
    let extended = chunked().replacen("\r\n", ";a=b\r\n", 1);
    let trailers = chunked().replacen("\r\n0\r\n", "\r\n0\r\nX-Late: 1\r\n", 1);
    let rows = [
        ("plain", post(&n, &body())),
        ("chunked", post(te, &chunked())),
        ("chunk extensions", post(te, &extended)),
        ("trailers", post(te, &trailers)),
        ("expect", post(&format!("{n}\r\nExpect: 100-continue"), &body())),
        ("upgrade", post(&format!("{n}\r\nConnection: upgrade\r\nUpgrade: foo"), &body())),
        (
            "upgrade to h2c",
            post(
                &format!(
                    "{n}\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA"
                ),
                &body(),
            ),
        ),
        ("1.0", good().replacen("1.1", "1.0", 1)),
    ];
    for (count, (name, bytes)) in rows.iter().enumerate() {
        let seen = talk(world.address(), format!("{bytes}{}", good()).as_bytes()).await;
        assert_eq!(seen.matches(" 200 OK\r\n").count(), 1, "{name}: {seen}");
        assert_eq!(world.requests("a"), u64::try_from(count).unwrap() + 1, "{name}");
        let sent = world.mock.last_request("a").unwrap().unwrap();
        assert_eq!(sent.body_bytes, body().len(), "{name}");
        let strange = ["upgrade", "expect", "transfer-encoding", "http2-settings", "x-late", "te"];
        assert!(strange.iter().all(|header| sent.header(header).is_none()), "{name}: {sent:?}");
        let host = world.mock.address("a").unwrap().to_string();
        assert_eq!(sent.header("host"), Some(host.as_str()), "{name}");
    }
}

/// `Connection` may name fields that are not to be passed on; nothing that we add is among them.
#[tokio::test(flavor = "multi_thread")]
async fn nominating_our_headers_removes_none_of_them() {
    let world = World::plain().await;
    let nominated = "Connection: close, api-key, authorization, x-request-id, content-type, host, content-length";
    let request = post(&format!("{}\r\nX-Request-Id: mine\r\n{nominated}", length()), &body());
    let seen = talk(world.address(), request.as_bytes()).await;
    assert!(seen.starts_with("HTTP/1.1 200 "), "{seen}");
    assert!(seen.to_ascii_lowercase().contains("x-request-id: mine\r\n"), "{seen}");
    let sent = world.mock.last_request("a").unwrap().unwrap();
    assert_eq!(sent.header("api-key"), Some(BACKEND_KEY));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.header("content-length"), Some(body().len().to_string().as_str()));
}

/// A request id that is more than a plain word is replaced: it goes into logs and headers.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_a_plain_word_or_ours() {
    let world = World::plain().await;
    let long = "a".repeat(129);
    for (id, kept) in
        [("a.B_c-9", true), ("a b", false), ("a\u{e9}", false), (&long, false), ("a;b", false)]
    {
        let request =
            post(&format!("{}\r\nConnection: close\r\nX-Request-Id: {id}", length()), &body());
        let seen = talk(world.address(), request.as_bytes()).await;
        assert!(seen.starts_with("HTTP/1.1 200 "), "{seen}");
        assert_eq!(
            seen.to_ascii_lowercase()
                .contains(&format!("x-request-id: {}\r\n", id.to_ascii_lowercase())),
            kept,
            "{id}: {seen}"
        );
    }
}
