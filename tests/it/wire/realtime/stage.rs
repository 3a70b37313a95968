//! A stage for realtime: Firstlight between clients that speak WebSocket and backends that follow a script.

use crate::support::{BACKEND_KEY, KEY, hash, wait_for, wait_until};
use firstlight::config;
use firstlight::server::{Firstlight, Running};
use firstlight::telemetry::AccessLog;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::client::{Response, generate_key};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// What a backend does with a request.
#[derive(Clone, Copy)]
pub(super) enum Does {
    /// Opens a session and says back what it hears. `cut` makes it drop the connection, `close` close it, and
    /// `done` tell what was used.
    Echoes,
    /// Opens a session with a word right behind its 101, and then is silent for ever, even when it is told to close.
    Greets,
    /// Answers with these bytes and closes.
    Says(&'static str),
    /// Answers with these bytes and waits.
    SaysAndWaits(&'static str),
    /// Closes at once.
    Leaves,
}

/// A backend.
pub(super) struct Backend {
    address: SocketAddr,
    /// The heads of the requests that came.
    heads: Arc<Mutex<Vec<String>>>,
    /// Connections that are open.
    pub(super) open: Arc<AtomicUsize>,
    /// How sessions ended: the codes of the close frames that came; 0 where none came.
    pub(super) ends: Arc<Mutex<Vec<u16>>>,
}

impl Backend {
    async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, open, ends) = <(Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>, Arc<_>)>::default();
        let backend = Self { address, heads, open, ends };
        let (heads, open, ends) =
            (Arc::clone(&backend.heads), Arc::clone(&backend.open), Arc::clone(&backend.ends));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heads, open, ends) =
                    (Arc::clone(&heads), Arc::clone(&open), Arc::clone(&ends));
                open.fetch_add(1, SeqCst);
                tokio::spawn(perform((stream, does), heads, open, ends));
            }
        });
        backend
    }

    /// The heads of the requests that came.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// The only one.
    pub(super) fn head(&self) -> String {
        let heads = self.heads();
        assert_eq!(heads.len(), 1, "{heads:#?}");
        heads.concat()
    }

    /// How its only session ended, waited for.
    pub(super) async fn end(&self) -> u16 {
        wait_for("the end of the backend's session", || async {
            self.ends.lock().unwrap().first().copied()
        })
        .await
    }
}

/// Plays, and notes how it ended.
async fn perform(
    (stream, does): (TcpStream, Does),
    heads: Arc<Mutex<Vec<String>>>,
    open: Arc<AtomicUsize>,
    ends: Arc<Mutex<Vec<u16>>>,
) {
    let code = play(stream, does, &heads).await;
    ends.lock().unwrap().extend(code);
    open.fetch_sub(1, SeqCst);
}

/// The end of a session, if there was one.
#[expect(clippy::cognitive_complexity, reason = "one arm for each thing that a backend does")]
async fn play(mut stream: TcpStream, does: Does, heads: &Mutex<Vec<String>>) -> Option<u16> {
    if matches!(does, Does::Leaves) {
        return None;
    }
    let head = read_head(&mut stream).await?;
    let key = header(&head, "sec-websocket-key").map(|key| derive_accept_key(key.as_bytes()));
    let realtime = header(&head, "sec-websocket-protocol").is_some_and(|p| p.contains("realtime"));
    heads.lock().unwrap().push(head);
    if let Does::Says(text) | Does::SaysAndWaits(text) = does {
        stream.write_all(text.as_bytes()).await.ok()?;
        if matches!(does, Does::SaysAndWaits(_)) {
            while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
        }
        return None;
    }
    let protocol = if realtime { "Sec-WebSocket-Protocol: realtime\r\n" } else { "" };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nx-ms-region: Test\r\nserver: secret\r\n{protocol}\r\n",
        key?
    );
    if matches!(does, Does::Greets) {
        let greeting = [answer.as_bytes(), b"\x81\x05hello"].concat();
        stream.write_all(&greeting).await.ok()?;
        while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
        return Some(0);
    }
    stream.write_all(answer.as_bytes()).await.ok()?;
    echo(WebSocketStream::from_raw_socket(stream, Role::Server, None).await).await
}

async fn echo(mut socket: WebSocketStream<TcpStream>) -> Option<u16> {
    while let Some(Ok(message)) = socket.next().await {
        match &message {
            Message::Text(text) if text.as_str() == "cut" => return Some(0),
            Message::Text(text) if text.as_str() == "close" => {
                let frame = CloseFrame { code: 4001.into(), reason: "enough".into() };
                socket.close(Some(frame)).await.ok()?;
            }
            Message::Text(text) if text.as_str() == "done" => {
                socket.send(Message::text(DONE)).await.ok()?;
            }
            Message::Text(_) | Message::Binary(_) => socket.send(message).await.ok()?,
            Message::Close(frame) => {
                let code = frame.as_ref().map_or(1005, |frame| frame.code.into());
                while let Some(Ok(_)) = socket.next().await {}
                return Some(code);
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    Some(0)
}

pub(super) const DONE: &str = r#"{"type":"response.done","response":{"usage":{"input_tokens":30,"output_tokens":12,"input_token_details":{"cached_tokens":8}}}}"#;

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// A header of a raw head.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Backends that were started, and Firstlight in front of them.
pub(super) struct Stage {
    pub(super) backends: Vec<Backend>,
    pub(super) proxy: Running,
    log: Arc<Mutex<Vec<u8>>>,
    _folder: TempDir,
}

pub(super) type Socket = WebSocketStream<TcpStream>;

pub(super) const V1: &str = "/openai/v1/realtime?model=gpt-realtime";

impl Stage {
    pub(super) async fn of(does: &[Does]) -> Self {
        Self::with(does, "").await
    }

    /// With more YAML.
    pub(super) async fn with(does: &[Does], more: &str) -> Self {
        Self::build(does, ("", more)).await
    }

    /// With the YAML of another app.
    pub(super) async fn with_app(does: &[Does], app: &str) -> Self {
        Self::build(does, (app, "")).await
    }

    /// Backends a, b and so on, the first of which is preferred.
    async fn build(does: &[Does], (app, more): (&str, &str)) -> Self {
        pingora_core::tls::install_default_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backend.key");
        std::fs::write(&file, BACKEND_KEY).unwrap();
        let mut backends = Vec::new();
        let mut yaml =
            "listen: [ { address: 127.0.0.1:0 } ]\nadmin: { address: 127.0.0.1:0 }\nbackends:\n"
                .to_owned();
        for ((place, does), name) in does.iter().enumerate().zip('a'..) {
            let backend = Backend::start(*does).await;
            let (address, tier) = (backend.address, usize::from(place > 0));
            let key = file.display();
            writeln!(yaml, "  {name}: {{ endpoint: \"http://{address}\", tier: {tier}, auth: {{ api_key: {{ file: {key} }} }} }}").unwrap();
            backends.push(backend);
        }
        let (key, hash) = (hash("other"), hash(KEY));
        let names = ('a'..).take(does.len());
        let deployments =
            names.map(|name| format!("{name}: rt-prod")).collect::<Vec<_>>().join(", ");
        write!(
            yaml,
            "models:\n  gpt-realtime: {{ backends: {{ {deployments} }} }}\n  other: {{}}\napps:\n  \
             tests: {{ models: [gpt-realtime], api_keys: [ {{ sha256: {hash}, name: k }} ], limits: {{ concurrent: 200 }} }}\n  \
             few: {{ api_keys: [ {{ sha256: {key}, name: k }} ], limits: {{ concurrent: 1 }} }}\n{app}\n\
             routing: {{ probe: {{ interval_seconds: 0 }} }}\n{more}\n",
        )
        .unwrap();
        let checked = config::check(&yaml).unwrap_or_else(|problems| {
            panic!("{}\n{yaml}", problems.iter().map(ToString::to_string).collect::<String>())
        });
        let (access_log, log) = AccessLog::memory();
        let proxy = Firstlight::bind(checked.config, access_log).unwrap().spawn();
        Self { backends, proxy, log, _folder: folder }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.addresses()[0]).await.unwrap()
    }

    /// Asks for a session with these headers beside those that every client sends.
    pub(super) async fn try_open(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Socket, Response), Error> {
        let mut request = Request::get(format!("ws://firstlight.test{path}"))
            .header("host", "firstlight.test")
            .header("upgrade", "websocket")
            .header("connection", "Upgrade")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        client_async(request.body(()).unwrap(), self.connect().await).await
    }

    /// A session that is open.
    pub(super) async fn open(&self) -> Socket {
        self.try_open(V1, &[("api-key", KEY)]).await.unwrap().0
    }

    /// Sends raw bytes; the status and all that is answered until the connection ends.
    pub(super) async fn ask(&self, raw: &str) -> (u16, String) {
        let mut stream = self.connect().await;
        stream.write_all(raw.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }

    /// Asks for a session by hand, with these headers, for an answer that is no 101: its status and `error.code`.
    pub(super) async fn refused(&self, path: &str, headers: &str) -> (u16, String) {
        let raw = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\n{UPGRADE}{headers}connection: Upgrade, close\r\n\r\n"
        );
        let (status, answer) = self.ask(&raw).await;
        (status, code(&answer))
    }

    pub(super) fn log_text(&self) -> String {
        String::from_utf8(self.log.lock().unwrap().clone()).unwrap()
    }

    /// All lines of the access log, once there are so many.
    pub(super) async fn log_lines(&self, count: usize) -> Vec<Value> {
        wait_until("lines in the access log", || self.log_text().lines().count() >= count).await;
        self.log_text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) async fn metrics(&self) -> String {
        let admin = self.proxy.admin_address().unwrap();
        let url = format!("http://{admin}/metrics");
        crate::support::client(|builder| builder)
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    /// Waits until nothing is held by anybody: no request, no session, no connection.
    pub(super) async fn quiet(&self) {
        wait_until("nothing in flight", || self.proxy.in_flight() == 0).await;
        for backend in &self.backends {
            wait_until("no connection", || backend.open.load(SeqCst) == 0).await;
        }
        let metrics = self.metrics().await;
        let open = metrics.lines().filter(|line| line.starts_with("firstlight_realtime_sessions{"));
        open.for_each(|line| assert!(line.ends_with(" 0"), "{line}"));
    }
}

/// What every request for a session has, but for `Connection`.
pub(super) const UPGRADE: &str = "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The `error.code` of a raw answer.
pub(super) fn code(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}"));
    body["error"]["code"].as_str().unwrap().to_owned()
}

/// Says a text and hears it back.
pub(super) async fn echoed(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    assert_eq!(next(socket).await, Some(Message::text(text)));
}

/// The next message within twenty seconds; `None`: the session has ended.
pub(super) async fn next(socket: &mut Socket) -> Option<Message> {
    let next = tokio::time::timeout(Duration::from_secs(20), socket.next()).await;
    next.unwrap().and_then(Result::ok)
}

/// The code of the close frame that comes next.
pub(super) async fn closed(socket: &mut Socket) -> u16 {
    match next(socket).await {
        Some(Message::Close(Some(frame))) => frame.code.into(),
        other => panic!("no close frame: {other:?}"),
    }
}
