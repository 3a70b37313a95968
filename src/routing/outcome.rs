//! What the end of an attempt, or a deadline that passed, teaches about its target.

use crate::routing::errors::{Backing, SeenError};
use crate::routing::expected::{Basis, Expected};
use crate::routing::health::{Cause, Change, State};
use crate::routing::lease::{Ended, Passed, Slot, Stage, Timing};
use crate::routing::norm::Lateness;
use crate::routing::pool::{Pool, Target};
use crate::routing::rest::{Counts, Refusal, Refused};
use crate::routing::served_rate::Cut;
use crate::routing::settings::Mode;
use crate::routing::strikes::Strike;
use crate::routing::target::Known;
use crate::routing::unserved::{Served, refuses_too_much};
use crate::time::Time;
use crate::time::millis;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// So many answers over T in a row are the new normal, if nobody is better.
const REBASE_RUN: u32 = 50;
/// A response so recent shows that a target serves.
const SERVES: Duration = Duration::from_mins(1);
/// A target is better if its score over base is lower by this factor.
const BETTER: f64 = 1.25;

/// Something that an operator should hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position of the target in its pool.
    pub target: usize,
    /// What changed.
    pub change: Change,
}

impl Pool {
    /// The first content token came.
    pub(super) fn first_token(&self, slot: &Slot, now: Time) -> Option<Event> {
        let ttft = now.since(slot.began);
        match self.settings().detect.mode {
            Mode::Absolute => {
                let Target { state, .. } = self.targets().get(slot.target)?;
                state.change(|known| known.rest.served(slot.ask.tokens, slot.sent, now));
                self.timed(slot.target, ttft, (slot.sent, now))
            }
            Mode::Relative => self.answer_came(slot, millis(ttft), now),
        }
    }

    /// Absolute mode: an answer, or the lower bound of one, judged by fixed times.
    pub(super) fn timed(
        &self,
        target: usize,
        ttft: Duration,
        (sent, now): (Time, Time),
    ) -> Option<Event> {
        let settings = self.settings();
        let state = &self.targets().get(target)?.state;
        let ttft_ms = millis(ttft);
        state.answered(now);
        let (change, due) = state.change(|known| {
            known.health.strikes.good_outcome();
            known.unserved.ended(Served::Yes, ttft_ms, now);
            self.move_score(known, ttft_ms, now);
            if ttft_ms >= settings.detect.trip_ms {
                // What was sent before the recovery tells of the time before it.
                let news = sent >= known.health.renewed_at;
                let weight = settings.detect.strike_trip;
                return (None, news && known.health.strike(settings, Strike::Slow, weight, now));
            }
            let good = ttft_ms < settings.detect.clear_ms;
            (if good { self.cleared(known, ttft_ms, now) } else { None }, false)
        });
        let change = change.map(|change| Event { target, change });
        change.or_else(|| due.then(|| self.try_trip(target, Cause::Slow, now)).flatten())
    }

    /// Absolute mode: a good answer forgives, and ends a degradation.
    fn cleared(&self, known: &mut Known, ttft_ms: f64, now: Time) -> Option<Change> {
        known.health.strikes.credit(self.settings().detect.good_credit);
        if known.health.state != State::Degraded {
            return None;
        }
        // The old score tells of the bad time: lowest score wins would keep the target out.
        known.speed.set_score(ttft_ms, now);
        Some(known.health.recover(self.settings(), now))
    }

    /// Relative mode: an answer, judged by what was expected.
    fn answer_came(&self, slot: &Slot, ttft_ms: f64, now: Time) -> Option<Event> {
        let Target { state, .. } = self.targets().get(slot.target)?;
        let expected = &slot.expected;
        let fleet = self.fleet().load();
        let nobody_better = state.ratio(self.settings(), now) <= fleet.best_ratio * BETTER;
        state.answered(now);
        let (change, ln_base) = state.change(|known| {
            known.errors.good(slot.sent);
            known.rest.served(slot.ask.tokens, slot.sent, now);
            self.credit_answer(known, expected, ttft_ms, now);
            let in_time = now.since(slot.began) < expected.trip;
            known.over_run = if in_time { 0 } else { known.over_run.saturating_add(1) };
            let long_run = known.over_run >= REBASE_RUN && nobody_better;
            if long_run && known.over_run == REBASE_RUN {
                self.shared().counters.rebased.fetch_add(1, Relaxed);
            }
            let usual = in_time && !fleet.is_congested();
            let learns = usual || long_run || fleet.new_normal;
            let ln_base = self.learn(known, (expected, learns), ttft_ms, now);
            // One that was sent before the trip tells of the time before it.
            let good = known.health.is_news(slot.sent) && self.is_good_probe(slot, ttft_ms);
            (if good { self.probe_ok(known, now) } else { None }, ln_base)
        });
        self.learn_norm(slot, (ttft_ms, ln_base), now);
        self.changed(slot.target, change, now)
    }

    fn credit_answer(&self, known: &mut Known, expected: &Expected, ttft_ms: f64, now: Time) {
        let detect = &self.settings().detect;
        known.health.strikes.good_outcome();
        known.unserved.ended(Served::Yes, self.known_score(known, now), now);
        self.move_score(known, ttft_ms / expected.shape, now);
        if expected.is_good(ttft_ms, detect.good_ratio, detect.clear_ms) {
            known.health.strikes.credit(detect.good_credit);
        }
    }

    /// Learns the target's base from an answer; what the shape is to be learned with, if it is.
    fn learn(
        &self,
        known: &mut Known,
        (expected, usual): (&Expected, bool),
        ttft_ms: f64,
        now: Time,
    ) -> Option<f64> {
        if !usual && expected.basis == Basis::Proven {
            return None;
        }
        // What a guessed factor makes of a sample says more about the factor than about the base.
        if expected.basis != Basis::Guess {
            let tau = self.settings().baseline.tau;
            let start = self.fleet().load().base_ms;
            known.speed.learn_base(ttft_ms / expected.shape, start, tau, now);
        }
        (known.speed.samples() > 0).then(|| known.speed.ln_base())
    }

    /// What all targets of the model share.
    fn learn_norm(&self, slot: &Slot, (ttft_ms, ln_base): (f64, Option<f64>), now: Time) {
        let detect = &self.settings().detect;
        let expected = &slot.expected;
        let late = now.since(slot.began) > expected.late;
        let lateness = if late { Lateness::Late } else { Lateness::InTime };
        self.shared().with_norm(|norm| {
            if let Some(ln_base) = ln_base {
                norm.learn_shape(expected.size, ttft_ms, ln_base);
            }
            if expected.basis == Basis::Proven {
                norm.learn_late(detect, lateness);
            }
            norm.check_invariants(detect);
        });
    }

    /// Whether a first token after so long is good for a target that is to come back.
    pub(super) fn is_good_probe(&self, slot: &Slot, ttft_ms: f64) -> bool {
        let settings = self.settings();
        slot.expected.is_good(ttft_ms, settings.recover.clear_ratio, settings.detect.clear_ms)
    }

    /// A good probe, or what counts as one. Coming back, a target is as fast as it normally is.
    pub(super) fn probe_ok(&self, known: &mut Known, now: Time) -> Option<Change> {
        let change = known.health.probe_ok(self.settings(), now)?;
        if let Some(normal) = known.speed.normal_ms() {
            known.speed.set_score(normal, now);
        }
        Some(change)
    }

    fn move_score(&self, known: &mut Known, sample_ms: f64, now: Time) {
        let before = match (self.settings().detect.mode, known.speed.raw_score()) {
            // The first sample is better than any guess; an average with one would look like a slow start.
            (Mode::Relative, None) => sample_ms,
            _ => self.known_score(known, now),
        };
        known.speed.move_score(self.settings().ema_alpha, sample_ms, before, now);
    }

    pub(super) fn known_score(&self, known: &Known, now: Time) -> f64 {
        let settings = self.settings();
        let unknown = self.fleet().load().unknown_ms(settings);
        known.reading(settings).score_ms(settings, unknown, now)
    }

    /// An attempt was given up by our own time-out.
    pub(super) fn outlasted(&self, slot: &Slot, stage: Stage, now: Time) -> Option<Event> {
        match self.settings().detect.mode {
            Mode::Absolute => {
                let trip = Duration::try_from_secs_f64(self.settings().detect.trip_ms / 1000.0);
                let age = slot.waited(now).max(trip.unwrap_or_default());
                self.timed(slot.target, age, (slot.sent, now))
            }
            Mode::Relative => {
                self.cancelled(slot, now);
                // A time-out before T is no smaller evidence than T and 2 T.
                let detect = &self.settings().detect;
                let weight = match stage {
                    Stage::Late => detect.strike_late + detect.strike_trip + detect.strike_double,
                    Stage::Trip => detect.strike_trip + detect.strike_double,
                    Stage::Double => detect.strike_double,
                    Stage::Stuck { .. } | Stage::None => 0.0,
                };
                self.strike((slot.target, slot.sent), Strike::Slow, weight, now)
            }
        }
    }

    /// An attempt ended before its first token, for no fault of the target: its age is a lower bound.
    pub(super) fn cancelled(&self, slot: &Slot, now: Time) {
        let settings = self.settings();
        let Some(Target { state, .. }) = self.targets().get(slot.target) else { return };
        let expected = &slot.expected;
        let age = slot.waited(now);
        let (counts, bound_ms) = match settings.detect.mode {
            Mode::Absolute => (millis(age) >= settings.detect.trip_ms, millis(age)),
            Mode::Relative => (age > expected.late, millis(age) / expected.shape),
        };
        if !counts {
            return;
        }
        state.change(|known| self.raise_score(known, bound_ms, now));
        if expected.basis == Basis::Proven {
            self.shared().with_norm(|norm| norm.learn_late(&settings.detect, Lateness::Late));
        }
    }

    /// An error before any content: evidence, never a latency.
    pub(super) fn failed(&self, slot: &Slot, backing: Backing, now: Time) -> Ended {
        let settings = self.settings();
        let Some(Target { state, .. }) = self.targets().get(slot.target) else {
            return Ended::default();
        };
        let (weight, confirm) = state.change(|known| {
            self.count_unserved(known, slot, Served::No, now);
            // What was sent before the recovery tells of the time before it.
            if settings.detect.mode == Mode::Absolute || slot.sent < known.health.renewed_at {
                return (settings.detect.strike_error, false);
            }
            let (request, credential) = (slot.ask.request, slot.ask.credential);
            let counts = known.errors.add(SeenError { request, credential, backing, at: now });
            if known.errors.is_proven(now) && known.health.state != State::Degraded {
                known.health.strikes.convict(settings, now);
            }
            let doubtful = !counts || known.errors.is_failing(now);
            // Where it can be tried elsewhere, it becomes a strike when another target has served it.
            let strikes = counts && backing != Backing::Elsewhere || known.errors.is_proven(now);
            let weight = if strikes { settings.detect.strike_error } else { 0.0 };
            (weight, doubtful && known.health.take_confirm(settings, now))
        });
        let strike = Strike::Error(slot.ask.request);
        Ended { event: self.strike((slot.target, slot.sent), strike, weight, now), confirm }
    }

    /// A response that is passed on before any content, for what the request is.
    pub(super) fn passed(&self, slot: &Slot, what: Passed, now: Time) -> Ended {
        let Some(Target { state, .. }) = self.targets().get(slot.target) else {
            return Ended::default();
        };
        let served = match what {
            Passed::Refusal => Served::Refused,
            Passed::Other => Served::No,
        };
        state.change(|known| {
            self.count_unserved(known, slot, served, now);
        });
        let settings = self.settings();
        let confirm = self.refuses_too_much(slot.target, now)
            && state.change(|known| known.health.take_confirm(settings, now));
        Ended { event: None, confirm }
    }

    fn count_unserved(&self, known: &mut Known, slot: &Slot, served: Served, now: Time) {
        if slot.ask.timing != Timing::Unmeasured {
            let tau_ms = self.known_score(known, now);
            known.unserved.ended(served, tau_ms, now);
        }
    }

    /// Whether a target refuses far more than another one that serves.
    pub(super) fn refuses_too_much(&self, target: usize, now: Time) -> bool {
        let serves = |(index, other): &(usize, &Target)| {
            *index != target && other.state.answered_within(SERVES, now)
        };
        let others = self.targets().iter().enumerate().filter(serves);
        let refused = self.targets().get(target).map_or(0.0, |t| t.state.refused_share());
        refuses_too_much(refused, others.map(|(_, other)| other.state.refused_share()))
    }

    /// A lower bound moves the score, if it lies above it.
    pub(super) fn raise_score(&self, known: &mut Known, bound_ms: f64, now: Time) {
        if bound_ms > self.known_score(known, now) {
            self.move_score(known, bound_ms, now);
        }
    }

    /// A good answer without a first token.
    pub(super) fn answered(&self, slot: &Slot, now: Time) {
        let Some(Target { state, .. }) = self.targets().get(slot.target) else { return };
        state.answered(now);
        state.change(|known| {
            known.rest.served(slot.ask.tokens, slot.sent, now);
            known.health.strikes.good_outcome();
            known.health.strikes.void_errors();
            known.errors.good(slot.sent);
            // A stream without a first token served nobody.
            let timed = slot.ask.timing == Timing::FirstToken;
            let served = if timed { Served::No } else { Served::Yes };
            self.count_unserved(known, slot, served, now);
        });
    }

    /// A 429.
    pub(super) fn limited(&self, slot: &Slot, refusal: Refusal, now: Time) -> Event {
        let told = |wait| Event { target: slot.target, change: Change::Limited(wait) };
        let Some(Target { state, .. }) = self.targets().get(slot.target) else {
            return told(Duration::ZERO);
        };
        let (ask, sent) = (&slot.ask, slot.sent);
        let size = if refusal.counts == Counts::Tokens { ask.tokens } else { 0 };
        let refused = Refused { request: ask.request, size, asked: refusal.asked, sent };
        let was_open = state.throttle.next_trickle(now).is_none();
        let wait = state.change(|known| {
            known.refused += 1;
            known.look(state.throttle.sent(), now);
            // What was sent to a target that rested says that it does still, and nothing of its rate.
            let held = known.rest.held(ask.tokens, sent);
            let taken = known.rest.take(&self.settings().limit, &refused, now);
            let size = taken.confirmed.unwrap_or(size);
            if !held && !known.rest.is_unusual(size) {
                let cut = Cut { size, sent, confirmed: taken.confirmed.is_some() };
                known.served.cut(&cut, now);
            }
            known.health.probe_later(now + known.rest.left(0, now));
            taken.wait
        });
        state.throttle.refused();
        if was_open {
            let first = state.throttle.begin_trickle(now);
            self.shared().trickle_at.fetch_min(first.nanos(), Relaxed);
        }
        told(wait)
    }

    /// A request was limited on several targets and served by none: it is its own suspect, and what this target
    /// refuses by its word alone it need not refuse to others.
    pub(super) fn forgive_limit(&self, target: usize, request: u64) {
        if let Some(Target { state, .. }) = self.targets().get(target) {
            state.change(|known| known.rest.forgive(request));
        }
    }

    /// Whether a request of that size may have been refused for its size, as far as what is served there tells.
    pub(super) fn may_be_oversize(&self, target: usize, size: u64) -> bool {
        let of = |t: &Target| t.state.with(|known| known.rest.may_be_oversize(size));
        self.targets().get(target).is_some_and(of)
    }

    /// A streamed answer to that request broke off after its first content, whose lease had ended well.
    pub fn broke_off(&self, target: usize, request: u64, now: Time) -> Option<Event> {
        // It happened now, whenever the request was sent.
        let weight = self.settings().detect.strike_error;
        self.strike((target, now), Strike::BrokenOff(request), weight, now)
    }

    /// A streamed answer came to its end: the strikes for those that broke off are forgiven.
    pub fn completed(&self, target: usize) {
        if let Some(Target { state, .. }) = self.targets().get(target) {
            state.change(|known| known.health.strikes.void_broken());
        }
    }

    /// A request failed on this target, and another one served it: the error was the target's.
    pub fn served_elsewhere(&self, target: usize, request: u64, now: Time) -> Option<Event> {
        if self.settings().detect.mode == Mode::Absolute {
            return None;
        }
        let weight = self.settings().detect.strike_error;
        self.strike((target, now), Strike::Error(request), weight, now)
    }

    /// A request failed on several targets and succeeded on none: it is its own suspect, and this target is
    /// not blamed for it.
    pub fn forgive_error(&self, target: usize, request: u64, now: Time) -> Option<Event> {
        let state = &self.targets().get(target)?.state;
        let change = state.change(|known| {
            known.errors.forgive(request, now);
            known.health.forgive_error(self.settings(), now)
        });
        self.changed(target, change, now)
    }
}
