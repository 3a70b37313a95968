//! Realtime conversations: connections (`WebSocket`, RFC 6455) that are passed through, frame by frame, unchanged.
//!
//! Pingora's own upstream path could relay one, but it can neither end one after a time without a byte, nor tell
//! both ends why, nor know that the process drains; and it retries only what it has not begun to answer. So the
//! backend is asked here ([`open`], [`dial`]), and what follows its 101 is passed on here ([`tunnel`]). The client
//! stays a session of Pingora's throughout.
//!
//! What a conversation holds (its place in the app's limits, its lease, its number in the gauges) is held by values
//! that give it back when they are dropped, however it ends.

mod course;
mod dial;
mod ends;
mod lane;
mod open;
mod tunnel;

use crate::azure::error::ClientError;
use crate::azure::realtime::handshake::{Offer, OfferError, accept, accepted, offer};
use crate::azure::realtime::query::{self, QueryError};
use crate::proxy::admitted::{Request, Services};
use crate::proxy::answer;
use crate::proxy::context::Context;
use crate::proxy::meter;
use crate::proxy::realtime::course::Course;
use crate::proxy::realtime::dial::Told;
use crate::proxy::realtime::ends::{Client, Upstream};
use crate::proxy::realtime::open::{Open, Opened, open};
use crate::proxy::realtime::tunnel::{Ended, Tunnel};
use http::header;
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::server::configuration::ServerConf;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use prometheus::IntGauge;
use std::time::Duration;
use tokio::sync::watch;

/// The conversations of a process.
pub struct Realtime {
    connector: TransportConnector,
    going: watch::Sender<Option<Duration>>,
}

impl Realtime {
    /// None yet; `conf` is for connections to backends.
    pub fn new(conf: &ServerConf) -> Self {
        let connector = TransportConnector::new(Some(ConnectorOptions::from_server_conf(conf)));
        Self { connector, going: watch::Sender::new(None) }
    }

    /// The process drains, for at most `limit`: all conversations are ended, each at the next moment at which its
    /// backend is silent, so that clients connect again to the process that follows. Done once.
    pub fn drain(&self, limit: Duration) {
        self.going.send_if_modified(|going| {
            let first = going.is_none();
            *going = going.or(Some(limit));
            first
        });
    }
}

/// What a client asks for beside the model, or why its request may not be upgraded.
pub(super) fn asked(
    request: &RequestHeader,
    query: &str,
) -> std::result::Result<Offer, ClientError> {
    let offer = offer(request.version, &request.headers).map_err(|error| match error {
        OfferError::NotAsked | OfferError::WrongVersion => ClientError::UpgradeRequired,
        OfferError::NotHttp11 => {
            ClientError::BadHandshake { what: "it is served over HTTP/1.1 only" }
        }
        OfferError::Malformed(what) => ClientError::BadHandshake { what },
    })?;
    query::check(query).map_err(|error| ClientError::BadHandshake {
        what: match error {
            QueryError::Call => {
                "`call_id` names a call that lives on one resource, which is not served"
            }
            QueryError::Intent => "`intent` in the query must be one plain word",
        },
    })?;
    Ok(offer)
}

/// Counts a conversation while it is open.
struct Counted(IntGauge);

impl Counted {
    fn new(request: &Request, open: &Open) -> Self {
        let backend = request.model().backends.get(open.target);
        let labels = [&*request.model().name, backend.map_or("", |backend| &*backend.name)];
        let gauge = request.services.telemetry.metrics.realtime_sessions.with_label_values(&labels);
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Serves an admitted request to its end. An error: the connection is of no further use.
pub(super) async fn serve(
    session: &mut Session,
    ctx: &mut Context,
    (realtime, services): (&Realtime, &Services),
) -> Result<()> {
    let parts = (ctx.request.clone(), ctx.attempts.take(), ctx.realtime.take());
    let (Some(request), Some(mut attempts), Some(offer)) = parts else {
        return answer::refuse(session, ctx, ClientError::Internal).await;
    };
    // Whatever the answer: what a client sent behind its request is no request.
    session.set_keepalive(None);
    let opened = tokio::select! {
        opened = open(&request, &mut attempts, &offer, &realtime.connector) => opened,
        gone = left(session) => return Err(gone),
    };
    match opened {
        Opened::Open(open) => {
            let counted = Counted::new(&request, &open);
            let ended = talk(session, ctx, (*open, &offer), (realtime, services)).await;
            drop(counted);
            ended
        }
        Opened::Told(told) => pass_on(session, ctx, told).await,
        Opened::Lost(refusal) => answer::refuse(session, ctx, refusal).await,
    }
}

/// Waits until the client leaves, or speaks before it was answered, which it must not.
async fn left(session: &mut Session) -> Box<Error> {
    match session.as_downstream_mut().read_body_or_idle(true).await {
        Err(error) => error.into_down(),
        Ok(_) => Error::explain(ErrorType::ConnectionClosed, "spoke too early").into_down(),
    }
}

/// An answer that is no 101.
async fn pass_on(session: &mut Session, ctx: &mut Context, told: Told) -> Result<()> {
    let mut header = ResponseHeader::build(told.header.status, Some(8))?;
    for (name, value) in &told.header.headers {
        header.append_header(name.clone(), value.clone())?;
    }
    answer::finish_header(&mut header, ctx)?;
    header.remove_header(&header::TRANSFER_ENCODING);
    header.insert_header(header::CONTENT_LENGTH, told.body.len())?;
    ctx.relayed.bytes = told.body.len();
    session.write_response_header(Box::new(header), false).await?;
    session.write_response_body(Some(told.body), true).await
}

/// From the 101 to the end.
async fn talk(
    session: &mut Session,
    ctx: &mut Context,
    (open, offer): (Open, &Offer),
    (realtime, services): (&Realtime, &Services),
) -> Result<()> {
    let Open { aftermath, header, stream, early, .. } = open;
    let header = switching(&header, offer, ctx)?;
    let downstream = session.as_downstream_mut();
    if let Err(error) = downstream.write_response_header(Box::new(header)).await {
        return Err(error.into_down());
    }
    let times = &ctx.snapshot.config.timeouts;
    let course = Course::new(times.realtime_idle, times.realtime_total);
    let ends = (Client::new(downstream)?, Upstream::new(stream, early));
    let mask = services.live.rng().bits().to_be_bytes();
    let mask = mask.first_chunk().copied().unwrap_or_default();
    let mut tunnel = Tunnel::new(ends, course, mask);
    let (admission, clock) = (&mut ctx.admission, services.live.clock());
    let ended = tunnel
        .run(realtime.going.subscribe(), |usage| {
            if let (Some(admission), Some(tokens)) = (admission.as_mut(), meter::total(&usage)) {
                admission.settle(clock.now(), tokens);
            }
        })
        .await;
    (ctx.relayed.bytes, ctx.note.bytes_in) = tunnel.passed();
    ctx.relayed.tell(tunnel.usage());
    drop(tunnel);
    match ended {
        Ended::ByClient | Ended::ByBackend { said: true } => {
            aftermath.completed();
            Ok(())
        }
        Ended::ByUs(why) => {
            aftermath.completed();
            ctx.note.ended = Some(why.as_str());
            // Dropped rather than finished: an end that takes nothing must hold nothing up.
            Err(Error::explain(ErrorType::Custom("realtime"), why.as_str()))
        }
        Ended::ClientBroke(error) => Err(error),
        Ended::ByBackend { said: false } | Ended::BackendBroke => {
            aftermath.broke_off();
            Err(Error::explain(ErrorType::ConnectionClosed, "the backend left").into_up())
        }
    }
}

/// The 101 for the client: its own accept value, and of the backend's what crosses.
fn switching(
    upstream: &ResponseHeader,
    offer: &Offer,
    ctx: &mut Context,
) -> Result<ResponseHeader> {
    let mut header = ResponseHeader::build(http::StatusCode::SWITCHING_PROTOCOLS, Some(12))?;
    for (name, value) in &upstream.headers {
        header.append_header(name.clone(), value.clone())?;
    }
    answer::finish_header(&mut header, ctx)?;
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONTENT_TYPE] {
        header.remove_header(&name);
    }
    header.insert_header(header::UPGRADE, "websocket")?;
    header.insert_header(header::CONNECTION, "Upgrade")?;
    header.insert_header(header::SEC_WEBSOCKET_ACCEPT, accept(&offer.key))?;
    if let Ok(Some(protocol)) = accepted(offer, &upstream.headers) {
        header.insert_header(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone())?;
    }
    Ok(header)
}

/// Takes the credential out of what Pingora knows of a request, so that nothing that tells of it tells it.
pub(super) fn forget_credential(session: &mut Session) {
    let request = session.req_header_mut();
    for name in ["api-key", "authorization", "sec-websocket-protocol"] {
        request.remove_header(name);
    }
    let path = request.uri.path().to_owned();
    // A path that came in is one.
    if let Ok(path) = path.parse() {
        request.set_uri(path);
    }
}
