//! What a pick reads of a target's limits, and counts there: atomics only.
//!
//! The truth of the rests and of the pace is in [`Rest`] and [`ServedRate`], behind the target's lock. The places in
//! the pace are counted here, by the one number of a leaky bucket (GCRA): the moment up to which they are given
//! away. A pick asks whether there is one; what is dispatched takes one in any case, so that two who ask at once
//! are paid for by those who come next.
//!
//! The trickle: while a target rests, one request in so many may try it all the same. Its place is claimed by the
//! pick. If it is served, the rest is over; and if it is not refused for half a second: a response may take a minute,
//! a refusal comes at once.

use crate::routing::rest::{Closed, Rest};
use crate::routing::served_rate::ServedRate;
use crate::time::Time;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What was not refused for so long is accepted.
const ACCEPTED_AFTER: Duration = Duration::from_millis(500);
/// The places of so long may be saved up. No more: a backend that saves up little refuses two at once.
const SAVED: Duration = Duration::from_millis(50);
/// The first try of the trickle comes after a part of its interval, and soon.
const FIRST_TRY: u32 = 4;
const FIRST_TRY_MOST: Duration = Duration::from_millis(500);

/// The limits of one target.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// Attempts that were dispatched.
    sent: AtomicU64,
    brief: Level,
    whole: Level,
    claimed: AtomicU64,
    usual_until: AtomicU64,
    /// Nanoseconds between two requests; 0: there is no pace.
    pace_every: AtomicU64,
    pace_size: AtomicU64,
    pace_until: AtomicU64,
    /// Up to when the places are given away.
    pace_next: AtomicU64,
    trickle_every: AtomicU64,
    trickle_next: AtomicU64,
    /// The last request of the trickle, while nothing is known of it: when it was sent (0: there is none) and its size.
    trickle_sent: AtomicU64,
    trickle_size: AtomicU64,
}

/// A mirror of [`Closed`].
#[derive(Debug, Default)]
struct Level {
    size: AtomicU64,
    until: AtomicU64,
}

impl Level {
    /// `accepted`: the size of what was let through since.
    fn left(&self, size: u64, accepted: Option<u64>, now: Time) -> Duration {
        let (from, until) = (self.size.load(Relaxed), self.until.load(Relaxed));
        let open = accepted.is_some_and(|accepted| accepted >= from);
        let holds = until > now.nanos() && size >= from && !open;
        if holds { Time::from_nanos(until).since(now) } else { Duration::ZERO }
    }

    fn mirror(&self, closed: &Closed) {
        self.size.store(closed.size, Relaxed);
        self.until.store(closed.until.nanos(), Relaxed);
    }
}

impl Throttle {
    // ---- reads

    /// How much longer requests of that size are kept away.
    pub(super) fn rest(&self, size: u64, now: Time) -> Duration {
        let accepted = self.accepted(now).map(|(size, _)| size);
        self.brief.left(size, accepted, now).max(self.whole.left(size, accepted, now))
    }

    /// How much longer any requests are kept away.
    pub(super) fn longest(&self, now: Time) -> Duration {
        self.rest(u64::MAX, now)
    }

    /// How long requests of that size must wait for a place.
    pub(super) fn wait(&self, size: u64, now: Time) -> Duration {
        self.rest(size, now).max(self.pace_wait(size, now))
    }

    /// Whether a request of that size may go there now.
    pub(super) fn admits(&self, size: u64, now: Time) -> bool {
        self.wait(size, now).is_zero()
    }

    fn pace_wait(&self, size: u64, now: Time) -> Duration {
        if self.pace(size, now).is_none() {
            return Duration::ZERO;
        }
        Time::from_nanos(self.pace_next.load(Relaxed)).since(now).saturating_sub(SAVED)
    }

    /// The time between two requests, where there is a pace for that size.
    fn pace(&self, size: u64, now: Time) -> Option<Duration> {
        let every = self.pace_every.load(Relaxed);
        let bound = every != 0
            && size >= self.pace_size.load(Relaxed)
            && now.nanos() < self.pace_until.load(Relaxed);
        bound.then(|| Duration::from_nanos(every))
    }

    /// Requests in a second, where there is a pace.
    pub(super) fn rate(&self, now: Time) -> Option<f64> {
        self.pace(u64::MAX, now).map(|every| every.as_secs_f64().recip())
    }

    /// How much longer the last refusal asked to wait, believed or not.
    pub(super) fn claimed(&self, now: Time) -> Duration {
        Time::from_nanos(self.claimed.load(Relaxed)).since(now)
    }

    /// When requests of the usual size were, or are, let through again; 0: they always were.
    pub(super) fn usual_until(&self) -> u64 {
        self.usual_until.load(Relaxed)
    }

    /// The smallest size that is kept away; `None`: none is.
    pub(super) fn smallest(&self, now: Time) -> Option<u64> {
        let accepted = self.accepted(now).map(|(size, _)| size);
        let on = |level: &&Level| !level.left(u64::MAX, accepted, now).is_zero();
        [&self.brief, &self.whole].into_iter().filter(on).map(|l| l.size.load(Relaxed)).min()
    }

    /// Attempts that were dispatched.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// When the trickle has its next place; `None`: nothing is kept away.
    pub(super) fn next_trickle(&self, now: Time) -> Option<Time> {
        self.smallest(now).map(|_| Time::from_nanos(self.trickle_next.load(Relaxed)))
    }

    /// A request of the trickle that was not refused for long enough: its size, and when it was sent.
    pub(super) fn accepted(&self, now: Time) -> Option<(u64, Time)> {
        let sent = Some(self.trickle_sent.load(Relaxed)).filter(|sent| *sent != 0)?;
        let sent = Time::from_nanos(sent);
        (now.since(sent) >= ACCEPTED_AFTER).then(|| (self.trickle_size.load(Relaxed), sent))
    }

    // ---- changes

    /// A probe is sent: it may be refused, too, and takes no place.
    pub(super) fn probed(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// An attempt is dispatched.
    pub(super) fn dispatched(&self, size: u64, now: Time) {
        self.sent.fetch_add(1, Relaxed);
        if !self.rest(size, now).is_zero() {
            self.trickle_size.store(size, Relaxed);
            self.trickle_sent.store(now.nanos(), Relaxed);
        } else if let Some(every) = self.pace(size, now) {
            let later = |next: u64| Some((Time::from_nanos(next.max(now.nanos())) + every).nanos());
            // It never refuses.
            let _before = self.pace_next.fetch_update(Relaxed, Relaxed, later);
        }
    }

    /// Claims the place of the trickle that was found due; false: somebody was quicker.
    pub(super) fn claim_trickle(&self, due: Time, now: Time) -> bool {
        let next = now + Duration::from_nanos(self.trickle_every.load(Relaxed));
        let (due, next) = (due.nanos(), next.nanos());
        self.trickle_next.compare_exchange(due, next, Relaxed, Relaxed).is_ok()
    }

    /// Something was refused: what was not, before, says nothing any more.
    pub(super) fn refused(&self) {
        self.trickle_sent.store(0, Relaxed);
    }

    /// An attempt that was sent then is over: no more is to be learned from its silence.
    pub(super) fn over(&self, sent: Time) {
        if self.trickle_sent.load(Relaxed) == sent.nanos() {
            self.trickle_sent.store(0, Relaxed);
        }
    }

    /// A rest begins. Returns when the trickle has its first place.
    pub(super) fn begin_trickle(&self, now: Time) -> Time {
        let every = Duration::from_nanos(self.trickle_every.load(Relaxed));
        let first = now + (every / FIRST_TRY).min(FIRST_TRY_MOST);
        self.trickle_next.store(first.nanos(), Relaxed);
        first
    }

    /// Takes over what is known.
    pub(super) fn mirror(&self, rest: &Rest, served: &ServedRate) {
        self.brief.mirror(&rest.brief);
        self.whole.mirror(&rest.whole);
        self.claimed.store(rest.claimed.nanos(), Relaxed);
        self.usual_until.store(rest.usual_until().nanos(), Relaxed);
        let nanos = |time: Duration| Time::at(time).nanos();
        self.trickle_every.store(nanos(served.trickle_every()), Relaxed);
        let pace = served.pace(Time::ZERO);
        self.pace_every.store(pace.map_or(0, |pace| nanos(pace.every())), Relaxed);
        self.pace_size.store(pace.map_or(0, |pace| pace.size), Relaxed);
        self.pace_until.store(pace.map_or(0, |pace| pace.until().nanos()), Relaxed);
    }
}
