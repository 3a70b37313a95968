//! An attempt's slot on a target, from dispatch to outcome.
//!
//! A lease ends exactly once, by one of the methods below. Dropped without one, it frees its slot and
//! teaches nothing: right for answers that say nothing about health (a 400, say).
//!
//! Until then it has deadlines: D (late), T and 2 T. They are data: whoever runs the attempt arms a timer for
//! [`Lease::next_deadline`] and calls [`Lease::overdue`] then. Nothing scans.
//!
//! They count from dispatch while there is no connection, so that one that hangs is noticed. They stand still while
//! the request is uploaded, and count anew from the moment at which its last byte was taken: an upload is no work of
//! the model. What feeds the score counts from then, too.

use crate::routing::errors::Backing;
use crate::routing::expected::{Basis, Expected};
use crate::routing::outcome::Event;
use crate::routing::patience::TimeLimit;
use crate::routing::pool::Pool;
use crate::routing::rescue::Urgency;
use crate::routing::rest::Refusal;
use crate::routing::seats::Seat;
use crate::routing::settings::Mode;
use crate::routing::target::TargetState;
use crate::routing::totals::Class;
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// What an attempt can teach about speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// It has a first token: its wait counts in flight and feeds the score.
    #[default]
    FirstToken,
    /// It is not streamed: it comes as a whole, and is compared with others of its class.
    Untimed,
    /// As that, and what is answered is no work of the model: nothing is learned.
    Unmeasured,
}

/// What a client's request is, as far as routing cares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Any number that no other request has: errors of one request on several targets are one request's.
    pub request: u64,
    /// Whether it has a first token.
    pub timing: Timing,
    /// About how long its prompt is.
    pub prompt_tokens: u64,
    /// About how many tokens it counts as: its prompt, and the most that may be generated.
    pub tokens: u64,
    /// Requests with the same number are sent to the same target, if it does: they share a prompt cache.
    pub affinity: Option<u64>,
    /// What its response is compared with, if that is not streamed.
    pub class: Class,
    /// Hash of the app that sent it: budgets are shared fairly between apps.
    pub app: u64,
    /// Hash of the key or token subject that sent it: errors of two of them are two witnesses.
    pub credential: u64,
    /// Whether it cannot be tried elsewhere when it fails: then it rather avoids targets that have just failed.
    pub wary: bool,
}

/// What a response without content is that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// A refusal of what is asked (400, 404, 410): suspicious where other targets serve the same.
    Refusal,
    /// Anything else.
    Other,
}

/// What follows from the end of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// What changed.
    pub event: Option<Event>,
    /// A probe should find out whether it is the target or the request.
    pub confirm: bool,
}

/// An upload whose end took no longer is no matter.
const SHORT_TAIL: Duration = Duration::from_millis(10);
/// How often a stuck attempt asks again to be raced.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What follows from a deadline that has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// What changed.
    pub event: Option<Event>,
    /// Another attempt may race this one, if [`crate::routing::Attempts::hedge`] finds a place for it.
    pub hedge: Option<Urgency>,
    /// A probe should find out whether it is the target or the request.
    pub confirm: bool,
}

/// The deadline that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Late,
    Trip,
    Double,
    /// It is stuck, and asks from time to time whether it may be raced by now.
    Stuck {
        again: Time,
    },
    None,
}

/// A slot on one target. Its end tells the target what happened.
#[derive(Debug)]
#[must_use = "dropping a lease at once frees the slot it took"]
pub struct Lease {
    pool: Arc<Pool>,
    state: Arc<TargetState>,
    pub(super) slot: Slot,
    stage: Stage,
    counted_late: bool,
    /// When the header of its response came, if that was told.
    header: Option<Time>,
    /// Taken by who holds it for longer.
    seat: Option<Seat>,
}

/// What an attempt is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) target: usize,
    pub(super) ask: Ask,
    pub(super) expected: Expected,
    /// When it was dispatched.
    pub(super) sent: Time,
    /// From when its wait counts: dispatch, then the end of the upload; [`Time::END`] during the upload.
    pub(super) began: Time,
    /// For how long after that the upstream may still have been reading the request.
    pub(super) tail: Duration,
}

impl Slot {
    /// What is judged by `expected` from `sent` on.
    pub(super) fn new(target: usize, ask: Ask, expected: Expected, sent: Time) -> Self {
        Self { target, ask, expected, sent, began: sent, tail: Duration::ZERO }
    }

    /// How long it has waited at least for what the model makes of it; zero during the upload.
    pub(super) fn waited(&self, now: Time) -> Duration {
        now.since(self.began + self.tail)
    }

    /// Whether a first token now tells how fast the target is: most of the wait was for the model.
    fn is_telling(&self, now: Time) -> bool {
        self.began != Time::END && self.tail <= SHORT_TAIL.max(now.since(self.began) / 2)
    }
}

impl Lease {
    pub(super) fn open(
        (pool, state): (Arc<Pool>, Arc<TargetState>),
        seat: Seat,
        (target, ask, expected): (usize, Ask, Expected),
        sent: Time,
    ) -> Self {
        match ask.timing {
            Timing::FirstToken => state.enter(),
            Timing::Untimed => state.whole.enter(),
            Timing::Unmeasured => {}
        }
        let settings = pool.settings();
        let timed = settings.detect.mode == Mode::Relative || settings.hedge.enabled;
        let stage = if timed { Stage::Late } else { Stage::None };
        let slot = Slot::new(target, ask, expected, sent);
        Self { pool, state, slot, stage, counted_late: false, header: None, seat: Some(seat) }
    }

    /// Its seat, to be held until the answer is at its end; left here it is free when the lease ends, which is
    /// with the first token. `None`: it was taken before.
    pub fn take_seat(&mut self) -> Option<Seat> {
        self.seat.take()
    }

    /// Position of the target in its pool.
    pub fn target(&self) -> usize {
        self.slot.target
    }

    /// What the request is.
    pub fn ask(&self) -> Ask {
        self.slot.ask
    }

    /// When the attempt was dispatched.
    pub fn sent(&self) -> Time {
        self.slot.sent
    }

    /// The connection is there, and the request is being written: no deadline passes meanwhile.
    pub fn upload_began(&mut self) {
        self.slot.began = Time::END;
    }

    /// The last byte of the request was taken at `at`. Deadlines count from then, and `tail` later: for so long the
    /// upstream may still be reading.
    pub fn body_sent(&mut self, at: Time, tail: Duration) {
        (self.slot.began, self.slot.tail) = (at, tail);
    }

    /// When to call [`Lease::overdue`]; `None`: never again, or not during the upload.
    pub fn next_deadline(&self) -> Option<Time> {
        let Slot { expected, began, tail, .. } = self.slot;
        if began == Time::END {
            return None;
        }
        let after = match self.stage {
            Stage::None => return None,
            Stage::Stuck { again } => return Some(again),
            Stage::Late => expected.late,
            Stage::Trip => expected.trip,
            Stage::Double => expected.trip.saturating_mul(2),
        };
        Some(began + tail + after)
    }

    /// The deadline of [`Lease::next_deadline`] has passed. Without one, nothing happens.
    pub fn overdue(&mut self, now: Time) -> Overdue {
        let stage = self.stage;
        if self.next_deadline().is_none_or(|due| now < due) {
            return Overdue::default();
        }
        if self.slot.ask.timing != Timing::FirstToken && self.slot.expected.basis == Basis::Cold {
            return self.late_for_all_we_know(now);
        }
        self.stage = match stage {
            Stage::Late => Stage::Trip,
            Stage::Trip => Stage::Double,
            Stage::Double | Stage::Stuck { .. } if self.pool.settings().hedge.enabled => {
                Stage::Stuck { again: now + ASK_AGAIN }
            }
            Stage::Double | Stage::Stuck { .. } | Stage::None => Stage::None,
        };
        if stage == Stage::Late {
            self.counted_late = true;
        }
        if self.slot.ask.timing == Timing::Untimed {
            if stage == Stage::Late {
                self.state.whole.enter_late();
            }
            return self.pool.whole_overdue(&self.slot, stage, now);
        }
        if stage == Stage::Late {
            self.state.enter_late();
        }
        self.pool.overdue(&self.slot, stage, now)
    }

    /// A whole response that nothing was known about when it was sent: it is measured by what is known by now. If
    /// that is nothing it is looked at again in a while, and in the end it may be raced: that is no evidence.
    fn late_for_all_we_know(&mut self, now: Time) -> Overdue {
        let (waited, last) =
            (self.slot.waited(now), self.pool.settings().hedge.non_stream_deadline);
        let Slot { ask, expected, .. } = &mut self.slot;
        let known = self.pool.measure(&self.state, ask);
        if known.basis != Basis::Cold {
            *expected = known;
        } else if ask.timing == Timing::Unmeasured || waited >= last {
            self.stage = Stage::None;
            return Overdue { hedge: Some(Urgency::Late), ..Overdue::default() };
        } else {
            expected.late = expected.late.saturating_mul(2).min(last);
        }
        Overdue::default()
    }

    /// The first content token arrived: the only thing that feeds a score, unless the time was mostly the upload's.
    pub fn first_token(mut self, now: Time) -> Option<Event> {
        if !self.slot.is_telling(now) {
            return self.answered(now);
        }
        self.state.heard(self.slot.sent);
        let tripped = self.catch_up(now);
        // Both count, whichever is told.
        let answered = self.pool.first_token(&self.slot, now);
        tripped.or(answered)
    }

    /// The header of its response came. Told before [`Lease::answered`], it is what absolute mode times.
    pub fn header_came(&mut self, at: Time) {
        self.header = Some(at);
    }

    /// A good answer without a first token (it was not streamed, say).
    pub fn answered(self, now: Time) -> Option<Event> {
        self.state.heard(self.slot.sent);
        self.pool.answered(&self.slot, now);
        if self.slot.ask.timing != Timing::Untimed || !self.slot.is_telling(now) {
            return None;
        }
        self.pool.whole_came(&self.slot, self.header.unwrap_or(now), now)
    }

    /// Failed before any content: connect, reset, 5xx, error event, early end.
    pub fn failed(self, backing: Backing, now: Time) -> Ended {
        self.pool.failed(&self.slot, backing, now)
    }

    /// Ended before any content by a response that is passed on, for what the request is.
    pub fn passed(self, what: Passed, now: Time) -> Ended {
        self.pool.passed(&self.slot, what, now)
    }

    /// A 429, with the rest it asked for, and what it counts.
    pub fn limited(self, refusal: impl Into<Refusal>, now: Time) -> Option<Event> {
        Some(self.pool.limited(&self.slot, refusal.into(), now))
    }

    /// Its time-out, from the end of its upload. `elapsed`: how long after the first attempt of its request it was
    /// dispatched.
    pub fn time_out(&self, limit: TimeLimit, elapsed: Duration) -> Duration {
        let expected = &self.slot.expected;
        limit.of_attempt((!expected.is_cold()).then_some(expected.late), elapsed)
    }

    /// No first token within the time-out, or no whole response: counted as slow. Unmeasured: as an error.
    pub fn timed_out(mut self, now: Time) -> Option<Event> {
        self.give_evidence(now)
    }

    /// No first token within the time-out, and it goes on: as [`Lease::timed_out`], unless nothing shows that this
    /// model can be any quicker. Its deadlines are over.
    pub fn outlasted(&mut self, now: Time) -> Option<Event> {
        let quick = match self.slot.ask.timing {
            Timing::FirstToken => self.pool.can_be_quicker(&self.slot, now),
            Timing::Untimed => !self.slot.expected.is_cold(),
            Timing::Unmeasured => true,
        };
        let event = if quick { self.give_evidence(now) } else { self.catch_up(now) };
        self.stage = Stage::None;
        event
    }

    fn give_evidence(&mut self, now: Time) -> Option<Event> {
        if self.slot.ask.timing == Timing::Unmeasured {
            return self.pool.failed(&self.slot, Backing::Elsewhere, now).event;
        }
        let tripped = self.catch_up(now);
        let outlasted = if self.slot.ask.timing == Timing::Untimed {
            self.pool.whole_timed_out(&self.slot, self.stage, now)
        } else {
            self.pool.outlasted(&self.slot, self.stage, now)
        };
        tripped.or(outlasted)
    }

    /// It was given up before the first token: the client left. Its wait is a lower bound of its TTFT, never a
    /// strike.
    pub fn cancelled(self, now: Time) -> Option<Event> {
        match self.slot.ask.timing {
            Timing::FirstToken => self.pool.cancelled(&self.slot, now),
            Timing::Untimed => self.pool.whole_cancelled(&self.slot, now),
            Timing::Unmeasured => {}
        }
        None
    }

    /// It was given up since another attempt of its request was answered first. That is a strike only for a whole
    /// response that took long: the same request took less elsewhere.
    pub fn lost(self, now: Time) -> Option<Event> {
        if self.slot.ask.timing == Timing::Untimed {
            return self.pool.whole_lost(&self.slot, now);
        }
        self.cancelled(now)
    }

    /// Deadlines that passed unseen, by a timer that came late.
    fn catch_up(&mut self, now: Time) -> Option<Event> {
        let mut event = None;
        while self.next_deadline().is_some_and(|due| due <= now) {
            let next = self.overdue(now).event;
            event = event.or(next);
        }
        event
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let late = self.counted_late;
        match self.slot.ask.timing {
            Timing::FirstToken => {
                if late {
                    self.state.leave_late();
                }
                self.state.leave();
            }
            Timing::Untimed => {
                if late {
                    self.state.whole.leave_late();
                }
                self.state.whole.leave();
            }
            Timing::Unmeasured => {}
        }
        self.state.throttle.over(self.slot.sent);
    }
}
