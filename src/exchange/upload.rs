//! The upload of a request, and its progress.
//!
//! An upload is no work of the model: the first token is waited for from the moment at which the upstream's socket
//! took the last byte of the body. Until then the write has a deadline of its own, per piece: a slow upload that
//! makes progress is never given up, one that makes none is.
//!
//! The kernel would take megabytes at once, and report them as taken. [`limit_unsent`] bounds what it takes beyond
//! what it has sent. What may still wait in the upstream's own buffers is not seen; [`Upload::Taken`] therefore carries
//! the time that the last megabytes took.

use crate::clock::Clock;
use crate::exchange::Sending;
use crate::time::Time;
use bytes::Bytes;
use http::StatusCode;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use socket2::SockRef;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpSocket;

/// A write that makes no progress for this long has failed. Several lost packets are allowed for.
const STALL: Duration = Duration::from_secs(5);
/// A response is waited for this long when the upstream stopped taking the request.
const EARLY_ANSWER: Duration = Duration::from_secs(1);
/// A body is written in pieces of at most this size: progress is seen after each.
const PIECE_BYTES: usize = 16 << 10;
/// The kernel takes no more than this beyond what it has sent.
const UNSENT_BYTES: u32 = 64 << 10;
/// At most about this much of a body waits in the upstream's buffers when its last byte was taken.
const TAIL_BYTES: usize = 4 << 20;

/// How far an upload has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Upload {
    /// There is no connection yet.
    #[default]
    Connecting,
    /// The request is being written.
    Writing,
    /// The upstream's socket took the last byte.
    Taken {
        /// When.
        at: Time,
        /// The time that the last megabytes took. What still waits in the upstream's buffers may take as long again.
        tail: Duration,
    },
}

impl Upload {
    /// A response came before the last byte was taken: how fast it was tells nothing.
    const fn cut_short(at: Time) -> Self {
        Self::Taken { at, tail: Duration::MAX }
    }
}

/// What an exchange has come to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) upload: Upload,
    /// When the last chunk of a stream came that has no content yet.
    pub(crate) last_chunk: Option<Time>,
}

/// The progress of an exchange, shared between the attempt that runs it and whoever minds its deadlines.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExchangeProgress(Arc<Mutex<Stand>>);

impl ExchangeProgress {
    pub(crate) fn get(&self) -> Stand {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn uploads(&self, upload: Upload) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).upload = upload;
    }

    pub(super) fn chunk_came(&self, now: Time) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last_chunk = Some(now);
    }
}

/// Whether the whole request was taken, once there is a final response header.
pub(super) async fn write_and_wait(
    session: &mut HttpSession,
    sending: &Sending,
    clock: &Clock,
) -> Result<bool> {
    session.set_read_timeout(None);
    if let Err(error) = write(session, sending, clock).await {
        // It may have answered before it read everything (413, 429) and then closed.
        let early = tokio::time::timeout(EARLY_ANSWER, final_header(session)).await;
        if !matches!(early, Ok(Ok(()))) {
            return Err(error);
        }
        sending.progress.uploads(Upload::cut_short(clock.now()));
        return Ok(false);
    }
    final_header(session).await.map(|()| true)
}

async fn final_header(session: &mut HttpSession) -> Result<()> {
    loop {
        session.read_response_header().await?;
        match session.response_header().map(|header| header.status) {
            Some(StatusCode::SWITCHING_PROTOCOLS) => {
                let what = "switches without being asked";
                return Error::e_explain(ErrorType::InvalidHTTPHeader, what);
            }
            Some(status) if status.is_informational() => {}
            Some(_) | None => return Ok(()),
        }
    }
}

/// Writes the request.
async fn write(session: &mut HttpSession, sending: &Sending, clock: &Clock) -> Result<()> {
    session.set_write_timeout(Some(STALL));
    sending.progress.uploads(Upload::Writing);
    session.write_request_header(Box::new(sending.request.clone())).await?;
    let mut left: usize = sending.body.iter().map(Bytes::len).sum();
    let mut tail_began = clock.now();
    for part in &sending.body {
        let mut part = part.clone();
        while !part.is_empty() {
            let piece = part.split_to(part.len().min(PIECE_BYTES));
            left -= piece.len();
            session.write_request_body(piece, left == 0).await?;
            if left >= TAIL_BYTES {
                tail_began = clock.now();
            }
        }
    }
    session.finish_request_body().await?;
    let at = clock.now();
    sending.progress.uploads(Upload::Taken { at, tail: at.since(tail_began) });
    Ok(())
}

/// Whether a write failed because the upstream took nothing more. Its request was then never whole.
pub(super) fn is_stalled(error: &Error) -> bool {
    *error.etype() == ErrorType::WriteTimedout
}

/// Bounds what the kernel takes of a body beyond what it has sent, on new connections to `peer`.
pub(super) fn limit_unsent(peer: &mut HttpPeer) {
    peer.options.upstream_tcp_sock_tweak_hook = Some(Arc::clone(&LIMIT));
}

/// What [`limit_unsent`] does with a new socket; made once.
static LIMIT: LazyLock<Arc<Tweak>> = LazyLock::new(|| {
    Arc::new(|socket: &TcpSocket| {
        // A socket that refuses works all the same: progress is then seen in larger steps.
        if let Err(error) = SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES) {
            tracing::debug!(%error, "the unsent bytes of an upstream socket cannot be limited");
        }
        Ok(())
    })
});

type Tweak = dyn Fn(&TcpSocket) -> Result<()> + Send + Sync;
