//! What a backend has seen: counters to wait on, and its last requests to look into.
//!
//! Each request is one [`Visit`], from its arrival to the hand-out of the last byte of its answer, and has
//! exactly one [`Outcome`]. A visit that is dropped without one was cancelled: the server drops what it was
//! working on at the moment when the client's connection (or HTTP/2 stream) closes. So
//! `requests = in_flight + completed + rejected + faulted + cancelled_by_client` holds at every moment.

use crate::clock::Clock;
use crate::time::Time;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole answer was handed out.
    Completed,
    /// The request was refused for a mistake of its own.
    Rejected,
    /// A fault that was set ended it.
    Faulted,
    /// The client closed before the end.
    CancelledByClient,
}

/// What a backend has counted, and whether its port is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Requests that arrived.
    pub requests: u64,
    /// Requests that were answered in full.
    pub completed: u64,
    /// Requests that were refused for a mistake of their own.
    pub rejected: u64,
    /// Requests that a fault ended.
    pub faulted: u64,
    /// Requests whose client closed before the end.
    pub cancelled_by_client: u64,
    /// Requests without an outcome so far.
    pub in_flight: u64,
    /// Requests that were answered with a stream, whole or not.
    pub streams: u64,
    /// Tokens that were sent, one by one in streams.
    pub answered_tokens: u64,
    /// When the last cancelled request was noticed to be so, in ms since the mock's start.
    pub last_cancel_ms: Option<u64>,
    /// Whether the port accepts connections.
    pub listening: bool,
}

/// One request as it arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// Counts up from 1 on each backend.
    pub id: u64,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header names and values in the order of arrival; for HTTP/2 without the pseudo headers.
    pub headers: Vec<(String, String)>,
    /// The length of the body, once it was read.
    pub body_bytes: usize,
    /// The SHA-256 of the body in hex, once it was read.
    pub body_sha256: String,
    /// The deployment that it asked for, in the path or else in the body; none where it names none, or where it
    /// was refused before it was read.
    #[serde(default)]
    pub model: Option<String>,
    /// When it arrived, in ms since the mock's start.
    pub arrived_ms: u64,
    /// When it ended, in ms since the mock's start.
    pub ended_ms: Option<u64>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

impl Recorded {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Counters and last requests of one backend.
#[derive(Debug)]
pub(super) struct Ledger {
    clock: Clock,
    counters: watch::Sender<Counters>,
    recent: Mutex<Recent>,
}

/// The last requests. Their ids go on counting when the counters start anew, since old ones may be in flight.
#[derive(Debug, Default)]
struct Recent {
    last_id: u64,
    requests: VecDeque<Recorded>,
}

/// Older requests are forgotten.
const RECENT_MAX: usize = 64;

impl Ledger {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, counters: watch::Sender::default(), recent: Mutex::default() }
    }

    /// Opens the visit of a request whose head has arrived.
    pub(super) fn arrive(self: &Arc<Self>, parts: &http::request::Parts) -> Visit {
        let mut recent = self.recent.lock();
        recent.last_id += 1;
        let id = recent.last_id;
        if recent.requests.len() >= RECENT_MAX {
            recent.requests.pop_front();
        }
        recent.requests.push_back(Recorded {
            id,
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: parts
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            body_bytes: 0,
            body_sha256: String::new(),
            model: None,
            arrived_ms: self.now_ms(),
            ended_ms: None,
            outcome: None,
        });
        drop(recent);
        self.counters.send_modify(|counters| {
            counters.requests += 1;
            counters.in_flight += 1;
        });
        Visit { ledger: Arc::clone(self), id, open: true }
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Counters> {
        self.counters.subscribe()
    }

    /// The last requests, the oldest first.
    pub(super) fn recent(&self) -> Vec<Recorded> {
        self.recent.lock().requests.iter().cloned().collect()
    }

    /// Starts counting anew. Requests in flight stay counted as arrived, so that the sum stays right.
    pub(super) fn reset(&self) {
        self.recent.lock().requests.clear();
        self.counters.send_modify(|counters| {
            let Counters { in_flight, listening, .. } = *counters;
            *counters =
                Counters { requests: in_flight, in_flight, listening, ..Counters::default() };
        });
    }

    pub(super) fn set_listening(&self, listening: Listening) {
        self.counters.send_modify(|counters| counters.listening = listening == Listening::Yes);
    }

    pub(super) fn now_ms(&self) -> u64 {
        let now = self.clock.now().since(Time::ZERO);
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }

    fn end(&self, id: u64, outcome: Outcome) {
        let now_ms = self.now_ms();
        self.amend(id, |recorded| {
            recorded.ended_ms = Some(now_ms);
            recorded.outcome = Some(outcome);
        });
        self.counters.send_modify(|counters| {
            counters.in_flight = counters.in_flight.saturating_sub(1);
            match outcome {
                Outcome::Completed => counters.completed += 1,
                Outcome::Rejected => counters.rejected += 1,
                Outcome::Faulted => counters.faulted += 1,
                Outcome::CancelledByClient => {
                    counters.cancelled_by_client += 1;
                    counters.last_cancel_ms = Some(now_ms);
                }
            }
        });
    }

    fn amend(&self, id: u64, change: impl FnOnce(&mut Recorded)) {
        if let Some(recorded) =
            self.recent.lock().requests.iter_mut().rev().find(|recorded| recorded.id == id)
        {
            change(recorded);
        }
    }
}

/// Whether a port accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listening {
    Yes,
    No,
}

/// One request on its way; whoever holds it is working on the answer.
#[derive(Debug)]
pub(super) struct Visit {
    ledger: Arc<Ledger>,
    id: u64,
    open: bool,
}

impl Visit {
    pub(super) fn body(&self, bytes: usize, sha256: &str) {
        self.ledger.amend(self.id, |recorded| {
            recorded.body_bytes = bytes;
            sha256.clone_into(&mut recorded.body_sha256);
        });
    }

    pub(super) fn model(&self, model: &str) {
        self.ledger.amend(self.id, |recorded| recorded.model = Some(model.to_owned()));
    }

    pub(super) fn streams(&self) {
        self.ledger.counters.send_modify(|counters| counters.streams += 1);
    }

    pub(super) fn tokens(&self, sent: u32) {
        if sent > 0 {
            self.ledger
                .counters
                .send_modify(|counters| counters.answered_tokens += u64::from(sent));
        }
    }

    /// Notes the outcome; only the first one counts.
    pub(super) fn end(&mut self, outcome: Outcome) {
        if std::mem::take(&mut self.open) {
            self.ledger.end(self.id, outcome);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.end(Outcome::CancelledByClient);
    }
}

fn text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use crate::clock::Clock;
    use crate::mock::ledger::{Ledger, Outcome, RECENT_MAX};
    use std::sync::Arc;

    fn arrive(ledger: &Arc<Ledger>) -> crate::mock::ledger::Visit {
        let (parts, ()) =
            http::Request::post("/x?y=1").header("a", "b").body(()).unwrap().into_parts();
        ledger.arrive(&parts)
    }

    #[test]
    fn every_visit_has_one_outcome_and_a_dropped_one_was_cancelled() {
        let ledger = Arc::new(Ledger::new(Clock::start()));
        let mut whole = arrive(&ledger);
        whole.end(Outcome::Completed);
        whole.end(Outcome::Faulted);
        drop(whole);
        drop(arrive(&ledger));
        let _waiting = arrive(&ledger);
        let counters = ledger.counters();
        assert_eq!((counters.requests, counters.in_flight), (3, 1));
        assert_eq!((counters.completed, counters.faulted, counters.cancelled_by_client), (1, 0, 1));
        assert!(counters.last_cancel_ms.is_some());
        let outcomes: Vec<_> = ledger.recent().iter().map(|recorded| recorded.outcome).collect();
        assert_eq!(outcomes, [Some(Outcome::Completed), Some(Outcome::CancelledByClient), None]);
    }

    #[test]
    fn a_request_in_flight_outlives_a_reset() {
        let ledger = Arc::new(Ledger::new(Clock::start()));
        let before = arrive(&ledger);
        ledger.reset();
        let _after = arrive(&ledger);
        drop(before);
        let counters = ledger.counters();
        assert_eq!(
            (counters.requests, counters.in_flight, counters.cancelled_by_client),
            (2, 1, 1)
        );
        assert_eq!(ledger.recent().pop().unwrap().outcome, None);
    }

    #[test]
    fn only_the_last_requests_are_kept() {
        let ledger = Arc::new(Ledger::new(Clock::start()));
        for _ in 0..RECENT_MAX + 10 {
            arrive(&ledger).end(Outcome::Completed);
        }
        let recent = ledger.recent();
        assert_eq!((recent.len(), recent[0].id), (RECENT_MAX, 11));
        assert_eq!((recent[0].path.as_str(), recent[0].header("a")), ("/x?y=1", Some("b")));
    }
}
