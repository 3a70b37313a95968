//! Opens a conversation on one target after the other, by the same contract as any request: until a backend's 101
//! nothing of the client's was sent, so that anything that fails may be tried elsewhere.

use crate::azure::error::ClientError;
use crate::azure::realtime::handshake::Offer;
use crate::exchange::{AnswerKind, Failure, Marks};
use crate::proxy::admitted::Request;
use crate::proxy::context::Chosen;
use crate::proxy::forward;
use crate::proxy::realtime::dial::{Dialled, Told, dial};
use crate::proxy::watch::{Aftermath, Watch};
use crate::routing::{Attempts, Next, pause_before_again};
use bytes::Bytes;
use http::header;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::Stream;
use pingora_http::{RequestHeader, ResponseHeader};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// What came of all attempts.
pub(super) enum Opened {
    /// A conversation.
    Open(Box<Open>),
    /// A backend's answer for the client.
    Told(Told),
    /// An answer of ours.
    Lost(ClientError),
}

/// A conversation with a backend.
pub(super) struct Open {
    /// Position of its target in the pool.
    pub(super) target: usize,
    /// Told how the conversation ends; until then it holds the place on the target.
    pub(super) aftermath: Aftermath,
    /// The backend's 101.
    pub(super) header: Box<ResponseHeader>,
    pub(super) stream: Stream,
    /// What it said right behind that.
    pub(super) early: Bytes,
}

/// Tries one target after the other.
pub(super) async fn open(
    request: &Arc<Request>,
    attempts: &mut Attempts,
    offer: &Offer,
    connector: &TransportConnector,
) -> Opened {
    let mut pause = None;
    loop {
        let reached = match pause.take() {
            None => forward::reach(request, attempts),
            Some(pause) => {
                sleep(pause).await;
                forward::again(request, attempts)
            }
        };
        let (Chosen { lease, why }, peer) = match reached {
            Ok(reached) => reached,
            Err(none) => return Opened::Lost(forward::nothing_left(request, &none)),
        };
        let Some(header) = header_for(request, lease.target(), offer) else {
            attempts.closed();
            return Opened::Lost(ClientError::Internal);
        };
        let mut watch = Watch::new(Arc::clone(request), lease, why);
        let unix = request.clock().unix();
        let dialled = Box::pin(dial(connector, (&peer, header), offer, unix)).await;
        if let Some(status) = dialled.status() {
            watch.marks = Marks { status, header: Some(request.now()), first_token: None };
        }
        match dialled {
            Dialled::Open { header, stream, early } => {
                for event in attempts.served(&request.model().pool, request.now()) {
                    request.tell(Some(event));
                }
                // Now: what is said in the conversation, and how long, is no answer of the target's.
                watch.succeed(AnswerKind::Good);
                watch.answers();
                let (target, aftermath) = (watch.target(), watch.aftermath());
                return Opened::Open(Box::new(Open { target, aftermath, header, stream, early }));
            }
            Dialled::Passed(told) => {
                attempts.closed();
                watch.succeed(AnswerKind::Passed);
                watch.answers();
                return Opened::Told(told);
            }
            Dialled::Failed { failure, spare, .. } => {
                let failed = fail(request, attempts, (&mut watch, &failure));
                match (failed, spare) {
                    (Ok(before_next), _) => pause = before_next,
                    (Err(_), Some(told)) => {
                        watch.answers();
                        return Opened::Told(told);
                    }
                    (Err(refusal), None) => return Opened::Lost(refusal),
                }
            }
        }
    }
}

/// Settles a failed attempt. Returns the pause before the same target is tried once more, if there is to be one;
/// our error if there is to be no other attempt.
fn fail(
    request: &Request,
    attempts: &mut Attempts,
    (watch, failure): (&mut Watch, &Failure),
) -> Result<Option<Duration>, ClientError> {
    match forward::failed(request, attempts, (watch, failure)) {
        Next::Retry | Next::Wait => Ok(None),
        Next::Again => Ok(Some(pause_before_again(&mut request.services.live.rng()))),
        Next::GiveUp(_) => Err(forward::give_up(request, attempts, failure.outcome)),
    }
}

/// The request for one target, built from nothing; `None` if it cannot be addressed.
fn header_for(request: &Request, target: usize, offer: &Offer) -> Option<RequestHeader> {
    let mut header = forward::header_for(request, target)?;
    upgrade(&mut header, offer).ok()?;
    Some(header)
}

fn upgrade(request: &mut RequestHeader, offer: &Offer) -> pingora_core::Result<()> {
    request.insert_header(header::CONNECTION, "Upgrade")?;
    request.insert_header(header::UPGRADE, "websocket")?;
    request.insert_header(header::SEC_WEBSOCKET_VERSION, "13")?;
    request.insert_header(header::SEC_WEBSOCKET_KEY, offer.key.clone())?;
    if !offer.protocols.is_empty() {
        request.insert_header(header::SEC_WEBSOCKET_PROTOCOL, offer.protocols.join(", "))?;
    }
    Ok(())
}
