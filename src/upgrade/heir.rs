//! The old process's side: starts the new process, hands over, and waits until it serves.

use super::link::{self, Bequest, Reader, Word};
use super::{LAUNCHER, TAKE_OVER};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The binary that runs, whatever stands at its path now.
const THIS_BINARY: &str = "/proc/self/exe";

/// How the process was started; the new one is started the same way.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The path of the binary, as it was at the start: where an upgrade puts the new one.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// Lets an order to stop reach a process that is being started: otherwise it would serve when this one is gone.
#[derive(Debug, Default)]
pub struct Halt(Mutex<Halted>);

#[derive(Debug, Default)]
enum Halted {
    #[default]
    No,
    /// Not so far; there is a process of that id.
    Started(u32),
    Yes,
}

impl Halt {
    /// Tells the new process to stop, now or as soon as it is there.
    pub fn halt(&self) {
        let mut halted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Halted::Started(pid) = std::mem::replace(&mut *halted, Halted::Yes) {
            send(pid, Signal::TERM);
        }
    }

    fn started(&self, pid: u32) {
        let mut halted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *halted {
            Halted::Yes => send(pid, Signal::TERM),
            Halted::No | Halted::Started(_) => *halted = Halted::Started(pid),
        }
    }
}

/// Why there was no upgrade. The old process serves on.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// It could not be started, or not be talked to.
    #[error("the new process cannot be started: {0}")]
    Start(#[from] io::Error),
    /// It said why it cannot serve.
    #[error("the new process cannot serve: {0}")]
    Failed(String),
    /// It ended without a word.
    #[error(
        "the new process ended before it served; its own log lines, or `firstlight check`, say why"
    )]
    Gone,
    /// It took too long and was ended.
    #[error("the new process did not serve within {} s and was ended", .0.as_secs())]
    Late(Duration),
}

/// The new process. Dropped, the link is closed, which tells the new process that this one is gone.
#[derive(Debug)]
pub struct Heir {
    /// Its process id.
    pub pid: u32,
    _link: UnixStream,
}

impl Launch {
    /// How this process was started. Taken at the start: later the file may have been replaced.
    pub fn of_this_process() -> io::Result<Self> {
        let own = |argument: &OsString| argument != TAKE_OVER;
        let arguments = std::env::args_os().skip(1).filter(own).collect();
        Ok(Self { program: std::env::current_exe()?, arguments })
    }
}

/// Starts the new process and waits until it serves, at most `limit`. Blocks.
pub fn launch(
    launch: &Launch,
    bequest: &Bequest,
    sockets: &[OwnedFd],
    limit: Duration,
    halt: &Halt,
) -> Result<Heir, UpgradeError> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(limit))?;
    ours.set_write_timeout(Some(limit))?;
    let mut launcher = start_launcher(launch, theirs)?;
    let mut words = Reader::new(ours.try_clone()?);
    let launched = words.read::<Word>();
    if is_late(&launched) {
        // It has nothing to wait for.
        launcher.kill()?;
    }
    // Its end makes the new process a child of systemd, which follows none but its own.
    launcher.wait()?;
    let pid = match launched? {
        Some(Word::Launched { pid }) => pid,
        Some(Word::Failed { why }) => return Err(UpgradeError::Failed(why)),
        Some(Word::Serving { .. }) | None => return Err(UpgradeError::Gone),
    };
    halt.started(pid);
    hand_over(&ours, bequest, sockets, &mut words).map(|()| Heir { pid, _link: ours }).map_err(
        |e| {
            let UpgradeError::Start(io) = e else { return e };
            if is_timeout(&io) {
                end(pid);
                UpgradeError::Late(limit)
            } else if is_broken(&io) {
                UpgradeError::Gone
            } else {
                end(pid);
                UpgradeError::Start(io)
            }
        },
    )
}

fn start_launcher(launch: &Launch, link: UnixStream) -> io::Result<Child> {
    Command::new(THIS_BINARY)
        .arg(LAUNCHER)
        .arg("--")
        .arg(&launch.program)
        .args(&launch.arguments)
        .arg(TAKE_OVER)
        .stdin(Stdio::from(OwnedFd::from(link)))
        .spawn()
}

fn hand_over(
    to: &UnixStream,
    bequest: &Bequest,
    sockets: &[OwnedFd],
    words: &mut Reader,
) -> Result<(), UpgradeError> {
    link::send_sockets(to, sockets)?;
    // A new process that ended already said why.
    let said = link::say(to, bequest);
    match words.read::<Word>()? {
        Some(Word::Serving { .. }) => Ok(said?),
        Some(Word::Failed { why }) => Err(UpgradeError::Failed(why)),
        Some(Word::Launched { .. }) | None => Err(UpgradeError::Gone),
    }
}

fn is_late<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(is_timeout)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

/// Ends a process that hangs. It never served, and what it holds of the sockets are copies.
fn end(pid: u32) {
    send(pid, Signal::KILL);
}

fn send(pid: u32, signal: Signal) {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(id) = id else { return };
    if let Err(error) = kill_process(id, signal) {
        // It may have ended meanwhile, which is as good.
        tracing::info!(pid, %error, "the new process was not ended");
    }
}
