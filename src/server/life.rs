//! The life of a process: it takes over or starts, serves, obeys, hands over or stops, drains.

use super::begin::begin;
use super::signals::{Signals, Told};
use super::upgrading::Upgrade;
use super::{Running, StartError, open_files};
use crate::config::checked::Config;
use crate::control::{Operator, Order, Process};
use crate::journal::Journal;
use crate::keeper::Keeper;
use crate::notify;
use crate::telemetry::AccessLog;
use crate::upgrade::{Heir, Inheritance, Launch, Predecessor};
use futures_util::future::OptionFuture;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

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
pub(super) struct Life {
    pub(super) running: Running,
    pub(super) operator: Arc<Operator>,
    pub(super) process: Arc<Process>,
    pub(super) launch: Launch,
    /// How long the next process may take until it serves.
    pub(super) upgrade: Duration,
    /// The admin socket; `None` where there is none.
    pub(super) admin_socket: Option<(PathBuf, OwnedFd)>,
    /// `None` where nothing is kept.
    pub(super) keeper: Option<Arc<Keeper>>,
    /// With its task, which goes on while the last streams end: they may make something.
    pub(super) journal: Option<(Arc<Journal>, JoinHandle<()>)>,
    pub(super) tasks: Vec<JoinHandle<()>>,
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
    let (life, orders) = tokio::select! {
        begun = begin(start) => begun?,
        () = signals.stop() => return Ok(0),
    };
    let before = take_over(&life, predecessor);
    life.announce();
    open_files::warn_if_few(life.running.live().snapshot().config.limits.connections);
    let ended = life.serve(&mut signals, orders).await;
    Ok(life.end(ended, &mut signals, before).await)
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
    async fn serve(&self, signals: &mut Signals, mut orders: mpsc::Receiver<Order>) -> Ended {
        let watchdog = notify::watchdog();
        let mut upgrade = Upgrade::default();
        let ended = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Told::Stop => {
                        let heir = upgrade.break_off(self).await;
                        break heir.map_or(Ended::Stopped, Ended::HandedOver);
                    }
                    Told::Upgrade => upgrade.begin(self, None),
                    Told::Reload => {
                        let operator = Arc::clone(&self.operator);
                        tokio::spawn(async move { operator.reload().await });
                    }
                },
                Some(Order::Upgrade(asked)) = orders.recv() => upgrade.begin(self, Some(asked)),
                heir = upgrade.end(self) => if let Some(heir) = heir {
                    break Ended::HandedOver(heir);
                }
            }
        };
        if let Some(watchdog) = watchdog {
            watchdog.abort();
        }
        ended
    }

    /// Lets streams finish, here and in the process before, which ends with this one.
    async fn end(self, ended: Ended, signals: &mut Signals, before: Option<JoinHandle<()>>) -> i64 {
        let in_flight = self.running.in_flight();
        let drain = self.running.live().snapshot().config.drain;
        tracing::info!(in_flight, drain_seconds = drain.as_secs_f64(), "draining");
        // The heir is held to the end: the new process waits for the end of this link before it ends itself.
        let (heir, extending) = match ended {
            Ended::Stopped => {
                notify::stopping(in_flight);
                (None, Some(notify::extend_stop()))
            }
            Ended::HandedOver(heir) => {
                // The new process answers there now, and keeps what is learned.
                self.running.stop_admin();
                self.stop_tasks();
                self.save_for_the_last_time().await;
                (Some(heir), None)
            }
        };
        // The time of the process before began earlier than ours.
        let before = tokio::time::timeout(drain, OptionFuture::from(before));
        let finished = async { tokio::join!(self.running.drain(drain), before).0 };
        let left = tokio::select! {
            left = finished => left,
            () = signals.stop() => self.running.in_flight(),
        };
        // Without effect where another process keeps it now.
        self.save_for_the_last_time().await;
        self.stop_tasks();
        if let Some((journal, task)) = &self.journal {
            task.abort();
            journal.round().await;
        }
        if let Some(extending) = extending {
            extending.abort();
        }
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
