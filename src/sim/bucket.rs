//! A token bucket: the rate limits of a region.

/// A bucket that is full at first.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    per_second: f64,
    burst: f64,
    level: f64,
    at: f64,
}

impl Bucket {
    pub(super) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, level: burst, at: 0.0 }
    }

    /// Whether `amount` fits at `now` (seconds). Takes nothing.
    pub(super) fn fits(&mut self, amount: f64, now: f64) -> bool {
        self.level = (self.level + self.per_second * (now - self.at).max(0.0)).min(self.burst);
        self.at = self.at.max(now);
        amount <= self.level
    }

    pub(super) fn take(&mut self, amount: f64) {
        self.level -= amount;
    }
}

#[cfg(test)]
mod tests {
    use super::Bucket;

    #[test]
    fn it_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(2.0, 10.0);
        let mut given = |amount: f64, now: f64| {
            let fits = bucket.fits(amount, now);
            if fits {
                bucket.take(amount);
            }
            fits
        };
        assert!(!given(10.5, 0.0) && given(10.0, 0.0) && !given(1.0, 0.4) && given(1.0, 0.5));
        assert!(!given(10.5, 100.0) && given(4.0, 100.0) && given(6.0, 100.0));
    }
}
