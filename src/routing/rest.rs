//! What a target refused for its limits, and for how long it rests. Plain values.
//!
//! A 429 means "not this, not now". It is remembered by size: a refusal of tokens closes the target for requests of
//! that size and above, any other for every size. And it is believed little by little:
//!
//! - one refused request: for a second, or for what it asked if that is less;
//! - two different requests, and none of their size served in between: for what the last one asked, for sizes of
//!   the larger of the two and above. No time named: `limit.default_wait`. For the k-th rest without a good
//!   response between it is at least `2^(k-1)` seconds. At most `limit.max_wait`.
//!
//! A request of that size that is served, and was sent after the refusal, ends both.

use crate::routing::settings::Limit;
use crate::time::Time;
use std::time::Duration;

/// How long a single refusal is believed.
const BELIEVED: Duration = Duration::from_secs(1);
/// Weight of a new response in the usual size.
const USUAL_WEIGHT: f64 = 0.05;
/// A request of so many times the usual size says nothing of the others.
const UNUSUAL: f64 = 2.0;

/// What a limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counts {
    /// Requests, or the load as a whole: whatever its size, a request is refused.
    #[default]
    Requests,
    /// Tokens: a smaller request may fit.
    Tokens,
}

/// A 429.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The wait that it asked for.
    pub asked: Option<Duration>,
    /// Whether size matters.
    pub counts: Counts,
}

impl From<Option<Duration>> for Refusal {
    fn from(asked: Option<Duration>) -> Self {
        Self { asked, counts: Counts::Requests }
    }
}

/// A refused request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) request: u64,
    /// 0 where size does not matter.
    pub(super) size: u64,
    pub(super) asked: Option<Duration>,
    pub(super) sent: Time,
}

/// Closed for requests of a size and above.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Closed {
    pub(super) size: u64,
    pub(super) until: Time,
    /// Since when.
    at: Time,
}

impl Closed {
    fn left(&self, size: u64, now: Time) -> Duration {
        if size >= self.size { self.until.since(now) } else { Duration::ZERO }
    }

    fn held(&self, size: u64, at: Time) -> bool {
        size >= self.size && (self.at..self.until).contains(&at)
    }

    /// A request of that size was served that was sent then.
    fn refuted(&mut self, size: u64, sent: Time, now: Time) {
        if size >= self.size && sent >= self.at {
            self.until = self.until.min(now);
        }
    }
}

/// A request that was refused, and none of its size was served since.
#[derive(Clone, Copy, Debug)]
struct Witness {
    request: u64,
    size: u64,
    at: Time,
}

/// What one target refuses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rest {
    witness: Option<Witness>,
    /// By the word of one request.
    pub(super) brief: Closed,
    /// By that of two.
    pub(super) whole: Closed,
    /// Until when the last refusal asked to wait, believed or not.
    pub(super) claimed: Time,
    run: u32,
    /// Average size of what is served.
    usual: Option<f64>,
}

/// What a refusal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// How long requests of that size are kept away.
    pub(super) wait: Duration,
    /// From which size on a second witness confirms it.
    pub(super) confirmed: Option<u64>,
}

impl Rest {
    /// A request was refused.
    pub(super) fn take(&mut self, limit: &Limit, refused: &Refused, now: Time) -> Taken {
        // Those that were already on their way when a rest began are one refusal together.
        if refused.sent >= self.brief.until.max(self.whole.until) {
            self.run = self.run.saturating_add(1);
        }
        let least = Duration::from_secs(1_u64 << self.run.saturating_sub(1).min(16));
        let asked = refused.asked.unwrap_or(limit.default_wait).max(least).min(limit.max_wait);
        self.claimed = now + asked;
        let size = refused.size;
        let other = self.witness.filter(|witness| witness.request != refused.request);
        if self.witness.is_none_or(|witness| size <= witness.size) {
            self.witness = Some(Witness { request: refused.request, size, at: now });
        }
        let confirmed = other.map(|witness| witness.size.max(size));
        if let Some(from) = confirmed {
            self.close_whole(from, asked, now);
        }
        if self.whole.left(size, now).is_zero() {
            let until = self.brief.until.max(now + asked.min(BELIEVED));
            let before = Some(self.brief.size).filter(|_| now < self.brief.until);
            self.brief =
                Closed { size: before.map_or(size, |before| before.min(size)), until, at: now };
        }
        Taken { wait: self.left(size, now), confirmed }
    }

    fn close_whole(&mut self, size: u64, asked: Duration, now: Time) {
        let open = self.whole.until <= now;
        if open || size <= self.whole.size {
            let before = if open { Time::ZERO } else { self.whole.until };
            self.whole = Closed { size, until: before.max(now + asked), at: now };
        }
    }

    /// How much longer requests of that size are kept away.
    pub(super) fn left(&self, size: u64, now: Time) -> Duration {
        self.brief.left(size, now).max(self.whole.left(size, now))
    }

    /// Whether requests of that size were kept away at that moment.
    pub(super) fn held(&self, size: u64, at: Time) -> bool {
        self.brief.held(size, at) || self.whole.held(size, at)
    }

    /// When requests of the usual size were, or are, let through again; zero if they never were kept away.
    pub(super) fn usual_until(&self) -> Time {
        let counts =
            |closed: &Closed| if self.is_unusual(closed.size) { Time::ZERO } else { closed.until };
        counts(&self.brief).max(counts(&self.whole))
    }

    /// Whether a request is so large that its refusal says nothing of others; `false` while too little is known.
    pub(super) fn is_unusual(&self, size: u64) -> bool {
        self.usual.is_some_and(|usual| float(size) > UNUSUAL * usual)
    }

    /// As that, but `true` while nothing was served with which it could be compared.
    pub(super) fn may_be_oversize(&self, size: u64) -> bool {
        self.usual.is_none() || self.is_unusual(size)
    }

    /// A request of that size was served that was sent then.
    pub(super) fn served(&mut self, size: u64, sent: Time, now: Time) {
        self.run = 0;
        let usual = self.usual.unwrap_or_else(|| float(size));
        self.usual = Some(usual + USUAL_WEIGHT * (float(size) - usual));
        self.tolerated(size, sent, now);
    }

    /// A probe of ours was served that was sent then: it is as small as can be.
    pub(super) fn probed(&mut self, sent: Time, now: Time) {
        self.run = 0;
        self.tolerated(0, sent, now);
    }

    /// A request of that size was not refused that was sent then.
    pub(super) fn tolerated(&mut self, size: u64, sent: Time, now: Time) {
        self.witness = self.witness.filter(|seen| size < seen.size || sent < seen.at);
        self.brief.refuted(size, sent, now);
        self.whole.refuted(size, sent, now);
    }

    /// That request was refused everywhere: what this target is closed for by its word alone is open again.
    /// The next that is refused makes two.
    pub(super) fn forgive(&mut self, request: u64) {
        if self.witness.is_some_and(|witness| witness.request == request) {
            self.brief = Closed::default();
        }
    }

    /// Takes up a rest that a former process began.
    pub(super) fn resume(&mut self, limit: &Limit, (size, left): (u64, Duration), now: Time) {
        if !left.is_zero() {
            let until = self.whole.until.max(now + left.min(limit.max_wait));
            self.whole = Closed { size, until, at: now };
        }
    }

    /// The longest rest, and the size that it begins with.
    pub(super) fn longest(&self, now: Time) -> (u64, Duration) {
        let (brief, whole) = (self.brief.until.since(now), self.whole.until.since(now));
        if whole >= brief { (self.whole.size, whole) } else { (self.brief.size, brief) }
    }
}

fn float(size: u64) -> f64 {
    f64::from(u32::try_from(size).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::settings::Settings;

    const MINUTE: Option<Duration> = Some(Duration::from_mins(1));

    struct Bench {
        rest: Rest,
        now: Time,
    }

    impl Bench {
        fn new() -> Self {
            Self { rest: Rest::default(), now: Time::at(Duration::from_hours(1)) }
        }

        fn refuse(&mut self, request: u64, size: u64) -> Taken {
            let refused = Refused { request, size, asked: MINUTE, sent: self.now };
            self.rest.take(&Settings::lookout().limit, &refused, self.now)
        }

        fn left(&self, size: u64) -> u64 {
            self.rest.left(size, self.now).as_secs()
        }
    }

    #[test]
    fn one_refusal_is_believed_for_a_second_and_two_for_all() {
        let mut bench = Bench::new();
        bench.refuse(1, 0);
        assert_eq!([0, 700].map(|size| bench.left(size)), [1, 1]);
        // The same request, from another of its attempts.
        bench.refuse(1, 0);
        assert_eq!(bench.left(700), 1);
        bench.refuse(2, 0);
        assert_eq!(bench.left(0), 60);
    }

    #[test]
    fn smaller_requests_go_on_until_one_of_them_is_refused() {
        let mut bench = Bench::new();
        bench.refuse(1, 90_000);
        bench.refuse(2, 95_000);
        assert_eq!([700, 90_000, 94_999, 95_000].map(|size| bench.left(size)), [0, 1, 1, 60]);
        let taken = bench.refuse(3, 700);
        assert_eq!(taken.confirmed, Some(90_000));
        assert_eq!([699, 700, 90_000].map(|size| bench.left(size)), [0, 1, 60]);
        bench.refuse(4, 500);
        assert_eq!([499, 500, 700].map(|size| bench.left(size)), [0, 1, 60]);
    }

    #[test]
    fn what_is_served_ends_the_rest_of_its_size_and_below() {
        let mut bench = Bench::new();
        let before = bench.now;
        for request in 0..3 {
            bench.refuse(request, 700);
        }
        bench.rest.served(9_000, Time::from_nanos(before.nanos() - 1), bench.now);
        assert_eq!(bench.left(700), 60, "it was sent before");
        bench.rest.served(699, bench.now, bench.now);
        assert_eq!(bench.left(700), 60, "it is smaller");
        bench.rest.served(700, bench.now, bench.now);
        assert_eq!(bench.left(90_000), 0);
        bench.refuse(9, 700);
        assert_eq!(bench.left(700), 1, "the two before are forgotten");
    }

    #[test]
    fn what_was_refused_everywhere_is_forgiven_and_counts_as_one_of_two() {
        let mut bench = Bench::new();
        bench.refuse(1, 90_000);
        bench.rest.forgive(2);
        assert_eq!(bench.left(90_000), 1);
        bench.rest.forgive(1);
        assert_eq!(bench.left(90_000), 0);
        bench.refuse(3, 90_000);
        assert_eq!(bench.left(90_000), 60);
        bench.rest.forgive(3);
        assert_eq!(bench.left(90_000), 60, "two have seen it");
    }

    #[test]
    fn what_is_closed_for_the_huge_is_not_closed() {
        let mut bench = Bench::new();
        bench.rest.served(700, bench.now, bench.now);
        bench.refuse(1, 90_000);
        assert_eq!(bench.rest.usual_until(), Time::ZERO);
        bench.refuse(2, 700);
        assert!(bench.rest.usual_until() > bench.now);
        assert!(bench.rest.may_be_oversize(90_000) && !bench.rest.may_be_oversize(1_000));
    }
}
