//! The admin socket: a unix socket that only root, the service's user and its group can open. Those of the
//! group may look; what changes something asks for root or the service's own user.

use super::Operator;
use super::protocol::{Answer, Command};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// The longest command.
const MOST_BYTES: u64 = 16 << 10;
/// How long a command may take to come.
const ASKING: Duration = Duration::from_secs(5);
/// Commands at a time.
const AT_ONCE: usize = 16;
/// Owner and group.
const MODE: u32 = 0o660;

/// Binds the socket. One that a dead process left is replaced; one that answers is another process's.
pub fn bind(path: &Path) -> io::Result<StdListener> {
    let listener = match StdListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(error.kind(), "another process answers there"));
            }
            if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(io::Error::new(error.kind(), "a file that is no socket is there"));
            }
            std::fs::remove_file(path)?;
            StdListener::bind(path)?
        }
        other => other?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers commands for ever.
pub async fn serve(listener: UnixListener, operator: Arc<Operator>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let operator = Arc::clone(&operator);
                tokio::spawn(async move {
                    let _place = place;
                    // Whoever asked may have left.
                    drop(converse(stream, &operator).await);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "admin socket: connection not accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, operator: &Operator) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let (reading, mut writing) = stream.split();
    let mut line = Vec::new();
    let mut reading = BufReader::new(reading.take(MOST_BYTES));
    let asked = tokio::time::timeout(ASKING, reading.read_until(b'\n', &mut line)).await;
    let answer = match asked {
        Ok(Ok(_)) => match serde_json::from_slice::<Command>(&line) {
            Ok(command) => answer(operator, command, peer).await,
            Err(error) => {
                let version = env!("CARGO_PKG_VERSION");
                Answer::refused(&format!("not understood by firstlight {version}: {error}"))
            }
        },
        Ok(Err(error)) => return Err(error),
        Err(_) => Answer::refused("no command came"),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writing.write_all(&text).await?;
    writing.shutdown().await
}

async fn answer(operator: &Operator, command: Command, peer: tokio::net::unix::UCred) -> Answer {
    let own = rustix::process::geteuid().as_raw();
    if !may(&command, peer.uid(), own) {
        tracing::warn!(uid = peer.uid(), ?command, "admin socket: not allowed");
        return Answer::refused(&format!(
            "user {} may look, but not change anything; ask as root",
            peer.uid()
        ));
    }
    if !command.only_looks() {
        tracing::info!(uid = peer.uid(), pid = peer.pid(), ?command, "admin socket: command");
    }
    operator.obey(command).await
}

/// Whether a user may ask for a command of a process that runs as `own`.
fn may(command: &Command, uid: u32, own: u32) -> bool {
    command.only_looks() || uid == 0 || uid == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_may_look_and_only_root_and_ourselves_may_act() {
        for uid in [0, 61_000, 1_000] {
            assert!(may(&Command::Status, uid, 61_000));
            assert_eq!(may(&Command::Reload, uid, 61_000), uid != 1_000);
            assert_eq!(may(&Command::Upgrade, uid, 61_000), uid != 1_000);
        }
    }

    #[test]
    fn a_dead_process_s_socket_is_replaced_and_a_living_one_s_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(StdListener::bind(&path).unwrap());
        let listener = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert!(bind(&path).unwrap_err().to_string().contains("another process"));
        drop(listener);
        let file = directory.path().join("a-file");
        std::fs::write(&file, "kept").unwrap();
        assert!(bind(&file).unwrap_err().to_string().contains("no socket"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
        assert!(bind(&directory.path().join("none/admin.sock")).is_err());
    }
}
