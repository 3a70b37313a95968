//! `firstlight demo`.

use crate::cli::Exit;
use crate::demo::Audience;
use crate::demo::Ending;
use crate::demo::Plan;
use crate::demo::frame::Palette;
use clap::Args;
use std::io::{IsTerminal, stdout};
use std::net::{Ipv4Addr, SocketAddr};

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// How long it takes, 20 to 600.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(20..=600))]
    seconds: u64,
    /// Requests a second to each of the two proxies, 1 to 100.
    #[arg(long, value_name = "R", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    rate: u32,
    /// Where Firstlight listens, for you to try; a free port if that one is taken.
    #[arg(long, value_name = "ADDRESS", value_parser = loopback,
        default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))]
    listen: SocketAddr,
    /// Print the figures as JSON and nothing else.
    #[arg(long)]
    json: bool,
    /// Write the service log to standard error, from this level on.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// The mocks ask for no credential, so nobody else is to reach them through the proxy.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "write an address and a port, like 127.0.0.1:8080".to_owned())?;
    let local = address.ip().is_loopback();
    local
        .then_some(address)
        .ok_or_else(|| "the demo listens on loopback only, like 127.0.0.1:8080".to_owned())
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    if let Some(level) = &options.log_level {
        crate::cli::run::start_log(level)?;
    }
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let audience = if options.json {
        Audience::Program
    } else if stdout().is_terminal() {
        Audience::Terminal(if colours { Palette::Ansi } else { Palette::Plain })
    } else {
        Audience::Log
    };
    let Options { seconds, rate, listen, json: _, log_level: _ } = *options;
    let runtime = crate::cli::runtime(0)?;
    let ending = runtime.block_on(crate::demo::run(Plan { seconds, rate, listen, audience }))?;
    runtime.shutdown_background();
    Ok(match ending {
        Ending::Held => Exit::Done,
        Ending::Failed | Ending::Interrupted => Exit::Problems,
    })
}
