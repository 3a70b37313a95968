//! How everything is: for `firstlight status`, as data.

use crate::control::proofs::{IdentityStatus, TenantStatus};
use crate::live::{LiveModel, Snapshot};
use crate::routing::{Block, Blocks, State};
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
    /// Our own identities.
    pub identities: Vec<IdentityStatus>,
    /// The tenants whose tokens are taken.
    pub tenants: Vec<TenantStatus>,
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
    /// From how many tokens on requests are kept away then, 0 for all of them; `null` while it does not rest.
    pub limited_tokens: Option<u64>,
    /// Requests in a second that it is given at most since it answered 429; `null`: any number.
    pub served_rate: Option<f64>,
    /// Tokens reported by its answers since the process started: prompt and completion.
    pub tokens: u64,
    /// What happened last, and why; `null` if nothing did.
    pub last_event: Option<String>,
    /// How long ago that was, seconds.
    pub last_event_seconds_ago: Option<f64>,
}

impl Status {
    /// For people: a line for the process and a table of the targets.
    pub(super) fn lines(&self) -> Vec<String> {
        let phase = match (self.draining, self.predecessor) {
            (true, _) => "draining",
            (false, true) => "serving; the process before finishes its streams",
            (false, false) => "serving",
        };
        let Self { version, pid, generation, uptime_seconds, in_flight, listening, .. } = self;
        let listening = listening.join(", ");
        let mut lines = vec![
            format!(
                "firstlight {version}, process {pid}, up {uptime_seconds} s: {phase} on {listening}"
            ),
            format!("configuration generation {generation}, {in_flight} requests in flight"),
            String::new(),
        ];
        let head = [
            "MODEL",
            "BACKEND",
            "STATE",
            "SCORE ms",
            "BASE ms",
            "P50 ms",
            "P95 ms",
            "OPEN",
            "LIMITED s",
            "TOKENS",
            "LAST EVENT",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for model in &self.models {
            rows.extend(model.targets.iter().map(|target| target.row(&model.model)));
        }
        lines.extend(aligned(&rows));
        lines.extend(table(
            ["IDENTITY", "TOKEN LASTS", "LAST ERROR"],
            &self.identities,
            IdentityStatus::row,
        ));
        lines.extend(table(
            ["TENANT", "SIGNING KEYS", "LAST ERROR"],
            &self.tenants,
            TenantStatus::row,
        ));
        lines
    }
}

/// A table below the others, if it has rows.
fn table<T>(head: [&str; 3], all: &[T], row: impl Fn(&T) -> Vec<String>) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let head = head.map(str::to_owned).to_vec();
    let rows: Vec<_> = [head].into_iter().chain(all.iter().map(row)).collect();
    [String::new()].into_iter().chain(aligned(&rows)).collect()
}

impl TargetStatus {
    fn row(&self, model: &str) -> Vec<String> {
        let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
        let event = self.last_event.as_deref().zip(self.last_event_seconds_ago);
        vec![
            model.to_owned(),
            self.backend.clone(),
            self.state.clone(),
            ms(Some(self.score_ms)),
            ms(self.base_ms),
            ms(self.ttft_p50_ms),
            ms(self.ttft_p95_ms),
            self.in_flight.to_string(),
            format!("{:.0}", self.limited_seconds),
            self.tokens.to_string(),
            event.map_or_else(|| "-".to_owned(), |(what, ago)| format!("{ago:.0} s ago: {what}")),
        ]
    }
}

/// Columns as wide as their widest cell.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
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
        state: state(view.state, view.blocks).to_owned(),
        score_ms: view.score_ms,
        base_ms: view.base_ms,
        ttft_p50_ms: p50,
        ttft_p95_ms: p95,
        samples: recent.ttft.len(),
        in_flight: view.in_flight,
        limited_seconds: view.limited.as_secs_f64(),
        limited_tokens: view.limited_tokens,
        served_rate: view.served_rate,
        tokens: recent.tokens,
        last_event: event.map(|(what, _)| what.clone()),
        last_event_seconds_ago: event.map(|(_, at)| now.since(*at).as_secs_f64()),
    })
}

/// Why it is out of use, if it is; else its state.
fn state(state: State, blocks: Blocks) -> &'static str {
    let blocked = Block::ALL.into_iter().find(|block| blocks.has(*block)).map(Block::as_str);
    blocked.unwrap_or(match state {
        State::Healthy => "healthy",
        State::Degraded => "degraded",
        State::Recovering => "recovering",
    })
}
