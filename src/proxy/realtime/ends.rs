//! The two ends of a conversation, once it is open: bytes in, bytes out, by polling.
//!
//! Both are polled from one task, so that a slow direction never holds up the other and nothing is buffered but
//! the one chunk that is on its way. The client stays a session of Pingora's, which has read ahead of the request
//! and ends the connection; its reads and its queued writes may be given up and taken up again at any await.

use bytes::{Buf, Bytes, BytesMut};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::server::Session;
use pingora_core::{Error, ErrorType, Result};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt, AsyncWrite};

/// The most that is read from a backend at once.
const CHUNK: usize = 16 << 10;

/// One end.
pub(super) trait End {
    /// The next bytes; none: it has closed.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes>>;

    /// Takes what is to be written. Only when nothing is on its way.
    fn send(&mut self, bytes: Bytes);

    /// Whether all of that has left.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;
}

/// The client, whose connection was upgraded.
pub(super) struct Client<'a> {
    session: &'a mut Session,
}

impl<'a> Client<'a> {
    /// Fails where Pingora did not upgrade: it would take frames for requests.
    pub(super) fn new(session: &'a mut Session) -> Result<Self> {
        if !session.was_upgraded() {
            return Err(Error::explain(ErrorType::InternalError, "the client was not upgraded"));
        }
        // How long it may be silent is decided elsewhere.
        session.set_read_timeout(None);
        Ok(Self { session })
    }
}

impl End for Client<'_> {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes>> {
        let read = ready!(pin!(self.session.read_request_body()).poll(cx));
        Poll::Ready(read.map(Option::unwrap_or_default).map_err(Error::into_down))
    }

    fn send(&mut self, bytes: Bytes) {
        self.session.send_downstream_proxy_task(HttpTask::UpgradedBody(Some(bytes), false));
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.session.has_pending_downstream_proxy_tasks() {
            return Poll::Ready(Ok(()));
        }
        let sent = ready!(pin!(self.session.write_downstream_proxy_tasks()).poll(cx));
        Poll::Ready(sent.map(|_| ()).map_err(Error::into_down))
    }
}

/// The backend. Dropped, its connection is closed.
pub(super) struct Upstream {
    stream: Stream,
    /// What it said right behind its 101.
    early: Bytes,
    read: BytesMut,
    out: Bytes,
    unflushed: bool,
}

impl Upstream {
    pub(super) fn new(stream: Stream, early: Bytes) -> Self {
        Self { stream, early, read: BytesMut::new(), out: Bytes::new(), unflushed: false }
    }
}

impl End for Upstream {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes>> {
        if !self.early.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.early)));
        }
        self.read.reserve(CHUNK);
        let read = ready!(pin!(self.stream.read_buf(&mut self.read)).poll(cx));
        Poll::Ready(match read {
            Ok(_) => Ok(self.read.split().freeze()),
            Err(error) => broke(ErrorType::ReadError, error),
        })
    }

    fn send(&mut self, bytes: Bytes) {
        self.out = bytes;
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out));
            let written = written.or_else(|error| broke(ErrorType::WriteError, error))?;
            if written == 0 {
                let error = Error::explain(ErrorType::WriteError, "it takes no more bytes");
                return Poll::Ready(Err(error.into_up()));
            }
            self.out.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
            flushed.or_else(|error| broke(ErrorType::WriteError, error))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

fn broke<T>(kind: ErrorType, error: std::io::Error) -> Result<T> {
    Err(Error::because(kind, "a realtime session", error).into_up())
}
