//! The tokens of our own identities, kept fresh off the request path.
//!
//! A Pingora background service looks twice a second which slot's fetch is due ([`schedule`]) and fetches it, each by
//! itself. A token is kept until it ends, whatever becomes of the fetches for the next one. Where none is left, the
//! backends' targets are blocked ([`Live::settle_tokens`]) until one comes.
//!
//! Everything there is to know of a slot is in the slot, so that a start, a reload and a probe may fetch, too: one at
//! a time.

mod fetch;
mod schedule;
mod transport;
mod trouble;

use crate::fetching;
use crate::live::{Live, Snapshot, TokenSlot};
use crate::telemetry::Telemetry;
use async_trait::async_trait;
use futures_util::future::join_all;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use schedule::Usable;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use trouble::Trouble;

/// How long a fetch of the service may take: the metadata service may be away for 70 s while it is updated, and is
/// asked again all that time.
const FETCH: Duration = Duration::from_secs(90);

/// Fetches tokens.
#[derive(Clone)]
pub struct Refresher {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
}

impl Refresher {
    /// For what is live.
    pub fn new(live: Arc<Live>, telemetry: Arc<Telemetry>) -> Self {
        Self { live, telemetry }
    }

    /// Fetches the tokens that a snapshot lacks, so that it can be made live with them, and tells
    /// what is lacking still, line by line. What does not come within `limit` comes later, in the background.
    pub async fn fetch_missing(&self, snapshot: &Snapshot, limit: Duration) -> Vec<String> {
        let lacks = |slot: &&Arc<TokenSlot>| !slot.is_usable(self.live.clock().unix());
        let new = snapshot.tokens().filter(lacks);
        join_all(new.map(|slot| self.refresh_due(slot, limit))).await;
        let missing = snapshot.tokens().filter(lacks).map(|slot| {
            let why = slot.course().error.unwrap_or_else(|| "it takes its time".to_owned());
            format!(
                "no token for {} yet, its backends get nothing until it comes: {why}",
                slot.name()
            )
        });
        missing.collect()
    }

    /// A backend refused the token of a slot: fetches another, unless that was done lately, or somebody did so
    /// meanwhile. Returns when it is over, and after `limit` at the latest.
    pub async fn renew(&self, slot: &TokenSlot, limit: Duration) {
        let before = slot.revision();
        let renewal = async {
            let _turn = slot.turn().await;
            if slot.revision() == before && slot.take_renewal(self.live.clock().now()) {
                self.refresh(slot, limit).await;
            }
        };
        // Whoever waits for another's fetch does not wait for ever.
        drop(timeout(limit + fetching::TICK, renewal).await);
    }

    /// A fetch that is due, if nobody else fetches.
    async fn refresh_due(&self, slot: &TokenSlot, limit: Duration) {
        if let Some(_turn) = slot.free_turn() {
            self.refresh(slot, limit).await;
        }
    }

    /// Fetches; whoever calls has the turn.
    async fn refresh(&self, slot: &TokenSlot, limit: Duration) {
        let source = slot.source().clone();
        // By itself: should the library panic over an answer, the others' tokens are fetched all the same.
        let fetched = tokio::spawn(async move { fetch::fetch(&source, limit).await }).await;
        let fetched = fetched.unwrap_or(Err(Trouble::Garbage));
        let (unix, unit) = (self.live.clock().unix(), self.live.rng().unit());
        let now = self.live.clock().now();
        let fetched = match fetched {
            Ok(token) if token.left(unix).is_zero() => Err(Trouble::Expired),
            fetched => fetched,
        };
        let result = if fetched.is_ok() { "ok" } else { "failed" };
        self.telemetry.metrics.identity_refreshes.with_label_values(&[slot.name(), result]).inc();
        let before = slot.course();
        match fetched {
            Ok(token) => {
                slot.note(schedule::after_token(now, token.left(unix), unit), None);
                let (identity, expires_seconds) = (slot.name(), token.left(unix).as_secs());
                let first = slot.expires().is_none();
                slot.publish(token);
                if first || before.error.is_some() {
                    tracing::info!(identity, expires_seconds, "token fetched");
                }
            }
            Err(trouble) => {
                let why = trouble.told(slot.source());
                let due = fetching::after_failure(now, before.failures.saturating_add(1), unit);
                if before.error.as_ref() != Some(&why) {
                    let (identity, kept) = (slot.name(), slot.is_usable(unix));
                    tracing::warn!(identity, kept, why, "no token fetched, it is tried again");
                }
                slot.note(due, Some(why));
            }
        }
        self.live.settle_tokens();
    }
}

/// The background service.
pub struct Identities {
    refresher: Refresher,
}

impl Identities {
    /// Over the identities of what is live.
    pub fn new(live: Arc<Live>, telemetry: Arc<Telemetry>) -> Self {
        Self { refresher: Refresher::new(live, telemetry) }
    }

    /// What tokens' ends alone change, and the slots whose fetch is due.
    fn tick(&self) -> Vec<Arc<TokenSlot>> {
        let live = &self.refresher.live;
        let (snapshot, unix, now) = (live.snapshot(), live.clock().unix(), live.clock().now());
        live.settle_tokens();
        for slot in snapshot.tokens().filter(|slot| slot.ran_out(unix)) {
            let (identity, why) = (slot.name(), slot.course().error.unwrap_or_default());
            tracing::error!(
                identity,
                why,
                "token ended, its backends get nothing until another comes"
            );
        }
        let is_due = |slot: &&Arc<TokenSlot>| {
            let usable = if slot.is_usable(unix) { Usable::Yes } else { Usable::No };
            schedule::is_due(slot.course().due, now, usable)
        };
        snapshot.tokens().filter(is_due).cloned().collect()
    }
}

#[async_trait]
impl BackgroundService for Identities {
    async fn start(&self, shutdown: ShutdownWatch) {
        let fetch = |slot: Arc<TokenSlot>| async move {
            self.refresher.refresh_due(&slot, FETCH).await;
        };
        fetching::fetch_due(shutdown, || self.tick(), fetch).await;
    }
}
