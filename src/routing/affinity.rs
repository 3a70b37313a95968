//! Requests that share a prompt cache go to the same target, as long as it is not clearly worse.
//!
//! A pick is made as ever; then, if the request has a key, the target that the key prefers takes its place.
//! The preference is a rendezvous hash of key and backend name, weighted by the operator's weights: instances
//! agree on it without talking, 75/25 stays 75/25 over many keys, and when a target goes only its own keys
//! move. Asked are the targets of the tier that was picked which are usable, not suspect, with seats to spare,
//! and not worse than what was picked:
//!
//! - by cost: at most `max_cost_ratio` times its cost; where weights decide: in band.
//! - by load: not more than twice its attempts under way, and a few. What is not streamed shows little in the cost,
//!   and one long prompt that all users share would send most of them to one target.
//!
//! A recovering target takes part for a share of the keys that grows over its ramp. One hash a target and pick;
//! who does not lead is not looked at further, so a thousand targets cost some ten microseconds. Hedges, retries
//! of what is used, overflow and panic do not ask here.

use crate::rng::Rng;
use crate::routing::lease::Ask;
use crate::routing::pick::{IN_BAND, NoTarget, Picked, Why};
use crate::routing::pool::{Pool, Target};
use crate::routing::seats::Room;
use crate::routing::used::Used;
use crate::time::Time;
use std::time::Duration;

/// What may not be sent twice passes over a target whose last outcome within this time was an error.
const WARY: Duration = Duration::from_secs(10);
/// Attempts that a preferred target may have beyond twice those of the one that was picked.
const FEW: u32 = 4;

impl Pool {
    /// Chooses a target for a request, with regard to its prompt cache.
    pub fn pick_for(
        &self,
        ask: &Ask,
        used: &Used,
        now: Time,
        rng: &mut Rng,
    ) -> Result<Picked, NoTarget> {
        let avoided = ask.wary.then(|| self.with_those_that_erred(used, now)).flatten();
        let used = avoided.as_ref().unwrap_or(used);
        let picked = self.pick(used, now, rng)?;
        let on = self.settings().affinity.enabled && matches!(picked.why, Why::Cost | Why::Weight);
        let key = ask.affinity.filter(|_| on);
        let preferred = key.and_then(|key| self.preferred(key, picked, used, now));
        Ok(preferred.map_or(picked, |target| Picked { target, why: Why::Affinity }))
    }

    /// What cannot be tried elsewhere when it fails rather goes to no target that has just failed: `used`, and
    /// those; `None` if that would leave nothing in use.
    fn with_those_that_erred(&self, used: &Used, now: Time) -> Option<Used> {
        let mut avoided = *used;
        for (index, target) in self.targets().iter().enumerate() {
            let erred = target.state.erred_within(WARY, now) && !used.contains(index);
            if erred && !avoided.add(index) {
                return None;
            }
        }
        self.has_usable(&avoided, now).then_some(avoided)
    }

    fn preferred(&self, key: u64, picked: Picked, used: &Used, now: Time) -> Option<usize> {
        let drawn = self.targets().get(picked.target)?;
        let yardstick = Yardstick { pool: self, drawn, why: picked.why, size: used.size(), now };
        let mut best: Option<(f64, usize)> = None;
        for (index, target) in self.targets().iter().enumerate() {
            if target.spec.tier != drawn.spec.tier || used.contains(index) {
                continue;
            }
            let mut luck = Rng::from_seed(key ^ target.name_hash);
            let rank = f64::from(target.spec.weight) / -(1.0 - luck.unit()).ln();
            if best.is_none_or(|(most, _)| rank > most) && yardstick.admits(target, luck.unit()) {
                best = Some((rank, index));
            }
        }
        best.map(|(_, index)| index)
    }
}

/// What a preferred target is measured against.
struct Yardstick<'a> {
    pool: &'a Pool,
    drawn: &'a Target,
    why: Why,
    size: u64,
    now: Time,
}

impl Yardstick<'_> {
    fn admits(&self, target: &Target, coin: f64) -> bool {
        let (settings, state, now) = (self.pool.settings(), &target.state, self.now);
        let most = self.drawn.state.seats().saturating_mul(2).saturating_add(FEW);
        state.admits(self.size, now)
            && !state.is_degraded(now)
            && !state.is_suspect()
            && target.has(Room::Spare, settings)
            && coin < state.ramp(settings, now)
            && state.seats() <= most
            && self.is_not_worse(target)
    }

    fn is_not_worse(&self, target: &Target) -> bool {
        let (settings, now) = (self.pool.settings(), self.now);
        if self.why == Why::Weight {
            return target.state.ratio(settings, now) <= IN_BAND;
        }
        let fleet = self.pool.fleet().load();
        let rates = (fleet.unknown_ms(settings), fleet.whole);
        let cost = |target: &Target| target.state.cost(settings, rates, now);
        cost(target) <= cost(self.drawn) * settings.affinity.max_cost_ratio
    }
}
