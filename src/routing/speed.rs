//! How fast one target is now, and how fast it is when all is well. Plain values.
//!
//! *Score*: `score = alpha x sample + (1 - alpha) x score_eff`. A score that nobody refreshes says less and
//! less: in relative mode `score_eff = normal + (score - normal) x exp(-idle / ttl)`, in absolute mode it is the
//! default once it is older than its time. A degraded target keeps its score: nothing but a good answer
//! changes what is known of it.
//!
//! *Base*: the logarithm of the normal TTFT, at eta `1/n` for the first 50 samples and then at
//! `min(0.02, dt / tau)`: slow in time, not in samples. A hundred samples are ten seconds at ten requests a
//! second, and an average over them would learn an overload as normal.

use crate::routing::learned::LearnedBase;
use crate::routing::settings::{Mode, Settings};
use crate::time::Time;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Samples that are averaged evenly before time takes over.
const EVEN_SAMPLES: u32 = 50;
/// The most that one sample moves the base after those.
const MAX_ETA: f64 = 0.02;
/// The most that one sample counts, as a logarithm: a factor of two. An outlier is not a new normal.
const MAX_SURPRISE: f64 = 0.7;
/// The most that one sample counts in the spread.
const MAX_SPREAD: f64 = 5.0;
/// What a recalled base or score may be: from the least that a sample counts as to a day.
pub(super) const POSSIBLE_MS: RangeInclusive<f64> = 0.009..=86_400_000.0;
/// What a recalled spread may be: an average of samples of which none counts more than the most, and few count
/// much less than 1.
const POSSIBLE_SPREAD: RangeInclusive<f64> = 0.01..=MAX_SPREAD;

/// Score and base of one target.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Speed {
    /// Of the last update; meaningless before `score_at` is set.
    score_ms: f64,
    /// `None`: nothing was ever learned.
    score_at: Option<Time>,
    ln_base: f64,
    /// Average of sample over base: what an average of samples comes to when all is well.
    spread: f64,
    base_at: Time,
    samples: u32,
}

impl Speed {
    /// TTFT of the reference prompt when all is well; `None` before the first sample.
    pub(super) fn base_ms(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.ln_base.exp())
    }

    /// What the score comes to when all is well: the base is a middle, the score an average, and where times
    /// spread widely the two differ by nature.
    pub(super) fn normal_ms(&self) -> Option<f64> {
        self.base_ms().map(|base| base * self.spread)
    }

    pub(super) fn ln_base(&self) -> f64 {
        self.ln_base
    }

    /// Samples that the base was learned from.
    pub(super) fn samples(&self) -> u32 {
        self.samples
    }

    pub(super) fn raw_score(&self) -> Option<(f64, Time)> {
        self.score_at.map(|at| (self.score_ms, at))
    }

    pub(super) fn move_score(&mut self, alpha: f64, sample_ms: f64, before_ms: f64, now: Time) {
        self.set_score(alpha * sample_ms + (1.0 - alpha) * before_ms, now);
    }

    pub(super) fn set_score(&mut self, score_ms: f64, now: Time) {
        self.score_ms = score_ms;
        self.score_at = Some(now);
    }

    /// Learns from one answer of normal times. `start_ms`: the base of the fleet, for a first sample.
    pub(super) fn learn_base(
        &mut self,
        sample_ms: f64,
        start_ms: Option<f64>,
        tau: Duration,
        now: Time,
    ) {
        let ln_sample = sample_ms.max(0.01).ln();
        let idle = now.since(self.base_at);
        self.samples = self.samples.saturating_add(1);
        self.base_at = now;
        if self.samples == 1 {
            // Others are the best guess for a newcomer; without any, its own first answer is.
            self.ln_base = start_ms.map_or(ln_sample, f64::ln);
            self.spread = 1.0;
        }
        let eta = if self.samples <= EVEN_SAMPLES {
            1.0 / f64::from(self.samples)
        } else {
            (idle.as_secs_f64() / tau.as_secs_f64()).min(MAX_ETA)
        };
        self.ln_base += eta * (ln_sample - self.ln_base).clamp(-MAX_SURPRISE, MAX_SURPRISE);
        if self.samples > 1 {
            // Against the base that has moved: an early outlier must not count twice.
            let relative = (ln_sample - self.ln_base).exp().min(MAX_SPREAD);
            self.spread += eta * (relative - self.spread);
        }
    }

    /// Whether nothing was learned in this process.
    pub(super) fn is_blank(&self) -> bool {
        self.samples == 0 && self.score_at.is_none()
    }

    /// The base for the next process; `None` before the first sample.
    pub(super) fn learned(&self) -> Option<LearnedBase> {
        let Self { ln_base: ln_ms, spread, samples, .. } = *self;
        (samples > 0).then_some(LearnedBase { ln_ms, spread, samples })
    }

    /// Takes a former process's base, if it can be one.
    pub(super) fn recall(&mut self, base: &LearnedBase, now: Time) {
        let LearnedBase { ln_ms, spread, samples } = *base;
        let ms = if ln_ms.is_finite() { ln_ms.exp() } else { f64::NAN };
        if samples > 0 && POSSIBLE_MS.contains(&ms) && POSSIBLE_SPREAD.contains(&spread) {
            (self.ln_base, self.spread, self.samples) = (ln_ms, spread, samples);
            self.base_at = now;
        }
    }

    pub(super) fn check_invariants(&self) {
        debug_assert!(self.spread.is_finite() && self.spread >= 0.0, "{self:?}");
        debug_assert!(self.score_ms.is_finite() && self.score_ms >= 0.0, "{self:?}");
        debug_assert!(self.ln_base.is_finite(), "{self:?}");
    }
}

/// What the score that counts is made of, read from the truth or from its mirrors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// `None`: nothing was ever learned.
    pub(super) score: Option<(f64, Time)>,
    /// The score when all is well; `None` while there are too few samples: one slow first answer must not keep a
    /// target out for ever.
    pub(super) normal_ms: Option<f64>,
    pub(super) degraded: bool,
}

impl Reading {
    /// The score that counts now. `unknown_ms` stands for what was never learned.
    pub(super) fn score_ms(&self, settings: &Settings, unknown_ms: f64, now: Time) -> f64 {
        let normal_ms = self.normal_ms.unwrap_or(unknown_ms);
        let Some((score_ms, at)) = self.score else { return normal_ms };
        if self.degraded && settings.recover.flag_ttl.is_none() {
            // Nothing but its probes and a good answer changes what is known of it.
            return score_ms;
        }
        let idle = now.since(at);
        match settings.detect.mode {
            Mode::Absolute if idle >= settings.score_ttl => settings.default_score_ms,
            Mode::Absolute => score_ms,
            Mode::Relative => {
                let left = (-idle.as_secs_f64() / settings.score_ttl.as_secs_f64()).exp();
                normal_ms + (score_ms - normal_ms) * left
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::at(Duration::from_secs(seconds))
    }

    const TAU: Duration = Duration::from_mins(30);

    #[test]
    fn a_score_decays_to_the_base_or_steps_to_the_default() {
        let known =
            Reading { score: Some((5000.0, at(100))), normal_ms: Some(1000.0), degraded: false };
        let lookout = Settings::lookout();
        let eff = |settings: &Settings, now| known.score_ms(settings, 1.0, at(now));
        assert!((eff(&lookout, 100) - 5000.0).abs() < 1e-9);
        assert!((eff(&lookout, 160) - (1000.0 + 4000.0 / std::f64::consts::E)).abs() < 1e-6);
        assert!((eff(&lookout, 10_000) - 1000.0).abs() < 1e-6);
        let ema = Settings::ema();
        assert!((eff(&ema, 699) - 5000.0).abs() < 1e-9);
        assert!((eff(&ema, 700) - 1000.0).abs() < 1e-9);
    }

    #[test]
    fn the_base_learns_fast_at_first_and_slowly_for_ever_after() {
        let mut speed = Speed::default();
        for n in 0..50 {
            speed.learn_base(800.0, None, TAU, at(n));
        }
        assert!((speed.base_ms().unwrap() - 800.0).abs() < 1e-6);
        // Ten answers a second for ten seconds at four times the normal.
        for n in 0..100 {
            speed.learn_base(3200.0, None, TAU, at(50) + Duration::from_millis(100 * n));
        }
        let after = speed.base_ms().unwrap();
        assert!((800.0..810.0).contains(&after), "an overload is not a new normal: {after}");
        // But half an hour of it is.
        for n in 0..3600 {
            speed.learn_base(3200.0, None, TAU, at(60 + n));
        }
        assert!(speed.base_ms().unwrap() > 2400.0);
    }

    #[test]
    fn an_outlier_moves_a_young_base_by_a_bounded_factor() {
        let mut speed = Speed::default();
        speed.learn_base(1000.0, None, TAU, at(1));
        speed.learn_base(60_000.0, None, TAU, at(2));
        assert!(speed.base_ms().unwrap() < 1000.0 * (0.36_f64).exp());
        let mut newcomer = Speed::default();
        newcomer.learn_base(60_000.0, Some(1000.0), TAU, at(1));
        assert!(newcomer.base_ms().unwrap() < 2020.0, "the fleet's base is its start");
    }
}
