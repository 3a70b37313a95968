//! What a running process can take over of a changed file, and what has to wait for its successor.

use crate::config::checked::{Config, Listener};

/// The configuration that a process running `running` has after it reloaded `file`: everything of the file but
/// what is bound to the process: addresses, whether they speak TLS, threads, paths, the access log.
///
/// What waits stays as it runs, so that the next comparison with the file still tells of it.
pub fn adopt(running: &Config, file: Config) -> Config {
    let same = |old: &Listener, new: &Listener| old.tls.is_empty() == new.tls.is_empty();
    // Several with port 0 go by their order, as in `diff`.
    let mut left: Vec<&Listener> = file.listen.iter().collect();
    let mut take = |old: &Listener| {
        let at = left.iter().position(|new| new.address == old.address)?;
        Some(left.remove(at)).filter(|new| same(old, new))
    };
    let listen: Vec<Listener> =
        running.listen.iter().map(|old| take(old).unwrap_or(old).clone()).collect();
    Config {
        listen,
        admin: running.admin,
        admin_socket: running.admin_socket.clone(),
        state_directory: running.state_directory.clone(),
        threads: running.threads,
        log: running.log.clone(),
        ..file
    }
}
