//! Prometheus metrics. Each process part has its own registry, so that two proxies in one process (the
//! demo, the tests) do not mix.

use crate::live::Snapshot;
use crate::routing::State;
use crate::routing::View;
use crate::telemetry::tables;
use crate::telemetry::tables::MetricRow;
use crate::time::Time;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// Reasoning models think for minutes before their first token: the usual 10 s of a web server do not do.
const SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0,
    60.0, 120.0, 240.0,
];

macro_rules! families {
    ($($field:ident : $kind:ident = $row:ident;)*) => {
        /// Every series of one proxy. The fields are described in the table of `tables.rs`.
        #[expect(missing_docs, reason = "each field is the metric of the same name in the table")]
        pub struct Metrics {
            registry: Registry,
            $(pub $field: $kind,)*
        }

        impl Metrics {
            /// Registers everything.
            pub fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                let metrics = Self { $($field: Family::build(&tables::$row)?,)* registry };
                $(metrics.registry.register(Box::new(metrics.$field.clone()))?;)*
                metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
                Ok(metrics)
            }
        }
    };
}

families! {
    requests: IntCounterVec = REQUESTS;
    requests_in_flight: IntGauge = REQUESTS_IN_FLIGHT;
    client_ttft: HistogramVec = CLIENT_TTFT;
    client_aborts: IntCounterVec = CLIENT_ABORTS;
    auth_failures: IntCounterVec = AUTH_FAILURES;
    attempts: IntCounterVec = ATTEMPTS;
    picks: IntCounterVec = PICKS;
    ttft: HistogramVec = TTFT;
    first_byte: HistogramVec = FIRST_BYTE;
    retries: IntCounterVec = RETRIES;
    retry_budget_exhausted: IntCounterVec = RETRY_BUDGET_EXHAUSTED;
    tokens: IntCounterVec = TOKENS;
    target_degraded: IntGaugeVec = TARGET_DEGRADED;
    target_blocked: IntGaugeVec = TARGET_BLOCKED;
    target_score: GaugeVec = TARGET_SCORE;
    target_strikes: GaugeVec = TARGET_STRIKES;
    target_in_flight: IntGaugeVec = TARGET_IN_FLIGHT;
    target_limited: GaugeVec = TARGET_LIMITED;
    target_changes: IntCounterVec = TARGET_CHANGES;
    probes: IntCounterVec = PROBES;
    probe_ttft: HistogramVec = PROBE_TTFT;
    resolve_failures: IntCounterVec = RESOLVE_FAILURES;
    access_log_dropped: IntGauge = ACCESS_LOG_DROPPED;
    config_generation: IntGauge = CONFIG_GENERATION;
    build_info: IntGaugeVec = BUILD_INFO;
}

impl Metrics {
    /// The scrape, in Prometheus's text format. Readings of the targets are taken now.
    pub fn scrape(&self, snapshot: &Snapshot, now: Time) -> Result<Vec<u8>, prometheus::Error> {
        self.read_targets(snapshot, now);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    fn read_targets(&self, snapshot: &Snapshot, now: Time) {
        self.config_generation.set(i64::try_from(snapshot.generation).unwrap_or(i64::MAX));
        for model in snapshot.models() {
            let views = (0..model.backends.len()).filter_map(|target| model.pool.view(target, now));
            for (backend, view) in model.backends.iter().zip(views) {
                self.read_target([&model.name, &backend.name], &view);
            }
        }
    }
}

impl Metrics {
    fn read_target(&self, labels: [&str; 2], view: &View) {
        let degraded = view.state == State::Degraded;
        self.target_degraded.with_label_values(&labels).set(i64::from(degraded));
        self.target_blocked.with_label_values(&labels).set(i64::from(view.blocked));
        self.target_score.with_label_values(&labels).set(view.score_ms);
        self.target_strikes.with_label_values(&labels).set(view.strikes);
        self.target_in_flight.with_label_values(&labels).set(i64::from(view.in_flight));
        self.target_limited.with_label_values(&labels).set(view.limited.as_secs_f64());
    }
}

/// A kind of metric that can be made from a row of the table.
trait Family: Sized {
    fn build(row: &MetricRow) -> Result<Self, prometheus::Error>;
}

impl Family for IntCounterVec {
    fn build(row: &MetricRow) -> Result<Self, prometheus::Error> {
        Self::new(Opts::new(row.name, row.help), row.labels)
    }
}

impl Family for IntGaugeVec {
    fn build(row: &MetricRow) -> Result<Self, prometheus::Error> {
        Self::new(Opts::new(row.name, row.help), row.labels)
    }
}

impl Family for GaugeVec {
    fn build(row: &MetricRow) -> Result<Self, prometheus::Error> {
        Self::new(Opts::new(row.name, row.help), row.labels)
    }
}

impl Family for HistogramVec {
    fn build(row: &MetricRow) -> Result<Self, prometheus::Error> {
        Self::new(HistogramOpts::new(row.name, row.help).buckets(SECONDS.to_vec()), row.labels)
    }
}

impl Family for IntGauge {
    fn build(row: &MetricRow) -> Result<Self, prometheus::Error> {
        Self::with_opts(Opts::new(row.name, row.help))
    }
}
