//! `firstlight config`: the configuration, printed.

use crate::cli::Exit;
use crate::cli::say;
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
    /// The same as a JSON Schema, for editors.
    Schema,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    match &options.what {
        What::Dump { file } => {
            let Some(checked) = crate::cli::load(file)? else { return Ok(Exit::Problems) };
            say(crate::config::dump(&checked.config).trim_end())?;
        }
        What::Reference => say(crate::config::reference().trim_end())?,
        What::Schema => say(crate::config::schema().trim_end())?,
    }
    Ok(Exit::Done)
}
