//! What is live: one snapshot of everything a request needs, behind one pointer.
//!
//! A request loads the snapshot once and keeps it to its end, so it never sees half of a change. Building
//! the next snapshot carries over what was learned about every target that is still there.

mod backend;
mod certificates;
mod drains;
mod grants;
mod homes;
mod kept;
mod learned;
mod quotas;
mod ready;
mod settings;
mod tenants;
mod token;
mod unproved;

use crate::auth::keys::KeyRing;
use crate::auth::keys::ListedKey;
use crate::clock::Clock;
use crate::config::checked::App;
use crate::config::checked::BackendAuth;
use crate::config::checked::Config;
use crate::config::checked::Listener;
use crate::config::checked::Model;
use crate::config::checked::ProbeKind;
use crate::config::checked::Routing;
use crate::config::checked::Timeouts;
use crate::config::unprobed;
use crate::live::drains::Drains;
use crate::live::quotas::Quotas;
use crate::live::token::TokenSlots;
use crate::quota::Quota;
use crate::quota::Shares;
use crate::rng::Rng;
use crate::routing::Pool;
use crate::routing::RetryBudget;
use crate::routing::TargetSpec;
use crate::routing::TimeLimit;
use arc_swap::ArcSwap;
pub use backend::{BuildError, LiveBackend};
pub use certificates::{Certificate, CertificateError, Certificates, ServerNames};
pub use drains::UnknownBackend;
pub use grants::{grants, issuers};
pub use kept::Kept;
pub use learned::Learned;
pub(crate) use settings::settings;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
pub use tenants::{KeyCourse, Tenant, Tenants};
pub use token::{Course, Token, TokenSlot, TokenSource};

/// The pointer to the present snapshot, and what does not change with it.
pub struct Live {
    snapshot: ArcSwap<Snapshot>,
    clock: Clock,
    /// The seed of the next random source.
    seeds: AtomicU64,
    /// Requests at a time.
    places: Arc<Shares>,
    /// Memory for request bodies, in KiB.
    memory: Arc<Shares>,
    drains: Drains,
    kept: Kept,
}

fn kibibytes(config: &Config) -> u64 {
    u64::try_from(config.limits.buffered_bytes / 1024).unwrap_or(u64::MAX)
}

/// Everything a request needs to know, consistent in itself.
pub struct Snapshot {
    /// Counts the configurations of this process, from 1.
    pub generation: u64,
    /// The checked configuration.
    pub config: Arc<Config>,
    /// Who the clients are.
    pub keys: KeyRing,
    /// Whose tokens are taken.
    pub tenants: Tenants,
    /// The app for requests without a key, if any.
    pub anonymous: Option<Arc<str>>,
    models: BTreeMap<String, Arc<LiveModel>>,
    backends: BTreeMap<String, Arc<LiveBackend>>,
    /// What each app has used of its limits.
    quotas: Quotas,
    /// Every backend, for requests that name no model.
    pub any_backend: Arc<LiveModel>,
    /// The same by app, for what it makes.
    homes: BTreeMap<String, Arc<LiveModel>>,
    /// By listener; empty where there is no TLS.
    certificates: Vec<Certificates>,
    /// Of our own identities.
    tokens: TokenSlots,
}

/// One model with its pool.
pub struct LiveModel {
    /// The name that clients ask for.
    pub name: Arc<str>,
    /// Its targets.
    pub pool: Arc<Pool>,
    /// The backend of each target, in the order of the pool.
    pub backends: Vec<Arc<LiveBackend>>,
    /// What a probe sends.
    pub probe: ProbeKind,
    /// How long an attempt may take to its first content token.
    pub first_token: TimeLimit,
    /// How its targets are chosen: what the pool runs with, and the rest of it.
    pub routing: Routing,
}

impl Live {
    /// The first snapshot of a process.
    pub fn new(config: Config, clock: Clock) -> Result<Self, BuildError> {
        let snapshot = Snapshot::build(config, None)?;
        let seed = u64::try_from(clock.unix().as_nanos()).unwrap_or(0);
        let (config, apps) = (&snapshot.config, snapshot.config.apps.len());
        let places = Arc::new(Shares::new(u64::from(config.limits.concurrent), apps));
        let memory = Arc::new(Shares::new(kibibytes(config), apps));
        let kept = Kept::new(config.limits.kept_ids);
        let live = Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            clock,
            seeds: AtomicU64::new(seed),
            places,
            memory,
            drains: Drains::default(),
            kept,
        };
        live.settle_tokens();
        Ok(live)
    }

    /// The present snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Builds the next snapshot from a configuration, without making it live. What was learned stays with
    /// each target that is still there.
    pub fn next(&self, config: Config) -> Result<Snapshot, BuildError> {
        Snapshot::build(config, Some(&self.snapshot()))
    }

    /// Makes a snapshot live. Requests that are under way end on the one they began with.
    pub fn swap(&self, next: Snapshot) {
        next.quotas.change(&next.config, self.clock.now());
        self.kept.resize(next.config.limits.kept_ids);
        let (limits, apps) = (&next.config.limits, next.config.apps.len());
        self.places.change(u64::from(limits.concurrent), apps);
        self.memory.change(kibibytes(&next.config), apps);
        self.swap_in(next);
    }

    /// The process's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What requests take their places from.
    pub fn places(&self) -> &Arc<Shares> {
        &self.places
    }

    /// What request bodies take their memory from, in KiB.
    pub fn memory(&self) -> &Arc<Shares> {
        &self.memory
    }

    /// Which backend keeps what.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// A random source for one decision.
    pub fn rng(&self) -> Rng {
        Rng::from_seed(self.seeds.fetch_add(1, Relaxed))
    }
}

impl Snapshot {
    fn build(config: Config, previous: Option<&Self>) -> Result<Self, BuildError> {
        let (mut backends, mut tokens) = (BTreeMap::new(), TokenSlots::default());
        for (name, backend) in &config.backends {
            let old = previous.and_then(|p| p.backends.get(name));
            let identity = match &backend.auth {
                BackendAuth::Identity(identity) => Some(identity),
                BackendAuth::ApiKey(_) | BackendAuth::None => None,
            };
            let known = previous.map(|p| &p.tokens);
            let slot = identity.map(|identity| tokens.slot(identity, &config.entra, known));
            let old = old.map(AsRef::as_ref);
            let live = LiveBackend::build((name, backend), &config.timeouts, slot, old)?;
            backends.insert(name.clone(), Arc::new(live));
        }
        let models = config
            .models
            .iter()
            .map(|(name, model)| {
                let old = previous.and_then(|p| p.models.get(name));
                let live = LiveModel::build(name, model, &config, &backends, old);
                (name.clone(), Arc::new(live))
            })
            .collect();
        let old = previous.map(|p| &p.any_backend);
        let everywhere = unnamed(config.backends.keys().map(String::as_str), &config);
        let any_backend = Arc::new(LiveModel::build("any", &everywhere, &config, &backends, old));
        let home = |(name, app): (&String, &App)| {
            let there = homes::backends(&config, app);
            let home = if there.len() == backends.len() {
                Arc::clone(&any_backend)
            } else {
                // What is learned of a target is shared with the pool of all backends.
                let there = unnamed(there.into_iter(), &config);
                Arc::new(LiveModel::build("any", &there, &config, &backends, Some(&any_backend)))
            };
            (name.clone(), home)
        };
        let homes = config.apps.iter().map(home).collect();
        let load = |listener: &Listener| {
            let failed = |why| BuildError::Certificate { listener: listener.address, why };
            Certificates::load(&listener.tls).map_err(failed)
        };
        let certificates = config.listen.iter().map(load).collect::<Result<_, _>>()?;
        let keys = config.apps.iter().flat_map(|(app, settings)| {
            settings.api_keys.iter().map(move |key| ListedKey {
                app,
                name: &key.name,
                sha256: &key.sha256,
                expires: key.expires,
            })
        });
        Ok(Self {
            generation: previous.map_or(1, |p| p.generation + 1),
            keys: KeyRing::new(keys)?,
            tenants: Tenants::build(&config, previous.map(|p| &p.tenants)),
            anonymous: config
                .apps
                .iter()
                .find(|(_, a)| a.anonymous)
                .map(|(n, _)| n.as_str().into()),
            models,
            backends,
            quotas: Quotas::build(&config, previous.map(|p| &p.quotas)),
            any_backend,
            homes,
            certificates,
            tokens,
            config: Arc::new(config),
        })
    }

    /// The model of that name.
    pub fn model(&self, name: &str) -> Option<&Arc<LiveModel>> {
        self.models.get(name)
    }

    /// All models, by name.
    pub fn models(&self) -> impl Iterator<Item = &Arc<LiveModel>> {
        self.models.values()
    }

    /// All backends, by name.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<LiveBackend>> {
        self.backends.values()
    }

    /// The certificates of the listener at that place of the configuration.
    pub fn certificates(&self, listener: usize) -> Option<&Certificates> {
        self.certificates.get(listener)
    }

    /// The listener at that place of the configuration. Its place does not change while the process runs.
    pub fn listener(&self, place: usize) -> Option<&Listener> {
        self.config.listen.get(place)
    }

    /// All certificates, by listener.
    pub fn all_certificates(&self) -> impl Iterator<Item = (SocketAddr, &Certificate)> {
        let listeners = self.config.listen.iter().zip(&self.certificates);
        listeners.flat_map(|(l, certificates)| certificates.all().iter().map(|c| (l.address, c)))
    }

    /// The tokens of our own identities.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<TokenSlot>> {
        self.tokens.all()
    }

    /// Whether a backend of that name is configured.
    pub fn has_backend(&self, name: &str) -> bool {
        self.backends.contains_key(name)
    }

    /// What an app has used of its limits.
    pub fn quota(&self, app: &str) -> Option<&Arc<Quota>> {
        self.quotas.get(app)
    }

    /// What each app has used of its limits, by name.
    pub fn quotas(&self) -> impl Iterator<Item = (&str, &Quota)> {
        self.quotas.all()
    }

    /// Where an app may put what names no model.
    pub fn home(&self, app: &str) -> &Arc<LiveModel> {
        self.homes.get(app).unwrap_or(&self.any_backend)
    }

    /// The settings of an app.
    pub fn app(&self, name: &str) -> Option<&App> {
        self.config.apps.get(name)
    }
}

/// The time-out to the first token of a model: a bound, where the operator wrote another than the default.
pub fn first_token_limit(model: &Model) -> TimeLimit {
    let limit = if model.is_first_token_usual() { TimeLimit::evidence } else { TimeLimit::bound };
    limit(model.first_token)
}

/// The time-out of responses that are not streamed, likewise.
pub fn answer_limit(timeouts: &Timeouts) -> TimeLimit {
    let limit = if timeouts.is_answer_usual() { TimeLimit::evidence } else { TimeLimit::bound };
    limit(timeouts.answer)
}

/// Backends, as a model of no name.
fn unnamed<'a>(backends: impl Iterator<Item = &'a str>, config: &Config) -> Model {
    Model {
        backends: backends.map(|backend| (backend.to_owned(), String::new())).collect(),
        probe: ProbeKind::Off,
        first_token: config.timeouts.answer,
        routing: unprobed(&config.routing),
    }
}

impl LiveModel {
    fn build(
        name: &str,
        model: &Model,
        config: &Config,
        backends: &BTreeMap<String, Arc<LiveBackend>>,
        previous: Option<&Arc<Self>>,
    ) -> Self {
        let mut specs = Vec::new();
        let mut live = Vec::new();
        for (backend, deployment) in &model.backends {
            let (Some(settings), Some(found)) =
                (config.backends.get(backend), backends.get(backend))
            else {
                continue;
            };
            specs.push(TargetSpec {
                backend: backend.clone(),
                deployment: deployment.clone(),
                tier: settings.tier,
                weight: settings.weight,
                max_in_flight: settings.max_in_flight,
            });
            live.push(Arc::clone(found));
        }
        let retries = RetryBudget::new(config.retry.budget_share, config.retry.budget_min);
        let pool = Pool::new(settings(&model.routing), specs, retries, previous.map(|p| &*p.pool));
        Self {
            name: name.into(),
            pool: Arc::new(pool),
            backends: live,
            probe: model.probe,
            first_token: first_token_limit(model),
            routing: model.routing.clone(),
        }
    }
}
