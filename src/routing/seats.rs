//! How many answers a target gives at a time, and how many it may.
//!
//! `in_flight` of a target counts attempts that wait for a first token: that is what its speed is judged by.
//! Capacity is another matter. Provisioned throughput is used up by whatever is being generated, streamed or
//! not, so an attempt holds a [`Seat`] from its dispatch to the last byte of its answer.
//!
//! Seats are counted by target, not by backend: Azure sells provisioned throughput by deployment, and two
//! deployments of one resource do not take it from each other. Probes of ours hold none.
//!
//! Two marks: at `spill_share` of its seats a target is passed over while another has room; when all are taken
//! nothing is sent there at all.

use crate::routing::pool::Target;
use crate::routing::settings::Settings;
use crate::routing::target::TargetState;
use std::sync::Arc;

/// How full a target may be to be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It has seats that nobody else need be spared.
    Spare,
    /// It has a seat.
    Any,
}

/// A seat of one attempt on a target; free again when this is dropped.
#[derive(Debug)]
#[must_use = "dropping a seat at once frees it"]
pub struct Seat(Arc<TargetState>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.stand_up();
    }
}

impl Target {
    /// Whether there is that much room.
    pub(super) fn has(&self, room: Room, settings: &Settings) -> bool {
        let Some(most) = self.spec.max_in_flight else { return true };
        let taken = self.state.seats();
        match room {
            Room::Any => taken < most,
            Room::Spare => is_spare(taken, most, settings.spill_share),
        }
    }

    /// Takes a seat; `None`: all are taken. Two who ask at once do not get the last one both.
    pub(super) fn sit(&self) -> Option<Seat> {
        let taken = self.state.sit(self.spec.max_in_flight.unwrap_or(u32::MAX));
        taken.then(|| Seat(Arc::clone(&self.state)))
    }
}

/// Under the share, and never the last seat: with one seat alone that is the first.
fn is_spare(taken: u32, most: u32, share: f64) -> bool {
    taken < most && f64::from(taken) < (f64::from(most) * share).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::is_spare;

    #[test]
    fn a_target_is_passed_over_from_its_share_on() {
        let check = |most: u32, share: f64, free: u32| {
            let spare = (0..=most + 1).filter(|taken| is_spare(*taken, most, share)).count();
            assert_eq!(u32::try_from(spare), Ok(free), "{most} seats, {share}");
        };
        check(100, 0.9, 90);
        check(10, 0.85, 9);
        check(10, 1.0, 10);
        check(1, 0.5, 1);
        check(3, 0.01, 1);
    }
}
