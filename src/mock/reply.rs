//! An answer's head: status, and the headers that Azure's gateway puts on everything it sends.
//!
//! Beside those, `x-mock-backend`, `x-mock-body-bytes` and `x-mock-body-sha256` tell a test who answered and
//! what arrived there.

use crate::mock::backend::Backend;
use crate::mock::body::AnswerBody;
use crate::mock::fault::HalfBody;
use crate::mock::ledger::Outcome;
use crate::mock::receive::Received;
use crate::mock::refusal::Refusal;
use crate::mock::script::{Script, broken, hang, whole};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// An answer before it is sent.
pub(super) struct Reply {
    /// When its head leaves, counted from the arrival of the request.
    pub(super) at: Duration,
    /// How the request ends when the script has been played.
    pub(super) outcome: Outcome,
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    script: Script,
}

impl Reply {
    /// A stream of events whose head leaves at `at`.
    pub(super) fn events(at: Duration, script: Script) -> Self {
        let headers = vec![
            ("content-type", "text/event-stream; charset=utf-8".to_owned()),
            ("x-accel-buffering", "no".to_owned()),
        ];
        Self { at, outcome: Outcome::Completed, status: StatusCode::OK, headers, script }
    }

    /// The same, of another type.
    pub(super) fn typed(mut self, kind: &'static str) -> Self {
        self.headers.retain(|(name, _)| *name != "content-type");
        self.with("content-type", kind)
    }

    /// The same with one more header.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// One JSON body of so many bytes.
    pub(super) fn sized(at: Duration, bytes: usize, script: Script) -> Self {
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("content-length", bytes.to_string()),
        ];
        Self { at, outcome: Outcome::Completed, status: StatusCode::OK, headers, script }
    }

    /// A JSON value, at once.
    pub(super) fn json(value: &Value) -> Self {
        let bytes = Bytes::from(value.to_string());
        Self::sized(Duration::ZERO, bytes.len(), whole(Duration::ZERO, bytes, 0))
    }

    /// An error, at once.
    pub(super) fn refusal(refusal: &Refusal) -> Self {
        let mut reply = Self::json(&refusal.body);
        reply.status = refusal.status;
        reply.outcome = Outcome::Rejected;
        reply.headers.extend(refusal.headers.iter().cloned());
        reply
    }

    /// The same refusal, whose body does not come whole.
    pub(super) fn half(self, refusal: &Refusal, body: HalfBody) -> Self {
        let script = match body {
            HalfBody::BreaksOff => broken(Duration::ZERO, &Bytes::from(refusal.body.to_string())),
            HalfBody::Stalls => hang(),
        };
        Self { script, ..self }
    }

    /// The same, ending otherwise.
    pub(super) fn ending(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }

    /// The same, in the name of a deployment.
    pub(super) fn of(mut self, deployment: &str) -> Self {
        self.headers.push(("x-ms-deployment-name", deployment.to_owned()));
        self
    }

    /// The response, whose body `play` makes of the script.
    pub(super) fn respond(
        self,
        identity: Identity,
        play: impl FnOnce(Script) -> AnswerBody,
    ) -> Response<AnswerBody> {
        let mut response = Response::new(play(self.script));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        identity.put(headers);
        for (name, value) in self.headers {
            set(headers, name, &value);
        }
        response
    }
}

/// The headers that say who answered whom.
pub(super) struct Identity(Vec<(&'static str, String)>);

/// What the gateway says about its limits.
const REQUESTS_LIMIT: u64 = 10_000;
const TOKENS_LIMIT: u64 = 1_000_000;

impl Identity {
    /// Puts them on an answer.
    pub(super) fn put(self, headers: &mut HeaderMap) {
        for (name, value) in self.0 {
            set(headers, name, &value);
        }
    }

    pub(super) fn new(backend: &Backend, received: &Received) -> Self {
        let counters = backend.ledger.counters();
        let requests_left = REQUESTS_LIMIT - counters.requests % REQUESTS_LIMIT;
        let tokens_left = TOKENS_LIMIT - counters.answered_tokens % TOKENS_LIMIT;
        Self(vec![
            ("x-ms-region", backend.region.clone()),
            ("apim-request-id", backend.fresh_id()),
            ("x-request-id", backend.fresh_id()),
            ("x-ratelimit-limit-requests", REQUESTS_LIMIT.to_string()),
            ("x-ratelimit-remaining-requests", requests_left.to_string()),
            ("x-ratelimit-limit-tokens", TOKENS_LIMIT.to_string()),
            ("x-ratelimit-remaining-tokens", tokens_left.to_string()),
            ("azureml-model-session", format!("mock-{}", backend.name)),
            ("x-mock-backend", backend.name.clone()),
            ("x-mock-body-bytes", received.bytes.len().to_string()),
            ("x-mock-body-sha256", received.sha256.clone()),
        ])
    }
}

/// A value that cannot be a header (a region with a line break, say) is left out.
fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
