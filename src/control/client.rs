//! The other end of the admin socket: asks a running process.

use super::protocol::{Answer, Command};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than any command takes: an upgrade waits for the new process.
const PATIENCE: Duration = Duration::from_mins(3);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody listens there, or it may not be opened.
    #[error(
        "cannot reach a running firstlight at {path}: {source}; is it running, is this its `admin.socket` \
         (--socket), and may you open it (sudo)?", path = path.display()
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It broke off, or said what cannot be read.
    #[error("the process at {path} gave no answer: {why}; its log says more", path = path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What happened.
        why: String,
    },
}

/// Asks, and waits for the answer.
pub fn ask(path: &Path, command: &Command) -> Result<Answer, NoAnswer> {
    let unreachable = |source| NoAnswer::Unreachable { path: path.to_owned(), source };
    let broken = |why: String| NoAnswer::Broken { path: path.to_owned(), why };
    let stream = UnixStream::connect(path).map_err(unreachable)?;
    converse(&stream, command).map_err(|e| broken(e.to_string()))
}

fn converse(mut stream: &UnixStream, command: &Command) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
    }
    Ok(serde_json::from_str(&answer)?)
}
