//! The first stage: the file as a tree in which every node knows its place.
//!
//! Serde alone stops at the first mistake and forgets places; so the YAML is read into plain nodes, and
//! the readers of the second stage walk those. Numbers and flags keep the text they were written with,
//! because a name may look like a number (`gpt: 4` or a hash of digits only) and must not be changed.
//!
//! A value behind an alias has the place of its anchor: that is where it must be corrected.

use crate::config::keys;
use crate::config::problem::Place;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::syntax;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_saphyr::Error;
use serde_saphyr::Location;
use serde_saphyr::Options;
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::options::NonFiniteFloatPolicy;
use std::fmt;

/// The largest file, in bytes: a thousand backends fit, a mistaken path to a log does not.
const FILE_BYTES_MAX: usize = 1 << 20;

/// One value of the file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
    /// How a scalar is written; empty for lists and maps.
    pub(super) text: String,
    /// Where that stands in the file: first byte and length.
    bytes: (u64, u64),
}

/// What kind of value it is.
#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`; YAML 1.1's `on` and `off` are text.
    Flag(bool),
    /// A whole number that is not negative.
    Whole(u64),
    /// Any other number.
    Number(f64),
    /// Everything else that is not a list or a map.
    Text(String),
    /// `- a` or `[a]`.
    List(Vec<Node>),
    /// `a: b` or `{ a: b }`; the keys are nodes too.
    Map(Vec<(Node, Node)>),
}

/// Reads the file into a tree. Notes a problem and gives `None` if it is not YAML; a key that stands twice
/// is noted too, and its first value is kept so that the rest can still be checked.
pub(super) fn parse(source: &str, problems: &mut Problems) -> Option<Node> {
    if source.len() > FILE_BYTES_MAX {
        problems.refuse(&file(Place::START), "larger than 1 MiB", "is this the right file?");
        return None;
    }
    match read(source, DuplicateKeyPolicy::Error) {
        Ok(root) => Some(root),
        Err(error) => {
            note(&error, source, problems);
            let twice = matches!(error, Error::DuplicateMappingKey { .. });
            twice.then(|| read(source, DuplicateKeyPolicy::FirstWins).ok()).flatten()
        }
    }
}

fn read(source: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Node, Error> {
    let options: Options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_documents: 2,
            max_nodes: 100_000,
            max_events: 300_000,
            max_anchors: 1_000,
            max_aliases: 10_000,
        },
        duplicate_keys: duplicate_keys,
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        // A snippet would print the lines around a mistake, and a secret may stand there.
        with_snippet: false,
    };
    let mut root: Node = serde_saphyr::from_str_with_options(source, options)?;
    root.attach_text(source);
    Ok(root)
}

/// Turns the parser's error into a problem. Its own words are used only where they quote nothing.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "sixty kinds of errors that need no word of their own"
)]
fn note(error: &Error, source: &str, problems: &mut Problems) {
    let place = error.location().map_or(Place::START, |at| place(&at));
    if let Error::ExternalMessage { msg, .. } = error {
        let (place, wrong, instead) = syntax::mistake(source, place, msg);
        return problems.refuse(&file(place), wrong, instead);
    }
    let (wrong, instead) = match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().filter(|key| keys::is_known(key)).unwrap_or("this key");
            (format!("{key} stands twice in one map"), "keep one of them")
        }
        Error::MultipleDocuments { .. } => ("a second document".to_owned(), "write only one"),
        Error::UnknownAnchor { .. } => {
            ("an alias without an anchor".to_owned(), "quote text that begins with `*`")
        }
        Error::UnsupportedTag { .. } => {
            ("a tag without a meaning here".to_owned(), "quote text that begins with `!`")
        }
        Error::Budget { .. } => ("too deep or too much".to_owned(), "is this the right file?"),
        _ => ("not plain YAML".to_owned(), "write maps, lists, text and numbers"),
    };
    problems.refuse(&file(place), wrong, instead);
}

fn file(place: Place) -> Spot {
    Spot { place, path: String::new() }
}

fn place(at: &Location) -> Place {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
    Place { line: number(at.line()), column: number(at.column()) }
}

impl Node {
    fn attach_text(&mut self, source: &str) {
        match &mut self.value {
            Value::Text(text) => self.text = std::mem::take(text),
            Value::Null | Value::Flag(_) | Value::Whole(_) | Value::Number(_) => {
                slice(source, self.bytes).unwrap_or_default().trim().clone_into(&mut self.text);
            }
            Value::List(items) => items.iter_mut().for_each(|item| item.attach_text(source)),
            Value::Map(entries) => entries.iter_mut().for_each(|(key, value)| {
                key.attach_text(source);
                value.attach_text(source);
            }),
        }
    }
}

fn slice(source: &str, (first, length): (u64, u64)) -> Option<&str> {
    let first = usize::try_from(first).ok()?;
    source.get(first..first.checked_add(usize::try_from(length).ok()?)?)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, defined, .. } = Spanned::<Value>::deserialize(deserializer)?;
        let span = defined.span();
        let bytes = (span.byte_offset().unwrap_or(0), span.byte_len().unwrap_or(0));
        Ok(Self { place: place(&defined), value, text: String::new(), bytes })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        // Only negative numbers come here, and their size does not matter: no key takes one.
        Ok(i32::try_from(number)
            .map_or(Value::Number(f64::NEG_INFINITY), |small| Value::Number(small.into())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}
