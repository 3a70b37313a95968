//! One attempt to open a conversation on one backend, up to its answer.

use crate::azure::limit::retry_after;
use crate::azure::realtime::handshake::{Offer, accepted};
use crate::azure::status::{Verdict, error_code, judge};
use crate::exchange::{Failure, Outcome};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::StatusCode;
use pingora_core::Result;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::{RequestHeader, ResponseHeader};
use std::time::Duration;
use tokio::time::timeout;

/// How long a backend may take to answer: nothing is generated for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// The most that is read of another answer than a 101.
const BODY_BYTES: usize = 64 << 10;
/// How long its body is waited for.
const BODY_WITHIN: Duration = Duration::from_secs(1);

/// What a backend answered.
pub(super) enum Dialled {
    /// The conversation is open.
    Open {
        /// Its 101.
        header: Box<ResponseHeader>,
        stream: Stream,
        /// What it said right behind that.
        early: Bytes,
    },
    /// An answer for the client.
    Passed(Told),
    /// Nothing for the client; or only for want of a better answer.
    Failed {
        failure: Box<Failure>,
        /// Where there was a header.
        status: Option<StatusCode>,
        spare: Option<Told>,
    },
}

impl Dialled {
    /// The status of the answer, if there was one.
    pub(super) fn status(&self) -> Option<u16> {
        let status = match self {
            Self::Open { header, .. } => Some(header.status),
            Self::Passed(told) => Some(told.header.status),
            Self::Failed { status, .. } => *status,
        };
        status.map(|status| status.as_u16())
    }
}

/// An answer that is no 101, whole.
pub(super) struct Told {
    pub(super) header: Box<ResponseHeader>,
    pub(super) body: Bytes,
}

/// Connects, asks and waits for the answer. Nothing of it is kept for another request, whatever comes of it.
pub(super) async fn dial(
    connector: &TransportConnector,
    (peer, request): (&HttpPeer, RequestHeader),
    offer: &Offer,
    unix: Duration,
) -> Dialled {
    // Boxed: its state is large, and of no use while the answer is waited for.
    let Ok(stream) = Box::pin(connector.new_stream(peer)).await else {
        return failed(Outcome::Connect, None);
    };
    let mut session = HttpSession::new(stream);
    match timeout(ANSWER_WITHIN, answer(&mut session, request)).await {
        Err(_) => failed(Outcome::TimedOut, None),
        Ok(Err(_)) => failed(Outcome::Reset, None),
        Ok(Ok(header)) if header.status == StatusCode::SWITCHING_PROTOCOLS => {
            open(session, header, offer)
        }
        Ok(Ok(header)) => refused(session, header, unix).await,
    }
}

/// The header of the final answer.
async fn answer(session: &mut HttpSession, request: RequestHeader) -> Result<Box<ResponseHeader>> {
    session.write_request_header(Box::new(request)).await?;
    loop {
        let header = session.read_resp_header_parts().await?;
        if header.status == StatusCode::SWITCHING_PROTOCOLS || !header.status.is_informational() {
            return Ok(header);
        }
    }
}

fn open(mut session: HttpSession, header: Box<ResponseHeader>, offer: &Offer) -> Dialled {
    if let Err(what) = accepted(offer, &header.headers) {
        tracing::warn!(what, "a backend answered 101 to a realtime request, and not as it must");
        return failed(Outcome::ServerError, Some(header.status));
    }
    // What was read with the header; a read that is given up takes nothing from the connection.
    let early = match session.read_body_bytes().now_or_never() {
        Some(Err(_)) => return failed(Outcome::Reset, Some(header.status)),
        Some(Ok(early)) => early.unwrap_or_default(),
        None => Bytes::new(),
    };
    Dialled::Open { header, stream: session.into_inner(), early }
}

/// Any other answer, by the same contract as on the other routes. A 2xx is no answer to an upgrade.
async fn refused(mut session: HttpSession, header: Box<ResponseHeader>, unix: Duration) -> Dialled {
    let body = timeout(BODY_WITHIN, body(&mut session)).await;
    let whole = matches!(body, Ok(Ok(_)));
    let body = body.ok().and_then(Result::ok).unwrap_or_default();
    let rest = retry_after(&header.headers, unix.as_secs());
    let status = header.status;
    let verdict = judge(status.as_u16(), error_code(&body).as_deref());
    let told = Told { header, body };
    let outcome = if !whole && !verdict.is_final() {
        // Half of an answer is none.
        Outcome::Reset
    } else if verdict == Verdict::Success {
        Outcome::ServerError
    } else if let Some(outcome) = Outcome::of_refusal(verdict, rest) {
        outcome
    } else {
        return Dialled::Passed(told);
    };
    let failure = Failure { rest, ..Failure::bare(outcome) };
    let spare = outcome.is_spare().then_some(told);
    Dialled::Failed { failure: Box::new(failure), status: Some(status), spare }
}

async fn body(session: &mut HttpSession) -> Result<Bytes> {
    let mut body = BytesMut::new();
    while let Some(chunk) = session.read_body_bytes().await? {
        body.extend_from_slice(&chunk);
        if body.len() > BODY_BYTES {
            break;
        }
    }
    Ok(body.freeze())
}

fn failed(outcome: Outcome, status: Option<StatusCode>) -> Dialled {
    Dialled::Failed { failure: Box::new(Failure::bare(outcome)), status, spare: None }
}
