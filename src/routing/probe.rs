//! A probe of ours: a lease that is not in flight, and whose outcomes mean more.
//!
//! Probes of a degraded target lead it back; it is given up at D, when it is known to be late. Confirm probes
//! of a target in use tell whether the target or the request is slow: a good one takes strikes back, past T
//! and past 2 T it adds them. Only probes enter and leave the blocks `AuthFailed` and `Misconfigured`, since
//! Azure answers 401 and 404 for single operations, too.

use crate::routing::errors::Backing;
use crate::routing::expected::Expected;
use crate::routing::health::State;
use crate::routing::lease::{Ask, Slot, Stage, Timing};
use crate::routing::outcome::Event;
use crate::routing::pool::Pool;
use crate::routing::settings::Mode;
use crate::routing::strikes::Strike;
use crate::routing::target::{Block, Known, TargetState};
use crate::time::Time;
use crate::time::millis;
use std::sync::Arc;
use std::time::Duration;

/// What a good confirm probe takes off the strikes.
const CONFIRM_CREDIT: f64 = 0.6;
/// What a late one adds at T and at 2 T. With the late answer that asked for it they are less than a trip:
/// where times spread widely, two slow answers in a row are a matter of hours.
const CONFIRM_TRIP: f64 = 0.4;
const CONFIRM_DOUBLE: f64 = 1.0;

/// What a probe of ours found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// A first token after this long.
    FirstToken(Duration),
    /// No first token until it was given up.
    TimedOut,
    /// Connect, reset, 5xx or an error event.
    Failed,
    /// A good answer without a first token.
    Answered,
    /// A refusal of the prompt (400, say): it can be reached, and of the model nothing is known.
    Refused,
    /// A 429 and the rest it asked for.
    Limited(Option<Duration>),
    /// 401 or 403.
    AuthFailed,
    /// 404: the deployment is not there.
    Misconfigured,
}

/// What follows from a deadline of a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeOverdue {
    /// What changed.
    pub event: Option<Event>,
    /// Nothing more is to be learned: end it as [`ProbeOutcome::TimedOut`].
    pub give_up: bool,
}

/// A probe that is under way.
#[derive(Debug)]
#[must_use = "a probe teaches only by its end"]
pub struct ProbeLease {
    pool: Arc<Pool>,
    state: Arc<TargetState>,
    slot: Slot,
    stage: Stage,
}

impl ProbeLease {
    pub(super) fn open(
        pool: Arc<Pool>,
        state: Arc<TargetState>,
        (target, expected): (usize, Expected),
        sent: Time,
    ) -> Self {
        let stage = match (pool.settings().detect.mode, state.state(sent)) {
            (Mode::Absolute, _) => Stage::None,
            (Mode::Relative, State::Degraded) => Stage::Late,
            (Mode::Relative, State::Healthy | State::Recovering) => Stage::Trip,
        };
        state.throttle.probed();
        // Errors of two probes are errors of two requests.
        let (request, timing) = (sent.nanos(), Timing::FirstToken);
        let ask = Ask { request, timing, ..Ask::default() };
        Self { pool, state, slot: Slot::new(target, ask, expected, sent), stage }
    }

    /// When to call [`ProbeLease::overdue`]; `None`: never again, only the prober's own time-out counts.
    pub fn next_deadline(&self) -> Option<Time> {
        let expected = &self.slot.expected;
        let after = match self.stage {
            Stage::Late => expected.late,
            Stage::Trip => expected.trip,
            Stage::Double => expected.trip.saturating_mul(2),
            Stage::Stuck { .. } | Stage::None => return None,
        };
        Some(self.slot.sent + after)
    }

    /// The deadline of [`ProbeLease::next_deadline`] has passed. Without one, nothing happens.
    pub fn overdue(&mut self, now: Time) -> ProbeOverdue {
        if self.next_deadline().is_none_or(|due| now < due) {
            return ProbeOverdue::default();
        }
        let stage = self.stage;
        self.stage = if stage == Stage::Trip { Stage::Double } else { Stage::None };
        if stage == Stage::Late {
            return ProbeOverdue { event: None, give_up: true };
        }
        let give_up = stage == Stage::Double;
        if !self.pool.can_be_quicker(&self.slot, now) {
            return ProbeOverdue { event: None, give_up };
        }
        let weight = if stage == Stage::Trip { CONFIRM_TRIP } else { CONFIRM_DOUBLE };
        let event = self.pool.strike((self.slot.target, self.slot.sent), Strike::Slow, weight, now);
        ProbeOverdue { event, give_up }
    }

    /// What it found.
    pub fn ended(self, outcome: ProbeOutcome, now: Time) -> Option<Event> {
        let Self { pool, state, slot, .. } = &self;
        match outcome {
            ProbeOutcome::FirstToken(_) | ProbeOutcome::Answered => {
                state.unblock(Block::AuthFailed);
                state.unblock(Block::Misconfigured);
                state.change(Known::no_longer_refuses);
            }
            ProbeOutcome::Refused => self.refused(now),
            ProbeOutcome::AuthFailed => state.block(Block::AuthFailed),
            ProbeOutcome::Misconfigured => state.block(Block::Misconfigured),
            ProbeOutcome::TimedOut | ProbeOutcome::Failed | ProbeOutcome::Limited(_) => {}
        }
        match (outcome, pool.settings().detect.mode) {
            (ProbeOutcome::FirstToken(ttft), Mode::Absolute) => {
                let event = pool.first_token(slot, slot.sent + ttft);
                // If it did not lead back, the next one has its time.
                state.change(|known| known.health.probe_bad(pool.settings(), now));
                event
            }
            (ProbeOutcome::FirstToken(ttft), Mode::Relative) => self.judge(ttft, now),
            // All of its answer came in that time, so its first token had done so as well.
            (ProbeOutcome::Answered, Mode::Relative) => self.judge(now.since(slot.sent), now),
            (ProbeOutcome::Answered, Mode::Absolute) => {
                state.change(|known| {
                    known.rest.probed(slot.sent, now);
                    known.health.strikes.void_errors();
                });
                None
            }
            (ProbeOutcome::Refused, _) => {
                let change = state.change(|known| {
                    known.health.strikes.void_errors();
                    known.errors.good(slot.sent);
                    known.health.probe_refused(pool.settings(), now)
                });
                pool.changed(slot.target, change, now)
            }
            (ProbeOutcome::TimedOut, _) => {
                self.bad(now);
                match pool.settings().detect.mode {
                    Mode::Absolute => pool.outlasted(slot, Stage::None, now),
                    Mode::Relative => None,
                }
            }
            (ProbeOutcome::Failed, _) => {
                self.bad(now);
                pool.failed(slot, Backing::Probe, now).event
            }
            (ProbeOutcome::Limited(asked), _) => Some(pool.limited(slot, asked.into(), now)),
            (ProbeOutcome::AuthFailed | ProbeOutcome::Misconfigured, _) => None,
        }
    }

    fn bad(&self, now: Time) {
        self.state.change(|known| {
            if known.health.is_news(self.slot.sent) {
                known.health.probe_bad(self.pool.settings(), now);
            }
        });
    }

    /// It took our credential. Where it refuses the requests that other targets serve, too, it is no use.
    fn refused(&self, now: Time) {
        let Self { pool, state, slot, .. } = self;
        state.unblock(Block::AuthFailed);
        let too_much = pool.refuses_too_much(slot.target, now);
        let refuses_all = state.change(|known| {
            known.refuses_all |= too_much;
            known.refuses_all
        });
        if refuses_all {
            state.block(Block::Misconfigured);
        } else {
            state.unblock(Block::Misconfigured);
        }
    }

    fn judge(&self, ttft: Duration, now: Time) -> Option<Event> {
        let Self { pool, state, slot, .. } = self;
        let settings = pool.settings();
        let good = pool.is_good_probe(slot, millis(ttft));
        state.answered(now);
        let change = state.change(|known| {
            known.rest.probed(slot.sent, now);
            known.health.strikes.good_outcome();
            known.errors.good(slot.sent);
            if !known.health.is_news(slot.sent) {
                return None;
            }
            if !good {
                known.health.probe_bad(settings, now);
                return None;
            }
            known.health.strikes.credit(CONFIRM_CREDIT);
            pool.probe_ok(known, now)
        });
        pool.changed(slot.target, change, now)
    }
}
