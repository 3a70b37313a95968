//! What one request has been through: its attempts, and whether there may be another.
//!
//! Shared between Pingora's context and the attempt that runs inside the connector. The lock is held for a
//! few instructions and never across an await.

use crate::live::LiveModel;
use crate::exchange::Outcome;
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
    /// Targets that were used.
    pub(super) used: Used,
    /// How the last attempt ended.
    pub(super) last: Option<Outcome>,
    /// Whether another attempt was granted after the last one.
    pub(super) retry: bool,
    /// Targets that failed this request in a way that may be the request's own fault.
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

    /// Decides once whether the request goes elsewhere after `outcome` on `target`, and takes the retry
    /// from the budget if so.
    pub(super) fn decide(
        &self,
        model: &LiveModel,
        outcome: Outcome,
        max_attempts: u32,
        now: Time,
    ) -> Result<(), Denied> {
        let mut state = self.lock();
        state.last = Some(outcome);
        let verdict = if !outcome.is_retryable() {
            Err(Denied::Kind)
        } else if state.used.len() >= usize::try_from(max_attempts).unwrap_or(usize::MAX) {
            Err(Denied::Attempts)
        } else if !model.pool.can_pick(&state.used, now) {
            Err(Denied::Targets)
        } else if !outcome.is_free() && !model.pool.retries().take(now) {
            Err(Denied::Budget)
        } else {
            Ok(())
        };
        state.retry = verdict.is_ok();
        verdict
    }

    /// Notes an error on `target`. From the second target on the request is its own suspect: the strikes
    /// of those that nobody else complains of are taken back.
    pub(super) fn suspect(&self, model: &LiveModel, target: usize) {
        let mut state = self.lock();
        state.failed_on.push(target);
        if state.failed_on.len() > 1 {
            for &target in &state.failed_on {
                model.pool.forgive_error(target);
            }
        }
    }
}
