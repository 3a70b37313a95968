//! Reads the head of an HTTP/1 request under one deadline, and answers one that is refused.

use super::head_limits;
use super::tap::Tap;
use crate::azure::error::ClientError;
use crate::config::checked::Config;
use crate::gate::{Head, Malformed};
use http::StatusCode;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

/// How long a client may take to read why it was refused, before its connection is reset under its hands.
const LINGER: Duration = Duration::from_secs(2);

/// How long to wait for a head.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// A connection's first: to its end until then.
    First(Instant),
    /// The next of a kept connection: a while for its first byte, and from there the time of a head.
    Kept,
}

/// Why there is none.
pub(super) enum NoHead {
    /// The client left, or never began.
    Gone,
    /// It must be refused.
    Malformed(Malformed),
}

impl From<Malformed> for NoHead {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Reads until the tap holds a whole head that passed the gate, and maybe more behind it. Tells how long the head is
/// whose body comes in chunks.
pub(super) async fn read(
    tap: &mut Tap,
    wait: Wait,
    config: &Config,
) -> Result<Option<usize>, NoHead> {
    let mut head = Head::new(head_limits(config));
    let mut until = match wait {
        Wait::First(until) => until,
        Wait::Kept if tap.held().is_empty() => Instant::now() + config.timeouts.keep_alive,
        // It began behind the request before.
        Wait::Kept => Instant::now() + config.timeouts.header,
    };
    loop {
        let begun = !tap.held().is_empty();
        if let Some(length) = head.read(tap.held())? {
            return Ok(head.is_chunked().then_some(length));
        }
        match timeout_at(until, tap.fill()).await {
            Err(_late) if begun => return Err(Malformed::HeaderTimeout.into()),
            Err(_) | Ok(Err(_) | Ok(0)) => return Err(NoHead::Gone),
            Ok(Ok(_)) => {}
        }
        if !begun && matches!(wait, Wait::Kept) {
            until = Instant::now() + config.timeouts.header;
        }
    }
}

/// Answers a head that is refused, and ends the connection: whatever follows is not read as a request.
pub(super) async fn refuse(tap: &mut Tap, malformed: Malformed) {
    let error = ClientError::Malformed(malformed.into());
    let (status, body) = (error.status(), error.body());
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-request-id: {}\r\n\
         connection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
        Uuid::now_v7(),
    );
    let answered = async {
        tap.write_all(&[head.as_bytes(), &body].concat()).await?;
        tap.flush().await?;
        AsyncWriteExt::shutdown(tap).await?;
        let mut rest = [0; 4096];
        while tap.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Over after its time, or when the client is done or gone: any way is good.
    drop(timeout(LINGER, answered).await);
}

impl From<Malformed> for crate::azure::error::Refused {
    fn from(malformed: Malformed) -> Self {
        Self {
            status: StatusCode::from_u16(malformed.status()).unwrap_or(StatusCode::BAD_REQUEST),
            code: malformed.reason(),
            message: malformed.message(),
        }
    }
}
