//! What systemd is told: ready, stopping, alive. Nothing happens where nobody listens.

use sd_notify::NotifyState;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often more time to stop is asked for.
const EXTEND_MICROSECONDS: u32 = 10_000_000;

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

/// Asks for more time to stop, again and again: the drain time is the configuration's, not the unit's.
pub fn extend_stop() -> JoinHandle<()> {
    tokio::spawn(async {
        loop {
            tell(&[NotifyState::ExtendTimeoutUsec(3 * EXTEND_MICROSECONDS)]);
            tokio::time::sleep(Duration::from_micros(EXTEND_MICROSECONDS.into())).await;
        }
    })
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
