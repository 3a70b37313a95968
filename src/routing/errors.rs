//! The recent errors of one target, and what they are worth as evidence. Plain values.
//!
//! One error may be the request's own fault. Two requests that failed since the last good response are the
//! target's, so it is *failing*: passed over while another target is healthy, long before its strikes are enough
//! to trip it. One request at a time may try it again, after a pause that doubles each time; a good response to a
//! request that was sent after the errors ends it at once.
//!
//! An error counts by itself if the request can be tried elsewhere: when it then fails everywhere, it is taken
//! back. An error of a request that could be tried nowhere else, or that failed everywhere, needs a second
//! witness: the error of another credential, or a failed probe of ours. Otherwise one app with a poisonous
//! request would take every region out.

use crate::time::Time;
use std::time::Duration;

/// Errors that are remembered.
const REMEMBERED: usize = 4;
/// An error older than this says nothing about the present.
const WINDOW: Duration = Duration::from_mins(1);
/// Requests that must have failed since the last good response.
const ENOUGH: usize = 2;
/// First pause before one request may try a failing target again, doubled after each that failed there.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Doublings of that pause: at most 32 s.
const MOST_DOUBLINGS: u32 = 5;

/// What backs an error as evidence against its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// The request can be tried elsewhere, which will show whose fault it was.
    Elsewhere,
    /// The request can be tried nowhere else, or failed everywhere: only another witness makes it count.
    Alone,
    /// A probe of ours.
    Probe,
}

/// One error.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenError {
    pub(super) request: u64,
    /// The key or token subject that sent the request.
    pub(super) credential: u64,
    pub(super) backing: Backing,
    pub(super) at: Time,
}

/// Errors since the last good response.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentErrors {
    seen: [Option<SeenError>; REMEMBERED],
    next: usize,
    passed_over_until: Option<Time>,
    pauses: u32,
}

impl RecentErrors {
    /// Records an error. Returns whether it counts as evidence against the target.
    pub(super) fn add(&mut self, error: SeenError) -> bool {
        if let Some(slot) = self.seen.get_mut(self.next) {
            *slot = Some(error);
        }
        self.next = (self.next + 1) % REMEMBERED;
        if self.is_failing(error.at) {
            self.pause(error.at);
        }
        self.counts(&error, error.at)
    }

    /// Records a good response to a request sent at `sent`: errors from before it was sent are over.
    pub(super) fn good(&mut self, sent: Time) {
        for slot in &mut self.seen {
            *slot = slot.filter(|error| error.at > sent);
        }
        if self.seen.iter().all(Option::is_none) {
            *self = Self::default();
        } else if !self.is_failing(sent) {
            (self.passed_over_until, self.pauses) = (None, 0);
        }
    }

    /// Takes back what the errors of a request were worth by themselves: it failed everywhere.
    pub(super) fn forgive(&mut self, request: u64, now: Time) {
        for error in self.seen.iter_mut().flatten().filter(|error| error.request == request) {
            error.backing = Backing::Alone;
        }
        if !self.is_failing(now) {
            (self.passed_over_until, self.pauses) = (None, 0);
        }
    }

    /// Takes the one try that a failing target gets after its pause.
    pub(super) fn take_try(&mut self, now: Time) {
        if self.passed_over_until.is_some_and(|until| until <= now) {
            if self.is_failing(now) {
                self.pause(now);
            } else {
                (self.passed_over_until, self.pauses) = (None, 0);
            }
        }
    }

    /// Whether enough requests have failed since the last good response.
    pub(super) fn is_failing(&self, now: Time) -> bool {
        let mut requests = [0_u64; REMEMBERED];
        let mut found = 0;
        for error in self.recent(now).filter(|error| self.counts(error, now)) {
            let known = requests.iter().take(found).any(|request| *request == error.request);
            if let (false, Some(slot)) = (known, requests.get_mut(found)) {
                *slot = error.request;
                found += 1;
            }
        }
        found >= ENOUGH
    }

    /// Whether it is failing, and a probe of ours has failed as well.
    pub(super) fn is_proven(&self, now: Time) -> bool {
        self.is_failing(now) && self.recent(now).any(|error| error.backing == Backing::Probe)
    }

    /// Until when requests pass it over; `None` while it is not failing. After that moment one may try it.
    pub(super) fn passed_over_until(&self) -> Option<Time> {
        self.passed_over_until
    }

    /// When the last error was that no good response has followed; `None` without one.
    pub(super) fn last_at(&self) -> Option<Time> {
        self.seen.iter().flatten().map(|error| error.at).max()
    }

    fn pause(&mut self, now: Time) {
        if self.passed_over_until.is_some_and(|until| until > now) {
            return;
        }
        let pause = FIRST_PAUSE * 2_u32.pow(self.pauses.min(MOST_DOUBLINGS));
        self.passed_over_until = Some(now + pause);
        self.pauses = self.pauses.saturating_add(1);
    }

    fn recent(&self, now: Time) -> impl Iterator<Item = &SeenError> {
        self.seen.iter().flatten().filter(move |error| now.since(error.at) <= WINDOW)
    }

    fn counts(&self, error: &SeenError, now: Time) -> bool {
        let other_witness = |other: &SeenError| {
            other.backing == Backing::Probe || other.credential != error.credential
        };
        error.backing != Backing::Alone || self.recent(now).any(other_witness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::at(Duration::from_millis(1_000_000 + millis))
    }

    /// An error per letter: of that request, lower case from credential 1, upper case from credential 2; a digit
    /// is a request that can be tried elsewhere, `p` a probe. A second apart each.
    fn after(word: &str) -> RecentErrors {
        let mut errors = RecentErrors::default();
        for (index, letter) in (0_u64..).zip(word.chars()) {
            let backing = match letter {
                'p' => Backing::Probe,
                letter if letter.is_ascii_digit() => Backing::Elsewhere,
                _ => Backing::Alone,
            };
            let credential = if letter.is_ascii_uppercase() { 2 } else { 1 };
            let request = u64::from(u32::from(letter));
            errors.add(SeenError { request, credential, backing, at: at(1_000 * index) });
        }
        errors
    }

    #[test]
    fn two_requests_make_a_target_failing_and_a_lonely_error_needs_a_witness() {
        let check = |word: &str, failing: bool, proven: bool| {
            let errors = after(word);
            let now = at(1_000 * u64::try_from(word.len()).unwrap());
            assert_eq!(
                (errors.is_failing(now), errors.is_proven(now)),
                (failing, proven),
                "{word}"
            );
        };
        check("", false, false);
        check("1", false, false);
        check("11", false, false);
        check("12", true, false);
        check("12p", true, true);
        check("1p", true, true);
        check("p", false, false);
        // One credential alone proves nothing, however often; another one or a probe does.
        check("abcd", false, false);
        check("aB", true, false);
        check("ap", true, true);
        check("ab1", false, false);
        check("a1", false, false);
    }

    #[test]
    fn a_good_response_ends_it_if_it_was_asked_for_after_the_errors() {
        let mut errors = after("12");
        errors.good(at(500));
        assert!(!errors.is_failing(at(2_000)), "one error is left");
        let mut errors = after("12");
        errors.good(Time::at(Duration::from_millis(999_999)));
        assert!(errors.is_failing(at(2_000)), "it was asked for before");
        errors.good(at(1_000));
        assert!(errors.last_at().is_none() && errors.passed_over_until().is_none());
    }

    #[test]
    fn a_request_that_failed_everywhere_is_taken_back() {
        let mut errors = after("12");
        errors.forgive(u64::from(u32::from('2')), at(2_000));
        assert!(!errors.is_failing(at(2_000)) && errors.passed_over_until().is_none());
        assert!(errors.last_at().is_some(), "it is remembered, for a second witness");
    }

    #[test]
    fn one_request_at_a_time_tries_it_again_and_the_pause_doubles() {
        let mut errors = after("12");
        assert_eq!(errors.passed_over_until(), Some(at(2_000)));
        errors.take_try(at(1_500));
        assert_eq!(errors.passed_over_until(), Some(at(2_000)), "it is not yet time");
        errors.take_try(at(2_000));
        assert_eq!(errors.passed_over_until(), Some(at(4_000)));
        errors.take_try(at(4_100));
        assert_eq!(errors.passed_over_until(), Some(at(8_100)));
        errors.take_try(at(100_000));
        assert_eq!(errors.passed_over_until(), None, "the errors are old by now");
    }
}
