//! A small HTTP server on a loopback address: what the fake Entra and the fake IMDS stand on.
//!
//! A [`Site`] says in whose [`Ledger`] a request is written down and how it is answered; everything that
//! touches a socket is here.

use crate::mock::body::{AnswerBody, BrokenOff, play};
use crate::mock::connection::{Sabotage, serve};
use crate::mock::door::Door;
use crate::mock::ledger::{Ledger, Listening, Outcome};
use crate::mock::receive::receive;
use crate::mock::script::whole;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::Value;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// What answers the requests of one port.
pub(super) trait Site: Send + Sync + 'static {
    /// Where a request is counted.
    fn ledger(&self, parts: &Parts) -> &Arc<Ledger>;
    /// How a request is answered.
    fn act(&self, parts: &Parts, body: &[u8]) -> Act;
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Act {
    /// It is answered.
    Send(Page),
    /// It is never answered.
    Hang,
    /// Its connection is destroyed.
    Cut(Sabotage),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    /// When it leaves, counted from the arrival of the request.
    pub(super) after: Duration,
    pub(super) outcome: Outcome,
}

impl Page {
    /// A JSON value. What is not a success was the client's mistake.
    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        let outcome = if status.is_success() { Outcome::Completed } else { Outcome::Rejected };
        Self {
            status,
            headers: vec![("content-type", "application/json; charset=utf-8".to_owned())],
            body: Bytes::from(value.to_string()),
            after: Duration::ZERO,
            outcome,
        }
    }

    /// Something that is no JSON, with the status and type of an answer that is.
    pub(super) fn garbage() -> Self {
        let body =
            Bytes::from_static(b"<html><body>Please sign in to the network.</body></html>\xff");
        Self { body, outcome: Outcome::Faulted, ..Self::json(StatusCode::OK, &Value::Null) }
    }

    /// The same with one more header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same, ended by a fault.
    pub(super) fn faulted(self) -> Self {
        Self { outcome: Outcome::Faulted, ..self }
    }
}

/// Opens a port for `whom`. It asks for no credential, so it has to be a loopback address.
pub(super) fn open(address: SocketAddr, whom: &str) -> io::Result<Door> {
    if !address.ip().is_loopback() {
        let problem = format!("{address}: {whom} only listens on a loopback address");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    Door::open(address).map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
}

/// An accept that failed is tried again after this time.
const RETRY: Duration = Duration::from_millis(20);

/// Serves a site for ever, from a task of `tasks`.
pub(super) fn keep<S: Site>(door: Door, site: Arc<S>, tasks: &mut JoinSet<()>) {
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = door.accept() => match accepted {
                    Ok(stream) => { connections.spawn(converse(Arc::clone(&site), stream)); }
                    Err(_) => sleep(RETRY).await,
                },
                Some(_ended) = connections.join_next() => {}
            }
        }
    });
}

/// A ledger of a port that is open from its start to its end.
pub(super) fn ledger(clock: crate::clock::Clock) -> Arc<Ledger> {
    let ledger = Ledger::new(clock);
    ledger.set_listening(Listening::Yes);
    Arc::new(ledger)
}

async fn converse<S: Site>(site: Arc<S>, stream: TcpStream) {
    // One order is enough: the first destroys the connection.
    let (orders, ordered) = mpsc::channel(1);
    let service = service_fn(move |request| answer(Arc::clone(&site), orders.clone(), request));
    if let Err(error) = serve(stream, service, ordered).await {
        tracing::debug!(%error, "mock connection");
    }
}

async fn answer<S: Site>(
    site: Arc<S>,
    orders: mpsc::Sender<Sabotage>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, BrokenOff> {
    let arrival = Instant::now();
    let (parts, body) = request.into_parts();
    let mut visit = site.ledger(&parts).arrive(&parts);
    let received = receive(body).await.map_err(|_| BrokenOff)?;
    visit.body(received.bytes.len(), &received.sha256);
    match site.act(&parts, &received.bytes) {
        Act::Hang => {
            let _held_until_the_client_leaves = visit;
            pending().await
        }
        Act::Cut(sabotage) => {
            visit.end(Outcome::Faulted);
            if orders.try_send(sabotage).is_err() {
                tracing::trace!("the connection is being destroyed already");
            }
            pending().await
        }
        Act::Send(page) => {
            sleep_until(arrival + page.after).await;
            let script = whole(page.after, page.body, 0);
            let mut response = Response::new(play(script, arrival, visit, page.outcome));
            *response.status_mut() = page.status;
            for (name, value) in page.headers {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    response.headers_mut().insert(HeaderName::from_static(name), value);
                }
            }
            Ok(response)
        }
    }
}
