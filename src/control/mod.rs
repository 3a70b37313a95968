//! The operator's side: the admin socket, what is said over it, and what is done then.

pub mod client;
mod proofs;
pub mod protocol;
pub mod socket;
mod status;

pub use proofs::{IdentityStatus, TenantStatus};
pub use status::{ModelStatus, Status, TargetStatus};

use crate::keeper::Keeper;
use crate::live::Live;
use crate::reload::{Refused, Reloaded, Reloader};
use crate::routing::Switch;
use crate::telemetry::Telemetry;
use crate::time::Time;
use protocol::{Answer, Command};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{mpsc, oneshot};

/// What only the process itself can do.
#[derive(Debug)]
pub enum Order {
    /// Start the binary anew and hand over to it; the answer goes there.
    Upgrade(oneshot::Sender<Answer>),
}

/// What a process knows of itself.
#[derive(Debug)]
pub struct Process {
    /// When it started.
    pub started: Time,
    /// Where clients connect.
    pub listening: Vec<String>,
    /// Whether it drains.
    pub draining: Arc<AtomicBool>,
    /// Whether the process before it still finishes its streams.
    pub predecessor: AtomicBool,
    /// Whether the next process is being started, or serves.
    pub upgrading: AtomicBool,
}

/// Does what operators ask for.
pub struct Operator {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    reloader: Reloader,
    process: Arc<Process>,
    orders: mpsc::Sender<Order>,
    keeper: Option<Arc<Keeper>>,
}

impl Operator {
    /// Over what is live; what only the process can do is sent to `orders`.
    pub fn new(
        live: Arc<Live>,
        telemetry: Arc<Telemetry>,
        reloader: Reloader,
        process: Arc<Process>,
        orders: mpsc::Sender<Order>,
    ) -> Self {
        Self { live, telemetry, reloader, process, orders, keeper: None }
    }

    /// Keeps what operators order with what is learned.
    #[must_use]
    pub fn keeping(self, keeper: Option<Arc<Keeper>>) -> Self {
        Self { keeper, ..self }
    }

    /// Does it, and tells.
    pub async fn obey(&self, command: Command) -> Answer {
        match command {
            Command::Status => self.status(),
            Command::Diff => self.diff().await,
            Command::Reload => self.reload().await,
            Command::Upgrade => self.upgrade().await,
            Command::Drain { backend } => self.switch(&backend, Switch::On).await,
            Command::Enable { backend } => self.switch(&backend, Switch::Off).await,
        }
    }

    /// How everything is.
    fn status(&self) -> Answer {
        let (snapshot, now) = (self.live.snapshot(), self.live.clock().now());
        let unix = self.live.clock().unix();
        let status = Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            generation: snapshot.generation,
            uptime_seconds: now.since(self.process.started).as_secs(),
            draining: self.process.draining.load(Relaxed),
            predecessor: self.process.predecessor.load(Relaxed),
            in_flight: self.telemetry.metrics.requests_in_flight.get(),
            listening: self.process.listening.clone(),
            models: status::models(&snapshot, &self.telemetry, now),
            identities: proofs::identities(&snapshot, unix),
            tenants: proofs::tenants(&snapshot, unix),
        };
        match serde_json::to_value(&status) {
            Ok(data) => Answer { done: true, lines: status.lines(), data },
            Err(error) => Answer::refused(&format!("the status cannot be told: {error}")),
        }
    }

    /// Makes the file live.
    pub async fn reload(&self) -> Answer {
        match self.reloader.reload().await {
            Ok(reloaded) => told(&reloaded),
            Err(refused) => refusal(&refused),
        }
    }

    async fn diff(&self) -> Answer {
        match self.reloader.diff().await {
            Ok(lines) if lines.is_empty() => Answer::done(vec!["the file is what runs".to_owned()]),
            Ok(lines) => {
                let data = serde_json::json!({ "differences": lines });
                Answer { done: true, lines, data }
            }
            Err(refused) => Answer::refused(&refused.to_string()),
        }
    }

    async fn upgrade(&self) -> Answer {
        let (answer, answered) = oneshot::channel();
        // If nobody takes orders any more, the answer's other end is dropped, too.
        drop(self.orders.send(Order::Upgrade(answer)).await);
        answered.await.unwrap_or_else(|_| {
            Answer::refused("another process has taken over, or this one is stopping")
        })
    }

    async fn switch(&self, backend: &str, drained: Switch) -> Answer {
        if self.process.upgrading.load(Relaxed) {
            // The next process would not hear of it.
            return Answer::refused("an upgrade is under way; ask again when it is over");
        }
        let mut answer = self.switch_live(backend, drained);
        // A crash must not put it back.
        let Some(keeper) = self.keeper.as_ref().filter(|_| answer.done) else { return answer };
        if let Err(error) = keeper.save_now().await {
            answer.lines.push(format!("not saved, the next process would not know: {error}"));
        }
        answer
    }

    fn switch_live(&self, backend: &str, drained: Switch) -> Answer {
        match self.live.drain_backend(backend, drained) {
            Ok(()) if drained == Switch::On => {
                tracing::warn!(backend, "backend drained by an operator");
                Answer::done(vec![format!("{backend}: no new requests; its streams finish")])
            }
            Ok(()) => {
                tracing::info!(backend, "backend enabled by an operator");
                Answer::done(vec![format!("{backend}: in use again")])
            }
            Err(unknown) => Answer::refused(&unknown.to_string()),
        }
    }
}

/// What a reload did, in lines and as data.
fn told(reloaded: &Reloaded) -> Answer {
    let Reloaded { generation, changed, waiting, warnings } = reloaded;
    let count = changed.len();
    let mut lines = vec![format!("generation {generation} is live; {count} changed")];
    lines.extend(changed.iter().cloned());
    lines.extend(waiting.iter().cloned());
    lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    let data = serde_json::json!({
        "generation": generation, "changed": changed, "waiting": waiting, "warnings": warnings,
    });
    Answer { done: true, lines, data }
}

fn refusal(refused: &Refused) -> Answer {
    Answer::refused(&format!("refused, the old configuration keeps serving:\n{refused}"))
}
