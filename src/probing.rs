//! Our own probes, as a Pingora background service.
//!
//! Every interval each target gets a round of small streamed prompts; an answer under `clear_ms` takes it
//! out of degradation, and every answer feeds its score, so that a region that gets no traffic is known all
//! the same. Between rounds it probes what a request found strange (a refused credential, a missing
//! deployment), and every minute what is blocked for such a reason: only a probe of ours puts a target into
//! those states or takes it out, since Azure answers 401 and 404 for single operations, too.
//!
//! The same service reports degradations whose time is over.

use crate::azure::route::Operation;
use crate::config::checked::Policy;
use crate::config::checked::ProbeKind;
use crate::exchange::{AnswerKind, Failure, Marks, Outcome, Sending, exchange};
use crate::live::Live;
use crate::live::LiveModel;
use crate::proxy::ProbeRequest;
use crate::routing::ProbeOutcome;
use crate::telemetry::Telemetry;
use crate::time::Time;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::{Method, header};
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector as HttpConnector;
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::background::BackgroundService;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Probes that run at the same time.
const PARALLEL: usize = 16;
/// A target that a request found strange is probed at most this often.
const WISH_INTERVAL: Duration = Duration::from_secs(10);
/// How often a blocked target is tried.
const BLOCKED_INTERVAL: Duration = Duration::from_mins(1);
/// How often flags are looked at.
const TICK: Duration = Duration::from_millis(500);

/// The background service.
pub struct Prober {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    http: HttpConnector,
    /// Taken by the one run of the service.
    wishes: Mutex<Option<mpsc::Receiver<ProbeRequest>>>,
    /// Models that answered that they refuse `max_tokens`.
    completion_tokens: Mutex<BTreeSet<Arc<str>>>,
}

impl Prober {
    /// A prober over what is live, that also probes what is named on `wishes`.
    pub fn new(
        live: Arc<Live>,
        telemetry: Arc<Telemetry>,
        conf: &ServerConf,
        wishes: mpsc::Receiver<ProbeRequest>,
    ) -> Self {
        let http = HttpConnector::new(Some(ConnectorOptions::from_server_conf(conf)));
        let wishes = Mutex::new(Some(wishes));
        Self { live, telemetry, http, wishes, completion_tokens: Mutex::default() }
    }

    /// One round over every target of every model.
    async fn round(&self) {
        let snapshot = self.live.snapshot();
        let routing = &snapshot.config.routing;
        if routing.policy == Policy::RoundRobin || routing.probe.interval.is_zero() {
            return;
        }
        let all = snapshot.models().filter(|m| m.probe != ProbeKind::Off).flat_map(|model| {
            (0..model.backends.len()).map(move |target| (Arc::clone(model), target))
        });
        let count = routing.probe.count;
        stream::iter(all)
            .for_each_concurrent(PARALLEL, |(model, target)| async move {
                for _ in 0..count {
                    self.probe_unless_limited(&model, target).await;
                }
            })
            .await;
    }

    /// A target that rests after a 429 is left alone.
    async fn probe_unless_limited(&self, model: &LiveModel, target: usize) {
        let view = model.pool.view(target, self.live.clock().now());
        if view.is_some_and(|v| v.limited.is_zero()) {
            self.probe(model, target).await;
        }
    }

    async fn blocked(&self) {
        let snapshot = self.live.snapshot();
        let now = self.live.clock().now();
        for model in snapshot.models().filter(|m| m.probe != ProbeKind::Off) {
            let blocked = |&target: &usize| model.pool.view(target, now).is_some_and(|v| v.blocked);
            for target in (0..model.backends.len()).filter(blocked) {
                self.probe(model, target).await;
            }
        }
    }

    async fn wish(&self, (model, target): ProbeRequest) {
        let snapshot = self.live.snapshot();
        if let Some(model) = snapshot.model(&model).filter(|m| m.probe != ProbeKind::Off) {
            self.probe(model, target).await;
        }
    }

    fn tick(&self) {
        let now = self.live.clock().now();
        for model in self.live.snapshot().models() {
            for event in model.pool.tick(now) {
                self.telemetry.target_changed(model, event);
            }
        }
    }

    /// Sends one probe and feeds what it found.
    async fn probe(&self, model: &LiveModel, target: usize) {
        let mut asked = self.ask(model, target).await;
        if asked.is_some_and(|a| a.refused_max_tokens) {
            self.note_refusal(model);
            asked = self.ask(model, target).await;
        }
        let Some(asked) = asked else { return };
        let Some(backend) = model.backends.get(target) else { return };
        let labels = [&*model.name, &*backend.name];
        let metrics = &self.telemetry.metrics;
        metrics.probes.with_label_values(&[labels[0], labels[1], asked.outcome.as_str()]).inc();
        tracing::debug!(
            model = labels[0],
            backend = labels[1],
            outcome = asked.outcome.as_str(),
            "probed"
        );
        let Some(found) = asked.found() else { return };
        if let ProbeOutcome::FirstToken(ttft) = found {
            metrics.probe_ttft.with_label_values(&labels).observe(ttft.as_secs_f64());
        }
        let now = self.live.clock().now();
        let Some(lease) = model.pool.start_probe(target, asked.sent) else { return };
        if let Some(event) = lease.ended(found, now) {
            self.telemetry.target_changed(model, event);
        }
    }

    /// One exchange with one target; `None` if it cannot be addressed yet.
    async fn ask(&self, model: &LiveModel, target: usize) -> Option<Asked> {
        let sending = self.prompt(model, target)?;
        let limit = self.live.snapshot().config.routing.probe.timeout;
        let clock = *self.live.clock();
        let sent = clock.now();
        let mut marks = Marks::default();
        let exchange = exchange(&self.http, &sending, &clock, &mut marks);
        let result = match tokio::time::timeout(limit, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Failure::bare(Outcome::TimedOut)),
        };
        let age = clock.now().since(sent);
        let mut asked =
            Asked { sent, age, marks, outcome: Outcome::Ok, rest: None, refused_max_tokens: false };
        match result {
            Ok(answer) => {
                if answer.kind == AnswerKind::Passed {
                    asked.outcome = Outcome::Passed;
                    let body = answer.held.as_deref().unwrap_or_default();
                    let told = memchr::memmem::find(body, b"max_completion_tokens").is_some();
                    asked.refused_max_tokens = marks.status == 400 && told && !self.refuses(model);
                }
                // A probe's answer is short: read to its end, the connection can be used again.
                let finish = answer.finish(&self.http);
                drop(tokio::time::timeout(limit, finish).await);
            }
            Err(failure) => {
                asked.outcome = failure.outcome;
                asked.rest = failure.rest;
            }
        }
        Some(asked)
    }

    /// The first round comes right at the start, but not before the names are resolved (or seem not to be).
    async fn wait_for_addresses(&self) {
        for _ in 0..50 {
            if self.live.snapshot().backends().all(|b| !b.addresses().is_empty()) {
                return;
            }
            tokio::time::sleep(TICK / 5).await;
        }
    }

    fn note_refusal(&self, model: &LiveModel) {
        let mut refusing = self.completion_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        refusing.insert(Arc::clone(&model.name));
    }

    fn refuses(&self, model: &LiveModel) -> bool {
        let refusing = self.completion_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        refusing.contains(&model.name)
    }

    /// The smallest request that has a first token.
    fn prompt(&self, model: &LiveModel, target: usize) -> Option<Sending> {
        let backend = model.backends.get(target)?;
        let deployment = &model.pool.spec(target)?.deployment;
        let most = self.live.snapshot().config.routing.probe.max_tokens;
        let limit = if self.refuses(model) { "max_completion_tokens" } else { "max_tokens" };
        let text = "Reply with the word ok.";
        let (operation, path, body) = match model.probe {
            ProbeKind::Chat => (
                Operation::ChatCompletions,
                "/openai/v1/chat/completions",
                serde_json::json!({ "model": deployment, "stream": true, limit: most,
                    "messages": [{ "role": "user", "content": text }] }),
            ),
            ProbeKind::Completions => (
                Operation::Completions,
                "/openai/v1/completions",
                serde_json::json!({ "model": deployment, "stream": true, limit: most, "prompt": text }),
            ),
            ProbeKind::Embeddings => (
                Operation::Embeddings,
                "/openai/v1/embeddings",
                serde_json::json!({ "model": deployment, "input": "ok" }),
            ),
            ProbeKind::Off => return None,
        };
        let body = Bytes::from(body.to_string());
        let mut request = backend.request(Method::POST, path).ok()?;
        request.insert_header(header::CONTENT_TYPE, "application/json").ok()?;
        request.insert_header(header::CONTENT_LENGTH, body.len()).ok()?;
        request
            .insert_header(
                header::USER_AGENT,
                concat!("firstlight-probe/", env!("CARGO_PKG_VERSION")),
            )
            .ok()?;
        let stream = operation != Operation::Embeddings;
        Some(Sending { peer: backend.peer()?, request, body, operation, stream })
    }

    /// Until the next round: the interval, a little earlier or later, so that many instances do not probe
    /// in step. While rounds are switched off, until that is looked at again.
    fn pause(&self) -> Duration {
        let snapshot = self.live.snapshot();
        let probe = &snapshot.config.routing.probe;
        if probe.interval.is_zero() {
            return BLOCKED_INTERVAL;
        }
        let spread = probe.jitter_share * (2.0 * self.live.rng().unit() - 1.0);
        probe.interval.mul_f64(1.0 + spread)
    }
}

/// What came of one probe.
#[derive(Clone, Copy)]
struct Asked {
    sent: Time,
    age: Duration,
    marks: Marks,
    outcome: Outcome,
    rest: Option<Duration>,
    refused_max_tokens: bool,
}

impl Asked {
    /// What it tells about the target, if anything.
    fn found(&self) -> Option<ProbeOutcome> {
        match self.outcome {
            // Good without a first token: a thinking model that used up its few tokens, say.
            Outcome::Ok => Some(self.marks.first_token.map_or(ProbeOutcome::Answered, |at| {
                ProbeOutcome::FirstToken(at.since(self.sent))
            })),
            Outcome::Passed if self.marks.status == 400 => Some(ProbeOutcome::Answered),
            Outcome::TimedOut => Some(ProbeOutcome::TimedOut),
            Outcome::Limited => Some(ProbeOutcome::Limited(self.rest)),
            Outcome::Unauthorised => Some(ProbeOutcome::AuthFailed),
            Outcome::DeploymentMissing => Some(ProbeOutcome::Misconfigured),
            Outcome::Connect
            | Outcome::Reset
            | Outcome::ServerError
            | Outcome::ErrorEvent
            | Outcome::EmptyStream => Some(ProbeOutcome::Failed),
            Outcome::Passed | Outcome::Conflict | Outcome::BrokenOff | Outcome::ClientAbort => None,
        }
    }
}

#[async_trait]
impl BackgroundService for Prober {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let taken = self.wishes.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut wishes) = taken else { return };
        let mut granted: BTreeMap<ProbeRequest, Time> = BTreeMap::new();
        let clock = *self.live.clock();
        let rounds = async {
            self.wait_for_addresses().await;
            loop {
                self.round().await;
                tokio::time::sleep(self.pause()).await;
            }
        };
        let blocked = async {
            loop {
                tokio::time::sleep(BLOCKED_INTERVAL).await;
                self.blocked().await;
            }
        };
        let wished = async {
            while let Some(wish) = wishes.recv().await {
                let now = clock.now();
                granted.retain(|_, at| now.since(*at) < WISH_INTERVAL);
                if granted.insert(wish.clone(), now).is_none() {
                    self.wish(wish).await;
                }
            }
        };
        let ticks = async {
            loop {
                tokio::time::sleep(TICK).await;
                self.tick();
            }
        };
        tokio::select! {
            ((), (), (), ()) = async { tokio::join!(rounds, blocked, wished, ticks) } => {}
            _ = shutdown.changed() => {}
        }
    }
}
