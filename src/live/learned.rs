//! What the process has learned and its operators have ordered, for the next process.
//!
//! Requests that name no model have a pool, too; nothing is learned of it, since none of them is timed.

use crate::live::{Live, LiveModel};
use crate::routing::{LearnedPool, Recalled};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// When it was written, by the machine's clock.
    pub saved_at_unix_seconds: u64,
    /// The backends that an operator drained.
    pub drained: BTreeSet<String>,
    /// What was learned, by model.
    pub models: BTreeMap<String, LearnedPool>,
}

impl Live {
    /// Everything that the next process should know.
    pub fn learned(&self) -> Learned {
        let now = self.clock().now();
        let snapshot = self.snapshot();
        let pools = snapshot.models().map(|m| (m.name.to_string(), m.pool.learned(now)));
        Learned {
            saved_at_unix_seconds: self.clock().unix().as_secs(),
            drained: self.drained(),
            models: pools.collect(),
        }
    }

    /// Starts with what a former process knew, by the names of models and backends; call it before requests
    /// come. What was learned fades with its age (see [`crate::routing::Pool::recall`]), an operator's drain does
    /// not.
    pub fn recall(&self, learned: &Learned) -> Vec<(Arc<LiveModel>, Recalled)> {
        self.drain_also(&learned.drained);
        let now = self.clock().now();
        let saved_at = Duration::from_secs(learned.saved_at_unix_seconds);
        let age = self.clock().unix().saturating_sub(saved_at);
        let snapshot = self.snapshot();
        let known = snapshot.models().filter_map(|m| Some((m, learned.models.get(&*m.name)?)));
        known.map(|(model, pool)| (Arc::clone(model), model.pool.recall(pool, age, now))).collect()
    }
}
