//! Refusals for want of room, or of anybody who could serve: when to come back, and the count of them.

use crate::azure::error::ClientError;
use crate::azure::overload::Shed;
use crate::live::Live;
use crate::proxy::admitted::Services;
use crate::quota::{Held, Scarce};
use crate::rng::Rng;
use std::sync::Arc;
use std::time::Duration;

/// Answers take seconds: sooner nothing will have changed.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// Those who are refused together do not come back together.
const SPREAD: Duration = Duration::from_secs(3);

/// Retry-After of other 503s: long enough to let a region recover a little, short enough to be kept to.
pub(super) const COME_BACK: Duration = Duration::from_secs(5);

/// Our answer when no attempt came to anything.
pub(super) const fn come_back() -> ClientError {
    ClientError::NothingLeft { retry_after: COME_BACK }
}

/// When it is worth asking again.
fn retry_after(rng: &mut Rng) -> Duration {
    SOON + SPREAD.mul_f64(rng.unit())
}

/// The refusal while every target is limited: the first has room after `wait`. Those who are told the same wait come
/// back over a second or a quarter of it more, never before.
pub(super) fn limited(wait: Duration, rng: &mut Rng) -> ClientError {
    let spread = (wait / 4).max(SOON);
    ClientError::AllLimited { retry_after: wait + spread.mul_f64(rng.unit()) }
}

/// The refusal for that want.
pub(super) fn refuse(shed: Shed, rng: &mut Rng) -> ClientError {
    ClientError::Overloaded { shed, retry_after: retry_after(rng) }
}

/// Takes a place among all requests of this process.
pub(super) fn enter(app: &Arc<str>, live: &Live) -> Result<Held, ClientError> {
    live.places().take(app, 1).map_err(|scarce| {
        let shed = match scarce {
            Scarce::Everything => Shed::Concurrent,
            Scarce::Share => Shed::Share,
        };
        refuse(shed, &mut live.rng())
    })
}

/// Every target is full. Counted here: it is found out in more than one place.
pub(super) fn targets(services: &Services) -> ClientError {
    services.telemetry.metrics.shed.with_label_values(&[Shed::Targets.as_str()]).inc();
    refuse(Shed::Targets, &mut services.live.rng())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_are_limited_come_back_no_sooner_and_not_together() {
        let mut rng = Rng::from_seed(1);
        for (wait_ms, most_ms) in [(50, 1_050), (40_000, 50_000)] {
            let wait = Duration::from_millis(wait_ms);
            let mut told = Vec::new();
            for _ in 0..100 {
                let refusal = limited(wait, &mut rng);
                let ms = refusal.retry_after_ms().unwrap();
                assert!((u64::try_from(wait.as_millis()).unwrap()..=most_ms).contains(&ms));
                told.push(ms);
            }
            told.sort_unstable();
            told.dedup();
            assert!(told.len() > 90, "{}", told.len());
        }
    }

    #[test]
    fn those_who_are_refused_come_back_at_different_times() {
        let mut rng = Rng::from_seed(1);
        let drawn: Vec<Duration> = (0..1_000).map(|_| retry_after(&mut rng)).collect();
        assert!(drawn.iter().all(|time| (SOON..SOON + SPREAD).contains(time)));
        for second in 1..4 {
            let within = drawn.iter().filter(|time| time.as_secs() == second).count();
            assert!((250..420).contains(&within), "{within} in second {second}");
        }
    }
}
