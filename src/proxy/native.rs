//! Attempts on Pingora's native path: requests that name no model and have nothing to race.
//!
//! Pingora sends them and relays the answer; here their lease and their record are kept, and an answer that
//! another backend may do better is turned into a retry, by the same contract as on the LLM routes.

use crate::azure::status::Verdict;
use crate::azure::status::judge;
use crate::exchange::Outcome;
use crate::proxy::admitted::Request;
use crate::proxy::context::Chosen;
use crate::proxy::context::Context;
use crate::proxy::forward;
use crate::proxy::watch::end_failed;
use crate::proxy::watch::how_it_failed;
use crate::routing::Next;
use crate::time::millis;
use pingora_core::{Error, ErrorType, Result};

/// An attempt is on its way.
pub(super) fn sent(ctx: &mut Context, request: &Request, chosen: Chosen) {
    if let Some(backend) = request.model().backends.get(chosen.lease.target()) {
        request.progress.begin(&backend.name, chosen.why.as_str());
    }
    ctx.chosen = Some(chosen);
}

/// The attempt found no connection: notes it, and tells whether another target is tried.
pub(super) fn connect_failed(ctx: &mut Context) -> bool {
    if let (Some(chosen), Some(request)) = (&ctx.chosen, &ctx.request)
        && let Some(backend) = request.model().backends.get(chosen.lease.target())
    {
        backend.next_address();
        request.progress.unreachable(&backend.name, chosen.why.as_str());
    }
    settle(ctx, Outcome::Connect);
    ctx.wants_retry()
}

/// The connection broke. If there was an answer already, its attempt is settled and nothing is left to do.
pub(super) fn broke(ctx: &mut Context) {
    if let (Some(_), Some(request)) = (&ctx.chosen, &ctx.request) {
        if let Some(attempt) = request.progress.lock().attempts.last_mut() {
            attempt.outcome = Outcome::Reset.as_str();
        }
        settle(ctx, Outcome::Reset);
    }
}

/// The attempt has an answer: good, passed on, or an error that goes elsewhere.
pub(super) fn answered(status: u16, ctx: &mut Context) -> Result<()> {
    let outcome = match judge(status, None) {
        Verdict::Success => Outcome::Ok,
        Verdict::Serve | Verdict::Conflict | Verdict::NotDeployed => Outcome::Passed,
        Verdict::Unauthorised => Outcome::Unauthorised,
        Verdict::Failed => Outcome::ServerError,
        Verdict::Limited => Outcome::Limited,
    };
    if let (Some(chosen), Some(request)) = (&ctx.chosen, &ctx.request) {
        let age = millis(request.now().since(chosen.lease.sent()));
        let mut state = request.progress.lock();
        if let Some(attempt) = state.attempts.last_mut() {
            attempt.status = status;
            attempt.outcome = outcome.as_str();
            attempt.first_byte_ms = Some(age);
            attempt.ms = age;
        }
        if !outcome.is_retryable() {
            state.last_answers();
        }
    }
    settle(ctx, outcome);
    if outcome.is_retryable() {
        return Err(Error::explain(ErrorType::Custom("attempt"), outcome.as_str()).into_up());
    }
    Ok(())
}

/// Ends the lease and decides whether the request goes elsewhere.
fn settle(ctx: &mut Context, outcome: Outcome) {
    let (Some(chosen), Some(request)) = (ctx.chosen.take(), &ctx.request) else { return };
    let Some(attempts) = ctx.attempts.as_mut() else { return };
    let (now, target, lease) = (request.now(), chosen.lease.target(), chosen.lease);
    if !outcome.is_retryable() {
        attempts.closed();
        // Its speed teaches nothing, and a refusal says nothing about health.
        request.tell(if outcome == Outcome::Ok { lease.answered(now) } else { None });
        return;
    }
    request.tell(end_failed(lease, outcome, None, now));
    let how = how_it_failed(outcome, 0, request.admitted.repeat);
    let (next, forgiven) = attempts.failed(&request.model().pool, target, how, now);
    ctx.retry = next == Next::Retry;
    if !ctx.retry {
        let refusal = forward::give_up(request, attempts, outcome);
        request.progress.lock().refusal = Some(refusal);
    }
    for event in forgiven {
        request.tell(Some(event));
    }
}
