//! The rate of requests that a target serves, learned from what it accepts and refuses (AIMD). Plain values.
//!
//! Accepted are requests that were sent and not refused: a response may take a minute, a refusal comes at once.
//! While nothing is refused there is no pace. Once two different requests were refused, the target is paced at what
//! it accepted lately; each refusal of what the pace let through lowers it by a twentieth, twice in a few seconds
//! by more, and never for what was sent before the last cut. In between it grows evenly, by a hundredth of the
//! last good rate a second; after ten seconds without a refusal by a fifth of itself, since then the cut was too
//! deep; and it is forgotten a minute after the last cut.
//!
//! What a target closes for is kept in `rest`; what it closed for does not count here: a trickle that is refused
//! says that it is closed, not that the rate was too high, and the time in which it was closed is no time of
//! serving little.

use crate::time::Time;
use std::time::Duration;

/// The time constants of the measured rate, seconds: the higher counts. The short one sees that there is more to do
/// than before, the long one that there is little.
const SPANS: [f64; 2] = [2.0, 10.0];
/// Below this many requests in it a target was idle, and measuring starts anew.
const IDLE: f64 = 0.05;
/// The pace after a cut, in parts of the one before; the second if the cut before is younger than [`SOON`].
const CUT: f64 = 0.95;
const CUT_AGAIN: f64 = 0.92;
const SOON: Duration = Duration::from_secs(5);
/// A pace above what is served is no measure of the target: it counts as at most so many times that.
const ABOVE: f64 = 1.25;
/// Growth in a second, in parts of the last good rate; after [`PATIENCE`] in parts of the pace.
const GROWTH: f64 = 0.01;
const GROWTH_LATER: f64 = 0.2;
const PATIENCE: Duration = Duration::from_secs(10);
/// A pace is forgotten so long after the last cut.
const LASTS: Duration = Duration::from_mins(1);
/// The lowest pace: requests in a second.
const LEAST: f64 = 0.2;
/// The trickle: at most this part of the last good rate, at least one request in [`TRICKLE_MOST`].
const TRICKLE_SHARE: f64 = 0.05;
const TRICKLE_LEAST: Duration = Duration::from_millis(100);
const TRICKLE_MOST: Duration = Duration::from_secs(5);

/// The rate of one target.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ServedRate {
    /// Requests that were accepted so far, at the last look.
    accepted: u64,
    /// When that was.
    at: Time,
    /// Since when the rate is measured.
    since: Time,
    /// Requests accepted, each weighted by its age.
    levels: [f64; 2],
    /// The last rate that was served without a refusal.
    good: f64,
    pace: Option<Pace>,
}

/// Whether a target was there for requests of the usual size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    /// It rested.
    Closed,
}

/// The rate that is not exceeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Requests in a second.
    pub(super) rate: f64,
    /// Requests smaller than this are not paced: none of them was refused.
    pub(super) size: u64,
    cut_at: Time,
}

impl Pace {
    /// When it is forgotten.
    pub(super) fn until(&self) -> Time {
        self.cut_at + LASTS
    }

    /// The time between two requests.
    pub(super) fn every(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.rate.max(LEAST)).unwrap_or(TRICKLE_MOST)
    }
}

/// A refusal that says something of the rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// The size of what was refused.
    pub(super) size: u64,
    /// When it was sent.
    pub(super) sent: Time,
    /// Whether another request was refused, too, and none of that size was served in between.
    pub(super) confirmed: bool,
}

impl ServedRate {
    /// Takes note of how many requests were accepted so far, and how the target was since the last look.
    pub(super) fn look(&mut self, accepted: u64, door: Door, now: Time) {
        let passed = now.since(self.at);
        let came = difference(accepted, self.accepted);
        if door == Door::Open {
            self.measure(came, passed, now);
            self.grow(came, passed, now);
        } else {
            self.since = self.since + passed;
            self.levels = self.levels.map(|level| (level + came).max(0.0));
        }
        (self.accepted, self.at) = (accepted, now);
    }

    fn measure(&mut self, came: f64, passed: Duration, now: Time) {
        // Of a longer time it is not known when they came: as if in the last second.
        let span = passed.as_secs_f64().min(1.0);
        if self.levels.iter().all(|level| *level < IDLE) {
            self.since = Time::at(now.since(Time::at(passed.min(Duration::from_secs(1)))));
        }
        for (level, of) in self.levels.iter_mut().zip(SPANS) {
            let weight = if span > 0.0 { -(-span / of).exp_m1() * of / span } else { 1.0 };
            let kept = *level * (-passed.as_secs_f64() / of).exp();
            *level = (kept + came * weight).max(0.0);
        }
    }

    fn grow(&mut self, came: f64, passed: Duration, now: Time) {
        let Some(pace) = self.pace.as_mut().filter(|_| came > 0.0) else { return };
        let late = now.since(pace.cut_at) > PATIENCE;
        let more = if late { GROWTH_LATER * pace.rate } else { GROWTH * self.good };
        pace.rate += more * passed.as_secs_f64().min(1.0);
    }

    /// What was accepted lately, requests in a second.
    pub(super) fn served(&self) -> f64 {
        let age = self.at.since(self.since).as_secs_f64().max(0.1);
        let rates = self.levels.iter().zip(SPANS);
        rates.map(|(level, of)| level / (of * -(-age / of).exp_m1())).fold(0.0, f64::max)
    }

    /// A request was refused while the target was open for it. Look before.
    pub(super) fn cut(&mut self, cut: &Cut, now: Time) {
        let served = self.served().max(LEAST);
        let Some(pace) = self.pace(now) else {
            self.good = served;
            let pace = Pace { rate: served, size: cut.size, cut_at: now };
            self.pace = Some(pace).filter(|_| cut.confirmed);
            return;
        };
        let size = pace.size.min(cut.size);
        self.pace = Some(Pace { size, ..pace });
        if cut.sent > pace.cut_at {
            let soon = now.since(pace.cut_at) < SOON;
            self.good = pace.rate.min(ABOVE * served);
            let rate = self.good * if soon { CUT_AGAIN } else { CUT };
            self.pace = Some(Pace { rate: rate.max(LEAST), size, cut_at: now });
        }
    }

    /// The pace, if there is one.
    pub(super) fn pace(&self, now: Time) -> Option<Pace> {
        self.pace.filter(|pace| now < pace.until())
    }

    /// The time from one request of the trickle to the next.
    pub(super) fn trickle_every(&self) -> Duration {
        let every = Duration::try_from_secs_f64(1.0 / (TRICKLE_SHARE * self.good));
        every.unwrap_or(TRICKLE_MOST).clamp(TRICKLE_LEAST, TRICKLE_MOST)
    }
}

/// What was refused after it had been counted makes it negative.
fn difference(now: u64, before: u64) -> f64 {
    let count = |of: u64| f64::from(u32::try_from(of).unwrap_or(u32::MAX));
    count(now.saturating_sub(before)) - count(before.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target of which `rate` requests a second were accepted for so many seconds.
    fn served(rate: u64, seconds: u64) -> (ServedRate, Time, u64) {
        let (mut learned, mut now, mut accepted) = (ServedRate::default(), Time::ZERO, 0);
        pass(&mut learned, (&mut now, &mut accepted), rate, seconds);
        (learned, now, accepted)
    }

    fn pass(
        learned: &mut ServedRate,
        (now, accepted): (&mut Time, &mut u64),
        rate: u64,
        seconds: u64,
    ) {
        for _ in 0..seconds {
            *now = *now + Duration::from_secs(1);
            *accepted += rate;
            learned.look(*accepted, Door::Open, *now);
        }
    }

    fn refused(sent: Time) -> Cut {
        Cut { size: 0, sent, confirmed: true }
    }

    fn rate(learned: &ServedRate, now: Time) -> f64 {
        learned.pace(now).unwrap().rate
    }

    #[test]
    fn the_measured_rate_is_the_rate() {
        for seconds in [1, 3, 60] {
            let (learned, ..) = served(20, seconds);
            assert!((learned.served() - 20.0).abs() < 0.1, "{seconds}: {}", learned.served());
        }
    }

    #[test]
    fn one_refusal_is_no_pace_and_two_are_the_served_rate() {
        let (mut learned, now, _) = served(20, 9);
        learned.cut(&Cut { confirmed: false, ..refused(now) }, now);
        assert_eq!(learned.pace(now), None);
        learned.cut(&refused(now), now);
        assert!((rate(&learned, now) - 20.0).abs() < 0.1);
    }

    #[test]
    fn a_refusal_cuts_once_for_what_was_sent_before() {
        let (mut learned, mut now, mut accepted) = served(20, 9);
        learned.cut(&refused(now), now);
        pass(&mut learned, (&mut now, &mut accepted), 20, 6);
        let before = rate(&learned, now);
        for _ in 0..8 {
            learned.cut(&refused(now), now);
        }
        // The first of them alone: the others were under way by then.
        let sent = Time::from_nanos(now.nanos() - 1);
        let cut = rate(&learned, now);
        learned.cut(&refused(sent), now);
        assert!(cut < before && (rate(&learned, now) - cut).abs() < 1e-9);
    }

    #[test]
    fn it_grows_evenly_and_then_faster_and_is_forgotten() {
        let (mut learned, mut now, mut accepted) = served(20, 9);
        learned.cut(&refused(now), now);
        pass(&mut learned, (&mut now, &mut accepted), 20, 10);
        assert!((rate(&learned, now) - 22.0).abs() < 0.1, "{}", rate(&learned, now));
        pass(&mut learned, (&mut now, &mut accepted), 20, 10);
        assert!(rate(&learned, now) > 100.0);
        pass(&mut learned, (&mut now, &mut accepted), 20, 40);
        assert_eq!(learned.pace(now), None);
    }

    #[test]
    fn time_in_which_it_was_closed_is_no_time_of_serving_little() {
        let (mut learned, mut now, accepted) = served(20, 9);
        for _ in 0..30 {
            now = now + Duration::from_secs(1);
            learned.look(accepted, Door::Closed, now);
        }
        assert!((learned.served() - 20.0).abs() < 0.1, "{}", learned.served());
    }

    #[test]
    fn the_trickle_is_a_twentieth_and_one_in_five_seconds_at_least() {
        for (of, every_ms) in [(0, 5_000), (2, 5_000), (20, 1_000), (100, 200), (5_000, 100)] {
            let learned = ServedRate { good: f64::from(of), ..ServedRate::default() };
            assert_eq!(learned.trickle_every(), Duration::from_millis(every_ms), "{of}");
        }
    }
}
