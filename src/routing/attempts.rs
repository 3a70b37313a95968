//! One client's request: what it has tried, and what it may still try.
//!
//! Both the proxy and the simulator ask this object, so that what is simulated is what runs. It decides; who
//! sends and waits is the caller.
//!
//! - At most `max_attempts` primaries and retries, and one attempt more in all, with hedges.
//! - An attempt that fails while another is open only ends itself; a retry starts when none is open.
//! - A retry asks the budget, unless the backend did no work (429, no connection) or the request leaves a
//!   degraded or failing target for a healthy one.
//! - Where nothing else is left to try, what failed on one target in use is tried there once more, after a pause.
//! - A request that failed on several targets and succeeded on none is its own suspect: they are forgiven. So it is
//!   with one that was limited on several: at most one of them rests for it.
//! - A target that rests may be tried by the trickle once. If it refuses, that was no attempt.
//! - After a second time-out nothing is tried again: the client has waited for long enough.

use crate::rng::Rng;
use crate::routing::errors::Backing;
use crate::routing::lease::{Ask, Timing};
use crate::routing::outcome::Event;
use crate::routing::picked::{NoTarget, Picked, Why};
use crate::routing::pool::Pool;
use crate::routing::rescue::Urgency;
use crate::routing::used::Used;
use crate::time::Time;
use std::time::Duration;

/// The pause before the same target is tried once more: least, and by how much longer it is at most.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
const AGAIN_SPREAD: Duration = Duration::from_millis(400);

/// Returns the pause before the same target is tried once more: 100 to 500 ms, by chance, so that requests that
/// failed together do not come back together.
pub fn pause_before_again(rng: &mut Rng) -> Duration {
    AGAIN_AFTER + AGAIN_SPREAD.mul_f64(rng.unit())
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Primaries and retries together; at least 1.
    pub max_attempts: u32,
    /// What may be sent twice.
    pub repeat: Repeat,
    /// Which targets will do.
    pub bound: Bound,
}

/// Which targets will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Any.
    Free,
    /// Any, but rather this one while it is in use.
    Rather(usize),
    /// This one.
    Only(usize),
}

impl Bound {
    /// The one target that will do.
    pub const fn only(self) -> Option<usize> {
        if let Self::Only(target) = self { Some(target) } else { None }
    }
}

/// What may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing is left behind by an attempt: it may be retried and hedged.
    Anytime,
    /// It may be retried after every failure, but two attempts must not run at a time.
    NotHedged,
    /// It may be sent again only if the backend did no work on it: no hedge, no retry after an error.
    OnlyUntouched,
}

/// How an attempt failed, as far as trying elsewhere goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// No connection.
    Connect,
    /// 429, or its event before any content.
    Limited,
    /// 401, 403, or the deployment is not there: the backend did not look at the request.
    Refused,
    /// 5xx, a broken connection, an error event or an end before content.
    Error,
    /// No first token in time.
    TimedOut,
    /// Nobody's fault, after work may have begun: a conflict.
    Unclear,
}

impl Failed {
    /// Whether the backend did no work on it, so that a retry costs nobody anything.
    const fn is_untouched(self) -> bool {
        matches!(self, Self::Connect | Self::Limited | Self::Refused)
    }

    /// Whether it is blamed on the target.
    const fn is_error(self) -> bool {
        matches!(self, Self::Connect | Self::Error)
    }
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt is still open.
    Wait,
    /// Pick again.
    Retry,
    /// After a [`pause_before_again`], the same target once more: [`Attempts::again`].
    Again,
    /// It is over.
    GiveUp(Denied),
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The number of attempts is used up.
    Attempts,
    /// No target is left.
    Targets,
    /// The retry budget is spent.
    Budget,
    /// What happened is not repeated.
    Kind,
}

/// Why a late attempt is not raced by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHedge {
    /// Hedging is off, or this request may not be hedged.
    NotAllowed,
    /// It has as many attempts as it may have.
    Attempts,
    /// The prompt is too long.
    Prompt,
    /// The whole pool is slow.
    Congested,
    /// Only degraded targets are left: they race what is stuck, not what is late.
    Degraded,
    /// No target is left that would help.
    Target,
    /// The token budget is spent.
    Budget,
}

impl NoHedge {
    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::Attempts => "attempts",
            Self::Prompt => "prompt",
            Self::Congested => "congested",
            Self::Degraded => "degraded",
            Self::Target => "target",
            Self::Budget => "budget",
        }
    }
}

/// The attempts of one request.
#[derive(Debug)]
pub struct Attempts {
    ask: Ask,
    limits: Limits,
    used: Used,
    /// Primaries and retries that were started.
    started: u32,
    hedges: u32,
    open: u32,
    /// Attempts that timed out, or outlasted the default.
    time_outs: u32,
    failed_on: Used,
    /// Where it was tried once more.
    again: Option<usize>,
    limited_on: Used,
    /// Attempts beside `max_attempts`: a trickle that was refused.
    spared: u32,
}

impl Attempts {
    /// Nothing tried yet.
    pub fn new(ask: Ask, limits: Limits) -> Self {
        let used = Used::none_of(ask.tokens);
        let (failed_on, limited_on) = Default::default();
        let (started, hedges, open, spared, time_outs, again) = (0, 0, 0, 0, 0, None);
        Self {
            ask,
            limits,
            used,
            started,
            hedges,
            open,
            time_outs,
            failed_on,
            again,
            limited_on,
            spared,
        }
    }

    /// What the request is.
    pub fn ask(&self) -> Ask {
        self.ask
    }

    /// Attempts that were started, hedges among them.
    pub fn started(&self) -> u32 {
        self.started + self.hedges
    }

    /// Attempts that are open.
    pub fn open(&self) -> u32 {
        self.open
    }

    /// The target of the first attempt, and of each retry. It counts as open from now on.
    pub fn next(&mut self, pool: &Pool, now: Time, rng: &mut Rng) -> Result<Picked, NoTarget> {
        let picked = match self.limits.bound {
            Bound::Only(_) if self.started > 0 => return Err(NoTarget::AllUsed),
            Bound::Only(target) => Picked { target, why: Why::Asked },
            Bound::Rather(target)
                if self.used.is_empty() && pool.is_usable(target, self.ask.tokens, now) =>
            {
                Picked { target, why: Why::Home }
            }
            Bound::Rather(_) | Bound::Free => pool.pick_for(&self.ask, &self.used, now, rng)?,
        };
        self.start(picked.target)?;
        self.used.trickled |= picked.why == Why::Trickle;
        self.started += 1;
        Ok(picked)
    }

    /// The target of a hedge, whose cost is taken from the budget. It counts as open from now on.
    pub fn hedge(
        &mut self,
        pool: &Pool,
        urgency: Urgency,
        now: Time,
        rng: &mut Rng,
    ) -> Result<Picked, NoHedge> {
        let hedge = &pool.settings().hedge;
        // A whole response costs more than a prompt: only one that is stuck is raced twice.
        let often = self.ask.timing == Timing::FirstToken || urgency != Urgency::Late;
        let most = if often { hedge.max_per_request } else { 1 };
        let allowed = hedge.enabled
            && self.limits.bound.only().is_none()
            && self.limits.repeat == Repeat::Anytime;
        if !allowed {
            return Err(NoHedge::NotAllowed);
        }
        if self.hedges >= most || self.started() > self.max_attempts() {
            return Err(NoHedge::Attempts);
        }
        if self.ask.prompt_tokens > hedge.max_prompt_tokens {
            return Err(NoHedge::Prompt);
        }
        let picked = pool.pick_racer(&self.used, urgency, now, rng)?;
        if !pool.shared().hedges.take(self.ask.prompt_tokens) {
            return Err(NoHedge::Budget);
        }
        self.start(picked.target).map_err(|_| NoHedge::Attempts)?;
        self.hedges += 1;
        Ok(picked)
    }

    /// Whether this request could go elsewhere if what is open now were refused: if not, there is no use in
    /// holding anything back.
    pub fn could_go_elsewhere(&self, pool: &Pool, now: Time) -> bool {
        self.open > 1
            || (self.limits.bound.only().is_none()
                && self.started < self.max_attempts()
                && pool.can_pick(&self.used, now))
    }

    /// What backs the error of an open attempt that failed in this way.
    pub fn backing(&self, pool: &Pool, how: Failed, now: Time) -> Backing {
        let may = self.limits.repeat != Repeat::OnlyUntouched || how.is_untouched();
        let elsewhere =
            self.open > 1 || (self.limits.bound.only().is_none() && pool.can_pick(&self.used, now));
        if may && elsewhere { Backing::Elsewhere } else { Backing::Alone }
    }

    /// The one more attempt that [`Next::Again`] allowed. It counts as open from now on.
    pub fn again(&mut self) -> Option<Picked> {
        let target = self.again?;
        self.started += 1;
        self.open += 1;
        Some(Picked { target, why: Why::Again })
    }

    /// An open attempt failed on `target`. Takes the retry from the budget if there is to be one; also gives
    /// what changed for targets that are forgiven.
    pub fn failed(
        &mut self,
        pool: &Pool,
        target: usize,
        how: Failed,
        now: Time,
    ) -> (Next, Vec<Event>) {
        self.closed();
        self.time_outs += u32::from(how == Failed::TimedOut);
        self.note_failure(target, how);
        if self.open > 0 {
            return (Next::Wait, Vec::new());
        }
        match self.may_retry(pool, target, how, now) {
            Ok(()) => (Next::Retry, Vec::new()),
            Err(Denied::Targets) => match self.take_again(pool, how, now) {
                Ok(()) => (Next::Again, Vec::new()),
                Err(denied) => (Next::GiveUp(denied), self.forgive(pool, now)),
            },
            Err(denied) => (Next::GiveUp(denied), self.forgive(pool, now)),
        }
    }

    /// All open attempts, of which one is on `target`, have outlasted the default time-out and go on. Whether another
    /// is to race them, which is taken from the retry budget.
    pub fn outlasted(&mut self, pool: &Pool, target: usize, now: Time) -> bool {
        self.time_outs += 1;
        self.may_retry(pool, target, Failed::TimedOut, now).is_ok()
    }

    /// Whether a target is tried once more, since nothing else is left: it is in use, and it alone of those in use
    /// has failed; if several had, it would rather be the request. Takes that attempt from the budget.
    fn take_again(&mut self, pool: &Pool, how: Failed, now: Time) -> Result<(), Denied> {
        let may = match how {
            _ if self.again.is_some() => false,
            Failed::Error => self.limits.repeat != Repeat::OnlyUntouched,
            Failed::Connect => true,
            Failed::Limited | Failed::Refused | Failed::TimedOut | Failed::Unclear => false,
        };
        let size = self.used.size();
        let mut in_use =
            self.failed_on.iter().filter(|target| pool.may_try_again(*target, size, now));
        let (Some(target), None, true) = (in_use.next(), in_use.next(), may) else {
            return Err(Denied::Targets);
        };
        if !pool.retries().take_again(self.ask.app, now) {
            return Err(Denied::Budget);
        }
        self.again = Some(target);
        Ok(())
    }

    /// A target that [`Attempts::next`] named cannot be addressed yet: it is used, but was no attempt.
    pub fn not_sent(&mut self) {
        self.closed();
        self.started = self.started.saturating_sub(1);
    }

    /// An open attempt ended in another way: it won, or it was dropped.
    pub fn closed(&mut self) {
        debug_assert!(self.open > 0, "an attempt ended that was not open");
        self.open = self.open.saturating_sub(1);
    }

    /// An open attempt has served the request: what failed before it was the fault of those targets. Gives what
    /// changed for them.
    pub fn served(&mut self, pool: &Pool, now: Time) -> Vec<Event> {
        self.closed();
        let request = self.ask.request;
        let failed_on = self.failed_on.iter();
        failed_on.filter_map(|target| pool.served_elsewhere(target, request, now)).collect()
    }

    /// A hedge could not be sent: its target had no address. It costs nothing, and the target stays used.
    pub fn hedge_not_sent(&mut self, pool: &Pool) {
        self.closed();
        self.hedges = self.hedges.saturating_sub(1);
        pool.shared().hedges.give_back(self.ask.prompt_tokens);
    }

    /// The one open attempt failed on `target` when its answer was on its way to the client already: there is no
    /// other. Gives what changed for targets that are forgiven.
    pub fn gave_up(&mut self, pool: &Pool, target: usize, how: Failed, now: Time) -> Vec<Event> {
        self.closed();
        self.note_failure(target, how);
        self.forgive(pool, now)
    }

    fn note_failure(&mut self, target: usize, how: Failed) {
        if how.is_error() && !self.failed_on.contains(target) {
            // No room: that many failures are enough to know.
            let _room = self.failed_on.add(target);
        }
        if how == Failed::Limited {
            self.was_limited(target);
        }
    }

    fn may_retry(&self, pool: &Pool, target: usize, how: Failed, now: Time) -> Result<(), Denied> {
        if self.limits.repeat == Repeat::OnlyUntouched && !how.is_untouched() {
            return Err(Denied::Kind);
        }
        if self.time_outs > 1 && how == Failed::TimedOut {
            return Err(Denied::Kind);
        }
        if self.is_spent() || self.again.is_some() || self.limits.bound.only().is_some() {
            return Err(Denied::Attempts);
        }
        if !pool.can_pick(&self.used, now) {
            return Err(Denied::Targets);
        }
        let free = how.is_untouched() || pool.leaves_degraded(target, &self.used, now);
        if !free && !pool.retries().take(self.ask.app, now) {
            return Err(Denied::Budget);
        }
        Ok(())
    }

    /// Whether it has had as many attempts as it may have.
    fn is_spent(&self) -> bool {
        let most = self.max_attempts();
        self.started >= most || self.started() > most
    }

    /// Nobody could serve it: more likely its own fault than that of all of them. Had one succeeded, the
    /// others would keep their strikes.
    fn forgive(&self, pool: &Pool, now: Time) -> Vec<Event> {
        for target in self.limited_on.iter().skip(1) {
            pool.forgive_limit(target, self.ask.request);
        }
        let failed_on = self.failed_on.iter();
        if failed_on.len() < 2 {
            return Vec::new();
        }
        let request = self.ask.request;
        failed_on.filter_map(|target| pool.forgive_error(target, request, now)).collect()
    }

    fn was_limited(&mut self, target: usize) {
        let _room = self.limited_on.add(target);
        self.spared = u32::from(self.used.trickled);
    }

    /// Whether it was limited wherever it was tried, and so large that it may be its own fault.
    pub fn may_be_oversize(&self, pool: &Pool) -> bool {
        let refused = u32::try_from(self.limited_on.iter().len()) == Ok(self.started());
        let large = |target| pool.may_be_oversize(target, self.ask.tokens);
        refused && self.started() > 0 && self.limited_on.iter().all(large)
    }

    fn max_attempts(&self) -> u32 {
        self.limits.max_attempts.saturating_add(self.spared)
    }

    fn start(&mut self, target: usize) -> Result<(), NoTarget> {
        if !self.used.add(target) {
            return Err(NoTarget::AllUsed);
        }
        self.open += 1;
        Ok(())
    }
}
