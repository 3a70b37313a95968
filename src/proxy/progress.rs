//! What one request has been through, as its headers and its log line tell it.
//!
//! Written by the attempts inside the connector, read by Pingora's phases. The lock is held for a few
//! instructions and never across an await.

use crate::azure::error::ClientError;
use crate::azure::sse::Seen;
use crate::azure::usage::Usage;
use crate::exchange::Outcome;
use crate::telemetry::access_log::Attempt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The story of one request.
#[derive(Default)]
pub(super) struct Progress {
    inner: Mutex<State>,
    scanned: Mutex<Scanned>,
}

/// How far the stream that answers was scanned. The connector reads it a few chunks ahead of what the client was
/// sent.
#[derive(Clone, Copy, Default)]
pub(super) struct Scanned {
    pub(super) seen: Seen,
    pub(super) usage: Option<Usage>,
}

/// What [`Progress`] guards.
#[derive(Default)]
pub(super) struct State {
    /// The attempts in the order in which they began.
    pub(super) attempts: Vec<Attempt>,
    /// The one whose answer the client gets.
    answered_by: Option<usize>,
    /// Nobody could serve it: our answer, where there was still time for one.
    pub(super) refusal: Option<ClientError>,
    /// The code of a failure that was told inside a stream whose 200 had been sent.
    pub(super) told: Option<String>,
    /// Attempts that were refused for their tokens.
    pub(super) refused_by_size: usize,
    /// All were, and it is large: its limit is its own.
    pub(super) oversize: bool,
    /// Azure's own id of the answer, where its header came too late for the client.
    pub(super) upstream_id: Option<String>,
}

impl State {
    /// The attempt whose answer the client gets.
    pub(super) fn answered_by(&self) -> Option<&Attempt> {
        self.attempts.get(self.answered_by?)
    }
}

impl Progress {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn scanned(&self) -> Scanned {
        *self.scanned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_scanned(&self, scanned: Scanned) {
        *self.scanned.lock().unwrap_or_else(PoisonError::into_inner) = scanned;
    }

    /// An attempt begins. Returns its place, for [`Progress::edit`].
    pub(super) fn begin(&self, backend: &Arc<str>, why: &'static str) -> usize {
        self.untimed(backend, why, "open")
    }

    /// Nothing can be sent to a backend.
    pub(super) fn not_sent(&self, backend: &Arc<str>, why: &'static str, obstacle: &'static str) {
        self.untimed(backend, why, obstacle);
    }

    fn untimed(&self, backend: &Arc<str>, why: &'static str, outcome: &'static str) -> usize {
        let mut state = self.lock();
        state.attempts.push(Attempt::untimed(backend, why, outcome));
        state.attempts.len() - 1
    }

    pub(super) fn edit(&self, place: usize, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = self.lock().attempts.get_mut(place) {
            change(attempt);
        }
    }

    /// Whether all attempts ended in this way.
    pub(super) fn all_ended(&self, outcome: Outcome) -> bool {
        self.lock().attempts.iter().all(|attempt| attempt.outcome == outcome.as_str())
    }

    /// Whether all attempts ended in one of these ways.
    pub(super) fn all_ended_in(&self, outcomes: &[Outcome]) -> bool {
        let is_one = |word: &str| outcomes.iter().any(|outcome| outcome.as_str() == word);
        self.lock().attempts.iter().all(|attempt| is_one(attempt.outcome))
    }

    /// The client gets this attempt's answer.
    pub(super) fn answered(&self, place: usize) {
        self.lock().answered_by = Some(place);
    }
}
