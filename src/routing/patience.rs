//! The time-out of an attempt: how long its first content is waited for, and what follows.
//!
//! Models think for minutes, and what thinks cannot be told from what hangs. So the default is no cut: it is evidence,
//! and another attempt may race the first, which goes on to a total bound. It is at least three times the time after
//! which a response of that size is late.
//!
//! A time-out that the operator wrote is a bound, and what exceeds it is cut. Later attempts of the request share it:
//! they have what is left of it, and at least half of it. After a second time-out nothing is tried again.

use std::time::Duration;

/// The longest wait for a first content. Deep research takes tens of minutes.
const TOTAL: Duration = Duration::from_mins(30);
/// The default is at least so many times the time after which a response is late.
const LATE_TIMES: u32 = 3;

/// The time-out of the attempts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit {
    after: Duration,
    kind: Kind,
}

/// What a time-out means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bound,
    Evidence,
}

impl TimeLimit {
    /// What the operator wrote: what exceeds it is cut.
    pub const fn bound(after: Duration) -> Self {
        Self { after, kind: Kind::Bound }
    }

    /// A default: what exceeds it is evidence.
    pub const fn evidence(after: Duration) -> Self {
        Self { after, kind: Kind::Evidence }
    }

    /// Whether what exceeds it is cut.
    pub const fn is_bound(self) -> bool {
        matches!(self.kind, Kind::Bound)
    }

    /// The time-out of one attempt that is dispatched `elapsed` after the first attempt of its request. `late`: after
    /// how long such a response is late, if that was learned.
    pub fn of_attempt(self, late: Option<Duration>, elapsed: Duration) -> Duration {
        let learned = late.map_or(Duration::ZERO, |late| late.saturating_mul(LATE_TIMES));
        let whole = if self.is_bound() { self.after } else { self.after.max(learned) };
        whole.saturating_sub(elapsed).max(whole / 2)
    }

    /// The bound that holds whatever is tried.
    pub fn total(self) -> Duration {
        self.after.max(TOTAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_default_grows_with_what_was_learned_and_a_bound_does_not() {
        let (default, bound) = (TimeLimit::evidence(seconds(240)), TimeLimit::bound(seconds(240)));
        for (late, expected) in [(None, 240), (Some(5), 240), (Some(300), 900)] {
            let late = late.map(seconds);
            assert_eq!(default.of_attempt(late, seconds(0)), seconds(expected));
            assert_eq!(bound.of_attempt(late, seconds(0)), seconds(240));
        }
    }

    #[test]
    fn later_attempts_have_what_is_left_and_at_least_half() {
        let bound = TimeLimit::bound(seconds(60));
        for (elapsed, left) in [(0, 60), (10, 50), (40, 30), (60, 30), (500, 30)] {
            assert_eq!(bound.of_attempt(None, seconds(elapsed)), seconds(left));
        }
    }

    #[test]
    fn the_total_is_never_below_what_was_written() {
        assert_eq!(TimeLimit::evidence(seconds(240)).total(), TOTAL);
        assert_eq!(TimeLimit::bound(seconds(3600)).total(), seconds(3600));
    }
}
