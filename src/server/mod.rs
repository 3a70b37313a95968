//! The composition root: the only file that knows every part.
//!
//! [`Firstlight::bind`] builds everything from a checked configuration and takes the sockets, so that a taken
//! port is a plain error before anything runs. The parts are Pingora services; they run on the present tokio
//! runtime, the same way in production, in the demo and in the tests.

mod begin;
mod front;
mod life;
pub mod open_files;
mod signals;
mod sockets;
mod upgrading;

pub(crate) use front::check_authorities;
pub use life::{Start, run};
pub use sockets::Sockets;

use crate::admin::Admin;
use crate::clock::Clock;
use crate::config::checked::{Config, Listener};
use crate::endpoints::Endpoints;
use crate::identity::Identities;
use crate::jwks::Jwks;
use crate::live::BuildError;
use crate::live::{Live, ServerNames};
use crate::probing::Prober;
use crate::proxy::{Entrance, FirstlightProxy, Realtime};
use crate::state_file::SaveError;
use crate::telemetry::AccessLog;
use crate::telemetry::Metrics;
use crate::telemetry::Telemetry;
use parking_lot::Mutex;
use pingora_core::server::ListenFds;
use pingora_core::services::background::background_service;
use pingora_core::services::listening;
use pingora_core::services::{ServiceReadyNotifier, ServiceWithDependents};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Wishes for a probe that may wait.
const PROBE_WISHES: usize = 64;
/// A draining process answers on kept connections for at least this long: whoever uses one is told to close
/// it, and connections that were accepted at the last moment get their answer.
pub const LINGER: Duration = Duration::from_secs(1);

/// Why Firstlight does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What the configuration points at cannot be used.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {why}; free the port, or change `listen` or `admin`")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why not. (Not a `source`: it is part of the message already.)
        why: io::Error,
    },
    /// TLS cannot be set up.
    #[error("listener {address}: TLS cannot be set up: {wrong}")]
    Tls {
        /// Which listener.
        address: SocketAddr,
        /// What is wrong.
        wrong: String,
    },
    /// The admin socket cannot be bound.
    #[error("admin.socket: cannot listen on {path}: {why}; free it, or name another", path = path.display())]
    AdminSocket {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// What is learned cannot be kept where the operator said.
    #[error("state_directory: {0}")]
    State(SaveError),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
    /// A socket cannot be copied.
    #[error("the listening sockets cannot be copied: {0}; raise the limit of open files")]
    Copy(io::Error),
    /// The machine has no certificate authorities, or they cannot be read.
    #[error(
        "the system's certificate authorities cannot be loaded: {0}; install the package ca-certificates, or \
         set SSL_CERT_FILE to a file that holds them"
    )]
    Authorities(String),
    /// Metrics could not be registered: a mistake of ours.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A proxy that is bound and not yet running.
pub struct Firstlight {
    parts: Parts,
    front: front::Front,
    admin: Option<listening::Service<Admin>>,
    /// Everything else: it goes on while the front drains.
    others: Vec<Box<dyn ServiceWithDependents>>,
    fds: ListenFds,
}

/// A proxy that runs. Dropped, it stops accepting; streams in flight go on as long as the runtime.
pub struct Running {
    parts: Parts,
    stop_front: watch::Sender<bool>,
    stop_admin: watch::Sender<bool>,
    stop_others: watch::Sender<bool>,
    /// Drives the accept loops; aborted, they go on.
    front: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

struct Parts {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    draining: Arc<AtomicBool>,
    realtime: Arc<Realtime>,
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    /// `None` once it stopped accepting.
    sockets: Mutex<Option<Sockets>>,
}

impl Firstlight {
    /// Builds everything and takes the sockets.
    pub fn bind(config: Config, access_log: AccessLog) -> Result<Self, StartError> {
        Self::take_over(config, access_log, Sockets::default())
    }

    /// The same with the sockets of the process before this one.
    pub fn take_over(
        config: Config,
        access_log: AccessLog,
        mut sockets: Sockets,
    ) -> Result<Self, StartError> {
        check_authorities()?;
        let listeners = config.listen.clone();
        let admin_address = config.admin;
        let live = Arc::new(Live::new(config, Clock::start())?);
        let telemetry = Arc::new(Telemetry::new(Metrics::new()?, access_log));
        let draining = Arc::new(AtomicBool::new(false));
        let conf = Arc::new(front::server_conf());
        let mut others: Vec<Box<dyn ServiceWithDependents>> = Vec::new();

        let (wishes, wished) = mpsc::channel(PROBE_WISHES);
        let taken = listeners.iter().map(|listener| sockets.take(listener.address));
        let addresses: Vec<SocketAddr> = taken.collect::<Result<_, _>>()?;
        let realtime = Arc::new(Realtime::new(&conf));
        let proxy = FirstlightProxy::new(
            Arc::clone(&live),
            Arc::clone(&telemetry),
            wishes,
            addresses.clone(),
            (Arc::clone(&realtime), Arc::clone(&draining)),
        );
        let secured = |(place, (listener, address)): (usize, (&Listener, &SocketAddr))| {
            let names = || ServerNames::new(Arc::clone(&live), place);
            let tls = !listener.tls.is_empty();
            let acceptor = tls.then(|| front::acceptor(*address, names())).transpose()?;
            Ok((*address, acceptor))
        };
        let doors = listeners.iter().zip(&addresses).enumerate().map(secured);
        let doors = doors.collect::<Result<Vec<_>, StartError>>()?;
        let entrance = Entrance::new(Arc::clone(&live), Arc::clone(&telemetry), doors);
        let mut front = front::front(&conf, proxy, entrance);
        for address in &addresses {
            front.add_tcp(&address.to_string());
        }

        let admin_address = admin_address.map(|a| sockets.take(a)).transpose()?;
        let admin = admin_address.map(|address| {
            let admin =
                Admin::new(Arc::clone(&live), Arc::clone(&telemetry), Arc::clone(&draining));
            let mut service = listening::Service::new("admin".to_owned(), admin);
            service.add_tcp(&address.to_string());
            service
        });

        let prober = Prober::new(Arc::clone(&live), Arc::clone(&telemetry), &conf, wished);
        others.push(Box::new(background_service("probes", prober)));
        let endpoints = Endpoints::new(Arc::clone(&live), Arc::clone(&telemetry));
        others.push(Box::new(background_service("endpoints", endpoints)));

        let jwks = Jwks::new(Arc::clone(&live), Arc::clone(&telemetry));
        others.push(Box::new(background_service("signing keys", jwks)));
        let identities = Identities::new(Arc::clone(&live), Arc::clone(&telemetry));
        others.push(Box::new(background_service("identities", identities)));

        let fds = Arc::new(Mutex::new(sockets.table().map_err(StartError::Copy)?));
        let sockets = Mutex::new(Some(sockets));
        let parts =
            Parts { live, telemetry, draining, realtime, addresses, admin: admin_address, sockets };
        Ok(Self { parts, front, admin, others, fds })
    }

    /// What is live.
    pub fn live(&self) -> &Arc<Live> {
        &self.parts.live
    }

    /// What it reports.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.parts.telemetry
    }

    /// Runs it on the present tokio runtime.
    pub fn spawn(self) -> Running {
        let start = |mut service: Box<dyn ServiceWithDependents>, stop: &watch::Sender<bool>| {
            let (fds, stopped) = (Arc::clone(&self.fds), stop.subscribe());
            let ready = ServiceReadyNotifier::new(watch::channel(false).0);
            tokio::spawn(async move { service.start_service(Some(fds), stopped, 1, ready).await })
        };
        let stop = || watch::channel(false).0;
        let (stop_front, stop_admin, stop_others) = (stop(), stop(), stop());
        let front = start(Box::new(self.front), &stop_front);
        let mut others: Vec<_> =
            self.others.into_iter().map(|service| start(service, &stop_others)).collect();
        others.extend(self.admin.map(|service| start(Box::new(service), &stop_admin)));
        Running { parts: self.parts, stop_front, stop_admin, stop_others, front, others }
    }
}

impl Running {
    /// Where clients connect, in the order of the configuration, with the ports that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.parts.addresses
    }

    /// Where metrics and health are served.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.parts.admin
    }

    /// What is live.
    pub fn live(&self) -> &Arc<Live> {
        &self.parts.live
    }

    /// What it reports.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.parts.telemetry
    }

    /// Requests that are not finished.
    pub fn in_flight(&self) -> i64 {
        self.parts.telemetry.metrics.requests_in_flight.get()
    }

    /// Whether it has begun to drain.
    pub fn is_draining(&self) -> bool {
        self.parts.draining.load(Relaxed)
    }

    /// Copies of the listening sockets for the next process, by their addresses in the configuration.
    pub fn socket_copies(&self) -> io::Result<Vec<(SocketAddr, OwnedFd)>> {
        self.parts.sockets.lock().as_ref().map_or_else(|| Ok(Vec::new()), Sockets::copies)
    }

    /// Another process serves the admin address now.
    pub fn stop_admin(&self) {
        self.stop_admin.send_replace(true);
    }

    /// Stops accepting and waits until nothing is in flight, at most `limit`. Returns what was still in
    /// flight then.
    ///
    /// Requests on kept connections are still answered, with `Connection: close`.
    pub async fn drain(&self, limit: Duration) -> i64 {
        self.parts.draining.store(true, Relaxed);
        self.parts.realtime.drain(limit);
        // Pingora's service closes kept connections the moment that its accept loops end, under clients that
        // are just sending a request, and connections whose TLS handshake is not over. The loops go on and end
        // without it.
        self.front.abort();
        self.stop_front.send_replace(true);
        drop(self.parts.sockets.lock().take());
        let begun = tokio::time::Instant::now();
        let linger = LINGER.min(limit);
        loop {
            let spent = begun.elapsed();
            if spent >= limit || (spent >= linger && self.in_flight() == 0) {
                return self.in_flight();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for stop in [&self.stop_front, &self.stop_admin, &self.stop_others] {
            stop.send_replace(true);
        }
        for task in self.others.iter().chain([&self.front]) {
            task.abort();
        }
    }
}
