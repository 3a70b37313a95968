//! From a request to its answer.
//!
//! The fault comes first, since a broken service breaks before it looks at what it was asked. Then credential,
//! path, deployment and body are checked in the order in which Azure complains. Each answer is a script
//! ([`crate::mock::script`]) that starts with the arrival of the request.

use crate::mock::ask::{Ask, Delivery, Route, Surface, ask, route};
use crate::mock::backend::Backend;
use crate::mock::behaviour::Pace;
use crate::mock::body::{AnswerBody, BrokenOff, play};
use crate::mock::chat::{chat_body, chat_pieces, completion_body, completion_pieces};
use crate::mock::connection::Sabotage;
use crate::mock::draft::Draft;
use crate::mock::effect::{Effect, mishap_refusal};
use crate::mock::embeddings;
use crate::mock::ledger::{Outcome, Visit};
use crate::mock::models;
use crate::mock::receive::{Received, Unreadable, receive};
use crate::mock::refusal::Refusal;
use crate::mock::reply::{Identity, Reply};
use crate::mock::script::{Ending, broken, hang, stream, whole};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// A request that has been read.
struct Exchange {
    backend: Arc<Backend>,
    arrival: Instant,
    parts: Parts,
    received: Received,
}

/// Answers a request. Fails only when the request did not arrive in full.
pub(super) async fn answer(
    backend: Arc<Backend>,
    orders: mpsc::Sender<Sabotage>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, BrokenOff> {
    let arrival = Instant::now();
    let (parts, body) = request.into_parts();
    let mut visit = backend.ledger.arrive(&parts);
    let received = match receive(body).await {
        Ok(received) => received,
        // Nobody is there to read an answer. The error ends the connection, or the HTTP/2 stream.
        Err(Unreadable::BrokenOff) => return Err(BrokenOff),
        Err(Unreadable::TooLarge) => {
            let identity = Identity::new(&backend, &Received::default());
            let reply = Reply::refusal(&Refusal::too_large());
            return Ok(
                reply.respond(identity, |script| play(script, arrival, visit, Outcome::Rejected))
            );
        }
    };
    visit.body(received.bytes.len(), &received.sha256);
    let exchange = Exchange { backend, arrival, parts, received };
    match exchange.backend.effect() {
        Effect::Hang => {
            let _held_until_the_client_leaves = visit;
            pending().await
        }
        Effect::Cut(sabotage) => {
            visit.end(Outcome::Faulted);
            if orders.try_send(sabotage).is_err() {
                tracing::trace!("the connection is being destroyed already");
            }
            pending().await
        }
        Effect::Refuse(refusal) => {
            Ok(exchange.finish(Reply::refusal(&refusal).ending(Outcome::Faulted), visit))
        }
        Effect::HalfRefuse(refusal, body) => {
            let reply = Reply::refusal(&refusal).ending(Outcome::Faulted);
            Ok(exchange.finish(reply.half(&refusal, body), visit))
        }
        Effect::Answer(pace, ending) => Ok(exchange.answered(pace, ending, visit).await),
    }
}

impl Exchange {
    async fn answered(self, pace: Pace, ending: Ending, visit: Visit) -> Response<AnswerBody> {
        let reply =
            self.reply(pace, &ending, &visit).unwrap_or_else(|refusal| Reply::refusal(&refusal));
        sleep_until(self.arrival + reply.at).await;
        self.finish(reply, visit)
    }

    fn finish(&self, reply: Reply, visit: Visit) -> Response<AnswerBody> {
        let identity = Identity::new(&self.backend, &self.received);
        let outcome = reply.outcome;
        reply.respond(identity, |script| play(script, self.arrival, visit, outcome))
    }

    fn reply(&self, pace: Pace, ending: &Ending, visit: &Visit) -> Result<Reply, Refusal> {
        self.backend.admit(&self.parts.headers)?;
        let (surface, deployment) = match route(&self.parts.method, &self.parts.uri)? {
            Route::Ask(surface, deployment) => (surface, deployment),
            Route::Catalogue => {
                return Ok(Reply::json(&models::catalogue(&self.backend.deployments())));
            }
            Route::Models => return Ok(Reply::json(&models::list(&self.backend.deployments()))),
            Route::Model(id) if self.backend.deploys(&id) => {
                return Ok(Reply::json(&models::one(&id)));
            }
            Route::Model(_) => return Err(Refusal::unknown_deployment()),
        };
        let ask = ask(surface, deployment, &self.received.bytes)?;
        let draft = self.backend.draft(&ask, pace)?;
        let reply = match ask.delivery {
            Delivery::Whole => whole_reply(&ask, draft, ending, self.backend.clock.unix()),
            Delivery::Stream | Delivery::StreamWithUsage => {
                visit.streams();
                streamed_reply(&ask, &draft, ending)
            }
        };
        let outcome = if *ending == Ending::Whole { Outcome::Completed } else { Outcome::Faulted };
        Ok(reply.ending(outcome).of(&ask.deployment))
    }
}

fn streamed_reply(ask: &Ask, draft: &Draft, ending: &Ending) -> Reply {
    let pieces = match ask.surface {
        Surface::Chat | Surface::Embeddings => chat_pieces(draft, ask.delivery),
        Surface::Completions => completion_pieces(draft, ask.delivery),
    };
    Reply::events(draft.timing.headers, stream(pieces, draft.timing, ending))
}

/// An answer that is not streamed comes when its last token would have come.
fn whole_reply(ask: &Ask, mut draft: Draft, ending: &Ending, unix: Duration) -> Reply {
    match ending {
        // There are no events to put the error into.
        Ending::Error(mishap) => return Reply::refusal(&mishap_refusal(*mishap, unix)),
        Ending::Empty => draft.tokens = 0,
        Ending::Whole | Ending::Hang(_) | Ending::Truncated(_) => {}
    }
    let (at, body) = match ask.surface {
        Surface::Chat => (draft.timing.token(draft.tokens), chat_body(&draft)),
        Surface::Completions => (draft.timing.token(draft.tokens), completion_body(&draft)),
        Surface::Embeddings => (draft.timing.first, embeddings::body(ask, &draft)),
    };
    let body = Bytes::from(body.to_string());
    let length = body.len();
    match ending {
        Ending::Hang(_) => Reply::sized(draft.timing.headers, length, hang()),
        Ending::Truncated(_) => Reply::sized(at, length, broken(at, &body)),
        Ending::Whole | Ending::Empty | Ending::Error(_) => {
            Reply::sized(at, length, whole(at, body, draft.tokens))
        }
    }
}
