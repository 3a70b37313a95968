//! The beginning of a process: it takes sockets and what was learned, or makes its own. What may fail comes
//! before the first request is taken.

use super::life::{Life, Start};
use super::upgrading::UNIX;
use super::{Firstlight, Sockets, StartError};
use crate::config::checked::Place;
use crate::control::{Operator, Order, Process, socket};
use crate::endpoints::Endpoints;
use crate::identity::Refresher;
use crate::journal::Journal;
use crate::jwks::KeyFetcher;
use crate::keeper::{self, Keeper};
use crate::reload::Reloader;
use crate::state_file;
use crate::upgrade::Inheritance;
use pingora_core::services::background::BackgroundService;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long a start waits for the backends' addresses, our tokens and the keys of clients' tokens. Without any it serves all the same: they may
/// come.
const RESOLVE: Duration = Duration::from_secs(10);

/// Begins to serve. Dropped before it is done, nothing is left of it.
pub(super) async fn begin(start: Start) -> Result<(Life, mpsc::Receiver<Order>), StartError> {
    let Start { file, config, access_log, launch, upgrade, inheritance } = start;
    let learned = inheritance.as_ref().and_then(|left| left.learned.clone());
    let (sockets, admin_socket) = sort(inheritance);
    let (place, state) = (config.admin_socket.clone(), config.state_directory.clone());
    let bound = Firstlight::take_over(config, access_log, sockets)?;
    // Everything that may fail comes before the first word to the log.
    if let Place::Named(path) = &state {
        state_file::try_out(path).map_err(StartError::State)?;
    }
    let admin_socket = open(&place, admin_socket)?;
    let copy = admin_socket.as_ref().map(|(_, listener)| listener.try_clone()).transpose();
    let copy = copy.map_err(StartError::Copy)?;
    let keeper = remember(&bound, &state, learned).await?;
    let journal = recall_ids(&bound, keeper.is_some().then_some(&state)).await;
    // The process before still serves: requests come here once they can be answered.
    resolve(&bound).await;
    let running = bound.spawn();
    let process = Arc::new(Process {
        started: running.live().clock().now(),
        listening: running.addresses().iter().map(ToString::to_string).collect(),
        draining: Arc::clone(&running.parts.draining),
        predecessor: AtomicBool::new(false),
        upgrading: AtomicBool::new(false),
    });
    let (live, telemetry) = (Arc::clone(running.live()), Arc::clone(running.telemetry()));
    let reloader = Reloader::new(Arc::clone(&live), Arc::clone(&telemetry), file);
    let (orders, ordered) = mpsc::channel(1);
    let operator = Operator::new(live, telemetry, reloader, Arc::clone(&process), orders);
    let operator = Arc::new(operator.keeping(keeper.clone()));
    let mut tasks: Vec<_> = keeper.iter().cloned().map(keep).collect();
    let journal = journal.map(|journal| (Arc::clone(&journal), keep(journal)));
    let admin_socket = admin_socket.zip(copy).map(|((path, listener), copy)| {
        tasks.push(tokio::spawn(serve_socket(listener, Arc::clone(&operator))));
        (path, OwnedFd::from(copy))
    });
    let life =
        Life { running, operator, process, launch, upgrade, admin_socket, keeper, journal, tasks };
    Ok((life, ordered))
}

/// Clients' sockets and the admin socket, out of what the process before left.
fn sort(inheritance: Option<Inheritance>) -> (Sockets, Vec<(String, OwnedFd)>) {
    let sockets = inheritance.map(|left| left.sockets).unwrap_or_default();
    let (unix, tcp): (Vec<_>, Vec<_>) =
        sockets.into_iter().partition(|(address, _)| address.starts_with(UNIX));
    let parsed =
        |(address, socket): (String, OwnedFd)| Some((address.parse::<SocketAddr>().ok()?, socket));
    (Sockets::inherit(tcp.into_iter().filter_map(parsed).collect()), unix)
}

/// The admin socket: the one that was left, or a new one.
fn open(
    place: &Place,
    left: Vec<(String, OwnedFd)>,
) -> Result<Option<(PathBuf, UnixListener)>, StartError> {
    let Some(path) = place.path() else { return Ok(None) };
    let name = format!("{UNIX}{}", path.display());
    if let Some((_, socket)) = left.into_iter().find(|(address, _)| *address == name) {
        return Ok(Some((path.to_owned(), UnixListener::from(socket))));
    }
    match (socket::bind(path), place) {
        (Ok(listener), _) => Ok(Some((path.to_owned(), listener))),
        (Err(error), Place::Usual(_)) => {
            let path = path.display();
            tracing::warn!(%path, %error, "no admin socket: `firstlight reload` and `status` cannot reach this process; set admin.socket");
            Ok(None)
        }
        (Err(why), _) => Err(StartError::AdminSocket { path: path.to_owned(), why }),
    }
}

async fn serve_socket(listener: UnixListener, operator: Arc<Operator>) {
    match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => socket::serve(listener, operator).await,
        Err(error) => tracing::error!(%error, "admin socket cannot be used"),
    }
}

/// Starts with what the process before knew, or the one before that left in the state directory.
async fn remember(
    bound: &Firstlight,
    place: &Place,
    learned: Option<serde_json::Value>,
) -> Result<Option<Arc<Keeper>>, StartError> {
    let (live, telemetry) = (bound.live(), bound.telemetry());
    let told = learned.and_then(|told| serde_json::from_value(told).ok());
    let keeper = place.path().map(|path| {
        Arc::new(Keeper::new(Arc::clone(live), Arc::clone(telemetry), path.to_owned()))
    });
    match (&told, &keeper) {
        (Some(learned), _) => keeper::recall(live, telemetry, learned),
        (None, Some(keeper)) => keeper.restore(),
        (None, None) => {}
    }
    let Some(keeper) = keeper else { return Ok(None) };
    match (keeper.save_now().await, place) {
        (Ok(()), _) => Ok(Some(keeper)),
        (Err(error), Place::Usual(_)) => {
            tracing::warn!(%error, "what is learned is not kept; set state_directory");
            Ok(None)
        }
        (Err(error), _) => Err(StartError::State(error)),
    }
}

/// Learns which backend keeps what, where there is a directory that can be written.
async fn recall_ids(bound: &Firstlight, place: Option<&Place>) -> Option<Arc<Journal>> {
    let directory = place?.path()?.to_owned();
    let journal = Journal::new(Arc::clone(bound.live()), directory);
    journal.restore().await;
    Some(Arc::new(journal))
}

/// Saves now and then, until it is aborted.
fn keep(service: Arc<impl BackgroundService + Send + Sync + 'static>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let (stop, stopped) = watch::channel(false);
        service.start(stopped).await;
        drop(stop);
    })
}

/// Finds the addresses of the backends, and what proves us to them.
async fn resolve(bound: &Firstlight) {
    let (live, telemetry) = (bound.live(), bound.telemetry());
    let snapshot = live.snapshot();
    let refresher = Refresher::new(Arc::clone(live), Arc::clone(telemetry));
    let resolved = Endpoints::resolve_new(&snapshot, RESOLVE);
    // What is missing was told in the log.
    let keys = KeyFetcher::new(Arc::clone(live), Arc::clone(telemetry));
    let ((), missing, keyless) = tokio::join!(
        resolved,
        refresher.fetch_missing(&snapshot, RESOLVE),
        keys.fill(&snapshot, RESOLVE)
    );
    if !missing.is_empty() {
        tracing::warn!("serving, although not every identity has a token");
    }
    if !keyless.is_empty() {
        tracing::warn!("serving, although clients' tokens cannot be checked yet");
    }
    if snapshot.backends().any(|backend| backend.addresses().is_empty()) {
        tracing::warn!("serving, although not every backend's host name could be resolved");
    }
}
