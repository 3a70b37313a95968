//! What operators see of the traffic: metrics and the access log.
//!
//! Label values come from the configuration and from enums, never from a client, so that no request can
//! grow the number of series. Prompts, answers and credentials never come here.

pub mod access_log;
pub mod metrics;
mod readings;
mod recent;
mod tables;

pub use access_log::AccessLog;
pub use metrics::Metrics;
pub use recent::{Recent, Times};
pub use tables::{METRICS, MetricRow};

use crate::live::{Live, LiveModel};
use crate::routing::Cause;
use crate::routing::Change;
use crate::routing::Event;
use crate::time::Time;
use crate::time::millis;
use recent::ByTarget;
use std::sync::Arc;
use std::time::Duration;

/// Everything a request reports to.
pub struct Telemetry {
    /// Counters, histograms, gauges.
    pub metrics: Metrics,
    /// One line per request.
    pub access_log: AccessLog,
    /// What happened lately at each target.
    recent: ByTarget,
}

impl Telemetry {
    /// Everything at its start.
    pub fn new(metrics: Metrics, access_log: AccessLog) -> Self {
        Self { metrics, access_log, recent: ByTarget::default() }
    }

    /// A configuration was made live just now: readings of what is not in it any more are forgotten.
    pub fn config_loaded(&self, live: &Live) {
        let seconds = i64::try_from(live.clock().unix().as_secs()).unwrap_or(i64::MAX);
        self.metrics.config_loaded.set(seconds);
        self.metrics.forget_readings();
        let snapshot = live.snapshot();
        let position = |model: &str, backend: &str| snapshot.model(model)?.pool.position(backend);
        self.recent.retain(|model, backend| position(model, backend).is_some());
    }

    /// An answer's first token came.
    pub fn first_token(&self, target: (&Arc<str>, &Arc<str>), ttft: Duration) {
        self.recent.change(target, |recent| recent.ttft.add(millis(ttft)));
    }

    /// An answer reported that it took so many tokens.
    pub fn add_tokens(&self, target: (&Arc<str>, &Arc<str>), tokens: u64) {
        self.recent.change(target, |recent| {
            recent.tokens = recent.tokens.saturating_add(tokens);
        });
    }

    /// What happened lately at a target.
    pub fn recent(&self, model: &str, backend: &str) -> Recent {
        self.recent.get(model, backend)
    }

    /// Tells of a target's change: one event, in the service log and as a counter.
    pub fn target_changed(&self, model: &LiveModel, event: Event, now: Time) {
        let Some(backend) = model.backends.get(event.target).map(|b| &b.name) else { return };
        let why = in_words(model, event, now);
        self.recent.change((&model.name, backend), |recent| {
            recent.event = Some((why, now));
        });
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
        let out = self.recent.change((model, backend), |recent| match change {
            Change::Degraded(_) => {
                recent.out_since.get_or_insert(now);
                None
            }
            Change::Recovering | Change::Recovered => recent.out_since.take(),
            Change::Limited(_) => None,
        });
        if let Some(since) = out {
            let seconds = self.metrics.target_out.with_label_values(&[model, backend]);
            seconds.inc_by(now.since(since).as_secs_f64());
        }
    }
}

/// A change in words, with the figures that it rests on.
fn in_words(model: &LiveModel, event: Event, now: Time) -> String {
    let view = model.pool.view(event.target, now);
    let figures = view.map(|view| match view.base_ms {
        Some(base) => format!("score {:.0} ms, base {base:.0} ms", view.score_ms),
        None => format!("score {:.0} ms", view.score_ms),
    });
    let figures = figures.unwrap_or_default();
    match event.change {
        Change::Degraded(Cause::Slow) => format!("degraded: slow first tokens ({figures})"),
        Change::Degraded(Cause::Errors) => format!("degraded: errors ({figures})"),
        Change::Recovering => format!("recovering: its probes are good ({figures})"),
        Change::Recovered => format!("recovered ({figures})"),
        Change::Limited(wait) => format!("limited: 429, rests {:.1} s", wait.as_secs_f64()),
    }
}
