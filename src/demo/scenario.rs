//! What happens in the demo, and when.
//!
//! Three regions are healthy, then eastus2 takes ten times as long to its first token, then it heals. It
//! sends no error and no 429 all the while. Everything here is a number or a function of the time that has
//! passed; the lengths of the phases are shares of the whole, so that a short run tells the same story.
//!
//! The real event that this plays has first tokens of 1 s that grow to 10 s, over minutes. Here both are
//! ten times shorter.

use crate::mock::Behaviour;
use crate::time::Time;
use std::time::Duration;

/// The region that goes bad.
pub const BAD_REGION: &str = "eastus2";

/// By how much its first tokens are late then.
pub const SLOW_FACTOR: f64 = 10.0;

/// Half of the first tokens of healthy regions come earlier than this, all three taken together.
pub const HEALTHY_MS: f64 = 100.0;

/// A request is slow if its first token takes longer: four times the healthy median. Chance alone does not
/// get there, and the bad region hardly ever stays below.
pub const SLOW_MS: f64 = 4.0 * HEALTHY_MS;

/// The regions, by name, and the median of their first tokens in milliseconds. The fastest one is the one that
/// goes bad: whoever prefers fast regions has all traffic there when it happens.
pub const REGIONS: [(&str, f64); 3] =
    [("eastus2", 70.0), ("westus3", 105.0), ("swedencentral", 115.0)];

/// How a mock region behaves: short answers, and headers and filter chunk long before the first token, so
/// that whoever times those sees nothing.
pub fn behaviour(ttft_median_ms: f64) -> Behaviour {
    Behaviour {
        ttft_median_ms,
        ttft_sigma: 0.2,
        header_ms: 15.0,
        gap_ms: 5.0,
        tokens: 10,
        ..Behaviour::default()
    }
}

/// Which part of the story is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before the event.
    Healthy,
    /// The region is slow.
    Bad,
    /// The region is as it was before.
    Healed,
}

impl Phase {
    /// What is to be seen, for people.
    pub const fn told(self) -> &'static str {
        match self {
            Self::Healthy => "all regions healthy",
            Self::Bad => "eastus2 is 10x slower: no error, no 429",
            Self::Healed => "eastus2 healed",
        }
    }
}

/// How long the demo takes.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    length: Duration,
}

impl Timeline {
    /// A demo of that length.
    pub const fn new(length: Duration) -> Self {
        Self { length }
    }

    /// Its length.
    pub const fn length(self) -> Duration {
        self.length
    }

    /// The phase at `at`, counted from the first request.
    pub fn phase(self, at: Time) -> Phase {
        if at < self.share(BAD_FROM) {
            Phase::Healthy
        } else if at < self.share(HEALED_FROM) {
            Phase::Bad
        } else {
            Phase::Healed
        }
    }

    /// How much of it is over, 0 to 1.
    pub fn progress(self, at: Time) -> f64 {
        (at.since(Time::ZERO).as_secs_f64() / self.length.as_secs_f64()).min(1.0)
    }

    /// The longest pause between two probes of a region that is out, in seconds: short enough that the way
    /// back is seen.
    pub fn probe_seconds(self) -> f64 {
        self.length.as_secs_f64() / 15.0
    }

    /// How many of `rate` requests a second the bad region gets while it is bad if each region gets a third.
    pub fn third_of_bad_time(self, rate: u32) -> f64 {
        f64::from(rate) * self.length.as_secs_f64() * (HEALED_FROM - BAD_FROM) / 3.0
    }

    fn share(self, share: f64) -> Time {
        Time::at(self.length.mul_f64(share))
    }
}

/// When eastus2 becomes slow: scores have settled by then.
const BAD_FROM: f64 = 0.15;
/// When it heals: what is left holds several probes and the ramp.
const HEALED_FROM: f64 = 0.75;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_nine_seconds_of_peace_and_thirty_six_of_trouble() {
        let timeline = Timeline::new(Duration::from_mins(1));
        let phase = |seconds| timeline.phase(Time::at(Duration::from_secs_f64(seconds)));
        assert_eq!([0.0, 8.9].map(phase), [Phase::Healthy; 2]);
        assert_eq!([9.1, 44.9].map(phase), [Phase::Bad; 2]);
        assert_eq!([45.1, 60.0, 99.0].map(phase), [Phase::Healed; 3]);
    }

    #[test]
    fn the_words_name_the_region_and_the_factor() {
        let told = Phase::Bad.told();
        assert!(told.contains(BAD_REGION) && told.contains(&format!("{SLOW_FACTOR}x")), "{told}");
        assert!(Phase::Healed.told().contains(BAD_REGION));
    }

    #[test]
    fn the_bad_region_is_the_favourite() {
        let [(first, fastest), others @ ..] = REGIONS;
        assert_eq!(first, BAD_REGION);
        assert!(others.iter().all(|(_, median)| *median > fastest));
    }
}
