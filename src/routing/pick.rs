//! Choosing one target out of a pool.
//!
//! In this order:
//! 1. *Overflow*: when the pool is slow, a share of the requests goes to a degraded target that still answers.
//! 2. *Tier*: the lowest with a usable target (not degraded, open, not used by this request, less than
//!    `spill_share` of its seats taken) that is not suspect; else one that has any seat left; else a suspect one.
//! 3. In it, where the operator set weights: a draw by weight among the targets that are *in band* (not
//!    suspect, score at most half over their own base). So 75/25 comes out as 75/25, even if one is slower
//!    by nature.
//! 4. Else draw `candidates` and take the least `cost = score x (1 + inflight / slack)`. A fast score alone
//!    would send everybody to the same place: lowest score wins is itself an outage where no single region
//!    can carry the load. A target that comes back takes part with a probability that grows over its ramp.
//! 5. *Panic*: nothing usable, or all suspect: the same over all open targets, those that fail last. Blocked ones are
//!    never picked, nor those that rest after a 429 or have no place in their pace; but for the trickle, which comes
//!    before all that.
//!
//! A target that is failing (see `errors`) is as good as degraded here.
//!
//! The lists to draw from are those of the last tick; what is drawn is checked against its present state, and
//! when too little of a list passes, all targets are looked at. `ema` compares all candidates by score alone.

use crate::rng::Rng;
use crate::routing::fleet::{Fleet, Tier};
use crate::routing::health::State;
use crate::routing::pool::{Pool, Target};
use crate::routing::seats::Room;
use crate::routing::settings::{Mode, Policy};
use crate::routing::used::Used;
use crate::time::Time;
use std::time::Duration;

/// Draws before all targets are looked at instead.
const DRAWS: usize = 9;
/// In band: a score at most so many times its own base.
pub(super) const IN_BAND: f64 = 1.5;
/// An answer so recent shows that a degraded target still works.
const STILL_WORKS: Duration = Duration::from_mins(1);

/// Why this target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It had the lowest cost.
    Cost,
    /// Drawn by weight.
    Weight,
    /// It has the prompt cache of such requests.
    Affinity,
    /// The pool is slow: a share of the requests tries a degraded target that still answers.
    Overflow,
    /// Nothing is in use, or everything is suspect: the lowest cost of all.
    Panic,
    /// It was its turn.
    RoundRobin,
    /// Nothing else is left, and its first attempt there did nothing: the same target once more.
    Again,
    /// It races a late attempt.
    Hedge,
    /// It races a stuck attempt, and is no healthy target: none was left.
    Rescue,
    /// The client named it, and may; or what the request names is there.
    Asked,
    /// Other things of its app are there.
    Home,
    /// It rests after a 429: one of the few that try whether it still must.
    Trickle,
}

impl Why {
    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Weight => "weight",
            Self::Affinity => "affinity",
            Self::Overflow => "overflow",
            Self::Panic => "panic",
            Self::RoundRobin => "round_robin",
            Self::Again => "again",
            Self::Hedge => "hedge",
            Self::Rescue => "rescue",
            Self::Asked => "asked",
            Self::Home => "home",
            Self::Trickle => "trickle",
        }
    }
}

/// A choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    /// Position in the pool.
    pub target: usize,
    /// The reason.
    pub why: Why,
}

/// Why there is no choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTarget {
    /// Every target that could be tried rests after a 429, or has no place in its pace; the first is free again
    /// after this long.
    AllLimited(Duration),
    /// A target could be tried, but has as many attempts as it may have, and so have all like it.
    AllFull,
    /// Every target was used by this request already.
    AllUsed,
    /// Every target is drained, misconfigured or has no good credential.
    AllBlocked,
}

impl Pool {
    /// Chooses a target among those that this request has not used.
    pub fn pick(&self, used: &Used, now: Time, rng: &mut Rng) -> Result<Picked, NoTarget> {
        let found = |target, why| Ok(Picked { target, why });
        if let Some(target) = self.trickle(used, now) {
            return found(target, Why::Trickle);
        }
        if self.settings().policy == Policy::RoundRobin {
            return self.next_turn(used, now);
        }
        let fleet = self.fleet().load();
        if let Some(target) = self.overflow(&fleet, used, (now, rng)) {
            return found(target, Why::Overflow);
        }
        let draw = Draw::new((self, &fleet), used, now, (Among::Usable, Room::Any));
        if !fleet.all_suspect
            && let Some((target, why)) = draw.in_tiers(rng)
        {
            return found(target, why);
        }
        let any = self.pick_open(used, now, rng);
        found(any.ok_or_else(|| self.why_none(used, now))?, Why::Panic)
    }

    /// The cheapest of all open targets that this request has not used.
    pub(super) fn pick_open(&self, used: &Used, now: Time, rng: &mut Rng) -> Option<usize> {
        let fleet = self.fleet().load();
        let draw = Draw::new((self, &fleet), used, now, (Among::Answering, Room::Any));
        // An unlucky draw must not refuse a request for which one of a hundred targets is open.
        let drawn = draw.least(self.targets().len(), Some, rng).or_else(|| draw.all(Some, rng));
        // Slow is better than broken, and what broke longest ago is most likely well again.
        drawn.map(|(target, _)| target).or_else(|| {
            let may = |(index, target): &(usize, &Target)| {
                target.state.admits(used.size(), now)
                    && target.has(Room::Any, self.settings())
                    && !used.contains(*index)
            };
            let open = self.targets().iter().enumerate().filter(may);
            let (index, _) = open.min_by_key(|(_, target)| target.state.erred_at())?;
            Some(index)
        })
    }

    /// A target for a hedge: healthy, not suspect and not used by this request, of the lowest tier with one.
    pub(super) fn pick_hedge(&self, used: &Used, now: Time, rng: &mut Rng) -> Option<usize> {
        // It may come to nothing: the last places are for those who have none.
        self.pick_by_tier(used, (Among::Sound, Room::Spare), now, rng)
    }

    /// The same, also of those that come back.
    pub(super) fn pick_calm(&self, used: &Used, now: Time, rng: &mut Rng) -> Option<usize> {
        self.pick_by_tier(used, (Among::Calm, Room::Any), now, rng)
    }

    fn pick_by_tier(
        &self,
        used: &Used,
        among: (Among, Room),
        now: Time,
        rng: &mut Rng,
    ) -> Option<usize> {
        let fleet = self.fleet().load();
        let draw = Draw::new((self, &fleet), used, now, among);
        fleet.tiers.iter().find_map(|tier| draw.in_tier(tier, rng)).map(|(target, _)| target)
    }

    /// Whether [`Pool::pick`] would find anything.
    pub fn can_pick(&self, used: &Used, now: Time) -> bool {
        let open = |(index, target): (usize, &Target)| {
            let may =
                target.state.admits(used.size(), now) && target.has(Room::Any, self.settings());
            may && !used.contains(index)
        };
        self.targets().iter().enumerate().any(open)
    }

    /// Whether a request of that size may go to a target, and it is not degraded.
    pub(super) fn is_usable(&self, target: usize, size: u64, now: Time) -> bool {
        let usable = |t: &Target| {
            t.state.admits(size, now) && !t.state.is_degraded(now) && !t.state.is_passed_over(now)
        };
        self.targets().get(target).is_some_and(usable)
    }

    /// Whether `target` is out of use as degraded or failing while a healthy one is left that this request has not
    /// used. To go there adds no load that has not moved there anyway.
    pub fn leaves_degraded(&self, target: usize, used: &Used, now: Time) -> bool {
        let out = |t: &Target| t.state.is_degraded(now) || t.state.is_failing();
        self.targets().get(target).is_some_and(out) && self.has_usable(used, now)
    }

    /// Whether a target in use with room is left that this request has not used.
    pub(super) fn has_usable(&self, used: &Used, now: Time) -> bool {
        let left = |(index, other): (usize, &Target)| {
            let room = other.has(Room::Any, self.settings());
            room && !used.contains(index) && self.is_usable(index, used.size(), now)
        };
        self.targets().iter().enumerate().any(left)
    }

    /// Whether a target is open and in use, though its recent responses may be errors.
    pub(super) fn may_try_again(&self, target: usize, size: u64, now: Time) -> bool {
        let may = |t: &Target| {
            let room = t.has(Room::Any, self.settings());
            room && t.state.admits(size, now) && !t.state.is_degraded(now)
        };
        self.targets().get(target).is_some_and(may)
    }

    /// A degraded target, for the share of requests that overflows.
    fn overflow(&self, fleet: &Fleet, used: &Used, (now, rng): (Time, &mut Rng)) -> Option<usize> {
        if fleet.overflow <= 0.0 || fleet.degraded.is_empty() || rng.unit() >= fleet.overflow {
            return None;
        }
        let draw = Draw::new((self, fleet), used, now, (Among::Overflowing, Room::Spare));
        let of = |position: usize| fleet.degraded.get(position).copied();
        draw.least(fleet.degraded.len(), of, rng).map(|(target, _)| target)
    }

    /// Why there is nothing to choose.
    pub fn why_none(&self, used: &Used, now: Time) -> NoTarget {
        let size = used.size();
        let full = |t: &Target| t.state.admits(size, now) && !t.has(Room::Any, self.settings());
        if self.targets().iter().any(full) {
            return NoTarget::AllFull;
        }
        let open = self.targets().iter().enumerate().filter(|(_, t)| !t.state.is_blocked());
        // Of one that it has asked the request was told itself.
        let waits = open.map(|(index, t)| {
            let told =
                if used.contains(index) { t.state.throttle.claimed(now) } else { Duration::ZERO };
            t.state.throttle.wait(size, now).max(told)
        });
        match waits.filter(|wait| !wait.is_zero()).min() {
            Some(wait) => NoTarget::AllLimited(wait),
            None if used.is_empty() => NoTarget::AllBlocked,
            None => NoTarget::AllUsed,
        }
    }
}

/// Which targets may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    /// Open and not degraded.
    Usable,
    /// Healthy and not suspect.
    Sound,
    /// Not degraded and not suspect.
    Calm,
    /// Degraded, but they still answer.
    Overflowing,
    /// Open and not failing.
    Answering,
}

/// Whether a choice was made for want of a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    None,
    Suspect,
}

/// One search.
#[derive(Clone, Copy)]
struct Draw<'a> {
    pool: &'a Pool,
    fleet: &'a Fleet,
    used: &'a Used,
    now: Time,
    among: Among,
    room: Room,
}

impl<'a> Draw<'a> {
    fn new(
        (pool, fleet): (&'a Pool, &'a Fleet),
        used: &'a Used,
        now: Time,
        (among, room): (Among, Room),
    ) -> Self {
        Self { pool, fleet, used, now, among, room }
    }

    /// The choice among the targets in use: with room to spare, with any room, with doubt.
    fn in_tiers(&self, rng: &mut Rng) -> Option<(usize, Why)> {
        // A target that is nearly full is passed over while another has room, in whatever tier.
        let spare = if self.pool.is_bounded() {
            Self { room: Room::Spare, ..*self }.lowest(rng)
        } else {
            None
        };
        let found = match spare {
            Some((_, _, Doubt::None)) => spare,
            Some((_, _, Doubt::Suspect)) | None => {
                let any = self.lowest(rng);
                any.filter(|(_, _, doubt)| *doubt == Doubt::None).or(spare).or(any)
            }
        };
        found.map(|(target, why, _)| (target, why))
    }

    /// The choice of the lowest tier that has one without doubt; else of the lowest that has one.
    fn lowest(&self, rng: &mut Rng) -> Option<(usize, Why, Doubt)> {
        let mut doubtful = None;
        for tier in &self.fleet.tiers {
            match self.by_weight_or_cost(tier, rng) {
                Some(found @ (_, _, Doubt::None)) => return Some(found),
                found => doubtful = doubtful.or(found),
            }
        }
        doubtful
    }

    fn by_weight_or_cost(&self, tier: &Tier, rng: &mut Rng) -> Option<(usize, Why, Doubt)> {
        if let Some(target) = self.by_weight(tier, rng) {
            return Some((target, Why::Weight, Doubt::None));
        }
        self.in_tier(tier, rng).map(|(target, doubt)| (target, Why::Cost, doubt))
    }

    /// The cheapest of a tier, and whether no other than suspect ones were there.
    fn in_tier(&self, tier: &Tier, rng: &mut Rng) -> Option<(usize, Doubt)> {
        let listed = |position: usize| tier.targets.get(position).copied();
        let drawn = self.least(tier.targets.len(), listed, rng);
        if drawn.is_some_and(|(_, doubt)| doubt == Doubt::None) {
            return drawn;
        }
        // The list may be old, or the draw unlucky: all of the tier, as it is now.
        let of_tier = |index: usize| {
            let target = self.pool.targets().get(index)?;
            (target.spec.tier == tier.number).then_some(index)
        };
        self.all(of_tier, rng).or(drawn)
    }

    /// The cheapest of `candidates` out of a list of `len`, or of all when there are no more.
    fn least(
        &self,
        len: usize,
        listed: impl Fn(usize) -> Option<usize>,
        rng: &mut Rng,
    ) -> Option<(usize, Doubt)> {
        let candidates = self.pool.settings().candidates;
        let mut bids = Bids::default();
        if len <= candidates {
            for index in (0..len).filter_map(&listed) {
                self.bid(index, &mut bids, rng);
            }
            return bids.best();
        }
        let mut drawn = Used::default();
        for _ in 0..DRAWS {
            let Some(index) = listed(rng.below(len)) else { continue };
            if drawn.contains(index) {
                continue;
            }
            if self.bid(index, &mut bids, rng)
                && (!drawn.add(index) || drawn.iter().len() >= candidates)
            {
                break;
            }
        }
        bids.best()
    }

    fn all(
        &self,
        listed: impl Fn(usize) -> Option<usize>,
        rng: &mut Rng,
    ) -> Option<(usize, Doubt)> {
        let mut bids = Bids::default();
        for index in (0..self.pool.targets().len()).filter_map(listed) {
            self.bid(index, &mut bids, rng);
        }
        bids.best()
    }

    /// Lets a target bid; false if it may not.
    fn bid(&self, index: usize, bids: &mut Bids, rng: &mut Rng) -> bool {
        let Some(target) = self.pool.targets().get(index) else { return false };
        if !self.may(index, target) {
            return false;
        }
        let settings = self.pool.settings();
        let rates = (self.fleet.unknown_ms(settings), self.fleet.whole);
        let in_flight = target.state.in_flight();
        let cost = target.state.cost(settings, rates, self.now);
        let bid = Bid { cost, in_flight, coin: rng.bits(), index };
        let ramp = if self.among == Among::Answering {
            1.0
        } else {
            target.state.ramp(settings, self.now)
        };
        let slot = if ramp < 1.0 && rng.unit() >= ramp {
            &mut bids.thinned
        } else if target.state.is_suspect() {
            &mut bids.suspect
        } else {
            &mut bids.sound
        };
        offer(slot, bid);
        true
    }

    fn may(&self, index: usize, target: &Target) -> bool {
        let (state, now) = (&target.state, self.now);
        let right = match self.among {
            Among::Usable => !state.is_degraded(now),
            Among::Sound => state.state(now) == State::Healthy && !state.is_suspect(),
            Among::Calm => !state.is_degraded(now) && !state.is_suspect(),
            Among::Overflowing => state.is_degraded(now) && state.answered_within(STILL_WORKS, now),
            Among::Answering => true,
        };
        let room = target.has(self.room, self.pool.settings());
        let admits = state.admits(self.used.size(), now) && !state.is_passed_over(now);
        right && room && admits && !self.used.contains(index)
    }

    /// A draw by weight among the targets in band; `None` without weights, or if none is in band.
    fn by_weight(&self, tier: &Tier, rng: &mut Rng) -> Option<usize> {
        let sum = *tier.weights.last()?;
        if self.pool.settings().detect.mode == Mode::Absolute {
            return None;
        }
        for _ in 0..DRAWS {
            let at = rng.bits() % sum.max(1);
            let position = tier.weights.partition_point(|running| *running <= at);
            let index = *tier.targets.get(position)?;
            if self.is_in_band(index, rng) {
                return Some(index);
            }
        }
        // Few are in band: a draw among those, each taking the place of the one before by its share so far.
        let weight = |index: usize| {
            self.pool.targets().get(index).map_or(0, |target| u64::from(target.spec.weight))
        };
        let mut sum = 0_u64;
        let mut chosen = None;
        for &index in &tier.targets {
            if !self.is_in_band(index, rng) {
                continue;
            }
            sum += weight(index);
            let takes = rng.bits() % sum.max(1) < weight(index);
            chosen = chosen.filter(|_| !takes).or(Some(index));
        }
        chosen
    }

    fn is_in_band(&self, index: usize, rng: &mut Rng) -> bool {
        let Some(target) = self.pool.targets().get(index) else { return false };
        let settings = self.pool.settings();
        self.may(index, target)
            && !target.state.is_suspect()
            && target.state.ratio(settings, self.now) <= IN_BAND
            && rng.unit() < target.state.ramp(settings, self.now)
    }
}

#[derive(Clone, Copy)]
struct Bid {
    cost: f64,
    in_flight: u32,
    coin: u64,
    index: usize,
}

/// The best bids so far.
#[derive(Clone, Copy, Default)]
struct Bids {
    sound: Option<Bid>,
    suspect: Option<Bid>,
    thinned: Option<Bid>,
}

impl Bids {
    /// The cheapest that takes part; for want of one, the cheapest that was thinned out.
    fn best(self) -> Option<(usize, Doubt)> {
        let mut best = self.sound;
        if let Some(bid) = self.suspect {
            offer(&mut best, bid);
        }
        let none_sound = self.sound.is_none() && self.thinned.is_none();
        let doubt = if none_sound { Doubt::Suspect } else { Doubt::None };
        best.or(self.thinned).map(|bid| (bid.index, doubt))
    }
}

fn offer(best: &mut Option<Bid>, bid: Bid) {
    let better = best.is_none_or(|best| {
        let by_cost = bid.cost.total_cmp(&best.cost);
        by_cost.then(bid.in_flight.cmp(&best.in_flight)).then(bid.coin.cmp(&best.coin)).is_lt()
    });
    if better {
        *best = Some(bid);
    }
}
