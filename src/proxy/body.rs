//! Reads a client's request body whole, so that it can be sent again to another backend.

use crate::azure::error::ClientError;
use crate::azure::overload::Shed;
use crate::config::checked::Config;
use crate::live::Live;
use crate::proxy::admitted::Refusal;
use crate::proxy::shed;
use crate::quota::Held;
use bytes::{Bytes, BytesMut};
use http::Version;
use pingora_core::ErrorType;
use pingora_core::protocols::http::server::Session;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::timeout_at;

/// Longer than any body may take.
const NO_RATE: Duration = Duration::from_hours(24);
/// First guess at the size of a body that names none.
const UNKNOWN_LENGTH: usize = 64 << 10;

/// A body in memory, and the memory it holds until it is dropped.
#[derive(Default)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _held: Option<Held>,
}

/// Reads the body of any framing (length, chunks, h2), at most as large as the limits say. `Expect:
/// 100-continue` is answered here, and only once the request is otherwise welcome. `app`: whose memory it is.
pub(super) async fn read(
    session: &mut Session,
    config: &Config,
    live: &Live,
    app: &Arc<str>,
) -> Result<Body, Refusal> {
    let (limit, times) = (config.limits.body_bytes, &config.timeouts);
    let request = session.req_header();
    let headers = &request.headers;
    let declared = headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(ClientError::BodyTooLarge { limit }.into());
    }
    // Of HTTP/1.0 it is no wish (RFC 9110, section 10.1.1).
    let expects = request.version != Version::HTTP_10
        && headers
            .get(http::header::EXPECT)
            .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let full = |_| shed::refuse(Shed::Memory, &mut live.rng());
    let memory = live.memory().take(app, kibibytes(declared.unwrap_or(0)));
    let mut held = memory.map_err(full)?;
    if expects {
        session.write_continue_response().await.map_err(Refusal::ClientGone)?;
    }
    let begun = Instant::now();
    let whole = begun + times.body_total;
    let mut body = Collected::default();
    loop {
        // Pingora's h2 body reads have no time-out of their own.
        let steady = begun + times.body_grace + least_time(body.len(), config.limits.body_rate);
        let soon = whole.min(Instant::now() + times.body_idle).min(steady);
        let chunk = timeout_at(soon, session.read_request_body())
            .await
            .map_err(|_| Refusal::Answer(ClientError::BodyTimeout))?
            .map_err(broken)?;
        let Some(chunk) = chunk else {
            // Over h2 a trailer may follow, which Pingora's connector path would wait for without ever
            // yielding its thread.
            let whole = session.is_body_done();
            let body = Body { bytes: body.finish(), _held: Some(held) };
            return if whole { Ok(body) } else { Err(ClientError::Trailers.into()) };
        };
        if body.len() + chunk.len() > limit {
            return Err(ClientError::BodyTooLarge { limit }.into());
        }
        if declared.is_none() {
            // By the whole, not chunk by chunk: those may be of one byte each.
            held.grow(kibibytes(body.len() + chunk.len())).map_err(full)?;
        }
        body.push(chunk, declared);
    }
}

/// A body that cannot be read: its sender left, or does not know how to write one.
fn broken(error: Box<pingora_core::Error>) -> Refusal {
    // The names that Pingora has for it; its constants cannot be reached.
    let framing = matches!(error.etype(), ErrorType::Custom("InvalidChunk" | "InvalidTrailerEnd"));
    // The entrance's word for it.
    let ours = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<io::Error>());
    let ours = ours.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData);
    if framing || ours { ClientError::BadChunks.into() } else { Refusal::ClientGone(error) }
}

/// How long so many bytes may take at this rate, in bytes a second; 0 is any.
fn least_time(bytes: usize, rate: u32) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let millis = bytes.saturating_mul(1000).checked_div(rate.into());
    millis.map_or(NO_RATE, Duration::from_millis)
}

/// Rounded up. What is too little is refused at once: waiting would hold a connection instead.
pub(super) fn kibibytes(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(1024)).unwrap_or(u64::MAX)
}

/// A body in one piece stays the piece it came in.
#[derive(Default)]
struct Collected {
    first: Option<Bytes>,
    rest: Option<BytesMut>,
}

impl Collected {
    fn len(&self) -> usize {
        self.rest.as_ref().map_or_else(|| self.first.as_ref().map_or(0, Bytes::len), BytesMut::len)
    }

    fn push(&mut self, chunk: Bytes, declared: Option<usize>) {
        if let Some(rest) = self.rest.as_mut() {
            rest.extend_from_slice(&chunk);
            return;
        }
        let Some(first) = self.first.take() else {
            self.first = Some(chunk);
            return;
        };
        let size = declared.unwrap_or(UNKNOWN_LENGTH).max(first.len() + chunk.len());
        let mut rest = BytesMut::with_capacity(size);
        rest.extend_from_slice(&first);
        rest.extend_from_slice(&chunk);
        self.rest = Some(rest);
    }

    fn finish(self) -> Bytes {
        self.rest.map_or_else(|| self.first.unwrap_or_default(), BytesMut::freeze)
    }
}
