//! The evidence against one target. Plain values.
//!
//! Slow answers, errors and streams that broke off are counted apart, since what forgives one does not
//! forgive the other: an answer that is not streamed says nothing about speed, and a first token says
//! nothing about whether streams reach their end. Together they trip.

use crate::routing::settings::Settings;
use crate::time::Time;

/// Outcomes that are remembered.
const REMEMBERED: usize = 8;
/// Strikes that a blocked trip may leave standing, in units of what trips.
const MOST: f64 = 1.5;

/// What a strike is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// A late or slow first token.
    Slow,
    /// An error of that request before any content.
    Error(u64),
    /// An answer to that request broke off after its first content.
    BrokenOff(u64),
}

/// Strikes, and the last outcomes.
#[derive(Clone, Debug, Default)]
pub(super) struct Strikes {
    slow: f64,
    error: f64,
    /// A first token, which they all had, does not forgive these; an answer that comes to its end does.
    broken: f64,
    at: Time,
    last: [Option<Outcome>; REMEMBERED],
    next: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Good,
    Error(u64),
}

impl Strikes {
    /// Their sum, as far as they are not too old.
    pub(super) fn sum(&self, settings: &Settings, now: Time) -> f64 {
        if now.since(self.at) > settings.detect.strike_ttl {
            return 0.0;
        }
        self.slow + self.error + self.broken
    }

    /// What errors of requests alone come to.
    pub(super) fn of_errors(&self) -> f64 {
        self.error
    }

    /// Adds one. An error may only be remembered: see `error_share`.
    pub(super) fn add(&mut self, settings: &Settings, strike: Strike, weight: f64, now: Time) {
        if let Strike::Error(request) | Strike::BrokenOff(request) = strike {
            self.remember(Outcome::Error(request));
            if !self.errors_count(settings.detect.error_share) {
                return;
            }
        }
        if now.since(self.at) > settings.detect.strike_ttl {
            self.void();
        }
        self.at = now;
        let room = (MOST * settings.detect.strikes_to_trip - self.sum(settings, now)).max(0.0);
        let weight = weight.min(room);
        match strike {
            Strike::Slow => self.slow += weight,
            Strike::Error(_) => self.error += weight,
            Strike::BrokenOff(_) => self.broken += weight,
        }
    }

    /// Adds what errors lack to trip: a probe of ours failed as well.
    pub(super) fn convict(&mut self, settings: &Settings, now: Time) {
        let lacking = settings.detect.strikes_to_trip - self.sum(settings, now);
        if lacking > 0.0 {
            if now.since(self.at) > settings.detect.strike_ttl {
                self.void();
            }
            (self.error, self.at) = (self.error + lacking, now);
        }
    }

    /// A good answer: remembered.
    pub(super) fn good_outcome(&mut self) {
        self.remember(Outcome::Good);
    }

    /// A good answer in good time takes strikes back, those for slowness first.
    pub(super) fn credit(&mut self, credit: f64) {
        let rest = (credit - self.slow).max(0.0);
        self.slow = (self.slow - credit).max(0.0);
        self.error = (self.error - rest).max(0.0);
    }

    /// Takes back what errors brought, up to `strike`; whether there was anything.
    pub(super) fn forgive_error(&mut self, strike: f64) -> bool {
        let some = self.error > 0.0;
        self.error = (self.error - strike).max(0.0);
        some
    }

    /// A good answer whose speed is unknown: errors are void.
    pub(super) fn void_errors(&mut self) {
        self.error = 0.0;
    }

    /// A stream came to its end: those that broke off are void.
    pub(super) fn void_broken(&mut self) {
        self.broken = 0.0;
    }

    /// Forgets the strikes. What was seen last stays known.
    pub(super) fn void(&mut self) {
        (self.slow, self.error, self.broken) = (0.0, 0.0, 0.0);
    }

    fn remember(&mut self, outcome: Outcome) {
        if let Some(slot) = self.last.get_mut(self.next) {
            *slot = Some(outcome);
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// Whether so large a share of what is remembered are errors, of more than one request.
    fn errors_count(&self, share: f64) -> bool {
        if share <= 0.0 {
            return true;
        }
        let (mut known, mut errors) = (0.0, 0.0);
        let (mut first, mut several) = (None, false);
        for outcome in self.last.iter().flatten() {
            known += 1.0;
            if let Outcome::Error(request) = outcome {
                errors += 1.0;
                several |= *first.get_or_insert(request) != request;
            }
        }
        several && errors >= share * known
    }

    pub(super) fn check_invariants(&self) {
        for strikes in [self.slow, self.error, self.broken] {
            debug_assert!(strikes.is_finite() && strikes >= 0.0, "{self:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Time = Time::from_nanos(1_000_000_000_000);

    /// The sum after a word of outcomes: a letter is an error of that request, a dot a good one.
    fn after(word: &str) -> f64 {
        let settings = Settings::lookout();
        let mut strikes = Strikes::default();
        for letter in word.chars() {
            if letter == '.' {
                strikes.good_outcome();
            } else {
                let strike = Strike::Error(u64::from(u32::from(letter)));
                strikes.add(&settings, strike, settings.detect.strike_error, NOW);
            }
            strikes.check_invariants();
            assert!(strikes.sum(&settings, NOW) <= 3.0 + 1e-9);
        }
        strikes.sum(&settings, NOW)
    }

    #[test]
    fn errors_count_when_half_of_the_last_eight_are_errors_of_two_requests() {
        let check = |word: &str, strikes: f64| {
            let sum = after(word);
            assert!((sum - strikes).abs() < 1e-9, "{word}: {sum} instead of {strikes}");
        };
        check("a", 0.0);
        check("aaaa", 0.0);
        check("ab", 1.0);
        check("abc", 2.0);
        check("........a.b.c", 0.0);
        check("........a.b.c.d", 1.0);
        check("........abcd", 1.0);
        check("........abcde", 2.0);
        check("........abc", 0.0);
        check("abcdefgh", 3.0);
    }

    #[test]
    fn a_credit_goes_to_slowness_first_and_never_below_nothing() {
        let settings = Settings::ema();
        let mut strikes = Strikes::default();
        strikes.add(&settings, Strike::Slow, 0.4, NOW);
        strikes.add(&settings, Strike::Error(1), 1.0, NOW);
        strikes.add(&settings, Strike::BrokenOff(1), 0.5, NOW);
        strikes.credit(0.3);
        assert!((strikes.sum(&settings, NOW) - 1.6).abs() < 1e-9);
        strikes.credit(0.3);
        assert!((strikes.of_errors() - 0.8).abs() < 1e-9);
        strikes.credit(f64::INFINITY);
        assert!((strikes.sum(&settings, NOW) - 0.5).abs() < 1e-9, "what broke off stays");
        strikes.void_broken();
        assert!(strikes.sum(&settings, NOW).abs() < 1e-9);
    }

    #[test]
    fn old_strikes_are_void() {
        let settings = Settings::lookout();
        let mut strikes = Strikes::default();
        strikes.add(&settings, Strike::Slow, 1.9, NOW);
        let ttl = settings.detect.strike_ttl;
        assert!(strikes.sum(&settings, NOW + ttl) > 1.0);
        let later = NOW + ttl + Duration::from_nanos(1);
        assert!(strikes.sum(&settings, later).abs() < 1e-9);
        strikes.add(&settings, Strike::Slow, 0.4, later);
        assert!((strikes.sum(&settings, later) - 0.4).abs() < 1e-9);
    }
}
