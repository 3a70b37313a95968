//! From a request to its answer.
//!
//! The fault comes first, since a broken service breaks before it looks at what it was asked. Then credential,
//! path, deployment and body are checked in the order in which Azure complains. Each answer is a script
//! ([`crate::mock::script`]) that starts with the arrival of the request.

use crate::mock::ask::{Delivery, ask, wide_ask};
use crate::mock::backend::Backend;
use crate::mock::behaviour::Pace;
use crate::mock::body::{AnswerBody, BrokenOff, play};
use crate::mock::connection::Sabotage;
use crate::mock::effect::Effect;
use crate::mock::fields;
use crate::mock::ledger::{Outcome, Visit};
use crate::mock::models;
use crate::mock::realtime::{Session, admitted, switching};
use crate::mock::receive::{Received, Unreadable, receive};
use crate::mock::refusal::Refusal;
use crate::mock::reply::{Identity, Reply};
use crate::mock::resource;
use crate::mock::route::{Route, Surface, route};
use crate::mock::script::{Ending, Mishap};
use crate::mock::work::{Work, send, work};
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use std::future::pending;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Where a request can leave orders for its connection.
#[derive(Clone)]
pub(super) struct Orders {
    /// It is destroyed.
    pub(super) sabotage: mpsc::Sender<Sabotage>,
    /// It goes on as a session, once HTTP is done with it.
    pub(super) sessions: mpsc::Sender<Session>,
}

/// A request that has been read.
pub(super) struct Exchange {
    pub(super) backend: Arc<Backend>,
    arrival: Instant,
    pub(super) parts: Parts,
    pub(super) received: Received,
}

/// Answers a request. Fails only when the request did not arrive in full.
pub(super) async fn answer(
    backend: Arc<Backend>,
    orders: Orders,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, BrokenOff> {
    let arrival = Instant::now();
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let visit = backend.ledger.arrive(&parts);
    let received = match receive(body).await {
        Ok(received) => received,
        // Nobody is there to read an answer. The error ends the connection, or the HTTP/2 stream.
        Err(Unreadable::BrokenOff) => return Err(BrokenOff),
        Err(Unreadable::TooLarge) => {
            let received = Received::default();
            let exchange = Exchange { backend, arrival, parts, received };
            return Ok(exchange.finish(Reply::refusal(&Refusal::too_large()), visit));
        }
    };
    visit.body(received.bytes.len(), &received.sha256);
    let exchange = Exchange { backend, arrival, parts, received };
    exchange.affected(orders, upgrade, visit).await
}

impl Exchange {
    async fn affected(
        self,
        orders: Orders,
        upgrade: Option<OnUpgrade>,
        mut visit: Visit,
    ) -> Result<Response<AnswerBody>, BrokenOff> {
        match self.backend.effect() {
            Effect::Hang => {
                let _held_until_the_client_leaves = visit;
                pending().await
            }
            Effect::Cut(sabotage) => {
                visit.end(Outcome::Faulted);
                if orders.sabotage.try_send(sabotage).is_err() {
                    tracing::trace!("the connection is being destroyed already");
                }
                pending().await
            }
            Effect::Refuse(refusal) => {
                Ok(self.finish(Reply::refusal(&refusal).ending(Outcome::Faulted), visit))
            }
            Effect::HalfRefuse(refusal, body) => {
                let reply = Reply::refusal(&refusal).ending(Outcome::Faulted);
                Ok(self.finish(reply.half(&refusal, body), visit))
            }
            Effect::Answer(pace, ending) => match route(&self.parts.method, &self.parts.uri) {
                Ok(Route::Realtime(model)) => Ok(self.opened(&orders, upgrade, model, visit)),
                found => Ok(self.answered(found, pace, ending, visit).await),
            },
        }
    }

    /// Opens a session, which the connection runs when this response is sent.
    fn opened(
        &self,
        orders: &Orders,
        upgrade: Option<OnUpgrade>,
        model: Option<String>,
        visit: Visit,
    ) -> Response<AnswerBody> {
        let upgrade = upgrade.ok_or_else(Refusal::upgrade_required);
        let admitted = admitted(&self.backend, &self.parts, model);
        let (model, upgrade) = match admitted.and_then(|model| Ok((model, upgrade?))) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.finish(Reply::refusal(&refusal), visit),
        };
        visit.model(&model);
        let session = Session { upgrade, backend: Arc::clone(&self.backend), model, visit };
        if orders.sessions.try_send(session).is_err() {
            tracing::debug!("a connection can be upgraded once");
        }
        let mut response = switching(&self.parts);
        Identity::new(&self.backend, &self.received).put(response.headers_mut());
        response
    }

    async fn answered(
        self,
        found: Result<Route, Refusal>,
        pace: Pace,
        ending: Ending,
        visit: Visit,
    ) -> Response<AnswerBody> {
        let reply = self
            .reply(found, pace, &ending, &visit)
            .unwrap_or_else(|refusal| Reply::refusal(&refusal));
        sleep_until(self.arrival + reply.at).await;
        self.finish(reply, visit)
    }

    fn finish(&self, reply: Reply, visit: Visit) -> Response<AnswerBody> {
        let identity = Identity::new(&self.backend, &self.received);
        let outcome = reply.outcome;
        reply.respond(identity, |script| play(script, self.arrival, visit, outcome))
    }

    fn reply(
        &self,
        found: Result<Route, Refusal>,
        pace: Pace,
        ending: &Ending,
        visit: &Visit,
    ) -> Result<Reply, Refusal> {
        self.backend.admit(&self.parts.headers)?;
        let backend = &self.backend;
        let reply = match found? {
            Route::Ask(surface, deployment) => {
                self.generated((surface, deployment), pace, ending, visit)?
            }
            Route::Resource(path) => resource::reply(self, &path, pace, ending, visit)?,
            Route::Catalogue => return Ok(Reply::json(&models::catalogue(&backend.deployments()))),
            Route::Models => return Ok(Reply::json(&models::list(&backend.deployments()))),
            Route::Model(id) if backend.deploys(&id) => return Ok(Reply::json(&models::one(&id))),
            Route::Model(_) => return Err(Refusal::unknown_deployment()),
            Route::Realtime(_) => return Err(Refusal::upgrade_required()),
        };
        let outcome = if *ending == Ending::Whole { Outcome::Completed } else { Outcome::Faulted };
        Ok(reply.ending(outcome))
    }

    fn generated(
        &self,
        (surface, deployment): (Surface, Option<String>),
        pace: Pace,
        ending: &Ending,
        visit: &Visit,
    ) -> Result<Reply, Refusal> {
        let bytes = &self.received.bytes;
        let ask = match surface {
            Surface::Chat | Surface::Completions | Surface::Embeddings => {
                ask(surface, deployment, bytes)?
            }
            Surface::Responses
            | Surface::Images
            | Surface::ImageEdits
            | Surface::Transcription
            | Surface::Translation
            | Surface::Speech => {
                wide_ask(surface, deployment, fields::body(&self.parts.headers, bytes)?)?
            }
        };
        visit.model(&ask.deployment);
        let mut draft = self.backend.draft(&ask, pace)?;
        let now = self.backend.clock.unix();
        if *ending == Ending::Empty && ask.delivery == Delivery::Whole {
            // What comes in one piece is empty by having no words.
            draft.tokens = 0;
        }
        let made = work(&ask, &draft, &mut self.backend.shelf.lock(), now.as_secs())?;
        let streams = matches!(made, Work::Stream(..));
        if streams {
            visit.streams();
        }
        let mut reply = send(made, draft.timing, ending, now);
        let limited = *ending == Ending::Error(Mishap::RateLimit);
        if streams && limited && surface == Surface::Responses {
            // This one is told by the headers of its 200.
            reply = reply.with("retry-after", "3").with("retry-after-ms", "3000");
        }
        Ok(reply.of(&ask.deployment))
    }
}
