//! What operators see of the traffic: metrics and the access log.
//!
//! Label values come from the configuration and from enums, never from a client, so that no request can
//! grow the number of series. Prompts, answers and credentials never come here.

pub mod access_log;
pub mod metrics;
mod tables;

pub use access_log::AccessLog;
pub use metrics::Metrics;
pub use tables::{METRICS, MetricRow};

use crate::live::LiveModel;
use crate::routing::Cause;
use crate::routing::Change;
use crate::routing::Event;
use crate::time::millis;

/// Everything a request reports to.
pub struct Telemetry {
    /// Counters, histograms, gauges.
    pub metrics: Metrics,
    /// One line per request.
    pub access_log: AccessLog,
}

impl Telemetry {
    /// Tells of a target's change: one event, in the service log and as a counter.
    pub fn target_changed(&self, model: &LiveModel, event: Event) {
        let Some(backend) = model.backends.get(event.target).map(|b| &*b.name) else { return };
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
}
