//! `firstlight man [DIR]`: the manual, from the same description as `--help`, and what only a manual says.

use crate::cli::Arguments;
use crate::cli::Exit;
use crate::cli::say;
use anyhow::Context as _;
use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;
use std::path::{Path, PathBuf};

/// What no description of a command line can say: exit status, signals, files, environment.
const OPERATION: &str = include_str!("man.roff");
const SECTION: &str = "8";

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where to write firstlight.8 and a page for each command. Default: print firstlight.8.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    // `--version` belongs to the program, not to each of its commands.
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    match &options.folder {
        None => say(page(&program)?.trim_end())?,
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the directory {}", folder.display()))?;
            write_all(&program, folder)?;
        }
    }
    Ok(Exit::Done)
}

/// The page of a command and those of its own commands.
fn write_all(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join(format!("{}.{SECTION}", name(command)));
    std::fs::write(&file, page(command)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
        .try_for_each(|inner| write_all(inner, folder))
}

fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> anyhow::Result<String> {
    let source = concat!("Firstlight ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone())
        .section(SECTION)
        .manual("Firstlight")
        .source(source)
        .title(name(command));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let is_program = command.get_name() == name(command);
    let end = if is_program { OPERATION } else { ".SH SEE ALSO\n.BR firstlight (8)\n" };
    Ok(String::from_utf8(text)? + end)
}
