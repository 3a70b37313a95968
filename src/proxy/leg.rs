//! One attempt in a race: the exchange that runs, and the watch over it.
//!
//! The exchange runs in two steps, up to the response header and on to the first content: between them the
//! race may find that there is nothing to wait for. Dropped, a leg closes its connection.
//!
//! A leg has no time-out: connect and write have deadlines of their own, and what comes after them is the race's
//! business, which is told how far a leg has come.

use crate::azure::stored::StoredId;
use crate::clock::Clock;
use crate::exchange::{
    Answer, Begun, ExchangeProgress, Failure, Marks, Sending, Stand, begin, first_content,
};
use crate::proxy::watch::Watch;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pingora_core::connectors::http::Connector as HttpConnector;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// One attempt that is under way.
pub(super) struct Leg {
    pub(super) watch: Watch,
    /// Whether it is the first attempt of its request.
    pub(super) is_first: bool,
    work: BoxFuture<'static, Said>,
    http: Arc<HttpConnector>,
    clock: Clock,
    progress: ExchangeProgress,
    /// What the watch knows of it.
    noted: Stand,
    /// The id of its response, where that may have to be deleted.
    pub(super) stored: Option<StoredId>,
}

/// What a step of an attempt came to.
pub(super) struct Said {
    marks: Marks,
    pub(super) result: Result<Begun, Failure>,
}

impl Leg {
    /// Sends the request.
    pub(super) fn start(
        http: &Arc<HttpConnector>,
        sending: Sending,
        watch: Watch,
        clock: Clock,
    ) -> Self {
        let progress = sending.progress.clone();
        let (connector, stored) = (Arc::clone(http), sending.stored.clone());
        let work = async move {
            let mut marks = Marks::default();
            let result = begin(&connector, &sending, &clock, &mut marks).await;
            // The body is given back here.
            drop(sending);
            Said { marks, result: tidied(result, &connector).await }
        };
        let (http, noted) = (Arc::clone(http), Stand::default());
        let work = work.boxed();
        Self { watch, is_first: false, work, http, clock, progress, noted, stored }
    }

    /// The header is there, and the race waits for the first content.
    pub(super) fn go_on(&mut self, answer: Answer) {
        let (connector, clock) = (Arc::clone(&self.http), self.clock);
        let mut marks = self.watch.marks;
        let asked = (self.watch.operation(), self.watch.tokens());
        let work = async move {
            let result = first_content(answer, asked, &clock, &mut marks).await;
            let result = result.map(Begun::Ready);
            Said { marks, result: tidied(result, &connector).await }
        };
        self.work = work.boxed();
    }

    /// Tells the watch how far the exchange has come; whether that is news.
    fn note_progress(&mut self) -> bool {
        let stand = self.progress.get();
        let news = stand != self.noted;
        if news {
            self.noted = stand;
            self.watch.progressed(stand);
        }
        news
    }
}

/// The next step that ends, and the position of its leg, which must be sent on or taken out. `None`: a leg has come
/// further, and its deadlines have changed. Never, without legs.
pub(super) async fn first_to_speak(legs: &mut [Leg]) -> Option<(usize, Result<Begun, Failure>)> {
    poll_fn(|context| {
        for (index, leg) in legs.iter_mut().enumerate() {
            let step = leg.work.as_mut().poll(context);
            let news = leg.note_progress();
            if let Poll::Ready(said) = step {
                leg.watch.marks = said.marks;
                return Poll::Ready(Some((index, said.result)));
            }
            if news {
                return Poll::Ready(None);
            }
        }
        Poll::Pending
    })
    .await
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
