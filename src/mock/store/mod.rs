//! What lives on one backend: files, threads, stored responses and the like, in memory.
//!
//! A [`Shelf`] is a map from a resource's path (`threads/thread_1/messages/msg_2`) to what it is. Which
//! collections there are is a table ([`kinds`]); what one generic rule does not cover is in [`objects`] (what a
//! new one looks like) and [`life`] (what happens as it goes on). It is bounded: the oldest go first.

pub(super) mod act;
mod batch;
mod kinds;
mod life;
mod list;
mod objects;
mod references;
mod runs;
mod special;

pub(super) use kinds::Kind;
pub(super) use life::add_items;
pub(super) use list::{Page, listed};
pub(super) use objects::item;
pub(super) use references::check_references;

use crate::mock::refusal::Refusal;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What one backend keeps.
#[derive(Debug)]
pub(super) struct Shelf {
    entries: BTreeMap<String, Entry>,
    /// The paths in the order in which they were made.
    order: BTreeMap<u64, String>,
    last: u64,
    bytes: usize,
    secret: String,
}

/// One resource.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) content: Bytes,
    /// What it will be when it is done, where that is known already.
    pub(super) later: Option<Value>,
    /// How often it was looked at: a state each.
    pub(super) looks: usize,
    /// Its place in the order of making.
    pub(super) made: u64,
}

impl Entry {
    pub(super) fn new(value: Value) -> Self {
        Self { value, content: Bytes::new(), later: None, looks: 0, made: 0 }
    }

    pub(super) fn status(&self) -> &str {
        self.value.get("status").and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn set(&mut self, field: &str, value: impl Into<Value>) {
        if let Some(fields) = self.value.as_object_mut() {
            fields.insert(field.to_owned(), value.into());
        }
    }
}

/// As many resources, and bytes of files, are kept.
const ENTRIES_MAX: usize = 20_000;
const BYTES_MAX: usize = 256 * 1024 * 1024;

impl Default for Shelf {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            last: 0,
            bytes: 0,
            secret: random_hex(),
        }
    }
}

impl Shelf {
    pub(super) fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    pub(super) fn entry(&mut self, path: &str) -> Option<&mut Entry> {
        self.entries.get_mut(path)
    }

    pub(super) fn put(&mut self, path: String, mut entry: Entry) {
        self.remove(&path);
        self.last += 1;
        entry.made = self.last;
        self.bytes += entry.content.len();
        self.order.insert(self.last, path.clone());
        self.entries.insert(path, entry);
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, path: &str) -> Option<Entry> {
        let entry = self.entries.remove(path)?;
        self.order.remove(&entry.made);
        self.bytes -= entry.content.len();
        Some(entry)
    }

    /// Takes a resource away, with everything below it.
    pub(super) fn delete(&mut self, path: &str) -> Option<Entry> {
        let below = format!("{path}/");
        let doomed: Vec<String> = self.below(&below).map(|(path, _)| path.to_owned()).collect();
        for path in doomed {
            self.remove(&path);
        }
        self.remove(path)
    }

    /// The members of a collection, the oldest first.
    pub(super) fn members(&self, collection: &str) -> Vec<&Entry> {
        let prefix = format!("{collection}/");
        let own = |path: &str| path.get(prefix.len()..).is_some_and(|rest| !rest.contains('/'));
        let mut members: Vec<&Entry> =
            self.below(&prefix).filter(|(path, _)| own(path)).map(|(_, entry)| entry).collect();
        members.sort_by_key(|entry| entry.made);
        members
    }

    fn below(&self, prefix: &str) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(prefix))
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// What only this backend can read again.
    pub(super) fn encrypt(&self) -> String {
        format!("gAAAAA{}{}", self.secret, random_hex())
    }

    /// Whether this backend wrote it.
    pub(super) fn decrypts(&self, text: &str) -> bool {
        text.starts_with(&format!("gAAAAA{}", self.secret))
    }
}

/// A new id that no other mock gives out.
pub(super) fn fresh(prefix: &str) -> String {
    format!("{prefix}{}", random_hex())
}

fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        // Ordered by time, and still of this process alone.
        return uuid::Uuid::now_v7().simple().to_string();
    }
    hex::encode(bytes)
}

/// The answer for an id that is not known here.
pub(super) fn unknown(noun: &str, id: &str) -> Refusal {
    let message = match noun {
        "response" | "conversation" => {
            let (first, rest) = noun.split_at_checked(1).unwrap_or((noun, ""));
            format!("{}{rest} with id '{id}' not found.", first.to_uppercase())
        }
        noun => format!("No {noun} found with id '{id}'."),
    };
    let body = json!({"error": {
        "message": message, "type": "invalid_request_error", "param": Value::Null, "code": Value::Null,
    }});
    Refusal { status: http::StatusCode::NOT_FOUND, headers: Vec::new(), body }
}

#[cfg(test)]
mod tests {
    use crate::mock::store::{BYTES_MAX, ENTRIES_MAX, Entry, Shelf};
    use bytes::Bytes;
    use serde_json::json;

    #[test]
    fn the_oldest_make_room() {
        let mut shelf = Shelf::default();
        for number in 0..=ENTRIES_MAX {
            shelf.put(format!("threads/{number}"), Entry::new(json!({})));
        }
        assert!(shelf.get("threads/0").is_none() && shelf.get("threads/1").is_some());
        let large = || Entry { content: Bytes::from(vec![0; BYTES_MAX]), ..Entry::new(json!({})) };
        shelf.put("files/a".to_owned(), large());
        shelf.put("files/b".to_owned(), large());
        assert!(shelf.get("files/a").is_none() && shelf.get("files/b").is_some());
    }

    #[test]
    fn a_resource_goes_with_what_is_below_it_and_with_nothing_else() {
        let mut shelf = Shelf::default();
        for path in ["threads/a", "threads/a/messages/m", "threads/ab", "threads/ab/messages/m"] {
            shelf.put(path.to_owned(), Entry::new(json!({})));
        }
        assert_eq!(shelf.members("threads").len(), 2);
        assert!(shelf.delete("threads/a").is_some());
        assert!(shelf.get("threads/a/messages/m").is_none());
        assert_eq!(shelf.members("threads/ab/messages").len(), 1);
    }
}
