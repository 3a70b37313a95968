//! What the fetches of our tokens and of clients' signing keys have in common: who is due is looked for twice a second,
//! each fetch goes by itself, failures are tried again after growing pauses, and answers are read up to a limit from
//! the one place that the configuration names.

use crate::time::Time;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pingora_core::server::ShutdownWatch;
use reqwest::{Client, Response, redirect};
use std::future::Future;
use std::time::Duration;
use tokio::time::sleep;

/// How often it is looked for what is due.
pub(crate) const TICK: Duration = Duration::from_millis(500);
/// The longest pause between failures, but for its jitter.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Fetches what is due, each by itself, until the service is told to stop.
pub(crate) async fn fetch_due<T, F: Future<Output = ()>>(
    mut shutdown: ShutdownWatch,
    due: impl Fn() -> Vec<T>,
    fetch: impl Fn(T) -> F,
) {
    let mut running = FuturesUnordered::new();
    loop {
        running.extend(due().into_iter().map(&fetch));
        let next = sleep(TICK);
        tokio::pin!(next);
        loop {
            tokio::select! {
                () = &mut next => break,
                Some(()) = running.next(), if !running.is_empty() => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// When to try again after so many failures in a row: 1, 2, 4 ... 60 s, a fifth more or less by `unit`, which is 0 to 1
/// and keeps many instances from asking in step.
pub(crate) fn after_failure(now: Time, failures: u32, unit: f64) -> Time {
    let pause = Duration::from_secs(1_u64 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    now + pause.mul_f64(0.8 + 0.4 * unit.clamp(0.0, 1.0))
}

/// A client for one place, `scheme://host[:port]`. It follows no redirect. Reads the machine's authorities: for a thread
/// that may block.
pub(crate) fn client(place: &str, connect: Duration, whole: Duration) -> reqwest::Result<Client> {
    pingora_core::tls::install_default_crypto_provider();
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(connect)
        .timeout(whole);
    // The metadata service must not be asked through a proxy, and plain HTTP stays on this machine.
    if place.starts_with("http://") {
        builder = builder.no_proxy().tls_certs_only([]);
    }
    builder.build()
}

/// Why an answer was not read whole.
pub(crate) enum Unread {
    /// It has more bytes than it may.
    TooLong,
    /// It broke off.
    Broken(reqwest::Error),
}

/// The body of an answer, of at most so many bytes.
pub(crate) async fn read(mut answer: Response, most: usize) -> Result<Bytes, Unread> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(Unread::Broken)? {
        if body.len() + chunk.len() > most {
            return Err(Unread::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_sooner_first_and_every_minute_then() {
        let pause = |failures, unit| {
            let next = after_failure(Time::ZERO, failures, unit).since(Time::ZERO);
            (next + Duration::from_millis(500)).as_secs()
        };
        let middles: Vec<u64> = (1..=8).map(|n| pause(n, 0.5)).collect();
        assert_eq!(middles, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX, 0.0), 48);
        assert_eq!(pause(u32::MAX, 1.0), 72);
    }
}
