//! Reads a client's request body whole, so that it can be sent again to another backend.

use crate::azure::error::ClientError;
use crate::config::checked::Timeouts;
use crate::proxy::admitted::Refusal;
use bytes::{Bytes, BytesMut};
use pingora_core::protocols::http::server::Session;
use tokio::time::Instant;
use tokio::time::timeout_at;

/// First guess at the size of a body that names none.
const UNKNOWN_LENGTH: usize = 64 << 10;

/// Reads the body of any framing (length, chunks, h2), at most `limit` bytes. `Expect: 100-continue` is
/// answered here, and only once the request is otherwise welcome.
pub(super) async fn read(
    session: &mut Session,
    limit: usize,
    times: &Timeouts,
) -> Result<Bytes, Refusal> {
    let headers = &session.req_header().headers;
    let declared = headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(Refusal::Answer(ClientError::BodyTooLarge { limit }));
    }
    let expects = headers
        .get(http::header::EXPECT)
        .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
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
            return if whole { Ok(body.finish()) } else { Err(ClientError::Trailers.into()) };
        };
        if body.len() + chunk.len() > limit {
            return Err(Refusal::Answer(ClientError::BodyTooLarge { limit }));
        }
        body.push(chunk, declared);
    }
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
