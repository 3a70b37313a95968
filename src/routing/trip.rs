//! Evidence against a target, and what it takes to act on it: deadlines that pass, strikes, the trip.

use crate::routing::guard::{Known as Certainty, Seen, TripBlocked, may_trip};
use crate::routing::health::{Cause, Change, State};
use crate::routing::lease::{Overdue, Slot, Stage};
use crate::routing::outcome::Event;
use crate::routing::pool::{Pool, Target};
use crate::routing::rescue::Urgency;
use crate::routing::seats::Room;
use crate::routing::settings::Mode;
use crate::routing::strikes::Strike;
use crate::routing::target::Known;
use crate::time::Time;
use crate::time::millis;
use std::sync::PoisonError;

/// A degraded target keeps a score of at least so many times its base.
const DEGRADED_RATIO: f64 = 4.0;
/// Answers after which a target's base is settled.
pub(super) const SETTLED_SAMPLES: u32 = 50;

/// While nothing shows that the model can be quicker, so many late attempts may be raced and looked into. More tell
/// that it thinks for long.
const FEW_LATE: u32 = 3;

impl Pool {
    /// A deadline passed.
    pub(super) fn overdue(&self, slot: &Slot, stage: Stage, now: Time) -> Overdue {
        let detect = &self.settings().detect;
        let Some(Target { state, .. }) = self.targets().get(slot.target) else {
            return Overdue::default();
        };
        let measured = self.can_be_quicker(slot, now);
        if !measured && self.late_in_all() > FEW_LATE {
            return Overdue::default();
        }
        let hedge = match stage {
            Stage::Late => Some(Urgency::Late),
            Stage::Double => Some(Urgency::Stuck { on: slot.target }),
            Stage::Stuck { .. } => {
                let on = slot.target;
                return Overdue { hedge: Some(Urgency::Stuck { on }), ..Overdue::default() };
            }
            Stage::Trip | Stage::None => None,
        };
        let mut overdue = Overdue { event: None, hedge, confirm: false };
        if detect.mode == Mode::Absolute {
            return overdue;
        }
        let suspect = state.is_suspect();
        overdue.confirm = stage == Stage::Late
            && suspect
            && state.change(|known| known.health.take_confirm(self.settings(), now));
        if !measured {
            return overdue;
        }
        // What is normal for it is not well known yet, nor how widely times spread: half the evidence.
        let faith = if state.samples() < SETTLED_SAMPLES { 0.5 } else { 1.0 };
        let weight = match stage {
            Stage::Late if suspect => faith * detect.strike_late,
            Stage::Late | Stage::Stuck { .. } | Stage::None => 0.0,
            Stage::Trip => faith * detect.strike_trip,
            Stage::Double => detect.strike_double,
        };
        overdue.event = self.strike((slot.target, slot.sent), Strike::Slow, weight, now);
        overdue
    }

    /// Attempts that wait for their first token past their D, at all targets.
    fn late_in_all(&self) -> u32 {
        self.targets().iter().map(|target| target.state.late()).sum()
    }

    /// Whether anything shows that a target of the model would have responded by now. Once the model is known, its
    /// deadlines show that. Before, they are fixed numbers, which a model that thinks for minutes exceeds everywhere:
    /// then one target must have been quicker. In absolute mode fixed numbers are the policy.
    pub(super) fn can_be_quicker(&self, slot: &Slot, now: Time) -> bool {
        let expected = &slot.expected;
        let late_mult = self.settings().detect.late_mult.start;
        let waited_ms = millis(slot.waited(now));
        let is_quicker = |base_ms: f64| late_mult * expected.shape * base_ms <= waited_ms;
        let bases = || self.targets().iter().filter_map(|target| target.state.base_ms());
        self.settings().detect.mode == Mode::Absolute
            || !expected.is_cold()
            || bases().any(is_quicker)
    }

    /// Adds a strike for what was sent then, and trips the target if that is enough and the guards hold.
    pub(super) fn strike(
        &self,
        (target, sent): (usize, Time),
        strike: Strike,
        weight: f64,
        now: Time,
    ) -> Option<Event> {
        let settings = self.settings();
        let state = &self.targets().get(target)?.state;
        let due = state.change(|known| {
            // What was sent before the recovery tells of the time before it.
            sent >= known.health.renewed_at && known.health.strike(settings, strike, weight, now)
        });
        let cause = match strike {
            Strike::Slow => Cause::Slow,
            Strike::Error(_) | Strike::BrokenOff(_) => Cause::Errors,
        };
        due.then(|| self.try_trip(target, cause, now)).flatten()
    }

    /// Takes a target out if its strikes are enough and the others allow it.
    pub(super) fn try_trip(&self, target: usize, cause: Cause, now: Time) -> Option<Event> {
        let state = &self.targets().get(target)?.state;
        let _one_at_a_time = self.shared().trips.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(by) = self.may_trip(target, cause, now) {
            self.shared().counters.count_blocked(by);
            return None;
        }
        let tripped = state.change(|known| self.trip(known, cause, now));
        self.changed(target, tripped.then_some(Change::Degraded(cause)), now)
    }

    /// Errors are no matter of degree: a target that fails goes whatever share is out already, as long as another
    /// is left that is in use. Slowness is judged beside the others.
    fn may_trip(&self, target: usize, cause: Cause, now: Time) -> Result<(), TripBlocked> {
        let detect = &self.settings().detect;
        if cause == Cause::Errors && detect.mode == Mode::Relative {
            return if self.has_healthy_beside(target, now) {
                Ok(())
            } else {
                Err(TripBlocked::Rest)
            };
        }
        may_trip(detect, self.certainty(), &self.others(target, now))
    }

    /// Whether another target is in use and has room.
    fn has_healthy_beside(&self, target: usize, now: Time) -> bool {
        let healthy = |(index, other): (usize, &Target)| {
            index != target
                && other.state.is_usable(now)
                && !other.state.is_failing()
                && other.has(Room::Any, self.settings())
        };
        self.targets().iter().enumerate().any(healthy)
    }

    /// Takes it out, unless another did in the meantime.
    fn trip(&self, known: &mut Known, cause: Cause, now: Time) -> bool {
        let settings = self.settings();
        if known.health.state == State::Degraded || !known.health.is_due(settings, now) {
            return false;
        }
        known.health.trip(settings, cause, now);
        known.whole_strikes = 0.0;
        let normal = known.speed.normal_ms().filter(|_| settings.recover.flag_ttl.is_none());
        if let Some(normal) = normal {
            let score = self.known_score(known, now).max(DEGRADED_RATIO * normal);
            known.speed.set_score(score, now);
        }
        true
    }

    fn certainty(&self) -> Certainty {
        let young = self.shared().with_norm(|norm| norm.is_young(&self.settings().baseline));
        if young { Certainty::Young } else { Certainty::Enough }
    }

    /// All targets but one, as the guards see them.
    fn others(&self, target: usize, now: Time) -> Vec<Seen> {
        let seen = |(_, t): (usize, &Target)| Seen {
            usable: t.state.is_usable(now),
            suspect: t.state.is_suspect(),
            out: t.state.is_out(self.settings(), now),
            drained: t.state.is_drained(),
            ratio: t.state.ratio(self.settings(), now),
        };
        let others = self.targets().iter().enumerate().filter(|(index, _)| *index != target);
        others.map(seen).collect()
    }

    /// An event, after a fresh look at the pool if who is in use has changed.
    pub(super) fn changed(
        &self,
        target: usize,
        change: Option<Change>,
        now: Time,
    ) -> Option<Event> {
        let change = change?;
        self.look(now);
        Some(Event { target, change })
    }
}
