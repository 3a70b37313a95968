//! When a conversation is ended by us: decided on plain times since its beginning.

use crate::azure::realtime::frames::{GOING_AWAY, POLICY};
use std::time::Duration;

/// A draining process ends a conversation once its backend was silent for this long: no answer is cut short.
const QUIET: Duration = Duration::from_secs(1);
/// It does so after this time at the latest, so that the drain is not spent on those who never fall silent.
const QUIET_WITHIN: Duration = Duration::from_secs(10);
/// How long both ends have, once they are told, to take the close frame and to answer it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why we end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Nothing passed for too long.
    Idle,
    /// It is as old as one may be.
    Total,
    /// The process drains.
    Drain,
}

impl Why {
    /// The word for the log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Total => "expired",
            Self::Drain => "drained",
        }
    }

    /// The code and the reason of the close frame.
    pub(super) const fn close(self) -> (u16, &'static str) {
        match self {
            Self::Idle => (GOING_AWAY, "nothing was said for too long"),
            Self::Total => (POLICY, "the session is as long as one may be; open a new one"),
            Self::Drain => (GOING_AWAY, "going away; connect again"),
        }
    }
}

/// How far a conversation is. All times are since its beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    idle: Duration,
    total: Duration,
    /// When a byte last passed, in either direction.
    moved: Duration,
    /// When one last came from the backend.
    said: Duration,
    /// While the process drains: when it ends at the latest.
    drain: Option<Duration>,
    /// Once both ends are told: why, and until when they are waited for.
    told: Option<(Why, Duration)>,
}

impl Course {
    pub(super) fn new(idle: Duration, total: Duration) -> Self {
        let (moved, said) = (Duration::ZERO, Duration::ZERO);
        Self { idle, total, moved, said, drain: None, told: None }
    }

    /// A byte passed from the client.
    pub(super) fn asked(&mut self, now: Duration) {
        self.moved = now;
    }

    /// A byte passed from the backend.
    pub(super) fn said(&mut self, now: Duration) {
        (self.moved, self.said) = (now, now);
    }

    /// The process drains, for at most `limit`.
    pub(super) fn drain(&mut self, now: Duration, limit: Duration) {
        self.drain = Some(now + QUIET_WITHIN.min(limit / 2));
    }

    /// Both ends are told.
    pub(super) fn tell(&mut self, why: Why, now: Duration) {
        self.told = Some((why, now + FAREWELL));
    }

    /// Why both ends were told.
    pub(super) fn told(&self) -> Option<Why> {
        self.told.map(|(why, _)| why)
    }

    /// Why both ends are to be told now.
    pub(super) fn due(&self, now: Duration) -> Option<Why> {
        let (why, at) = self.ends();
        (self.told.is_none() && now >= at).then_some(why)
    }

    /// Whether they were waited for long enough.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        self.told.is_some_and(|(_, until)| now >= until)
    }

    /// When to look again, if nothing passes.
    pub(super) fn next(&self) -> Duration {
        self.told.map_or_else(|| self.ends().1, |(_, until)| until)
    }

    /// What ends it first, and when.
    fn ends(&self) -> (Why, Duration) {
        let limits = [(Why::Total, self.total), (Why::Idle, self.moved.saturating_add(self.idle))];
        let drain = self.drain.map(|latest| (Why::Drain, latest.min(self.said + QUIET)));
        let first = limits.into_iter().chain(drain).min_by_key(|(_, at)| *at);
        first.unwrap_or((Why::Total, self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_ends_it_and_any_byte_puts_that_off() {
        let mut course = Course::new(s(60), s(3_600));
        assert_eq!((course.due(s(59)), course.next()), (None, s(60)));
        assert_eq!(course.due(s(60)), Some(Why::Idle));
        course.asked(s(50));
        assert_eq!((course.due(s(60)), course.next()), (None, s(110)));
        course.said(s(100));
        assert_eq!((course.due(s(159)), course.due(s(160))), (None, Some(Why::Idle)));
    }

    #[test]
    fn its_age_ends_it_however_much_is_said() {
        let mut course = Course::new(s(60), s(100));
        course.said(s(99));
        assert_eq!((course.due(s(99)), course.next()), (None, s(100)));
        assert_eq!(course.due(s(100)), Some(Why::Total));
    }

    #[test]
    fn a_drain_waits_for_a_quiet_moment_and_not_for_ever() {
        let mut course = Course::new(s(600), s(3_600));
        course.said(s(9));
        course.drain(s(30), s(300));
        assert_eq!(course.due(s(30)), Some(Why::Drain), "it was quiet already");
        course.said(s(30));
        assert_eq!((course.due(s(30)), course.next()), (None, s(31)));
        course.asked(s(31));
        assert_eq!(course.due(s(31)), Some(Why::Drain), "what the client says is no answer");
        course.said(s(40));
        assert_eq!(course.due(s(40)), Some(Why::Drain), "ten seconds are over");
        let mut short = Course::new(s(600), s(3_600));
        short.said(s(30));
        short.drain(s(30), s(1));
        assert_eq!(short.next(), s(30) + Duration::from_millis(500), "half of the drain");
    }

    #[test]
    fn once_told_both_ends_have_a_moment() {
        let mut course = Course::new(s(60), s(3_600));
        course.tell(Why::Idle, s(60));
        assert_eq!(
            (course.due(s(61)), course.told(), course.next()),
            (None, Some(Why::Idle), s(62))
        );
        assert!(!course.is_over(s(61)) && course.is_over(s(62)));
    }
}
