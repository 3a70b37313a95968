//! One connection: HTTP/1.1 or HTTP/2 with prior knowledge on a TCP stream, and how it is destroyed.
//!
//! A request that a fault wants to see reset, or answered with nonsense, cannot do so through HTTP. It hands a
//! [`Sabotage`] to its connection, which stops speaking HTTP and does it to the socket.

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use socket2::{SockRef, Socket};
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// What is done to a connection's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// It is closed with a reset (RST).
    Reset,
    /// Bytes that are not HTTP are sent, then it is closed.
    Garbage,
}

/// Serves a connection until it ends or is ordered to be destroyed.
pub(super) async fn serve<S, B>(
    stream: TcpStream,
    service: S,
    mut orders: mpsc::Receiver<Sabotage>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // A second handle on the socket, because the first one belongs to the HTTP machinery.
    let socket = SockRef::from(&stream).try_clone()?;
    let order = tokio::select! {
        () = converse(stream, service) => None,
        order = orders.recv() => order,
    };
    match order {
        None => Ok(()),
        // Without lingering, closing the last handle sends RST.
        Some(Sabotage::Reset) => socket.set_linger(Some(Duration::ZERO)),
        Some(Sabotage::Garbage) => send_garbage(&socket),
    }
}

/// Speaks HTTP on a stream until either side has had enough.
pub(super) async fn converse<S, B>(stream: TcpStream, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let builder = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await
    {
        // Clients leave and faults break answers off; both are counted where they happen.
        tracing::trace!(%error, "mock connection ended early");
    }
}

/// The socket does not block; what does not fit into its empty buffer is not missed.
fn send_garbage(socket: &Socket) -> io::Result<()> {
    socket.send(b"\x16\x03\x01 this is not HTTP\r\n\x00\xff\r\n").map(drop)
}
