//! One attempt of a client's request: an exchange with one target, and what it teaches.
//!
//! The lease is settled here, exactly once, and so is the question whether the request goes elsewhere. An
//! attempt that is dropped while it waits (the client left) settles as cancelled.

use crate::clock::Clock;
use crate::exchange::{Answer, AnswerKind, Failure, Marks, Outcome, Sending, exchange};
use crate::live::LiveModel;
use crate::proxy::ProbeRequest;
use crate::proxy::progress::Denied;
use crate::proxy::progress::Progress;
use crate::routing::Event;
use crate::routing::Lease;
use crate::telemetry::Telemetry;
use crate::telemetry::access_log::Attempt;
use crate::time::Time;
use crate::time::millis;
use pingora_core::connectors::http::Connector as HttpConnector;
use pingora_core::{Error, ErrorType, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What an attempt needs.
pub(super) struct Order {
    pub(super) sending: Sending,
    pub(super) deadline: Duration,
    pub(super) idle: Duration,
    pub(super) max_attempts: u32,
    pub(super) model: Arc<LiveModel>,
    pub(super) progress: Arc<Progress>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) probes: mpsc::Sender<ProbeRequest>,
    pub(super) clock: Clock,
    pub(super) lease: Lease,
    pub(super) why: &'static str,
}

/// Runs one attempt to its first content, or to its failure. An error is what Pingora asks
/// `error_while_proxy` about; whether it may be repeated was decided here, in the request's progress.
pub(super) async fn run(http: &HttpConnector, order: Order) -> Result<(Answer, Aftermath)> {
    let (deadline, idle, max_attempts) = (order.deadline, order.idle, order.max_attempts);
    let (mut watch, sending) = Watch::split(order);
    let aftermath = watch.aftermath();
    let clock = watch.clock;
    let exchange = exchange(http, &sending, &clock, &mut watch.marks);
    let result = match tokio::time::timeout(deadline, exchange).await {
        Ok(result) => result,
        Err(_) => Err(Failure::bare(Outcome::TimedOut)),
    };
    let mut answer = match result {
        Ok(answer) => {
            watch.succeed(answer.kind);
            answer
        }
        Err(mut failure) => {
            let answer = failure.answer.take();
            let granted = watch.fail(&failure, max_attempts);
            match answer {
                Some(answer) if failure.is_spare && granted.is_err() => answer,
                other => {
                    if let Some(answer) = other {
                        answer.release(http).await;
                    }
                    let error =
                        Error::explain(ErrorType::Custom("attempt"), failure.outcome.as_str());
                    return Err(error.into_up());
                }
            }
        }
    };
    answer.session.set_read_timeout(Some(idle));
    Ok((answer, aftermath))
}

/// Who is told how an answer ended that had begun well.
pub(super) struct Aftermath {
    model: Arc<LiveModel>,
    target: usize,
    request: u64,
    telemetry: Arc<Telemetry>,
    progress: Arc<Progress>,
    clock: Clock,
}

impl Aftermath {
    /// It broke off after content was passed on: a strike, and the attempt is told as broken.
    pub(super) fn broke_off(&self) {
        if let Some(event) = self.model.pool.broke_off(self.target, self.request, self.clock.now())
        {
            self.telemetry.target_changed(&self.model, event);
        }
        self.progress.broke_off();
        let backend = self.model.backends.get(self.target).map_or("", |b| &*b.name);
        let outcome = Outcome::BrokenOff.as_str();
        self.telemetry
            .metrics
            .attempts
            .with_label_values(&[&*self.model.name, backend, outcome])
            .inc();
    }

    /// It came to its end.
    pub(super) fn completed(&self) {
        self.model.pool.completed(self.target);
    }
}

/// Watches over one attempt: settles its lease and writes its record, once, whatever happens.
struct Watch {
    lease: Option<Lease>,
    target: usize,
    request: u64,
    sent: Time,
    model: Arc<LiveModel>,
    progress: Arc<Progress>,
    telemetry: Arc<Telemetry>,
    probes: mpsc::Sender<ProbeRequest>,
    clock: Clock,
    marks: Marks,
    why: &'static str,
}

impl Watch {
    fn split(order: Order) -> (Self, Sending) {
        let target = order.lease.target();
        let watch = Self {
            target,
            request: order.lease.ask().request,
            sent: order.lease.sent(),
            lease: Some(order.lease),
            model: order.model,
            progress: order.progress,
            telemetry: order.telemetry,
            probes: order.probes,
            clock: order.clock,
            marks: Marks::default(),
            why: order.why,
        };
        (watch, order.sending)
    }

    fn aftermath(&self) -> Aftermath {
        Aftermath {
            model: Arc::clone(&self.model),
            target: self.target,
            request: self.request,
            telemetry: Arc::clone(&self.telemetry),
            progress: Arc::clone(&self.progress),
            clock: self.clock,
        }
    }

    fn backend(&self) -> Arc<str> {
        let backend = self.model.backends.get(self.target);
        backend.map_or_else(|| "".into(), |b| Arc::clone(&b.name))
    }

    /// Settles a good answer, or one that is passed on and teaches nothing.
    fn succeed(&mut self, kind: AnswerKind) {
        let lease = self.lease.take();
        if kind == AnswerKind::Passed {
            drop(lease);
            return self.close(Outcome::Passed);
        }
        let (first_token, now) = (self.marks.first_token, self.clock.now());
        let event = lease.and_then(|lease| match first_token {
            // The first content token is the one thing that feeds the score.
            Some(at) => lease.first_token(at),
            None => lease.answered(now),
        });
        self.tell(event);
        self.close(Outcome::Ok);
    }

    /// Settles a failure, and decides whether the request goes elsewhere.
    fn fail(&mut self, failure: &Failure, max_attempts: u32) -> std::result::Result<(), Denied> {
        let now = self.clock.now();
        let outcome = failure.outcome;
        let event =
            self.lease.take().and_then(|lease| end_failed(lease, outcome, failure.rest, now));
        self.tell(event);
        if let (Outcome::Connect, Some(backend)) = (outcome, self.model.backends.get(self.target)) {
            backend.next_address();
        }
        if matches!(outcome, Outcome::Unauthorised | Outcome::DeploymentMissing) {
            // Full: enough probes are wanted already.
            drop(self.probes.try_send((Arc::clone(&self.model.name), self.target)));
        }
        let (verdict, forgiven) =
            self.progress.decide(&self.model, (self.target, outcome), max_attempts, now);
        for event in forgiven {
            self.tell(Some(event));
        }
        self.count(outcome, verdict);
        self.close(outcome);
        verdict
    }

    fn count(&self, outcome: Outcome, verdict: std::result::Result<(), Denied>) {
        let metrics = &self.telemetry.metrics;
        match verdict {
            Ok(()) => {
                metrics.retries.with_label_values(&[&*self.model.name, outcome.as_str()]).inc();
            }
            Err(Denied::Budget) => {
                metrics.retry_budget_exhausted.with_label_values(&[&*self.model.name]).inc();
            }
            Err(Denied::Attempts | Denied::Targets | Denied::Kind) => {}
        }
    }

    fn tell(&self, event: Option<Event>) {
        if let Some(event) = event {
            self.telemetry.target_changed(&self.model, event);
        }
    }

    /// Writes the record. Called once: by whoever took the lease.
    fn close(&self, outcome: Outcome) {
        let since = |at: Option<Time>| at.map(|at| at.since(self.sent));
        let (first_byte, ttft) = (since(self.marks.header), since(self.marks.first_token));
        let backend = self.backend();
        let labels = [&*self.model.name, &*backend];
        let metrics = &self.telemetry.metrics;
        metrics.attempts.with_label_values(&[labels[0], labels[1], outcome.as_str()]).inc();
        if let Some(first_byte) = first_byte {
            metrics.first_byte.with_label_values(&labels).observe(first_byte.as_secs_f64());
        }
        if let Some(ttft) = ttft {
            metrics.ttft.with_label_values(&labels).observe(ttft.as_secs_f64());
        }
        let mut state = self.progress.lock();
        state.last = Some(outcome);
        state.attempts.push(Attempt {
            backend,
            why: self.why,
            outcome: outcome.as_str(),
            status: self.marks.status,
            first_byte_ms: first_byte.map(millis),
            ttft_ms: ttft.map(millis),
            ms: millis(self.clock.now().since(self.sent)),
        });
    }
}

/// Ends the lease of an attempt that gave no good answer.
pub(super) fn end_failed(
    lease: Lease,
    outcome: Outcome,
    rest: Option<Duration>,
    now: Time,
) -> Option<Event> {
    if outcome == Outcome::TimedOut {
        lease.timed_out(now)
    } else if outcome == Outcome::Limited {
        lease.limited(rest, now)
    } else if outcome.is_error() {
        lease.failed(now)
    } else {
        // What says nothing about health only gives its slot back.
        None
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            let event = lease.cancelled(self.clock.now());
            self.tell(event);
            self.close(Outcome::ClientAbort);
        }
    }
}
