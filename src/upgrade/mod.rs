//! Upgrading without a lost request: a new process is started beside this one, takes over the listening
//! sockets and what was learned, and only when it serves does this one stop accepting.
//!
//! ```text
//! old process                      launcher (old binary)         new process
//!   firstlight upgrade, SIGUSR2
//!   starts the launcher ---------> starts the new process -----> checks the configuration
//!   waits for its end   <--------- "launched", ends              (now a child of systemd)
//!   sends sockets, learned state ------------------------------> finds the backends, listens
//!                                                                READY=1, MAINPID to systemd
//!   stops accepting, drains   <--------------------------------- "serving"
//!   ends                      ---------------------------------> sees the end of the link
//! ```
//!
//! The launcher is the double fork that systemd asks for: it follows only a main process that it is the parent
//! of. Whatever goes wrong before "serving" leaves the old process as it was.

pub mod link;

mod heir;
mod predecessor;

pub use heir::{Heir, Launch, Stop, UpgradeError, launch};
pub use predecessor::{Inheritance, Predecessor};

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

/// The hidden command of the launcher.
pub const LAUNCHER: &str = "launch-successor";
/// The hidden option that makes a `run` take over from the process at the other end of its standard input.
pub const TAKE_OVER: &str = "--take-over";

/// What the launcher does: starts the command, tells its id, and ends.
pub fn launcher(command: &[OsString]) -> io::Result<()> {
    let link = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::other("nothing to start"));
    };
    // systemd's id of the process to watch is the old one's.
    let started = Command::new(program).args(arguments).env_remove("WATCHDOG_PID").spawn();
    match started {
        Ok(child) => link::say(&link, &link::Word::Launched { pid: child.id() }),
        Err(error) => {
            let why = format!("{} cannot be started: {error}", program.display());
            link::say(&link, &link::Word::Failed { why })
        }
    }
}
