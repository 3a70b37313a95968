//! What a race starts with, handed from Pingora's phases to the connector.

use crate::proxy::admitted::Request;
use crate::proxy::body::Body;
use crate::proxy::context::Context;
use crate::proxy::watch::Watch;
use crate::routing::Attempts;
use pingora_core::{Error, ErrorType};
use std::sync::Arc;

/// What a race starts with: the first attempt is chosen already.
pub(super) struct Order {
    pub(super) request: Arc<Request>,
    pub(super) body: Body,
    pub(super) attempts: Attempts,
    pub(super) first: Watch,
}

impl Order {
    /// Of the attempt that was chosen; nothing of it stays behind.
    pub(super) fn take(ctx: &mut Context) -> pingora_core::Result<Self> {
        let internal = || Error::explain(ErrorType::InternalError, "an attempt without a choice");
        let chosen = ctx.chosen.take().ok_or_else(internal)?;
        let request = Arc::clone(ctx.request.as_ref().ok_or_else(internal)?);
        let attempts = ctx.attempts.take().ok_or_else(internal)?;
        let body = std::mem::take(&mut ctx.body);
        let first = Watch::new(Arc::clone(&request), chosen.lease, chosen.why);
        Ok(Self { request, body, attempts, first })
    }
}
