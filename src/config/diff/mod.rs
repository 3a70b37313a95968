//! What is different between the configuration that runs and the one of a file, as an operator would say it:
//! key by key, and whether a reload is enough.
//!
//! Both are compared as the trees that `dump` writes, rearranged by `tree` so that what means the same is the
//! same: listeners go by their address, client keys by their name, and a model has only the routing that is its
//! own. What the file leaves out counts as its default.

mod tree;

use crate::config::checked::Config;
use serde_yaml::Mapping;
use serde_yaml::Value;
use std::fmt;

/// What must happen before a difference has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A reload.
    Reload,
    /// A new process: `firstlight upgrade`, or a restart.
    Upgrade,
}

/// One key that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key, such as `backends.west.weight` or `listen.0.address`. An item of a list has its number, a client
    /// key its name.
    pub path: String,
    /// What runs; `None` where the key, or what it belongs to, is new.
    pub before: Option<String>,
    /// What the file says; `None` where the key, or what it belongs to, is gone.
    pub after: Option<String>,
    /// What must happen first.
    pub takes: Takes,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "~ {path}: {before} -> {after}")?,
            (None, Some(after)) => write!(f, "+ {path}: {after}")?,
            (Some(before), None) => write!(f, "- {path}: {before}")?,
            (None, None) => write!(f, "~ {path}")?,
        }
        match self.takes {
            Takes::Reload => Ok(()),
            Takes::Upgrade => f.write_str(" (needs firstlight upgrade)"),
        }
    }
}

/// Keys outside of `listen` that a process reads once, when it starts.
const READ_ONCE: &[&str] =
    &["admin.address", "admin.socket", "threads", "log.access", "state_directory"];

/// Digits of a hash that tell keys apart and prove nothing.
const HASH_DIGITS: usize = 8;

/// Each key that is different, once, in the order of a dump.
pub fn diff(running: &Config, file: &Config) -> Vec<Difference> {
    let mut walk = Walk::default();
    for pair in tree::listeners(running, file) {
        walk.path = vec!["listen".to_owned(), pair.index.to_string()];
        walk.takes = Some(Takes::Upgrade).filter(|_| !pair.shares_socket());
        let (before, after) = pair.written();
        walk.compare(before.as_ref(), after.as_ref());
    }
    walk.path.clear();
    walk.takes = None;
    walk.compare(Some(&tree::others(running)), Some(&tree::others(file)));
    walk.found
}

/// Two trees, side by side.
#[derive(Default)]
struct Walk {
    /// Where they are.
    path: Vec<String>,
    /// What everything here takes, if that does not depend on the key.
    takes: Option<Takes>,
    found: Vec<Difference>,
}

impl Walk {
    fn compare(&mut self, before: Option<&Value>, after: Option<&Value>) {
        match (before, after) {
            (None | Some(Value::Mapping(_)), None | Some(Value::Mapping(_))) => {
                self.compare_maps(map(before), map(after));
            }
            // A scalar where a map was, or the other way round: each side in its own words.
            (Some(Value::Mapping(_)), Some(_)) | (Some(_), Some(Value::Mapping(_))) => {
                self.compare(before, None);
                self.compare(None, after);
            }
            (before, after) if before != after => self.note(before, after),
            _ => {}
        }
    }

    fn compare_maps(&mut self, before: Option<&Mapping>, after: Option<&Mapping>) {
        let value = |map: Option<&Mapping>, key| map.and_then(|map| map.get(key)).cloned();
        let new = after.into_iter().flat_map(Mapping::keys);
        let new = new.filter(|key| before.is_none_or(|map| !map.contains_key(*key)));
        for key in before.into_iter().flat_map(Mapping::keys).chain(new) {
            self.path.push(shown(key));
            self.compare(value(before, key).as_ref(), value(after, key).as_ref());
            self.path.pop();
        }
    }

    fn note(&mut self, before: Option<&Value>, after: Option<&Value>) {
        let path = self.path.join(".");
        let key = |path: &[String]| matches!(path, [apps, _, keys, _] if apps == "apps" && keys == "api_keys");
        let hash = key(&self.path) && !path.ends_with(" (expires)");
        let say = |value: &Value| {
            if hash { shown(value).chars().take(HASH_DIGITS).collect() } else { shown(value) }
        };
        let once = READ_ONCE.contains(&path.as_str());
        let takes = self.takes.unwrap_or(if once { Takes::Upgrade } else { Takes::Reload });
        let (before, after) = (before.map(say), after.map(say));
        self.found.push(Difference { path, before, after, takes });
    }
}

fn map(value: Option<&Value>) -> Option<&Mapping> {
    value.and_then(Value::as_mapping)
}

/// A scalar, or a list of them, on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Sequence(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Mapping(_) | Value::Tagged(_) => String::new(),
    }
}
