//! What systemd is told: ready, stopping, alive. Nothing happens where nobody listens.

use sd_notify::NotifyState;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Tells that this process serves, and that it is the main one from now on.
pub fn ready() {
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
    status("serving");
}

/// Tells that this process, the main one, ends.
pub fn stopping(in_flight: i64) {
    tell(&[NotifyState::Stopping]);
    status(&format!("draining, {in_flight} requests in flight"));
}

/// What `systemctl status` shows.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Tells again and again that the process lives, if the unit has a watchdog. It runs where requests run: if
/// they hang, it hangs. Aborted when another process is the main one.
pub fn watchdog() -> Option<JoinHandle<()>> {
    let every = sd_notify::watchdog_enabled()? / 3;
    Some(tokio::spawn(async move {
        loop {
            tell(&[NotifyState::Watchdog]);
            tokio::time::sleep(every.max(Duration::from_millis(100))).await;
        }
    }))
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
