//! A value and the key that leads to it: the reader of scalars, lists and maps.
//!
//! Each reader notes what is wrong and gives `None` or nothing, so that its caller can read the rest. No
//! message here repeats a value, because it may be a secret in the wrong place.

use crate::config::keys;
use crate::config::names;
use crate::config::problem::Place;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::problem::shown;
use crate::config::section::Section;
use crate::config::tree::Node;
use crate::config::tree::Value;

/// A value, and the key that leads to it.
#[derive(Clone)]
pub(super) struct At<'a> {
    /// Where the value stands, and its path.
    pub(super) spot: Spot,
    /// Where its key stands: the place to name when something inside is missing.
    key: Place,
    node: &'a Node,
}

impl<'a> At<'a> {
    /// The file as a whole.
    pub(super) fn root(node: &'a Node) -> Self {
        Self { spot: Spot { place: node.place, path: String::new() }, key: Place::START, node }
    }

    /// The value as it was parsed.
    pub(super) fn value(&self) -> &'a Value {
        &self.node.value
    }

    /// The scalar as it is written, whatever it looks like; `what` says what belongs here.
    pub(super) fn text(&self, what: &str, problems: &mut Problems) -> Option<&'a str> {
        if matches!(self.value(), Value::List(_) | Value::Map(_)) {
            return self.mismatch("text", what, problems);
        }
        if matches!(self.value(), Value::Null) || self.node.text.is_empty() {
            problems.refuse(&self.spot, "empty", format!("write {what}"));
            return None;
        }
        Some(&self.node.text)
    }

    /// The items of a list. None at all is a problem.
    pub(super) fn items(&self, what: &str, problems: &mut Problems) -> Vec<Self> {
        let items = match self.value() {
            Value::List(items) => items.as_slice(),
            Value::Null => &[],
            Value::Flag(_)
            | Value::Whole(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::Map(_) => {
                return self.mismatch("a list", what, problems).unwrap_or_default();
            }
        };
        if items.is_empty() {
            problems.refuse(&self.spot, "empty", format!("write {what}"));
        }
        items.iter().enumerate().map(|(number, node)| self.item(number, node)).collect()
    }

    /// The entries of a map by names of the operator's choice. None at all is a problem.
    pub(super) fn named(&self, what: &str, problems: &mut Problems) -> Vec<(&'a str, Self)> {
        let Some(entries) = self.entries(what, problems) else { return Vec::new() };
        if entries.is_empty() {
            problems.refuse(&self.spot, "empty", format!("write {what}"));
        }
        entries
    }

    /// A map with the keys that the table allows below `pattern`; unknown ones are noted. Nothing written
    /// is an empty map.
    pub(super) fn section(&self, pattern: &str, problems: &mut Problems) -> Section<'a> {
        let allowed = keys::allowed(pattern);
        if self.lacks_colon(&allowed, problems) {
            return Section::new(self.key_spot(), None);
        }
        let what = format!("a map with {}", names::list(&allowed));
        let entries = self.entries(&what, problems);
        let unknown = entries.iter().flatten().filter(|(name, _)| !allowed.contains(name));
        for (name, at) in unknown {
            let spot = if is_secret(pattern) { self.spot_at(at.key) } else { at.key_spot() };
            problems.refuse(&spot, "unknown key", names::did_you_mean(name, &allowed));
        }
        Section::new(self.key_spot(), entries)
    }

    /// The entries of a map; nothing written is an empty map.
    pub(super) fn entries(
        &self,
        what: &str,
        problems: &mut Problems,
    ) -> Option<Vec<(&'a str, Self)>> {
        match self.value() {
            Value::Map(entries) => Some(
                entries.iter().filter_map(|(key, node)| self.child(key, node, problems)).collect(),
            ),
            Value::Null => Some(Vec::new()),
            Value::Flag(_)
            | Value::Whole(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_) => self.mismatch("a map", what, problems),
        }
    }

    /// Whether it would be a number if it stood there without quotes.
    pub(super) fn is_quoted_number(&self) -> bool {
        let text = &self.node.text;
        matches!(self.value(), Value::Text(_))
            && text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
            && text.parse::<f64>().is_ok()
    }

    /// Whether it is a line that lacks the colon behind one of these keys; notes that it does.
    fn lacks_colon(&self, allowed: &[&str], problems: &mut Problems) -> bool {
        let Value::Text(_) = self.value() else { return false };
        let key = allowed.iter().find(|key| {
            let rest = self.node.text.strip_prefix(**key);
            rest.is_some_and(|rest| rest.starts_with([' ', ':']))
        });
        if let Some(key) = key {
            let wrong = format!("no `: ` behind `{key}`");
            let instead = "write `key: value`, with a space behind the colon";
            problems.refuse(&self.spot, wrong, instead);
        }
        key.is_some()
    }

    /// Notes a value of the wrong kind.
    pub(super) fn mismatch<T>(
        &self,
        expected: &str,
        what: &str,
        problems: &mut Problems,
    ) -> Option<T> {
        let found = match self.value() {
            Value::Null => "empty",
            Value::Flag(_) => "true or false",
            Value::Whole(_) | Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        };
        problems.refuse(&self.spot, format!("{found}, not {expected}"), format!("write {what}"));
        None
    }

    /// The path with the place of the key instead of the value's.
    pub(super) fn key_spot(&self) -> Spot {
        self.spot_at(self.key)
    }

    fn spot_at(&self, place: Place) -> Spot {
        Spot { place, path: self.spot.path.clone() }
    }

    fn item(&self, number: usize, node: &'a Node) -> Self {
        let path = format!("{}[{number}]", self.spot.path);
        Self { spot: Spot { place: node.place, path }, key: node.place, node }
    }

    fn child(
        &self,
        key: &'a Node,
        node: &'a Node,
        problems: &mut Problems,
    ) -> Option<(&'a str, Self)> {
        if key.text.is_empty() {
            problems.refuse(
                &self.spot_at(key.place),
                "a key that is not text",
                "write `name: value`",
            );
            return None;
        }
        let dot = if self.spot.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{}", self.spot.path, shown(&key.text));
        let at = Self { spot: Spot { place: node.place, path }, key: key.place, node };
        Some((&key.text, at))
    }
}

/// Whether an unknown key below `pattern` may be a secret: `auth: {abc}` is a map with the key `abc`.
fn is_secret(pattern: &str) -> bool {
    pattern.contains(".auth") || pattern.contains(".api_keys")
}
