//! How long responses take that are not streamed, by what was asked for. Plain values.
//!
//! Such a response comes as a whole, so its time is mostly that of its length. It is compared with others of its
//! [`Class`] alone: the same operation, and about as many tokens allowed. Each class learns its usual time (a
//! middle of logarithms) and its own late multiple, which settles where one response in fifty is late, as that of
//! first tokens does. Where requests name no length, times spread widely, and so the multiple may become large.
//!
//! A class that was seldom seen is compared with all responses of the model, at the largest multiple. While
//! nothing is known at all nothing is late.

use crate::routing::learned::LearnedTotal;
use crate::routing::norm::Lateness;
use crate::routing::settings::Bounds;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How many operations are told apart.
const KINDS: usize = 7;
/// How many lengths are: unknown, unknown for several answers, up to 31 tokens, 32, ... 128k and over.
const LENGTHS: usize = 16;
const CLASSES: usize = KINDS * LENGTHS;
/// The late multiple of whole responses: from a narrow spread to that of answers without a bound.
pub(super) const WHOLE_MULT: Bounds = Bounds { min: 1.6, start: 3.0, max: 16.0 };
/// The most that one sample counts, as a logarithm.
const MAX_SURPRISE: f64 = 0.7;
/// How fast what is usual and the late multiple move.
const STEP: f64 = 0.02;
/// How much faster the multiple moves at first: in steps of so much, divided by the samples seen.
const FIRST_STEPS: f64 = 10.0;

/// What is asked for, as far as it decides how long a whole response takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Chat completions.
    Chat,
    /// Legacy completions.
    Completions,
    /// The Responses API.
    Responses,
    /// Pictures.
    Images,
    /// Speech to text.
    Transcriptions,
    /// Text to speech.
    Speech,
    /// Whatever else.
    #[default]
    Other,
}

impl Kind {
    const ALL: [Self; KINDS] = [
        Self::Chat,
        Self::Completions,
        Self::Responses,
        Self::Images,
        Self::Transcriptions,
        Self::Speech,
        Self::Other,
    ];

    /// The word for the state file.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Images => "images",
            Self::Transcriptions => "transcriptions",
            Self::Speech => "speech",
            Self::Other => "other",
        }
    }
}

/// The responses that one is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    kind: Kind,
    /// Below [`LENGTHS`].
    length: u8,
}

impl Class {
    /// Of `answers` answers with at most `max_tokens` each, if that is known.
    pub fn of(kind: Kind, max_tokens: Option<u64>, answers: u64) -> Self {
        let length = match max_tokens {
            None => u8::from(answers > 1),
            Some(tokens) => {
                // 32 is two to the fifth, and opens length 3.
                let power = tokens.saturating_mul(answers.max(1)).checked_ilog2().unwrap_or(0);
                let length = usize::try_from(power.saturating_sub(2)).unwrap_or(LENGTHS);
                u8::try_from(length.clamp(2, LENGTHS - 1)).unwrap_or(0)
            }
        };
        Self { kind, length }
    }

    fn all() -> impl Iterator<Item = Self> {
        let lengths = (0..LENGTHS).filter_map(|length| u8::try_from(length).ok());
        Kind::ALL
            .into_iter()
            .flat_map(move |kind| lengths.clone().map(move |length| Self { kind, length }))
    }

    fn index(self) -> usize {
        let kind = Kind::ALL.iter().position(|kind| *kind == self.kind).unwrap_or(0);
        kind * LENGTHS + usize::from(self.length)
    }

    /// The word for the state file: the operation and the least number of tokens.
    fn name(self) -> String {
        let kind = self.kind.as_str();
        match self.length {
            0 => kind.to_owned(),
            1 => format!("{kind} several"),
            2 => format!("{kind} 0"),
            length => format!("{kind} {}", 1_u64 << (u32::from(length) + 2)),
        }
    }
}

/// What is known of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usual {
    pub(super) ms: f64,
    pub(super) late_mult: f64,
    pub(super) samples: u32,
}

#[derive(Clone, Copy, Debug)]
struct Spread {
    ln_ms: f64,
    late_mult: f64,
    samples: u32,
}

/// What is known of all classes.
#[derive(Clone, Debug)]
pub(super) struct Totals {
    classes: [Spread; CLASSES],
}

impl Default for Totals {
    fn default() -> Self {
        let unseen = Spread { ln_ms: 0.0, late_mult: WHOLE_MULT.start, samples: 0 };
        Self { classes: [unseen; CLASSES] }
    }
}

impl Totals {
    /// What is usual in that class; `None` before its first response.
    pub(super) fn usual(&self, class: Class) -> Option<Usual> {
        let Spread { ln_ms, late_mult, samples } = *self.classes.get(class.index())?;
        (samples > 0).then(|| Usual { ms: ln_ms.exp(), late_mult, samples })
    }

    /// Learns from the time of a whole response.
    pub(super) fn learn(&mut self, class: Class, total_ms: f64) {
        let Some(spread) = self.classes.get_mut(class.index()) else { return };
        let ln_sample = total_ms.max(0.01).ln();
        spread.samples = spread.samples.saturating_add(1);
        if spread.samples == 1 {
            spread.ln_ms = ln_sample;
        }
        let step = (1.0 / f64::from(spread.samples)).max(STEP);
        spread.ln_ms += step * (ln_sample - spread.ln_ms).clamp(-MAX_SURPRISE, MAX_SURPRISE);
    }

    /// Learns from whether a response was late; `quantile`: the share that is to come in time.
    pub(super) fn learn_late(&mut self, class: Class, quantile: f64, lateness: Lateness) {
        let Some(spread) = self.classes.get_mut(class.index()) else { return };
        let push = match lateness {
            Lateness::Late => quantile,
            Lateness::InTime => quantile - 1.0,
        };
        let step = (FIRST_STEPS / f64::from(spread.samples.max(20))).max(STEP);
        let Bounds { min, max, .. } = WHOLE_MULT;
        spread.late_mult = (spread.late_mult + step * push).clamp(min, max);
    }

    /// What the next process may start with.
    pub(super) fn learned(&self) -> BTreeMap<String, LearnedTotal> {
        let seen = Class::all().zip(&self.classes).filter(|(_, spread)| spread.samples > 0);
        let of = |&Spread { ln_ms, late_mult, samples }: &Spread| LearnedTotal {
            ln_ms,
            late_mult,
            samples,
        };
        seen.map(|(class, spread)| (class.name(), of(spread))).collect()
    }

    /// Takes what a former process knew, as far as it can be.
    pub(super) fn recall(
        &mut self,
        learned: &BTreeMap<String, LearnedTotal>,
        possible: &RangeInclusive<f64>,
    ) {
        for (class, spread) in Class::all().zip(&mut self.classes) {
            let found = learned.get(&class.name()).filter(|found| {
                found.samples > 0 && possible.contains(&found.ln_ms) && found.late_mult.is_finite()
            });
            if let Some(found) = found {
                let late_mult = found.late_mult.clamp(WHOLE_MULT.min, WHOLE_MULT.max);
                *spread = Spread { ln_ms: found.ln_ms, late_mult, samples: found.samples };
            }
        }
    }

    pub(super) fn check_invariants(&self) {
        for Spread { ln_ms, late_mult, .. } in &self.classes {
            debug_assert!(ln_ms.is_finite(), "{ln_ms}");
            debug_assert!((WHOLE_MULT.min..=WHOLE_MULT.max).contains(late_mult), "{late_mult}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeSet;

    #[test]
    fn classes_are_operations_and_powers_of_two() {
        let of = |tokens, answers| Class::of(Kind::Chat, tokens, answers).name();
        assert_eq!([of(None, 0), of(None, 1), of(None, 2)], ["chat", "chat", "chat several"]);
        let found = [0, 1, 31, 32, 63, 64, 1000, 1 << 18, u64::MAX].map(|n| of(Some(n), 1));
        let named = ["0", "0", "0", "32", "32", "64", "512", "131072", "131072"];
        assert_eq!(found, named.map(|least| format!("chat {least}")));
        assert_eq!(of(Some(16), 4), "chat 64", "several answers are as much as one long one");
        assert_ne!(Class::of(Kind::Speech, Some(16), 4), Class::of(Kind::Chat, Some(16), 4));
        let names: BTreeSet<String> = Class::all().map(Class::name).collect();
        assert_eq!(names.len(), CLASSES, "no two have the same name");
        assert!(Class::all().enumerate().all(|(index, class)| class.index() == index));
    }

    /// What is known after `n` responses of that spread, and the share of the last half of them that was late.
    fn settled(sigma: f64, n: u32) -> (Totals, f64) {
        let class = Class::default();
        let (mut totals, mut rng) = (Totals::default(), Rng::from_seed(3));
        let mut late = 0;
        for i in 0..n {
            let ms = rng.lognormal(6_000.0, sigma);
            let due = totals.usual(class).map_or(f64::INFINITY, |u| u.ms * u.late_mult);
            let lateness = if ms > due { Lateness::Late } else { Lateness::InTime };
            late += u32::from(ms > due && i >= n / 2);
            totals.learn(class, ms);
            totals.learn_late(class, 0.98, lateness);
            totals.check_invariants();
        }
        (totals, f64::from(late) / f64::from(n / 2))
    }

    #[test]
    fn one_in_fifty_is_late_however_widely_times_spread() {
        for sigma in [0.3, 0.5, 0.8, 1.1] {
            let (totals, late) = settled(sigma, 20_000);
            let usual = totals.usual(Class::default()).unwrap();
            assert!((5_000.0..7_000.0).contains(&usual.ms), "{sigma}: {usual:?}");
            assert!((0.01..0.03).contains(&late), "{sigma}: {late}, {usual:?}");
        }
    }

    #[test]
    fn classes_do_not_mix_and_outlive_the_process() {
        let (mut totals, _) = settled(0.5, 100);
        let long = Class::of(Kind::Chat, Some(4096), 1);
        assert_eq!(totals.usual(long), None);
        totals.learn(long, 60_000.0);
        let mut next = Totals::default();
        next.recall(&totals.learned(), &(-4.7..=18.3));
        for class in [Class::default(), long] {
            assert_eq!(next.usual(class), totals.usual(class));
        }
        assert_eq!(next.learned().len(), 2);
        let odd = LearnedTotal { ln_ms: f64::NAN, late_mult: 1e300, samples: 9 };
        let mut garbage = totals.learned();
        garbage.insert("chat 4096".to_owned(), odd);
        garbage.insert("other".to_owned(), LearnedTotal { ln_ms: 8.0, ..odd });
        let mut next = Totals::default();
        next.recall(&garbage, &(-4.7..=18.3));
        next.check_invariants();
        assert_eq!(next.usual(long), None);
        assert!((next.usual(Class::default()).unwrap().late_mult - 16.0).abs() < 1e-9);
    }
}
