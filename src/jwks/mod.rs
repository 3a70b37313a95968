//! The signing keys of tenants, kept fresh off the request path.
//!
//! A Pingora background service looks twice a second which tenant's keys are due ([`schedule`]) and fetches them,
//! each tenant by itself. A token that names an unknown key brings a fetch forward, at most once in 30 seconds: keys
//! may have been changed, and made-up key ids must not make us hammer Entra. Keys are kept whatever becomes of the
//! fetches for the next ones, without limit: an outage of Entra must not become ours. Their age is a metric. They are
//! also [kept] in the state directory, so that a process that starts during such an outage has them.

mod fetch;
mod kept;
mod schedule;

use crate::fetching;
use crate::live::{KeyCourse, Live, Snapshot, Tenant};
use crate::telemetry::Telemetry;
use async_trait::async_trait;
use futures_util::future::join_all;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Fetches signing keys.
#[derive(Clone)]
pub struct KeyFetcher {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
}

impl KeyFetcher {
    /// For what is live.
    pub fn new(live: Arc<Live>, telemetry: Arc<Telemetry>) -> Self {
        Self { live, telemetry }
    }

    /// Gets the keys of a snapshot's tenants that have none: those that a former process kept, else fresh ones. Tells
    /// what is lacking, line by line. What does not come within `limit` comes later, in the background.
    pub async fn fill(&self, snapshot: &Snapshot, limit: Duration) -> Vec<String> {
        let lacks = |tenant: &&Arc<Tenant>| tenant.keys().is_none();
        let all: Vec<_> = snapshot.tenants.iter().filter(lacks).map(Arc::clone).collect();
        join_all(all.iter().map(|tenant| self.restore(tenant))).await;
        let empty = all.iter().filter(lacks).map(|tenant| timeout(limit, self.fetch_due(tenant)));
        // What took too long is tried again by the service.
        join_all(empty).await;
        let missing = all.iter().filter(lacks).map(|tenant| {
            let why = tenant.course().error.unwrap_or_else(|| "it takes its time".to_owned());
            format!("no signing keys of the tenant {} yet, its tokens get 503: {why}", tenant.id())
        });
        missing.collect()
    }

    /// Publishes the keys that a former process kept.
    async fn restore(&self, tenant: &Arc<Tenant>) {
        let Some(directory) = self.directory() else { return };
        let (of, now) = (Arc::clone(tenant), self.live.clock().unix().as_secs());
        let loaded = spawn_blocking(move || kept::load(&directory, &of, now)).await;
        match loaded.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(Some((keys, fetched))) => {
                let age_seconds = now.saturating_sub(fetched);
                // The service may have been faster.
                if tenant.keys().is_none() {
                    tracing::info!(tenant = tenant.id(), age_seconds, "signing keys as last kept");
                    tenant.publish(keys, fetched);
                }
            }
            Ok(None) => {}
            Err(why) => {
                tracing::warn!(tenant = tenant.id(), why, "kept signing keys cannot be used");
            }
        }
    }

    /// A fetch that is due, if nobody else fetches.
    async fn fetch_due(&self, tenant: &Tenant) {
        let Some(_turn) = tenant.free_turn() else { return };
        let now = self.live.clock().now();
        let before = tenant.course();
        let last_wanted = if tenant.is_wanted() { Some(now) } else { before.last_wanted };
        tenant.grant();
        tenant.note(KeyCourse { last_wanted, ..before.clone() });
        let fetched = fetch::fetch(tenant).await;
        let result = if fetched.is_ok() { "ok" } else { "failed" };
        self.telemetry.metrics.jwks_fetches.with_label_values(&[tenant.id(), result]).inc();
        let (now, unit) = (self.live.clock().now(), self.live.rng().unit());
        match fetched {
            Ok(fetched) => {
                let due = schedule::after_keys(now, fetched.max_age, unit);
                tenant.note(KeyCourse { due, last_wanted, failures: 0, error: None });
                self.publish(tenant, fetched, &before).await;
            }
            Err(why) => {
                let failures = before.failures.saturating_add(1);
                let due = fetching::after_failure(now, failures, unit);
                let kept = tenant.keys().is_some();
                if before.error.as_ref() != Some(&why) {
                    tracing::warn!(
                        tenant = tenant.id(),
                        kept,
                        why,
                        "no signing keys fetched, tried again"
                    );
                }
                tenant.note(KeyCourse { due, last_wanted, failures, error: Some(why) });
            }
        }
    }

    async fn publish(&self, tenant: &Tenant, fetched: fetch::Fetched, before: &KeyCourse) {
        let fetch::Fetched { document, keys, .. } = fetched;
        let same = tenant.keys().is_some_and(|old| old.revision() == keys.revision());
        if !same || before.error.is_some() {
            let (count, unusable) = (keys.len(), keys.dropped());
            tracing::info!(
                tenant = tenant.id(),
                count,
                unusable,
                changed = !same,
                "signing keys fetched"
            );
        }
        let at = self.live.clock().unix().as_secs();
        tenant.publish(keys, at);
        let Some(directory) = self.directory() else { return };
        let of = (tenant.id().to_owned(), tenant.authority.clone());
        let saved = spawn_blocking(move || kept::save(&directory, &of, &document, at)).await;
        if let Err(why) = saved.unwrap_or_else(|error| Err(error.to_string())) {
            tracing::warn!(
                tenant = tenant.id(),
                why,
                "signing keys are not kept for the next start"
            );
        }
    }

    /// Where keys are kept, if anywhere.
    fn directory(&self) -> Option<PathBuf> {
        let snapshot = self.live.snapshot();
        // The default is done without where it does not exist.
        snapshot.config.state_directory.path().filter(|path| path.is_dir()).map(ToOwned::to_owned)
    }
}

/// The background service.
pub struct Jwks {
    fetcher: KeyFetcher,
}

impl Jwks {
    /// Over the tenants of what is live.
    pub fn new(live: Arc<Live>, telemetry: Arc<Telemetry>) -> Self {
        Self { fetcher: KeyFetcher::new(live, telemetry) }
    }

    /// The tenants whose fetch is due. Tells the age of all keys.
    fn due(&self) -> Vec<Arc<Tenant>> {
        let KeyFetcher { live, telemetry } = &self.fetcher;
        let (snapshot, now) = (live.snapshot(), live.clock().now());
        for tenant in snapshot.tenants.iter() {
            if let Some(fetched) = tenant.fetched() {
                let age = live.clock().unix().saturating_sub(Duration::from_secs(fetched));
                let gauge = telemetry.metrics.jwks_age.with_label_values(&[tenant.id()]);
                gauge.set(age.as_secs_f64());
            }
        }
        let is_due = |tenant: &&Arc<Tenant>| {
            let course = tenant.course();
            let wanted = tenant.is_wanted() && schedule::may_be_wanted(&course, now);
            wanted || schedule::is_due(&course, now)
        };
        snapshot.tenants.iter().filter(is_due).map(Arc::clone).collect()
    }
}

#[async_trait]
impl BackgroundService for Jwks {
    async fn start(&self, shutdown: ShutdownWatch) {
        let fetch = |tenant: Arc<Tenant>| async move { self.fetcher.fetch_due(&tenant).await };
        fetching::fetch_due(shutdown, || self.due(), fetch).await;
    }
}
