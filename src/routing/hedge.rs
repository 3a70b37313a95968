//! How many prompt tokens hedges may spend.
//!
//! A hedge costs its prompt again, and a pool in which everything is late would hedge everything. So hedges
//! live on a share of the tokens that were asked for in the last minutes, with a small reserve so that a
//! quiet service can hedge its first request.

use crate::routing::settings::Hedge;
use crate::time::Time;
use std::sync::{Mutex, PoisonError};

/// The budget of one model. One short lock per request, never held across an await.
#[derive(Debug)]
pub(super) struct HedgeBudget {
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    /// What came in lately: a sum that fades with the time of `burst`.
    accrued: f64,
    at: Time,
    spent: f64,
}

impl HedgeBudget {
    pub(super) fn new(hedge: &Hedge) -> Self {
        let start = hedge.burst_min_tokens;
        Self {
            bucket: Mutex::new(Bucket { tokens: start, accrued: 0.0, at: Time::ZERO, spent: 0.0 }),
        }
    }

    /// A request with a prompt of so many tokens came.
    pub(super) fn accrue(&self, hedge: &Hedge, prompt_tokens: u64, now: Time) {
        self.with(|bucket| {
            let income = hedge.budget_share * tokens(prompt_tokens);
            let idle = now.since(bucket.at).as_secs_f64();
            let burst = hedge.burst.as_secs_f64().max(1e-3);
            bucket.accrued = bucket.accrued * (-idle / burst).exp() + income;
            bucket.at = bucket.at.max(now);
            let most = bucket.accrued.max(hedge.burst_min_tokens);
            bucket.tokens = (bucket.tokens + income).min(most);
        });
    }

    /// Takes the cost of one hedge; false, and nothing taken, when there is not enough.
    pub(super) fn take(&self, prompt_tokens: u64) -> bool {
        let cost = tokens(prompt_tokens);
        self.with(|bucket| {
            let enough = bucket.tokens >= cost;
            if enough {
                bucket.tokens -= cost;
                bucket.spent += cost;
            }
            enough
        })
    }

    /// Gives back what one hedge took that was not sent.
    pub(super) fn give_back(&self, prompt_tokens: u64) {
        let cost = tokens(prompt_tokens);
        self.with(|bucket| {
            bucket.tokens += cost;
            bucket.spent = (bucket.spent - cost).max(0.0);
        });
    }

    /// Tokens left, and tokens spent since the start.
    pub(super) fn left_and_spent(&self) -> (f64, f64) {
        self.with(|bucket| (bucket.tokens, bucket.spent))
    }

    fn with<R>(&self, change: impl FnOnce(&mut Bucket) -> R) -> R {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut bucket);
        debug_assert!(bucket.tokens >= 0.0 && bucket.accrued >= 0.0, "{bucket:?}");
        result
    }
}

/// Prompts are far below the 2^32 tokens above which this is not exact.
fn tokens(count: u64) -> f64 {
    u32::try_from(count).map_or(4_294_967_295.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::settings::Settings;
    use std::time::Duration;

    #[test]
    fn a_quiet_service_has_its_reserve_and_no_more() {
        let hedge = Settings::lookout().hedge;
        let budget = HedgeBudget::new(&hedge);
        let granted = (0..100).filter(|_| budget.take(1000)).count();
        assert_eq!(granted, 20);
        assert_eq!(budget.left_and_spent(), (0.0, 20_000.0));
    }

    #[test]
    fn a_busy_service_may_spend_its_share_and_saves_up_ten_minutes() {
        let hedge = Settings::lookout().hedge;
        let budget = HedgeBudget::new(&hedge);
        // Ten a second of 1,000 tokens accrue 500 tokens a second.
        for n in 0..72_000 {
            budget.accrue(&hedge, 1000, Time::at(Duration::from_millis(100 * n)));
        }
        let (left, _) = budget.left_and_spent();
        assert!((290_000.0..310_000.0).contains(&left), "ten minutes of accrual: {left}");
    }

    #[test]
    fn a_prompt_that_costs_more_than_is_left_takes_nothing() {
        let budget = HedgeBudget::new(&Settings::lookout().hedge);
        assert!(!budget.take(20_001));
        assert!(budget.take(20_000) && !budget.take(1));
    }
}
