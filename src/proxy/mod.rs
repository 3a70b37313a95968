//! The proxy: Pingora's phases, filled in.
//!
//! One request: `request_filter` admits it ([`intake`]), `upstream_peer` asks the routing core for a target
//! and opens a lease, `upstream_request_filter` builds that attempt's request from an allow-list and hands
//! it to the [`connector`], whose `read_response_header` runs the attempt and returns only when its first
//! content token is in hand ([`attempt`], `exchange`). A failed attempt makes Pingora ask `upstream_peer` again, within
//! the bounds of [`progress`]. `response_body_filter` times the first content chunk as the client is sent
//! it, and `logging` writes the line.
//!
//! Requests that name no model (the list of models) take Pingora's native path.
//!
//! This file is glue: what it decides, it asks of others.

mod admitted;
mod answer;
mod attempt;
mod body;
mod connector;
mod context;
mod forward;
mod intake;
mod native;
mod progress;
mod report;

pub use connector::LlmConnector;
pub use context::Context;

use crate::azure::error::ClientError;
use crate::azure::route::Operation;
use crate::live::Live;
use crate::proxy::admitted::Refusal;
use crate::telemetry::Telemetry;
use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::ErrorSource;
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A target that somebody should probe soon: model and position in its pool.
pub type ProbeRequest = (Arc<str>, usize);

/// The `ProxyHttp` of Firstlight.
pub struct FirstlightProxy {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    /// Wishes for a probe; full means that enough probes are wanted already.
    probes: mpsc::Sender<ProbeRequest>,
}

impl FirstlightProxy {
    /// A proxy over what is live. Targets that answered strangely are named on `probes`.
    pub fn new(
        live: Arc<Live>,
        telemetry: Arc<Telemetry>,
        probes: mpsc::Sender<ProbeRequest>,
    ) -> Self {
        Self { live, telemetry, probes }
    }
}

#[async_trait]
impl ProxyHttp for FirstlightProxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(&self.live, &self.telemetry)
    }

    /// No compression module: chunks must reach the client as they came.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        // A client that stops reading must not hold an upstream stream for ever.
        let idle = ctx.snapshot.config.timeouts.idle;
        session.as_downstream_mut().set_write_timeout(Some(idle));
        match intake::admit(session, ctx, self.live.memory()).await {
            Ok(admitted) => {
                ctx.admit(admitted, self.live.clock().now());
                Ok(false)
            }
            Err(Refusal::Answer(error)) => {
                if matches!(error, ClientError::MissingKey | ClientError::BadKey) {
                    self.telemetry.metrics.auth_failures.with_label_values(&[error.code()]).inc();
                }
                answer::refuse(session, ctx, error).await?;
                Ok(true)
            }
            Err(Refusal::ClientGone(error)) => Err(error.into_down()),
        }
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        forward::choose(ctx, self).map(Box::new).map_err(|error| {
            let status = error.status().as_u16();
            ctx.refused = Some(error);
            Error::explain(ErrorType::HTTPStatus(status), "no target")
        })
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if let Some(order) = forward::prepare(&session.req_header().headers, request, ctx, self)? {
            connector::attach(request, order);
        }
        Ok(())
    }

    /// The connector judged its answers already; this one judges those of the native path.
    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if ctx.operation() == Some(Operation::Models) {
            native::answered(response.status.as_u16(), ctx, self)?;
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        answer::finish_header(response, ctx)?;
        // Committed: nothing is sent again, so the body need not be kept.
        ctx.forget_body();
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        if let Some(chunk) = body {
            ctx.relay(chunk, self.live.clock().now());
        }
        Ok(None)
    }

    /// Only the native path connects here; the connector's own failures come to `error_while_proxy`.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(native::connect_failed(ctx, self));
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        // Without this, an error marked "only on a reused connection" panics when it is asked.
        error.retry.decide_reuse(reused);
        let untouched = answer::committed(session).is_none();
        let upstream = *error.esource() == ErrorSource::Upstream;
        if upstream {
            native::broke(ctx, self);
        }
        error.set_retry(untouched && upstream && ctx.wants_retry());
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        let status = answer::fail(session, ctx, error, &self.live).await;
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        report::finish(session, error, ctx, &self.live, &self.telemetry);
    }

    /// The access log tells of every failed attempt; Pingora's own line would repeat it.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Context,
        _error: &Error,
        _context: pingora_proxy::ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
