//! Attempts on Pingora's native path: requests that name no model and have nothing to race.
//!
//! Pingora sends them and relays the answer; here their lease and their record are kept, and an answer that
//! another backend may do better is turned into a retry, by the same contract as on the LLM routes.

use crate::azure::status::Verdict;
use crate::azure::status::judge;
use crate::exchange::Outcome;
use crate::proxy::FirstlightProxy;
use crate::proxy::attempt::end_failed;
use crate::proxy::context::Chosen;
use crate::proxy::context::Context;
use crate::telemetry::access_log::Attempt;
use crate::time::millis;
use pingora_core::{Error, ErrorType, Result};

/// An attempt is on its way. Its record is complete but for the answer.
pub(super) fn sent(ctx: &mut Context, attempt: Attempt, chosen: Chosen) {
    ctx.progress.lock().attempts.push(attempt);
    ctx.chosen = Some(chosen);
}

/// The attempt found no connection: notes it, and tells whether another target is tried.
pub(super) fn connect_failed(ctx: &mut Context, proxy: &FirstlightProxy) -> bool {
    if let (Some(chosen), Some(admitted)) = (&ctx.chosen, &ctx.admitted)
        && let Some(backend) = admitted.model.backends.get(chosen.lease.target())
    {
        backend.next_address();
        ctx.progress.lock().attempts.push(Attempt::untimed(
            &backend.name,
            chosen.why,
            Outcome::Connect.as_str(),
        ));
    }
    settle(ctx, proxy, Outcome::Connect);
    ctx.wants_retry()
}

/// The connection broke. If there was an answer already, its attempt is settled and nothing is left to do.
pub(super) fn broke(ctx: &mut Context, proxy: &FirstlightProxy) {
    if ctx.chosen.is_some() {
        if let Some(attempt) = ctx.progress.lock().attempts.last_mut() {
            attempt.outcome = Outcome::Reset.as_str();
        }
        settle(ctx, proxy, Outcome::Reset);
    }
}

/// The attempt has an answer: good, passed on, or an error that goes elsewhere.
pub(super) fn answered(status: u16, ctx: &mut Context, proxy: &FirstlightProxy) -> Result<()> {
    let outcome = match judge(status, None) {
        Verdict::Success => Outcome::Ok,
        Verdict::Serve | Verdict::Conflict | Verdict::NotDeployed => Outcome::Passed,
        Verdict::Unauthorised => Outcome::Unauthorised,
        Verdict::Failed => Outcome::ServerError,
        Verdict::Limited => Outcome::Limited,
    };
    if let (Some(chosen), Some(attempt)) = (&ctx.chosen, ctx.progress.lock().attempts.last_mut()) {
        let age = millis(proxy.live.clock().now().since(chosen.lease.sent()));
        attempt.status = status;
        attempt.outcome = outcome.as_str();
        attempt.first_byte_ms = Some(age);
        attempt.ms = age;
    }
    settle(ctx, proxy, outcome);
    if outcome.is_retryable() {
        return Err(Error::explain(ErrorType::Custom("attempt"), outcome.as_str()).into_up());
    }
    Ok(())
}

/// Ends the lease and decides whether the request goes elsewhere.
fn settle(ctx: &mut Context, proxy: &FirstlightProxy, outcome: Outcome) {
    let (Some(chosen), Some(admitted)) = (ctx.chosen.take(), ctx.admitted.as_ref()) else { return };
    let now = proxy.live.clock().now();
    let (target, lease) = (chosen.lease.target(), chosen.lease);
    let event = if outcome == Outcome::Ok {
        lease.answered(now)
    } else {
        end_failed(lease, outcome, None, now)
    };
    if let Some(event) = event {
        proxy.telemetry.target_changed(&admitted.model, event);
    }
    let max_attempts = ctx.snapshot.config.retry.max_attempts;
    // Remembered in the progress, where `error_while_proxy` finds it.
    let (_, forgiven) = ctx.progress.decide(&admitted.model, (target, outcome), max_attempts, now);
    for event in forgiven {
        proxy.telemetry.target_changed(&admitted.model, event);
    }
}
