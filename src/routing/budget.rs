//! How many retries a pool may afford.
//!
//! A retry storm turns one region's trouble into everybody's. So retries may be at most a share of the
//! requests of the last 60 s (and a small number in any case, or a quiet service could never retry). Attempts
//! that cost nothing upstream (after a 429 or a failed connect) do not ask this budget, nor do those that
//! leave a degraded target for a healthy one: that load goes there anyway, and everybody who was stuck in a
//! frozen region wants to leave it in the same second.
//!
//! Apps share it fairly: each may use the part that its requests are of all, and half of the whole is lent to
//! whoever needs it first. So one app whose requests always fail cannot spend what the others need.

use crate::time::Time;
use std::collections::BTreeMap;
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

#[derive(Clone, Debug, Default)]
struct Slot {
    /// Which ten seconds this slot holds; older content is void.
    epoch: u64,
    all: Counts,
    by_app: BTreeMap<u64, Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u32,
    retries: u32,
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            retries: self.retries.saturating_add(other.retries),
        }
    }
}

impl RetryBudget {
    /// Allows `share` (0 to 1) of the requests of the last 60 s as retries, and `min` in any case.
    pub fn new(share: f64, min: u32) -> Self {
        Self { share, min, window: Mutex::default() }
    }

    /// Counts one request of a client of this app.
    pub fn count_request(&self, app: u64, now: Time) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.current(epoch(now)).add(app, Counts { requests: 1, retries: 0 });
    }

    /// Takes one retry of this app from the budget; false, and nothing taken, when it is spent.
    pub fn take(&self, app: u64, now: Time) -> bool {
        self.take_of(1.0, app, now)
    }

    /// Takes one more attempt at the only target there is. It leaves a twentieth of the share to our own probes of
    /// that target, so that all of it together stays within the share.
    pub fn take_again(&self, app: u64, now: Time) -> bool {
        self.take_of(0.95, app, now)
    }

    fn take_of(&self, part: f64, app: u64, now: Time) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = epoch(now);
        let (mut all, mut own) = (Counts::default(), Counts::default());
        for slot in window.slots.iter().filter(|s| s.epoch.saturating_add(5) >= epoch) {
            all = all.plus(slot.all);
            own = own.plus(slot.by_app.get(&app).copied().unwrap_or_default());
        }
        let granted = self.grants(part, all, own);
        if granted {
            window.current(epoch).add(app, Counts { requests: 0, retries: 1 });
        }
        granted
    }

    /// Whether one more is within the whole budget, and within the app's own part or the half that is lent.
    fn grants(&self, part: f64, all: Counts, own: Counts) -> bool {
        let share = part * self.share;
        let allowed = (f64::from(all.requests) * share).max(f64::from(self.min));
        let of_all = f64::from(own.requests.max(1)) / f64::from(all.requests.max(1));
        let (spent, own_spent) = (f64::from(all.retries) + 1.0, f64::from(own.retries) + 1.0);
        spent <= allowed && (own_spent <= (allowed * of_all).ceil() || spent <= allowed / 2.0)
    }
}

impl Window {
    /// The slot of this epoch, emptied if it still held an older one.
    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
    fn current(&mut self, epoch: u64) -> &mut Slot {
        let index = usize::try_from(epoch % SLOT_COUNT).unwrap_or(0);
        let slot = &mut self.slots[index];
        if slot.epoch != epoch {
            *slot = Slot { epoch, ..Slot::default() };
        }
        slot
    }
}

impl Slot {
    fn add(&mut self, app: u64, counts: Counts) {
        self.all = self.all.plus(counts);
        let own = self.by_app.entry(app).or_default();
        *own = own.plus(counts);
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
        let granted = (0..10).filter(|_| budget.take(1, at(1))).count();
        assert_eq!(granted, 3);
    }

    #[test]
    fn a_busy_pool_may_retry_its_share() {
        let budget = RetryBudget::new(0.1, 3);
        for n in 0..600 {
            budget.count_request(1, at(n / 20));
        }
        let granted = (0..100).filter(|_| budget.take(1, at(29))).count();
        assert_eq!(granted, 60);
    }

    #[test]
    fn an_app_that_always_fails_leaves_the_others_their_part() {
        let budget = RetryBudget::new(0.1, 3);
        for n in 0..600 {
            budget.count_request(u64::from(n % 4 == 0), at(n / 20));
        }
        // Of 60, half are lent to it beside nothing of its own: its quarter is less.
        let greedy = (0..100).filter(|_| budget.take(1, at(29))).count();
        assert_eq!(greedy, 30);
        let others = (0..100).filter(|_| budget.take(0, at(29))).count();
        assert_eq!(others, 30);
    }

    #[test]
    fn what_was_spent_comes_back_after_a_minute() {
        let budget = RetryBudget::new(0.0, 2);
        assert!(budget.take(1, at(5)) && budget.take(1, at(5)) && !budget.take(1, at(59)));
        assert!(budget.take(1, at(60)), "the ten seconds of the first two are over");
    }
}
