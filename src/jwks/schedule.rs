//! When signing keys are fetched next. Plain values; `unit` is a random number of 0 to 1 that keeps many instances
//! from asking in step.

use crate::live::KeyCourse;
use crate::time::Time;
use std::time::Duration;

/// Entra asks for a look about once a day, and says so in `max-age`. Every hour costs nothing, and a key that was
/// withdrawn is then refused within it.
const USUAL: Duration = Duration::from_hours(1);
/// However short `max-age` is.
const LEAST: Duration = Duration::from_mins(5);
/// Unknown key ids bring a fetch forward at most so often.
const WANTED_INTERVAL: Duration = Duration::from_secs(30);

/// Whether a fetch should begin without a wish for it.
pub(super) fn is_due(course: &KeyCourse, now: Time) -> bool {
    course.due <= now
}

/// Whether a fetch may begin because a token named a key that is not there.
pub(super) fn may_be_wanted(course: &KeyCourse, now: Time) -> bool {
    course.last_wanted.is_none_or(|at| now.since(at) >= WANTED_INTERVAL)
}

/// After keys came, with the `max-age` of their answer: up to a tenth sooner than asked.
pub(super) fn after_keys(now: Time, max_age: Option<Duration>, unit: f64) -> Time {
    let pause = max_age.unwrap_or(USUAL).clamp(LEAST, USUAL);
    now + pause.mul_f64(1.0 - 0.1 * unit.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::at(Duration::from_secs(seconds))
    }

    #[test]
    fn keys_are_fetched_every_hour_or_sooner_if_asked() {
        let pause = |max_age: Option<u64>, unit| {
            after_keys(at(0), max_age.map(Duration::from_secs), unit).since(at(0)).as_secs()
        };
        assert_eq!((pause(None, 0.0), pause(None, 1.0)), (3600, 3240));
        assert_eq!(pause(Some(86_400), 0.0), 3600);
        assert_eq!(pause(Some(600), 0.0), 600);
        assert_eq!(pause(Some(0), 0.0), 300);
    }

    #[test]
    fn unknown_keys_bring_one_fetch_forward_in_thirty_seconds() {
        let course = |last_wanted| KeyCourse { due: at(1000), last_wanted, ..KeyCourse::default() };
        assert!(!is_due(&course(None), at(999)));
        assert!(is_due(&course(None), at(1000)));
        assert!(may_be_wanted(&course(None), at(1)));
        assert!(!may_be_wanted(&course(Some(at(1))), at(30)));
        assert!(may_be_wanted(&course(Some(at(1))), at(31)));
        assert!(is_due(&KeyCourse::default(), at(0)), "never fetched: at once");
    }
}
