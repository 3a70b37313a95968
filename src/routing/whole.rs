//! What responses teach that are not streamed.
//!
//! They have no first token, and their time is mostly that of their length, so none of them moves a score. What they
//! tell in relative mode:
//!
//! - *Waiting.* They hold a place: the cost counts each of them for about the time of a first token, or a target
//!   that answers none of them would look as free as the others.
//! - *Late* is one past the D of its class (`totals`). It may be raced, and it is evidence at D, T and 2 T, but only if
//!   the target looks ill as a whole: half or more of the whole responses that wait there are late, or the target has
//!   answered nothing that was sent to it later. Otherwise it is a long answer. Both are counted apart from streams:
//!   the one kind waits for many seconds, and would drown the other.
//! - *A race that it lost* after more than twice the usual time is evidence: the same request was answered elsewhere.
//! - *A good one*, at most `good_ratio` times the usual time, takes strikes back that whole responses brought.
//!
//! In absolute mode (`ema`) each moves the score, as in the published policy, which times every response to its header;
//! for what is not streamed Azure sends that when the response is complete. There a response counts as its time over
//! the usual one of its class, times the default score. Within one class this is the published rule in another unit:
//! the order of the targets is the same. Between classes it is fair: a long answer is as good as a short one, where
//! fixed milliseconds would take a region out for every request for a long text. It is slow at `trip_ms` in that unit,
//! if it is past the T of its class as well: without a bound on their length one answer in fifty takes eight times
//! as long as usual. While a class was seldom seen it moves the score and is no strike.

use crate::routing::errors::Backing;
use crate::routing::expected::{Basis, Expected};
use crate::routing::lease::{Ask, Overdue, Slot, Stage, Timing};
use crate::routing::norm::Lateness;
use crate::routing::outcome::Event;
use crate::routing::pool::{Pool, Target};
use crate::routing::rescue::Urgency;
use crate::routing::settings::Mode;
use crate::routing::size::Size;
use crate::routing::strikes::Strike;
use crate::routing::target::TargetState;
use crate::routing::trip::SETTLED_SAMPLES;
use crate::time::Time;
use crate::time::millis;
use std::time::Duration;

/// A lost race is evidence after so many times the usual time.
const LOST_RATIO: f64 = 2.0;
/// What a response counts as at most, in units of `trip_ms`, that is not to count as slow.
const NOT_SLOW: f64 = 0.99;

impl Pool {
    /// What an attempt is measured by.
    pub(super) fn measure(&self, state: &TargetState, ask: &Ask) -> Expected {
        let settings = self.settings();
        let first = self.expected(state, Size::of(ask.prompt_tokens));
        match ask.timing {
            Timing::FirstToken => first,
            Timing::Untimed => {
                self.shared().with_norm(|norm| first.of_whole(settings, norm, ask.class))
            }
            Timing::Unmeasured => self.shared().with_norm(|norm| first.of_any(settings, norm)),
        }
    }

    /// A deadline of a whole response passed.
    pub(super) fn whole_overdue(&self, slot: &Slot, stage: Stage, now: Time) -> Overdue {
        let Some(Target { state, .. }) = self.targets().get(slot.target) else {
            return Overdue::default();
        };
        let hedge = match stage {
            Stage::Late => Some(Urgency::Late),
            Stage::Double | Stage::Stuck { .. } => Some(Urgency::Stuck { on: slot.target }),
            Stage::Trip | Stage::None => None,
        };
        let detect = &self.settings().detect;
        let is_asked_again = matches!(stage, Stage::Stuck { .. });
        if detect.mode == Mode::Absolute || is_asked_again || !self.is_ill(slot) {
            return Overdue { hedge, ..Overdue::default() };
        }
        let faith = self.faith(slot);
        let weight = match stage {
            Stage::Late => faith * detect.strike_late,
            Stage::Trip => faith * detect.strike_trip,
            Stage::Double => detect.strike_double,
            Stage::Stuck { .. } | Stage::None => 0.0,
        };
        let confirm = state.change(|known| known.health.take_confirm(self.settings(), now));
        Overdue { event: self.strike_whole(slot, weight, now), hedge, confirm }
    }

    /// A whole response came. `header`: when its header did.
    pub(super) fn whole_came(&self, slot: &Slot, header: Time, now: Time) -> Option<Event> {
        let total = now.since(slot.began);
        let event = match self.settings().detect.mode {
            Mode::Absolute => {
                let time = self.in_units_of_the_class(slot, header.since(slot.began));
                self.timed(slot.target, time, (slot.sent, now))
            }
            Mode::Relative => {
                let expected = &slot.expected;
                let good_ms = self.settings().detect.good_ratio * expected.ms;
                if expected.basis != Basis::Cold && millis(total) <= good_ms {
                    self.credit_whole(slot.target);
                }
                None
            }
        };
        self.shared().with_norm(|norm| norm.learn_total(slot.ask.class, millis(total)));
        self.learn_whether_late(slot, total);
        event
    }

    /// Another attempt of the same request was answered first.
    pub(super) fn whole_lost(&self, slot: &Slot, now: Time) -> Option<Event> {
        self.whole_cancelled(slot, now);
        let (settings, expected) = (self.settings(), &slot.expected);
        let long = millis(slot.waited(now)) > LOST_RATIO * expected.ms;
        if settings.detect.mode == Mode::Absolute || expected.basis == Basis::Cold || !long {
            return None;
        }
        self.strike_whole(slot, self.faith(slot) * settings.detect.strike_late, now)
    }

    /// Its client left: what it waited is a lower bound.
    pub(super) fn whole_cancelled(&self, slot: &Slot, now: Time) {
        let age = slot.waited(now);
        if age <= slot.expected.late {
            return;
        }
        self.learn_whether_late(slot, age);
        let Some(Target { state, .. }) = self.targets().get(slot.target) else { return };
        let bound_ms = millis(self.in_units_of_the_class(slot, age));
        let detect = &self.settings().detect;
        if detect.mode == Mode::Absolute && bound_ms >= detect.trip_ms {
            state.change(|known| self.raise_score(known, bound_ms, now));
        }
    }

    /// Our own time-out ended it: slow, if it was late by then; else nothing is known but that it failed.
    pub(super) fn whole_timed_out(&self, slot: &Slot, stage: Stage, now: Time) -> Option<Event> {
        let (age, detect) = (slot.waited(now), &self.settings().detect);
        let late = slot.expected.basis != Basis::Cold && age > slot.expected.late;
        if detect.mode == Mode::Absolute {
            let trip = Duration::try_from_secs_f64(detect.trip_ms / 1000.0).unwrap_or_default();
            let time = self.in_units_of_the_class(slot, age).max(trip);
            return self.timed(slot.target, time, (slot.sent, now));
        }
        if !late {
            return self.failed(slot, Backing::Elsewhere, now).event;
        }
        self.learn_whether_late(slot, age);
        // Past 2 T all of it was counted, if the target looked ill.
        let weight = match stage {
            Stage::Late => detect.strike_late + detect.strike_trip + detect.strike_double,
            Stage::Trip => detect.strike_trip + detect.strike_double,
            Stage::Stuck { .. } | Stage::None if self.is_ill(slot) => 0.0,
            Stage::Double | Stage::Stuck { .. } | Stage::None => detect.strike_double,
        };
        self.strike_whole(slot, weight, now)
    }

    /// Whether what is late tells of the target: half of what waits there is, or nothing was answered that was sent
    /// there later.
    fn is_ill(&self, slot: &Slot) -> bool {
        let of = |Target { state, .. }: &Target| {
            state.whole.is_suspect() || !state.was_heard_since(slot.sent)
        };
        self.targets().get(slot.target).is_some_and(of)
    }

    fn learn_whether_late(&self, slot: &Slot, total: Duration) {
        if slot.expected.basis != Basis::Proven {
            return;
        }
        let late = total > slot.expected.late;
        let lateness = if late { Lateness::Late } else { Lateness::InTime };
        let detect = &self.settings().detect;
        self.shared().with_norm(|norm| {
            norm.learn_total_late(detect, slot.ask.class, lateness);
            norm.check_invariants(detect);
        });
    }

    /// What is normal for its class is not well known yet: half the evidence.
    fn faith(&self, slot: &Slot) -> f64 {
        let usual = self.shared().with_norm(|norm| norm.usual(slot.ask.class));
        if usual.is_some_and(|usual| usual.samples >= SETTLED_SAMPLES) { 1.0 } else { 0.5 }
    }

    fn strike_whole(&self, slot: &Slot, weight: f64, now: Time) -> Option<Event> {
        let state = &self.targets().get(slot.target)?.state;
        state.change(|known| known.whole_strikes += weight);
        self.strike((slot.target, slot.sent), Strike::Slow, weight, now)
    }

    /// Takes back what whole responses brought, and nothing that first tokens did.
    fn credit_whole(&self, target: usize) {
        let Some(Target { state, .. }) = self.targets().get(target) else { return };
        state.change(|known| {
            let credit = self.settings().detect.good_credit.min(known.whole_strikes);
            known.whole_strikes -= credit;
            known.health.strikes.credit(credit);
        });
    }

    /// A time as a first token's: the usual time of the class is the default score.
    fn in_units_of_the_class(&self, slot: &Slot, time: Duration) -> Duration {
        let settings = self.settings();
        let Some(usual) = self.shared().with_norm(|norm| norm.usual(slot.ask.class)) else {
            return Duration::try_from_secs_f64(settings.default_score_ms / 1000.0).unwrap_or(time);
        };
        let ms = millis(time) / usual.ms * settings.default_score_ms;
        let trip_ms = usual.late_mult * settings.detect.trip_factor * usual.ms;
        let slow = usual.samples >= settings.baseline.warm_samples && millis(time) >= trip_ms;
        let most = if slow { f64::INFINITY } else { NOT_SLOW * settings.detect.trip_ms };
        Duration::try_from_secs_f64(ms.min(most) / 1000.0).unwrap_or(Duration::MAX)
    }
}
