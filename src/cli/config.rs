//! `firstlight config`: the configuration, printed.

use crate::cli::Exit;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What a file comes to, every default filled in. Secrets are never in it, only where they come from.
    Dump {
        /// The configuration file.
        #[arg(value_name = "FILE", default_value = "/etc/firstlight/firstlight.yaml")]
        file: PathBuf,
    },
    /// Every key with its default, unit, range and reason.
    Reference,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    match &options.what {
        What::Dump { file } => {
            let Some(checked) = crate::cli::load(file)? else { return Ok(Exit::Problems) };
            print!("{}", crate::config::dump(&checked.config));
        }
        What::Reference => print!("{}", crate::config::reference()),
    }
    Ok(Exit::Done)
}
