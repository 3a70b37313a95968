//! One attempt in a race: the exchange that runs, and the watch over it.
//!
//! The exchange runs in two steps, up to the response header and on to the first content: between them the
//! race may find that there is nothing to wait for. Dropped, a leg closes its connection.

use crate::azure::stored::StoredId;
use crate::clock::Clock;
use crate::exchange::{Answer, Begun, Failure, Marks, Outcome, Sending, begin, first_content};
use crate::proxy::watch::Watch;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pingora_core::connectors::http::Connector as HttpConnector;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::timeout_at;

/// One attempt that is under way.
pub(super) struct Leg {
    pub(super) watch: Watch,
    /// Whether it is the first attempt of its request.
    pub(super) is_first: bool,
    work: BoxFuture<'static, Said>,
    http: Arc<HttpConnector>,
    clock: Clock,
    due: Instant,
    /// The id of its response, where that may have to be deleted.
    pub(super) stored: Option<StoredId>,
}

/// What a step of an attempt came to.
pub(super) struct Said {
    marks: Marks,
    pub(super) result: Result<Begun, Failure>,
}

impl Leg {
    /// Sends the request; its first content is due after `patience`.
    pub(super) fn start(
        http: &Arc<HttpConnector>,
        sending: Sending,
        watch: Watch,
        (clock, patience): (Clock, Duration),
    ) -> Self {
        let due = Instant::now() + patience;
        let (connector, stored) = (Arc::clone(http), sending.stored.clone());
        let work = async move {
            let mut marks = Marks::default();
            let step = begin(&connector, &sending, &clock, &mut marks);
            let result = in_time(due, step).await;
            // The body is given back here.
            drop(sending);
            Said { marks, result: tidied(result, &connector).await }
        };
        let http = Arc::clone(http);
        Self { watch, is_first: false, work: work.boxed(), http, clock, due, stored }
    }

    /// The header is there, and the race waits for the first content.
    pub(super) fn go_on(&mut self, answer: Answer) {
        let (connector, clock, due) = (Arc::clone(&self.http), self.clock, self.due);
        let mut marks = self.watch.marks;
        let asked = (self.watch.operation(), self.watch.tokens());
        let work = async move {
            let step = first_content(answer, asked, &clock, &mut marks);
            let result = in_time(due, step).await.map(Begun::Ready);
            Said { marks, result: tidied(result, &connector).await }
        };
        self.work = work.boxed();
    }

    /// When its first content is due at the latest.
    pub(super) fn due(&self) -> Instant {
        self.due
    }
}

/// The next step that ends, and the position of its leg, which must be sent on or taken out. Never, without
/// legs.
pub(super) async fn first_to_speak(legs: &mut [Leg]) -> (usize, Result<Begun, Failure>) {
    poll_fn(|context| {
        for (index, leg) in legs.iter_mut().enumerate() {
            if let Poll::Ready(said) = leg.work.as_mut().poll(context) {
                leg.watch.marks = said.marks;
                return Poll::Ready((index, said.result));
            }
        }
        Poll::Pending
    })
    .await
}

async fn in_time<T>(
    due: Instant,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match timeout_at(due, step).await {
        Ok(result) => result,
        Err(_) => Err(Failure::bare(Outcome::TimedOut)),
    }
}

/// Gives the connection of an answer back that nobody will read.
async fn tidied(result: Result<Begun, Failure>, http: &HttpConnector) -> Result<Begun, Failure> {
    match result {
        Err(mut failure) if !failure.is_spare => {
            if let Some(answer) = failure.answer.take() {
                answer.release(http).await;
            }
            Err(failure)
        }
        other => other,
    }
}
