//! From an admitted request to one attempt: the choice of a target, and the request that is sent there.
//!
//! The upstream request is built from nothing: a fresh header, the client's allow-listed fields, our own
//! credential. Nothing that the client sent crosses because nobody thought of it.

use crate::azure::error::ClientError;
use crate::azure::headers::UPSTREAM_CONTENT_TYPE;
use crate::azure::headers::forward_request;
use crate::azure::peek::with_model;
use crate::azure::route::Form;
use crate::azure::route::Operation;
use crate::exchange::{Outcome, Sending};
use crate::live::Live;
use crate::live::LiveBackend;
use crate::proxy::FirstlightProxy;
use crate::proxy::admitted::Admitted;
use crate::proxy::attempt::Order;
use crate::proxy::context::Chosen;
use crate::proxy::context::Context;
use crate::proxy::native;
use crate::routing::Ask;
use crate::routing::NoTarget;
use crate::routing::Picked;
use crate::routing::Timing;
use crate::routing::Why;
use crate::telemetry::access_log::Attempt;
use bytes::Bytes;
use http::HeaderMap;
use http::header;
use pingora_core::protocols::tls::{ALPN, CustomALPN};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use std::sync::Arc;
use std::time::Duration;

/// Retry-After of a 503: long enough to let a region recover a little, short enough to be kept to.
const COME_BACK: Duration = Duration::from_secs(5);

/// Keeps the peers of the connector apart from those of the native path.
const CONNECTOR_GROUP: u64 = 1;

/// Chooses the target of the next attempt and opens its lease.
pub(super) fn choose(
    ctx: &mut Context,
    proxy: &FirstlightProxy,
) -> std::result::Result<HttpPeer, ClientError> {
    let admitted = ctx.admitted.as_ref().ok_or(ClientError::Internal)?;
    let (picked, mut peer) = pick_reachable(admitted, ctx, &proxy.live)?;
    let model = &admitted.model;
    let why = picked.why.as_str();
    let backend = model.backends.get(picked.target).ok_or(ClientError::Internal)?;
    proxy.telemetry.metrics.picks.with_label_values(&[&*model.name, &*backend.name, why]).inc();
    let timing = if is_timed(admitted) { Timing::FirstToken } else { Timing::Untimed };
    let now = proxy.live.clock().now();
    let ask = Ask { request: ctx.serial, timing, prompt_tokens: admitted.prompt_tokens };
    let lease = model.pool.dispatch(picked.target, ask, now).ok_or(ClientError::Internal)?;
    if admitted.route.operation == Operation::Models {
        peer.options.read_timeout = Some(ctx.snapshot.config.timeouts.answer);
    } else {
        // Sends Pingora to our connector instead of its own.
        peer.options.alpn = ALPN::Custom(CustomALPN::new(b"llm".to_vec()));
        // Pingora first looks for an idle HTTP/1.1 connection of its own to this peer, which a request on
        // the native path may have left, and would send this one there without its body. A key of its own
        // finds none.
        peer.group_key = CONNECTOR_GROUP;
    }
    ctx.chosen = Some(Chosen { lease, why });
    Ok(peer)
}

/// Picks until it meets a backend whose name was resolved; one that was not is a failed connect.
fn pick_reachable(
    admitted: &Admitted,
    ctx: &Context,
    live: &Live,
) -> std::result::Result<(Picked, HttpPeer), ClientError> {
    loop {
        let picked = pick(admitted, ctx, live)?;
        let backend = admitted.model.backends.get(picked.target).ok_or(ClientError::Internal)?;
        let mut state = ctx.progress.lock();
        let room = state.used.add(picked.target);
        if let Some(peer) = backend.peer() {
            state.sent += 1;
            return Ok((picked, peer));
        }
        state.attempts.push(Attempt::untimed(
            &backend.name,
            picked.why.as_str(),
            Outcome::Connect.as_str(),
        ));
        if admitted.only.is_some() || !room {
            return Err(ClientError::NothingLeft { retry_after: COME_BACK });
        }
    }
}

/// Whether the answer has a first token that is worth timing.
fn is_timed(admitted: &Admitted) -> bool {
    admitted.stream || admitted.route.operation == Operation::Embeddings
}

fn pick(
    admitted: &Admitted,
    ctx: &Context,
    live: &Live,
) -> std::result::Result<Picked, ClientError> {
    if let Some(target) = admitted.only {
        return Ok(Picked { target, why: Why::Asked });
    }
    let used = ctx.progress.lock().used;
    let picked = admitted.model.pool.pick(&used, live.clock().now(), &mut live.rng());
    picked.map_err(|none| nothing_left(&none))
}

/// Our answer when no target can be tried.
pub(super) fn nothing_left(none: &NoTarget) -> ClientError {
    match *none {
        NoTarget::AllLimited(retry_after) => ClientError::AllLimited { retry_after },
        NoTarget::AllUsed | NoTarget::AllBlocked => {
            ClientError::NothingLeft { retry_after: COME_BACK }
        }
    }
}

/// Our answer after the last attempt of a request failed.
pub(super) fn after_failure(ctx: &Context, live: &Live) -> ClientError {
    let Some(admitted) = ctx.admitted.as_ref() else { return ClientError::Internal };
    let state = ctx.progress.lock();
    if state.last == Some(Outcome::Unauthorised) {
        return ClientError::UpstreamAuth;
    }
    let pool = &admitted.model.pool;
    let left = pool.pick(&state.used, live.clock().now(), &mut live.rng());
    left.map_or_else(
        |none| nothing_left(&none),
        |_| ClientError::NothingLeft { retry_after: COME_BACK },
    )
}

/// Replaces the request that Pingora prepared by ours. On the LLM routes it returns the attempt's order;
/// the native path sends the request itself.
pub(super) fn prepare(
    client: &HeaderMap,
    request: &mut RequestHeader,
    ctx: &mut Context,
    proxy: &FirstlightProxy,
) -> Result<Option<Order>> {
    let internal = || Error::explain(ErrorType::InternalError, "an attempt without a choice");
    let chosen = ctx.chosen.take().ok_or_else(internal)?;
    let admitted = ctx.admitted.as_ref().ok_or_else(internal)?;
    let model = &admitted.model;
    let target = chosen.lease.target();
    let (backend, spec) =
        model.backends.get(target).zip(model.pool.spec(target)).ok_or_else(internal)?;
    let body = body_for(admitted, &spec.deployment);
    let path = admitted.route.upstream_path_and_query(&spec.deployment);
    *request = build(client, backend, &path, &ctx.request_id, admitted)?;
    if admitted.route.operation == Operation::Models {
        let attempt = Attempt::untimed(&backend.name, chosen.why, Outcome::Passed.as_str());
        native::sent(ctx, attempt, chosen);
        return Ok(None);
    }
    request.insert_header(header::CONTENT_TYPE, UPSTREAM_CONTENT_TYPE)?;
    request.insert_header(header::CONTENT_LENGTH, body.len())?;
    let timeouts = &ctx.snapshot.config.timeouts;
    let peer = backend.peer().ok_or_else(internal)?;
    Ok(Some(Order {
        sending: Sending {
            peer,
            request: request.clone(),
            body,
            operation: admitted.route.operation,
            stream: admitted.stream,
        },
        deadline: deadline(admitted, timeouts.answer),
        idle: timeouts.idle,
        max_attempts: if admitted.only.is_some() {
            1
        } else {
            ctx.snapshot.config.retry.max_attempts
        },
        model: Arc::clone(model),
        progress: Arc::clone(&ctx.progress),
        telemetry: Arc::clone(&proxy.telemetry),
        probes: proxy.probes.clone(),
        clock: *proxy.live.clock(),
        lease: chosen.lease,
        why: chosen.why,
    }))
}

fn deadline(admitted: &Admitted, answer: Duration) -> Duration {
    if is_timed(admitted) { admitted.model.first_token } else { answer }
}

/// The body with the name that the model has on this backend.
fn body_for(admitted: &Admitted, deployment: &str) -> Bytes {
    match (&admitted.route.form, &admitted.model_span) {
        (Form::V1, Some(span)) => with_model(&admitted.body.bytes, span.clone(), deployment),
        (Form::V1 | Form::Deployment(_) | Form::Resource, _) => admitted.body.bytes.clone(),
    }
}

fn build(
    client: &HeaderMap,
    backend: &LiveBackend,
    path: &str,
    request_id: &str,
    admitted: &Admitted,
) -> Result<RequestHeader> {
    let method = admitted.route.operation.method();
    let mut request = backend.request(method, path)?;
    for (name, value) in client {
        if forward_request(name) {
            request.append_header(name.clone(), value.clone())?;
        }
    }
    if request.headers.get("x-ms-client-request-id").is_none() {
        request.insert_header("x-ms-client-request-id", request_id)?;
    }
    Ok(request)
}
