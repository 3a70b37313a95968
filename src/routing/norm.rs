//! What is normal for a model, whichever target answers: how TTFT grows with the prompt, and how far an
//! answer may lie above what is expected before it is late. Plain values.
//!
//! *Shape*: the factor on TTFT for a prompt size; 1 for the reference size, which is never moved, so that the
//! targets' bases mean the same for all. `ln_shape += e x clamp(ln ttft - ln_base - ln_shape, -0.7, 0.7)`.
//!
//! *Late multiple*: D is this many times the expected TTFT. It moves up a little when an answer is late and
//! down a very little when it is not, and settles where one answer in fifty is late (p98), whatever the
//! distribution.

use crate::routing::learned::{LearnedNorm, LearnedSize};
use crate::routing::settings::{Baseline, Bounds, Detect, Settings};
use crate::routing::size::{SIZES, Size};
use crate::routing::totals::{Class, Totals, Usual};
use std::ops::RangeInclusive;

/// The most that one sample counts, as a logarithm.
const MAX_SURPRISE: f64 = 0.7;
/// How fast the late multiple moves.
const LATE_STEP: f64 = 0.02;
/// How much faster at first: in steps of so much, divided by the samples seen.
const FIRST_STEPS: f64 = 10.0;
/// Samples after which the shape moves at its slowest.
const SHAPE_SETTLED: u32 = 200;
/// What a recalled factor may be, as a logarithm, either way: a thousand.
const POSSIBLE_LN_FACTOR: f64 = 6.908;
/// What a recalled time may be, as a logarithm of milliseconds: from the least that a sample counts as to a day.
const POSSIBLE_LN_MS: RangeInclusive<f64> = -4.7..=18.3;

/// What is normal for one model.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    ln_shape: [f64; SIZES],
    counts: [u32; SIZES],
    samples: u32,
    late_mult: f64,
    /// Logarithm of the typical time of a whole answer that is not streamed, of any class.
    ln_total: f64,
    totals: u32,
    /// The same by class.
    classes: Totals,
}

impl Norm {
    pub(super) fn new(late_mult: Bounds) -> Self {
        let mut ln_shape = [0.0; SIZES];
        for (slot, size) in ln_shape.iter_mut().zip(Size::all()) {
            *slot = size.prior().ln();
        }
        Self {
            ln_shape,
            counts: [0; SIZES],
            samples: 0,
            late_mult: late_mult.start,
            ln_total: 0.0,
            totals: 0,
            classes: Totals::default(),
        }
    }

    /// The factor on TTFT for a prompt of that size.
    pub(super) fn shape(&self, size: Size) -> f64 {
        self.ln_shape.get(size.index()).map_or(1.0, |ln| ln.exp())
    }

    pub(super) fn late_mult(&self) -> f64 {
        self.late_mult
    }

    /// Whether the factor of that size is more than a guess. The reference size's is 1 by definition.
    pub(super) fn is_proven(&self, size: Size, baseline: &Baseline) -> bool {
        let count = self.counts.get(size.index()).copied().unwrap_or(0);
        size == Size::REFERENCE || count >= baseline.warm_samples
    }

    /// Whether too little is known of the model as a whole.
    pub(super) fn is_young(&self, baseline: &Baseline) -> bool {
        self.samples < baseline.warm_samples
    }

    /// Learns how TTFT depends on the prompt from one answer of normal times.
    pub(super) fn learn_shape(&mut self, size: Size, ttft_ms: f64, ln_base: f64) {
        self.samples = self.samples.saturating_add(1);
        let slots = self.ln_shape.get_mut(size.index()).zip(self.counts.get_mut(size.index()));
        let Some((ln_shape, count)) = slots else { return };
        let floor = if *count < SHAPE_SETTLED { 0.005 } else { 0.001 };
        let step = (1.0 / (f64::from(*count) + 3.0)).max(floor);
        *count = count.saturating_add(1);
        if size != Size::REFERENCE {
            let surprise = ttft_ms.max(0.01).ln() - ln_base - *ln_shape;
            *ln_shape += step * surprise.clamp(-MAX_SURPRISE, MAX_SURPRISE);
        }
    }

    /// Learns from whether one answer was late.
    pub(super) fn learn_late(&mut self, detect: &Detect, lateness: Lateness) {
        let push = match lateness {
            Lateness::Late => detect.late_quantile,
            Lateness::InTime => detect.late_quantile - 1.0,
        };
        let bounds = detect.late_mult;
        // Large steps at first: how widely times spread is to be known within a minute or so.
        let step = (FIRST_STEPS / f64::from(self.samples.max(20))).max(LATE_STEP);
        self.late_mult = (self.late_mult + step * push).clamp(bounds.min, bounds.max);
    }

    /// Learns from the time of a whole answer that was not streamed.
    pub(super) fn learn_total(&mut self, class: Class, total_ms: f64) {
        self.classes.learn(class, total_ms);
        let ln_sample = total_ms.max(0.01).ln();
        self.totals = self.totals.saturating_add(1);
        if self.totals == 1 {
            self.ln_total = ln_sample;
        }
        let step = (1.0 / f64::from(self.totals)).max(LATE_STEP);
        self.ln_total += step * (ln_sample - self.ln_total).clamp(-MAX_SURPRISE, MAX_SURPRISE);
    }

    /// The typical time of a whole answer that is not streamed; `None` while too few were seen.
    pub(super) fn total_ms(&self, settings: &Settings) -> Option<f64> {
        (self.totals >= settings.baseline.warm_samples).then(|| self.ln_total.exp())
    }

    /// Learns from whether a whole response was late for its class.
    pub(super) fn learn_total_late(&mut self, detect: &Detect, class: Class, lateness: Lateness) {
        self.classes.learn_late(class, detect.late_quantile, lateness);
    }

    /// What is usual for whole responses of that class; `None` before the first.
    pub(super) fn usual(&self, class: Class) -> Option<Usual> {
        self.classes.usual(class)
    }

    /// What the next process may start with. Sizes that were never seen are left to its own prior.
    pub(super) fn learned(&self) -> LearnedNorm {
        let slots = Size::all().zip(self.ln_shape.iter().zip(&self.counts));
        let seen = slots.filter(|(_, (_, samples))| **samples > 0);
        let sizes = seen.map(|(size, (&ln_factor, &samples))| {
            (size.as_str().to_owned(), LearnedSize { ln_factor, samples })
        });
        LearnedNorm {
            sizes: sizes.collect(),
            samples: self.samples,
            late_mult: self.late_mult,
            ln_total_ms: self.ln_total,
            totals: self.totals,
            classes: self.classes.learned(),
        }
    }

    /// Takes what a former process knew, as far as it can be, unless something was learned in this one.
    pub(super) fn recall(&mut self, learned: &LearnedNorm, late_mult: Bounds) {
        if self.samples > 0 || self.totals > 0 {
            return;
        }
        for (index, size) in Size::all().enumerate() {
            let found = learned.sizes.get(size.as_str());
            let Some(found) = found.filter(|f| f.ln_factor.abs() <= POSSIBLE_LN_FACTOR) else {
                continue;
            };
            if let Some(count) = self.counts.get_mut(index) {
                *count = found.samples;
            }
            // The reference's factor is 1 by definition, whatever is written.
            let slot = self.ln_shape.get_mut(index).filter(|_| size != Size::REFERENCE);
            if let Some(ln_shape) = slot.filter(|_| found.samples > 0) {
                *ln_shape = found.ln_factor;
            }
        }
        self.samples = learned.samples;
        // The bounds may have changed since.
        if learned.late_mult.is_finite() && learned.late_mult > 0.0 {
            self.late_mult = learned.late_mult.clamp(late_mult.min, late_mult.max);
        }
        if learned.totals > 0 && POSSIBLE_LN_MS.contains(&learned.ln_total_ms) {
            (self.ln_total, self.totals) = (learned.ln_total_ms, learned.totals);
        }
        self.classes.recall(&learned.classes, &POSSIBLE_LN_MS);
    }

    pub(super) fn check_invariants(&self, detect: &Detect) {
        debug_assert!(self.ln_total.is_finite(), "{}", self.ln_total);
        self.classes.check_invariants();
        let Bounds { min, max, .. } = detect.late_mult;
        debug_assert!((min..=max).contains(&self.late_mult), "late_mult {}", self.late_mult);
        debug_assert!(self.ln_shape.iter().all(|ln| ln.is_finite()), "{:?}", self.ln_shape);
        let reference = self.ln_shape.get(Size::REFERENCE.index());
        debug_assert!(reference.is_some_and(|ln| ln.abs() < 1e-12), "the reference moved");
    }
}

/// Whether an answer came before its D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lateness {
    Late,
    InTime,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    fn norm() -> (Norm, Settings) {
        let settings = Settings::lookout();
        (Norm::new(settings.detect.late_mult), settings)
    }

    #[test]
    fn the_shape_finds_a_dependence_that_is_not_the_prior() {
        let (mut norm, settings) = norm();
        let mut rng = Rng::from_seed(1);
        let long = Size::of(40_000);
        for _ in 0..500 {
            norm.learn_shape(long, rng.lognormal(9_000.0, 0.3), 1000.0_f64.ln());
            norm.learn_shape(Size::REFERENCE, rng.lognormal(3_000.0, 0.3), 1000.0_f64.ln());
        }
        assert!((8.0..10.0).contains(&norm.shape(long)), "{}", norm.shape(long));
        assert!((norm.shape(Size::REFERENCE) - 1.0).abs() < 1e-12);
        assert!(norm.is_proven(long, &settings.baseline));
        assert!(!norm.is_proven(Size::of(10), &settings.baseline), "none of that size was seen");
    }

    #[test]
    fn a_model_is_young_and_a_size_unproven_until_they_have_their_samples() {
        let (mut norm, settings) = norm();
        let size = Size::of(3_000);
        for _ in 0..19 {
            norm.learn_shape(size, 1000.0, 1000.0_f64.ln());
        }
        assert!(!norm.is_proven(size, &settings.baseline) && norm.is_young(&settings.baseline));
        norm.learn_shape(size, 1000.0, 1000.0_f64.ln());
        assert!(norm.is_proven(size, &settings.baseline) && !norm.is_young(&settings.baseline));
    }

    #[test]
    fn the_typical_total_is_near_the_median_and_unknown_at_first() {
        let (mut norm, settings) = norm();
        let mut rng = Rng::from_seed(2);
        for n in 0..2000_u32 {
            assert_eq!(norm.total_ms(&settings).is_none(), n < 20);
            norm.learn_total(Class::default(), rng.lognormal(6_000.0, 0.5));
        }
        let total = norm.total_ms(&settings).unwrap();
        assert!((5_200.0..6_900.0).contains(&total), "{total}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

        /// Whatever the spread: about one answer in fifty is late once it has settled.
        #[test]
        fn the_late_multiple_settles_at_its_quantile(sigma in 0.25..0.6_f64, seed in 0..1000_u64) {
            let (mut norm, settings) = norm();
            let mut rng = Rng::from_seed(seed);
            let mut late = 0_u32;
            for n in 0..40_000 {
                let lateness = if rng.lognormal(1.0, sigma) > norm.late_mult() {
                    late += u32::from(n >= 10_000);
                    Lateness::Late
                } else {
                    Lateness::InTime
                };
                norm.learn_late(&settings.detect, lateness);
                norm.check_invariants(&settings.detect);
            }
            // Bounded by 1.6 from below: narrow distributions have fewer late answers than the quantile says.
            let share = f64::from(late) / 30_000.0;
            prop_assert!(share < 0.028, "{share}");
            prop_assert!(share > 0.012 || norm.late_mult() < 1.75, "{share} {}", norm.late_mult());
        }
    }
}
