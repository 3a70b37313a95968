//! `firstlight run`.

use crate::cli::Exit;
use crate::reload::Refused;
use crate::server::{self, Start};
use crate::telemetry::AccessLog;
use crate::upgrade::{Launch, Predecessor};
use anyhow::Context as _;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/firstlight/firstlight.yaml")]
    config: PathBuf,
    /// What the service log tells: error, warn, info, debug, or a tracing filter.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// Take over from the process at the other end of standard input: what an upgrade starts.
    #[arg(long, hide = true)]
    take_over: bool,
    /// How long a new process may take until it serves, seconds.
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = 45)]
    upgrade_seconds: u64,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    // Before anything can replace the file.
    let launch = Launch::of_this_process().context("cannot find the path of this program")?;
    start_log(&options.log_level)?;
    let predecessor = options.take_over.then(Predecessor::at_stdin).transpose()?;
    let result = start(options, launch, predecessor.as_ref());
    if let (Err(error), Some(predecessor)) = (&result, &predecessor) {
        predecessor.failed(format!("{error:#}"));
    }
    result
}

fn start(
    options: &Options,
    launch: Launch,
    predecessor: Option<&Predecessor>,
) -> anyhow::Result<Exit> {
    let checked = match crate::reload::load(&options.config) {
        Ok(checked) => checked,
        Err(refused @ Refused::Problems { .. }) => {
            eprintln!("{refused}");
            if let Some(predecessor) = predecessor {
                predecessor.failed(refused.to_string());
            }
            return Ok(Exit::Problems);
        }
        Err(refused) => return Err(refused.into()),
    };
    for warning in &checked.warnings {
        tracing::warn!("{}:{warning}", options.config.display());
    }
    let config = checked.config;
    server::open_files::raise();
    let access_log = if config.log.access { AccessLog::stdout() } else { AccessLog::off() };
    let runtime = crate::cli::runtime(config.threads)?;
    let inheritance = predecessor.map(Predecessor::inherit).transpose()?;
    let start = Start {
        file: options.config.clone(),
        config,
        access_log: access_log.clone(),
        launch,
        upgrade: Duration::from_secs(options.upgrade_seconds),
        inheritance,
    };
    let left = runtime.block_on(server::run(start, predecessor))?;
    // What is still running had its time; waiting for it would make the drain time a lie.
    runtime.shutdown_background();
    access_log.close();
    if left > 0 {
        tracing::warn!(in_flight = left, "stopped with requests in flight");
    } else {
        tracing::info!("stopped");
    }
    Ok(Exit::Done)
}

/// Libraries that warn and tell no more, whatever the command line asks for: Pingora's trace holds whole headers, and
/// those that fetch tokens repeat parts of answers. Names are the beginnings of targets.
const QUIET: [&str; 3] = ["pingora", "azure_", "typespec"];

/// The service log goes to standard error, so that standard output holds the access log alone.
pub(super) fn start_log(level: &str) -> anyhow::Result<()> {
    let wanted = EnvFilter::try_new(level).with_context(|| {
        format!("--log-level {level} is not understood; write error, warn, info or debug")
    })?;
    let quiet = QUIET.map(|library| (library, LevelFilter::WARN));
    // A filter of its own: in the one above a longer target would have the last word.
    let most = Targets::new().with_default(LevelFilter::TRACE).with_targets(quiet);
    let log = tracing_subscriber::fmt::layer().json().flatten_event(true);
    let log = log.with_writer(std::io::stderr).with_filter(wanted.and(most));
    // It fails if a log was started before, which is as good.
    drop(tracing_subscriber::registry().with(log).try_init());
    Ok(())
}
