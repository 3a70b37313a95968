//! An attempt's slot on a target, from dispatch to outcome.
//!
//! A lease ends exactly once, by one of the methods below. Dropped without one, it frees its slot and
//! teaches nothing: right for answers that say nothing about health (a 400, say).

use crate::routing::learned::Change;
use crate::routing::settings::Settings;
use crate::routing::target::{Event, GivenUp, TargetState};
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// What an attempt can teach about speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// It has a first token: its wait counts in flight and feeds the score.
    FirstToken,
    /// It is not streamed: how long it takes says nothing of the target, so it is not counted in flight.
    Untimed,
}

/// A slot on one target. Its end tells the target what happened.
#[derive(Debug)]
#[must_use = "dropping a lease at once frees the slot it took"]
pub struct Lease {
    settings: Arc<Settings>,
    state: Arc<TargetState>,
    target: usize,
    sent: Time,
    timing: Timing,
}

impl Lease {
    pub(super) fn open(
        settings: Arc<Settings>,
        state: Arc<TargetState>,
        target: usize,
        timing: Timing,
        sent: Time,
    ) -> Self {
        if timing == Timing::FirstToken {
            state.enter();
        }
        Self { settings, state, target, sent, timing }
    }

    /// Position of the target in its pool.
    pub fn target(&self) -> usize {
        self.target
    }

    /// When the attempt was sent.
    pub fn sent(&self) -> Time {
        self.sent
    }

    /// The first content token arrived: the only thing that feeds a score.
    pub fn first_token(self, now: Time) -> Option<Event> {
        self.event(self.state.first_token(&self.settings, now.since(self.sent), self.sent))
    }

    /// A good answer whose speed says nothing about time to first token (it was not streamed).
    pub fn answered(self) -> Option<Event> {
        self.state.answered();
        None
    }

    /// Failed before any content: connect, reset, 5xx, error event, early end.
    pub fn failed(self, now: Time) -> Option<Event> {
        self.event(self.state.failed(&self.settings, now))
    }

    /// A 429, with the rest it asked for.
    pub fn limited(self, asked: Option<Duration>, now: Time) -> Option<Event> {
        self.event(self.state.limit(&self.settings, asked, (self.sent, now)))
    }

    /// No first token within the time-out: counted as a slow answer. Untimed: as an error.
    pub fn timed_out(self, now: Time) -> Option<Event> {
        if self.timing == Timing::Untimed {
            return self.failed(now);
        }
        let wait = GivenUp::ByTimeout(now.since(self.sent));
        self.event(self.state.outlasted(&self.settings, wait, self.sent))
    }

    /// The client left before the first token. Its wait is a lower bound, never a strike.
    pub fn cancelled(self, now: Time) -> Option<Event> {
        if self.timing == Timing::Untimed {
            return None;
        }
        let wait = GivenUp::ByClient(now.since(self.sent));
        self.event(self.state.outlasted(&self.settings, wait, self.sent))
    }

    fn event(&self, change: Option<Change>) -> Option<Event> {
        change.map(|change| Event { target: self.target, change })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.timing == Timing::FirstToken {
            self.state.leave();
        }
    }
}
