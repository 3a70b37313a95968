//! One JSON line per request, that tells its whole story. The README explains every field.
//!
//! Lines go through a bounded queue to a writer thread. A reader that is too slow costs lines, which are
//! counted, and never a request's time.

use serde::Serialize;
use std::io;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait for the writer: some seconds of a very busy proxy.
const QUEUE_LINES: usize = 65_536;

/// Where access-log lines go.
#[derive(Clone)]
pub struct AccessLog {
    sink: Sink,
}

#[derive(Clone)]
enum Sink {
    Off,
    Queue { lines: NonBlocking, dropped: ErrorCounter, writer: Arc<Mutex<Option<WorkerGuard>>> },
    Memory(Arc<Mutex<Vec<u8>>>),
}

/// One request, as its line tells it.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    /// When it ended, RFC 3339 in UTC.
    pub ts: String,
    /// Version of this line's form; it goes up when a field changes its meaning.
    pub v: u32,
    /// Our id of it, also in the response's `x-request-id`.
    pub request_id: &'a str,
    /// The trace that it belongs to, of its `traceparent`.
    pub trace_id: Option<&'a str>,
    /// Who asked, behind proxies that are trusted.
    pub client_ip: Option<String>,
    /// Which app the credential belongs to.
    pub app: Option<&'a str>,
    /// How the client proved who it is: `key`, `jwt`; nothing for an anonymous app.
    pub auth: Option<&'static str>,
    /// First digits of the hash of the key.
    pub key_id: Option<&'a str>,
    /// What the operator calls the key.
    pub key_name: Option<&'a str>,
    /// Of a token: the tenant.
    pub tenant: Option<&'a str>,
    /// Of a token: the user or the service (`oid`).
    pub object_id: Option<&'a str>,
    /// Of a token: the client application (`azp`, `appid`).
    pub client_id: Option<&'a str>,
    /// Request method.
    pub method: &'a str,
    /// The kind of path, without names in it.
    pub route: &'a str,
    /// The model asked for.
    pub model: Option<&'a str>,
    /// What it is called on the backend that answered.
    pub deployment: Option<&'a str>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Status sent; 0 when the client left before one was.
    pub status: u16,
    /// Our own error code, when the answer is ours.
    pub code: Option<&'a str>,
    /// When the client was told to come back, milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Request body bytes.
    pub bytes_in: usize,
    /// Response body bytes.
    pub bytes_out: usize,
    /// Tokens as the answer reports them, or the estimate.
    pub tokens_in: Option<u64>,
    /// Tokens as the answer reports them, or the estimate.
    pub tokens_out: Option<u64>,
    /// Tokens as the answer reports them.
    pub tokens_cached: Option<u64>,
    /// Tokens as the answer reports them.
    pub tokens_reasoning: Option<u64>,
    /// Whether the answer reports none, and `tokens_in` and `tokens_out` are estimated.
    pub tokens_est: bool,
    /// Seconds of audio, where the answer reports those.
    pub audio_seconds: Option<f64>,
    /// From arrival to the first content chunk sent, milliseconds: what the user felt.
    pub ttft_ms: Option<f64>,
    /// From arrival to the end, milliseconds.
    pub duration_ms: f64,
    /// Every attempt, in order.
    pub attempts: &'a [Attempt],
    /// The backend that answered.
    pub backend: Option<&'a str>,
    /// Azure's own id of the answer.
    pub upstream_request_id: Option<&'a str>,
    /// How it ended: `ok`, `refused`, `failed`, `client_abort`, `upstream_abort`.
    pub term: &'static str,
    /// Which configuration served it.
    pub config_gen: u64,
}

/// One upstream attempt.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// Where it went.
    #[serde(serialize_with = "as_text")]
    pub backend: Arc<str>,
    /// Why there.
    pub why: &'static str,
    /// How it ended.
    pub outcome: &'static str,
    /// Status received; 0 when none was.
    pub status: u16,
    /// From the end of its upload to the response header, milliseconds.
    pub first_byte_ms: Option<f64>,
    /// From the end of its upload to the first content token, milliseconds.
    pub ttft_ms: Option<f64>,
    /// From dispatch to its end or its first content, milliseconds.
    pub ms: f64,
}

impl Attempt {
    /// An attempt that has no times (yet).
    pub fn untimed(backend: &Arc<str>, why: &'static str, outcome: &'static str) -> Self {
        let backend = Arc::clone(backend);
        Self { backend, why, outcome, status: 0, first_byte_ms: None, ttft_ms: None, ms: 0.0 }
    }
}

impl AccessLog {
    /// Writes nothing.
    pub fn off() -> Self {
        Self { sink: Sink::Off }
    }

    /// Writes to standard output.
    pub fn stdout() -> Self {
        let (lines, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(QUEUE_LINES)
            .thread_name("access-log")
            .finish(io::stdout());
        let dropped = lines.error_counter();
        Self { sink: Sink::Queue { lines, dropped, writer: Arc::new(Mutex::new(Some(guard))) } }
    }

    /// Keeps the lines in memory, for tests and the demo.
    pub fn memory() -> (Self, Arc<Mutex<Vec<u8>>>) {
        let lines = Arc::default();
        (Self { sink: Sink::Memory(Arc::clone(&lines)) }, lines)
    }

    /// Writes one line.
    pub fn write(&self, record: &Record<'_>) {
        if matches!(self.sink, Sink::Off) {
            return;
        }
        let Ok(mut line) = serde_json::to_vec(record) else { return };
        line.push(b'\n');
        match &self.sink {
            Sink::Off => {}
            Sink::Queue { lines, .. } => {
                // It cannot fail: a full queue drops the line and counts it.
                let written = lines.clone().write_all(&line);
                debug_assert!(written.is_ok());
            }
            Sink::Memory(all) => {
                all.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&line);
            }
        }
    }

    /// Writes what still waits, and no more afterwards.
    pub fn close(&self) {
        if let Sink::Queue { writer, .. } = &self.sink {
            drop(writer.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> usize {
        match &self.sink {
            Sink::Queue { dropped, .. } => dropped.dropped_lines(),
            Sink::Off | Sink::Memory(_) => 0,
        }
    }
}

fn as_text<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}
