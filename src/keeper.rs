//! Keeps what was learned for the next process, as a Pingora background service: every 30 seconds, when
//! somebody asks, and when the service stops. Never on the request path, and on a thread that may block.
//!
//! A crash, a restart or an upgrade so costs at most half a minute of learning. When a new process takes over
//! while this one finishes its streams, [`Keeper::hand_over`] saves for the last time: what the old one still
//! learns is less than what the new one knows, and it must not take the new one's drains back.

use crate::live::{Learned, Live};
use crate::state_file::{self, SaveError};
use crate::telemetry::Telemetry;
use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// How often it saves.
const INTERVAL: Duration = Duration::from_secs(30);

/// The background service.
pub struct Keeper {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    directory: PathBuf,
    interval: Duration,
    /// Held while it saves: saves come one after the other.
    progress: Mutex<Progress>,
}

/// How it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    /// The last save, if there was one, was good.
    #[default]
    Working,
    /// The last save failed.
    Failing,
    /// There was a last save.
    HandedOver,
}

impl Keeper {
    /// A keeper of what is live, in a directory that must exist and be ours.
    pub fn new(live: Arc<Live>, telemetry: Arc<Telemetry>, directory: PathBuf) -> Self {
        Self { live, telemetry, directory, interval: INTERVAL, progress: Mutex::default() }
    }

    /// Saves so often instead of every 30 seconds.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// Starts with what the former process left, if anything. Blocks; call it once, before the services run. A
    /// file that cannot be used is one warning in the log and nothing more.
    pub fn restore(&self) {
        match state_file::load(&self.directory, self.live.clock().unix()) {
            Ok(None) => tracing::info!("nothing was learned before: a cold start"),
            Ok(Some(learned)) => recall(&self.live, &self.telemetry, &learned),
            Err(error) => tracing::warn!(%error, "starting with nothing learned"),
        }
    }

    /// Saves now. After [`Keeper::hand_over`] it does nothing. Failures are also told in the log, once until it
    /// works again.
    pub async fn save_now(&self) -> Result<(), SaveError> {
        self.save_and_tell(&mut *self.progress.lock().await).await
    }

    /// Saves for the last time: from now on the file is another process's.
    pub async fn hand_over(&self) -> Result<(), SaveError> {
        let mut progress = self.progress.lock().await;
        let saved = self.save_and_tell(&mut progress).await;
        *progress = Progress::HandedOver;
        saved
    }

    async fn save_and_tell(&self, progress: &mut Progress) -> Result<(), SaveError> {
        if *progress == Progress::HandedOver {
            return Ok(());
        }
        let saved = self.save().await;
        self.tell(*progress, &saved);
        *progress = if saved.is_ok() { Progress::Working } else { Progress::Failing };
        saved
    }

    async fn save(&self) -> Result<(), SaveError> {
        let learned = self.live.learned();
        let at = learned.saved_at_unix_seconds;
        let directory = self.directory.clone();
        let saving = spawn_blocking(move || state_file::save(&directory, &learned));
        let lost = |error| {
            Err(SaveError { path: self.directory.clone(), source: io::Error::other(error) })
        };
        saving.await.unwrap_or_else(lost)?;
        self.telemetry.metrics.state_saved.set(i64::try_from(at).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Counts a save, and logs a change for the worse or the better.
    fn tell(&self, before: Progress, saved: &Result<(), SaveError>) {
        let result = if saved.is_ok() { "ok" } else { "failed" };
        self.telemetry.metrics.state_saves.with_label_values(&[result]).inc();
        match (before, saved) {
            (Progress::Failing, Ok(())) => tracing::info!("what was learned is saved again"),
            (Progress::Working, Err(error)) => {
                tracing::warn!(%error, "a crash now would cost what was learned since the last save");
            }
            _ => {}
        }
    }
}

/// Starts with what a former process knew, and tells of it. Call it once, before requests come.
pub fn recall(live: &Live, telemetry: &Telemetry, learned: &Learned) {
    let (mut targets, now) = (0, live.clock().now());
    for (model, recalled) in live.recall(learned) {
        targets += recalled.targets;
        for target in recalled.degraded {
            telemetry.starts_degraded(&model, target, now);
        }
    }
    let drained = live.drained().len();
    tracing::info!(targets, drained, "starting with what was learned before");
}

#[async_trait]
impl BackgroundService for Keeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            let stops = tokio::select! {
                () = tokio::time::sleep(self.interval) => false,
                _ = shutdown.changed() => true,
            };
            // Told by itself.
            drop(self.save_now().await);
            if stops {
                return;
            }
        }
    }
}
