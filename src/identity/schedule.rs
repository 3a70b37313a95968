//! When the next token is fetched. Plain values; `unit` is a random number of 0 to 1 that
//! keeps many instances from asking in step.

use crate::fetching::LONGEST_PAUSE;
use crate::time::Time;
use std::time::Duration;

/// Never sooner than this after a good fetch: the metadata service gives the same token for hours.
const LEAST: Duration = Duration::from_secs(1);

/// Whether a fetch should begin. Without a usable token no pause is longer than those between failures: the machine may
/// have slept through the end of the last one.
pub(super) fn is_due(due: Time, now: Time, usable: Usable) -> bool {
    due <= now || (usable == Usable::No && due.since(now) > LONGEST_PAUSE.mul_f64(1.2))
}

/// Whether there is a token that a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usable {
    Yes,
    No,
}

/// After a token that may be used for `left`: at half of that, or up to a tenth of it sooner.
pub(super) fn after_token(now: Time, left: Duration, unit: f64) -> Time {
    now + left.mul_f64(0.5 - 0.1 * unit.clamp(0.0, 1.0)).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::ZERO;

    /// Full seconds from now on.
    fn pause(next: Time) -> u64 {
        (next.since(NOW) + Duration::from_millis(500)).as_secs()
    }

    #[test]
    fn without_a_token_no_pause_is_long() {
        let after = |seconds| NOW + Duration::from_secs(seconds);
        for usable in [Usable::Yes, Usable::No] {
            assert!(is_due(NOW, NOW, usable));
            assert!(!is_due(after(72), NOW, usable));
        }
        assert!(!is_due(after(3600), NOW, Usable::Yes));
        assert!(is_due(after(3600), NOW, Usable::No));
    }

    #[test]
    fn a_token_is_renewed_at_half_of_its_life() {
        let day = Duration::from_hours(24);
        assert_eq!(pause(after_token(NOW, day, 0.0)), 43_200);
        assert_eq!(pause(after_token(NOW, day, 1.0)), 34_560);
        assert_eq!(pause(after_token(NOW, Duration::from_secs(4), 0.0)), 2);
        assert_eq!(pause(after_token(NOW, Duration::ZERO, 0.5)), 1, "but not at once");
    }
}
