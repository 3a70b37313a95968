//! A connection whose first bytes were read before Pingora reads them.
//!
//! For h2 it also ends a connection on which a header block waits too long for its rest.

use crate::gate::{Chunks, Frames};
use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use std::future::{Future, poll_fn};
use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What is read at a time while a head is awaited.
const PIECE: usize = 4096;

/// A stream, and what was read of it and not yet taken.
#[derive(Debug)]
pub(super) struct Tap {
    inner: Stream,
    held: BytesMut,
    watch: Option<Watch>,
    answer: Answer,
    body: Option<Body>,
}

/// A body in chunks.
#[derive(Debug)]
struct Body {
    /// What of its head did not pass yet.
    head: usize,
    chunks: Chunks,
}

impl Body {
    /// How much of what comes next may pass at once: the head alone, so that what is wrong behind it can be answered.
    fn pass(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.head > 0 {
            let passing = self.head.min(bytes.len());
            self.head -= passing;
            return Ok(passing);
        }
        if self.chunks.pass(bytes) {
            Ok(bytes.len())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "broken chunks"))
        }
    }
}

/// How far the answer to an HTTP/1.1 request has come.
///
/// A quick client sends its next request while Pingora is still ending the last one: its first byte would then be
/// taken for a byte behind the body, and the connection be closed under the client's hands. So once an answer has
/// begun that leaves the connection open, what comes is held for the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Whatever is read or written passes: h2, a tunnel, or a connection that is going to be closed.
    Passing,
    /// None was written yet.
    Awaited,
    /// It has begun.
    Begun {
        /// Whether something had come before it: nobody said that it would be read.
        early: bool,
    },
}

impl Answer {
    /// What the first bytes that are written make of it, when so many had come behind the request.
    fn begins(written: &[u8], behind: usize) -> Self {
        const CLOSE: &[u8] = b"connection: close";
        let closes = || written.windows(CLOSE.len()).any(|word| word.eq_ignore_ascii_case(CLOSE));
        if written.starts_with(b"HTTP/1.1 100") {
            Self::Awaited
        } else if written.starts_with(b"HTTP/1.1 1") || closes() {
            Self::Passing
        } else {
            Self::Begun { early: behind > 0 }
        }
    }
}

/// How long a header block may stay open.
#[derive(Debug)]
struct Watch {
    frames: Frames,
    limit: Duration,
    /// Set while one is open and a read waits.
    timer: Option<Pin<Box<Sleep>>>,
    until: Option<Instant>,
}

impl Tap {
    pub(super) fn new(inner: Stream) -> Self {
        Self { inner, held: BytesMut::new(), watch: None, answer: Answer::Passing, body: None }
    }

    /// What was read and not yet taken.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// A request begins whose answer is awaited; `chunked`: how long its head is, if its body comes in chunks.
    pub(super) fn await_answer(&mut self, chunked: Option<usize>) {
        self.answer = Answer::Awaited;
        self.body = chunked.map(|head| Body { head, chunks: Chunks::default() });
    }

    /// Whether the client sent more than was taken before it was answered.
    pub(super) fn was_hasty(&self) -> bool {
        match self.answer {
            Answer::Begun { early } => early,
            Answer::Passing | Answer::Awaited => !self.held.is_empty(),
        }
    }

    /// Holds what comes, at most a piece; ready when the client sends no more.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held.len() < PIECE {
            let mut piece = [0; PIECE];
            let mut buffer = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(buffer.filled());
        }
        // Who sends so much is read when its turn comes.
        Poll::Pending
    }

    fn see_written(&mut self, bytes: &[u8]) {
        if self.answer == Answer::Awaited {
            self.answer = Answer::begins(bytes, self.held.len());
        }
    }

    /// Reads a piece and holds it; 0: the client sends no more. Cancelled, it lost nothing.
    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; PIECE];
        let mut buffer = ReadBuf::new(&mut piece);
        poll_fn(|cx| Pin::new(&mut self.inner).poll_read(cx, &mut buffer)).await?;
        self.held.extend_from_slice(buffer.filled());
        Ok(buffer.filled().len())
    }

    /// From now on ends the connection if a head takes longer than `limit`.
    pub(super) fn watch(&mut self, limit: Duration) {
        let mut frames = Frames::default();
        frames.pass(&self.held);
        let mut watch = Watch { frames, limit, timer: None, until: None };
        watch.arm();
        self.watch = Some(watch);
    }
}

impl Watch {
    fn pass(&mut self, bytes: &[u8]) {
        self.frames.pass(bytes);
        self.arm();
    }

    fn arm(&mut self) {
        if !self.frames.is_open() {
            (self.until, self.timer) = (None, None);
        } else if self.until.is_none() {
            self.until = Some(Instant::now() + self.limit);
        }
    }

    /// Nothing to read: whether the wait is over.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(until))).as_mut().poll(cx)
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.answer, Answer::Begun { .. }) {
            return this.poll_hold(cx);
        }
        if !this.held.is_empty() {
            let mut length = this.held.len().min(buf.remaining());
            if let Some(body) = &mut this.body {
                length = body.pass(this.held.get(..length).unwrap_or_default())?;
            }
            buf.put_slice(this.held.get(..length).unwrap_or_default());
            this.held.advance(length);
            if this.held.is_empty() {
                this.held = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        if let (Poll::Ready(Ok(())), Some(body)) = (&read, &mut this.body) {
            body.pass(buf.filled().get(before..).unwrap_or_default())?;
        }
        match (read, this.watch.as_mut()) {
            (Poll::Ready(Ok(())), Some(watch)) => {
                watch.pass(buf.filled().get(before..).unwrap_or_default());
                Poll::Ready(Ok(()))
            }
            (Poll::Pending, Some(watch)) => {
                ready!(watch.poll_late(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            (read, _) => read,
        }
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.see_written(buf);
        Pin::new(&mut this.inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.see_written(bufs.first().map(|buf| &**buf).unwrap_or_default());
        Pin::new(&mut this.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Tap {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

#[async_trait]
impl Peek for Tap {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        while self.held.len() < buf.len() {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        buf.iter_mut().zip(&self.held).for_each(|(to, from)| *to = *from);
        Ok(true)
    }
}

impl UniqueID for Tap {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Tap {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Tap {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for Tap {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Tap {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_keeps_the_connection_is_told_from_others() {
        let begins = |written: &str| Answer::begins(written.as_bytes(), 0);
        assert_eq!(begins("HTTP/1.1 200 OK\r\nDate: x\r\n\r\n"), Answer::Begun { early: false });
        assert_eq!(begins("HTTP/1.1 100 Continue\r\n\r\n"), Answer::Awaited);
        assert_eq!(begins("HTTP/1.1 101 Switching Protocols\r\n"), Answer::Passing);
        assert_eq!(begins("HTTP/1.1 413 X\r\nConnection: close\r\n\r\n"), Answer::Passing);
        assert_eq!(Answer::begins(b"HTTP/1.1 200 OK", 7), Answer::Begun { early: true });
    }
}
