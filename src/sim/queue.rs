//! A region's capacity, as a fluid queue.
//!
//! Work flows in with each request and drains at `capacity` a second. A request that finds a backlog of
//! `b` waits `b / capacity - 1.5 s`, or not at all: the first 1.5 s are free, as a token bucket's burst is.
//! A wait over 30 s is refused with a 429, and refused work does not flow in. Nothing that flowed in comes
//! out again: whoever cancels a request has used the capacity all the same.

/// Seconds of backlog that nobody notices.
const FREE_SECONDS: f64 = 1.5;
/// The longest wait before a region refuses.
const WAIT_SECONDS_MAX: f64 = 30.0;
/// Below this a region drains nothing worth counting.
const CAPACITY_LEAST: f64 = 1e-6;

/// The backlog of one region.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    backlog: f64,
    at: f64,
}

impl Queue {
    /// `work` (in requests) flows in at `now` (seconds) while the region drains `capacity` a second. The wait
    /// in seconds, or, when it is too long, the seconds until it would be short enough.
    pub fn enter(&mut self, work: f64, capacity: f64, now: f64) -> Result<f64, f64> {
        debug_assert!(work >= 0.0 && now >= self.at, "time and work do not run backwards");
        let capacity = capacity.max(CAPACITY_LEAST);
        self.drain(capacity, now);
        let wait = (self.backlog / capacity - FREE_SECONDS).max(0.0);
        if wait > WAIT_SECONDS_MAX {
            return Err(wait - WAIT_SECONDS_MAX);
        }
        self.backlog += work;
        Ok(wait)
    }

    /// Lets it drain up to `now`: call it before the capacity changes.
    pub fn drain(&mut self, capacity: f64, now: f64) {
        self.backlog = (self.backlog - capacity * (now - self.at).max(0.0)).max(0.0);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    /// Requests of one unit every `1 / rate` seconds for `seconds`; the last wait.
    fn last_wait(rate: u32, capacity: f64, seconds: u32) -> Result<f64, f64> {
        let mut queue = Queue::default();
        (0..rate * seconds)
            .map(|n| queue.enter(1.0, capacity, f64::from(n) / f64::from(rate)))
            .last()
            .unwrap()
    }

    #[test]
    fn below_its_capacity_nobody_waits() {
        assert_eq!(last_wait(4, 5.0, 600), Ok(0.0));
    }

    #[test]
    fn above_it_the_wait_grows_with_what_is_left_over() {
        // 6 in, 5 out: a fifth of a second more backlog each second, of which 1.5 s are free.
        let wait = last_wait(6, 5.0, 60).unwrap();
        assert!((wait - (60.0 / 5.0 - 1.5)).abs() < 0.3, "{wait}");
    }

    #[test]
    fn a_wait_over_thirty_seconds_is_refused_and_stays_at_that() {
        let wait = last_wait(10, 5.0, 300).unwrap_or_else(|over| 30.0 + over);
        assert!((29.5..30.5).contains(&wait), "{wait}");
    }

    #[test]
    fn it_drains_while_nobody_comes() {
        let mut queue = Queue::default();
        for _ in 0..50 {
            queue.enter(1.0, 5.0, 0.0).unwrap();
        }
        assert_eq!(queue.enter(1.0, 5.0, 0.0), Ok(8.5));
        assert_eq!(queue.enter(1.0, 5.0, 9.0), Ok(0.0));
    }
}
