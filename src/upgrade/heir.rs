//! The old process's side: starts the new process, hands over, and waits until it serves.

use super::link::{self, Bequest, Reader, Word};
use super::{LAUNCHER, TAKE_OVER};
use parking_lot::Mutex;
use rustix::process::Signal;
use std::ffi::OsString;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
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
    /// This process was told to stop.
    #[error("this process was told to stop; the new one was ended")]
    Stopped,
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

impl Heir {
    /// Lets it read its configuration anew.
    pub fn reload(&self) {
        signal(self.pid, Signal::HUP);
    }

    /// Lets it drain and end.
    pub fn stop(&self) {
        signal(self.pid, Signal::TERM);
    }
}

/// Breaks a launch off, from another thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Mutex<(bool, Option<UnixStream>)>>);

impl Stop {
    /// Now, unless the new process serves already.
    pub fn now(&self) {
        let mut state = self.0.lock();
        state.0 = true;
        if let Some(link) = &state.1 {
            // What was said before is still read. A link that is broken needs no breaking.
            drop(link.shutdown(Shutdown::Read));
        }
    }

    fn is_asked(&self) -> bool {
        self.0.lock().0
    }

    fn breaks(&self, link: &UnixStream) -> Result<(), UpgradeError> {
        let mut state = self.0.lock();
        if state.0 {
            return Err(UpgradeError::Stopped);
        }
        state.1 = Some(link.try_clone()?);
        Ok(())
    }
}

/// Starts the new process and waits until it serves, at most `limit` and not when `stop` breaks it off. Blocks.
pub fn launch(
    launch: &Launch,
    bequest: &Bequest,
    sockets: &[OwnedFd],
    limit: Duration,
    stop: &Stop,
) -> Result<Heir, UpgradeError> {
    let (ours, theirs) = UnixStream::pair()?;
    stop.breaks(&ours)?;
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
    hand_over(&ours, bequest, sockets, &mut words).map(|()| Heir { pid, _link: ours }).map_err(
        |e| {
            // It never served. Whatever state it is in, nothing of it may stay.
            signal(pid, Signal::KILL);
            if stop.is_asked() {
                return UpgradeError::Stopped;
            }
            let UpgradeError::Start(io) = e else { return e };
            if is_timeout(&io) {
                UpgradeError::Late(limit)
            } else if is_broken(&io) {
                UpgradeError::Gone
            } else {
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
    let sent = link::send_sockets(to, sockets).and_then(|()| link::say(to, bequest));
    // One that could not be reached may have said why before it ended.
    match words.read::<Word>()? {
        Some(Word::Serving { .. }) => Ok(sent?),
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

/// What it holds of the sockets are copies: it takes nothing with it.
fn signal(pid: u32, signal: Signal) {
    let id = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let Some(id) = id else { return };
    if let Err(error) = rustix::process::kill_process(id, signal) {
        // It may have ended meanwhile.
        tracing::debug!(pid, ?signal, %error, "the new process cannot be signalled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_the_waiting_but_what_was_said_counts() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (stop, serving) = (Stop::default(), Word::Serving { pid: 7 });
        stop.breaks(&ours).unwrap();
        link::say(&theirs, &serving).unwrap();
        stop.now();
        let mut words = Reader::new(ours);
        assert_eq!(words.read::<Word>().unwrap(), Some(serving));
        assert_eq!(words.read::<Word>().unwrap(), None, "although the other end is open");
        assert!(matches!(stop.breaks(&theirs), Err(UpgradeError::Stopped)), "it came too early");
    }
}
