//! Reloading the configuration: read, check, build all of it, swap once. On any problem what runs goes on.

mod file;

pub use file::{load, read};

use crate::config;
use crate::config::{Checked, Problem};
use crate::endpoints::Endpoints;
use crate::identity::Refresher;
use crate::jwks::KeyFetcher;
use crate::live::{BuildError, Live, Snapshot};
use crate::telemetry::Telemetry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long a reload waits for the addresses of new backends. Later they are found in the background.
const RESOLVE: Duration = Duration::from_secs(5);
/// The same for tokens of new identities and signing keys of new tenants.
const FETCH: Duration = Duration::from_secs(10);

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {why}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not. (Not a `source`: it is part of the message already.)
        why: io::Error,
    },
    /// The file has problems.
    #[error("{}", lines(path, problems))]
    Problems {
        /// Which file.
        path: PathBuf,
        /// All of them.
        problems: Vec<Problem>,
    },
    /// What the file points at cannot be used.
    #[error("{path}: {why}", path = path.display())]
    Build {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: BuildError,
    },
    /// What it asks for must not stand beside what is bound to the process.
    #[error("{path}: {why}", path = path.display())]
    Conflict {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The work itself broke down: a mistake of ours.
    #[error("the check of {path} broke down: {why}; what runs goes on", path = path.display())]
    Broken {
        /// Which file.
        path: PathBuf,
        /// How.
        why: String,
    },
}

fn lines(path: &Path, problems: &[Problem]) -> String {
    let one = |problem: &Problem| format!("{}:{problem}", path.display());
    problems.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// Which configuration of this process is live now, from 1.
    pub generation: u64,
    /// What is different from before.
    pub changed: Vec<String>,
    /// What is in the file, and has to wait for `firstlight upgrade` or a restart.
    pub waiting: Vec<String>,
    /// What the file's author may want to know.
    pub warnings: Vec<String>,
}

/// Reloads one file, one reload at a time.
pub struct Reloader {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    file: PathBuf,
    turn: Mutex<()>,
}

impl Reloader {
    /// For the file that the process was started with.
    pub fn new(live: Arc<Live>, telemetry: Arc<Telemetry>, file: PathBuf) -> Self {
        Self { live, telemetry, file, turn: Mutex::default() }
    }

    /// Reads, checks and builds the file, and makes it live.
    pub async fn reload(&self) -> Result<Reloaded, Refused> {
        let _turn = self.turn.lock().await;
        let result = self.prepare().await;
        self.telemetry.metrics.config_reloads.with_label_values(&[word(&result)]).inc();
        self.telemetry.metrics.config_last_reload_successful.set(i64::from(result.is_ok()));
        match result {
            Ok((next, mut reloaded)) => {
                self.live.swap(next);
                reloaded.generation = self.live.snapshot().generation;
                self.telemetry.config_loaded(&self.live);
                let (generation, changed) = (reloaded.generation, reloaded.changed.join("; "));
                let waiting = reloaded.waiting.join("; ");
                tracing::info!(generation, changed, waiting, "configuration reloaded");
                Ok(reloaded)
            }
            Err(refused) => {
                let generation = self.live.snapshot().generation;
                tracing::error!(generation, why = %refused, "configuration refused, the old one keeps serving");
                Err(refused)
            }
        }
    }

    /// What the file says that is not live, line by line.
    pub async fn diff(&self) -> Result<Vec<String>, Refused> {
        let running = Arc::clone(&self.live.snapshot().config);
        let file = self.load().await?.config;
        Ok(config::diff(&running, &file).iter().map(ToString::to_string).collect())
    }

    async fn prepare(&self) -> Result<(Snapshot, Reloaded), Refused> {
        let running = Arc::clone(&self.live.snapshot().config);
        let Checked { config: file, warnings } = self.load().await?;
        let warning = |warning: &Problem| format!("{}:{warning}", self.file.display());
        let mut warnings: Vec<String> = warnings.iter().map(warning).collect();
        let next = config::adopt(&running, file.clone())
            .map_err(|why| Refused::Conflict { path: self.file.clone(), why })?;
        let changed = config::diff(&running, &next).iter().map(ToString::to_string).collect();
        let waiting = config::diff(&next, &file).iter().map(ToString::to_string).collect();
        let live = Arc::clone(&self.live);
        // Reads secrets, authorities and certificates from the disk.
        let built = self.apart(move || live.next(next)).await?;
        let next = built.map_err(|why| Refused::Build { path: self.file.clone(), why })?;
        let refresher = Refresher::new(Arc::clone(&self.live), Arc::clone(&self.telemetry));
        let resolved = Endpoints::resolve_new(&next, RESOLVE);
        let keys = KeyFetcher::new(Arc::clone(&self.live), Arc::clone(&self.telemetry));
        let ((), missing, keyless) =
            tokio::join!(resolved, refresher.fetch_missing(&next, FETCH), keys.fill(&next, FETCH));
        warnings.extend(missing.into_iter().chain(keyless));
        Ok((next, Reloaded { generation: 0, changed, waiting, warnings }))
    }

    async fn load(&self) -> Result<Checked, Refused> {
        let path = self.file.clone();
        self.apart(move || load(&path)).await?
    }

    /// Files and large texts are no work for the threads that relay streams.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|e| Refused::Broken { path: self.file.clone(), why: e.to_string() })
    }
}

fn word<T>(result: &Result<T, Refused>) -> &'static str {
    if result.is_ok() { "applied" } else { "refused" }
}
