//! The targets of one model, and what they share.

use crate::rng::stable_hash;
use crate::routing::budget::RetryBudget;
use crate::routing::expected::Expected;
use crate::routing::fleet::{Fleet, Member};
use crate::routing::guard::TripBlocked;
use crate::routing::health::State;
use crate::routing::hedge::HedgeBudget;
use crate::routing::lease::{Ask, Lease};
use crate::routing::norm::Norm;
use crate::routing::outcome::Event;
use crate::routing::probe::ProbeLease;
use crate::routing::settings::Settings;
use crate::routing::size::Size;
use crate::routing::target::{Block, Blocks, TargetState};
use crate::time::Time;
use arc_swap::ArcSwap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
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
    /// Share of the traffic among the healthy targets of its tier, if any there has one other than 1.
    pub weight: u32,
    /// Attempts that it may have at a time, to the end of their answers; `None`: any number.
    pub max_in_flight: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Target {
    pub(super) spec: TargetSpec,
    /// Of the backend's name.
    pub(super) name_hash: u64,
    pub(super) state: Arc<TargetState>,
}

/// What a model's targets share, and successive configurations with it.
#[derive(Debug)]
pub(super) struct Shared {
    norm: Mutex<Norm>,
    /// Held while a trip is decided: two targets must not go by the same free place.
    pub(super) trips: Mutex<()>,
    pub(super) hedges: HedgeBudget,
    /// When the first target that rests is due to be tried, in nanoseconds.
    pub(super) trickle_at: AtomicU64,
    pub(super) counters: Counters,
}

/// What is counted beside the events.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) blocked_by_rest: AtomicU64,
    pub(super) blocked_by_max_out: AtomicU64,
    pub(super) rebased: AtomicU64,
}

impl Counters {
    pub(super) fn count_blocked(&self, by: TripBlocked) {
        let counter = match by {
            TripBlocked::Rest => &self.blocked_by_rest,
            TripBlocked::MaxOut => &self.blocked_by_max_out,
        };
        counter.fetch_add(1, Relaxed);
    }
}

impl Shared {
    fn new(settings: &Settings) -> Self {
        Self {
            norm: Mutex::new(Norm::new(settings.detect.late_mult)),
            trips: Mutex::default(),
            hedges: HedgeBudget::new(&settings.hedge),
            trickle_at: AtomicU64::new(Time::END.nanos()),
            counters: Counters::default(),
        }
    }

    pub(super) fn with_norm<R>(&self, change: impl FnOnce(&mut Norm) -> R) -> R {
        change(&mut self.norm.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The targets of one model, with the budgets they share.
#[derive(Debug)]
pub struct Pool {
    settings: Settings,
    targets: Vec<Target>,
    turns: Mutex<Vec<i64>>,
    retries: RetryBudget,
    shared: Arc<Shared>,
    fleet: ArcSwap<Fleet>,
    /// Whether any target has a limit of attempts at a time.
    bounded: bool,
}

impl Pool {
    /// A pool over `specs`. What `previous` learned of the model and of a backend of the same name is kept.
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
        let targets: Vec<Target> = specs
            .into_iter()
            .map(|spec| Target {
                state: known(&spec.backend).unwrap_or_default(),
                name_hash: stable_hash(spec.backend.as_bytes()),
                spec,
            })
            .collect();
        let shared =
            previous.map_or_else(|| Arc::new(Shared::new(&settings)), |p| Arc::clone(&p.shared));
        let bounded = targets.iter().any(|t| t.spec.max_in_flight.is_some());
        let pool = Self {
            settings,
            bounded,
            targets,
            turns,
            retries,
            shared,
            fleet: ArcSwap::from_pointee(Fleet::new()),
        };
        // The moment only decides about ramps and rests, which a pick looks at itself.
        let before = previous.map_or_else(Fleet::new, |p| Fleet::clone(&p.fleet.load()));
        pool.fleet.store(Arc::new(before.look(&pool.settings, &pool.members(), Time::ZERO)));
        pool
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

    /// A client's request came: what its retries and hedges may cost accrues. Once per request.
    pub fn admit(&self, ask: &Ask, now: Time) {
        self.retries.count_request(ask.app, now);
        self.shared.hedges.accrue(&self.settings.hedge, ask.prompt_tokens, now);
    }

    /// Opens a lease on a target that was picked; `None` if there is no such target, or if it has as many
    /// attempts as it may have.
    pub fn dispatch(self: &Arc<Self>, target: usize, ask: Ask, now: Time) -> Option<Lease> {
        let found = self.targets.get(target)?;
        let (state, seat) = (Arc::clone(&found.state), found.sit()?);
        if state.is_failing() && !state.is_passed_over(now) {
            state.change(|known| known.errors.take_try(now));
        }
        let expected = self.measure(&state, &ask);
        state.throttle.dispatched(ask.tokens, now);
        Some(Lease::open((Arc::clone(self), state), seat, (target, ask, expected), now))
    }

    /// Opens a lease for a probe of ours; `None` if there is no such target.
    pub fn start_probe(self: &Arc<Self>, target: usize, now: Time) -> Option<ProbeLease> {
        let state = &self.targets.get(target)?.state;
        let expected = self.expected(state, Size::default());
        Some(ProbeLease::open(Arc::clone(self), Arc::clone(state), (target, expected), now))
    }

    /// Targets whose recovery probe is due.
    pub fn probes_due(&self, now: Time) -> Vec<usize> {
        let due = |t: &Target| {
            t.state.is_degraded(now)
                && !t.state.is_blocked()
                && t.state.throttle.rest(0, now).is_zero()
                && t.state.with(|known| known.health.next_probe.is_some_and(|at| at <= now))
        };
        let found = self.targets.iter().enumerate().filter(|(_, target)| due(target));
        found.map(|(index, _)| index).collect()
    }

    /// How long a target still keeps requests of that many tokens away after a 429; `None` if it does not.
    pub fn rest(&self, target: usize, tokens: u64, now: Time) -> Option<Duration> {
        let rest = self.targets.get(target)?.state.throttle.rest(tokens, now);
        Some(rest).filter(|rest| !rest.is_zero())
    }

    /// What a target is out of use for beside its state.
    pub fn blocks(&self, target: usize) -> Option<Blocks> {
        self.targets.get(target).map(|t| t.state.blocks())
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

    /// What time alone changes, and the look at the pool as a whole. Call it twice a second.
    pub fn tick(&self, now: Time) -> Vec<Event> {
        let mut events = Vec::new();
        for (target, t) in self.targets.iter().enumerate() {
            let accepted = t.state.throttle.accepted(now);
            let change = t.state.change(|known| {
                accepted.inspect(|(size, sent)| known.rest.tolerated(*size, *sent, now));
                known.look(t.state.throttle.sent(), now);
                known.health.tick(&self.settings, now)
            });
            accepted.inspect(|(_, sent)| t.state.throttle.over(*sent));
            events.extend(change.map(|change| Event { target, change }));
        }
        self.look(now);
        events
    }

    /// Takes the pool down as it is now.
    pub(super) fn look(&self, now: Time) {
        let before = self.fleet.load();
        let next = before.look(&self.settings, &self.members(), now);
        let next = next.with_totals(self.shared.with_norm(|norm| norm.total_ms(&self.settings)));
        if next.new_normal && !before.new_normal {
            self.shared.counters.rebased.fetch_add(1, Relaxed);
        }
        self.fleet.store(Arc::new(next));
    }

    fn members(&self) -> Vec<Member<'_>> {
        let targets = self.targets.iter();
        targets
            .map(|Target { spec, state, .. }| Member {
                state,
                tier: spec.tier,
                weight: spec.weight,
            })
            .collect()
    }

    pub(super) fn expected(&self, state: &TargetState, size: Size) -> Expected {
        let fleet = self.fleet.load();
        self.shared.with_norm(|norm| Expected::of(&self.settings, norm, &fleet, state, size))
    }

    /// Whether anything could be tried now or after a rate limit's rest: not ready only while every target
    /// is blocked.
    pub fn is_ready(&self) -> bool {
        self.targets.iter().any(|t| !t.state.is_blocked())
    }

    /// How many targets are in that state.
    pub fn count(&self, state: State, now: Time) -> usize {
        self.targets.iter().filter(|t| t.state.state(now) == state).count()
    }

    /// Whether any target may be full.
    pub(super) fn is_bounded(&self) -> bool {
        self.bounded
    }

    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    pub(super) fn turns(&self) -> &Mutex<Vec<i64>> {
        &self.turns
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn fleet(&self) -> &ArcSwap<Fleet> {
        &self.fleet
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
