//! The rest that a target takes after a 429. Plain values.
//!
//! For the k-th 429 without a good answer between: what it asked for, at least `2^(k-1)` seconds, at most
//! `limit.max_wait`. Those that were already on their way when the rest began are one refusal together.

use crate::routing::settings::Limit;
use crate::time::Time;
use std::time::Duration;

/// Rests of one target.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rest {
    /// When the last one ends.
    pub(super) until: Time,
    run: u32,
}

impl Rest {
    /// A 429 to a request sent at `sent` that asked for `asked`. Returns the rest that was taken.
    pub(super) fn take(
        &mut self,
        limit: &Limit,
        asked: Option<Duration>,
        (sent, now): (Time, Time),
    ) -> Duration {
        if sent >= self.until {
            self.run = self.run.saturating_add(1);
        }
        let least = Duration::from_secs(1_u64 << self.run.saturating_sub(1).min(16));
        let wait = asked.unwrap_or(limit.default_wait).max(least).min(limit.max_wait);
        self.until = self.until.max(now + wait);
        wait
    }

    /// Takes up a rest that a former process began.
    pub(super) fn resume(&mut self, limit: &Limit, left: Duration, now: Time) {
        if !left.is_zero() {
            self.until = self.until.max(now + left.min(limit.max_wait));
        }
    }

    /// A good answer: the next 429 starts anew.
    pub(super) fn answered(&mut self) {
        self.run = 0;
    }
}
