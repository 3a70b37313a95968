//! How steadily a stream goes on after its first token.
//!
//! A region can be quick with its first token and then give four a second. Azure's content filter holds
//! tokens back and releases them in bursts, so the time between two tokens tells little; what the reader
//! waits for is the next burst. A chunk with content is a burst here, and [`Pace`] keeps the longest time
//! between two of them.
//!
//! Tokens per second are content events behind the first burst by the time they took. How many the first
//! burst held says nothing about the pace: they were waited for before, as the time to the first token.
//!
//! This is measured and not acted on.

use std::time::Duration;

/// The pace of one stream.
///
/// # Examples
///
/// ```
/// use firstlight::azure::stall::Pace;
/// use std::time::Duration;
///
/// let mut pace = Pace::default();
/// pace.see(Duration::from_millis(400), 1);
/// pace.see(Duration::from_millis(900), 5);
/// pace.see(Duration::from_millis(1_400), 9);
/// assert_eq!(pace.longest_gap(), Some(Duration::from_millis(500)));
/// assert_eq!(pace.tokens_per_second(), Some(8.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// When the first burst came and what it held.
    first: Option<Burst>,
    /// When the last burst came, and all that has come.
    last: Burst,
    longest_gap: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Burst {
    at: Duration,
    /// Content events up to here.
    events: u32,
}

impl Pace {
    /// Takes a chunk at `at`, after which `events` content events of the stream have passed in all (see
    /// [`Seen::content_events`](crate::azure::sse::Seen::content_events)); a chunk that adds none is no burst.
    ///
    /// `at` counts from any one moment, the same for every chunk.
    pub fn see(&mut self, at: Duration, events: u32) {
        if events <= self.last.events {
            return;
        }
        if self.first.is_some() {
            self.longest_gap = self.longest_gap.max(Some(at.saturating_sub(self.last.at)));
        }
        self.last = Burst { at: at.max(self.last.at), events };
        self.first = self.first.or(Some(self.last));
    }

    /// How many content events have passed.
    pub fn events(&self) -> u32 {
        self.last.events
    }

    /// The longest time between two bursts, once there have been two.
    pub fn longest_gap(&self) -> Option<Duration> {
        self.longest_gap
    }

    /// How long there has been no content at `at`, once there has been some: the gap that has not ended, for a
    /// stream that breaks off or is given up.
    pub fn silence(&self, at: Duration) -> Option<Duration> {
        self.first.map(|_| at.saturating_sub(self.last.at))
    }

    /// About how many tokens come in a second: content events behind the first burst, by the time since then.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let first = self.first?;
        let seconds = self.last.at.saturating_sub(first.at).as_secs_f64();
        (seconds > 0.0).then(|| f64::from(self.last.events - first.events) / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds (milliseconds, events in this chunk); expects the longest gap in milliseconds and the rate.
    fn check(chunks: &[(u64, u32)], longest_gap: Option<u64>, rate: Option<f64>) {
        let mut pace = Pace::default();
        let mut events = 0;
        for (at, in_chunk) in chunks {
            events += in_chunk;
            pace.see(Duration::from_millis(*at), events);
        }
        assert_eq!(pace.longest_gap(), longest_gap.map(Duration::from_millis), "{chunks:?}");
        assert_eq!(pace.tokens_per_second(), rate, "{chunks:?}");
    }

    #[test]
    fn a_stream_token_by_token() {
        check(&[(500, 1), (600, 1), (700, 1), (1_000, 1), (1_100, 1)], Some(300), Some(4.0 / 0.6));
    }

    #[test]
    fn a_stream_in_bursts() {
        check(&[(0, 50), (1_000, 50), (3_000, 50)], Some(2_000), Some(100.0 / 3.0));
    }

    #[test]
    fn the_wait_before_the_first_token_is_no_gap() {
        check(&[(60_000, 1), (60_250, 1)], Some(250), Some(4.0));
    }

    #[test]
    fn chunks_without_content_end_no_gap() {
        check(&[(0, 0), (100, 2), (600, 0), (1_100, 2), (9_000, 0)], Some(1_000), Some(2.0));
    }

    #[test]
    fn one_burst_has_no_pace() {
        check(&[], None, None);
        check(&[(100, 0)], None, None);
        check(&[(100, 7)], None, None);
        check(&[(100, 7), (100, 7)], Some(0), None);
    }

    #[test]
    fn a_clock_that_goes_back_does_no_harm() {
        check(&[(1_000, 1), (500, 1), (2_000, 1)], Some(1_000), Some(2.0));
    }

    #[test]
    fn the_gap_that_has_not_ended_is_known() {
        let mut pace = Pace::default();
        let at = Duration::from_millis;
        assert_eq!(pace.silence(at(900)), None);
        pace.see(at(1_000), 1);
        assert_eq!(pace.silence(at(1_000)), Some(Duration::ZERO));
        pace.see(at(5_000), 1);
        assert_eq!(pace.silence(at(5_000)), Some(at(4_000)));
    }
}
