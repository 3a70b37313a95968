//! Takes note of the ids in an answer: what the answer tells of is kept on the backend that gave it.

use crate::azure::ids::{Collector, Which, is_made};
use crate::azure::route::Operation;
use crate::azure::sse::is_event_stream;
use crate::owners::Owner;
use crate::proxy::admitted::{Admitted, Request};
use http::{HeaderValue, Method, header};
use pingora_http::ResponseHeader;
use std::sync::Arc;

/// The ids of one answer that passes.
pub(super) struct Claim {
    app: Arc<str>,
    /// Not known while a streaming client waits behind a header of ours.
    owner: Option<Owner>,
    /// `None`: what passes tells of nothing.
    collector: Option<Collector>,
}

impl Claim {
    /// For a good answer that may tell of something that is kept.
    pub(super) fn begin(
        request: &Request,
        app: &Arc<str>,
        answer: &ResponseHeader,
    ) -> Option<Self> {
        let route = &request.admitted.route;
        let which = which(&request.admitted)?;
        if !answer.status.is_success() {
            return None;
        }
        let kind = answer.headers.get(header::CONTENT_TYPE);
        let kind = kind.map(HeaderValue::as_bytes).unwrap_or_default();
        let told = kind.starts_with(b"application/json") || is_event_stream(&answer.headers);
        // A file is passed on as it is.
        let file = route.is_content();
        let collector = (told && !file).then(|| Collector::new(which));
        let mut claim = Self { app: Arc::clone(app), owner: None, collector };
        claim.find_owner(request);
        Some(claim)
    }

    /// Takes a chunk before the client gets it: its next request may follow at once.
    pub(super) fn see(&mut self, chunk: &[u8], request: &Request) {
        self.find_owner(request);
        let live = &request.services.live;
        let (Some(owner), Some(collector)) = (&self.owner, &mut self.collector) else { return };
        let now = live.clock().unix().as_secs();
        let strange = &request.admitted.strange;
        let snapshot = live.snapshot();
        collector.push(chunk, &mut |id| {
            if !strange.contains(id) {
                live.kept().note(id, owner, now, |name| snapshot.has_backend(name));
            }
        });
    }

    /// Once it is known who answers, the ids that were asked for are his.
    fn find_owner(&mut self, request: &Request) {
        if self.owner.is_some() {
            return;
        }
        let Some(backend) =
            request.progress.lock().answered_by().map(|attempt| Arc::clone(&attempt.backend))
        else {
            return;
        };
        let owner = Owner { app: Arc::clone(&self.app), backend };
        let live = &request.services.live;
        let snapshot = live.snapshot();
        for id in request.admitted.route.ids().filter(|id| is_made(id.as_bytes())) {
            let now = live.clock().unix().as_secs();
            live.kept().note(id, &owner, now, |name| snapshot.has_backend(name));
        }
        self.owner = Some(owner);
    }
}

/// Which ids an answer tells of. A list also shows what others made.
fn which(admitted: &Admitted) -> Option<Which> {
    let route = &admitted.route;
    match route.operation {
        // What is not stored is not referred to, but what is encrypted in it is bound to its backend.
        Operation::Responses if admitted.store == Some(false) => Some(Which::Kept),
        Operation::Responses => Some(Which::Items),
        Operation::ChatCompletions => (admitted.store == Some(true)).then_some(Which::Kept),
        Operation::Resource if route.is_list() => None,
        Operation::Resource if route.method == Method::POST => Some(Which::Any),
        Operation::Resource => Some(Which::Kept),
        Operation::Completions
        | Operation::Embeddings
        | Operation::Images
        | Operation::Transcriptions
        | Operation::Speech
        | Operation::Models
        | Operation::Realtime => None,
    }
}
