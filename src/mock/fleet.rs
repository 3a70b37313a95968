//! All backends of one mock by name, and the loop that serves each one's port.

use crate::clock::Clock;
use crate::mock::backend::{Backend, Place, Trust};
use crate::mock::connection::serve;
use crate::mock::door::Door;
use crate::mock::ledger::Listening;
use crate::mock::service::{Orders, answer};
use crate::mock::spec::BackendSpec;
use crate::mock::{Entra, MockError};
use crate::rng::Rng;
use crate::time::Time;
use hyper::service::service_fn;
use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The backends of one mock.
#[derive(Debug)]
pub(super) struct Fleet {
    backends: BTreeMap<String, Arc<Backend>>,
}

impl Fleet {
    /// Opens each backend's port and serves it from a task of `tasks`.
    pub(super) fn start(
        specs: Vec<BackendSpec>,
        entra: Option<&Entra>,
        clock: Clock,
        seed: u64,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<Self> {
        let mut seeds = Rng::from_seed(seed);
        let mut backends = BTreeMap::new();
        for spec in specs {
            let trust = spec.check().and_then(|()| trust(&spec, entra)).map_err(invalid)?;
            let door = Door::open(spec.listen).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", spec.listen))
            })?;
            let rng = Rng::from_seed(seeds.bits());
            let place = Place { address: door.address(), clock, rng };
            let backend = Arc::new(Backend::new(spec, trust, place));
            if backends.insert(backend.name.clone(), Arc::clone(&backend)).is_some() {
                let problem = format!("there are two backends with the name {}", backend.name);
                return Err(invalid(problem));
            }
            backend.ledger.set_listening(Listening::Yes);
            tasks.spawn(keep_door(backend, door));
        }
        Ok(Self { backends })
    }

    pub(super) fn get(&self, name: &str) -> Result<&Arc<Backend>, MockError> {
        self.backends.get(name).ok_or_else(|| MockError::UnknownBackend(name.to_owned()))
    }

    /// The backends in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.backends.values()
    }
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}

/// Whose tokens a backend takes.
fn trust(spec: &BackendSpec, entra: Option<&Entra>) -> Result<Option<Trust>, String> {
    let Some(bearer) = &spec.bearer else { return Ok(None) };
    let entra = entra.ok_or_else(|| {
        format!("backend {}: bearer needs an Entra; start one beside it", spec.name)
    })?;
    Ok(Some(Trust { entra: entra.clone(), audiences: bearer.forms() }))
}

/// An accept that failed, or a port that could not be opened again, is tried again after this time.
const RETRY: Duration = Duration::from_millis(20);

/// Serves one port for ever: accepts while the fault lets it, and shuts the door while it does not.
async fn keep_door(backend: Arc<Backend>, mut door: Door) {
    let mut fault = backend.watch_fault();
    let mut connections = JoinSet::new();
    loop {
        let now = backend.clock.now();
        let (wanted, opens_at) = {
            let armed = fault.borrow_and_update();
            if armed.shuts_port(now) {
                (Listening::No, armed.heals_at())
            } else {
                (Listening::Yes, None)
            }
        };
        if set_door(&mut door, &backend, wanted).is_err() {
            sleep(RETRY).await;
            continue;
        }
        tokio::select! {
            accepted = door.accept() => match accepted {
                Ok(stream) => { connections.spawn(converse(Arc::clone(&backend), stream)); }
                Err(_) => sleep(RETRY).await,
            },
            Some(_ended) = connections.join_next() => {}
            changed = fault.changed() => if changed.is_err() { return },
            () = reached(opens_at, now) => {}
        }
    }
}

fn set_door(door: &mut Door, backend: &Backend, wanted: Listening) -> io::Result<()> {
    match (wanted, door.is_open()) {
        (Listening::Yes, true) | (Listening::No, false) => return Ok(()),
        (Listening::Yes, false) => door.reopen()?,
        (Listening::No, true) => door.shut(),
    }
    backend.ledger.set_listening(wanted);
    Ok(())
}

/// Waits until a moment; without one, for ever.
async fn reached(moment: Option<Time>, now: Time) {
    match moment {
        Some(moment) => sleep(moment.since(now)).await,
        None => pending().await,
    }
}

async fn converse(backend: Arc<Backend>, stream: TcpStream) {
    // One order of each kind is enough: the first ends the HTTP of the connection.
    let (sabotage, ordered) = mpsc::channel(1);
    let (sessions, mut opened) = mpsc::channel(1);
    let orders = Orders { sabotage, sessions };
    let service = service_fn(move |request| answer(Arc::clone(&backend), orders.clone(), request));
    if let Err(error) = serve(stream, service, ordered).await {
        tracing::debug!(%error, "mock connection");
    }
    if let Ok(session) = opened.try_recv() {
        session.run().await;
    }
}
