//! Watches over one attempt of a client's request: settles its lease and completes its record, exactly once,
//! whatever happens. An attempt that is dropped while it waits (the client left) settles as cancelled.

use crate::azure::limit_kind::LimitKind;
use crate::azure::route::Operation;
use crate::exchange::{AnswerKind, Failure, Marks, Outcome, Stand, Upload};
use crate::live::LiveBackend;
use crate::proxy::admitted::Request;
use crate::proxy::{ProbeRequest, ProbeWish};
use crate::routing::{
    Attempts, Backing, Counts, Ended, Failed, Lease, Passed, Refusal, Seat, Size, Urgency, Why,
};
use crate::time::Time;
use crate::time::millis;
use std::sync::Arc;
use std::time::Duration;

/// How long the first content of an attempt is waited for.
#[derive(Clone, Copy)]
struct Wait {
    /// The time-out, from the end of the upload.
    limit: Duration,
    /// Whether it has passed, and the attempt goes on.
    outlasted: bool,
    /// Whether chunks without content put it off.
    shows_progress: bool,
}

/// One attempt, as the routing core, the metrics and the log know it.
pub(super) struct Watch {
    request: Arc<Request>,
    /// Taken by whoever settles it.
    lease: Option<Lease>,
    /// Held until the answer is at its end, or the attempt is dropped.
    seat: Option<Seat>,
    target: usize,
    sent: Time,
    /// When its last byte was taken; `sent`, until then.
    taken: Time,
    stand: Stand,
    wait: Wait,
    /// Where its record is.
    place: usize,
    why: Why,
    /// Whether its refusal is kept aside: see [`Watch::set_aside`].
    is_aside: bool,
    pub(super) marks: Marks,
}

impl Watch {
    pub(super) fn new(request: Arc<Request>, mut lease: Lease, why: Why) -> Self {
        let (target, sent) = (lease.target(), lease.sent());
        let backend = request.model().backends.get(target);
        let place = backend.map_or(usize::MAX, |b| request.progress.begin(&b.name, why.as_str()));
        let marks = Marks::default();
        let seat = lease.take_seat();
        let lease = Some(lease);
        let limit = request.patience.first_content;
        let shows_progress = !limit.is_bound();
        let wait = Wait { limit: limit.total(), outlasted: false, shows_progress };
        Self {
            request,
            lease,
            seat,
            target,
            sent,
            taken: sent,
            stand: Stand::default(),
            wait,
            place,
            why,
            is_aside: false,
            marks,
        }
    }

    pub(super) fn target(&self) -> usize {
        self.target
    }

    pub(super) fn operation(&self) -> Operation {
        self.request.operation()
    }

    /// About how many tokens its request counts as.
    pub(super) fn tokens(&self) -> u64 {
        self.request.admitted.tokens
    }

    pub(super) fn sent(&self) -> Time {
        self.sent
    }

    pub(super) fn is_hedge(&self) -> bool {
        matches!(self.why, Why::Hedge | Why::Rescue)
    }

    /// From the end of its upload to its first content.
    pub(super) fn ttft(&self) -> Option<Duration> {
        self.marks.first_token.map(|at| at.since(self.taken))
    }

    /// Its exchange has come so far.
    pub(super) fn progressed(&mut self, stand: Stand) {
        let news = stand.upload != self.stand.upload;
        self.stand = stand;
        if let Upload::Taken { at, .. } = stand.upload {
            self.taken = at;
        }
        match (self.lease.as_mut(), stand.upload) {
            (Some(lease), Upload::Writing) if news => lease.upload_began(),
            (Some(lease), Upload::Taken { at, tail }) if news => lease.body_sent(at, tail),
            (Some(_), Upload::Connecting | Upload::Writing | Upload::Taken { .. }) | (None, _) => {}
        }
    }

    /// A chunk without content came.
    pub(super) fn chunk_came(&mut self, now: Time) {
        self.stand.last_chunk = Some(now);
    }

    /// It was dispatched so long after the first attempt of its request.
    pub(super) fn limit_after(&mut self, elapsed: Duration) {
        let limit = self.request.patience.first_content;
        if let Some(lease) = &self.lease {
            self.wait.limit = lease.time_out(limit, elapsed);
        }
    }

    /// Nothing else can be tried: chunks without content put its time-out off, whoever set it.
    pub(super) fn keep_by_progress(&mut self) {
        self.wait.shows_progress = true;
    }

    /// When its time-out passes, or the total bound of an attempt that outlasted it. `None` during the upload, which
    /// has a deadline of its own.
    pub(super) fn time_out(&self) -> Option<Time> {
        let Upload::Taken { at, .. } = self.stand.upload else { return None };
        let patience = &self.request.patience;
        let total = at + patience.first_content.total();
        if self.wait.outlasted {
            return Some(total);
        }
        let sign = self.stand.last_chunk.filter(|_| self.wait.shows_progress);
        let kept = sign.map(|sign| sign + patience.idle.min(self.wait.limit));
        Some(kept.map_or(at + self.wait.limit, |kept| kept.max(at + self.wait.limit)).min(total))
    }

    /// Whether that has passed.
    pub(super) fn is_timed_out(&self, now: Time) -> bool {
        self.time_out().is_some_and(|at| at <= now)
    }

    /// Whether it is then cut.
    pub(super) fn is_cut(&self) -> bool {
        self.wait.outlasted || self.request.patience.first_content.is_bound()
    }

    /// It goes on after its time-out, which is evidence.
    pub(super) fn outlast(&mut self, now: Time) {
        self.wait.outlasted = true;
        let event = self.lease.as_mut().and_then(|lease| lease.outlasted(now));
        self.request.tell(event);
    }

    pub(super) fn is_outlasted(&self) -> bool {
        self.wait.outlasted
    }

    /// When to call [`Watch::overdue`].
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.lease.as_ref()?.next_deadline()
    }

    /// Deadlines that have passed: tells what changed, and whether another attempt may race this one.
    pub(super) fn overdue(&mut self, now: Time) -> Option<Urgency> {
        let mut hedge = None;
        while let Some(lease) = self.lease.as_mut()
            && lease.next_deadline().is_some_and(|due| due <= now)
        {
            let overdue = lease.overdue(now);
            hedge = hedge.max(overdue.hedge);
            self.request.tell(overdue.event);
            if overdue.confirm {
                self.wish(ProbeWish::Confirm);
            }
        }
        hedge
    }

    /// Settles a good answer, or one that is passed on and teaches nothing.
    pub(super) fn succeed(&mut self, kind: AnswerKind) {
        let Some(mut lease) = self.lease.take() else { return };
        if kind == AnswerKind::Passed {
            self.told(lease.passed(passed_as(self.marks.status), self.request.now()));
            let outcome = if self.is_aside { Outcome::Refused } else { Outcome::Passed };
            return self.close(outcome);
        }
        let event = if let Some(at) = self.marks.first_token {
            // The first content token is the one thing that feeds the score.
            lease.first_token(at)
        } else {
            if let Some(at) = self.marks.header {
                lease.header_came(at);
            }
            lease.answered(self.request.now())
        };
        self.request.tell(event);
        self.close(Outcome::Ok);
    }

    /// Settles a failure, and tells what it was to the routing core.
    pub(super) fn fail(&mut self, failure: &Failure, attempts: &Attempts) -> Failed {
        let outcome = failure.outcome;
        let how = how_it_failed(outcome);
        if let Some(lease) = self.lease.take() {
            let now = self.request.now();
            let backing = attempts.backing(&self.request.model().pool, how, now);
            self.told(end_failed(lease, (failure, backing), now));
            if let (Outcome::Connect, Some(backend)) = (outcome, self.backend()) {
                backend.next_address();
            }
            if outcome == Outcome::Unauthorised {
                self.wish(ProbeWish::Unauthorised);
            } else if outcome == Outcome::DeploymentMissing {
                self.wish(ProbeWish::Strange);
            }
            self.close(outcome);
        }
        how
    }

    /// Tells operators what changed, and the prober what it should look at.
    fn told(&self, ended: Ended) {
        self.request.tell(ended.event);
        if ended.confirm {
            self.wish(ProbeWish::Confirm);
        }
    }

    /// Settles a refusal that is kept aside while another attempt may still serve the request.
    pub(super) fn set_aside(&mut self) {
        self.is_aside = true;
        self.succeed(AnswerKind::Passed);
        self.seat = None;
    }

    /// Records that the client gets the refusal that was kept aside.
    pub(super) fn stands(&self) {
        let outcome = Outcome::Passed.as_str();
        self.request.progress.edit(self.place, |record| record.outcome = outcome);
    }

    /// Another attempt had its first content earlier: what this one waited is a lower bound.
    pub(super) fn lose(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.request.tell(lease.lost(self.request.now()));
            self.close(Outcome::Lost);
        }
    }

    /// Who is told how the answer ends. It has the seat from now on.
    pub(super) fn aftermath(&mut self) -> Aftermath {
        Aftermath {
            request: Arc::clone(&self.request),
            target: self.target,
            place: self.place,
            _seat: self.seat.take(),
        }
    }

    /// The client gets this attempt's answer.
    pub(super) fn answers(&self) {
        self.request.progress.answered(self.place);
    }

    fn backend(&self) -> Option<&Arc<LiveBackend>> {
        self.request.model().backends.get(self.target)
    }

    fn wish(&self, why: ProbeWish) {
        let Some(backend) = self.backend().map(|b| Arc::clone(&b.name)) else { return };
        let model = Arc::clone(&self.request.model().name);
        // Full: enough probes are wanted already.
        drop(self.request.services.probes.try_send(ProbeRequest { model, backend, why }));
    }

    /// Completes the record. Called once: by whoever took the lease.
    fn close(&self, outcome: Outcome) {
        let Some(backend) = self.backend() else { return };
        let first_byte = self.marks.header.map(|at| at.since(self.taken));
        let ttft = self.ttft();
        let target = (&self.request.model().name, &backend.name);
        let (model, backend) = (&**target.0, &**target.1);
        let metrics = &self.request.services.telemetry.metrics;
        metrics.attempts.with_label_values(&[model, backend, outcome.as_str()]).inc();
        if let Some(first_byte) = first_byte {
            let first_byte = first_byte.as_secs_f64();
            metrics.first_byte.with_label_values(&[model, backend]).observe(first_byte);
        }
        if let Some(ttft) = ttft {
            self.request.services.telemetry.first_token(target, ttft);
            let size = Size::of(self.request.admitted.prompt_tokens).as_str();
            let ttft = ttft.as_secs_f64();
            metrics.ttft.with_label_values(&[model, backend, size]).observe(ttft);
            if let Some(effort) = self.request.admitted.effort {
                let effort = effort.label();
                metrics.ttft_by_effort.with_label_values(&[model, effort]).observe(ttft);
            }
        }
        if self.is_hedge() {
            let won = matches!(outcome, Outcome::Ok | Outcome::Passed);
            let result = if won { "won" } else { "lost" };
            metrics.hedges.with_label_values(&[model, result]).inc();
        }
        let age = self.request.now().since(self.sent);
        self.request.progress.edit(self.place, |record| {
            record.outcome = outcome.as_str();
            record.status = self.marks.status;
            record.first_byte_ms = first_byte.map(millis);
            record.ttft_ms = ttft.map(millis);
            record.ms = millis(age);
        });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.request.tell(lease.cancelled(self.request.now()));
            self.close(Outcome::ClientAbort);
        }
    }
}

/// Ends the lease of an attempt that gave no good answer.
pub(super) fn end_failed(
    lease: Lease,
    (failure, backing): (&Failure, Backing),
    now: Time,
) -> Ended {
    let outcome = failure.outcome;
    let event = if outcome == Outcome::TimedOut {
        lease.timed_out(now)
    } else if outcome == Outcome::Limited {
        let counts = match failure.kind {
            LimitKind::EverySize => Counts::Requests,
            LimitKind::Tokens => Counts::Tokens,
        };
        lease.limited(Refusal { asked: failure.rest, counts }, now)
    } else if outcome.is_error() {
        return lease.failed(backing, now);
    } else {
        let missing = outcome == Outcome::DeploymentMissing;
        return lease.passed(if missing { Passed::Refusal } else { Passed::Other }, now);
    };
    Ended { event, confirm: false }
}

/// Whether a response says that what was asked for will not be done, or is not there.
const fn passed_as(status: u16) -> Passed {
    if matches!(status, 400 | 404 | 405 | 410) { Passed::Refusal } else { Passed::Other }
}

/// What an outcome is to the routing core.
pub(super) fn how_it_failed(outcome: Outcome) -> Failed {
    match outcome {
        // What was never whole was not worked on.
        Outcome::Connect | Outcome::UploadStalled => Failed::Connect,
        Outcome::Limited => Failed::Limited,
        Outcome::Unauthorised | Outcome::DeploymentMissing | Outcome::NotHere => Failed::Refused,
        Outcome::Reset
        | Outcome::ServerError
        | Outcome::ErrorEvent
        | Outcome::EmptyStream
        | Outcome::Malformed => Failed::Error,
        Outcome::TimedOut => Failed::TimedOut,
        Outcome::Conflict
        | Outcome::Ok
        | Outcome::Passed
        | Outcome::Refused
        | Outcome::BrokenOff
        | Outcome::ClientAbort
        | Outcome::Lost => Failed::Unclear,
    }
}

/// Who is told how an answer ended that had begun well.
pub(super) struct Aftermath {
    request: Arc<Request>,
    target: usize,
    place: usize,
    _seat: Option<Seat>,
}

impl Aftermath {
    /// It broke off or failed after content was passed on: a strike, and the attempt is told as broken.
    pub(super) fn broke_off(&self) {
        let model = self.request.model();
        let (number, now) = (self.request.ask().request, self.request.now());
        self.request.tell(model.pool.broke_off(self.target, number, now));
        self.record(Outcome::BrokenOff);
    }

    /// It was stopped by a rate limit after content was passed on: that is no fault of the target.
    pub(super) fn limited(&self) {
        self.record(Outcome::Limited);
    }

    /// It came to its end.
    pub(super) fn completed(&self) {
        self.request.model().pool.completed(self.target);
    }

    fn record(&self, outcome: Outcome) {
        let (model, outcome) = (self.request.model(), outcome.as_str());
        self.request.progress.edit(self.place, |record| record.outcome = outcome);
        let backend = model.backends.get(self.target).map_or("", |b| &*b.name);
        let attempts = &self.request.services.telemetry.metrics.attempts;
        attempts.with_label_values(&[&*model.name, backend, outcome]).inc();
    }
}
