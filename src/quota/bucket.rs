//! One limit per minute: a bucket that holds a minute's worth and fills at an even rate.

use crate::time::Time;
use std::time::Duration;

/// What every limit is counted by; also the wait that a limit of nothing names.
const MINUTE: Duration = Duration::from_mins(1);

/// The level counts in this part of a unit, the nanoseconds of a minute: then a nanosecond's income is the
/// limit itself, a whole number, and nothing is ever rounded.
const PARTS: i128 = 60_000_000_000;

/// Units that may be taken, and when the level was true.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    limit: u32,
    /// From minus one minute's worth (debt) to one minute's worth.
    level: i128,
    at: Time,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(limit: u32, now: Time) -> Self {
        Self { limit, level: parts(limit.into()), at: now }
    }

    /// The same use under another limit.
    pub(super) fn change(&mut self, limit: u32, now: Time) {
        self.fill(now);
        let used = self.most() - self.level;
        self.limit = limit;
        self.set(self.most() - used);
    }

    /// Takes `units`, or all that a full bucket holds if they are more than that. Returns what was taken, or
    /// how long it takes to be enough, and then nothing is taken.
    pub(super) fn take(&mut self, units: u64, now: Time) -> Result<u64, Duration> {
        self.fill(now);
        let cost = units.min(self.limit.into());
        // A limit of nothing is never enough.
        let missing = if self.limit == 0 { PARTS } else { parts(cost) - self.level };
        if missing > 0 {
            return Err(self.income_takes(missing));
        }
        self.level -= parts(cost);
        Ok(cost)
    }

    /// What was taken for `taken` units was in truth `actual` units.
    pub(super) fn settle(&mut self, taken: u64, actual: u64, now: Time) {
        self.fill(now);
        self.set(self.level + parts(taken) - parts(actual));
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Whole units that may be taken.
    pub(super) fn remaining(&self) -> u32 {
        u32::try_from(self.level / PARTS).unwrap_or(0)
    }

    /// How long it takes to be full, if nothing is taken.
    pub(super) fn full_in(&self) -> Duration {
        self.income_takes(self.most() - self.level)
    }

    /// Brings the level up to `now`. A moment that has passed already changes nothing.
    pub(super) fn fill(&mut self, now: Time) {
        let nanos = now.nanos().saturating_sub(self.at.nanos());
        self.at = self.at.max(now);
        self.set(self.level + i128::from(self.limit) * i128::from(nanos));
    }

    fn most(&self) -> i128 {
        parts(self.limit.into())
    }

    /// Debt is bounded: a mistaken estimate shuts nobody out for more than a minute.
    fn set(&mut self, level: i128) {
        self.level = level.clamp(-self.most(), self.most());
    }

    /// In nanoseconds, rounded up: then it has come in. At most two minutes.
    fn income_takes(&self, parts: i128) -> Duration {
        let income = i128::from(self.limit);
        if income == 0 {
            return MINUTE;
        }
        let nanos = (parts + income - 1) / income;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

fn parts(units: u64) -> i128 {
    i128::from(units) * PARTS
}
