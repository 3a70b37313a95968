//! Our own probes, as a Pingora background service.
//!
//! A degraded target is led back by probes: the routing core says when the next one is due, and every half
//! second it is asked. A target that a request found late is probed to confirm it; one that refused our
//! credential or does not know the deployment is probed too, and every minute as long as it is blocked for
//! that: only a probe of ours puts a target into such a state or takes it out, since Azure answers 401 and
//! 404 for single operations. A token that a request was refused with is renewed before; a target that is blocked
//! is tried again at once with each new token and each new configuration. With an interval set, every target gets a round of probes besides, so that a
//! region without traffic is known all the same.
//!
//! A target that refuses our prompt (any 4xx but 401, 403, 429 and a missing deployment) has a front door that
//! answers; of its model that says nothing, however fast it is. It leads a degraded target back only after the
//! flap window, when real traffic is to decide. A blocked one is unblocked: it took our credential.
//!
//! A drained target is not probed at all, whoever asks: its operator wants it left alone.
//!
//! Each target has at most one probe at a time, and none waits for another's. The same service lets time pass
//! for the routing core (ramps, flags, the look at each pool as a whole), and for memory that a smaller limit
//! is still owed.

mod ask;
mod prompt;
mod rounds;

pub(crate) use prompt::{Asked, TokenLimit, prompt};

use crate::config::checked::ProbeKind;
use crate::identity::Refresher;
use crate::live::Live;
use crate::live::LiveModel;
use crate::proxy::{ProbeRequest, ProbeWish};
use crate::routing::Block;
use crate::telemetry::Telemetry;
use crate::time::Time;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector as HttpConnector;
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::background::BackgroundService;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::sleep_until;

/// A target that requests found strange is probed at most this often.
const STRANGE_INTERVAL: Duration = Duration::from_secs(10);
/// How often a blocked target is tried, and one whose probe taught nothing.
const BLOCKED_INTERVAL: Duration = Duration::from_mins(1);
/// How long a probe waits for another token, when the one there is was refused.
const RENEWAL: Duration = Duration::from_secs(10);
/// How often the routing core is asked what is due.
const TICK: Duration = Duration::from_millis(500);

/// A target: its model and its backend, whose position changes with the configuration.
type Place = (Arc<str>, Arc<str>);

fn place(model: &LiveModel, target: usize) -> Option<Place> {
    let backend = model.backends.get(target)?;
    Some((Arc::clone(&model.name), Arc::clone(&backend.name)))
}

/// The background service.
pub struct Prober {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    http: HttpConnector,
    /// Taken by the one run of the service.
    wishes: Mutex<Option<mpsc::Receiver<ProbeRequest>>>,
    /// Models that answered that they refuse `max_tokens`.
    completion_tokens: Mutex<BTreeSet<Arc<str>>>,
    /// Targets that are being probed.
    busy: Mutex<BTreeSet<Place>>,
    /// Targets whose last probe taught nothing.
    fruitless: Mutex<BTreeMap<Place, Time>>,
    refresher: Refresher,
    /// What blocked targets were last probed with.
    tried: Mutex<BTreeMap<Place, Proof>>,
}

/// What a probe was sent with: the generation of the configuration, and which token.
type Proof = (u64, u64);

/// What comes before a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// Another token in the place of the one that was refused.
    Renewal,
}

/// A target is being probed as long as this lives.
struct Turn<'a> {
    busy: &'a Mutex<BTreeSet<Place>>,
    place: Place,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

impl Prober {
    /// A prober over what is live, that also probes what is named on `wishes`.
    pub fn new(
        live: Arc<Live>,
        telemetry: Arc<Telemetry>,
        conf: &ServerConf,
        wishes: mpsc::Receiver<ProbeRequest>,
    ) -> Self {
        let http = HttpConnector::new(Some(ConnectorOptions::from_server_conf(conf)));
        let wishes = Mutex::new(Some(wishes));
        let refresher = Refresher::new(Arc::clone(&live), Arc::clone(&telemetry));
        let (completion_tokens, busy, fruitless, tried) = Default::default();
        Self { live, telemetry, http, wishes, completion_tokens, busy, fruitless, refresher, tried }
    }

    /// Every target that is blocked for what a probe of ours found.
    fn blocked(&self) -> Vec<(Arc<LiveModel>, usize)> {
        let found = [Block::AuthFailed, Block::Misconfigured];
        let is_blocked = |m: &LiveModel, target| {
            m.pool.blocks(target).is_some_and(|blocks| found.iter().any(|&b| blocks.has(b)))
        };
        self.all(|model| (0..model.backends.len()).filter(|&t| is_blocked(model, t)).collect())
    }

    /// What a probe of a target is sent with now.
    fn proof(&self, model: &LiveModel, target: usize) -> Proof {
        let slot = model.backends.get(target).and_then(|backend| backend.token());
        (self.live.snapshot().generation, slot.map_or(0, |slot| slot.revision()))
    }

    /// Blocked targets that would be probed with something else now.
    fn blocked_before(&self) -> Vec<(Arc<LiveModel>, usize)> {
        let mut blocked = self.blocked();
        let places: BTreeSet<Place> = blocked.iter().filter_map(|(m, t)| place(m, *t)).collect();
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried.retain(|place, _| places.contains(place));
        blocked.retain(|(model, target)| {
            let with = place(model, *target).and_then(|place| tried.get(&place).copied());
            with.is_some_and(|with| with != self.proof(model, *target))
        });
        blocked
    }

    /// Lets time pass for the routing core, and asks what is due.
    fn tick(&self) -> Vec<(Arc<LiveModel>, usize)> {
        let now = self.live.clock().now();
        let snapshot = self.live.snapshot();
        for model in snapshot.models().chain([&snapshot.any_backend]) {
            for event in model.pool.tick(now) {
                self.telemetry.target_changed(model, event, now);
            }
        }
        let mut fruitless = self.fruitless.lock().unwrap_or_else(PoisonError::into_inner);
        fruitless.retain(|_, at| now.since(*at) < BLOCKED_INTERVAL);
        let mut due = self.all(|model| {
            let mut due = model.pool.probes_due(now);
            due.retain(|target| {
                place(model, *target).is_some_and(|place| !fruitless.contains_key(&place))
            });
            due
        });
        due.extend(self.blocked_before());
        due
    }

    fn all(&self, which: impl Fn(&LiveModel) -> Vec<usize>) -> Vec<(Arc<LiveModel>, usize)> {
        let snapshot = self.live.snapshot();
        let models = snapshot.models().filter(|model| model.probe != ProbeKind::Off);
        let targets = models.flat_map(|model| {
            which(model).into_iter().map(move |target| (Arc::clone(model), target))
        });
        targets.collect()
    }

    /// The target of a wish, if it still may be probed.
    fn target_of(&self, wish: &ProbeRequest) -> Option<(Arc<LiveModel>, usize)> {
        let snapshot = self.live.snapshot();
        // A refused token is renewed also where nothing is probed.
        let wanted = |model: &&Arc<LiveModel>| {
            model.probe != ProbeKind::Off || wish.why == ProbeWish::Unauthorised
        };
        let model = snapshot.model(&wish.model).filter(wanted)?;
        Some((Arc::clone(model), model.pool.position(&wish.backend)?))
    }

    /// The right to probe a target, unless it is drained or there is no token for it; nobody else has it meanwhile.
    fn turn(&self, model: &LiveModel, target: usize) -> Option<Turn<'_>> {
        let blocks = model.pool.blocks(target)?;
        if blocks.has(Block::Drained) || blocks.has(Block::NoToken) {
            return None;
        }
        let place = place(model, target)?;
        let free = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone());
        free.then_some(Turn { busy: &self.busy, place })
    }

    async fn prepare(&self, model: &LiveModel, target: usize, before: Before) {
        let slot = model.backends.get(target).and_then(|backend| backend.token());
        if let (Before::Renewal, Some(slot)) = (before, slot) {
            self.refresher.renew(slot, RENEWAL).await;
        }
    }

    /// Everything but the rounds: what is due, what is blocked, what is wished for.
    async fn dues(&self, mut wishes: mpsc::Receiver<ProbeRequest>) {
        let mut running = FuturesUnordered::new();
        let mut granted: BTreeMap<ProbeRequest, Time> = BTreeMap::new();
        let mut tick = Instant::now() + TICK;
        let mut look = Instant::now() + BLOCKED_INTERVAL;
        loop {
            let mut before = Before::Nothing;
            let found = tokio::select! {
                () = sleep_until(tick) => {
                    tick = Instant::now() + TICK;
                    self.tick()
                }
                () = sleep_until(look) => {
                    look = Instant::now() + BLOCKED_INTERVAL;
                    self.blocked()
                }
                Some(wish) = wishes.recv() => {
                    let now = self.live.clock().now();
                    granted.retain(|_, at| now.since(*at) < STRANGE_INTERVAL);
                    // From the first on: those that go on coming must not keep the next from being granted.
                    let often = granted.contains_key(&wish);
                    if !often {
                        granted.insert(wish.clone(), now);
                    }
                    if wish.why == ProbeWish::Unauthorised {
                        before = Before::Renewal;
                    }
                    let found = self.target_of(&wish);
                    found.filter(|_| !often || wish.why == ProbeWish::Confirm).into_iter().collect()
                }
                Some(()) = running.next(), if !running.is_empty() => Vec::new(),
            };
            let probe = |(model, target): (Arc<LiveModel>, usize)| async move {
                self.prepare(&model, target, before).await;
                self.probe(&model, target).await;
            };
            running.extend(found.into_iter().map(probe));
        }
    }
}

#[async_trait]
impl BackgroundService for Prober {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let taken = self.wishes.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(wishes) = taken else { return };
        tokio::select! {
            ((), ()) = async { tokio::join!(self.rounds(), self.dues(wishes)) } => {}
            _ = shutdown.changed() => {}
        }
    }
}
