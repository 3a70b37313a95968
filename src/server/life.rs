//! The life of a process: it takes over or starts, serves, obeys, hands over or stops, drains.

use super::{Firstlight, Running, Sockets, StartError};
use crate::config::checked::{Config, Place};
use crate::control::protocol::Answer;
use crate::control::{Operator, Order, Process, socket};
use crate::keeper::{self, Keeper};
use crate::live::Live;
use crate::notify;
use crate::reload::Reloader;
use crate::state_file;
use crate::telemetry::AccessLog;
use crate::upgrade::link::Bequest;
use crate::upgrade::{self, Halt, Heir, Inheritance, Launch, Predecessor, UpgradeError};
use pingora_core::services::background::BackgroundService;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// How long a start waits for the backends' addresses. Without any it serves all the same: they may come.
const RESOLVE: Duration = Duration::from_secs(10);
/// What stands before the admin socket's path among the addresses that are handed over.
const UNIX: &str = "unix:";

/// What a process starts with.
pub struct Start {
    /// The configuration file, for reloads.
    pub file: PathBuf,
    /// What it says.
    pub config: Config,
    /// Where requests are told.
    pub access_log: AccessLog,
    /// How to start the next process.
    pub launch: Launch,
    /// How long that one may take until it serves.
    pub upgrade: Duration,
    /// What the process before left, if there is one.
    pub inheritance: Option<Inheritance>,
}

/// A process that serves.
struct Life {
    running: Running,
    operator: Arc<Operator>,
    process: Arc<Process>,
    launch: Launch,
    /// How long the next process may take until it serves.
    upgrade: Duration,
    /// The admin socket; `None` where there is none.
    admin_socket: Option<(PathBuf, OwnedFd)>,
    /// `None` where nothing is kept.
    keeper: Option<Arc<Keeper>>,
    tasks: Vec<JoinHandle<()>>,
}

/// How a process comes to its end.
enum Ended {
    /// It was told to stop.
    Stopped,
    /// Another process serves.
    HandedOver(Heir),
}

/// Runs a process from its start to its end. Gives how many requests it left unfinished.
pub async fn run(start: Start, predecessor: Option<&Predecessor>) -> Result<i64, StartError> {
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let (life, orders) = begin(start).await?;
    tokio::select! {
        () = resolved(life.running.live()) => {}
        () = signals.stop() => return Ok(life.end(Ended::Stopped, &mut signals, None).await),
    }
    let mut before = take_over(&life, predecessor);
    life.announce();
    let ended = life.serve(&mut signals, orders, &mut before).await;
    Ok(life.end(ended, &mut signals, before).await)
}

async fn begin(start: Start) -> Result<(Life, mpsc::Receiver<Order>), StartError> {
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
    let keeper = remember(&bound, &state, learned).await?;
    let running = bound.spawn();
    let process = Arc::new(Process {
        started: running.live().clock().now(),
        listening: running.addresses().iter().map(ToString::to_string).collect(),
        draining: Arc::clone(&running.parts.draining),
        predecessor: AtomicBool::new(false),
    });
    let (live, telemetry) = (running.live(), running.telemetry());
    let reloader = Reloader::new(Arc::clone(live), Arc::clone(telemetry), file);
    let (orders, ordered) = mpsc::channel(1);
    let (live, telemetry, known) = (Arc::clone(live), Arc::clone(telemetry), Arc::clone(&process));
    let operator = Operator::new(live, telemetry, reloader, known, orders);
    let operator = Arc::new(operator.keeping(keeper.clone()));
    let mut tasks = Vec::new();
    let admin_socket = admin_socket.map(|(path, listener)| {
        let copy = listener.try_clone().map(OwnedFd::from);
        let serve = serve_socket(listener, Arc::clone(&operator));
        tasks.push(tokio::spawn(serve));
        copy.map(|copy| (path, copy))
    });
    let admin_socket = admin_socket.transpose().map_err(StartError::Copy)?;
    if let Some(keeper) = keeper.clone() {
        // It is stopped by an abort, after its last save.
        let (stop, stopped) = watch::channel(false);
        tasks.push(tokio::spawn(async move {
            keeper.start(stopped).await;
            drop(stop);
        }));
    }
    let life = Life { running, operator, process, launch, upgrade, admin_socket, keeper, tasks };
    Ok((life, ordered))
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

async fn serve_socket(listener: UnixListener, operator: Arc<Operator>) {
    match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => socket::serve(listener, operator).await,
        Err(error) => tracing::error!(%error, "admin socket cannot be used"),
    }
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

/// Waits until every backend has an address.
async fn resolved(live: &Live) {
    let all = async {
        while live.snapshot().backends().any(|backend| backend.addresses().is_empty()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(RESOLVE, all).await.is_err() {
        tracing::warn!("serving, although not every backend's host name could be resolved");
    }
}

/// Becomes the main process. Gives the end of the process before.
fn take_over(life: &Life, predecessor: Option<&Predecessor>) -> Option<JoinHandle<()>> {
    notify::ready();
    let predecessor = predecessor?;
    if let Err(error) = predecessor.serving() {
        tracing::warn!(%error, "the process before cannot be told");
    }
    life.process.predecessor.store(true, Relaxed);
    let (process, gone) = (Arc::clone(&life.process), predecessor.gone());
    Some(tokio::spawn(async move {
        // It is gone in either case.
        drop(gone.await);
        process.predecessor.store(false, Relaxed);
    }))
}

impl Life {
    fn announce(&self) {
        for address in self.running.addresses() {
            tracing::info!(%address, "listening");
        }
        if let Some(address) = self.running.admin_address() {
            tracing::info!(%address, "admin listening");
        }
        if let Some((path, _)) = &self.admin_socket {
            tracing::info!(path = %path.display(), "admin socket");
        }
        tracing::info!(pid = std::process::id(), version = env!("CARGO_PKG_VERSION"), "serving");
    }

    /// Serves and obeys, until it is told to stop or another process has taken over.
    async fn serve(
        &self,
        signals: &mut Signals,
        mut orders: mpsc::Receiver<Order>,
        before: &mut Option<JoinHandle<()>>,
    ) -> Ended {
        let watchdog = notify::watchdog();
        let ended = loop {
            let asked = tokio::select! {
                signal = signals.next() => match signal {
                    Told::Stop => break Ended::Stopped,
                    Told::Upgrade => None,
                    Told::Reload => {
                        let operator = Arc::clone(&self.operator);
                        tokio::spawn(async move { operator.reload().await });
                        continue;
                    }
                },
                Some(Order::Upgrade(answer)) = orders.recv() => Some(answer),
            };
            let halt = Arc::new(Halt::default());
            tokio::select! {
                upgraded = self.upgrade(asked, &halt) => if let Some(heir) = upgraded {
                    break Ended::HandedOver(heir);
                },
                () = signals.stop() => {
                    halt.halt();
                    break Ended::Stopped;
                }
            }
        };
        if let Some(watchdog) = watchdog {
            watchdog.abort();
        }
        // Forgotten if it is over; else its end is waited for.
        if before.as_ref().is_some_and(JoinHandle::is_finished) {
            before.take();
        }
        ended
    }

    /// Starts the next process; `None` if it does not serve.
    async fn upgrade(
        &self,
        asked: Option<oneshot::Sender<Answer>>,
        halt: &Arc<Halt>,
    ) -> Option<Heir> {
        tracing::info!(program = %self.launch.program.display(), "upgrade: starting the new process");
        let (heir, answer) = match self.launch(Arc::clone(halt)).await {
            Ok(heir) => {
                let in_flight = self.running.in_flight();
                tracing::info!(
                    pid = heir.pid,
                    in_flight,
                    "upgrade: the new process serves, this one drains"
                );
                let line = format!(
                    "process {} serves; {in_flight} requests finish in process {}",
                    heir.pid,
                    std::process::id()
                );
                (Some(heir), Answer::done(vec![line]))
            }
            Err(error) => {
                tracing::error!(why = %error, "upgrade failed, this process keeps serving");
                let why = format!("upgrade failed, the old process keeps serving: {error}");
                (None, Answer::refused(&why))
            }
        };
        if let Some(asked) = asked {
            // Whoever asked may have left.
            drop(asked.send(answer));
        }
        heir
    }

    async fn launch(&self, halt: Arc<Halt>) -> Result<Heir, UpgradeError> {
        let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
        for (address, socket) in self.running.socket_copies()? {
            addresses.push(address.to_string());
            sockets.push(socket);
        }
        if let Some((path, socket)) = &self.admin_socket {
            addresses.push(format!("{UNIX}{}", path.display()));
            sockets.push(socket.try_clone()?);
        }
        let learned = serde_json::to_value(self.running.live().learned()).ok();
        let bequest = Bequest { addresses, learned };
        let launch = self.launch.clone();
        let limit = self.upgrade;
        let work = move || upgrade::launch(&launch, &bequest, &sockets, limit, &halt);
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(UpgradeError::Failed(error.to_string())))
    }

    /// Lets streams finish, here and in the process before, which ends with this one.
    async fn end(self, ended: Ended, signals: &mut Signals, before: Option<JoinHandle<()>>) -> i64 {
        let in_flight = self.running.in_flight();
        let drain = self.running.live().snapshot().config.drain;
        tracing::info!(in_flight, drain_seconds = drain.as_secs_f64(), "draining");
        // Held to the end: the new process waits for the end of this link before it ends itself.
        let heir = match ended {
            Ended::Stopped => {
                notify::stopping(in_flight);
                None
            }
            Ended::HandedOver(heir) => {
                // The new process answers there now, and keeps what is learned.
                self.running.stop_admin();
                self.stop_tasks();
                self.save_for_the_last_time().await;
                Some(heir)
            }
        };
        // The time of the process before began earlier than ours.
        let before = before.unwrap_or_else(|| tokio::spawn(async {}));
        let before = tokio::time::timeout(drain, before);
        let finished = async { tokio::join!(self.running.drain(drain), before).0 };
        let left = tokio::select! {
            left = finished => left,
            () = signals.stop() => self.running.in_flight(),
        };
        // Without effect where another process keeps it now.
        self.save_for_the_last_time().await;
        self.stop_tasks();
        drop(heir);
        left
    }

    fn stop_tasks(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }

    async fn save_for_the_last_time(&self) {
        if let Some(keeper) = &self.keeper {
            // A failure was told in the log.
            drop(keeper.hand_over().await);
        }
    }
}

/// What a process listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    upgrade: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.reload.recv() => Told::Reload,
            _ = self.upgrade.recv() => Told::Upgrade,
        }
    }

    /// The next order to stop. The others wait for [`Signals::next`].
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What a signal says.
#[derive(Clone, Copy, Debug)]
enum Told {
    Stop,
    Reload,
    Upgrade,
}
