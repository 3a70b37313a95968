//! The command line: one file a command.
//!
//! Exit codes: 0 done; 1 the configuration or the scenario has problems, a running process or a check of a token refused,
//! or the claim of the demo did not hold; 2 the command line was not understood; 3 Firstlight could not start, a file could not be read or
//! written, no running process was reached, or a backend did not answer `check --live`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to people")]

mod ask;
mod check;
mod completions;
mod config;
mod demo;
mod key;
mod man;
mod mock;
mod run;
mod simulate;
mod token;

use crate::config::Checked;
use crate::control::protocol::Command as Ask;
use crate::reload::Refused;
use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::ExitCode;

/// A load balancer for Azure OpenAI that times the first token of every answer.
#[derive(Debug, Parser)]
#[command(name = "firstlight", version, disable_help_subcommand = true)]
#[command(
    // Without two of the usual empty lines it fits a screen.
    help_template = "{about}\n{usage-heading} {usage}\nCommands:\n{subcommands}\n\nOptions:\n{options}{after-help}",
    after_help = "Exit codes: 0 done, 1 problems or refused, 2 command line not understood, 3 not started or reached"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the load balancer.
    Run(run::Options),
    /// Check a configuration file and print every problem in it.
    Check(check::Options),
    /// Make the configuration file live; refused, the old one keeps serving.
    Reload(ask::Reload),
    /// What the file says that is not live.
    Diff(ask::Options),
    /// How every target is, and why.
    Status(ask::Options),
    /// Take a backend out of use, or put it back.
    Backend(ask::Backend),
    /// Start the binary anew and hand over to it, without losing a request.
    Upgrade(ask::Options),
    #[command(name = crate::upgrade::LAUNCHER, hide = true)]
    LaunchSuccessor {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Make an API key, or hash one for the configuration.
    Key(key::Options),
    /// Say offline, check by check, why a token of Entra ID is taken or refused.
    Token(token::Options),
    /// Print configuration: what a file comes to, or every key there is.
    Config(config::Options),
    /// Watch a region go bad in silence, through Firstlight and beside it through round robin.
    Demo(demo::Options),
    /// Compare policies on a virtual clock: an hour and a half of a failure in a second.
    Simulate(simulate::Options),
    /// Run a fake Azure OpenAI with faults that can be switched while it runs.
    Mock(mock::Options),
    /// Print the completion script of a shell.
    Completions(completions::Options),
    /// Print the manual, or write all its pages into a directory.
    Man(man::Options),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// Done.
    Done,
    /// The configuration has problems, or a claim did not hold.
    Problems,
    /// Something that the configuration points at did not answer.
    Unreached,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Run(options) => run::main(&options),
        Command::Check(options) => check::main(&options),
        Command::Reload(options) => ask::reload(&options),
        Command::Diff(options) => ask::ask(&options, &Ask::Diff),
        Command::Status(options) => ask::ask(&options, &Ask::Status),
        Command::Backend(options) => ask::backend(&options),
        Command::Upgrade(options) => ask::ask(&options, &Ask::Upgrade),
        Command::LaunchSuccessor { command } => launch_successor(&command),
        Command::Key(options) => key::main(&options),
        Command::Token(options) => token::main(&options),
        Command::Config(options) => config::main(&options),
        Command::Demo(options) => demo::main(&options),
        Command::Simulate(options) => simulate::main(&options),
        Command::Mock(options) => mock::main(&options),
        Command::Completions(options) => completions::main(&options),
        Command::Man(options) => man::main(&options),
    };
    match result {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Problems) => ExitCode::from(1),
        Ok(Exit::Unreached) => ExitCode::from(3),
        // Whoever reads this has seen enough (`| head`).
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("firstlight: {error:#}");
            ExitCode::from(3)
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Prints a text that may be long: a closed pipe is an error, not a panic.
fn say(text: impl std::fmt::Display) -> anyhow::Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

fn launch_successor(command: &[std::ffi::OsString]) -> anyhow::Result<Exit> {
    crate::upgrade::launcher(command)?;
    Ok(Exit::Done)
}

/// Most that is read from standard input, in bytes: whoever sends more has sent the wrong file.
const STDIN_BYTES_MAX: u64 = 1024 * 1024;

/// Reads standard input to its end; somebody at a terminal is told that it waits.
fn stdin(what: &str) -> anyhow::Result<Vec<u8>> {
    use std::io::{IsTerminal as _, Read as _};
    let input = std::io::stdin();
    if input.is_terminal() {
        eprintln!("paste {what}, then Enter and Ctrl-D");
    }
    let mut text = Vec::new();
    input.lock().take(STDIN_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Reads and checks a file; tells all its problems on standard error.
fn load(path: &Path) -> anyhow::Result<Option<Checked>> {
    match crate::reload::load(path) {
        Ok(checked) => Ok(Some(checked)),
        Err(refused @ Refused::Problems { .. }) => {
            eprintln!("{refused}");
            Ok(None)
        }
        Err(refused) => Err(refused.into()),
    }
}

/// A tokio runtime with as many workers as asked for; 0: one for each core.
fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder.enable_all().thread_name("firstlight").build()
}
