//! The targets of one model.

use crate::routing::budget::RetryBudget;
use crate::routing::lease::{Lease, Timing};
use crate::routing::settings::Settings;
use crate::routing::target::{Block, Event, GivenUp, TargetState, View};
use crate::time::Time;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the configuration says of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// The backend; with the model it is the target's identity.
    pub backend: String,
    /// What the model is called there.
    pub deployment: String,
    /// Lower tiers are used first.
    pub tier: u32,
    /// Share under `round_robin`; at least 1.
    pub weight: u32,
}

/// What a probe of ours found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// A first token after this long.
    FirstToken(Duration),
    /// No first token within this long.
    TimedOut(Duration),
    /// Connect, reset, 5xx or an error event.
    Failed,
    /// A good answer without a first token, or a refusal of the prompt: it can be reached.
    Answered,
    /// A 429 and the rest it asked for.
    Limited(Option<Duration>),
    /// 401 or 403.
    AuthFailed,
    /// 404: the deployment is not there.
    Misconfigured,
}

#[derive(Debug)]
pub(super) struct Target {
    pub(super) spec: TargetSpec,
    pub(super) state: Arc<TargetState>,
}

/// The targets of one model, with the retry budget they share.
#[derive(Debug)]
pub struct Pool {
    settings: Arc<Settings>,
    targets: Vec<Target>,
    turns: Mutex<Vec<i64>>,
    retries: RetryBudget,
}

impl Pool {
    /// A pool over `specs`. What `previous` learned about a backend of the same name is kept.
    pub fn new(
        settings: Settings,
        specs: Vec<TargetSpec>,
        retries: RetryBudget,
        previous: Option<&Self>,
    ) -> Self {
        let known = |backend: &str| {
            let target = previous?.targets.iter().find(|t| t.spec.backend == backend)?;
            Some(Arc::clone(&target.state))
        };
        let turns = Mutex::new(vec![0; specs.len()]);
        let targets = specs
            .into_iter()
            .map(|spec| Target { state: known(&spec.backend).unwrap_or_default(), spec })
            .collect();
        Self { settings: Arc::new(settings), targets, turns, retries }
    }

    /// The numbers it runs with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many retries it may still afford.
    pub fn retries(&self) -> &RetryBudget {
        &self.retries
    }

    /// How many targets there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// What the configuration says of a target.
    pub fn spec(&self, target: usize) -> Option<&TargetSpec> {
        self.targets.get(target).map(|t| &t.spec)
    }

    /// The target on `backend`.
    pub fn position(&self, backend: &str) -> Option<usize> {
        self.targets.iter().position(|t| t.spec.backend == backend)
    }

    /// A reading of a target.
    pub fn view(&self, target: usize, now: Time) -> Option<View> {
        self.targets.get(target).map(|t| t.state.view(&self.settings, now))
    }

    /// Opens a lease on a target that was picked; `None` if there is no such target.
    pub fn dispatch(&self, target: usize, timing: Timing, now: Time) -> Option<Lease> {
        let state = Arc::clone(&self.targets.get(target)?.state);
        Some(Lease::open(Arc::clone(&self.settings), state, target, timing, now))
    }

    /// A request failed on several targets and succeeded on none: it is its own suspect, and this target is
    /// not blamed for it.
    pub fn forgive_error(&self, target: usize, now: Time) -> Option<Event> {
        let change = self.targets.get(target)?.state.forgive_error(&self.settings, now)?;
        Some(Event { target, change })
    }

    /// A streamed answer broke off after its first content, whose lease had ended well: a strike.
    pub fn broke_off(&self, target: usize, now: Time) -> Option<Event> {
        let change = self.targets.get(target)?.state.broke_off(&self.settings, now)?;
        Some(Event { target, change })
    }

    /// A streamed answer came to its end: the strikes for those that broke off are forgiven.
    pub fn completed(&self, target: usize) {
        if let Some(target) = self.targets.get(target) {
            target.state.completed();
        }
    }

    /// Takes a target out of use, or puts it back.
    pub fn set_block(&self, target: usize, block: Block, on: Switch) {
        if let Some(target) = self.targets.get(target) {
            match on {
                Switch::On => target.state.block(block),
                Switch::Off => target.state.unblock(block),
            }
        }
    }

    /// Feeds the outcome of our own probe, sent at `sent`. Only probes enter and leave the blocks
    /// `AuthFailed` and `Misconfigured`: Azure answers 401 and 404 for single operations, too.
    pub fn probed(
        &self,
        target: usize,
        outcome: ProbeOutcome,
        sent: Time,
        now: Time,
    ) -> Option<Event> {
        let state = &self.targets.get(target)?.state;
        let change = match outcome {
            ProbeOutcome::FirstToken(ttft) => {
                state.unblock(Block::AuthFailed);
                state.unblock(Block::Misconfigured);
                state.first_token(&self.settings, ttft, sent)
            }
            ProbeOutcome::Answered => {
                state.unblock(Block::AuthFailed);
                state.unblock(Block::Misconfigured);
                state.answered();
                None
            }
            ProbeOutcome::TimedOut(age) => {
                state.outlasted(&self.settings, GivenUp::ByTimeout(age), sent)
            }
            ProbeOutcome::Failed => state.failed(&self.settings, now),
            ProbeOutcome::Limited(asked) => state.limit(&self.settings, asked, (sent, now)),
            ProbeOutcome::AuthFailed => {
                state.block(Block::AuthFailed);
                None
            }
            ProbeOutcome::Misconfigured => {
                state.block(Block::Misconfigured);
                None
            }
        };
        change.map(|change| Event { target, change })
    }

    /// Reports flags whose time is over. Call it about twice a second.
    pub fn tick(&self, now: Time) -> Vec<Event> {
        let due = |(target, t): (usize, &Target)| {
            t.state.tick(now).map(|change| Event { target, change })
        };
        self.targets.iter().enumerate().filter_map(due).collect()
    }

    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    pub(super) fn turns(&self) -> &Mutex<Vec<i64>> {
        &self.turns
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}
