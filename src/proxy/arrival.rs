//! What is decided of a request before anybody asks who sent it: whether its head may pass, whether it is a health
//! probe of what stands in front, and who the client is.

use crate::azure::error::ClientError;
use crate::config::checked::InFront;
use crate::gate;
use crate::live::Snapshot;
use crate::proxy::admitted::Services;
use crate::proxy::answer;
use crate::proxy::context::Context;
use crate::proxy::entrance::head_limits;
use http::{HeaderMap, Method, StatusCode, Version, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const FRONT_DOOR_ID: &str = "x-azure-fdid";

/// Whether the request was answered here.
pub(super) async fn receive(
    session: &mut Session,
    ctx: &mut Context,
    services: &Services,
    draining: &AtomicBool,
) -> Result<bool> {
    let snapshot = Arc::clone(&ctx.snapshot);
    let in_front = &snapshot.config.in_front;
    let peer = session.client_addr().and_then(|at| at.as_inet()).map(std::net::SocketAddr::ip);
    let request = session.req_header_mut();
    ctx.take_request_id(&request.headers);
    ctx.client = peer.map(|peer| client(peer, &request.headers, in_front));
    ctx.trace_id = trace_id(&request.headers).map(str::to_owned);
    if ctx.trace_id.is_none() {
        // A trace that is none would break those that are.
        request.remove_header("traceparent");
        request.remove_header("tracestate");
    }
    if let Err(malformed) = judge(session, &snapshot) {
        let counter = &services.telemetry.metrics.requests_malformed;
        counter.with_label_values(&[malformed.reason()]).inc();
        answer::refuse(session, ctx, ClientError::Malformed(malformed.into())).await?;
        return Ok(true);
    }
    if asks_for_status(session, in_front) {
        ctx.unlogged = true;
        let ready = snapshot.is_ready() && !draining.load(Ordering::Relaxed);
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        tell_status(session, &ctx.request_id, status).await?;
        return Ok(true);
    }
    if !is_from_front_door(&session.req_header().headers, in_front) {
        answer::refuse(session, ctx, ClientError::WrongFrontDoor).await?;
        return Ok(true);
    }
    Ok(false)
}

/// A head of HTTP/1 was judged as it came; only here one of h2 is seen.
fn judge(session: &Session, snapshot: &Snapshot) -> Result<(), gate::Malformed> {
    let request = session.req_header();
    if request.version != Version::HTTP_2 {
        return Ok(());
    }
    let fields = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let fields = fields.map(|(name, value)| (name.as_bytes(), value));
    gate::judge_h2(fields, head_limits(&snapshot.config))
}

fn client(peer: IpAddr, headers: &HeaderMap, in_front: &InFront) -> IpAddr {
    let forwarded = headers.get_all("x-forwarded-for").iter().map(http::HeaderValue::as_bytes);
    gate::client(peer, forwarded, |address| in_front.trusts(address))
}

/// The trace of a request that has exactly one.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all("traceparent").iter();
    let (only, None) = (given.next()?, given.next()) else { return None };
    gate::trace_id(only.as_bytes())
}

fn asks_for_status(session: &Session, in_front: &InFront) -> bool {
    let request = session.req_header();
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let path = in_front.status_path.as_ref().map(String::as_bytes);
    reads && path.is_some_and(|path| path == request.raw_path())
}

async fn tell_status(session: &mut Session, request_id: &str, status: StatusCode) -> Result<()> {
    let body = if status.is_success() { "ok\n" } else { "unavailable\n" };
    let mut header = ResponseHeader::build(status, Some(4))?;
    header.insert_header(header::CONTENT_TYPE, "text/plain")?;
    header.insert_header(header::CONTENT_LENGTH, body.len())?;
    header.insert_header(header::CACHE_CONTROL, "no-store")?;
    header.insert_header("x-request-id", request_id)?;
    if !session.as_downstream_mut().is_body_done() {
        session.set_keepalive(None);
    }
    let head = session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(header), head).await?;
    if !head {
        session.write_response_body(Some(body.into()), true).await?;
    }
    Ok(())
}

/// Whether it came through our own Front Door, where there is one.
fn is_from_front_door(headers: &HeaderMap, in_front: &InFront) -> bool {
    let Some(ours) = &in_front.front_door_id else { return true };
    let mut given = headers.get_all(FRONT_DOOR_ID).iter();
    let (Some(only), None) = (given.next(), given.next()) else { return false };
    only.as_bytes().eq_ignore_ascii_case(ours.as_bytes())
}
