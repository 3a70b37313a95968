//! `firstlight mock`.

use crate::cli::Exit;
use crate::mock::BackendSpec;
use crate::mock::HELP;
use crate::mock::Mock;
use clap::Args;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::signal::unix::{SignalKind, signal};

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A backend: NAME=ADDRESS:PORT, then settings like `,ttft_median_ms=200,api_key=secret`. Repeat for
    /// more. Without any: three regions on free ports.
    #[arg(long = "backend", value_name = "SPEC", value_parser = parse)]
    backends: Vec<BackendSpec>,
    /// Where faults are switched; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    control: SocketAddr,
    /// The same seed gives the same times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the addresses as one line of JSON.
    #[arg(long)]
    json: bool,
}

fn parse(text: &str) -> Result<BackendSpec, String> {
    text.parse()
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    let mut specs = options.backends.clone();
    if specs.is_empty() {
        let regions = ["eastus2", "westus3", "swedencentral"];
        specs = regions
            .iter()
            .map(|name| BackendSpec::local(name, crate::mock::Behaviour::default()))
            .collect();
    }
    let (control, seed) = (options.control, options.seed);
    crate::cli::runtime(0)?.block_on(async move {
        let mock = Mock::start(specs, Some(control), seed).await?;
        announce(&mock, options);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(Exit::Done)
    })
}

fn announce(mock: &Mock, options: &Options) {
    let control = mock.control_address();
    if options.json {
        let backends: serde_json::Map<_, _> =
            mock.addresses().into_iter().map(|(name, at)| (name, at.to_string().into())).collect();
        let control = control.map(|at| at.to_string());
        println!("{}", serde_json::json!({ "backends": backends, "control": control }));
        return;
    }
    for (name, address) in mock.addresses() {
        println!("{name}: http://{address}");
    }
    if let Some(control) = control {
        println!("control: http://{control}\n\n{}", HELP.replace("ADDRESS", &control.to_string()));
    }
}
