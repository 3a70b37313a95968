//! One target: what is known of it, who may read it, who may change it.
//!
//! The truth is [`Known`], behind a short lock that only outcomes take. What a pick reads is mirrored into
//! atomics after every change, so that choosing among a thousand targets takes no lock. A pick may see a
//! score and its age from two neighbouring updates; either is a fair reading.

use crate::routing::errors::RecentErrors;
use crate::routing::health::{Cause, Health, State};
use crate::routing::rest::Rest;
use crate::routing::served_rate::{Door, ServedRate};
use crate::routing::settings::Settings;
use crate::routing::speed::{Reading, Speed};
use crate::routing::throttle::Throttle;
use crate::routing::unserved::Unserved;
use crate::routing::waiting::Waiting;
use crate::time::Time;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Why a target is out of use beside its state. Entered and left by operators, by our own probes, and by whoever
/// keeps our tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// An operator took it out.
    Drained,
    /// The backend refused our credential when our own probe used it.
    AuthFailed,
    /// The backend does not know the deployment that the configuration names.
    Misconfigured,
    /// There is no token to prove us with.
    NoToken,
}

impl Block {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Drained, Self::AuthFailed, Self::Misconfigured, Self::NoToken];

    /// The word for status and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::AuthFailed => "auth_failed",
            Self::Misconfigured => "misconfigured",
            Self::NoToken => "no_token",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Drained => 1,
            Self::AuthFailed => 2,
            Self::Misconfigured => 4,
            Self::NoToken => 8,
        }
    }
}

/// The blocks of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocks(u8);

impl Blocks {
    /// Whether that one is set.
    pub const fn has(self, block: Block) -> bool {
        self.0 & block.bit() != 0
    }

    /// Whether any is set: no request goes there.
    pub const fn any(self) -> bool {
        self.0 != 0
    }
}

/// What is known of one target.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) speed: Speed,
    pub(super) health: Health,
    pub(super) rest: Rest,
    pub(super) errors: RecentErrors,
    pub(super) unserved: Unserved,
    /// It was found to refuse whatever it is asked, so a refused probe does not put it back.
    pub(super) refuses_all: bool,
    pub(super) served: ServedRate,
    /// Attempts that it refused for its limits.
    pub(super) refused: u64,
    /// Answers over T in a row.
    pub(super) over_run: u32,
    /// The part of the strikes that whole responses brought.
    pub(super) whole_strikes: f64,
}

impl Known {
    /// Forgets that it refused everything, if it did.
    pub(super) fn no_longer_refuses(&mut self) {
        if std::mem::take(&mut self.refuses_all) {
            self.unserved = Unserved::default();
        }
    }

    /// Takes note of what was accepted, of `sent` attempts in all.
    pub(super) fn look(&mut self, sent: u64, now: Time) {
        let door = if self.rest.usual_until() <= now { Door::Open } else { Door::Closed };
        self.served.look(sent.saturating_sub(self.refused), door, now);
    }

    /// For the score that counts.
    pub(super) fn reading(&self, settings: &Settings) -> Reading {
        let enough = self.speed.samples() >= settings.baseline.min_samples;
        Reading {
            score: self.speed.raw_score(),
            normal_ms: self.speed.normal_ms().filter(|_| enough),
            degraded: self.health.state == State::Degraded,
        }
    }
}

/// One target. Shared between the pools of successive configurations.
#[derive(Debug)]
pub(super) struct TargetState {
    in_flight: AtomicU32,
    /// Attempts under way, to the end of their answers.
    seats: AtomicU32,
    late: AtomicU32,
    /// Attempts that wait for a whole response.
    pub(super) whole: Waiting,
    blocks: AtomicU8,
    /// Mirrors of [`Known`]: nanoseconds, or the bits of a float. NaN: unknown.
    score_bits: AtomicU64,
    score_at: AtomicU64,
    base_bits: AtomicU64,
    normal_bits: AtomicU64,
    samples: AtomicU32,
    /// 0: it is not degraded.
    degraded_until: AtomicU64,
    /// 0: it is not recovering.
    recovering_since: AtomicU64,
    pub(super) throttle: Throttle,
    /// Until when it is passed over for its errors; 0: it is not failing.
    failing_until: AtomicU64,
    /// The last error that no good response has followed; 0: none.
    erred_at: AtomicU64,
    /// Mirrors of [`Unserved`].
    ghosts_bits: AtomicU64,
    unserved_bits: AtomicU64,
    unserved_at: AtomicU64,
    refused_bits: AtomicU64,
    /// The last 2xx; 0: never.
    answered_at: AtomicU64,
    /// When the latest attempt was sent that was answered; 0: none was.
    heard_of: AtomicU64,
    known: Mutex<Known>,
}

impl Default for TargetState {
    fn default() -> Self {
        let unknown = || AtomicU64::new(f64::NAN.to_bits());
        Self {
            in_flight: AtomicU32::default(),
            seats: AtomicU32::default(),
            late: AtomicU32::default(),
            whole: Waiting::default(),
            blocks: AtomicU8::default(),
            score_bits: unknown(),
            score_at: AtomicU64::default(),
            base_bits: unknown(),
            normal_bits: unknown(),
            samples: AtomicU32::default(),
            degraded_until: AtomicU64::default(),
            recovering_since: AtomicU64::default(),
            throttle: Throttle::default(),
            failing_until: AtomicU64::default(),
            erred_at: AtomicU64::default(),
            ghosts_bits: AtomicU64::default(),
            unserved_bits: AtomicU64::default(),
            unserved_at: AtomicU64::default(),
            refused_bits: AtomicU64::default(),
            answered_at: AtomicU64::default(),
            heard_of: AtomicU64::default(),
            known: Mutex::default(),
        }
    }
}

impl TargetState {
    // ---- reads: atomics only

    /// What its first token costs now, in milliseconds. `unknown_ms` stands for what was never learned.
    pub(super) fn score_ms(&self, settings: &Settings, unknown_ms: f64, now: Time) -> f64 {
        self.reading(settings, now).score_ms(settings, unknown_ms, now)
    }

    /// What a request costs there: the expected wait, and more the more wait there, or would if they were served.
    /// `whole`: what a whole response counts that waits there, in first tokens.
    pub(super) fn cost(
        &self,
        settings: &Settings,
        (unknown_ms, whole): (f64, f64),
        now: Time,
    ) -> f64 {
        let score_ms = self.score_ms(settings, unknown_ms, now);
        let unserved = self.unserved();
        let waiting = f64::from(self.in_flight())
            + whole * f64::from(self.whole.open())
            + unserved.ghosts_now(score_ms, now);
        score_ms * (1.0 + waiting / settings.inflight_slack) * unserved.cost_factor(now)
    }

    fn unserved(&self) -> Unserved {
        Unserved {
            ghosts: f64::from_bits(self.ghosts_bits.load(Relaxed)),
            share: f64::from_bits(self.unserved_bits.load(Relaxed)),
            at: Time::from_nanos(self.unserved_at.load(Relaxed)),
            refused: self.refused_share(),
        }
    }

    /// The share of its attempts that it refuses for what they ask.
    pub(super) fn refused_share(&self) -> f64 {
        f64::from_bits(self.refused_bits.load(Relaxed))
    }

    fn reading(&self, settings: &Settings, now: Time) -> Reading {
        let at = Time::from_nanos(self.score_at.load(Relaxed));
        let enough = self.samples() >= settings.baseline.min_samples;
        Reading {
            score: known(&self.score_bits).map(|score| (score, at)),
            normal_ms: known(&self.normal_bits).filter(|_| enough),
            degraded: self.is_degraded(now),
        }
    }

    /// Its first token when all is well; `None` before the first sample.
    pub(super) fn base_ms(&self) -> Option<f64> {
        known(&self.base_bits)
    }

    pub(super) fn samples(&self) -> u32 {
        self.samples.load(Relaxed)
    }

    /// Score over what it is when all is well: 1 then, or when too little is known.
    pub(super) fn ratio(&self, settings: &Settings, now: Time) -> f64 {
        let reading = self.reading(settings, now);
        reading.normal_ms.map_or(1.0, |normal| reading.score_ms(settings, normal, now) / normal)
    }

    pub(super) fn state(&self, now: Time) -> State {
        if self.is_degraded(now) {
            State::Degraded
        } else if self.recovering_since.load(Relaxed) != 0 {
            State::Recovering
        } else {
            State::Healthy
        }
    }

    pub(super) fn is_degraded(&self, now: Time) -> bool {
        self.degraded_until.load(Relaxed) > now.nanos()
    }

    /// Half or more of what waits there is late: of the first tokens, or of the whole responses.
    pub(super) fn is_suspect(&self) -> bool {
        let in_flight = self.in_flight();
        let first = in_flight > 0 && self.late().saturating_mul(2) >= in_flight;
        first || self.whole.is_suspect()
    }

    /// Whether it has answered anything that was sent to it after `sent`.
    pub(super) fn was_heard_since(&self, sent: Time) -> bool {
        self.heard_of.load(Relaxed) > sent.nanos()
    }

    pub(super) fn blocks(&self) -> Blocks {
        Blocks(self.blocks.load(Relaxed))
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocks().any()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.blocks().has(Block::Drained)
    }

    /// Whether a request of that size may go there now: the rest is a matter of choice.
    pub(super) fn admits(&self, size: u64, now: Time) -> bool {
        !self.is_blocked() && self.throttle.admits(size, now)
    }

    /// Whether it is in use for requests of the usual size, if not at every moment: neither blocked, nor degraded,
    /// nor passed over for its errors, nor resting after a 429.
    pub(super) fn is_usable(&self, now: Time) -> bool {
        let in_use = !self.is_blocked() && !self.is_degraded(now) && !self.is_passed_over(now);
        in_use && self.throttle.usual_until() <= now.nanos()
    }

    /// Whether requests pass it over for its errors while another target is healthy.
    pub(super) fn is_passed_over(&self, now: Time) -> bool {
        self.failing_until.load(Relaxed) > now.nanos()
    }

    /// Whether it is failing, although one request may try it now.
    pub(super) fn is_failing(&self) -> bool {
        self.failing_until.load(Relaxed) != 0
    }

    /// When its last error was that no good response has followed; the start of time without one.
    pub(super) fn erred_at(&self) -> Time {
        Time::from_nanos(self.erred_at.load(Relaxed))
    }

    /// Whether its last outcome within `time` was an error.
    pub(super) fn erred_within(&self, time: Duration, now: Time) -> bool {
        let at = self.erred_at.load(Relaxed);
        at != 0 && now.since(Time::from_nanos(at)) <= time
    }

    /// Whether it is out of use, or was limited until just now: what the guard of trips counts.
    pub(super) fn is_out(&self, settings: &Settings, now: Time) -> bool {
        let limited = self.throttle.usual_until();
        let held = Time::from_nanos(limited) + settings.limit.out_hold;
        self.is_degraded(now) || self.is_blocked() || (limited != 0 && now < held)
    }

    /// The share of its traffic that it gets back after a 429 or a recovery: 1 when there was none lately.
    pub(super) fn ramp(&self, settings: &Settings, now: Time) -> f64 {
        let since = |at: u64, over: Duration| {
            let since = now.since(Time::from_nanos(at));
            if at == 0 || since >= over {
                return 1.0;
            }
            0.1 + 0.9 * since.as_secs_f64() / over.as_secs_f64()
        };
        let limited = since(self.throttle.usual_until(), settings.limit.ramp);
        limited.min(since(self.recovering_since.load(Relaxed), settings.recover.ramp))
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn seats(&self) -> u32 {
        self.seats.load(Relaxed)
    }

    pub(super) fn late(&self) -> u32 {
        self.late.load(Relaxed)
    }

    /// Whether it gave a good answer within `time`.
    pub(super) fn answered_within(&self, time: Duration, now: Time) -> bool {
        let at = self.answered_at.load(Relaxed);
        at != 0 && now.since(Time::from_nanos(at)) <= time
    }

    pub(super) fn with<R>(&self, read: impl FnOnce(&Known) -> R) -> R {
        read(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    // ---- changes

    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn leave(&self) {
        let before = self.in_flight.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a lease ended twice");
    }

    /// Takes one of `most` seats; false: there is none.
    pub(super) fn sit(&self, most: u32) -> bool {
        let next = |taken: u32| (taken < most).then_some(taken + 1);
        self.seats.fetch_update(Relaxed, Relaxed, next).is_ok()
    }

    pub(super) fn stand_up(&self) {
        let before = self.seats.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a seat was left twice");
    }

    pub(super) fn enter_late(&self) {
        self.late.fetch_add(1, Relaxed);
    }

    pub(super) fn leave_late(&self) {
        let before = self.late.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a lease was late twice");
    }

    pub(super) fn block(&self, block: Block) {
        self.blocks.fetch_or(block.bit(), Relaxed);
    }

    pub(super) fn unblock(&self, block: Block) {
        self.blocks.fetch_and(!block.bit(), Relaxed);
    }

    pub(super) fn answered(&self, now: Time) {
        self.answered_at.fetch_max(now.nanos(), Relaxed);
    }

    /// An attempt that was sent then was answered.
    pub(super) fn heard(&self, sent: Time) {
        self.heard_of.fetch_max(sent.nanos(), Relaxed);
    }

    /// Changes what is known, and mirrors it.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Known) -> R) -> R {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut known);
        known.speed.check_invariants();
        known.health.check_invariants();
        self.mirror(&known);
        result
    }

    fn mirror(&self, known: &Known) {
        let (score, at) = known.speed.raw_score().unwrap_or((f64::NAN, Time::ZERO));
        self.score_bits.store(score.to_bits(), Relaxed);
        self.score_at.store(at.nanos(), Relaxed);
        let base = known.speed.base_ms().unwrap_or(f64::NAN);
        self.base_bits.store(base.to_bits(), Relaxed);
        let normal = known.speed.normal_ms().unwrap_or(f64::NAN);
        self.normal_bits.store(normal.to_bits(), Relaxed);
        self.samples.store(known.speed.samples(), Relaxed);
        self.throttle.mirror(&known.rest, &known.served);
        let (mut degraded, mut recovering) = (0, 0);
        match known.health.state {
            State::Healthy => {}
            State::Degraded => degraded = known.health.degraded_until.nanos(),
            // Zero means something else: a recovery at the very first moment counts as one just after.
            State::Recovering => recovering = known.health.since.nanos().max(1),
        }
        let passed_over = match known.health.state {
            State::Degraded if known.health.cause == Some(Cause::Errors) => Some(Time::END),
            State::Healthy | State::Degraded | State::Recovering => {
                known.errors.passed_over_until()
            }
        };
        self.failing_until.store(passed_over.map_or(0, Time::nanos), Relaxed);
        self.erred_at.store(known.errors.last_at().map_or(0, Time::nanos), Relaxed);
        let Unserved { ghosts, share, at, refused } = known.unserved;
        self.ghosts_bits.store(ghosts.to_bits(), Relaxed);
        self.unserved_bits.store(share.to_bits(), Relaxed);
        self.unserved_at.store(at.nanos(), Relaxed);
        self.refused_bits.store(refused.to_bits(), Relaxed);
        self.degraded_until.store(degraded, Relaxed);
        self.recovering_since.store(recovering, Relaxed);
    }
}

/// A mirrored float; NaN stands for none.
fn known(bits: &AtomicU64) -> Option<f64> {
    Some(f64::from_bits(bits.load(Relaxed))).filter(|value| !value.is_nan())
}
