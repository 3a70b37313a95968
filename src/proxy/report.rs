//! The end of a request: its log line and its metrics.

use crate::azure::error::ClientError;
use crate::azure::stall::Pace;
use crate::live::Live;
use crate::proxy::answer::committed;
use crate::proxy::context::Context;
use crate::proxy::meter;
use crate::proxy::meter::Tokens;
use crate::proxy::progress::Progress;
use crate::telemetry::Telemetry;
use crate::telemetry::access_log::Record;
use crate::time::millis;
use pingora_core::{Error, ErrorSource};
use pingora_proxy::Session;
use std::time::UNIX_EPOCH;

/// Counts and logs a finished request.
pub(super) fn finish(
    session: &Session,
    error: Option<&Error>,
    ctx: &mut Context,
    live: &Live,
    telemetry: &Telemetry,
) {
    let now = live.clock().now();
    meter::close(ctx, now);
    let status = committed(session).map_or(0, |h| h.status.as_u16());
    let tokens = meter::tokens(ctx);
    let usage = tokens.usage;
    let nothing = Progress::default();
    let state = ctx.request.as_ref().map_or(&nothing, |r| &r.progress).lock();
    let term = term(error, ctx, (status, state.told.is_some()));
    count(ctx, status, term, telemetry);
    let answered = state.answered_by().filter(|_| ctx.refused.is_none());
    let backend = answered.map(|a| &*a.backend);
    let request = session.req_header();
    let model = ctx.request.as_ref().map(|r| r.model());
    let caller = ctx.note.proof.caller();
    let deployment = model.zip(backend).and_then(|(m, b)| m.pool.spec(m.pool.position(b)?));
    telemetry.access_log.write(&Record {
        ts: humantime::format_rfc3339_millis(UNIX_EPOCH + live.clock().unix()).to_string(),
        v: 1,
        request_id: &ctx.request_id,
        trace_id: ctx.trace_id.as_deref(),
        client_ip: ctx.client.map(|client| client.to_string()),
        app: ctx.note.app.as_deref(),
        auth: ctx.note.proof.word(),
        key_id: ctx.note.proof.key().map(|(id, _)| id),
        key_name: ctx.note.proof.key().map(|(_, name)| name),
        tenant: caller.map(|caller| caller.tenant.as_str()),
        object_id: caller.and_then(|caller| caller.object_id.as_deref()),
        client_id: caller.and_then(|caller| caller.client.as_deref()),
        method: request.method.as_str(),
        route: ctx.note.route.as_deref().unwrap_or("other"),
        model: ctx.note.model.as_deref(),
        deployment: deployment.map(|s| s.deployment.as_str()).filter(|d| !d.is_empty()),
        stream: ctx.note.stream,
        status,
        code: ctx.refused.as_ref().map(ClientError::code).or(state.told.as_deref()),
        retry_after_ms: ctx.refused.as_ref().and_then(retry_after_ms),
        bytes_in: ctx.note.bytes_in,
        bytes_out: ctx.relayed.bytes,
        tokens_in: usage.prompt,
        tokens_out: usage.completion,
        tokens_cached: usage.cached,
        tokens_reasoning: usage.reasoning,
        tokens_est: tokens.is_estimated,
        audio_seconds: usage.audio.map(|length| length.as_secs_f64()),
        ttft_ms: ctx.relayed.first_content.map(|at| millis(at.since(ctx.arrived))),
        duration_ms: millis(now.since(ctx.arrived)),
        attempts: &state.attempts,
        backend,
        upstream_request_id: ctx.relayed.upstream_id.as_deref().or(state.upstream_id.as_deref()),
        term,
        config_gen: ctx.snapshot.generation,
    });
    if let (Some(model), Some(backend)) = (&ctx.note.model, backend) {
        pace(&ctx.relayed.pace, [model, backend], telemetry);
    }
    let told = Some(usage).filter(|_| !tokens.is_estimated).unwrap_or_default();
    if let (Some(model), Some(attempt)) = (&ctx.note.model, answered) {
        let tokens = told.prompt.unwrap_or(0).saturating_add(told.completion.unwrap_or(0));
        telemetry.add_tokens((model, &attempt.backend), tokens);
    }
    if let (Some(app), Some(model), Some(backend)) = (&ctx.note.app, &ctx.note.model, backend) {
        count_tokens(&tokens, [app, model, backend], telemetry);
    }
}

/// Adds up what was used; what is estimated by itself.
fn count_tokens(tokens: &Tokens, [app, model, backend]: [&str; 3], telemetry: &Telemetry) {
    let metrics = &telemetry.metrics;
    let total = if tokens.is_estimated { &metrics.tokens_estimated } else { &metrics.tokens };
    let counts = [
        ("prompt", tokens.usage.prompt),
        ("completion", tokens.usage.completion),
        ("cached", tokens.usage.cached),
        ("reasoning", tokens.usage.reasoning),
    ];
    for (kind, tokens) in counts {
        if let Some(tokens) = tokens {
            total.with_label_values(&[app, model, backend, kind]).inc_by(tokens);
        }
    }
}

fn retry_after_ms(refused: &ClientError) -> Option<u64> {
    let seconds = || refused.retry_after_seconds().map(|seconds| seconds.saturating_mul(1000));
    refused.retry_after_ms().or_else(seconds)
}

/// How steadily the stream came.
fn pace(pace: &Pace, labels: [&str; 2], telemetry: &Telemetry) {
    let metrics = &telemetry.metrics;
    if let Some(gap) = pace.longest_gap() {
        metrics.stream_gap.with_label_values(&labels).observe(gap.as_secs_f64());
    }
    if let Some(rate) = pace.tokens_per_second() {
        metrics.stream_rate.with_label_values(&labels).observe(rate);
    }
}

/// How a request ended, in a word; with the status sent, and whether a failure was told inside the stream.
fn term(error: Option<&Error>, ctx: &Context, (status, told): (u16, bool)) -> &'static str {
    if let Some(ended) = ctx.note.ended {
        return ended;
    }
    match error {
        None if told => "failed",
        None if ctx.refused.is_some() => "refused",
        None => "ok",
        Some(error) if *error.esource() == ErrorSource::Downstream => "client_abort",
        Some(_) if ctx.refused.is_some() || status == 0 => "failed",
        Some(_) => "upstream_abort",
    }
}

fn count(ctx: &Context, status: u16, term: &str, telemetry: &Telemetry) {
    let metrics = &telemetry.metrics;
    let app = ctx.note.app.as_deref().unwrap_or("");
    let route = ctx.note.route.as_deref().unwrap_or("other");
    let code = status.to_string();
    metrics.requests.with_label_values(&[app, route, code.as_str()]).inc();
    if term == "client_abort" {
        let phase =
            if ctx.relayed.first_content.is_some() { "after_content" } else { "before_content" };
        metrics.client_aborts.with_label_values(&[phase]).inc();
    }
    if let (Some(model), Some(at)) = (&ctx.note.model, ctx.relayed.first_content) {
        let ttft = at.since(ctx.arrived).as_secs_f64();
        metrics.client_ttft.with_label_values(&[&**model]).observe(ttft);
    }
}
