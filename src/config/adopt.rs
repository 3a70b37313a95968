//! What a running process can take over of a changed file, and what has to wait for its successor.

use crate::config::checked::{Config, Listener};
use crate::config::loopback;
use crate::config::problem::Problem;

/// The configuration that a process running `running` has after it reloaded `file`: everything of the file but
/// what is bound to the process: addresses, whether they speak TLS, threads, paths, the access log.
///
/// What waits stays as it runs, so that the next comparison with the file still tells of it. An error where the two must
/// not stand together: the file trusts this machine, say, and the listeners that run are open to others.
pub fn adopt(running: &Config, file: Config) -> Result<Config, String> {
    let same = |old: &Listener, new: &Listener| old.tls.is_empty() == new.tls.is_empty();
    // Several with port 0 go by their order, as in `diff`.
    let mut left: Vec<&Listener> = file.listen.iter().collect();
    let mut take = |old: &Listener| {
        let at = left.iter().position(|new| new.address == old.address)?;
        Some(left.remove(at))
    };
    let adopted = |old: &Listener| match take(old) {
        Some(new) if same(old, new) => new.clone(),
        // Who may use the address holds at once, however it will speak.
        Some(new) => Listener { apps: new.apps.clone(), ..old.clone() },
        None => old.clone(),
    };
    let listen: Vec<Listener> = running.listen.iter().map(adopted).collect();
    let adopted = Config {
        listen,
        admin: running.admin,
        admin_socket: running.admin_socket.clone(),
        state_directory: running.state_directory.clone(),
        threads: running.threads,
        log: running.log.clone(),
        ..file
    };
    match loopback::conflicts(&adopted).first() {
        None => Ok(adopted),
        Some(problem) => Err(told(problem)),
    }
}

/// A problem that neither configuration has by itself.
fn told(Problem { path, wrong, .. }: &Problem) -> String {
    format!(
        "{path}: {wrong}, as long as this process runs; use `firstlight upgrade`, which takes over all of the file"
    )
}
