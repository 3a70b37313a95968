//! The state of one target. Plain values; the guards that other targets' states put before a trip are in
//! `guard`.
//!
//! ```text
//!            strikes >= 2, guards hold                 2 + trips good probes in a row (at most 6)
//!  HEALTHY ----------------------------> DEGRADED ---------------------------------------> RECOVERING
//!     ^                                     ^                                                 |   |
//!     |                                     +------------- strikes >= 1, guards hold ---------+   |
//!     +--------------------------- tick: ramp over -----------------------------------------------+
//! ```
//!
//! With a flag's time instead of recovery probes (`ema`) a good answer, a good probe or the end of that time
//! leads from DEGRADED to HEALTHY.
//!
//! `trips` counts outages that came soon after another in which a probe had failed: the more of them, the
//! longer the pause between probes and the more of them it takes.

use crate::rng::Rng;
use crate::routing::settings::{Policy, Settings};
use crate::routing::strikes::{Strike, Strikes};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most good probes in a row that are asked for.
const MOST_OKS: u32 = 6;
/// The pause after a good probe.
const NEXT_AFTER_OK: Duration = Duration::from_secs(1);
/// A probe's pause is this much longer or shorter by chance, so that instances do not probe at once.
const JITTER: f64 = 0.2;
/// The most doublings of a pause that make sense.
const MOST_TRIPS: u32 = 8;

/// A target's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In normal use.
    #[default]
    Healthy,
    /// Used only when nothing better is left.
    Degraded,
    /// Healthy again by its probes; its share grows.
    Recovering,
}

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
    /// Its probes are good: it gets a growing share again.
    Recovering,
    /// It is healthy again.
    Recovered,
    /// A 429 made it rest this long.
    Limited(Duration),
}

/// State, strikes and probes of one target.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    pub(super) state: State,
    /// Since when it is in that state.
    pub(super) since: Time,
    pub(super) strikes: Strikes,
    /// What it was last degraded for.
    pub(super) cause: Option<Cause>,
    /// The strikes that degraded it, if errors of requests alone did.
    degraded_for: f64,
    /// When a flag ends; the end of time without flags.
    pub(super) degraded_until: Time,
    /// Evidence from requests sent before this is old news.
    pub(super) renewed_at: Time,
    trips: u32,
    tripped_at: Option<Time>,
    probe_failed: bool,
    ok_run: u32,
    backoff: Duration,
    /// When the next recovery probe is due.
    pub(super) next_probe: Option<Time>,
    confirm_at: Option<Time>,
}

impl Health {
    /// Adds a strike; whether a trip is due. While degraded a flag is renewed instead.
    pub(super) fn strike(
        &mut self,
        settings: &Settings,
        strike: Strike,
        weight: f64,
        now: Time,
    ) -> bool {
        if settings.policy == Policy::RoundRobin || weight <= 0.0 {
            return false;
        }
        if self.state == State::Degraded && settings.recover.flag_ttl.is_none() {
            return false;
        }
        self.strikes.add(settings, strike, weight, now);
        if !self.is_due(settings, now) {
            return false;
        }
        if let (State::Degraded, Some(ttl)) = (self.state, settings.recover.flag_ttl) {
            self.degraded_for = self.for_errors_alone(settings);
            self.strikes.void();
            self.degraded_until = now + ttl;
            return false;
        }
        true
    }

    /// Whether its strikes are enough to trip it.
    pub(super) fn is_due(&self, settings: &Settings, now: Time) -> bool {
        let enough = settings.detect.strikes_to_trip;
        let enough = if self.state == State::Recovering { enough / 2.0 } else { enough };
        // Strikes are sums of decimals: 0.4 + 0.8 + 0.8 is meant to be two.
        self.strikes.sum(settings, now) > enough - 1e-9
    }

    /// Takes it out of use.
    pub(super) fn trip(&mut self, settings: &Settings, cause: Cause, now: Time) {
        self.cause = Some(cause);
        let recover = &settings.recover;
        let soon = self.tripped_at.is_some_and(|at| now.since(at) <= recover.flap_window);
        self.trips = match (soon, self.probe_failed) {
            (true, true) => (self.trips + 1).min(MOST_TRIPS),
            (true, false) => self.trips,
            (false, _) => 0,
        };
        self.degraded_for = self.for_errors_alone(settings);
        self.strikes.void();
        (self.ok_run, self.probe_failed, self.tripped_at) = (0, false, Some(now));
        self.degraded_until = recover.flag_ttl.map_or(Time::END, |ttl| now + ttl);
        if let Some(first) = recover.probe_backoff {
            self.backoff = (first * 2_u32.pow(self.trips)).min(recover.probe_backoff_max);
            self.next_probe = Some(now + self.jittered(now));
        }
        self.enter(State::Degraded, now);
    }

    /// A probe of ours, or a request that came here all the same, met the limit for good answers.
    pub(super) fn probe_ok(&mut self, settings: &Settings, now: Time) -> Option<Change> {
        if self.state != State::Degraded {
            return None;
        }
        self.ok_run += 1;
        self.next_probe = Some(now + NEXT_AFTER_OK);
        if self.ok_run < (settings.recover.probe_oks + self.trips).min(MOST_OKS) {
            return None;
        }
        Some(self.recover(settings, now))
    }

    /// A recovery probe was late or failed.
    pub(super) fn probe_bad(&mut self, settings: &Settings, now: Time) {
        if self.state != State::Degraded {
            return;
        }
        if settings.recover.probe_backoff.is_none() {
            self.next_probe = None;
            return;
        }
        self.ok_run = 0;
        self.probe_failed = true;
        self.backoff = (self.backoff * 2).min(settings.recover.probe_backoff_max);
        self.next_probe = Some(now + self.jittered(now));
    }

    /// The next probe is not before `at`.
    pub(super) fn probe_later(&mut self, at: Time) {
        self.next_probe = self.next_probe.map(|next| next.max(at));
    }

    /// Takes the permission for one confirm probe, if there is one.
    pub(super) fn take_confirm(&mut self, settings: &Settings, now: Time) -> bool {
        let interval = settings.detect.confirm_interval;
        let allowed = !interval.is_zero()
            && self.state != State::Degraded
            && self.confirm_at.is_none_or(|at| now.since(at) >= interval);
        if allowed {
            self.confirm_at = Some(now);
        }
        allowed
    }

    /// Back into use: over the ramp if there is one.
    pub(super) fn recover(&mut self, settings: &Settings, now: Time) -> Change {
        self.strikes.void();
        let healthy = self.renew(now);
        if settings.recover.ramp.is_zero() {
            return healthy;
        }
        self.enter(State::Recovering, now);
        Change::Recovering
    }

    /// Takes back an error's strike, also when the target was degraded for it: copies of a request that fails
    /// everywhere must not take every region out.
    pub(super) fn forgive_error(&mut self, settings: &Settings, now: Time) -> Option<Change> {
        let detect = &settings.detect;
        if self.strikes.forgive_error(detect.strike_error)
            || self.state != State::Degraded
            || self.degraded_for <= 0.0
        {
            return None;
        }
        self.degraded_for -= detect.strike_error;
        if self.degraded_for >= detect.strikes_to_trip {
            return None;
        }
        Some(self.renew(now))
    }

    /// Whether it was never degraded in this process.
    pub(super) fn is_blank(&self) -> bool {
        self.state == State::Healthy && self.tripped_at.is_none()
    }

    /// How long its flag still lasts; `None` without one.
    pub(super) fn flag_left(&self, now: Time) -> Option<Duration> {
        let flagged = self.state == State::Degraded && self.degraded_until != Time::END;
        flagged.then(|| self.degraded_until.since(now))
    }

    /// Takes up the state that a former process left it in. A recovery probe is due at once: much may have
    /// changed meanwhile. A ramp begins anew.
    pub(super) fn resume(
        &mut self,
        settings: &Settings,
        (state, flag_left): (State, Option<Duration>),
        now: Time,
    ) {
        let recover = &settings.recover;
        match state {
            State::Recovering if !recover.ramp.is_zero() => self.enter(State::Recovering, now),
            State::Degraded if settings.policy != Policy::RoundRobin => {
                let left = recover.flag_ttl.map(|ttl| flag_left.map_or(ttl, |left| left.min(ttl)));
                if left.is_some_and(|left| left.is_zero()) {
                    return;
                }
                self.degraded_until = left.map_or(Time::END, |left| now + left);
                if let Some(first) = recover.probe_backoff {
                    (self.backoff, self.next_probe) = (first, Some(now));
                }
                self.tripped_at = Some(now);
                self.enter(State::Degraded, now);
            }
            State::Healthy | State::Degraded | State::Recovering => {}
        }
    }

    /// What time alone changes: a flag or a ramp is over.
    pub(super) fn tick(&mut self, settings: &Settings, now: Time) -> Option<Change> {
        if self.state == State::Degraded {
            self.keep_way_back(settings, now);
        }
        let over = match self.state {
            State::Healthy => false,
            State::Degraded => self.degraded_until <= now,
            State::Recovering => now.since(self.since) >= settings.recover.ramp,
        };
        if !over {
            return None;
        }
        if self.state == State::Degraded {
            return Some(self.renew(now));
        }
        self.enter(State::Healthy, now);
        Some(Change::Recovered)
    }

    /// A new configuration may lead back in another way than the one it was degraded under.
    fn keep_way_back(&mut self, settings: &Settings, now: Time) {
        let recover = &settings.recover;
        if let Some(ttl) = recover.flag_ttl
            && self.degraded_until == Time::END
        {
            self.degraded_until = self.since + ttl;
        }
        match (recover.probe_backoff, self.next_probe) {
            (Some(first), None) => (self.backoff, self.next_probe) = (first, Some(now)),
            (None, Some(_)) => self.next_probe = None,
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// A recovery probe was answered by a refusal of its prompt: the front door stands, of the model nothing is
    /// known. After the flap window real traffic is to decide.
    pub(super) fn probe_refused(&mut self, settings: &Settings, now: Time) -> Option<Change> {
        if self.state != State::Degraded {
            return None;
        }
        if now.since(self.since) >= settings.recover.flap_window {
            return Some(self.recover(settings, now));
        }
        self.next_probe = self.next_probe.map(|_| now + self.jittered(now));
        None
    }

    /// Whether what was sent then tells of the state that it is in: before a trip it tells of the time before.
    pub(super) fn is_news(&self, sent: Time) -> bool {
        self.state != State::Degraded || sent >= self.since
    }

    /// Zero if something else than errors of requests was part of it: then it is not taken back.
    fn for_errors_alone(&self, settings: &Settings) -> f64 {
        let errors = self.strikes.of_errors();
        if errors >= settings.detect.strikes_to_trip { errors } else { 0.0 }
    }

    /// The end of a degradation: what was sent before it is old news.
    fn renew(&mut self, now: Time) -> Change {
        (self.degraded_for, self.next_probe, self.renewed_at) = (0.0, None, now);
        self.enter(State::Healthy, now);
        Change::Recovered
    }

    fn enter(&mut self, state: State, now: Time) {
        (self.state, self.since) = (state, now);
    }

    /// The pause, somewhat longer or shorter. The moment is as good a seed as any.
    fn jittered(&self, now: Time) -> Duration {
        let unit = Rng::from_seed(now.nanos()).unit();
        self.backoff.mul_f64(1.0 - JITTER + 2.0 * JITTER * unit)
    }

    pub(super) fn check_invariants(&self) {
        self.strikes.check_invariants();
        match self.state {
            State::Degraded => debug_assert!(self.degraded_until > self.since, "{self:?}"),
            State::Healthy | State::Recovering => {
                debug_assert!(self.next_probe.is_none(), "{self:?}");
            }
        }
        debug_assert!(self.trips <= MOST_TRIPS && self.ok_run < MOST_OKS + 1, "{self:?}");
    }
}
