//! Refusals in a race: which end it, which are kept aside, and what the client gets when nothing more is tried. The rules
//! are those of `aside`.

use super::{Race, Step, won};
use crate::azure::error::ClientError;
use crate::exchange::{Answer, Outcome};
use crate::proxy::aside::{Aside, Refusal, Ruling};
use crate::proxy::forward;
use crate::routing::{Failed, Next};
use std::sync::Arc;
use std::time::Duration;

impl Race {
    /// A refusal that would be passed on: it is kept aside while another attempt may still serve the request.
    pub(super) fn refused(&mut self, index: usize, answer: Answer) -> Option<Step> {
        let leg = self.legs.get(index)?;
        let refusal = Refusal {
            is_first: leg.is_first,
            is_alone: self.legs.len() == 1,
            was_limited: self.limited_until.is_some(),
            has_looked: self.looked,
            is_of_model: self.request.admitted.is_of_model(),
            ..Refusal::of(&answer, leg.watch.marks.status)
        };
        let ruling = refusal.rule();
        if ruling == Ruling::Pass {
            return Some(self.win(index, answer));
        }
        let mut watch = self.legs.swap_remove(index).watch;
        watch.set_aside();
        let target = watch.target();
        let until = refusal.until(self.began, self.request.now());
        let (better, other) = Aside { watch, answer, refusal, until }.better(self.aside.take());
        self.aside = Some(better);
        if let Some(other) = other {
            self.put_away(other.answer);
        }
        if ruling == Ruling::Elsewhere {
            return self.look_elsewhere(target);
        }
        self.attempts.closed();
        (ruling == Ruling::End).then(|| self.give_up(Outcome::Refused))
    }

    /// Another target is asked after a refusal, if one may be.
    fn look_elsewhere(&mut self, target: usize) -> Option<Step> {
        self.looked = true;
        let request = Arc::clone(&self.request);
        let (model, now) = (request.model(), request.now());
        let (next, forgiven) = self.attempts.failed(&model.pool, target, Failed::Refused, now);
        for event in forgiven {
            request.tell(Some(event));
        }
        if next != Next::Retry {
            return Some(self.give_up(Outcome::Refused));
        }
        let retries = &request.services.telemetry.metrics.retries;
        retries.with_label_values(&[&*model.name, Outcome::Refused.as_str()]).inc();
        self.retry()
    }

    /// What was kept aside has waited for long enough: it ends the race.
    pub(super) fn use_aside(&mut self) -> Step {
        if let Some(aside) = self.aside.take() {
            self.beat_the_others(&aside.watch);
            self.aside = Some(aside);
        }
        self.give_up(Outcome::Refused)
    }

    pub(super) fn drop_aside(&mut self) {
        if let Some(aside) = self.aside.take() {
            self.put_away(aside.answer);
        }
    }

    /// Nothing more is tried: the client gets what was kept aside, if anything, or our own refusal.
    pub(super) fn give_up(&mut self, last: Outcome) -> Step {
        let Some(aside) = self.aside.take() else {
            let request = Arc::clone(&self.request);
            return Step::Lost(forward::give_up(&request, &mut self.attempts, last));
        };
        if let Some(until) = self.limited_until.filter(|_| aside.refusal.yields_to_limit()) {
            self.put_away(aside.answer);
            let retry_after = until.since(self.request.now());
            return Step::Lost(ClientError::AllLimited { retry_after });
        }
        aside.watch.stands();
        won(&aside.watch, aside.answer, None)
    }

    /// Records when a target that refused with a rate limit may be asked again.
    pub(super) fn note_limit(&mut self, target: usize, asked: Option<Duration>) {
        let now = self.request.now();
        let rest = asked
            .or_else(|| self.request.model().pool.rest(target, self.request.admitted.tokens, now));
        let until = now + rest.unwrap_or_default();
        self.limited_until = Some(self.limited_until.map_or(until, |before| before.min(until)));
    }
}
