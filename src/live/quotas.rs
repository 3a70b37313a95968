//! The limits of every app, carried over from snapshot to snapshot.

use crate::config::checked::{App, Config};
use crate::quota::{Limits, Quota};
use crate::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

/// By app. An app that was there before keeps its [`Quota`], so requests under way settle where they began.
pub(super) struct Quotas {
    by_app: BTreeMap<String, Arc<Quota>>,
}

impl Quotas {
    /// Changes nothing of what is live: a configuration that is only built must not.
    pub(super) fn build(config: &Config, previous: Option<&Self>) -> Self {
        let carried = |(name, app): (&String, &App)| {
            let old = previous.and_then(|previous| previous.by_app.get(name)).cloned();
            (name.clone(), old.unwrap_or_else(|| Arc::new(Quota::new(limits(app)))))
        };
        Self { by_app: config.apps.iter().map(carried).collect() }
    }

    /// The limits of this configuration hold from now on; what is used stays used.
    pub(super) fn change(&self, config: &Config, now: Time) {
        for (name, app) in &config.apps {
            if let Some(quota) = self.by_app.get(name) {
                quota.change(now, limits(app));
            }
        }
    }

    pub(super) fn get(&self, app: &str) -> Option<&Arc<Quota>> {
        self.by_app.get(app)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Quota)> {
        self.by_app.iter().map(|(name, quota)| (name.as_str(), &**quota))
    }
}

fn limits(app: &App) -> Limits {
    let limits = app.limits;
    Limits {
        requests_per_minute: limits.requests_per_minute,
        tokens_per_minute: limits.tokens_per_minute,
        concurrent: limits.concurrent,
    }
}
