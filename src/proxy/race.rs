//! The attempts of one request, against each other and against time.
//!
//! It begins with one attempt. When that is late, another may race it (the deadlines are the lease's, the
//! decision is `routing::Attempts`'); when all that are open have failed, another may follow. The first with
//! its first content wins, or with an answer that is the client's own mistake; the others are dropped there
//! and then, which closes their connections.
//!
//! [`Race::run`] may be left at its one await and called again: what it knows is in the struct.

mod refusals;

use crate::azure::error::ClientError;
use crate::exchange::{Answer, AnswerKind, Begun, Failure, Outcome, rest_asked};
use crate::proxy::admitted::Request;
use crate::proxy::aside::Aside;
use crate::proxy::body::Body;
use crate::proxy::context::Chosen;
use crate::proxy::copies;
use crate::proxy::forward;
use crate::proxy::leg::{Leg, first_to_speak};
use crate::proxy::order::Order;
use crate::proxy::passing::Passing;
use crate::proxy::watch::{Aftermath, Watch};
use crate::routing::{Attempts, Next, NoHedge, NoTarget, Repeat, Urgency, pause_before_again};
use crate::time::Time;
use pingora_core::connectors::http::Connector as HttpConnector;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// The attempts of one request.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(super) struct Race {
    request: Arc<Request>,
    http: Arc<HttpConnector>,
    body: Body,
    attempts: Attempts,
    legs: Vec<Leg>,
    began: Time,
    /// When the same target is tried once more, though none is open until then.
    again_at: Option<Time>,
    /// Why the last hedge was denied: a stuck attempt asks again and again.
    denied: Option<NoHedge>,
    /// Whether an attempt failed in another way than that what it looked for is not there.
    unsure: bool,
    /// The refusal of an attempt, while another may still serve the request.
    aside: Option<Aside>,
    /// Whether another attempt was asked for because of a refusal.
    looked: bool,
    /// Whether a response was empty: then the header of the next is held until it has content.
    saw_empty: bool,
    /// When the first target that refused with a rate limit may be asked again.
    limited_until: Option<Time>,
}

/// How far a race has come.
pub(super) enum Step {
    /// The time to look again has come first.
    Open,
    /// There is an answer.
    Won(Box<Winner>),
    /// Nobody could serve it.
    Lost(ClientError),
}

/// The answer that is passed on.
pub(super) struct Winner {
    pub(super) answer: Answer,
    /// Who is told how it ends; nobody, if it was judged before.
    pub(super) aftermath: Option<Aftermath>,
    /// Where its first content is still to come.
    pub(super) passing: Option<Passing>,
}

impl Race {
    /// Sends the first attempt.
    pub(super) fn start(http: &Arc<HttpConnector>, order: Order) -> Self {
        let Order { request, body, attempts, first } = order;
        let (began, http) = (first.sent(), Arc::clone(http));
        let mut race = Self {
            request,
            http,
            body,
            attempts,
            legs: Vec::with_capacity(2),
            began,
            again_at: None,
            denied: None,
            unsure: false,
            aside: None,
            looked: false,
            saw_empty: false,
            limited_until: None,
        };
        race.send(first);
        if let Some(leg) = race.legs.first_mut() {
            leg.is_first = true;
        }
        race
    }

    /// Until when a streaming client waits for its header; `None`: as long as it takes.
    pub(super) fn hold_until(&self) -> Option<Time> {
        let streamed = self.request.admitted.stream && self.request.operation().is_generated();
        streamed.then(|| self.began + self.request.patience.hold)
    }

    pub(super) fn request(&self) -> &Arc<Request> {
        &self.request
    }

    /// Goes on until it is over, or until that moment.
    pub(super) async fn run(&mut self, until: Option<Time>) -> Step {
        loop {
            let now = self.request.now();
            if let Some(step) = self.look_at_time_outs(now) {
                return step;
            }
            if self.again_at.is_some_and(|at| at <= now)
                && let Some(lost) = self.again()
            {
                return lost;
            }
            if self.legs.is_empty() && self.again_at.is_none() {
                // A request could not be built: a mistake of ours.
                return Step::Lost(ClientError::Internal);
            }
            self.look_at_deadlines(now);
            if until.is_some_and(|until| until <= now) {
                return Step::Open;
            }
            let aside = self.aside.as_ref().map(|aside| aside.until);
            if aside.is_some_and(|until| until <= now) {
                return self.use_aside();
            }
            let others = until.into_iter().chain(aside).chain(self.again_at);
            let next = self.next_moment().into_iter().chain(others).min();
            let pause = next.map_or(Duration::MAX, |next| next.since(now));
            tokio::select! {
                biased;
                spoken = first_to_speak(&mut self.legs) => {
                    let step = spoken.and_then(|(index, said)| self.hear(index, said));
                    if let Some(step) = step {
                        return step;
                    }
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// When a deadline or a time-out passes next.
    fn next_moment(&self) -> Option<Time> {
        let watches = || self.legs.iter().map(|leg| &leg.watch);
        let deadlines = watches().filter_map(Watch::next_deadline);
        deadlines.chain(watches().filter_map(Watch::time_out)).min()
    }

    /// Cuts the attempts whose time has run out, or notes that they outlasted it.
    fn look_at_time_outs(&mut self, now: Time) -> Option<Step> {
        let over = |leg: &Leg| leg.watch.is_timed_out(now);
        while let Some(index) = self.legs.iter().position(over) {
            let step = self.time_ran_out(index, now);
            if step.is_some() {
                return step;
            }
        }
        None
    }

    fn time_ran_out(&mut self, index: usize, now: Time) -> Option<Step> {
        let leg = self.legs.get_mut(index)?;
        if leg.watch.is_cut() {
            return self.fail(index, Failure::bare(Outcome::TimedOut));
        }
        leg.watch.outlast(now);
        self.race_what_outlasts(now);
        None
    }

    /// Races attempts that have all outlasted the default time-out, if that is allowed.
    fn race_what_outlasts(&mut self, now: Time) {
        let all = self.legs.iter().all(|leg| leg.watch.is_outlasted());
        let Some(last) = self.legs.last().filter(|_| all) else { return };
        let (model, target) = (Arc::clone(self.request.model()), last.watch.target());
        if self.attempts.outlasted(&model.pool, target, now) {
            let metrics = &self.request.services.telemetry.metrics;
            let reason = Outcome::TimedOut.as_str();
            metrics.retries.with_label_values(&[&*model.name, reason]).inc();
            // Those that are open go on, whether or not there is another.
            drop(self.retry());
        }
    }

    fn look_at_deadlines(&mut self, now: Time) {
        let late = |leg: &mut Leg| leg.watch.overdue(now);
        let wishes: Vec<Urgency> = self.legs.iter_mut().filter_map(late).collect();
        for urgency in wishes {
            self.hedge(urgency, now);
        }
    }

    /// Counts a denied hedge, if it is denied for another reason than the last one.
    fn deny(&mut self, no: NoHedge) {
        if self.denied.replace(no) != Some(no) {
            let denied = format!("denied_{}", no.as_str());
            let hedges = &self.request.services.telemetry.metrics.hedges;
            hedges.with_label_values(&[&*self.request.model().name, denied.as_str()]).inc();
        }
    }

    /// Races what is late, if that is allowed, with a backend whose name was resolved.
    fn hedge(&mut self, urgency: Urgency, now: Time) {
        let request = Arc::clone(&self.request);
        let (model, rng) = (request.model(), &mut request.services.live.rng());
        let hedges = &request.services.telemetry.metrics.hedges;
        loop {
            let picked = match self.attempts.hedge(&model.pool, urgency, now, rng) {
                Ok(picked) => picked,
                Err(no) => {
                    return self.deny(no);
                }
            };
            if forward::is_addressed(&request, picked)
                && let Some(lease) = forward::dispatch(&request, picked)
            {
                hedges.with_label_values(&[&*model.name, "sent"]).inc();
                return self.send(Watch::new(Arc::clone(&request), lease, picked.why));
            }
            // Told as `sent` it would have to be told as `lost`, too. The target stays used, which bounds this
            // loop.
            self.attempts.hedge_not_sent(&model.pool);
        }
    }

    fn send(&mut self, mut watch: Watch) {
        watch.limit_after(watch.sent().since(self.began));
        match forward::sending(&self.request, &self.body, watch.target()) {
            Some(sending) => {
                let clock = *self.request.clock();
                self.legs.push(Leg::start(&self.http, sending, watch, clock));
            }
            None => self.attempts.closed(),
        }
    }

    /// A step of an attempt ended.
    fn hear(&mut self, index: usize, said: Result<Begun, Failure>) -> Option<Step> {
        match said {
            Ok(Begun::Ready(answer)) if answer.kind == AnswerKind::Passed => {
                self.refused(index, answer)
            }
            Ok(Begun::Ready(answer)) => Some(self.win(index, answer)),
            Ok(Begun::Stream(answer)) => {
                let pool = &self.request.model().pool;
                // What must not be done twice goes elsewhere only if it was refused; of that the header of a 200 warns
                // (good ones were never seen with a Retry-After).
                let may = self.request.admitted.repeat != Repeat::OnlyUntouched
                    || rest_asked(&answer, self.request.clock()).is_some();
                // A refusal that was kept aside is another response that could be given; if all are empty, our own.
                let other = self.aside.is_some()
                    || self.saw_empty
                    || (may && self.attempts.could_go_elsewhere(pool, self.request.now()));
                if !other {
                    return Some(self.pass_on(index, answer));
                }
                if let Some(leg) = self.legs.get_mut(index) {
                    leg.go_on(answer);
                }
                None
            }
            Err(failure) => self.fail(index, failure),
        }
    }

    fn win(&mut self, index: usize, answer: Answer) -> Step {
        let mut watch = self.legs.swap_remove(index).watch;
        self.beat_the_others(&watch);
        let kind = answer.kind;
        watch.succeed(kind);
        match kind {
            AnswerKind::Passed => self.attempts.closed(),
            AnswerKind::Good => {
                let (request, now) = (&self.request, self.request.now());
                for event in self.attempts.served(&request.model().pool, now) {
                    request.tell(Some(event));
                }
            }
        }
        self.drop_aside();
        let aftermath = watch.aftermath();
        won(&watch, answer, Some(aftermath))
    }

    /// The others are dropped: their connections close, what they waited is a lower bound.
    fn beat_the_others(&mut self, winner: &Watch) {
        let now = self.request.now();
        let mut longest = None;
        for mut leg in self.legs.drain(..) {
            longest = longest.max(Some(now.since(leg.watch.sent())));
            leg.watch.lose();
            self.attempts.closed();
            copies::left_by(&self.request, &self.http, (&leg, Outcome::Lost));
        }
        if let (true, Some(beaten), Some(ttft)) = (winner.is_hedge(), longest, winner.ttft()) {
            let lead = beaten.saturating_sub(ttft).as_secs_f64();
            let leads = &self.request.services.telemetry.metrics.hedge_lead;
            leads.with_label_values(&[&*self.request.model().name]).observe(lead);
        }
    }

    /// There is no use in holding this one's header back: nothing else could be tried.
    fn pass_on(&mut self, index: usize, answer: Answer) -> Step {
        let mut leg = self.legs.swap_remove(index);
        leg.watch.answers();
        let aftermath = Some(leg.watch.aftermath());
        let attempts = std::mem::replace(&mut self.attempts, self.request.attempts());
        let rest = rest_asked(&answer, self.request.clock());
        let passing = Passing::new(Arc::clone(&self.request), leg.watch, attempts, rest);
        Step::Won(Box::new(Winner { answer, aftermath, passing: Some(passing) }))
    }

    fn fail(&mut self, index: usize, mut failure: Failure) -> Option<Step> {
        let mut leg = self.legs.swap_remove(index);
        let request = Arc::clone(&self.request);
        let model = request.model();
        if failure.outcome == Outcome::Limited {
            self.note_limit(leg.watch.target(), failure.rest);
        } else if self.legs.is_empty() && self.aside.as_ref().is_some_and(Aside::is_certain) {
            // Another target has said what is wrong with the request: it is not tried a third time.
            leg.watch.fail(&failure, &self.attempts);
            self.attempts.closed();
            if let Some(answer) = failure.answer.take() {
                self.put_away(answer);
            }
            return Some(self.give_up(failure.outcome));
        }
        let next = forward::failed(&request, &mut self.attempts, (&mut leg.watch, &failure));
        if !matches!(next, Next::GiveUp(_)) {
            copies::left_by(&request, &self.http, (&leg, failure.outcome));
        }
        self.unsure |= failure.outcome != Outcome::NotHere;
        self.saw_empty |= matches!(failure.outcome, Outcome::Malformed | Outcome::EmptyStream);
        let spare = failure.answer.take();
        // What was looked for may be where nobody answered: then nobody knows that it is not there.
        let asked_all =
            usize::try_from(self.attempts.started()).is_ok_and(|asked| asked >= model.pool.len());
        let sure = asked_all && !self.unsure;
        let is_spare = failure.is_spare && (sure || failure.outcome != Outcome::NotHere);
        match (next, spare) {
            (Next::GiveUp(_), Some(answer)) if is_spare && self.aside.is_none() => {
                // It failed, and is passed on for want of a better one: how it ends is told to nobody.
                return Some(won(&leg.watch, answer, None));
            }
            (_, Some(answer)) => self.put_away(answer),
            (_, None) => {}
        }
        match next {
            Next::Wait => {
                self.race_what_outlasts(request.now());
                None
            }
            Next::Retry => self.retry(),
            // What was kept aside is better than the same again.
            Next::Again if self.aside.is_some() => Some(self.give_up(failure.outcome)),
            Next::Again => {
                let pause = pause_before_again(&mut request.services.live.rng());
                self.again_at = Some(request.now() + pause);
                None
            }
            Next::GiveUp(_) => Some(self.give_up(failure.outcome)),
        }
    }

    /// Gives a connection back beside the race: nothing that was decided waits for it, or is lost with it.
    fn put_away(&self, answer: Answer) {
        let http = Arc::clone(&self.http);
        tokio::spawn(async move { answer.release(&http).await });
    }

    /// The pause is over.
    fn again(&mut self) -> Option<Step> {
        self.again_at = None;
        let chosen = forward::again(&self.request, &mut self.attempts);
        self.follow(chosen.map(|(chosen, _)| chosen))
    }

    /// Another attempt follows.
    fn retry(&mut self) -> Option<Step> {
        let chosen = forward::reach(&self.request, &mut self.attempts);
        self.follow(chosen.map(|(chosen, _)| chosen))
    }

    fn follow(&mut self, chosen: Result<Chosen, NoTarget>) -> Option<Step> {
        match chosen {
            Ok(Chosen { lease, why }) => {
                self.send(Watch::new(Arc::clone(&self.request), lease, why));
                None
            }
            Err(_) if self.aside.is_some() => Some(self.give_up(Outcome::Refused)),
            Err(none) => Some(Step::Lost(forward::nothing_left(&self.request, &none))),
        }
    }
}

impl Drop for Race {
    /// The client left while attempts were open. One response is what it asked for; the others are copies.
    fn drop(&mut self) {
        for leg in self.legs.iter().skip(1) {
            copies::left_by(&self.request, &self.http, (leg, Outcome::ClientAbort));
        }
    }
}

fn won(watch: &Watch, answer: Answer, aftermath: Option<Aftermath>) -> Step {
    watch.answers();
    Step::Won(Box::new(Winner { answer, aftermath, passing: None }))
}
