//! One probe: a small streamed prompt, its deadlines, and what it found.

use crate::azure::route::Operation;
use crate::config::checked::ProbeKind;
use crate::exchange::{Answer, AnswerKind, Failure, Marks, Outcome, Sending, exchange};
use crate::live::LiveModel;
use crate::probing::{Prober, place};
use crate::routing::{ProbeLease, ProbeOutcome};
use crate::time::Time;
use bytes::Bytes;
use http::{Method, header};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

type Exchanged = Result<Answer, Failure>;

impl Prober {
    /// Sends one probe and feeds what it found, unless the target is being probed.
    pub(super) async fn probe(&self, model: &LiveModel, target: usize) {
        let Some(_turn) = self.turn(model, target) else { return };
        let proof = self.proof(model, target);
        let mut learned = Box::pin(self.ask(model, target)).await;
        if learned == Learned::OtherName {
            self.note_refusal(model);
            learned = Box::pin(self.ask(model, target)).await;
        }
        if let Some(place) = place(model, target) {
            let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
            tried.insert(place, proof);
        }
        if learned == Learned::Nothing
            && let Some(place) = place(model, target)
        {
            let mut fruitless = self.fruitless.lock().unwrap_or_else(PoisonError::into_inner);
            fruitless.insert(place, self.live.clock().now());
        }
    }

    /// One exchange with one target, and what it tells.
    async fn ask(&self, model: &LiveModel, target: usize) -> Learned {
        let Some(sending) = self.prompt(model, target) else { return Learned::Nothing };
        let clock = *self.live.clock();
        let sent = clock.now();
        let Some(mut lease) = model.pool.start_probe(target, sent) else {
            return Learned::Nothing;
        };
        let limit = model.routing.probe.timeout;
        let mut marks = Marks::default();
        let exchange = exchange(&self.http, &sending, &clock, &mut marks);
        let result = self.attend(model, &mut lease, sent + limit, exchange).await;
        let asked = Asked::of(&result, (sent, clock.now()), marks);
        if asked.refused_max_tokens && !self.refuses(model) {
            self.put_away(result, limit).await;
            return Learned::OtherName;
        }
        self.count(model, target, &asked);
        let (found, now) = (asked.found(), clock.now());
        if let Some(event) = found.and_then(|found| lease.ended(found, now)) {
            self.telemetry.target_changed(model, event, now);
        }
        self.put_away(result, limit).await;
        if found.is_some() { Learned::Something } else { Learned::Nothing }
    }

    /// Waits for the exchange, minding the deadlines meanwhile.
    async fn attend(
        &self,
        model: &LiveModel,
        lease: &mut ProbeLease,
        limit: Time,
        exchange: impl Future<Output = Exchanged>,
    ) -> Exchanged {
        let mut exchange = pin!(exchange);
        loop {
            let now = self.live.clock().now();
            let overdue = lease.overdue(now);
            if let Some(event) = overdue.event {
                self.telemetry.target_changed(model, event, now);
            }
            if overdue.give_up || limit <= now {
                return Err(Failure::bare(Outcome::TimedOut));
            }
            let next = lease.next_deadline().map_or(limit, |due| due.min(limit));
            tokio::select! {
                biased;
                result = &mut exchange => return result,
                () = sleep(next.since(now)) => {}
            }
        }
    }

    /// A probe's answer is short: read to its end, the connection can be used again.
    async fn put_away(&self, result: Exchanged, limit: Duration) {
        if let Ok(answer) = result {
            drop(tokio::time::timeout(limit, answer.finish(&self.http)).await);
        }
    }

    fn count(&self, model: &LiveModel, target: usize, asked: &Asked) {
        let Some(backend) = model.backends.get(target) else { return };
        let (model, backend, outcome) = (&*model.name, &*backend.name, asked.outcome.as_str());
        let metrics = &self.telemetry.metrics;
        metrics.probes.with_label_values(&[model, backend, outcome]).inc();
        let ok = if asked.outcome == Outcome::Ok { "true" } else { "false" };
        let seconds = asked.took().as_secs_f64();
        metrics.probe_seconds.with_label_values(&[model, backend, ok]).observe(seconds);
        tracing::debug!(model, backend, outcome, "probed");
    }

    fn note_refusal(&self, model: &LiveModel) {
        let mut refusing = self.completion_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        refusing.insert(Arc::clone(&model.name));
    }

    fn refuses(&self, model: &LiveModel) -> bool {
        let refusing = self.completion_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        refusing.contains(&model.name)
    }

    /// The smallest request that has a first token.
    fn prompt(&self, model: &LiveModel, target: usize) -> Option<Sending> {
        let backend = model.backends.get(target)?;
        let deployment = &model.pool.spec(target)?.deployment;
        let most = model.routing.probe.max_tokens;
        let limit = if self.refuses(model) { "max_completion_tokens" } else { "max_tokens" };
        let text = "Reply with the word ok.";
        let (operation, path, body) = match model.probe {
            ProbeKind::Chat => (
                Operation::ChatCompletions,
                "/openai/v1/chat/completions",
                serde_json::json!({ "model": deployment, "stream": true, limit: most,
                    "messages": [{ "role": "user", "content": text }] }),
            ),
            ProbeKind::Completions => (
                Operation::Completions,
                "/openai/v1/completions",
                serde_json::json!({ "model": deployment, "stream": true, limit: most, "prompt": text }),
            ),
            ProbeKind::Embeddings => (
                Operation::Embeddings,
                "/openai/v1/embeddings",
                serde_json::json!({ "model": deployment, "input": "ok" }),
            ),
            ProbeKind::Off => return None,
        };
        let body = Bytes::from(body.to_string());
        let unix = self.live.clock().unix();
        let mut request = backend.request((Method::POST, path), unix).ok()?;
        request.insert_header(header::CONTENT_TYPE, "application/json").ok()?;
        request.insert_header(header::CONTENT_LENGTH, body.len()).ok()?;
        request
            .insert_header(
                header::USER_AGENT,
                concat!("firstlight-probe/", env!("CARGO_PKG_VERSION")),
            )
            .ok()?;
        let stream = operation != Operation::Embeddings;
        Some(Sending { peer: backend.peer()?, request, body, operation, stream })
    }
}

/// What a probe came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Learned {
    Something,
    /// It could not be sent, or its answer tells nothing.
    Nothing,
    /// The model refuses `max_tokens`: it must be asked by the other name.
    OtherName,
}

/// What came of one exchange.
#[derive(Clone, Copy)]
struct Asked {
    sent: Time,
    ended: Time,
    marks: Marks,
    outcome: Outcome,
    rest: Option<Duration>,
    refused_max_tokens: bool,
}

impl Asked {
    fn of(result: &Exchanged, (sent, ended): (Time, Time), marks: Marks) -> Self {
        let (outcome, rest) = match result {
            Ok(answer) if answer.kind == AnswerKind::Passed => (Outcome::Passed, None),
            Ok(_) => (Outcome::Ok, None),
            Err(failure) => (failure.outcome, failure.rest),
        };
        let body = result.as_ref().ok().and_then(|answer| answer.held.as_deref());
        let told = body.unwrap_or_default();
        let told = memchr::memmem::find(told, b"max_completion_tokens").is_some();
        let refused_max_tokens = outcome == Outcome::Passed && marks.status == 400 && told;
        Self { sent, ended, marks, outcome, rest, refused_max_tokens }
    }

    fn took(&self) -> Duration {
        self.marks.first_token.unwrap_or(self.ended).since(self.sent)
    }

    /// What it tells about the target, if anything.
    fn found(&self) -> Option<ProbeOutcome> {
        match self.outcome {
            // Good without a first token: a thinking model that used up its few tokens, say.
            Outcome::Ok => Some(self.marks.first_token.map_or(ProbeOutcome::Answered, |at| {
                ProbeOutcome::FirstToken(at.since(self.sent))
            })),
            // Of the model that says nothing, however fast it was: the routing core knows what to make of it.
            Outcome::Passed | Outcome::Conflict => Some(ProbeOutcome::Refused),
            Outcome::TimedOut => Some(ProbeOutcome::TimedOut),
            Outcome::Limited => Some(ProbeOutcome::Limited(self.rest)),
            Outcome::Unauthorised => Some(ProbeOutcome::AuthFailed),
            Outcome::DeploymentMissing => Some(ProbeOutcome::Misconfigured),
            Outcome::Connect
            | Outcome::Reset
            | Outcome::ServerError
            | Outcome::ErrorEvent
            | Outcome::EmptyStream => Some(ProbeOutcome::Failed),
            Outcome::BrokenOff | Outcome::ClientAbort | Outcome::Lost => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(status: u16, outcome: Outcome) -> Asked {
        let marks = Marks { status, ..Marks::default() };
        let (sent, ended) = (Time::ZERO, Time::at(Duration::from_millis(3)));
        Asked { sent, ended, marks, outcome, rest: None, refused_max_tokens: false }
    }

    #[test]
    fn a_quick_refusal_is_no_answer_of_the_model() {
        for status in [400, 404, 405, 413, 415, 422] {
            let found = asked(status, Outcome::Passed).found();
            assert_eq!(found, Some(ProbeOutcome::Refused), "{status}");
        }
        assert_eq!(asked(409, Outcome::Conflict).found(), Some(ProbeOutcome::Refused));
        let missing = asked(404, Outcome::DeploymentMissing);
        assert_eq!(missing.found(), Some(ProbeOutcome::Misconfigured));
        assert_eq!(asked(200, Outcome::Ok).found(), Some(ProbeOutcome::Answered));
        assert_eq!(asked(500, Outcome::ServerError).found(), Some(ProbeOutcome::Failed));
    }
}
