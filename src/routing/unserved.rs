//! What a target costs that disposes of requests without serving them. Plain values.
//!
//! A target that refuses or fails at once has nothing in flight, and would look like the emptiest of all: one
//! region that answers 400 to everything once took all streamed traffic. So an attempt that ends without a first
//! token before one was due goes on counting in flight, fading with the time that a first token takes there:
//! `ghosts x exp(-t / tau)`, which at an even rate is what it would have had in flight. That leaves it a fair
//! share. The share of the attempts that ended so makes it dearer besides, so that its share falls:
//! `cost x (1 + 3 x share)`, where `share` is a moving average that fades within a minute.
//!
//! Refusals (400, 404, 410) are averaged once more by themselves. Requests bring them along as a rule, and then
//! every target has as many; a target with far more of them than the others is asked by a probe.

use crate::time::Time;
use std::time::Duration;

/// Weight of a new outcome in the averages.
const ALPHA: f64 = 0.15;
/// The share fades with this time constant while nothing comes.
const FADES: Duration = Duration::from_mins(1);
/// How much dearer a target is that serves nothing.
const COST: f64 = 3.0;
/// A target refuses suspiciously much from this share on, and this far above another one.
const MANY_REFUSALS: f64 = 0.5;
const FAR_ABOVE: f64 = 0.4;

/// How an attempt ended, as far as this is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// It was served.
    Yes,
    /// It was refused for what it asks.
    Refused,
    /// It ended in another way before a first token.
    No,
}

/// Ghosts and shares of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Unserved {
    pub(super) ghosts: f64,
    pub(super) share: f64,
    /// When those two were last changed.
    pub(super) at: Time,
    pub(super) refused: f64,
}

impl Unserved {
    /// Records the end of an attempt; `tau_ms` is the time to first token there.
    pub(super) fn ended(&mut self, served: Served, tau_ms: f64, now: Time) {
        let (ghosts, share) = (self.ghosts_now(tau_ms, now), self.share_now(now));
        let toward = |average: f64, is: bool| average + ALPHA * (f64::from(u8::from(is)) - average);
        self.refused = toward(self.refused, served == Served::Refused);
        self.share = toward(share, served != Served::Yes);
        self.ghosts = ghosts + f64::from(u8::from(served != Served::Yes));
        self.at = now;
    }

    /// Attempts that count in flight though they have ended.
    pub(super) fn ghosts_now(&self, tau_ms: f64, now: Time) -> f64 {
        faded(self.ghosts, now.since(self.at).as_secs_f64() * 1000.0 / tau_ms.max(1.0))
    }

    /// The factor on the cost.
    pub(super) fn cost_factor(&self, now: Time) -> f64 {
        1.0 + COST * self.share_now(now)
    }

    fn share_now(&self, now: Time) -> f64 {
        faded(self.share, now.since(self.at).as_secs_f64() / FADES.as_secs_f64())
    }
}

/// Most targets have nothing to fade, and a pick asks every time.
fn faded(value: f64, times: f64) -> f64 {
    if value <= 0.0 { 0.0 } else { value * (-times).exp() }
}

/// Whether a target refuses so much more than another one that serves that the requests are hardly to blame.
pub(super) fn refuses_too_much(refused: f64, others: impl Iterator<Item = f64>) -> bool {
    let least = others.min_by(f64::total_cmp);
    refused >= MANY_REFUSALS && least.is_some_and(|least| refused - least >= FAR_ABOVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::at(Duration::from_millis(millis))
    }

    #[test]
    fn what_is_disposed_of_evenly_counts_as_if_it_were_in_flight() {
        let mut unserved = Unserved::default();
        for n in 0..1_000 {
            unserved.ended(Served::No, 1_000.0, at(100 * n));
        }
        let ghosts = unserved.ghosts_now(1_000.0, at(100_000));
        assert!((9.0..10.5).contains(&ghosts), "ten a second for a second each: {ghosts}");
        assert!(unserved.cost_factor(at(100_000)) > 3.9);
        assert!(unserved.cost_factor(at(400_000)) < 1.1, "it fades");
    }

    #[test]
    fn what_is_served_costs_nothing_more() {
        let mut unserved = Unserved::default();
        for n in 0..100 {
            unserved.ended(Served::Yes, 1_000.0, at(100 * n));
        }
        assert!(unserved.ghosts_now(1_000.0, at(10_000)).abs() < 1e-12);
        assert!((unserved.cost_factor(at(10_000)) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn refusals_are_suspicious_only_beside_targets_that_have_few() {
        let check = |refused: f64, others: &[f64], expected: bool| {
            assert_eq!(
                refuses_too_much(refused, others.iter().copied()),
                expected,
                "{refused} {others:?}"
            );
        };
        check(0.6, &[0.1, 0.1], true);
        check(1.0, &[1.0, 0.1], true);
        check(0.6, &[0.5, 0.4], false);
        check(0.4, &[0.0, 0.0], false);
        check(1.0, &[], false);
    }
}
