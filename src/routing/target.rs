//! One target: what is known of it, and how that changes.
//!
//! The truth is [`Learned`], behind a short lock that only outcomes take. What a pick reads is mirrored
//! into atomics after every change, so that choosing among a thousand targets takes no lock. A pick may see
//! a score and its age from two neighbouring updates; either is a fair reading.
//!
//! This file knows who may read and write what is known; what follows from an outcome is `learned`.

use crate::routing::learned::{Change, Learned, Strike};
use crate::routing::settings::Settings;
use crate::time::Time;
use crate::time::millis;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Why a target is out of use beside its state. Entered and left by operators and by our own probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// An operator took it out.
    Drained,
    /// The backend refused our credential when our own probe used it.
    AuthFailed,
    /// The backend does not know the deployment that the configuration names.
    Misconfigured,
}

impl Block {
    const fn bit(self) -> u8 {
        match self {
            Self::Drained => 1,
            Self::AuthFailed => 2,
            Self::Misconfigured => 4,
        }
    }
}

/// A target's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In normal use.
    Healthy,
    /// Used only when nothing better is left.
    Degraded,
}

/// Something that an operator should hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position of the target in its pool.
    pub target: usize,
    /// What changed.
    pub change: Change,
}

/// A reading of one target for people and metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Its state.
    pub state: State,
    /// Effective score in milliseconds.
    pub score_ms: f64,
    /// Strikes held against it.
    pub strikes: f64,
    /// Attempts that wait for their first token.
    pub in_flight: u32,
    /// How much longer it rests after a 429; zero when it does not.
    pub limited: Duration,
    /// Whether any [`Block`] is set.
    pub blocked: bool,
}

/// What is known of one target. Shared between the pools of successive configurations.
#[derive(Debug, Default)]
pub(super) struct TargetState {
    in_flight: AtomicU32,
    blocks: AtomicU8,
    /// Mirrors of [`Learned`]: nanoseconds, or the bits of a float.
    score_bits: AtomicU64,
    score_until: AtomicU64,
    degraded_until: AtomicU64,
    limited_until: AtomicU64,
    learned: Mutex<Learned>,
}

impl TargetState {
    // ---- reads: atomics only

    pub(super) fn score_ms(&self, settings: &Settings, now: Time) -> f64 {
        if self.score_until.load(Relaxed) > now.nanos() {
            f64::from_bits(self.score_bits.load(Relaxed))
        } else {
            settings.default_score_ms
        }
    }

    pub(super) fn is_degraded(&self, now: Time) -> bool {
        self.degraded_until.load(Relaxed) > now.nanos()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocks.load(Relaxed) != 0
    }

    pub(super) fn limited(&self, now: Time) -> Duration {
        Time::from_nanos(self.limited_until.load(Relaxed)).since(now)
    }

    /// The share of its traffic that a target gets back after a 429: 1 when there was none lately.
    pub(super) fn ramp(&self, settings: &Settings, now: Time) -> f64 {
        let until = self.limited_until.load(Relaxed);
        let since = now.since(Time::from_nanos(until));
        if until == 0 || since >= settings.limit_ramp {
            return 1.0;
        }
        0.1 + 0.9 * since.as_secs_f64() / settings.limit_ramp.as_secs_f64()
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn view(&self, settings: &Settings, now: Time) -> View {
        let strikes = self.with(|l| l.strikes(settings, now));
        let state = if self.is_degraded(now) { State::Degraded } else { State::Healthy };
        View {
            state,
            score_ms: self.score_ms(settings, now),
            strikes,
            in_flight: self.in_flight(),
            limited: self.limited(now),
            blocked: self.is_blocked(),
        }
    }

    // ---- changes

    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn leave(&self) {
        let before = self.in_flight.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a lease ended twice");
    }

    pub(super) fn block(&self, block: Block) {
        self.blocks.fetch_or(block.bit(), Relaxed);
    }

    pub(super) fn unblock(&self, block: Block) {
        self.blocks.fetch_and(!block.bit(), Relaxed);
    }

    /// A first content token, `ttft` after a dispatch at `sent`.
    pub(super) fn first_token(
        &self,
        settings: &Settings,
        ttft: Duration,
        sent: Time,
    ) -> Option<Change> {
        let now = sent + ttft;
        self.change(|l| {
            l.limit_run = 0;
            l.observe(settings, millis(ttft), sent, now)
        })
    }

    /// A 2xx answer whose speed says nothing (not streamed): forgives errors, teaches no latency.
    pub(super) fn answered(&self) {
        self.change(|l| {
            l.limit_run = 0;
            l.error_strikes = 0.0;
            None
        });
    }

    /// An attempt that was given up without a first token: its age is a lower bound of its TTFT. It moves the
    /// score; a strike only when it was our own time-out, not the client's patience.
    pub(super) fn outlasted(
        &self,
        settings: &Settings,
        wait: GivenUp,
        sent: Time,
    ) -> Option<Change> {
        match wait {
            GivenUp::ByClient(age) => self.change(|l| {
                l.at_least(settings, millis(age), sent + age);
                None
            }),
            GivenUp::ByTimeout(age) => {
                let slow_ms = millis(age).max(settings.trip_ms);
                self.change(|l| l.observe(settings, slow_ms, sent, sent + age))
            }
        }
    }

    /// An error before any content: a strike, never a latency.
    pub(super) fn failed(&self, settings: &Settings, now: Time) -> Option<Change> {
        self.change(|l| l.strike(settings, Strike::Error, now))
    }

    /// An answer broke off after its first content.
    pub(super) fn broke_off(&self, settings: &Settings, now: Time) -> Option<Change> {
        self.change(|l| l.strike(settings, Strike::BrokenOff, now))
    }

    /// A streamed answer came to its end.
    pub(super) fn completed(&self) {
        self.change(|l| {
            l.broken_strikes = 0.0;
            None
        });
    }

    /// Takes back the strike of a request that failed everywhere: it is its own suspect.
    pub(super) fn forgive_error(&self, settings: &Settings, now: Time) -> Option<Change> {
        self.change(|l| l.forgive_error(settings, now))
    }

    /// A 429 to a request sent at `sent`: rest for what it asked, at least 1 s, doubling while no success
    /// comes between. Those that were already on their way when the rest began are one refusal together.
    pub(super) fn limit(
        &self,
        settings: &Settings,
        asked: Option<Duration>,
        (sent, now): (Time, Time),
    ) -> Option<Change> {
        self.change(|l| {
            if sent >= l.limited_until {
                l.limit_run = l.limit_run.saturating_add(1);
            }
            let least = Duration::from_secs(1_u64 << l.limit_run.saturating_sub(1).min(16));
            let wait = asked.unwrap_or(settings.limit_default).max(least).min(settings.limit_max);
            l.limited_until = l.limited_until.max(now + wait);
            Some(Change::Limited(wait))
        })
    }

    /// Reports the end of a flag whose time is over.
    pub(super) fn tick(&self, now: Time) -> Option<Change> {
        self.change(|l| {
            let over = l.degraded && l.degraded_until <= now;
            if over {
                l.degraded = false;
                l.recovered_at = now;
            }
            over.then_some(Change::Recovered)
        })
    }

    fn with<R>(&self, read: impl FnOnce(&Learned) -> R) -> R {
        read(&self.learned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Learned) -> Option<Change>) -> Option<Change> {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let event = change(&mut learned);
        learned.check_invariants();
        self.score_bits.store(learned.score_ms.to_bits(), Relaxed);
        self.score_until.store(learned.score_until.nanos(), Relaxed);
        self.limited_until.store(learned.limited_until.nanos(), Relaxed);
        let until = if learned.degraded { learned.degraded_until } else { Time::ZERO };
        self.degraded_until.store(until.nanos(), Relaxed);
        event
    }
}

/// Who gave an attempt up, and after how long.
#[derive(Clone, Copy, Debug)]
pub(super) enum GivenUp {
    ByClient(Duration),
    ByTimeout(Duration),
}
