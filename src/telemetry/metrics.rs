//! Prometheus metrics. Each process part has its own registry, so that two proxies in one process (the
//! demo, the tests) do not mix.

use crate::live::Snapshot;
use crate::telemetry::tables;
use crate::telemetry::tables::MetricRow;
use crate::time::Time;
use prometheus::{
    CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::sync::{Mutex, PoisonError};

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
            /// Held while readings are taken: a counter is brought up to date by what it lacks.
            reading: Mutex<()>,
            $(pub $field: $kind,)*
        }

        impl Metrics {
            /// Registers everything.
            pub fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                let reading = Mutex::default();
                let metrics = Self { $($field: Family::build(&tables::$row)?,)* registry, reading };
                $(metrics.registry.register(Box::new(metrics.$field.clone()))?;)*
                metrics.config_last_reload_successful.set(1);
                metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
                Ok(metrics)
            }
        }
    };
}

families! {
    requests: IntCounterVec = REQUESTS;
    requests_in_flight: IntGauge = REQUESTS_IN_FLIGHT;
    realtime_sessions: IntGaugeVec = REALTIME_SESSIONS;
    requests_malformed: IntCounterVec = REQUESTS_MALFORMED;
    connections: IntGaugeVec = CONNECTIONS;
    connections_refused: IntCounterVec = CONNECTIONS_REFUSED;
    client_ttft: HistogramVec = CLIENT_TTFT;
    client_aborts: IntCounterVec = CLIENT_ABORTS;
    auth_failures: IntCounterVec = AUTH_FAILURES;
    quota_refused: IntCounterVec = QUOTA_REFUSED;
    quota_remaining: IntGaugeVec = QUOTA_REMAINING;
    shed: IntCounterVec = SHED;
    attempts: IntCounterVec = ATTEMPTS;
    picks: IntCounterVec = PICKS;
    ttft: HistogramVec = TTFT;
    ttft_by_effort: HistogramVec = TTFT_BY_EFFORT;
    first_byte: HistogramVec = FIRST_BYTE;
    retries: IntCounterVec = RETRIES;
    retry_budget_exhausted: IntCounterVec = RETRY_BUDGET_EXHAUSTED;
    hedges: IntCounterVec = HEDGES;
    hedge_lead: HistogramVec = HEDGE_LEAD;
    hedge_tokens_left: GaugeVec = HEDGE_TOKENS_LEFT;
    hedge_tokens_spent: CounterVec = HEDGE_TOKENS_SPENT;
    stored_copies: IntCounterVec = STORED_COPIES;
    stream_gap: HistogramVec = STREAM_GAP;
    stream_rate: HistogramVec = STREAM_RATE;
    tokens: IntCounterVec = TOKENS;
    tokens_estimated: IntCounterVec = TOKENS_ESTIMATED;
    target_degraded: IntGaugeVec = TARGET_DEGRADED;
    target_state: IntGaugeVec = TARGET_STATE;
    target_out: CounterVec = TARGET_OUT;
    target_blocked: IntGaugeVec = TARGET_BLOCKED;
    target_score: GaugeVec = TARGET_SCORE;
    target_base: GaugeVec = TARGET_BASE;
    target_expected: GaugeVec = TARGET_EXPECTED;
    target_strikes: GaugeVec = TARGET_STRIKES;
    target_in_flight: IntGaugeVec = TARGET_IN_FLIGHT;
    target_seats: IntGaugeVec = TARGET_SEATS;
    target_late: IntGaugeVec = TARGET_LATE;
    target_limited: GaugeVec = TARGET_LIMITED;
    target_limited_tokens: GaugeVec = TARGET_LIMITED_TOKENS;
    target_served_rate: GaugeVec = TARGET_SERVED_RATE;
    target_changes: IntCounterVec = TARGET_CHANGES;
    suspect_models: IntGaugeVec = SUSPECT_MODELS;
    pool_late_mult: GaugeVec = POOL_LATE_MULT;
    pool_now: GaugeVec = POOL_NOW;
    pool_base: GaugeVec = POOL_BASE;
    pool_ratio: GaugeVec = POOL_RATIO;
    pool_overflow: GaugeVec = POOL_OVERFLOW;
    pool_all_slow: IntGaugeVec = POOL_ALL_SLOW;
    trips_blocked: IntCounterVec = TRIPS_BLOCKED;
    rebased: IntCounterVec = REBASED;
    probes: IntCounterVec = PROBES;
    probe_seconds: HistogramVec = PROBE_SECONDS;
    resolve_failures: IntCounterVec = RESOLVE_FAILURES;
    access_log_dropped: IntGauge = ACCESS_LOG_DROPPED;
    config_generation: IntGauge = CONFIG_GENERATION;
    config_reloads: IntCounterVec = CONFIG_RELOADS;
    config_last_reload_successful: IntGauge = CONFIG_LAST_RELOAD_SUCCESSFUL;
    config_loaded: IntGauge = CONFIG_LOADED;
    certificate_expires: IntGaugeVec = CERTIFICATE_EXPIRES;
    identity_expiry: IntGaugeVec = IDENTITY_EXPIRY;
    key_expires: IntGaugeVec = KEY_EXPIRES;
    jwks_fetches: IntCounterVec = JWKS_FETCHES;
    jwks_age: GaugeVec = JWKS_AGE;
    identity_refreshes: IntCounterVec = IDENTITY_REFRESHES;
    state_saves: IntCounterVec = STATE_SAVES;
    state_saved: IntGauge = STATE_SAVED;
    kept_ids: IntGauge = KEPT_IDS;
    build_info: IntGaugeVec = BUILD_INFO;
}

impl Metrics {
    /// Forgets what is read anew at each scrape, so that nothing stays of what is gone.
    pub(super) fn forget_readings(&self) {
        let readings: [&GaugeVec; 14] = [
            &self.jwks_age,
            &self.target_score,
            &self.target_base,
            &self.target_expected,
            &self.target_strikes,
            &self.target_limited,
            &self.target_limited_tokens,
            &self.target_served_rate,
            &self.pool_late_mult,
            &self.pool_now,
            &self.pool_base,
            &self.pool_ratio,
            &self.pool_overflow,
            &self.hedge_tokens_left,
        ];
        for gauges in readings {
            gauges.reset();
        }
        let readings: [&IntGaugeVec; 12] = [
            &self.key_expires,
            &self.quota_remaining,
            &self.target_degraded,
            &self.target_state,
            &self.target_blocked,
            &self.target_in_flight,
            &self.target_seats,
            &self.target_late,
            &self.suspect_models,
            &self.pool_all_slow,
            &self.certificate_expires,
            &self.identity_expiry,
        ];
        for gauges in readings {
            gauges.reset();
        }
    }

    /// The scrape, in Prometheus's text format. Readings of the targets are taken now.
    pub fn scrape(&self, snapshot: &Snapshot, now: Time) -> Result<Vec<u8>, prometheus::Error> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(snapshot, now);
        drop(reading);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
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

impl Family for CounterVec {
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
