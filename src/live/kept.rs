//! The ids that are known to this process, and those that are still to be written for the next.

use crate::owners::{Known, Owner, Owners, Record};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is not yet written, at most: a disk that is full for long must not fill the memory.
const NEWS_MAX: usize = 100_000;

/// Which backend keeps what. Its lock is held for a look or a note and never across an await.
pub struct Kept {
    state: Mutex<State>,
}

struct State {
    owners: Owners,
    /// `None`: nobody writes it.
    news: Option<Vec<Record>>,
}

impl Kept {
    pub(super) fn new(capacity: usize) -> Self {
        Self { state: Mutex::new(State { owners: Owners::new(capacity), news: None }) }
    }

    /// What is known of an id to `app` at a moment in Unix seconds.
    pub fn find(&self, id: &str, app: &str, now: u64) -> Known {
        self.lock().owners.find(id, app, now)
    }

    /// The backend of what an app set up or used last.
    pub fn home(&self, app: &Arc<str>, now: u64) -> Option<Arc<str>> {
        self.lock().owners.home(app, now)
    }

    /// Takes note that an id was seen in an answer of its owner, or used by it: see [`Owners::note`].
    pub fn note(&self, id: &str, owner: &Owner, now: u64, is_there: impl Fn(&str) -> bool) {
        let state = &mut *self.lock();
        let record = state.owners.note(id, owner, now, is_there);
        if let (Some(record), Some(news)) = (record, &mut state.news)
            && news.len() < NEWS_MAX
        {
            news.push(record);
        }
    }

    /// How many ids are known.
    pub fn len(&self) -> usize {
        self.lock().owners.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes the room; what does not fit any more is forgotten.
    pub(super) fn resize(&self, capacity: usize) {
        self.lock().owners.resize(capacity);
    }

    /// From now on what is new is held for [`Kept::take_news`].
    pub fn hold_news(&self) {
        self.lock().news.get_or_insert_default();
    }

    /// What is new since the last time.
    pub fn take_news(&self) -> Vec<Record> {
        self.lock().news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What could not be written is news again.
    pub fn give_back(&self, mut news: Vec<Record>) {
        let state = &mut *self.lock();
        if let Some(newer) = &mut state.news {
            news.append(newer);
            news.truncate(NEWS_MAX);
            *newer = news;
        }
    }

    /// Takes what was written by this or another process.
    pub fn restore(&self, records: &[Record], now: u64) {
        // Requests wait for the lock: not for all of it.
        for some in records.chunks(1_000) {
            let state = &mut *self.lock();
            for record in some {
                state.owners.restore(record, now);
            }
        }
    }

    /// All that is known, for a file, without what is over.
    pub fn records(&self, now: u64) -> Vec<Record> {
        let state = &mut *self.lock();
        state.owners.expire(now);
        state.owners.records()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
