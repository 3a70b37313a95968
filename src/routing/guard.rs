//! Whether a target with enough strikes may be taken out of use, in view of the others.
//!
//! Exclusion without these guards melts a tight pool down: the load of the excluded target makes the next
//! one slow, and so on. A target may go only if
//!
//! - the rest is well: the lower median of score over base of the other usable targets is at most
//!   `rest_ratio_max`, and one of them is not suspect. When all are slow, it is not this one's fault, and
//!   there is nowhere to go.
//! - not too many are out: with it at most `max_out_share` of the targets, and one in any case.

use crate::routing::settings::Detect;

/// What the guards see of a target.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each named where it is read")]
pub(super) struct Seen {
    /// Neither degraded, nor blocked, nor limited.
    pub(super) usable: bool,
    /// Half or more of its attempts are late.
    pub(super) suspect: bool,
    /// Out of use, or limited until just now.
    pub(super) out: bool,
    pub(super) drained: bool,
    /// Score over base.
    pub(super) ratio: f64,
}

/// Which guard held a trip back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TripBlocked {
    /// The rest of the pool is no better.
    Rest,
    /// Too many are out already.
    MaxOut,
}

/// How much is known of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Too little for ratios to mean anything.
    Young,
    Enough,
}

/// Whether one more may go, where `others` are all the targets but this one.
pub(super) fn may_trip(detect: &Detect, known: Known, others: &[Seen]) -> Result<(), TripBlocked> {
    if detect.rest_ratio_max.is_finite() && !rest_is_well(detect, known, others) {
        return Err(TripBlocked::Rest);
    }
    let count = |is: fn(&Seen) -> bool| {
        let found = others.iter().filter(|seen| is(seen)).count();
        u32::try_from(found).map_or(f64::INFINITY, f64::from)
    };
    let not_drained = count(|seen| !seen.drained) + 1.0;
    let out = count(|seen| seen.out && !seen.drained);
    let most = (not_drained * detect.max_out_share).floor().max(1.0);
    if out + 1.0 > most { Err(TripBlocked::MaxOut) } else { Ok(()) }
}

fn rest_is_well(detect: &Detect, known: Known, others: &[Seen]) -> bool {
    let usable = || others.iter().filter(|seen| seen.usable);
    if !usable().any(|seen| !seen.suspect) {
        return false;
    }
    let mut ratios: Vec<f64> = usable().map(|seen| seen.ratio).collect();
    known == Known::Young
        || lower_median(&mut ratios).is_some_and(|ratio| ratio <= detect.rest_ratio_max)
}

/// The middle one, the lower of the two if there are two; `None` of none.
pub(super) fn lower_median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len().checked_sub(1)? / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::settings::Settings;

    const WELL: Seen =
        Seen { usable: true, suspect: false, out: false, drained: false, ratio: 1.0 };
    const OUT: Seen = Seen { usable: false, out: true, ..WELL };
    const SLOW: Seen = Seen { ratio: 1.26, ..WELL };
    const DRAINED: Seen = Seen { usable: false, out: true, drained: true, ..WELL };

    #[test]
    fn a_target_goes_only_if_the_rest_is_well_and_few_are_out() {
        let detect = Settings::lookout().detect;
        let check = |others: &[Seen], expected| {
            assert_eq!(may_trip(&detect, Known::Enough, others), expected, "{others:?}");
        };
        check(&[WELL, WELL], Ok(()));
        check(&[WELL], Ok(()));
        check(&[], Err(TripBlocked::Rest));
        check(&[Seen { ratio: 1.25, ..WELL }], Ok(()));
        check(&[SLOW, SLOW], Err(TripBlocked::Rest));
        check(&[SLOW, WELL], Ok(()));
        check(&[SLOW, WELL, SLOW], Err(TripBlocked::Rest));
        check(&[Seen { suspect: true, ..WELL }; 2], Err(TripBlocked::Rest));
        check(&[Seen { suspect: true, ..WELL }, WELL], Ok(()));
        // One of three is out: half of three, rounded down, is one.
        check(&[OUT, WELL], Err(TripBlocked::MaxOut));
        check(&[OUT, WELL, WELL], Ok(()));
        check(&[OUT, OUT, WELL, WELL], Err(TripBlocked::MaxOut));
        // A drained one is no part of the pool.
        check(&[DRAINED, OUT, WELL], Err(TripBlocked::MaxOut));
        check(&[DRAINED, WELL], Ok(()));
    }

    #[test]
    fn while_little_is_known_ratios_do_not_count() {
        let detect = Settings::lookout().detect;
        assert_eq!(may_trip(&detect, Known::Young, &[SLOW, SLOW]), Ok(()));
    }

    #[test]
    fn ema_has_no_guards() {
        let detect = Settings::ema().detect;
        assert_eq!(may_trip(&detect, Known::Enough, &[]), Ok(()));
        assert_eq!(may_trip(&detect, Known::Enough, &[OUT, OUT]), Ok(()));
    }

    #[test]
    fn the_lower_median_is_one_of_them() {
        assert_eq!(lower_median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(lower_median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.0));
        assert_eq!(lower_median(&mut []), None);
    }
}
