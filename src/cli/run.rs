//! `firstlight run`.

use crate::cli::Exit;
use crate::server::Firstlight;
use crate::server::Running;
use crate::telemetry::AccessLog;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/firstlight/firstlight.yaml")]
    config: PathBuf,
    /// What the service log tells: error, warn, info, debug, or a tracing filter.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    start_log(&options.log_level)?;
    let Some(checked) = crate::cli::load(&options.config)? else { return Ok(Exit::Problems) };
    for warning in &checked.warnings {
        tracing::warn!("{}:{warning}", options.config.display());
    }
    let config = checked.config;
    let drain = config.drain;
    let access_log = if config.log.access { AccessLog::stdout() } else { AccessLog::off() };
    let runtime = crate::cli::runtime(config.threads)?;
    let left = runtime.block_on(async {
        let running = Firstlight::bind(config, access_log.clone())?.spawn();
        announce(&running);
        wait_for_stop(&running, drain).await
    })?;
    // What is still running had its time; waiting for it would make the drain time a lie.
    runtime.shutdown_background();
    access_log.close();
    if left > 0 {
        tracing::warn!(in_flight = left, "stopped with requests in flight");
    }
    Ok(Exit::Done)
}

/// The service log goes to standard error, so that standard output holds the access log alone.
pub(super) fn start_log(level: &str) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let directives = format!("{level},pingora_core=warn,pingora_proxy=warn");
    let filter = tracing_subscriber::EnvFilter::try_new(directives).with_context(|| {
        format!("--log-level {level} is not understood; write error, warn, info or debug")
    })?;
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_writer(std::io::stderr);
    // It fails if a log was started before, which is as good.
    drop(log.with_env_filter(filter).try_init());
    Ok(())
}

fn announce(running: &Running) {
    for address in running.addresses() {
        tracing::info!(%address, "listening");
    }
    if let Some(address) = running.admin_address() {
        tracing::info!(%address, "admin listening");
    }
}

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends the drain at once.
async fn wait_for_stop(running: &Running, drain: Duration) -> anyhow::Result<i64> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(
        in_flight = running.in_flight(),
        drain_seconds = drain.as_secs_f64(),
        "draining"
    );
    Ok(tokio::select! {
        left = running.drain(drain) => left,
        _ = terminate.recv() => running.in_flight(),
        _ = interrupt.recv() => running.in_flight(),
    })
}
