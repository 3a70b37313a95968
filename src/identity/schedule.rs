//! When the next token is fetched. Plain values; times are since 1970, `unit` is a random number of 0 to 1 that
//! keeps many instances from asking in step.

use std::time::Duration;

/// Never sooner than this after a good fetch: the metadata service gives the same token for hours.
const LEAST: Duration = Duration::from_secs(1);
/// The longest pause between failures.
const MOST: Duration = Duration::from_mins(1);

/// After a token that may be used for `left`: at half of that, or up to a tenth of it sooner.
pub(super) fn after_token(now: Duration, left: Duration, unit: f64) -> Duration {
    now + left.mul_f64(0.5 - 0.1 * unit.clamp(0.0, 1.0)).max(LEAST)
}

/// After so many failures without a token between them: 1, 2, 4 ... 60 s, a fifth more or less.
pub(super) fn after_failure(now: Duration, failures: u32, unit: f64) -> Duration {
    let pause = Duration::from_secs(1_u64 << failures.saturating_sub(1).min(16)).min(MOST);
    now + pause.mul_f64(0.8 + 0.4 * unit.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000_000);

    /// Full seconds from now on.
    fn pause(next: Duration) -> u64 {
        (next.saturating_sub(NOW) + Duration::from_millis(500)).as_secs()
    }

    #[test]
    fn a_token_is_renewed_at_half_of_its_life() {
        let day = Duration::from_hours(24);
        assert_eq!(pause(after_token(NOW, day, 0.0)), 43_200);
        assert_eq!(pause(after_token(NOW, day, 1.0)), 34_560);
        assert_eq!(pause(after_token(NOW, Duration::from_secs(4), 0.0)), 2);
        assert_eq!(pause(after_token(NOW, Duration::ZERO, 0.5)), 1, "but not at once");
    }

    #[test]
    fn failures_are_tried_again_sooner_first_and_every_minute_then() {
        let middles: Vec<u64> = (1..=8).map(|n| pause(after_failure(NOW, n, 0.5))).collect();
        assert_eq!(middles, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(after_failure(NOW, u32::MAX, 0.0)), 48);
        assert_eq!(pause(after_failure(NOW, u32::MAX, 1.0)), 72);
    }
}
