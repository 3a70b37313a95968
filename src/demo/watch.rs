//! What one proxy did about the bad region, from readings of it that are taken all the time.
//!
//! A reading holds the number of picks and the region's state, *read in this order*. If the region is
//! degraded after the picks were counted, and has been since it was marked, all picks in between were made
//! while it was degraded. A recovery counts only after the region has healed: what is sent because the proxy
//! believed it too early counts as sent to a degraded region.

use crate::demo::scenario::Phase;
use crate::time::Time;
use std::time::Duration;

/// The bad region as a proxy sees it at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The moment, counted from the first request.
    pub at: Time,
    /// The phase of the demo.
    pub phase: Phase,
    /// How often the region was chosen for a request so far. Probes do not count.
    pub picks: u64,
    /// Whether it is degraded.
    pub degraded: bool,
}

/// What was seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    last: Option<Reading>,
    bad: Option<Mark>,
    healed: Option<Mark>,
    marked: Option<Mark>,
    sent_after_mark: u64,
    back: Option<Mark>,
}

/// A moment, and how many picks there were until then.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Time,
    picks: u64,
}

impl Watch {
    /// Takes the next reading.
    pub fn read(&mut self, reading: Reading) {
        let mark = Mark { at: reading.at, picks: reading.picks };
        self.last = Some(reading);
        if reading.phase == Phase::Healthy {
            return;
        }
        self.bad.get_or_insert(mark);
        if reading.phase == Phase::Healed {
            self.healed.get_or_insert(mark);
        }
        if reading.degraded && self.healed.is_none() {
            self.marked.get_or_insert(mark);
        }
        let (Some(marked), None) = (self.marked, self.back) else { return };
        if reading.degraded || self.healed.is_none() {
            self.sent_after_mark = reading.picks - marked.picks.min(reading.picks);
        } else {
            self.back = Some(mark);
        }
    }

    /// Whether the region is degraded now.
    pub fn is_degraded(&self) -> bool {
        self.last.is_some_and(|reading| reading.degraded)
    }

    /// From when to when the region was bad; up to the last reading if that has not ended.
    pub fn bad_window(&self) -> (Time, Time) {
        let end = self.healed.map(|mark| mark.at).or_else(|| self.last.map(|reading| reading.at));
        let end = end.unwrap_or_default();
        (self.bad.map_or(end, |mark| mark.at), end)
    }

    /// Requests that were sent to the region while it was bad.
    pub fn sent_while_bad(&self) -> u64 {
        let end =
            self.healed.map(|mark| mark.picks).or_else(|| self.last.map(|reading| reading.picks));
        self.bad.zip(end).map_or(0, |(bad, end)| end.saturating_sub(bad.picks))
    }

    /// Requests that were sent to the region after it was marked and before it was back.
    pub fn sent_after_mark(&self) -> u64 {
        self.sent_after_mark
    }

    /// From the beginning of the trouble to the mark.
    pub fn time_to_mark(&self) -> Option<Duration> {
        self.marked.zip(self.bad).map(|(marked, bad)| marked.at.since(bad.at))
    }

    /// From the end of the trouble to the first moment without the mark.
    pub fn time_to_return(&self) -> Option<Duration> {
        self.back.zip(self.healed).map(|(back, healed)| back.at.since(healed.at))
    }

    /// Requests that were sent to the region since it was back.
    pub fn sent_after_return(&self) -> u64 {
        let picks = self.last.map(|reading| reading.picks);
        self.back.zip(picks).map_or(0, |(back, picks)| picks.saturating_sub(back.picks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Phase::{Bad, Healed, Healthy};

    /// A watch after readings of (seconds, phase, picks, degraded).
    fn after(readings: &[(u64, Phase, u64, bool)]) -> Watch {
        let mut watch = Watch::default();
        for &(seconds, phase, picks, degraded) in readings {
            watch.read(Reading { at: at(seconds), phase, picks, degraded });
        }
        watch
    }

    fn at(seconds: u64) -> Time {
        Time::at(Duration::from_secs(seconds))
    }

    #[test]
    fn a_region_that_is_marked_left_alone_and_taken_back() {
        let watch = after(&[
            (0, Healthy, 0, false),
            (9, Bad, 100, false),
            (10, Bad, 115, true),
            (20, Bad, 115, true),
            (30, Healed, 115, true),
            (32, Healed, 117, false),
            (40, Healed, 150, false),
        ]);
        assert_eq!(watch.bad_window(), (at(9), at(30)));
        assert_eq!((watch.sent_while_bad(), watch.sent_after_mark()), (15, 0));
        assert_eq!(watch.time_to_mark(), Some(Duration::from_secs(1)));
        assert_eq!(watch.time_to_return(), Some(Duration::from_secs(2)));
        assert_eq!((watch.sent_after_return(), watch.is_degraded()), (33, false));
    }

    #[test]
    fn a_mark_that_is_lifted_too_early_does_not_excuse_what_is_sent() {
        let watch = after(&[(9, Bad, 10, true), (20, Bad, 25, false), (30, Healed, 25, false)]);
        assert_eq!(watch.sent_after_mark(), 15);
        assert_eq!(watch.time_to_return(), Some(Duration::ZERO));
    }

    #[test]
    fn a_region_that_is_never_marked_has_no_times() {
        let watch = after(&[(9, Bad, 10, false), (30, Healed, 25, false), (40, Healed, 30, true)]);
        assert_eq!((watch.time_to_mark(), watch.time_to_return()), (None, None));
        assert_eq!((watch.sent_while_bad(), watch.sent_after_mark()), (15, 0));
    }

    #[test]
    fn a_region_that_stays_marked_is_not_back() {
        let watch = after(&[(9, Bad, 10, true), (30, Healed, 10, true), (40, Healed, 10, true)]);
        assert_eq!((watch.time_to_return(), watch.sent_after_return()), (None, 0));
        assert!(watch.is_degraded());
    }
}
