//! Keys that stand at the level of the one they belong to:
//!
//! ```yaml
//! backends:
//!   east:
//!   endpoint: https://east.example
//! ```
//!
//! That is YAML, and says that `east` is empty and `endpoint` a backend; every reader would find fault with it in
//! its own words. So it is told here, once, and the keys are moved to where they belong.

use crate::config::keys;
use crate::config::keys::Key;
use crate::config::names;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::problem::shown;
use crate::config::tree::Node;
use crate::config::tree::Value;

/// Moves what stands one level too high; `pattern` is the node's in the table of keys.
pub(super) fn repair(node: &mut Node, pattern: &str, problems: &mut Problems) {
    if let Value::Map(entries) = &mut node.value {
        let mut kept: Vec<(Node, Node)> = Vec::new();
        let mut told = false;
        for (key, value) in entries.drain(..) {
            let parent = kept.last_mut().filter(|(parent, held)| {
                (told || matches!(held.value, Value::Null))
                    && belongs((&key, &value), pattern, &parent.text)
            });
            let Some((parent, held)) = parent else {
                told = false;
                kept.push((key, value));
                continue;
            };
            if !told {
                tell(&key, &parent.text, problems);
            }
            told = true;
            adopt(held, (key, value));
        }
        *entries = kept;
    }
    match &mut node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                repair(value, &below(pattern, &key.text), problems);
            }
        }
        Value::List(items) => {
            for item in items {
                repair(item, &below(pattern, "*"), problems);
            }
        }
        Value::Null | Value::Flag(_) | Value::Whole(_) | Value::Number(_) | Value::Text(_) => {}
    }
}

/// Whether an entry at `pattern` is one of the entry above it, which is called `parent`.
fn belongs((key, value): (&Node, &Node), pattern: &str, parent: &str) -> bool {
    let beside = keys::allowed(pattern);
    let inside_pattern = below(pattern, parent);
    let inside = keys::allowed(&inside_pattern);
    let name = key.text.as_str();
    if beside == ["*"] {
        // It could be a name; so it must look like the key that it is called in every way.
        return inside.contains(&name) && fits(value, &below(&inside_pattern, name));
    }
    let misspelt = || names::did_you_mean(name, &beside).starts_with("did you mean");
    !beside.contains(&name)
        && (inside.contains(&name)
            || inside == ["*"] && matches!(value.value, Value::Map(_)) && !misspelt())
}

fn fits(value: &Node, pattern: &str) -> bool {
    let group = keys::table().any(|key| matches!(key, Key::Group(_)) && key.path() == pattern);
    match value.value {
        Value::Null => false,
        Value::Map(_) => group,
        Value::Flag(_) | Value::Whole(_) | Value::Number(_) | Value::Text(_) => !group,
        Value::List(_) => true,
    }
}

/// The pattern of an entry of the map at `pattern`.
fn below(pattern: &str, name: &str) -> String {
    let name = if keys::allowed(pattern) == ["*"] { "*" } else { name };
    if pattern.is_empty() { name.to_owned() } else { format!("{pattern}.{name}") }
}

fn adopt(parent: &mut Node, entry: (Node, Node)) {
    if let Value::Map(entries) = &mut parent.value {
        entries.push(entry);
    } else {
        parent.value = Value::Map(vec![entry]);
    }
}

fn tell(key: &Node, parent: &str, problems: &mut Problems) {
    let spot = Spot { place: key.place, path: shown(&key.text) };
    let wrong = format!("beside `{}`, not in it", shown(parent));
    problems.refuse(&spot, wrong, "indent it, and what follows it, by two spaces more");
}
