//! What goes back to the client: the headers of a relayed answer, and our own answers.

use crate::azure::error::ClientError;
use crate::azure::headers::forward_response;
use crate::proxy::context::Context;
use crate::proxy::shed;
use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use pingora_core::{Error, ErrorSource, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::time::Duration;
use tokio::time::timeout;

/// Filters the header of a relayed answer and adds ours.
pub(super) fn finish_header(response: &mut ResponseHeader, ctx: &mut Context) -> Result<()> {
    let dropped: Vec<HeaderName> =
        response.headers.keys().filter(|name| !forward_response(name)).cloned().collect();
    for name in &dropped {
        response.remove_header(name);
    }
    ctx.start_relay(response);
    if ctx.relayed.may_change_length() {
        response.remove_header(&header::CONTENT_LENGTH);
        response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    let (mut backend, mut ttft_ms, mut attempts) = (None, None, 0);
    if let Some(request) = &ctx.request {
        let state = request.progress.lock();
        // Nobody yet, where the header could be held no longer.
        let answered = state.answered_by();
        backend = answered.map(|a| a.backend.to_string());
        ttft_ms = answered.and_then(|a| a.ttft_ms);
        attempts = state.attempts.len();
    }
    if let Some(backend) = backend {
        response.insert_header("x-firstlight-backend", backend)?;
    }
    response.insert_header("x-firstlight-attempts", attempts.to_string())?;
    if let Some(ms) = ttft_ms {
        response.insert_header("x-firstlight-ttft-ms", format!("{ms:.0}"))?;
    }
    response.insert_header("x-request-id", &ctx.request_id)?;
    Ok(())
}

/// The header of the answer, if one was sent. `100 Continue` is none, though Pingora keeps it as one; a 101 is.
pub(super) fn committed(session: &Session) -> Option<&ResponseHeader> {
    let is_final = |status: StatusCode| {
        status == StatusCode::SWITCHING_PROTOCOLS || !status.is_informational()
    };
    session.response_written().filter(|header| is_final(header.status))
}

/// How long a client may go on sending a body that was refused, so that it gets to read why. Closing at once
/// would reset the connection under its hands.
const LINGER: Duration = Duration::from_secs(2);

/// Answers a request ourselves. A request whose body was not read whole loses its connection afterwards: what
/// is left of the body must not be taken for the next request.
pub(super) async fn refuse(
    session: &mut Session,
    ctx: &mut Context,
    error: ClientError,
) -> Result<()> {
    let body = error.body();
    let mut header = ResponseHeader::build(error.status(), Some(8))?;
    header.insert_header(header::CONTENT_TYPE, "application/json")?;
    header.insert_header(header::CONTENT_LENGTH, body.len())?;
    header.insert_header("x-request-id", &ctx.request_id)?;
    if let Some(seconds) = error.retry_after_seconds() {
        header.insert_header(header::RETRY_AFTER, seconds)?;
    }
    if let Some(ms) = error.retry_after_ms() {
        header.insert_header("retry-after-ms", ms)?;
    }
    for (name, value) in error.rate_limits() {
        header.insert_header(name, value)?;
    }
    if let Some(challenge) = error.www_authenticate() {
        header.insert_header(header::WWW_AUTHENTICATE, challenge)?;
    }
    if let Some(allow) = error.allow() {
        header.insert_header(header::ALLOW, allow)?;
    }
    if error == ClientError::UpgradeRequired {
        header.insert_header(header::UPGRADE, "websocket")?;
        header.insert_header(header::SEC_WEBSOCKET_VERSION, "13")?;
    }
    let ambiguous = error.is_ambiguous();
    let attempts = ctx.request.as_ref().map_or(0, |r| r.progress.lock().attempts.len());
    if attempts > 0 {
        header.insert_header("x-firstlight-attempts", attempts.to_string())?;
    }
    ctx.refused = Some(error);
    ctx.relayed.bytes = body.len();
    let unread = !session.as_downstream_mut().is_body_done();
    if unread || ambiguous {
        session.set_keepalive(None);
    }
    let head = session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(header), head).await?;
    if !head {
        session.write_response_body(Some(body), true).await?;
    }
    if unread {
        // Over after its time, or when the client is done or gone: any way is good.
        drop(timeout(LINGER, session.as_downstream_mut().drain_request_body()).await);
    }
    Ok(())
}

/// Answers a request here, with JSON.
pub(super) async fn reply(session: &mut Session, ctx: &mut Context, body: Bytes) -> Result<()> {
    let mut header = ResponseHeader::build(StatusCode::OK, Some(4))?;
    header.insert_header(header::CONTENT_TYPE, "application/json")?;
    header.insert_header(header::CONTENT_LENGTH, body.len())?;
    header.insert_header("x-request-id", &ctx.request_id)?;
    ctx.relayed.bytes = body.len();
    session.write_response_header(Box::new(header), false).await?;
    session.write_response_body(Some(body), true).await?;
    Ok(())
}

/// Answers a request whose attempts came to nothing, if anybody is there and nothing was sent yet. Returns
/// the status for Pingora's own log; 0: nobody is there.
pub(super) async fn fail(session: &mut Session, ctx: &mut Context, error: &Error) -> u16 {
    if *error.esource() == ErrorSource::Downstream {
        return 0;
    }
    if let Some(written) = committed(session) {
        return written.status.as_u16();
    }
    let told = || ctx.request.as_ref()?.progress.lock().refusal.take();
    let answer = ctx.refused.take().or_else(told).unwrap_or_else(shed::come_back);
    let status = answer.status().as_u16();
    // Pingora closes the connection after an error on this path: the client must know, or its next request on
    // it is reset.
    session.set_keepalive(None);
    match refuse(session, ctx, answer).await {
        Ok(()) => status,
        Err(_) => 0,
    }
}
