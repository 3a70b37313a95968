//! An upgrade, as the process that hands over sees it.

use super::life::Life;
use crate::control::protocol::Answer;
use crate::upgrade::link::Bequest;
use crate::upgrade::{self, Heir, Stop, UpgradeError};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What stands before the admin socket's path among the addresses that are handed over.
pub(super) const UNIX: &str = "unix:";

/// An upgrade that may be under way.
#[derive(Default)]
pub(super) struct Upgrade {
    starting: Option<Starting>,
}

struct Starting {
    result: JoinHandle<Result<Heir, UpgradeError>>,
    stop: Stop,
    /// Which configuration was live when the new process was started.
    generation: u64,
    asked: Option<oneshot::Sender<Answer>>,
}

impl Upgrade {
    /// Starts the next process, unless one is starting already.
    pub(super) fn begin(&mut self, life: &Life, asked: Option<oneshot::Sender<Answer>>) {
        if self.starting.is_some() {
            tracing::warn!("upgrade refused, another is under way");
            tell(asked, Answer::refused("refused: an upgrade is under way already"));
            return;
        }
        let (launch, bequest, limit) = (life.launch.clone(), bequest(life), life.upgrade);
        tracing::info!(program = %launch.program.display(), "upgrade: starting the new process");
        let stop = Stop::default();
        let stops = stop.clone();
        let result = tokio::task::spawn_blocking(move || {
            let (bequest, sockets) = bequest?;
            upgrade::launch(&launch, &bequest, &sockets, limit, &stops)
        });
        let generation = life.running.live().snapshot().generation;
        self.starting = Some(Starting { result, stop, generation, asked });
        life.process.upgrading.store(true, Relaxed);
    }

    /// Ends when the next process serves, or does not; never while none is starting. Gives the process that
    /// serves now, if there is one.
    pub(super) async fn end(&mut self, life: &Life) -> Option<Heir> {
        let Some(starting) = &mut self.starting else { return std::future::pending().await };
        let result = (&mut starting.result).await;
        let result = result.unwrap_or_else(|e| Err(UpgradeError::Failed(e.to_string())));
        let ended = self.starting.take()?;
        let (heir, answer) = match result {
            Ok(heir) => {
                if life.running.live().snapshot().generation != ended.generation {
                    // It may have read the file before this process read it anew.
                    heir.reload();
                }
                let (new, own, in_flight) =
                    (heir.pid, std::process::id(), life.running.in_flight());
                tracing::info!(
                    pid = new,
                    in_flight,
                    "upgrade: the new process serves, this one drains"
                );
                let line =
                    format!("process {new} serves; {in_flight} requests finish in process {own}");
                (Some(heir), Answer::done(vec![line]))
            }
            Err(error) => {
                life.process.upgrading.store(false, Relaxed);
                tracing::error!(why = %error, "upgrade failed, this process keeps serving");
                let why = format!("upgrade failed, the old process keeps serving: {error}");
                (None, Answer::refused(&why))
            }
        };
        tell(ended.asked, answer);
        heir
    }

    /// Breaks it off, since this process is to stop. Where it is too late for that the new process is told to
    /// stop, too.
    pub(super) async fn break_off(&mut self, life: &Life) -> Option<Heir> {
        self.starting.as_ref()?.stop.now();
        let heir = self.end(life).await?;
        heir.stop();
        Some(heir)
    }
}

/// What is handed over, with the listening sockets.
fn bequest(life: &Life) -> io::Result<(Bequest, Vec<OwnedFd>)> {
    let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
    for (address, socket) in life.running.socket_copies()? {
        addresses.push(address.to_string());
        sockets.push(socket);
    }
    if let Some((path, socket)) = &life.admin_socket {
        addresses.push(format!("{UNIX}{}", path.display()));
        sockets.push(socket.try_clone()?);
    }
    let learned = serde_json::to_value(life.running.live().learned()).ok();
    Ok((Bequest { addresses, learned }, sockets))
}

fn tell(asked: Option<oneshot::Sender<Answer>>, answer: Answer) {
    if let Some(asked) = asked {
        // Whoever asked may have left.
        drop(asked.send(answer));
    }
}
