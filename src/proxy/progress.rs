//! What one request has been through: its attempts, and whether there may be another.
//!
//! Shared between Pingora's context and the attempt that runs inside the connector. The lock is held for a
//! few instructions and never across an await.

use crate::exchange::Outcome;
use crate::live::LiveModel;
use crate::routing::Event;
use crate::routing::Used;
use crate::telemetry::access_log::Attempt;
use crate::time::Time;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The attempts of one request.
#[derive(Default)]
pub(super) struct Progress {
    inner: Mutex<State>,
}

/// What [`Progress`] guards.
#[derive(Default)]
pub(super) struct State {
    /// Finished attempts, in order.
    pub(super) attempts: Vec<Attempt>,
    /// Attempts that were sent.
    pub(super) sent: u32,
    /// Targets that were used.
    pub(super) used: Used,
    /// How the last attempt ended.
    pub(super) last: Option<Outcome>,
    /// Whether another attempt was granted after the last one.
    pub(super) retry: bool,
    /// Targets that got a strike for this request.
    failed_on: Vec<usize>,
}

/// Why there is no further attempt, for the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The number of attempts is used up.
    Attempts,
    /// No target is left.
    Targets,
    /// The retry budget is spent.
    Budget,
    /// What happened is not repeated.
    Kind,
}

impl Progress {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer broke off after content was passed on: the last attempt was not as good as it seemed.
    pub(super) fn broke_off(&self) {
        if let Some(attempt) = self.lock().attempts.last_mut() {
            attempt.outcome = Outcome::BrokenOff.as_str();
        }
    }

    /// Decides once whether the request goes elsewhere after an attempt ended so on a target, and takes the
    /// retry from the budget if it does. Also gives what changed for targets that are forgiven.
    pub(super) fn decide(
        &self,
        model: &LiveModel,
        (target, outcome): (usize, Outcome),
        max_attempts: u32,
        now: Time,
    ) -> (Result<(), Denied>, Vec<Event>) {
        let mut state = self.lock();
        state.last = Some(outcome);
        if outcome.is_error() {
            state.failed_on.push(target);
        }
        let free = outcome.is_free() || model.pool.is_rescue(target, &state.used, now);
        let verdict = if !outcome.is_retryable() {
            Err(Denied::Kind)
        } else if state.sent >= max_attempts {
            Err(Denied::Attempts)
        } else if !model.pool.can_pick(&state.used, now) {
            Err(Denied::Targets)
        } else if !free && !model.pool.retries().take(now) {
            Err(Denied::Budget)
        } else {
            Ok(())
        };
        state.retry = verdict.is_ok();
        let mut forgiven = Vec::new();
        if verdict.is_err() && state.failed_on.len() > 1 {
            // Nobody could serve it: more likely its own fault than that of all of them. Had one succeeded,
            // the others would keep their strikes.
            let forgive = |&target: &usize| model.pool.forgive_error(target, now);
            forgiven.extend(state.failed_on.iter().filter_map(forgive));
        }
        (verdict, forgiven)
    }
}
