//! The proxy: Pingora's phases, filled in.
//!
//! One request: `request_filter` admits it ([`intake`]), `upstream_peer` asks the routing core for a target
//! and opens a lease ([`forward`]), `upstream_request_filter` hands both to the [`connector`], whose
//! [`session`] runs the [`race`] of this attempt and those that may follow it, and returns when the first has
//! its first content token in hand. `response_body_filter` times the first content chunk as the client is sent
//! it, and `logging` writes the line.
//!
//! A WebSocket ([`realtime`]) leaves this line in `request_filter`.
//!
//! This file is glue: what it decides, it asks of others.

mod admitted;
mod answer;
mod arrival;
mod aside;
mod asked;
mod body;
mod caller;
mod claim;
mod connector;
mod context;
mod copies;
mod doors;
mod early;
mod entrance;
mod forward;
mod identify;
mod intake;
mod leg;
mod list;
mod meter;
mod models;
mod passing;
mod placement;
mod progress;
mod race;
mod realtime;
mod report;
mod session;
mod shed;
mod streaming;
mod watch;

pub use connector::LlmConnector;
pub use context::Context;
pub use entrance::Entrance;
pub use realtime::Realtime;

use crate::azure::route::Operation;
use crate::live::{self, Live};
use crate::proxy::admitted::{Origin, Patience, Refusal, Request, Services};
use crate::proxy::copies::Copies;
use crate::proxy::doors::Doors;
use crate::proxy::intake::Decision;
use crate::proxy::race::Order;
use crate::routing::Timing;
use crate::telemetry::Telemetry;
use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::mpsc;

/// A target that somebody should probe soon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeRequest {
    /// The model's name.
    pub model: Arc<str>,
    /// The backend's name: positions change with the configuration.
    pub backend: Arc<str>,
    /// Why.
    pub why: ProbeWish,
}

/// Why a target should be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeWish {
    /// A request was late there: is it the target or the request? The routing core asks this seldom enough.
    Confirm,
    /// It does not know the deployment. Every request to it may ask this.
    Strange,
    /// It refused our credential. Every request to it may ask this.
    Unauthorised,
}

/// The `ProxyHttp` of Firstlight.
pub struct FirstlightProxy {
    services: Arc<Services>,
    doors: Doors,
    realtime: Arc<Realtime>,
    draining: Arc<AtomicBool>,
}

impl FirstlightProxy {
    /// A proxy over what is live. Targets that answered strangely are named on `probes`. `listening`: the
    /// addresses of the listeners, in the order of the configuration. `draining` is set once the process stops;
    /// `realtime`: the conversations.
    pub fn new(
        live: Arc<Live>,
        telemetry: Arc<Telemetry>,
        probes: mpsc::Sender<ProbeRequest>,
        listening: Vec<SocketAddr>,
        (realtime, draining): (Arc<Realtime>, Arc<AtomicBool>),
    ) -> Self {
        let doors = Doors::new(listening);
        let services = Arc::new(Services { live, telemetry, probes, copies: Copies::default() });
        Self { services, doors, realtime, draining }
    }
}

#[async_trait]
impl ProxyHttp for FirstlightProxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(&self.services.live, &self.services.telemetry)
    }

    /// No compression module: chunks must reach the client as they came.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        // A client that stops reading must not hold an upstream stream for ever.
        let idle = ctx.snapshot.config.timeouts.idle;
        session.as_downstream_mut().set_write_timeout(Some(idle));
        let local = session.server_addr().and_then(|at| at.as_inet()).copied();
        ctx.door = local.and_then(|local| self.doors.place(local));
        if arrival::receive(session, ctx, &self.services, &self.draining).await? {
            return Ok(true);
        }
        match intake::admit(session, ctx, &self.services.live).await {
            Ok(Decision::Reply(body)) => {
                meter::close(ctx, self.services.live.clock().now());
                answer::reply(session, ctx, body).await?;
                Ok(true)
            }
            Ok(Decision::Forward(admitted, body)) => {
                let config = &ctx.snapshot.config;
                let first_content = match admitted.timing() {
                    Timing::FirstToken => admitted.model.first_token,
                    Timing::Untimed | Timing::Unmeasured => live::answer_limit(&config.timeouts),
                };
                let patience = Patience { first_content, idle, hold: config.retry.hold_headers };
                let origin = Origin {
                    headers: &session.req_header().headers,
                    caller: (&config.caller, ctx.note.app.as_deref(), &ctx.note.proof),
                    request_id: &ctx.request_id,
                    serial: ctx.serial,
                    patience,
                    max_attempts: config.retry.max_attempts,
                };
                let request = Request::new(Arc::clone(&self.services), *admitted, &origin);
                let operation = request.operation();
                ctx.admit(request, body);
                if operation == Operation::Realtime {
                    let shared = (&*self.realtime, &*self.services);
                    Box::pin(realtime::serve(session, ctx, shared)).await?;
                    return Ok(true);
                }
                Ok(false)
            }
            Err(Refusal::Answer(error)) => {
                if error.is_of_credential() {
                    let failures = &self.services.telemetry.metrics.auth_failures;
                    failures.with_label_values(&[error.code()]).inc();
                }
                meter::count(&error, ctx, &self.services.telemetry);
                meter::close(ctx, self.services.live.clock().now());
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
        forward::choose(ctx).map(Box::new).map_err(|error| {
            let status = error.status().as_u16();
            ctx.refused = Some(error);
            Error::explain(ErrorType::HTTPStatus(status), "no target")
        })
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        connector::attach(request, Order::take(ctx)?);
        Ok(())
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        answer::finish_header(response, ctx)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        let now = self.services.live.clock().now();
        let complete = body.as_ref().is_some_and(|chunk| ctx.relay(chunk, now));
        if end || complete {
            // Before the client sees the end: its next request may follow at once. SDKs read no further than
            // `[DONE]`.
            meter::close(ctx, now);
        }
        if end && ctx.relayed.is_list() {
            ctx.relayed.pass(body);
            let no_room = || Error::explain(ErrorType::InternalError, "no room for a list");
            *body = Some(ctx.own_list().ok_or_else(no_room)?);
        } else if end {
            ctx.relayed.pass_last(body);
        } else {
            ctx.relayed.pass(body);
        }
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        _session: &mut Session,
        mut error: Box<Error>,
        _ctx: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        // Without this, an error marked "only on a reused connection" panics when it is asked.
        error.retry.decide_reuse(reused);
        // What may be tried elsewhere was tried by the connector.
        error.set_retry(false);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        let status = answer::fail(session, ctx, error).await;
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        if !ctx.unlogged {
            report::finish(session, error, ctx, &self.services.live, &self.services.telemetry);
        }
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
