//! Reading YAML files that are not the configuration: the same places, the same words for what is wrong, the
//! same "did you mean", without a row in `keys` for each key.
//!
//! The reader of a file says at each map which keys it knows, and then asks for them. A value that is noted
//! as a problem reads as its default, so that the rest can still be checked; the file is used only if nothing
//! was noted.

use crate::config::at::At;
use crate::config::names;
use crate::config::problem::Problem;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::problem::shown;
use crate::config::tree;
use crate::config::tree::Value;
use std::cell::RefCell;
use std::ops::RangeInclusive;

/// Reads the text of a file whose top level is a map with these keys; every problem at once, sorted by place.
pub fn read_fields<T>(
    text: &str,
    known: &[&str],
    read: impl FnOnce(&Fields<'_>) -> T,
) -> Result<T, Vec<Problem>> {
    let problems = RefCell::new(Problems::default());
    let root = tree::parse(text, &mut problems.borrow_mut());
    let value = root.as_ref().map(|root| read(&Fields::new(&At::root(root), known, &problems)));
    problems.into_inner().settle()?;
    value.ok_or_else(Vec::new)
}

/// One map of the file.
pub struct Fields<'a> {
    /// Where its own key stands.
    spot: Spot,
    entries: Vec<(&'a str, At<'a>)>,
    problems: &'a RefCell<Problems>,
}

impl<'a> Fields<'a> {
    fn new(at: &At<'a>, known: &[&str], problems: &'a RefCell<Problems>) -> Self {
        let notes = &mut *problems.borrow_mut();
        let what = format!("a map with {}", names::list(known));
        let entries = at.entries(&what, notes).unwrap_or_default();
        for (name, at) in entries.iter().filter(|(name, _)| !known.contains(name)) {
            notes.refuse(&at.key_spot(), "unknown key", names::did_you_mean(name, known));
        }
        Self { spot: at.key_spot(), entries, problems }
    }

    fn get(&self, key: &str) -> Option<&At<'a>> {
        self.entries.iter().find(|(name, _)| *name == key).map(|(_, at)| at)
    }

    /// Whether the key is written.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A number in this range, or the default if it is not written.
    pub fn real(&self, key: &str, range: RangeInclusive<f64>, default: f64) -> f64 {
        let Some(at) = self.get(key) else { return default };
        let number = match *at.value() {
            Value::Number(number) => number,
            Value::Whole(number) => u32::try_from(number).map_or(f64::INFINITY, f64::from),
            Value::Null | Value::Flag(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                let what = format!("a number from {} to {}", range.start(), range.end());
                at.mismatch::<()>("a number", &what, &mut self.problems.borrow_mut());
                return default;
            }
        };
        if range.contains(&number) {
            return number;
        }
        let instead = format!("write a number from {} to {}", range.start(), range.end());
        self.problems.borrow_mut().refuse(&at.spot, "out of range", instead);
        default
    }

    /// A number in this range; it must be written.
    pub fn required(&self, key: &str, range: RangeInclusive<f64>) -> f64 {
        let default = *range.start();
        if !self.has(key) {
            let instead = format!("write `{key}: ` and a number from {default} to {}", range.end());
            self.missing(key, &instead);
        }
        self.real(key, range, default)
    }

    /// The text of this key; it must be written. `what` says what belongs there.
    pub fn text(&self, key: &str, what: &str) -> Option<&'a str> {
        if !self.has(key) {
            self.missing(key, &format!("write `{key}: ` and {what}"));
        }
        self.get(key)?.text(what, &mut self.problems.borrow_mut())
    }

    /// One of these words; it must be written.
    pub fn word(&self, key: &str, words: &[&str]) -> Option<&'a str> {
        let word = self.text(key, &format!("one of {}", names::list(words)))?;
        if words.contains(&word) {
            return Some(word);
        }
        self.refuse(
            key,
            &format!("`{}` is not known here", shown(word)),
            &names::did_you_mean(word, words),
        );
        None
    }

    /// One of these words, or a list of them; it must be written.
    pub fn words(&self, key: &str, words: &[&str]) -> Option<Vec<&'a str>> {
        let at = self.get(key).filter(|at| matches!(at.value(), Value::List(_)));
        let Some(at) = at else { return self.word(key, words).map(|word| vec![word]) };
        let what = format!("a list of {}", names::list(words));
        let notes = &mut *self.problems.borrow_mut();
        let mut found = Vec::new();
        for item in at.items(&what, notes) {
            let word = item.text(&what, notes)?;
            if !words.contains(&word) {
                let wrong = format!("`{}` is not known here", shown(word));
                notes.refuse(&item.spot, wrong, names::did_you_mean(word, words));
                return None;
            }
            found.push(word);
        }
        Some(found)
    }

    /// The map below this key, if it is written.
    pub fn inner(&self, key: &str, known: &[&str]) -> Option<Self> {
        Some(Self::new(self.get(key)?, known, self.problems))
    }

    /// The maps below this key, by names of the author's choice.
    pub fn named(&self, key: &str, known: &[&str]) -> Vec<(&'a str, Self)> {
        let Some(at) = self.get(key) else { return Vec::new() };
        let named = at.named("`NAME: {}`", &mut self.problems.borrow_mut());
        named.into_iter().map(|(name, at)| (name, Self::new(&at, known, self.problems))).collect()
    }

    /// The maps in the list at this key.
    pub fn items(&self, key: &str, known: &[&str]) -> Vec<Self> {
        let Some(at) = self.get(key) else { return Vec::new() };
        let items = at.items("a list of maps", &mut self.problems.borrow_mut());
        items.iter().map(|at| Self::new(at, known, self.problems)).collect()
    }

    /// Notes that what stands at this key (or, if nothing does, the map) cannot be used.
    pub fn refuse(&self, key: &str, wrong: &str, instead: &str) {
        let spot = self.get(key).map_or(&self.spot, |at| &at.spot);
        self.problems.borrow_mut().refuse(spot, wrong, instead);
    }

    fn missing(&self, key: &str, instead: &str) {
        self.problems.borrow_mut().refuse(&self.spot, format!("`{key}` is missing"), instead);
    }
}
