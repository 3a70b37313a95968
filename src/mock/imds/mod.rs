//! A fake of Azure's instance metadata service (IMDS): an HTTP server on loopback that gives managed identities
//! their tokens, which a fake Entra issues.
//!
//! Unlike the real one it keeps no tokens: each answer has a fresh one.

mod fault;
mod query;
mod spec;

pub use crate::mock::imds::fault::ImdsFault;
pub use crate::mock::imds::spec::{ImdsSpec, ManagedIdentity};

use crate::clock::Clock;
use crate::mock::connection::Sabotage;
use crate::mock::entra::fault::failure;
use crate::mock::imds::query::{Refused, Wish, wish};
use crate::mock::ledger::{Counters, Ledger, Recorded};
use crate::mock::site::{self, Act, Page, Site};
use crate::mock::{Entra, MockError, reach};
use http::StatusCode;
use http::request::Parts;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// A running fake IMDS. Clones are the same one; when the last of them is dropped, its port is closed.
#[derive(Clone, Debug)]
pub struct Imds {
    machine: Arc<Machine>,
    address: SocketAddr,
    _tasks: Arc<JoinSet<()>>,
}

/// What a running IMDS knows.
#[derive(Debug)]
struct Machine {
    spec: ImdsSpec,
    entra: Entra,
    ledger: Arc<Ledger>,
    fault: Mutex<ImdsFault>,
    lifetime: Mutex<Duration>,
}

impl Imds {
    /// Serves in the current runtime, with tokens of the first tenant of `entra`. Its port is open when this
    /// returns.
    #[expect(
        clippy::unused_async,
        reason = "it needs a runtime to run in; a caller outside of one must see that"
    )]
    pub async fn start(spec: ImdsSpec, entra: Entra) -> io::Result<Self> {
        let door = site::open(spec.listen, "the fake IMDS")?;
        let address = door.address();
        let machine = Arc::new(Machine {
            lifetime: Mutex::new(spec.lifetime),
            spec,
            entra,
            ledger: site::ledger(Clock::start()),
            fault: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        site::keep(door, Arc::clone(&machine), &mut tasks);
        Ok(Self { machine, address, _tasks: Arc::new(tasks) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stands for `http://169.254.169.254`, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The client ids of its identities, the system-assigned one first.
    pub fn identities(&self) -> Vec<String> {
        let ImdsSpec { system, assigned, .. } = &self.machine.spec;
        system.iter().chain(assigned).map(|identity| identity.client.clone()).collect()
    }

    /// How long tokens last that are issued from now on.
    pub fn set_lifetime(&self, lifetime: Duration) {
        *self.machine.lifetime.lock() = lifetime;
    }

    /// Switches a fault on, in the place of the one before; `ImdsFault::None` switches it off.
    pub fn set_fault(&self, fault: ImdsFault) -> Result<(), MockError> {
        fault.check().map_err(MockError::Invalid)?;
        *self.machine.fault.lock() = fault;
        Ok(())
    }

    /// What is wrong with it.
    pub fn fault(&self) -> ImdsFault {
        *self.machine.fault.lock()
    }

    /// What it has counted so far.
    pub fn counters(&self) -> Counters {
        self.machine.ledger.counters()
    }

    /// The last requests, up to 64, the oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        self.machine.ledger.recent()
    }

    /// Forgets what it has seen.
    pub fn reset(&self) {
        self.machine.ledger.reset();
    }

    /// Waits until the counters are as `reached` wants them, and gives them. After ten seconds it gives up and
    /// says what they were.
    pub async fn wait_until(
        &self,
        reached: impl FnMut(&Counters) -> bool,
    ) -> Result<Counters, MockError> {
        reach(&self.machine.ledger, reached).await
    }
}

impl Machine {
    fn page(&self, parts: &Parts) -> Page {
        match wish(&self.spec, parts) {
            Ok(wish) => Page::json(StatusCode::OK, &self.token(&wish)),
            Err(refused) => Page::json(refused.status, &refused.body()),
        }
    }

    fn token(&self, wish: &Wish<'_>) -> Value {
        let Wish { identity, resource } = wish;
        let lifetime = self.lifetime.lock().as_secs();
        let expires = self.entra.now().saturating_add(lifetime);
        let token = self.entra.issue(json!({
            "ver": "1.0", "aud": resource, "exp": expires, "appid": identity.client, "appidacr": "2",
            "oid": identity.object, "sub": identity.object, "xms_mirid": identity.resource,
            "idtyp": "app", "roles": null,
        }));
        // Numbers are texts here.
        let remaining = lifetime.saturating_sub(1).to_string();
        json!({
            "access_token": token, "client_id": identity.client, "expires_in": remaining,
            "expires_on": expires.to_string(), "ext_expires_in": remaining,
            "not_before": self.entra.now().saturating_sub(300).to_string(), "resource": resource,
            "token_type": "Bearer",
        })
    }
}

impl Site for Machine {
    fn ledger(&self, _: &Parts) -> &Arc<Ledger> {
        &self.ledger
    }

    fn act(&self, parts: &Parts, _: &[u8]) -> Act {
        match *self.fault.lock() {
            ImdsFault::None => Act::Send(self.page(parts)),
            ImdsFault::Slow(after) => Act::Send(Page { after, ..self.page(parts) }),
            ImdsFault::Down => Act::Cut(Sabotage::Reset),
            ImdsFault::Hang => Act::Hang,
            ImdsFault::Garbage => Act::Send(Page::garbage()),
            ImdsFault::Status(status) => {
                let status = failure(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let refused = Refused::failed(status);
                Act::Send(Page::json(status, &refused.body()).faulted())
            }
        }
    }
}
