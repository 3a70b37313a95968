//! Reads a client's request body whole, so that it can be sent again to another backend.

use crate::azure::error::ClientError;
use crate::azure::overload::Shed;
use crate::config::checked::Config;
use crate::proxy::admitted::Refusal;
use bytes::{Bytes, BytesMut};
use pingora_core::protocols::http::server::Session;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio::time::timeout_at;

/// Retry-After when there is no memory: bodies are given back within seconds.
const COME_BACK: Duration = Duration::from_secs(1);
/// First guess at the size of a body that names none.
const UNKNOWN_LENGTH: usize = 64 << 10;

/// A body in memory, and the memory it holds until it is dropped.
#[derive(Default)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

/// Reads the body of any framing (length, chunks, h2), at most as large as the limits say. `Expect:
/// 100-continue` is answered here, and only once the request is otherwise welcome.
pub(super) async fn read(
    session: &mut Session,
    config: &Config,
    memory: &Arc<Semaphore>,
) -> Result<Body, Refusal> {
    let (limit, times) = (config.limits.body_bytes, &config.timeouts);
    let headers = &session.req_header().headers;
    let declared = headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(ClientError::BodyTooLarge { limit }.into());
    }
    let expects = headers
        .get(http::header::EXPECT)
        .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let mut held = take(memory, declared.unwrap_or(0))?;
    if expects {
        session.write_continue_response().await.map_err(Refusal::ClientGone)?;
    }
    let whole = Instant::now() + times.body_total;
    let mut body = Collected::default();
    loop {
        // Pingora's h2 body reads have no time-out of their own.
        let soon = whole.min(Instant::now() + times.body_idle);
        let chunk = timeout_at(soon, session.read_request_body())
            .await
            .map_err(|_| Refusal::Answer(ClientError::BodyTimeout))?
            .map_err(Refusal::ClientGone)?;
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
            let all = (body.len() + chunk.len()).div_ceil(1024);
            held.merge(take(memory, all.saturating_sub(held.num_permits()) * 1024)?);
        }
        body.push(chunk, declared);
    }
}

/// Takes the memory for so many bytes, rounded up to KiB, or refuses: waiting would hold a connection instead.
fn take(memory: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, ClientError> {
    let kibibytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    let taken = Arc::clone(memory).try_acquire_many_owned(kibibytes);
    taken.map_err(|_| ClientError::Overloaded { shed: Shed::Memory, retry_after: COME_BACK })
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
