//! The commands that ask a running process: `reload`, `upgrade`, `status`, `diff`, `backend`.

use crate::cli::{Exit, say};
use crate::control::client;
use crate::control::protocol::Command;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Where the process is, and how to print.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The admin socket of the running process: its `admin.socket`.
    #[arg(long, value_name = "PATH", default_value = "/run/firstlight/admin.sock")]
    socket: PathBuf,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Options of `reload`.
#[derive(Debug, Args)]
pub(super) struct Reload {
    #[command(flatten)]
    options: Options,
    /// Wait for the answer; it always does, the option is for unit files that want to say so.
    #[arg(long)]
    wait: bool,
}

/// Options of `backend`.
#[derive(Debug, Args)]
pub(super) struct Backend {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Send no new requests there; its streams finish. It lasts until `enable`, across reloads and restarts.
    Drain(Named),
    /// Use it again.
    Enable(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The backend's name in the configuration.
    name: String,
    #[command(flatten)]
    options: Options,
}

pub(super) fn reload(reload: &Reload) -> anyhow::Result<Exit> {
    let Reload { options, wait: _ } = reload;
    ask(options, &Command::Reload)
}

pub(super) fn backend(backend: &Backend) -> anyhow::Result<Exit> {
    match &backend.what {
        What::Drain(Named { name, options }) => {
            ask(options, &Command::Drain { backend: name.clone() })
        }
        What::Enable(Named { name, options }) => {
            ask(options, &Command::Enable { backend: name.clone() })
        }
    }
}

pub(super) fn ask(options: &Options, command: &Command) -> anyhow::Result<Exit> {
    let answer = client::ask(&options.socket, command)?;
    if options.json {
        // What is asked for is the data where there are any.
        let whole = serde_json::to_value(&answer)?;
        let data = if answer.data.is_null() { &whole } else { &answer.data };
        say(format_args!("{data:#}"))?;
    } else if answer.done {
        say(answer.lines.join("\n"))?;
    } else {
        answer.lines.iter().for_each(|line| eprintln!("firstlight: {line}"));
    }
    Ok(if answer.done { Exit::Done } else { Exit::Problems })
}
