//! The trickle: the few requests that try a target which rests after a 429, to find out whether it still must.
//!
//! A place comes up once in a while (see `served_rate`), and a request takes it before it is given a target in any
//! other way. It can afford that: it may go elsewhere, it has not tried such a target before, and a refusal costs it
//! one round trip and nobody a retry. Only targets are tried that it would rather use: not degraded, with room, and
//! in no higher tier than one that would take it. So a preferred tier whose provisioned throughput is used up is
//! looked after, and one that only takes what spills is left alone while nothing does.

use crate::routing::pool::{Pool, Target};
use crate::routing::seats::Room;
use crate::routing::settings::Policy;
use crate::routing::used::Used;
use crate::time::Time;
use std::sync::atomic::Ordering::Relaxed;

impl Pool {
    /// A target that rests and is due to be tried, if this request may. Its place is taken then.
    ///
    /// All targets are looked at only while one is due; else it costs one read.
    pub(super) fn trickle(&self, used: &Used, now: Time) -> Option<usize> {
        let at = &self.shared().trickle_at;
        if used.trickled || at.load(Relaxed) > now.nanos() {
            return None;
        }
        // First, so that a rest that begins meanwhile is not forgotten.
        at.store(Time::END.nanos(), Relaxed);
        let highest = self.highest_tier(used, now);
        let mut first: Option<(Time, usize)> = None;
        for (index, target) in self.targets().iter().enumerate() {
            let Some(due) = target.state.throttle.next_trickle(now) else { continue };
            at.fetch_min(due.nanos(), Relaxed);
            let may = due <= now && target.spec.tier <= highest && !used.contains(index);
            if may && self.may_try(target, used, now) && first.is_none_or(|(at, _)| due < at) {
                first = Some((due, index));
            }
        }
        let (due, index) = first?;
        let claimed = self.targets().get(index)?.state.throttle.claim_trickle(due, now);
        claimed.then_some(index)
    }

    fn may_try(&self, target: &Target, used: &Used, now: Time) -> bool {
        let state = &target.state;
        !state.throttle.rest(used.size(), now).is_zero()
            && !state.is_blocked()
            && !state.is_degraded(now)
            && target.has(Room::Any, self.settings())
    }

    /// The highest tier that is worth a try: the lowest of those that would take the request.
    fn highest_tier(&self, used: &Used, now: Time) -> u32 {
        if self.settings().policy == Policy::RoundRobin {
            return u32::MAX;
        }
        let takes = |(index, target): &(usize, &Target)| {
            !used.contains(*index)
                && self.is_usable(*index, used.size(), now)
                && target.has(Room::Any, self.settings())
        };
        let targets = self.targets().iter().enumerate().filter(takes);
        targets.map(|(_, target)| target.spec.tier).min().unwrap_or(u32::MAX)
    }
}
