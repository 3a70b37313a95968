//! What a running process can take over of a changed file, and what has to wait for its successor.

use crate::config::checked::{Config, Listener};

/// The configuration that a process running `running` has after it reloaded `file`: everything of the file but
/// what is bound to the process: addresses, whether they speak TLS, threads, paths, the access log.
///
/// What waits stays as it runs, so that the next comparison with the file still tells of it.
pub fn adopt(running: &Config, file: Config) -> Config {
    let same = |old: &Listener, new: &&Listener| {
        old.address == new.address && old.tls.is_empty() == new.tls.is_empty()
    };
    let listen = running
        .listen
        .iter()
        .map(|old| file.listen.iter().find(|new| same(old, new)).unwrap_or(old).clone());
    Config {
        listen: listen.collect(),
        admin: running.admin,
        admin_socket: running.admin_socket.clone(),
        state_directory: running.state_directory.clone(),
        threads: running.threads,
        log: running.log.clone(),
        ..file
    }
}
