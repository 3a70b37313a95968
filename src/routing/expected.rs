//! When an answer is due: computed once at dispatch and kept in the lease.
//!
//! `expected = shape x max(min(base, 3 x fleet_base), fleet_now)`: a target's own normal, but no less than
//! what the fleet takes now (when all are slow, none is late) and no more than three times what is normal
//! in the fleet (a target that was always bad is bad). `D = late_mult x expected` is when an answer is late;
//! `T = trip_factor x D`. Before a model has its first samples, D and T are fixed numbers; a prompt size that
//! was seldom seen is measured by its prior factor, and more patiently. (Fixed numbers there would blame a
//! region for its first 64k prompt, and would be blind where everything is fast.)

use crate::routing::fleet::Fleet;
use crate::routing::norm::Norm;
use crate::routing::settings::Settings;
use crate::routing::size::Size;
use crate::routing::target::TargetState;
use crate::routing::totals::{Class, Usual, WHOLE_MULT};
use std::time::Duration;

/// D while too little is known, milliseconds.
const COLD_LATE_MS: f64 = 4000.0;
/// When a whole response is looked at again that was sent before anything was known, for the first time.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// What an attempt is measured by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Expected {
    pub(super) size: Size,
    /// The factor of its prompt's size.
    pub(super) shape: f64,
    /// The expected TTFT, milliseconds.
    pub(super) ms: f64,
    /// D and T, from dispatch.
    pub(super) late: Duration,
    pub(super) trip: Duration,
    pub(super) basis: Basis,
}

/// What an expectation rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// Too little is known of the model: D and T are fixed numbers, and `ms` is not to be tested against.
    Cold,
    /// The factor of the prompt's size is a guess: D is as generous as it may be.
    Guess,
    /// Enough answers to prompts of that size.
    Proven,
}

impl Expected {
    pub(super) fn of(
        settings: &Settings,
        norm: &Norm,
        fleet: &Fleet,
        target: &TargetState,
        size: Size,
    ) -> Self {
        let shape = norm.shape(size);
        let unknown = fleet.unknown_ms(settings);
        let own = target.base_ms().filter(|_| target.samples() >= settings.baseline.min_samples);
        let cap = fleet.base_ms.map_or(f64::INFINITY, |ms| ms * settings.baseline.cap_ratio);
        let normal = own.unwrap_or(unknown).min(cap);
        let ms = shape * normal.max(fleet.now_ms.unwrap_or(0.0));
        let detect = &settings.detect;
        let basis = if norm.is_young(&settings.baseline) {
            Basis::Cold
        } else if norm.is_proven(size, &settings.baseline) {
            Basis::Proven
        } else {
            Basis::Guess
        };
        let late_ms = match basis {
            Basis::Cold => COLD_LATE_MS.min(detect.trip_ms),
            Basis::Guess => detect.late_mult.max * ms,
            Basis::Proven => norm.late_mult() * ms,
        };
        let trip_ms =
            if basis == Basis::Cold { detect.trip_ms } else { late_ms * detect.trip_factor };
        Self { size, shape, ms, late: span(late_ms), trip: span(trip_ms), basis }
    }

    /// Whether too little is known of the model to measure anything by.
    pub(super) fn is_cold(&self) -> bool {
        self.basis == Basis::Cold
    }

    /// The same for a whole response of that class, of which this is the first token: not late before a first
    /// token would be. While nothing is known it is to be looked at again after a while.
    pub(super) fn of_whole(self, settings: &Settings, norm: &Norm, class: Class) -> Self {
        let enough = |usual: &Usual| usual.samples >= settings.baseline.warm_samples;
        let (ms, late_mult, basis) = match norm.usual(class).filter(enough) {
            Some(usual) => (usual.ms, usual.late_mult, Basis::Proven),
            None => match norm.total_ms(settings) {
                Some(ms) => (ms, WHOLE_MULT.max, Basis::Guess),
                None => (self.ms, WHOLE_MULT.max, Basis::Cold),
            },
        };
        if basis == Basis::Cold {
            let late = FIRST_LOOK.min(settings.hedge.non_stream_deadline);
            return Self { ms, late, trip: Duration::MAX, basis, ..self };
        }
        let least = if self.basis == Basis::Cold { Duration::ZERO } else { self.late };
        let late = span(late_mult * ms).max(least);
        let trip = late.mul_f64(settings.detect.trip_factor);
        Self { ms, late, trip, basis, ..self }
    }

    /// The same for what is no work of the model: late at half more than whole responses usually take.
    pub(super) fn of_any(self, settings: &Settings, norm: &Norm) -> Self {
        let usual = norm.total_ms(settings).map(|ms| span(1.5 * ms).max(self.late));
        let late = usual.unwrap_or(settings.hedge.non_stream_deadline);
        Self { late, trip: Duration::MAX, basis: Basis::Cold, ..self }
    }

    /// Whether a first token after so many milliseconds is good: `ratio` times the expected one, or
    /// `clear_ms` while too little is known.
    pub(super) fn is_good(&self, ttft_ms: f64, ratio: f64, clear_ms: f64) -> bool {
        if self.basis == Basis::Cold { ttft_ms < clear_ms } else { ttft_ms < ratio * self.ms }
    }
}

/// At most a year, so that it can be multiplied.
fn span(ms: f64) -> Duration {
    const MOST: Duration = Duration::from_hours(24 * 365);
    Duration::try_from_secs_f64(ms / 1000.0).map_or(MOST, |span| span.min(MOST))
}
