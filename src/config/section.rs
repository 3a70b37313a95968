//! A map with known keys: the reader of numbers, flags and words.
//!
//! Ranges and defaults come from the rows of `keys`. A value that is noted as a problem reads as its
//! default, so that what depends on it can still be checked.

use crate::config::at::At;
use crate::config::keys;
use crate::config::keys::Flag;
use crate::config::keys::Real;
use crate::config::keys::Whole;
use crate::config::keys::Word;
use crate::config::names;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::tree::Value;
use std::time::Duration;

/// A map whose keys are all known.
#[derive(Clone)]
pub(super) struct Section<'a> {
    /// Where its own key stands.
    pub(super) spot: Spot,
    /// `None` if something else stood here, which is noted: then nothing in it is missing as well.
    entries: Option<Vec<(&'a str, At<'a>)>>,
}

impl<'a> Section<'a> {
    pub(super) fn new(spot: Spot, entries: Option<Vec<(&'a str, At<'a>)>>) -> Self {
        Self { spot, entries }
    }

    pub(super) fn get(&self, name: &str) -> Option<&At<'a>> {
        self.entries.iter().flatten().find(|(key, _)| *key == name).map(|(_, at)| at)
    }

    /// Whether the key is missing from a map that is one.
    pub(super) fn lacks(&self, name: &str) -> bool {
        self.entries.is_some() && self.get(name).is_none()
    }

    /// Like [`Section::get`]; notes that the key is missing. `what` says what to write.
    pub(super) fn require(
        &self,
        name: &str,
        what: &str,
        problems: &mut Problems,
    ) -> Option<&At<'a>> {
        if self.lacks(name) {
            let instead = format!("write `{name}: {what}`");
            problems.refuse(&self.spot, format!("`{name}` is missing"), instead);
        }
        self.get(name)
    }

    /// The section whose rows stand below `pattern`; empty if it is not written.
    pub(super) fn inner(&self, pattern: &'static str, problems: &mut Problems) -> Self {
        match self.get(keys::name(pattern)) {
            Some(at) => at.section(pattern, problems),
            None => Self::new(self.spot.clone(), Some(Vec::new())),
        }
    }

    /// Where a value stands, if it is written.
    pub(super) fn spot_of(&self, path: &'static str) -> Option<&Spot> {
        self.get(keys::name(path)).map(|at| &at.spot)
    }

    pub(super) fn flag(&self, key: &'static Flag, problems: &mut Problems) -> bool {
        self.written_flag(key, problems).unwrap_or_else(|| key.default.plain())
    }

    pub(super) fn whole(&self, key: &'static Whole, problems: &mut Problems) -> u32 {
        self.written_whole(key, problems).unwrap_or_else(|| key.default.plain())
    }

    pub(super) fn real(&self, key: &'static Real, problems: &mut Problems) -> f64 {
        self.written_real(key, problems).unwrap_or_else(|| key.default.plain())
    }

    pub(super) fn seconds(&self, key: &'static Real, problems: &mut Problems) -> Duration {
        to_duration(self.real(key, problems))
    }

    /// `None` if it is not written, or not one of the words.
    pub(super) fn word(&self, key: &'static Word, problems: &mut Problems) -> Option<&'a str> {
        let at = self.get(keys::name(key.path))?;
        let what = format!("one of {}", names::list(key.words));
        let word = at.text(&what, problems)?;
        if key.words.contains(&word) {
            return Some(word);
        }
        let instead = names::did_you_mean(word, key.words);
        problems.refuse(&at.spot, "not a word that is known here", instead);
        None
    }

    /// `None` if it is not written, or neither true nor false.
    pub(super) fn written_flag(&self, key: &'static Flag, problems: &mut Problems) -> Option<bool> {
        let at = self.get(keys::name(key.path))?;
        match *at.value() {
            Value::Flag(flag) => Some(flag),
            Value::Null
            | Value::Whole(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_) => {
                at.mismatch("true or false", "`true` or `false`, without quotes", problems)
            }
        }
    }

    /// `None` if it is not written, or not in its range.
    pub(super) fn written_whole(
        &self,
        key: &'static Whole,
        problems: &mut Problems,
    ) -> Option<u32> {
        let at = self.get(keys::name(key.path))?;
        if let Value::Whole(number) = *at.value()
            && let Ok(number) = u32::try_from(number)
            && (key.least..=key.most).contains(&number)
        {
            return Some(number);
        }
        let what = format!("a whole number from {} to {} ({})", key.least, key.most, key.unit);
        refuse_number(at, &what, problems);
        None
    }

    /// `None` if it is not written, or not in its range.
    pub(super) fn written_real(&self, key: &'static Real, problems: &mut Problems) -> Option<f64> {
        let at = self.get(keys::name(key.path))?;
        let number = in_range(at, key);
        if number.is_none() {
            let what = format!("a number from {} to {} ({})", key.least, key.most, key.unit);
            refuse_number(at, &what, problems);
        }
        number
    }

    /// Whether a number is written that was noted as a problem: then it says nothing about others.
    pub(super) fn misread(&self, key: &'static Real) -> bool {
        self.get(keys::name(key.path)).is_some_and(|at| in_range(at, key).is_none())
    }
}

fn in_range(at: &At<'_>, key: &'static Real) -> Option<f64> {
    let number = match *at.value() {
        Value::Number(number) => number,
        // No range goes further than 32 bits.
        Value::Whole(number) => f64::from(u32::try_from(number).ok()?),
        Value::Null | Value::Flag(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            return None;
        }
    };
    // A NaN is in no range.
    (key.least..=key.most).contains(&number).then_some(number)
}

fn refuse_number(at: &At<'_>, what: &str, problems: &mut Problems) {
    if matches!(at.value(), Value::Whole(_) | Value::Number(_)) {
        problems.refuse(&at.spot, "out of range", format!("write {what}"));
    } else if at.is_quoted_number() {
        let wrong = "text in quotes, not a number";
        problems.refuse(&at.spot, wrong, format!("leave out the quotes: {what}"));
    } else {
        at.mismatch::<()>("a number", what, problems);
    }
}

/// Every range of seconds is one of durations, so that the default of a duration is never taken.
pub(super) fn to_duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
