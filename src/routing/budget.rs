//! How many retries a pool may afford.
//!
//! A retry storm turns one region's trouble into everybody's. So retries may be at most a share of the
//! requests of the last 60 s (and a small number in any case, or a quiet service could never retry). Attempts
//! that cost nothing upstream (after a 429 or a failed connect) do not ask this budget, nor do those that
//! leave a degraded target for a healthy one: that load goes there anyway, and everybody who was stuck in a
//! frozen region wants to leave it in the same second.

use crate::time::Time;
use std::sync::{Mutex, PoisonError};

const SLOTS: usize = 6;
const SLOT_COUNT: u64 = 6;
const SLOT_SECONDS: u64 = 10;

/// Counts requests and retries of the last minute. One short lock per request, never held across an await.
#[derive(Debug)]
pub struct RetryBudget {
    share: f64,
    min: u32,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Which ten seconds this slot holds; older content is void.
    epoch: u64,
    requests: u32,
    retries: u32,
}

impl RetryBudget {
    /// Allows `share` (0 to 1) of the requests of the last 60 s as retries, and `min` in any case.
    pub fn new(share: f64, min: u32) -> Self {
        Self { share, min, window: Mutex::default() }
    }

    /// Counts one client request.
    pub fn count_request(&self, now: Time) {
        self.with_slot(now, |slot| slot.requests = slot.requests.saturating_add(1));
    }

    /// Takes one retry from the budget; false, and nothing taken, when it is spent.
    pub fn take(&self, now: Time) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = epoch(now);
        let (mut requests, mut retries) = (0_u32, 0_u32);
        for slot in window.slots.iter().filter(|s| s.epoch.saturating_add(5) >= epoch) {
            requests = requests.saturating_add(slot.requests);
            retries = retries.saturating_add(slot.retries);
        }
        let allowed = (f64::from(requests) * self.share).max(f64::from(self.min));
        if f64::from(retries) + 1.0 > allowed {
            return false;
        }
        let slot = window.current(epoch);
        slot.retries = slot.retries.saturating_add(1);
        true
    }

    fn with_slot(&self, now: Time, change: impl FnOnce(&mut Slot)) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        change(window.current(epoch(now)));
    }
}

impl Window {
    /// The slot of this epoch, emptied if it still held an older one.
    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
    fn current(&mut self, epoch: u64) -> &mut Slot {
        let index = usize::try_from(epoch % SLOT_COUNT).unwrap_or(0);
        let slot = &mut self.slots[index];
        if slot.epoch != epoch {
            *slot = Slot { epoch, requests: 0, retries: 0 };
        }
        slot
    }
}

/// Ten-second steps, from 1 so that a fresh slot (epoch 0) is never current.
fn epoch(now: Time) -> u64 {
    now.since(Time::ZERO).as_secs() / SLOT_SECONDS + SLOT_COUNT
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Time {
        Time::at(Duration::from_secs(seconds))
    }

    #[test]
    fn a_quiet_pool_may_retry_its_minimum_and_no_more() {
        let budget = RetryBudget::new(0.1, 3);
        let granted = (0..10).filter(|_| budget.take(at(1))).count();
        assert_eq!(granted, 3);
    }

    #[test]
    fn a_busy_pool_may_retry_its_share() {
        let budget = RetryBudget::new(0.1, 3);
        for n in 0..600 {
            budget.count_request(at(n / 20));
        }
        let granted = (0..100).filter(|_| budget.take(at(29))).count();
        assert_eq!(granted, 60);
    }

    #[test]
    fn what_was_spent_comes_back_after_a_minute() {
        let budget = RetryBudget::new(0.0, 2);
        assert!(budget.take(at(5)) && budget.take(at(5)) && !budget.take(at(59)));
        assert!(budget.take(at(60)), "the ten seconds of the first two are over");
    }
}
