//! How everything is: for `firstlight status`, as data.

use crate::live::{LiveModel, Snapshot};
use crate::routing::State;
use crate::telemetry::Telemetry;
use crate::time::Time;
use serde::Serialize;

/// How a process is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its version.
    pub version: &'static str,
    /// Its process id.
    pub pid: u32,
    /// Which configuration of this process is live, from 1.
    pub generation: u64,
    /// Since it started, seconds.
    pub uptime_seconds: u64,
    /// Whether it drains.
    pub draining: bool,
    /// Whether the process before it still finishes its streams.
    pub predecessor: bool,
    /// Client requests that are not finished.
    pub in_flight: i64,
    /// Where clients connect.
    pub listening: Vec<String>,
    /// By name.
    pub models: Vec<ModelStatus>,
}

/// How one model's targets are.
#[derive(Clone, Debug, Serialize)]
pub struct ModelStatus {
    /// Its name.
    pub model: String,
    /// By backend.
    pub targets: Vec<TargetStatus>,
}

/// How one target is.
#[derive(Clone, Debug, Serialize)]
pub struct TargetStatus {
    /// Its backend.
    pub backend: String,
    /// What the model is called there.
    pub deployment: String,
    /// `healthy`, `degraded` or `recovering`; why it is out of use, if it is.
    pub state: String,
    /// Moving average of the time to first token, for a prompt of 512 to 1023 tokens, milliseconds.
    pub score_ms: f64,
    /// The same when all is well; `null` while unknown.
    pub base_ms: Option<f64>,
    /// Median time to first token of the last answers, milliseconds; `null` without any.
    pub ttft_p50_ms: Option<f64>,
    /// The 95th of a hundred of them.
    pub ttft_p95_ms: Option<f64>,
    /// Answers that the two are from.
    pub samples: usize,
    /// Attempts that wait for their first token.
    pub in_flight: u32,
    /// How much longer it rests after a 429, seconds.
    pub limited_seconds: f64,
    /// Tokens reported by its answers since the process started: prompt and completion.
    pub tokens: u64,
    /// What happened last, and why; `null` if nothing did.
    pub last_event: Option<String>,
    /// How long ago that was, seconds.
    pub last_event_seconds_ago: Option<f64>,
}

/// How the targets of every model are.
pub(super) fn models(snapshot: &Snapshot, telemetry: &Telemetry, now: Time) -> Vec<ModelStatus> {
    let models = snapshot.models().map(|model| ModelStatus {
        model: model.name.to_string(),
        targets: (0..model.backends.len())
            .filter_map(|target| one(model, target, telemetry, now))
            .collect(),
    });
    models.collect()
}

fn one(model: &LiveModel, target: usize, telemetry: &Telemetry, now: Time) -> Option<TargetStatus> {
    let (spec, view) = (model.pool.spec(target)?, model.pool.view(target, now)?);
    let recent = telemetry.recent(&model.name, &spec.backend);
    let (p50, p95) = recent.ttft.quantiles().unzip();
    let event = recent.event.as_ref();
    Some(TargetStatus {
        backend: spec.backend.clone(),
        deployment: spec.deployment.clone(),
        state: state(view.state, view.blocked).to_owned(),
        score_ms: view.score_ms,
        base_ms: view.base_ms,
        ttft_p50_ms: p50,
        ttft_p95_ms: p95,
        samples: recent.ttft.len(),
        in_flight: view.in_flight,
        limited_seconds: view.limited.as_secs_f64(),
        tokens: recent.tokens,
        last_event: event.map(|(what, _)| what.clone()),
        last_event_seconds_ago: event.map(|(_, at)| now.since(*at).as_secs_f64()),
    })
}

fn state(state: State, blocked: bool) -> &'static str {
    match (blocked, state) {
        (true, _) => "blocked",
        (false, State::Healthy) => "healthy",
        (false, State::Degraded) => "degraded",
        (false, State::Recovering) => "recovering",
    }
}
