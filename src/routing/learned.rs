//! What is known of one target, and what an outcome changes in it. Plain values, no lock, no atomics.
//!
//! Score: `score = alpha x ttft + (1 - alpha) x score_eff`, where `score_eff` is the score, or the default
//! when the score is older than its time to live (a region that nobody uses is tried again).
//!
//! Strikes: a slow answer is one, an error a part of one. Errors and slow answers are counted apart, since an
//! answer that is not streamed can forgive errors and says nothing about speed. At `strikes_to_trip` the
//! target is degraded, until a good answer or `flag_ttl`.

use crate::routing::settings::{Policy, Settings};
use crate::time::Time;
use std::time::Duration;

/// Why a target became degraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Slow first tokens.
    Slow,
    /// Errors.
    Errors,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It became degraded.
    Degraded(Cause),
    /// It is healthy again.
    Recovered,
    /// A 429 made it rest this long.
    Limited(Duration),
}

/// What is known of one target.
#[derive(Debug, Default)]
pub(super) struct Learned {
    pub(super) score_ms: f64,
    /// The score counts until here; zero: nothing was ever learned.
    pub(super) score_until: Time,
    pub(super) slow_strikes: f64,
    pub(super) error_strikes: f64,
    /// For answers that broke off after their first content. A first token, which they all have, does not
    /// forgive these; an answer that comes to its end does.
    pub(super) broken_strikes: f64,
    pub(super) strike_at: Time,
    pub(super) degraded: bool,
    /// The strikes that degraded it, as far as errors of requests did.
    pub(super) degraded_for: f64,
    pub(super) degraded_until: Time,
    /// Slow answers to requests sent before this are old news.
    pub(super) recovered_at: Time,
    pub(super) limited_until: Time,
    pub(super) limit_run: u32,
}

/// What a target gets a strike for.
#[derive(Clone, Copy)]
pub(super) enum Strike {
    Slow,
    Error,
    BrokenOff,
}

impl Learned {
    pub(super) fn score(&self, settings: &Settings, now: Time) -> f64 {
        if self.score_until > now { self.score_ms } else { settings.default_score_ms }
    }

    pub(super) fn strikes(&self, settings: &Settings, now: Time) -> f64 {
        if now.since(self.strike_at) > settings.strike_ttl {
            return 0.0;
        }
        self.slow_strikes + self.error_strikes + self.broken_strikes
    }

    /// A wait that says the score is too low, if it does.
    pub(super) fn at_least(&mut self, settings: &Settings, age_ms: f64, now: Time) {
        if age_ms >= settings.trip_ms && age_ms > self.score(settings, now) {
            self.move_score(settings, age_ms, now);
        }
    }

    pub(super) fn move_score(&mut self, settings: &Settings, sample_ms: f64, now: Time) {
        let old = self.score(settings, now);
        self.score_ms = settings.ema_alpha * sample_ms + (1.0 - settings.ema_alpha) * old;
        self.score_until = now + settings.score_ttl;
    }

    pub(super) fn observe(
        &mut self,
        settings: &Settings,
        ttft_ms: f64,
        sent: Time,
        now: Time,
    ) -> Option<Change> {
        self.move_score(settings, ttft_ms, now);
        if ttft_ms >= settings.trip_ms {
            // What was sent before the recovery tells of the time before it.
            return if sent < self.recovered_at {
                None
            } else {
                self.strike(settings, Strike::Slow, now)
            };
        }
        if ttft_ms < settings.clear_ms {
            (self.slow_strikes, self.error_strikes) = (0.0, 0.0);
            if self.degraded {
                self.degraded = false;
                self.recovered_at = now;
                // The old score tells of the bad time: lowest score wins would keep the target out.
                self.score_ms = ttft_ms;
                return Some(Change::Recovered);
            }
        }
        None
    }

    /// Takes back the strike of a request that failed everywhere, also when the target was degraded for it:
    /// copies of such a request that come at the same time must not take every region out.
    pub(super) fn forgive_error(&mut self, settings: &Settings, now: Time) -> Option<Change> {
        if self.error_strikes > 0.0 {
            self.error_strikes = (self.error_strikes - settings.strike_error).max(0.0);
            return None;
        }
        if !self.degraded || self.degraded_for <= 0.0 {
            return None;
        }
        self.degraded_for -= settings.strike_error;
        if self.degraded_for >= settings.strikes_to_trip {
            return None;
        }
        self.degraded_for = 0.0;
        self.degraded = false;
        self.recovered_at = now;
        Some(Change::Recovered)
    }

    fn forget_strikes(&mut self) {
        (self.slow_strikes, self.error_strikes, self.broken_strikes) = (0.0, 0.0, 0.0);
    }

    pub(super) fn strike(
        &mut self,
        settings: &Settings,
        strike: Strike,
        now: Time,
    ) -> Option<Change> {
        if settings.policy == Policy::RoundRobin {
            return None;
        }
        if now.since(self.strike_at) > settings.strike_ttl {
            self.forget_strikes();
        }
        let cause = match strike {
            Strike::Slow => {
                self.slow_strikes += 1.0;
                Cause::Slow
            }
            Strike::Error => {
                self.error_strikes += settings.strike_error;
                Cause::Errors
            }
            Strike::BrokenOff => {
                self.broken_strikes += settings.strike_error;
                Cause::Errors
            }
        };
        self.strike_at = now;
        if self.strikes(settings, now) < settings.strikes_to_trip {
            return None;
        }
        // Zero if something else than errors was part of it: then it is not taken back.
        let errors_alone = self.error_strikes >= settings.strikes_to_trip;
        self.degraded_for = if errors_alone { self.error_strikes } else { 0.0 };
        self.forget_strikes();
        self.degraded_until = now + settings.flag_ttl;
        let renewed = std::mem::replace(&mut self.degraded, true);
        (!renewed).then_some(Change::Degraded(cause))
    }

    pub(super) fn check_invariants(&self) {
        debug_assert!(self.score_ms.is_finite() && self.score_ms >= 0.0, "score {}", self.score_ms);
        debug_assert!(self.slow_strikes >= 0.0 && self.error_strikes >= 0.0);
        debug_assert!(!self.degraded || self.degraded_until > Time::ZERO);
    }
}
