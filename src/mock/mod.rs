//! A mock of Azure's service: a real HTTP server that answers, and fails, as the service does.
//!
//! One [`Mock`] holds several backends, each on its own port, and optionally a control endpoint over HTTP
//! ([`control`]). A backend is well in the way its [`Behaviour`] says and ill in the way its [`Fault`] says;
//! both can be changed while it serves. What it has seen is in its [`Counters`] and [`Recorded`] requests, and
//! [`Mock::wait_until`] waits for them, so that a test need not sleep.
//!
//! The way of a request: `fleet` accepts its connection, `service` decides (`fault`, `effect`, `route`, `ask`,
//! `draft`), `work` has it written (`chat`, `responses`, `images`, `audio`; `store` for what is kept), `script`
//! puts what was written in order and on the clock, `body` plays it. Deliberately left out: models (every answer
//! counts `w0 w1 w2`), and TLS.

mod ask;
mod audio;
mod backend;
mod bearer;
mod behaviour;
mod body;
mod cache;
mod chat;
mod connection;
mod control;
mod door;
mod draft;
mod effect;
mod embeddings;
mod entra;
mod fault;
mod fields;
mod fleet;
mod images;
mod imds;
mod ledger;
mod models;
mod realtime;
mod receive;
mod refusal;
mod reply;
mod resource;
mod responses;
mod route;
mod script;
mod service;
mod site;
mod spec;
mod sse;
mod store;
mod work;

pub use crate::mock::bearer::BearerSpec;
pub use crate::mock::behaviour::{Behaviour, Headers};
pub use crate::mock::control::{BackendStatus, EntraStatus, HELP, IDENTITY_HELP, ImdsStatus};
pub use crate::mock::entra::{
    Entra, EntraApi, EntraClient, EntraEndpoint, EntraFault, EntraSpec, TokenVersion,
};
pub use crate::mock::fault::{Fault, HalfBody, Injection, Limit, RetryAfter};
pub use crate::mock::imds::{Imds, ImdsFault, ImdsSpec, ManagedIdentity};
pub use crate::mock::ledger::{Counters, Outcome, Recorded};
pub use crate::mock::spec::BackendSpec;

use crate::clock::Clock;
use crate::mock::control::World;
use crate::mock::fleet::Fleet;
use crate::mock::ledger::Ledger;
use crate::time::Time;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A running mock. Dropping it stops everything that it started.
#[derive(Debug)]
pub struct Mock {
    fleet: Arc<Fleet>,
    beside: Beside,
    control: Option<SocketAddr>,
    clock: Clock,
    _tasks: JoinSet<()>,
}

/// The services that stand beside the backends.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Whose tokens backends take that take any.
    pub entra: Option<Entra>,
    /// Who gives tokens to managed identities.
    pub imds: Option<Imds>,
}

/// Why a mock could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MockError {
    /// There is no backend with this name.
    #[error("there is no backend {0:?}")]
    UnknownBackend(String),
    /// A fault or a behaviour with impossible numbers.
    #[error("{0}")]
    Invalid(String),
    /// The counters did not get where they were waited for.
    #[error("not reached within {waited:?}: {counters:?}")]
    NotReached {
        /// For how long they were waited for.
        waited: Duration,
        /// What they were then.
        counters: Box<Counters>,
    },
}

impl Mock {
    /// Starts backends in the current runtime, and a control endpoint if it has an address. All ports are open
    /// when this returns. The same `seed` gives the same times.
    pub async fn start(
        specs: Vec<BackendSpec>,
        control: Option<SocketAddr>,
        seed: u64,
    ) -> io::Result<Self> {
        Self::start_beside(Beside::default(), specs, control, seed).await
    }

    /// The same beside an Entra and an IMDS, which backends and the control endpoint then know.
    #[expect(
        clippy::unused_async,
        reason = "it needs a runtime to run in; a caller outside of one must see that"
    )]
    pub async fn start_beside(
        beside: Beside,
        specs: Vec<BackendSpec>,
        control: Option<SocketAddr>,
        seed: u64,
    ) -> io::Result<Self> {
        let clock = Clock::start();
        let mut tasks = JoinSet::new();
        let fleet = Fleet::start(specs, beside.entra.as_ref(), clock, seed, &mut tasks)?;
        let world = World { fleet: Arc::new(fleet), beside };
        let control = control
            .map(|address| control::start(address, world.clone(), &mut tasks))
            .transpose()?;
        let World { fleet, beside } = world;
        Ok(Self { fleet, beside, control, clock, _tasks: tasks })
    }

    /// The services beside the backends.
    pub fn beside(&self) -> &Beside {
        &self.beside
    }

    /// Where a backend listens.
    pub fn address(&self, backend: &str) -> Option<SocketAddr> {
        self.fleet.get(backend).ok().map(|backend| backend.address)
    }

    /// The backends' names and addresses, in the order of the names.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.fleet.iter().map(|backend| (backend.name.clone(), backend.address)).collect()
    }

    /// Where the control endpoint listens.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// Switches a fault on, in the place of the one before; `Fault::None` switches it off.
    pub fn set_fault(&self, backend: &str, fault: impl Into<Injection>) -> Result<(), MockError> {
        self.fleet.get(backend)?.inject(fault.into()).map_err(MockError::Invalid)
    }

    /// Changes how a backend behaves when it is well.
    pub fn set_behaviour(&self, backend: &str, behaviour: Behaviour) -> Result<(), MockError> {
        let checked = |_: &Behaviour| behaviour.check().map(|()| behaviour);
        self.fleet.get(backend)?.change_behaviour(checked).map_err(MockError::Invalid)
    }

    /// What a backend has counted so far.
    pub fn counters(&self, backend: &str) -> Result<Counters, MockError> {
        Ok(self.fleet.get(backend)?.ledger.counters())
    }

    /// The last requests of a backend, up to 64, the oldest first.
    pub fn requests(&self, backend: &str) -> Result<Vec<Recorded>, MockError> {
        Ok(self.fleet.get(backend)?.ledger.recent())
    }

    /// The last request of a backend.
    pub fn last_request(&self, backend: &str) -> Result<Option<Recorded>, MockError> {
        Ok(self.requests(backend)?.pop())
    }

    /// Forgets what all backends have seen.
    pub fn reset(&self) {
        self.fleet.iter().for_each(|backend| backend.ledger.reset());
    }

    /// The time since the start, on the clock of `last_cancel_ms` and the recorded requests.
    pub fn elapsed(&self) -> Duration {
        self.clock.now().since(Time::ZERO)
    }

    /// Waits until the counters of a backend are as `reached` wants them, and gives them. After ten seconds it
    /// gives up and says what they were.
    pub async fn wait_until(
        &self,
        backend: &str,
        reached: impl FnMut(&Counters) -> bool,
    ) -> Result<Counters, MockError> {
        reach(&self.fleet.get(backend)?.ledger, reached).await
    }
}

/// Waits until a ledger's counters are as `reached` wants them.
async fn reach(
    ledger: &Ledger,
    reached: impl FnMut(&Counters) -> bool,
) -> Result<Counters, MockError> {
    let mut watched = ledger.watch();
    if let Ok(Ok(counters)) = timeout(PATIENCE, watched.wait_for(reached)).await {
        return Ok(counters.clone());
    }
    let counters = Box::new(ledger.counters());
    Err(MockError::NotReached { waited: PATIENCE, counters })
}

/// How long a test waits for something that should be about to happen.
const PATIENCE: Duration = Duration::from_secs(10);
