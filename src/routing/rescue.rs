//! Where an attempt is raced that is late, and one that is stuck.
//!
//! Past D it is raced by a healthy target only: most late answers still come, and a degraded target is the worse
//! bet. Past 2 T it is stuck, and what it would wait for is its time-out. Then a recovering target will do, and
//! where nothing in use is left a degraded one: the cheapest, answering or not; a try costs one prompt, and the
//! budget of hedges bounds those.
//!
//! The guard against racing in an overload is another one there. A pool of two with one degraded has no middle:
//! its ratio is that of the other target, and one frozen request of which a rescue was won makes that look
//! congested. So two kinds of target do not count: degraded ones, which are known to be slow, and the one that
//! is stuck, since a region that answers nothing is not a busy pool. If the others in use are slow, or nothing
//! is in use, all are slow, and a rescue would only add load. When all get slower T grows with them, so that
//! hardly anything is stuck.

use crate::rng::Rng;
use crate::routing::attempts::NoHedge;
use crate::routing::fleet::CONGESTED;
use crate::routing::guard::lower_median;
use crate::routing::picked::{Picked, Why};
use crate::routing::pool::{Pool, Target};
use crate::routing::seats::Room;
use crate::routing::used::Used;
use crate::time::Time;

/// How late an attempt is that may be raced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Past its D: by a healthy target.
    Late,
    /// Past its 2 T: by a degraded target, if nothing in use is left.
    Stuck {
        /// The target that does not answer.
        on: usize,
    },
}

/// The open targets that a request has not asked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// One of them at least is not degraded.
    InUse,
    /// All of them are degraded.
    Degraded,
    None,
}

impl Pool {
    /// A target that races an attempt.
    pub(super) fn pick_racer(
        &self,
        used: &Used,
        urgency: Urgency,
        now: Time,
        rng: &mut Rng,
    ) -> Result<Picked, NoHedge> {
        let congested = self.fleet().load().is_congested();
        let sound = if congested { None } else { self.pick_hedge(used, now, rng) };
        if let Some(target) = sound {
            return Ok(Picked { target, why: Why::Hedge });
        }
        let rescue = match (urgency, self.left(used, now)) {
            (Urgency::Late, Left::Degraded) => return Err(NoHedge::Degraded),
            (Urgency::Late | Urgency::Stuck { .. }, Left::InUse) if congested => {
                return Err(NoHedge::Congested);
            }
            (Urgency::Stuck { on }, Left::Degraded) if self.is_all_slow(on, now) => {
                return Err(NoHedge::Congested);
            }
            (Urgency::Stuck { .. }, Left::InUse) => self.pick_calm(used, now, rng),
            (Urgency::Stuck { .. }, Left::Degraded) => self.pick_open(used, now, rng),
            (Urgency::Late, Left::InUse | Left::None) | (Urgency::Stuck { .. }, Left::None) => None,
        };
        rescue.map(|target| Picked { target, why: Why::Rescue }).ok_or(NoHedge::Target)
    }

    fn left(&self, used: &Used, now: Time) -> Left {
        let targets = self.targets().iter().enumerate();
        let may =
            |t: &Target| t.state.admits(used.size(), now) && t.has(Room::Any, self.settings());
        let open = targets.filter(|(index, t)| !used.contains(*index) && may(t));
        open.fold(Left::None, |left, (_, target)| match left {
            Left::None | Left::Degraded if target.state.is_degraded(now) => Left::Degraded,
            Left::None | Left::Degraded | Left::InUse => Left::InUse,
        })
    }

    /// Whether more than the target `on` is slow: the middle of the others that are not degraded; if there are
    /// none, whether nothing is in use at all.
    fn is_all_slow(&self, on: usize, now: Time) -> bool {
        let counts = |(index, target): &(usize, &Target)| {
            *index != on && !target.state.is_drained() && !target.state.is_degraded(now)
        };
        let others = self.targets().iter().enumerate().filter(counts);
        let mut ratios: Vec<f64> =
            others.map(|(_, target)| target.state.ratio(self.settings(), now)).collect();
        let nothing_in_use = || self.targets().get(on).is_none_or(|t| t.state.is_degraded(now));
        lower_median(&mut ratios).map_or_else(nothing_in_use, |ratio| ratio > CONGESTED)
    }
}
