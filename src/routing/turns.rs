//! `round_robin`: smooth weighted turns (the scheme of nginx). Everyone gains its weight, the richest is
//! chosen and pays the sum, so that turns interleave instead of coming in runs.

use crate::routing::pick::{NoTarget, Picked, Why};
use crate::routing::pool::Pool;
use crate::routing::seats::Room;
use crate::routing::used::Used;
use crate::time::Time;
use std::sync::PoisonError;

impl Pool {
    pub(super) fn next_turn(&self, used: &Used, now: Time) -> Result<Picked, NoTarget> {
        let mut turns = self.turns().lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = 0_i64;
        let mut richest: Option<(i64, usize)> = None;
        for (index, (target, purse)) in self.targets().iter().zip(turns.iter_mut()).enumerate() {
            let room = target.has(Room::Any, self.settings());
            if used.contains(index) || !target.state.admits(used.size(), now) || !room {
                continue;
            }
            let weight = i64::from(target.spec.weight);
            *purse += weight;
            sum += weight;
            if richest.is_none_or(|(most, _)| *purse > most) {
                richest = Some((*purse, index));
            }
        }
        let Some((_, index)) = richest else { return Err(self.why_none(used, now)) };
        if let Some(purse) = turns.get_mut(index) {
            *purse -= sum;
        }
        Ok(Picked { target: index, why: Why::RoundRobin })
    }
}
