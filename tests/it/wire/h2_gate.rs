//! The gate for h2, spoken frame by frame: no library here would send this.

use crate::support::{Answer, KEY, Setup, V1_CHAT, World, client, streamed_chat};
use reqwest::ClientBuilder;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields as HPACK literals that are not indexed.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A connection that has sent the preface and its settings.
struct Raw(TcpStream);

impl Raw {
    async fn open(world: &World) -> Self {
        let mut socket = TcpStream::connect(world.address()).await.unwrap();
        socket.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
        Self(socket)
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Kind, flags and payload of the next frame; `None` when the server closes.
    async fn next(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((head[3], head[4], payload))
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap()
    }

    async fn until(&mut self, kinds: &[u8]) -> Option<(u8, u8, Vec<u8>)> {
        loop {
            let frame = self.next().await?;
            if kinds.contains(&frame.0) {
                return Some(frame);
            }
        }
    }
}

const LIST: [(&str, &str); 5] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "x"),
    (":path", "/openai/v1/models"),
    ("api-key", KEY),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_bound_what_a_connection_may_cost() {
    for (more, streams, list) in [
        ("", 100, 32_768 + 100 * 32),
        ("limits: { h2_streams: 7, header_bytes: 65536 }", 7, 65_536),
    ] {
        let world = World::of(Setup { more, ..Setup::default() }).await;
        let mut raw = Raw::open(&world).await;
        let (_, _, settings) = raw.until(&[SETTINGS]).await.unwrap();
        let value = |id: u8| {
            let found = settings.chunks(6).find(|entry| entry[..2] == [0, id]);
            found.map(|entry| u32::from_be_bytes(entry[2..].try_into().unwrap()))
        };
        assert_eq!((value(3), value(6)), (Some(streams), Some(list)), "{more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_h2_does_not_know_reach_nobody() {
    let world = World::plain().await;
    for field in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("Upper", "x"),
        ("a b", "x"),
        ("x", "a\r\nb"),
        ("x", "a\0b"),
        (":path", "/openai/v1/models"),
        ("api_key", "x"),
        ("host", "y"),
        ("expect", "x"),
        ("content-length", "5"),
    ] {
        let mut raw = Raw::open(&world).await;
        let fields = [&LIST[..], &[field]].concat();
        raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))).await;
        let answer = raw.until(&[HEADERS, RST_STREAM, GOAWAY]).await;
        // `:status` 400 is entry 12 of HPACK's table, 200 is entry 8.
        let refused = match &answer {
            None => true,
            Some((HEADERS, _, payload)) => payload.first() != Some(&0x88),
            Some(_) => true,
        };
        assert!(refused, "{field:?}: {answer:?}");
        assert_eq!(world.requests("a"), 0, "{field:?}");
    }
    let mut raw = Raw::open(&world).await;
    let fields = [&LIST[..], &[("te", "trailers")]].concat();
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))).await;
    let (_, _, payload) = raw.until(&[HEADERS]).await.unwrap();
    assert_eq!(payload.first(), Some(&0x88), "a good one is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_costs_its_connection() {
    let more = "timeouts: { header_seconds: 0.3 }";
    let world = World::of(Setup { more, ..Setup::default() }).await;
    let whole = block(&LIST);
    let (begin, rest) = whole.split_at(20);
    for bytes in [
        frame(HEADERS, END_STREAM, 1, begin),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &whole)[..30].to_vec(),
        [frame(HEADERS, END_STREAM, 1, begin), frame(CONTINUATION, 0, 1, rest)].concat(),
    ] {
        let mut raw = Raw::open(&world).await;
        raw.send(&bytes).await;
        while raw.next().await.is_some() {}
    }
    let mut silent = TcpStream::connect(world.address()).await.unwrap();
    silent.write_all(&PREFACE[..10]).await.unwrap();
    assert_eq!(silent.read(&mut [0; 9]).await.unwrap_or(0), 0);
    // One that is idle between two requests is not cut.
    let mut raw = Raw::open(&world).await;
    for stream in [1, 3] {
        raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &whole)).await;
        let (_, _, payload) = raw.until(&[HEADERS]).await.unwrap();
        assert_eq!(payload.first(), Some(&0x88));
        let mut other = Raw::open(&world).await;
        other.send(&frame(HEADERS, END_STREAM, 1, begin)).await;
        // As long as another connection lives that is cut after the same time.
        while other.next().await.is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_heads_and_uploads() {
    let world = World::plain().await;
    let client = client(ClientBuilder::http2_prior_knowledge);
    let ask = |size: usize| {
        let request = client.post(world.url(V1_CHAT)).header("api-key", KEY).json(&streamed_chat());
        request.header("x-a", "a".repeat(size))
    };
    assert_eq!(Answer::read(ask(16 << 10).send().await.unwrap()).await.status, 200);
    assert_eq!(ask(40 << 10).send().await.unwrap().status(), 431);
}
