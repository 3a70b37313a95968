//! Which backend keeps what: the ids that were seen in answers, each with its app and its backend.
//!
//! A response, a file or a thread exists on the one resource that made it. What is known here leads a follow-up
//! there, and keeps the ids of one app from another. An id is known for [`LIFE_SECONDS`] after it was last used
//! (Azure keeps responses for 30 days), and no more than so many are known at once: the app that has the most loses
//! its oldest first, so that none can push out what belongs to the others.
//!
//! Nothing here reads a clock or a file: see `journal` for what outlives the process.

mod record;

pub use record::{Record, RecordError};

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How long an id is known after it was last used, in seconds.
pub const LIFE_SECONDS: u64 = 30 * DAY_SECONDS;

/// A use is noted once a day at most.
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Turns that have passed which any queue may hold.
const PASSED_TURNS: usize = 16;

/// Who made something, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The app that may use it.
    pub app: Arc<str>,
    /// The backend that keeps it.
    pub backend: Arc<str>,
}

/// What is known of an id to one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Unknown,
    /// It is the app's own, on this backend.
    Own(Arc<str>),
    /// It is another app's.
    Foreign,
}

/// How long-lived something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// What an app sets up and then uses with models: what it makes next belongs beside it, and it must not be
    /// forgotten for what passes.
    Furniture,
    /// Responses and runs.
    Passing,
    /// All else: items of responses, messages and steps.
    Part,
}

impl Kind {
    fn of(id: &str) -> Self {
        const FURNITURE: [&str; 15] = [
            "asst_",
            "assistant-",
            "batch_",
            "cfile_",
            "cntr_",
            "container_",
            "conv_",
            "eval_",
            "file-",
            "file_",
            "ftjob-",
            "thread_",
            "upload_",
            "video_",
            "vs_",
        ];
        const PASSING: [&str; 5] = ["chatcmpl-", "evalrun_", "resp_", "rtc_", "run_"];
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| id.starts_with(prefix));
        if begins(&FURNITURE) {
            Self::Furniture
        } else if begins(&PASSING) {
            Self::Passing
        } else {
            Self::Part
        }
    }
}

#[derive(Debug)]
struct Entry {
    owner: Owner,
    /// When it was last used, in Unix seconds.
    used: u64,
    /// Which place in its app's queue is the true one.
    turn: u64,
}

/// Ids of one app and kind.
#[derive(Debug, Default)]
struct Queue {
    /// With their turns, the least recently used first; turns that have passed are skipped.
    order: VecDeque<(u64, Arc<str>)>,
    /// How many ids there are: one for each turn that has not passed.
    ids: usize,
}

impl Queue {
    /// Drops the turns that have passed.
    fn compact(&mut self, entries: &BTreeMap<Arc<str>, Entry>) {
        self.order.retain(|(turn, id)| is_turn(entries, *turn, id));
        self.ids = self.order.len();
    }
}

/// The ids that are known.
#[derive(Debug)]
pub struct Owners {
    entries: BTreeMap<Arc<str>, Entry>,
    queues: BTreeMap<(Arc<str>, Kind), Queue>,
    turns: u64,
    capacity: usize,
}

impl Owners {
    /// Nothing is known; there is room for so many ids.
    pub fn new(capacity: usize) -> Self {
        Self { entries: BTreeMap::new(), queues: BTreeMap::new(), turns: 0, capacity }
    }

    /// Changes the room; what does not fit any more is forgotten.
    pub fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        while self.entries.len() > self.capacity {
            self.forget_one();
        }
    }

    /// How many ids are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of an id to `app` at a moment in Unix seconds.
    pub fn find(&self, id: &str, app: &str, now: u64) -> Known {
        match self.entries.get(id) {
            Some(entry) if !is_over(entry.used, now) => {
                if *entry.owner.app == *app {
                    Known::Own(Arc::clone(&entry.owner.backend))
                } else {
                    Known::Foreign
                }
            }
            _ => Known::Unknown,
        }
    }

    /// The backend of what an app set up or used last, other than what passes.
    pub fn home(&self, app: &Arc<str>, now: u64) -> Option<Arc<str>> {
        let queue = self.queues.get(&(Arc::clone(app), Kind::Furniture))?;
        queue.order.iter().rev().find_map(|(turn, id)| {
            let entry = self.entries.get(id)?;
            let found = entry.turn == *turn && !is_over(entry.used, now);
            found.then(|| Arc::clone(&entry.owner.backend))
        })
    }

    /// Takes note that `id` was seen in an answer of its owner, or used by it. Returns what is to be kept in a file,
    /// if that is news. An id that belongs to another app, or is known to be elsewhere, stays as it is: whoever
    /// is told an id first has it. `is_there`: whether a backend of that name is there still; one that was renamed is
    /// found under its new name.
    pub fn note(
        &mut self,
        id: &str,
        owner: &Owner,
        now: u64,
        is_there: impl Fn(&str) -> bool,
    ) -> Option<Record> {
        if let Some((known, entry)) = self.entries.get_key_value(id)
            && !is_over(entry.used, now)
        {
            let before = &entry.owner;
            if before.app != owner.app || (before != owner && is_there(&before.backend)) {
                return None;
            }
            if before == owner && now < entry.used.saturating_add(DAY_SECONDS) {
                let known = Arc::clone(known);
                self.touch(&known);
                return None;
            }
        }
        let record = Record { id: id.into(), owner: owner.clone(), used: now };
        self.take(&record);
        Some(record)
    }

    /// Takes what was kept in a file.
    pub fn restore(&mut self, record: &Record, now: u64) {
        let newer = self.entries.get(&*record.id).is_none_or(|entry| entry.used < record.used);
        if newer && !is_over(record.used, now) {
            self.take(record);
        }
    }

    /// All that is known, for a file, the least recently used first.
    pub fn records(&self) -> Vec<Record> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_unstable_by_key(|(_, entry)| entry.turn);
        let record = |(id, entry): (&Arc<str>, &Entry)| Record {
            id: Arc::clone(id),
            owner: entry.owner.clone(),
            used: entry.used,
        };
        entries.into_iter().map(record).collect()
    }

    /// Forgets what was not used for too long.
    pub fn expire(&mut self, now: u64) {
        self.entries.retain(|_, entry| !is_over(entry.used, now));
        for queue in self.queues.values_mut() {
            queue.compact(&self.entries);
        }
        self.queues.retain(|_, queue| queue.ids > 0);
    }

    fn take(&mut self, record: &Record) {
        let kind = Kind::of(&record.id);
        let entry = Entry { owner: record.owner.clone(), used: record.used, turn: 0 };
        if let Some(before) = self.entries.insert(Arc::clone(&record.id), entry)
            && let Some(queue) = self.queues.get_mut(&(before.owner.app, kind))
        {
            queue.ids -= 1;
        }
        self.queues.entry((Arc::clone(&record.owner.app), kind)).or_default().ids += 1;
        self.touch(&record.id);
        while self.entries.len() > self.capacity {
            self.forget_one();
        }
    }

    /// It is the one that was used last.
    fn touch(&mut self, id: &Arc<str>) {
        self.turns += 1;
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.turn = self.turns;
        let queue = (Arc::clone(&entry.owner.app), Kind::of(id));
        let queue = self.queues.entry(queue).or_default();
        queue.order.push_back((self.turns, Arc::clone(id)));
        // Passed turns make up about half of a queue at most.
        if queue.order.len() > 2 * queue.ids + PASSED_TURNS {
            queue.compact(&self.entries);
        }
    }

    /// Forgets the oldest of the kind and the app that has the most.
    fn forget_one(&mut self) {
        let Some(queue) = self.queues.values_mut().max_by_key(|queue| queue.ids) else { return };
        while let Some((turn, id)) = queue.order.pop_front() {
            if is_turn(&self.entries, turn, &id) {
                self.entries.remove(&id);
                queue.ids -= 1;
                return;
            }
        }
    }
}

fn is_turn(entries: &BTreeMap<Arc<str>, Entry>, turn: u64, id: &str) -> bool {
    entries.get(id).is_some_and(|entry| entry.turn == turn)
}

fn is_over(used: u64, now: u64) -> bool {
    now >= used.saturating_add(LIFE_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(app: &str, backend: &str) -> Owner {
        Owner { app: app.into(), backend: backend.into() }
    }

    /// Every backend is configured.
    fn there(_: &str) -> bool {
        true
    }

    fn own(backend: &str) -> Known {
        Known::Own(backend.into())
    }

    #[test]
    fn an_id_leads_its_app_back_and_no_other() {
        let mut owners = Owners::new(10);
        assert!(owners.note("resp_1", &owner("chat", "east"), 100, there).is_some());
        assert_eq!(owners.find("resp_1", "chat", 100), own("east"));
        assert_eq!(owners.find("resp_1", "batch", 100), Known::Foreign);
        assert_eq!(owners.find("resp_2", "chat", 100), Known::Unknown);
        assert_eq!(owners.note("resp_1", &owner("batch", "west"), 101, there), None);
        assert_eq!(owners.note("resp_1", &owner("chat", "west"), 101, there), None);
        assert_eq!(owners.find("resp_1", "chat", 101), own("east"));
    }

    #[test]
    fn what_is_found_under_a_new_name_is_there() {
        let mut owners = Owners::new(10);
        owners.note("resp_1", &owner("chat", "east"), 100, there).unwrap();
        let gone = |name: &str| name != "east";
        assert_eq!(owners.note("resp_1", &owner("batch", "east2"), 101, gone), None);
        assert!(owners.note("resp_1", &owner("chat", "east2"), 101, gone).is_some());
        assert_eq!(owners.find("resp_1", "chat", 101), own("east2"));
        assert_eq!(owners.find("resp_1", "batch", 101), Known::Foreign);
    }

    #[test]
    fn it_is_known_for_thirty_days_after_its_last_use() {
        let mut owners = Owners::new(10);
        let chat = owner("chat", "east");
        owners.note("a", &chat, 0, there).unwrap();
        assert_eq!(owners.note("a", &chat, DAY_SECONDS - 1, there), None);
        assert!(owners.note("a", &chat, DAY_SECONDS, there).is_some());
        assert_eq!(owners.find("a", "chat", DAY_SECONDS + LIFE_SECONDS - 1), own("east"));
        assert_eq!(owners.find("a", "batch", DAY_SECONDS + LIFE_SECONDS), Known::Unknown);
        assert!(
            owners.note("a", &owner("batch", "west"), DAY_SECONDS + LIFE_SECONDS, there).is_some()
        );
        owners.note("b", &chat, DAY_SECONDS, there).unwrap();
        owners.expire(DAY_SECONDS + LIFE_SECONDS);
        assert_eq!(
            owners.records().into_iter().map(|record| record.id).collect::<Vec<_>>(),
            ["a".into()]
        );
    }

    #[test]
    fn a_flood_of_one_app_costs_the_others_nothing() {
        let mut owners = Owners::new(100);
        for n in 0..10 {
            owners.note(&format!("quiet-{n}"), &owner("quiet", "east"), 1, there).unwrap();
        }
        for n in 0..10_000 {
            owners.note(&format!("loud-{n}"), &owner("loud", "west"), 2, there).unwrap();
        }
        assert_eq!(owners.len(), 100);
        assert_eq!(owners.find("quiet-0", "quiet", 3), own("east"));
        assert_eq!(owners.find("loud-9909", "loud", 3), Known::Unknown);
        assert_eq!(owners.find("loud-9910", "loud", 3), own("west"));
        owners.resize(20);
        assert_eq!(owners.len(), 20);
        assert_eq!(owners.find("loud-9999", "loud", 3), own("west"));
    }

    #[test]
    fn the_home_of_an_app_is_where_its_last_furniture_is() {
        let mut owners = Owners::new(10_000);
        let home = |owners: &Owners| owners.home(&"chat".into(), 5).map(|name| name.to_string());
        assert_eq!(home(&owners), None);
        owners.note("file-1", &owner("chat", "east"), 1, there).unwrap();
        owners.note("file-2", &owner("chat", "west"), 2, there).unwrap();
        owners.note("file-3", &owner("batch", "south"), 4, there).unwrap();
        for n in 0..5_000 {
            owners.note(&format!("resp_{n}"), &owner("chat", "north"), 4, there).unwrap();
        }
        assert_eq!(home(&owners).as_deref(), Some("west"));
        assert_eq!(owners.note("file-1", &owner("chat", "east"), 5, there), None);
        assert_eq!(home(&owners).as_deref(), Some("east"), "it was used");
        let mut again = Owners::new(10_000);
        for record in owners.records() {
            again.restore(&record, 5);
        }
        assert_eq!(home(&again).as_deref(), Some("east"));
    }

    #[test]
    fn what_is_used_is_not_forgotten_for_what_passes() {
        let mut owners = Owners::new(100);
        let chat = owner("chat", "east");
        owners.note("vs_1", &chat, 1, there).unwrap();
        owners.note("resp_used", &chat, 1, there).unwrap();
        for n in 0..10_000 {
            owners.note(&format!("resp_{n}"), &chat, 1, there).unwrap();
            owners.note("resp_used", &chat, 1, there);
        }
        assert_eq!(owners.find("vs_1", "chat", 2), own("east"));
        assert_eq!(owners.find("resp_used", "chat", 2), own("east"));
    }

    #[test]
    fn what_is_used_most_is_not_what_there_is_most_of() {
        let mut owners = Owners::new(1_000);
        let (quiet, loud) = (owner("quiet", "east"), owner("loud", "west"));
        owners.note("vs_1", &quiet, 1, there).unwrap();
        for n in 0..5_000 {
            owners.note(&format!("resp_{n}"), &loud, 1, there).unwrap();
            owners.note("vs_1", &quiet, 1, there);
            owners.note("vs_1", &quiet, 1, there);
            assert_eq!(owners.find("vs_1", "quiet", 2), own("east"), "after response {n}");
        }
        assert_eq!(owners.len(), 1_000);
    }

    #[test]
    fn what_an_app_sets_up_outlasts_its_messages_and_steps() {
        let mut owners = Owners::new(100);
        let chat = owner("chat", "east");
        owners.note("vs_1", &chat, 1, there).unwrap();
        for n in 0..1_000 {
            owners.note(&format!("msg_{n}"), &chat, 1, there).unwrap();
            owners.note(&format!("step_{n}"), &chat, 1, there).unwrap();
        }
        assert_eq!(owners.find("vs_1", "chat", 2), own("east"));
    }

    #[test]
    fn an_id_that_changed_hands_is_counted_once() {
        let mut owners = Owners::new(100);
        for n in 0..50 {
            let id = format!("resp_{n}");
            owners.note(&id, &owner("chat", "east"), 0, there).unwrap();
            owners.note(&id, &owner("batch", "west"), LIFE_SECONDS, there).unwrap();
        }
        let ids: Vec<usize> = owners.queues.values().map(|queue| queue.ids).collect();
        assert_eq!(ids, [50, 0]);
        owners.resize(10);
        assert_eq!(owners.len(), 10);
    }

    #[test]
    fn queues_stay_as_small_as_what_is_known() {
        let mut owners = Owners::new(10);
        let chat = owner("chat", "east");
        for day in 0..1_000 {
            owners.note("a", &chat, day * DAY_SECONDS, there).unwrap();
        }
        let turns: usize = owners.queues.values().map(|queue| queue.order.len()).sum();
        assert!(turns <= 2 + PASSED_TURNS, "{turns}");
    }

    #[test]
    fn a_file_brings_back_what_is_newer_and_not_over() {
        let mut owners = Owners::new(10);
        let record = |backend, used| Record { id: "a".into(), owner: owner("chat", backend), used };
        owners.restore(&record("east", 10), 20);
        owners.restore(&record("west", 5), 20);
        assert_eq!(owners.find("a", "chat", 20), own("east"));
        owners.restore(&record("west", 15), 20);
        assert_eq!(owners.find("a", "chat", 20), own("west"));
        let mut empty = Owners::new(10);
        empty.restore(&record("east", 10), 10 + LIFE_SECONDS);
        assert!(empty.is_empty());
        assert_eq!(empty.len(), 0);
    }
}
