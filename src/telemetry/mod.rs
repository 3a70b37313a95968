//! What operators see of the traffic: metrics and the access log.
//!
//! Label values come from the configuration and from enums, never from a client, so that no request can
//! grow the number of series. Prompts, answers and credentials never come here.

pub mod access_log;
pub mod metrics;
mod readings;
mod tables;

pub use access_log::AccessLog;
pub use metrics::Metrics;
pub use tables::{METRICS, MetricRow};

use crate::live::LiveModel;
use crate::routing::Cause;
use crate::routing::Change;
use crate::routing::Event;
use crate::time::Time;
use crate::time::millis;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

type Model = Arc<str>;
type Backend = Arc<str>;

/// Everything a request reports to.
pub struct Telemetry {
    /// Counters, histograms, gauges.
    pub metrics: Metrics,
    /// One line per request.
    pub access_log: AccessLog,
    /// Since when which target of which model is degraded.
    out: Mutex<BTreeMap<(Model, Backend), Time>>,
}

impl Telemetry {
    /// Everything at its start.
    pub fn new(metrics: Metrics, access_log: AccessLog) -> Self {
        Self { metrics, access_log, out: Mutex::default() }
    }

    /// Tells of a target's change: one event, in the service log and as a counter.
    pub fn target_changed(&self, model: &LiveModel, event: Event, now: Time) {
        let Some(backend) = model.backends.get(event.target).map(|b| &b.name) else { return };
        self.time_outage((&model.name, backend), event.change, now);
        let backend = &**backend;
        let model = &*model.name;
        let change = match event.change {
            Change::Degraded(Cause::Slow) => "degraded_slow",
            Change::Degraded(Cause::Errors) => "degraded_errors",
            Change::Recovering => "recovering",
            Change::Recovered => "recovered",
            Change::Limited(_) => "limited",
        };
        match event.change {
            Change::Degraded(_) => tracing::warn!(model, backend, change, "target degraded"),
            Change::Recovering => tracing::info!(model, backend, "target recovering"),
            Change::Recovered => tracing::info!(model, backend, "target recovered"),
            Change::Limited(wait) => {
                tracing::info!(model, backend, wait_ms = millis(wait), "target limited");
            }
        }
        self.metrics.target_changes.with_label_values(&[model, backend, change]).inc();
    }

    /// Tells of a target that starts as the former process left it. Its outage is timed from now on.
    pub fn starts_degraded(&self, model: &LiveModel, target: usize, now: Time) {
        let Some(backend) = model.backends.get(target).map(|b| &b.name) else { return };
        tracing::warn!(model = &*model.name, backend = &**backend, "target is degraded still");
        self.time_outage((&model.name, backend), Change::Degraded(Cause::Slow), now);
    }

    fn time_outage(&self, (model, backend): (&Arc<str>, &Arc<str>), change: Change, now: Time) {
        let target = (Arc::clone(model), Arc::clone(backend));
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Degraded(_) => {
                out.entry(target).or_insert(now);
            }
            Change::Recovering | Change::Recovered => {
                if let Some(since) = out.remove(&target) {
                    let seconds = self.metrics.target_out.with_label_values(&[model, backend]);
                    seconds.inc_by(now.since(since).as_secs_f64());
                }
            }
            Change::Limited(_) => {}
        }
    }
}
