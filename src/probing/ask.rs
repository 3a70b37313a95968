//! One probe: its prompt is sent, its deadlines are minded, what it found is told.

use super::prompt::{Asked, Exchanged, TokenLimit, prompt};
use crate::exchange::{Failure, Marks, Outcome, exchange};
use crate::live::LiveModel;
use crate::probing::{Prober, place};
use crate::routing::ProbeLease;
use crate::time::Time;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

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
        let clock = *self.live.clock();
        let limit =
            if self.refuses(model) { TokenLimit::CompletionTokens } else { TokenLimit::Tokens };
        let Some(sending) = prompt(model, target, limit, clock.unix()) else {
            return Learned::Nothing;
        };
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
