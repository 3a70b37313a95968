//! The second stage's tools: typed readers that note a problem and go on.
//!
//! [`At`] is a value with its key path; [`Section`] is a map whose keys the table in `keys` allows. A
//! reader gives `None` after it has noted why, or the default where there is one, so that the caller can
//! read the rest. No message here repeats a value.

use crate::config::keys;
use crate::config::keys::Flag;
use crate::config::keys::Real;
use crate::config::keys::Whole;
use crate::config::keys::Word;
use crate::config::names;
use crate::config::problem::Place;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::problem::shown;
use crate::config::tree::Node;
use crate::config::tree::Value;
use std::time::Duration;

/// A value, and the key that leads to it.
#[derive(Clone)]
pub(super) struct At<'a> {
    /// Where the value stands; its path.
    pub(super) spot: Spot,
    /// Where its key stands: the place to name when something inside is missing.
    key: Place,
    node: &'a Node,
}

/// A map with known keys.
pub(super) struct Section<'a> {
    /// Where its own key stands.
    pub(super) spot: Spot,
    entries: Vec<(&'a str, At<'a>)>,
}

impl<'a> At<'a> {
    /// The file as a whole.
    pub(super) fn root(node: &'a Node) -> Self {
        Self { spot: Spot { place: node.place, path: String::new() }, key: Place::START, node }
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// The scalar as it is written, whatever it looks like; `what` says what belongs here.
    pub(super) fn text(&self, what: &str, problems: &mut Problems) -> Option<&'a str> {
        match self.node.value {
            Value::List(_) | Value::Map(_) => self.mismatch("text", what, problems),
            Value::Flag(_) | Value::Whole(_) | Value::Number(_) | Value::Text(_)
                if !self.node.text.is_empty() =>
            {
                Some(&self.node.text)
            }
            Value::Null | Value::Flag(_) | Value::Whole(_) | Value::Number(_) | Value::Text(_) => {
                problems.refuse(&self.spot, "empty", format!("write {what}"));
                None
            }
        }
    }

    fn mismatch<T>(&self, expected: &str, what: &str, problems: &mut Problems) -> Option<T> {
        let wrong = format!("{}, not {expected}", self.kind());
        problems.refuse(&self.spot, wrong, format!("write {what}"));
        None
    }

    fn kind(&self) -> &'static str {
        match self.node.value {
            Value::Null => "empty",
            Value::Flag(_) => "true or false",
            Value::Whole(_) | Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The items of a list. None at all is a problem.
    pub(super) fn items(&self, what: &str, problems: &mut Problems) -> Vec<Self> {
        match &self.node.value {
            Value::List(items) if !items.is_empty() => {
                items.iter().enumerate().map(|(number, node)| self.item(number, node)).collect()
            }
            Value::List(_) | Value::Null => {
                problems.refuse(&self.spot, "empty", format!("write {what}"));
                Vec::new()
            }
            Value::Flag(_)
            | Value::Whole(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::Map(_) => self.mismatch("a list", what, problems).unwrap_or_default(),
        }
    }

    fn item(&self, number: usize, node: &'a Node) -> Self {
        let path = format!("{}[{number}]", self.spot.path);
        Self { spot: Spot { place: node.place, path }, key: node.place, node }
    }

    /// The entries of a map by names of the operator's choice. None at all is a problem.
    pub(super) fn named(&self, what: &str, problems: &mut Problems) -> Vec<(&'a str, Self)> {
        match &self.node.value {
            Value::Map(entries) if !entries.is_empty() => self.children(entries, problems),
            Value::Map(_) | Value::Null => {
                problems.refuse(&self.spot, "empty", format!("write {what}"));
                Vec::new()
            }
            Value::Flag(_)
            | Value::Whole(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_) => self.mismatch("a map", what, problems).unwrap_or_default(),
        }
    }

    /// A map with the keys that the table allows below `pattern`; unknown ones are noted. Nothing written
    /// is an empty map.
    pub(super) fn section(&self, pattern: &str, problems: &mut Problems) -> Section<'a> {
        let allowed = keys::allowed(pattern);
        let entries = match &self.node.value {
            Value::Map(entries) => self.children(entries, problems),
            Value::Null => Vec::new(),
            Value::Flag(_)
            | Value::Whole(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_) => {
                let what = format!("a map with {}", names::list(&allowed));
                self.mismatch("a map", &what, problems).unwrap_or_default()
            }
        };
        for (name, at) in &entries {
            if !allowed.contains(name) {
                let spot = if is_secret(pattern) { self.spot_at(at.key) } else { at.key_spot() };
                problems.refuse(&spot, "unknown key", names::did_you_mean(name, &allowed));
            }
        }
        Section { spot: self.key_spot(), entries }
    }

    /// The entries of a map; none if it is something else.
    pub(super) fn entries(&self, problems: &mut Problems) -> Vec<(&'a str, Self)> {
        match &self.node.value {
            Value::Map(entries) => self.children(entries, problems),
            Value::Null
            | Value::Flag(_)
            | Value::Whole(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_) => Vec::new(),
        }
    }

    /// The path with the place of the key instead of the value's.
    pub(super) fn key_spot(&self) -> Spot {
        self.spot_at(self.key)
    }

    /// The path with the place of something inside.
    pub(super) fn spot_at(&self, place: Place) -> Spot {
        Spot { place, path: self.spot.path.clone() }
    }

    fn children(
        &self,
        entries: &'a [(Node, Node)],
        problems: &mut Problems,
    ) -> Vec<(&'a str, Self)> {
        let mut children = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            if key.text.is_empty() {
                problems.refuse(
                    &self.spot_at(key.place),
                    "a key that is not text",
                    "write `name: value`",
                );
                continue;
            }
            let dot = if self.spot.path.is_empty() { "" } else { "." };
            let path = format!("{}{dot}{}", self.spot.path, shown(&key.text));
            let at = Self { spot: Spot { place: node.place, path }, key: key.place, node };
            children.push((key.text.as_str(), at));
        }
        children
    }
}

impl<'a> Section<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&At<'a>> {
        self.entries.iter().find(|(key, _)| *key == name).map(|(_, at)| at)
    }

    /// Like [`Section::get`]; notes that the key is missing. `what` says what to write.
    pub(super) fn require(
        &self,
        name: &str,
        what: &str,
        problems: &mut Problems,
    ) -> Option<&At<'a>> {
        let found = self.get(name);
        if found.is_none() {
            problems.refuse(
                &self.spot,
                format!("`{name}` is missing"),
                format!("write `{name}: {what}`"),
            );
        }
        found
    }

    /// The section below `name`, read with the table's rows below `pattern`; empty if it is not written.
    pub(super) fn inner(&self, pattern: &str, problems: &mut Problems) -> Self {
        let name = pattern.rsplit('.').next().unwrap_or(pattern);
        self.get(name).map_or_else(
            || Self { spot: self.spot.clone(), entries: Vec::new() },
            |at| at.section(pattern, problems),
        )
    }

    /// Where a number stands, for a problem between two numbers; the section if it is not written.
    pub(super) fn spot_of(&self, path: &'static str) -> Option<&Spot> {
        self.get(keys::name(path)).map(|at| &at.spot)
    }

    pub(super) fn flag(&self, key: &'static Flag, problems: &mut Problems) -> bool {
        let Some(at) = self.get(keys::name(key.path)) else { return key.default };
        match at.node.value {
            Value::Flag(flag) => flag,
            Value::Null
            | Value::Whole(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_) => {
                at.mismatch("true or false", "true or false", problems).unwrap_or(key.default)
            }
        }
    }

    /// `None` if it is not written, or not one of the words.
    pub(super) fn word(&self, key: &'static Word, problems: &mut Problems) -> Option<&'a str> {
        let at = self.get(keys::name(key.path))?;
        let choice = names::list(key.words);
        let word = at.text(&format!("one of {choice}"), problems)?;
        if key.words.contains(&word) {
            return Some(word);
        }
        problems.refuse(
            &at.spot,
            "not a word that is known here",
            names::did_you_mean(word, key.words),
        );
        None
    }

    pub(super) fn whole(&self, key: &'static Whole, problems: &mut Problems) -> u32 {
        let Some(at) = self.get(keys::name(key.path)) else { return key.default };
        let range = format!("a whole number from {} to {} ({})", key.least, key.most, key.unit);
        let number = match at.node.value {
            Value::Whole(number) => u32::try_from(number).unwrap_or(u32::MAX),
            Value::Number(_) => {
                return at
                    .mismatch("whole, or not in range", &range, problems)
                    .unwrap_or(key.default);
            }
            Value::Null | Value::Flag(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                return at.mismatch("a number", &range, problems).unwrap_or(key.default);
            }
        };
        if (key.least..=key.most).contains(&number) {
            return number;
        }
        problems.refuse(&at.spot, "out of range", format!("write {range}"));
        key.default
    }

    pub(super) fn real(&self, key: &'static Real, problems: &mut Problems) -> f64 {
        self.written(key, problems).unwrap_or(key.default)
    }

    pub(super) fn seconds(&self, key: &'static Real, problems: &mut Problems) -> Duration {
        self.seconds_or(key, key.default_seconds(), problems)
    }

    /// Like [`Section::seconds`], with a default that stands elsewhere in the file.
    pub(super) fn seconds_or(
        &self,
        key: &'static Real,
        default: Duration,
        problems: &mut Problems,
    ) -> Duration {
        let written = self.written(key, problems);
        written.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(default)
    }

    fn written(&self, key: &'static Real, problems: &mut Problems) -> Option<f64> {
        let at = self.get(keys::name(key.path))?;
        let range = format!("a number from {} to {} ({})", key.least, key.most, key.unit);
        let number = match at.node.value {
            // Larger ones are out of every range, and so is this stand-in for them.
            Value::Whole(number) => u32::try_from(number).map_or(f64::INFINITY, f64::from),
            Value::Number(number) => number,
            Value::Null | Value::Flag(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                return at.mismatch("a number", &range, problems);
            }
        };
        // A number that is none compares as outside.
        if (key.least..=key.most).contains(&number) {
            return Some(number);
        }
        problems.refuse(&at.spot, "out of range", format!("write {range}"));
        None
    }
}

/// Whether an unknown key below `pattern` may be a secret: `auth: {abc}` is a map with the key `abc`.
fn is_secret(pattern: &str) -> bool {
    pattern.contains(".auth") || pattern.contains(".api_keys")
}
