//! From an admitted request to one attempt: the choice of a target, and the request that is sent there.
//!
//! The upstream request is built from nothing: a fresh header, the client's allow-listed fields, our own
//! credential. Nothing that the client sent crosses because nobody thought of it.

use crate::azure::edit::{Edit, apply};
use crate::azure::error::ClientError;
use crate::azure::form::Form;
use crate::azure::headers::{PAINTER_HEADER, UPSTREAM_CONTENT_TYPE};
use crate::azure::limit_kind::LimitKind;
use crate::azure::route::Operation;
use crate::azure::stored::StoredId;
use crate::exchange::{ExchangeProgress, Failure, Memory, Outcome, Sending};
use crate::live::LiveBackend;
use crate::proxy::admitted::Admitted;
use crate::proxy::admitted::Request;
use crate::proxy::body::Body;
use crate::proxy::context::Chosen;
use crate::proxy::context::Context;
use crate::proxy::placement::Placement;
use crate::proxy::shed;
use crate::proxy::watch::Watch;
use crate::routing::Attempts;
use crate::routing::Block;
use crate::routing::Denied;
use crate::routing::Failed;
use crate::routing::Lease;
use crate::routing::Next;
use crate::routing::NoTarget;
use crate::routing::Picked;
use crate::routing::Pool;
use crate::routing::Repeat;
use bytes::Bytes;
use http::{Method, header};
use pingora_core::protocols::tls::{ALPN, CustomALPN};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use std::sync::Arc;

/// Keeps the peers of the connector apart from those of Pingora's own path, which is not used.
const CONNECTOR_GROUP: u64 = 1;

/// Chooses the target of the first attempt and opens its lease.
pub(super) fn choose(ctx: &mut Context) -> Result<HttpPeer, ClientError> {
    let (Some(request), Some(attempts)) = (&ctx.request, &mut ctx.attempts) else {
        return Err(ClientError::Internal);
    };
    let (chosen, mut peer) =
        reach(request, attempts).map_err(|none| nothing_left(request, &none))?;
    // Sends Pingora to our connector instead of its own.
    peer.options.alpn = ALPN::Custom(CustomALPN::new(b"llm".to_vec()));
    // Pingora first looks for an idle HTTP/1.1 connection of its own to this peer, and would send this request there
    // without its body. A key of its own finds none.
    peer.group_key = CONNECTOR_GROUP;
    ctx.chosen = Some(chosen);
    Ok(peer)
}

/// Picks until it meets a backend that a request can be sent to: its name was resolved, there is what proves us,
/// and nobody took its last seat meanwhile.
pub(super) fn reach(
    request: &Request,
    attempts: &mut Attempts,
) -> Result<(Chosen, HttpPeer), NoTarget> {
    let (model, live) = (request.model(), &request.services.live);
    if let Placement::Owner(target) = request.admitted.placement
        && let Some(rest) = model.pool.rest(target, request.admitted.tokens, request.now())
    {
        return Err(NoTarget::AllLimited(rest));
    }
    loop {
        let mut full = false;
        let picked = attempts.next(&model.pool, request.now(), &mut live.rng())?;
        let backend = model.backends.get(picked.target).ok_or(NoTarget::AllBlocked)?;
        match (obstacle(request, backend), backend.peer()) {
            (None, Some(peer)) => {
                if let Some(lease) = dispatch(request, picked) {
                    return Ok((Chosen { lease, why: picked.why }, peer));
                }
                full = true;
            }
            (Some(obstacle), _) => {
                request.progress.not_sent(&backend.name, picked.why.as_str(), obstacle);
            }
            (None, None) => {}
        }
        attempts.not_sent();
        if request.admitted.placement.bound().only().is_some() {
            return Err(if full { NoTarget::AllFull } else { NoTarget::AllUsed });
        }
    }
}

/// Opens the one more attempt on the same target, if something can still be sent there.
pub(super) fn again(
    request: &Request,
    attempts: &mut Attempts,
) -> Result<(Chosen, HttpPeer), NoTarget> {
    let picked = attempts.again().ok_or(NoTarget::AllUsed)?;
    let peer = request.model().backends.get(picked.target).and_then(|backend| backend.peer());
    let peer = peer.filter(|_| is_addressed(request, picked));
    let reached = peer.and_then(|peer| {
        let lease = dispatch(request, picked)?;
        Some((Chosen { lease, why: picked.why }, peer))
    });
    if reached.is_none() {
        attempts.closed();
    }
    reached.ok_or(NoTarget::AllUsed)
}

/// Why nothing can be sent to a backend: the word for the log.
fn obstacle(request: &Request, backend: &LiveBackend) -> Option<&'static str> {
    if backend.addresses().is_empty() {
        return Some(Outcome::Connect.as_str());
    }
    // Its target is blocked in a moment, too: a token ended just now, or a client named the backend.
    (!backend.is_proved(request.clock().unix())).then(|| Block::NoToken.as_str())
}

/// Whether something can be sent to the backend of an attempt; if not, that is noted.
pub(super) fn is_addressed(request: &Request, picked: Picked) -> bool {
    let Some(backend) = request.model().backends.get(picked.target) else { return false };
    let obstacle = obstacle(request, backend);
    if let Some(obstacle) = obstacle {
        request.progress.not_sent(&backend.name, picked.why.as_str(), obstacle);
    }
    obstacle.is_none()
}

/// Opens the lease of an attempt; `None`: its target is full by now.
pub(super) fn dispatch(request: &Request, picked: Picked) -> Option<Lease> {
    let model = request.model();
    let backend = model.backends.get(picked.target)?;
    let lease = model.pool.dispatch(picked.target, request.ask(), request.now())?;
    let picks = &request.services.telemetry.metrics.picks;
    picks.with_label_values(&[&*model.name, &*backend.name, picked.why.as_str()]).inc();
    Some(lease)
}

/// Our answer when no target can be tried.
pub(super) fn nothing_left(request: &Request, none: &NoTarget) -> ClientError {
    let (placement, pool) = (&request.admitted.placement, &request.model().pool);
    // Where only one target will do, it alone says when to come back.
    let tokens = request.admitted.tokens;
    let rest = placement.bound().only().and_then(|target| pool.rest(target, tokens, request.now()));
    if let (Some(rest), NoTarget::AllUsed) = (rest, none) {
        return shed::limited(rest, &mut request.services.live.rng());
    }
    if let (Placement::Owner(_), NoTarget::AllUsed | NoTarget::AllBlocked) = (placement, none) {
        return ClientError::OwnerDown { retry_after: shed::COME_BACK };
    }
    match *none {
        NoTarget::AllLimited(wait) => shed::limited(wait, &mut request.services.live.rng()),
        NoTarget::AllFull => shed::targets(&request.services),
        NoTarget::AllBlocked if all_are(pool, Block::AuthFailed) => ClientError::UpstreamAuth,
        NoTarget::AllUsed | NoTarget::AllBlocked if all_are(pool, Block::NoToken) => {
            ClientError::NoToken { retry_after: shed::COME_BACK }
        }
        NoTarget::AllUsed | NoTarget::AllBlocked => shed::come_back(),
    }
}

/// Whether every target is out of use for this; those that are drained are not counted.
fn all_are(pool: &Pool, block: Block) -> bool {
    let blocks = (0..pool.len()).filter_map(|target| pool.blocks(target));
    let mut counted = blocks.filter(|blocks| !blocks.has(Block::Drained)).peekable();
    counted.peek().is_some() && counted.all(|blocks| blocks.has(block))
}

/// Settles a failed attempt, and tells what follows it.
pub(super) fn failed(
    request: &Request,
    attempts: &mut Attempts,
    (watch, failure): (&mut Watch, &Failure),
) -> Next {
    let how = watch.fail(failure, attempts);
    if how == Failed::Limited && failure.kind == LimitKind::Tokens {
        request.progress.lock().refused_by_size += 1;
    }
    let (model, now) = (request.model(), request.now());
    let (next, forgiven) = attempts.failed(&model.pool, watch.target(), how, now);
    for event in forgiven {
        request.tell(Some(event));
    }
    let metrics = &request.services.telemetry.metrics;
    match next {
        Next::Wait => {}
        Next::Retry | Next::Again => {
            let reason = failure.outcome.as_str();
            metrics.retries.with_label_values(&[&*model.name, reason]).inc();
        }
        Next::GiveUp(denied) => {
            note_oversize(request, attempts);
            if denied == Denied::Budget {
                metrics.retry_budget_exhausted.with_label_values(&[&*model.name]).inc();
            }
        }
    }
    next
}

/// A request that every target refused for its size keeps its estimate taken: it would do so again and again.
fn note_oversize(request: &Request, attempts: &Attempts) {
    let oversize = attempts.may_be_oversize(&request.model().pool);
    let mut state = request.progress.lock();
    let for_size = u32::try_from(state.refused_by_size) == Ok(attempts.started());
    state.oversize = oversize && for_size;
}

/// Our answer when the last attempt of a request ended so, and there is no other.
pub(super) fn give_up(request: &Request, attempts: &mut Attempts, last: Outcome) -> ClientError {
    if last == Outcome::Unauthorised && request.progress.all_ended(last) {
        return ClientError::UpstreamAuth;
    }
    let empty = [Outcome::Malformed, Outcome::EmptyStream];
    if empty.contains(&last) && request.progress.all_ended_in(&empty) {
        return ClientError::UpstreamMalformed;
    }
    let rng = &mut request.services.live.rng();
    // Asked only to learn what is left.
    let left = attempts.next(&request.model().pool, request.now(), rng);
    // The rest that the last one told may be over by now, or was not believed: the client is limited all the same.
    if last == Outcome::Limited && matches!(left, Ok(_) | Err(NoTarget::AllUsed)) {
        return shed::limited(shed::SOON, rng);
    }
    left.map_or_else(|none| nothing_left(request, &none), |_| shed::come_back())
}

/// What is sent to one target; `None` if it cannot be addressed.
pub(super) fn sending(request: &Request, body: &Body, target: usize) -> Option<Sending> {
    let peer = request.model().backends.get(target)?.peer()?;
    let deployment = &request.model().pool.spec(target)?.deployment;
    let body = body_for(&request.admitted, &body.bytes, deployment);
    let length: usize = body.iter().map(Bytes::len).sum();
    let mut request_header = header_for(request, target)?;
    if request.admitted.route.method == Method::POST {
        match &request.admitted.content_type {
            Some(kind) => request_header.insert_header(header::CONTENT_TYPE, kind.clone()).ok()?,
            None => {
                request_header.insert_header(header::CONTENT_TYPE, UPSTREAM_CONTENT_TYPE).ok()?;
            }
        }
        request_header.insert_header(header::CONTENT_LENGTH, length).ok()?;
    }
    let operation = request.operation();
    let stream = request.admitted.awaits_content();
    let seek = request.admitted.placement == Placement::Seek;
    let replay = request.admitted.repeat != Repeat::OnlyUntouched;
    let stored = request.admitted.leaves_copies().then(StoredId::default);
    let form = Form::of(&request.admitted.route, request.admitted.stream);
    let shares = Arc::clone(request.services.live.memory());
    let memory =
        holds_json(operation).then(|| Memory { shares, app: Arc::clone(&request.admitted.app) });
    let (request, tokens) = (request_header, request.admitted.tokens);
    let progress = ExchangeProgress::default();
    Some(Sending {
        peer,
        request,
        body,
        operation,
        stream,
        replay,
        seek,
        progress,
        stored,
        form,
        memory,
        tokens,
    })
}

/// Whether a JSON response is small and worth making again elsewhere if it is cut.
fn holds_json(operation: Operation) -> bool {
    operation.is_generated() || matches!(operation, Operation::Embeddings | Operation::Images)
}

/// The body with the name that the model has on this backend, and the wish for its usage.
fn body_for(admitted: &Admitted, body: &Bytes, deployment: &str) -> Vec<Bytes> {
    let named = admitted.named.as_ref().map(|named| match &admitted.content_type {
        None => Edit::of_model(named.span.clone(), deployment),
        // In a form it stands as it is, in JSON as a string.
        Some(_) => Edit { span: named.span.clone(), text: deployment.to_owned().into() },
    });
    let edits: Vec<Edit> = named.into_iter().chain(admitted.answering.usage_edit.clone()).collect();
    apply(body, &edits)
}

/// The header of the request for one target; `None` if it cannot be addressed.
pub(super) fn header_for(request: &Request, target: usize) -> Option<RequestHeader> {
    let route = &request.admitted.route;
    let deployment = &request.model().pool.spec(target)?.deployment;
    let path = route.upstream_path_and_query(deployment);
    let backend = request.model().backends.get(target)?;
    let unix = request.clock().unix();
    let mut header = backend.request((route.method.clone(), &path), unix).ok()?;
    for (name, value) in request.headers() {
        header.append_header(name.clone(), value.clone()).ok()?;
    }
    // Where the backend has no such deployment it says so itself.
    if let Some(painter) = &request.admitted.painter
        && let Some(place) = painter.pool.position(&backend.name)
        && let Some(spec) = painter.pool.spec(place)
    {
        header.insert_header(PAINTER_HEADER, &spec.deployment).ok()?;
    }
    Some(header)
}
