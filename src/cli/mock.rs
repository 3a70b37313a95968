//! `firstlight mock`.

use crate::cli::Exit;
use crate::mock::{
    BackendSpec, Beside, Entra, EntraSpec, HELP, IDENTITY_HELP, Imds, ImdsSpec, Mock,
};
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
    /// Where a fake Entra ID listens, for backends with `bearer=true` and for everybody who checks tokens;
    /// port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    entra: Option<SocketAddr>,
    /// A tenant of that Entra, a GUID. Repeat for more.
    #[arg(long = "tenant", value_name = "GUID", default_value = EntraSpec::TENANT, requires = "entra")]
    tenants: Vec<String>,
    /// Where a fake metadata service gives managed identities tokens of that Entra; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", requires = "entra")]
    imds: Option<SocketAddr>,
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
        let beside = beside(options).await?;
        let mock = Mock::start_beside(beside, specs, Some(control), seed).await?;
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

async fn beside(options: &Options) -> std::io::Result<Beside> {
    let Some(listen) = options.entra else { return Ok(Beside::default()) };
    let tenants = options.tenants.clone();
    let entra = Entra::start(EntraSpec { listen, tenants, ..EntraSpec::default() }).await?;
    let imds = match options.imds {
        Some(listen) => {
            let spec = ImdsSpec { listen, ..ImdsSpec::default() };
            Some(Imds::start(spec, entra.clone()).await?)
        }
        None => None,
    };
    Ok(Beside { entra: Some(entra), imds })
}

fn announce(mock: &Mock, options: &Options) {
    let control = mock.control_address();
    let Beside { entra, imds } = mock.beside();
    let entra = entra.as_ref().map(Entra::address);
    let imds = imds.as_ref().map(Imds::address);
    if options.json {
        let backends: serde_json::Map<_, _> =
            mock.addresses().into_iter().map(|(name, at)| (name, at.to_string().into())).collect();
        let addresses = serde_json::json!({
            "backends": backends, "control": control, "entra": entra, "imds": imds,
        });
        println!("{addresses}");
        return;
    }
    for (name, address) in mock.addresses() {
        println!("{name}: http://{address}");
    }
    if let Some(entra) = entra {
        println!("entra: http://{entra}");
    }
    if let Some(imds) = imds {
        println!("imds: http://{imds}");
    }
    if let Some(control) = control {
        let more = entra.map_or("", |_| IDENTITY_HELP);
        let help = format!("{HELP}{more}").replace("ADDRESS", &control.to_string());
        println!("control: http://{control}\n\n{help}");
    }
}
