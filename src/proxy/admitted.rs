//! What admission comes to: a request that may go on, or why it does not.

use crate::azure::error::ClientError;
use crate::azure::route::Route;
use crate::live::LiveModel;
use crate::proxy::body::Body;
use pingora_core::Error;
use std::ops::Range;
use std::sync::Arc;

/// A request that may go on.
pub(super) struct Admitted {
    pub(super) route: Route,
    pub(super) model: Arc<LiveModel>,
    pub(super) body: Body,
    /// Where the body names the model, in the v1 form.
    pub(super) model_span: Option<Range<usize>>,
    pub(super) stream: bool,
    /// About how long its prompt is.
    pub(super) prompt_tokens: u64,
    /// The one target that the client asked for, and may.
    pub(super) only: Option<usize>,
}

/// Why a request does not go on.
pub(super) enum Refusal {
    /// We answer it.
    Answer(ClientError),
    /// Nobody is there to read an answer.
    ClientGone(Box<Error>),
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        Self::Answer(error)
    }
}
