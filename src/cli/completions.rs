//! `firstlight completions SHELL`.

use crate::cli::Arguments;
use crate::cli::Exit;
use crate::cli::say;
use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The shell: its completion script is printed.
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    let shell: Shell =
        options.shell.parse().map_err(anyhow::Error::msg).context("not a shell we write for")?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "firstlight", &mut script);
    say(String::from_utf8(script)?.trim_end())?;
    Ok(Exit::Done)
}
