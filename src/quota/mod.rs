//! How much one app may ask for: requests and tokens per minute, and requests at a time, on this instance.
//!
//! Each limit per minute is a token bucket. It holds one minute's worth and fills evenly, so an app that was
//! quiet may ask for a whole minute's worth at once and then for its even rate: over any minute at most twice
//! the limit, over an hour the limit, as far as its estimates are true. A fixed window would be no stricter (a burst on both sides of its edge)
//! and makes everybody come back in the same second. The counts are whole numbers: nothing drifts.
//!
//! A request is admitted in two steps, since its tokens are known only when its body is there:
//! [`Quota::admit`] takes one request and one place before the body is read, [`Admission::reserve`] takes the
//! estimated tokens, and [`Admission::settle`] puts the real ones in the place of the estimate. A refusal costs
//! nothing: one for tokens gives its request back, so asking again and again shuts nobody out for longer.
//!
//! - Real tokens beyond the estimate are a debt, of at most one minute's worth, which is waited for. What is beyond is forgiven, so that
//!   no answer shuts an app out for more than a minute: clients that set no `max_tokens` can so use more than the limit.
//! - An estimate larger than the limit of a whole minute passes when the bucket is full, and empties it. Most of
//!   such an estimate is `max_tokens`, of which few answers use much; refused for good, a client with a generous
//!   `max_tokens` could never be served. What was really used is settled afterwards like any other.
//!
//! Every app has a [`Quota`] of its own with one short lock; none touches another's. What they all take from is
//! in [`Shares`].

mod bucket;
mod shares;

pub use shares::{Held, Scarce, Seen, Shares, judge};

use crate::quota::bucket::Bucket;
use crate::time::Time;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Nobody knows when a request that is under way will end: answers take seconds.
const PLACE_WAIT: Duration = Duration::from_secs(1);

/// What an app may use; `None` is no limit, 0 admits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests in a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute, those of prompts and of answers.
    pub tokens_per_minute: Option<u32>,
    /// Requests at a time.
    pub concurrent: Option<u32>,
}

/// One of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Requests in a minute.
    Requests,
    /// Tokens in a minute.
    Tokens,
    /// Requests at a time.
    Concurrent,
}

impl What {
    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrent => "concurrent",
        }
    }
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// The limit that was met.
    pub what: What,
    /// When it is worth asking again. If nothing else is asked meanwhile, asking then passes this limit; but
    /// for [`What::Concurrent`], where it is a guess, and for a limit of 0.
    pub retry_after: Duration,
    /// The tokens that were asked for; 0 where it did not come to that.
    pub asked: u64,
    /// All limits at that moment.
    pub room: Room,
}

/// How much is left of each limit; `None`: there is no such limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Requests in a minute.
    pub requests: Option<PerMinute>,
    /// Tokens in a minute.
    pub tokens: Option<PerMinute>,
    /// Requests at a time: the limit, and how many more may begin.
    pub concurrent: Option<(u32, u32)>,
}

/// How much is left of a limit per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerMinute {
    /// The limit.
    pub limit: u32,
    /// Whole units that may be taken now.
    pub remaining: u32,
    /// How long it takes until all of it is there again, if nothing is taken.
    pub reset: Duration,
}

/// The limits of one app and what is used of them.
///
/// # Examples
///
/// ```
/// use firstlight::quota::{Limits, Quota};
/// use firstlight::time::Time;
/// use std::sync::Arc;
///
/// let limits = Limits { tokens_per_minute: Some(1_000), ..Limits::default() };
/// let quota = Arc::new(Quota::new(limits));
/// let admission = quota.admit(Time::ZERO).unwrap();
/// let mut admission = admission.reserve(Time::ZERO, 900).unwrap();
/// assert!(quota.admit(Time::ZERO).unwrap().reserve(Time::ZERO, 200).is_err());
/// admission.settle(Time::ZERO, 50);
/// assert_eq!(quota.room(Time::ZERO).tokens.unwrap().remaining, 950);
/// ```
#[derive(Debug)]
pub struct Quota {
    state: Mutex<State>,
}

/// What [`Quota`] guards.
#[derive(Debug)]
struct State {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    concurrent: Option<u32>,
    /// Counted without a limit, too: one may come.
    in_flight: u32,
}

impl Quota {
    /// Nothing is used yet.
    pub fn new(limits: Limits) -> Self {
        let bucket = |limit: Option<u32>| limit.map(|limit| Bucket::new(limit, Time::ZERO));
        let state = State {
            requests: bucket(limits.requests_per_minute),
            tokens: bucket(limits.tokens_per_minute),
            concurrent: limits.concurrent,
            in_flight: 0,
        };
        Self { state: Mutex::new(state) }
    }

    /// Other limits from now on; what is used stays used. A limit that is new begins with nothing used.
    pub fn change(&self, now: Time, limits: Limits) {
        let mut state = self.lock();
        change(&mut state.requests, limits.requests_per_minute, now);
        change(&mut state.tokens, limits.tokens_per_minute, now);
        state.concurrent = limits.concurrent;
    }

    /// Takes one request and one place, or neither.
    pub fn admit(self: &Arc<Self>, now: Time) -> Result<Admission, Over> {
        let mut state = self.lock();
        if state.concurrent.is_some_and(|most| state.in_flight >= most) {
            return Err(state.over(What::Concurrent, PLACE_WAIT, now));
        }
        if let Some(Err(wait)) = state.requests.as_mut().map(|bucket| bucket.take(1, now)) {
            return Err(state.over(What::Requests, wait, now));
        }
        state.in_flight += 1;
        drop(state);
        Ok(Admission { quota: Arc::clone(self), charged: 0 })
    }

    /// How much is left.
    pub fn room(&self, now: Time) -> Room {
        self.lock().room(now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(bucket: &mut Option<Bucket>, limit: Option<u32>, now: Time) {
    match (bucket.as_mut(), limit) {
        (Some(bucket), Some(limit)) => bucket.change(limit, now),
        (_, limit) => *bucket = limit.map(|limit| Bucket::new(limit, now)),
    }
}

impl State {
    fn over(&mut self, what: What, retry_after: Duration, now: Time) -> Over {
        Over { what, retry_after, asked: 0, room: self.room(now) }
    }

    fn room(&mut self, now: Time) -> Room {
        let per_minute = |bucket: &mut Bucket| {
            bucket.fill(now);
            let (limit, remaining) = (bucket.limit(), bucket.remaining());
            PerMinute { limit, remaining, reset: bucket.full_in() }
        };
        Room {
            requests: self.requests.as_mut().map(per_minute),
            tokens: self.tokens.as_mut().map(per_minute),
            concurrent: self.concurrent.map(|most| (most, most.saturating_sub(self.in_flight))),
        }
    }
}

/// One admitted request. Its place is free again when this is dropped; what it took of the limits per minute
/// stays taken.
#[derive(Debug)]
pub struct Admission {
    quota: Arc<Quota>,
    /// Tokens that were taken for it.
    charged: u64,
}

impl Admission {
    /// Takes the tokens that the request is estimated to use. If there are not enough it ends here, and its
    /// request is given back.
    pub fn reserve(mut self, now: Time, tokens: u64) -> Result<Self, Over> {
        let mut state = self.quota.lock();
        match state.tokens.as_mut().map(|bucket| bucket.take(tokens, now)) {
            None => {}
            Some(Ok(taken)) => self.charged += taken,
            Some(Err(wait)) => {
                if let Some(requests) = state.requests.as_mut() {
                    requests.settle(1, 0, now);
                }
                return Err(Over { asked: tokens, ..state.over(What::Tokens, wait, now) });
            }
        }
        drop(state);
        Ok(self)
    }

    /// The request used so many tokens in truth: the difference to what was taken for it is given back, or
    /// taken as well. Never called, the estimate stands; called again, the last number counts.
    pub fn settle(&mut self, now: Time, tokens: u64) {
        if let Some(bucket) = self.quota.lock().tokens.as_mut() {
            bucket.settle(self.charged, tokens, now);
            self.charged = tokens;
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut state = self.quota.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
    }
}
