//! One attempt in a race: the exchange that runs, and the watch over it.
//!
//! The exchange runs in two steps, up to the response header and on to the first content: between them the
//! race may find that there is nothing to wait for. Dropped, a leg closes its connection.
//!
//! The first content is due after so long from the end of the upload. Before that the connect and the write have
//! deadlines of their own.

use crate::clock::Clock;
use crate::exchange::{
    Answer, Begun, Failure, Marks, Outcome, Sending, Upload, UploadProgress, begin, first_content,
};
use crate::proxy::watch::Watch;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pingora_core::connectors::http::Connector as HttpConnector;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::timeout_at;

/// One attempt that is under way.
pub(super) struct Leg {
    pub(super) watch: Watch,
    work: BoxFuture<'static, Said>,
    http: Arc<HttpConnector>,
    times: Times,
    /// What the watch knows of the upload.
    noted: Upload,
}

/// When the first content of an attempt is due.
#[derive(Clone)]
struct Times {
    clock: Clock,
    patience: Duration,
    upload: UploadProgress,
}

impl Times {
    /// The moment at which the first content is due; `None` until the end of the upload.
    fn due(&self) -> Option<Instant> {
        let Upload::Taken { at, .. } = self.upload.get() else { return None };
        Some(Instant::now() + self.patience.saturating_sub(self.clock.now().since(at)))
    }

    /// Bounds a step by that moment.
    async fn bound<T>(&self, step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let mut step = pin!(step);
        // The upload ends no earlier than now, so the first content is due no earlier than this.
        let mut due = self.due().unwrap_or_else(|| Instant::now() + self.patience);
        loop {
            if let Ok(result) = timeout_at(due, &mut step).await {
                return result;
            }
            match self.due() {
                Some(real) if real <= Instant::now() => {
                    return Err(Failure::bare(Outcome::TimedOut));
                }
                Some(real) => due = real,
                None => due = Instant::now() + self.patience,
            }
        }
    }
}

/// What a step of an attempt came to.
pub(super) struct Said {
    marks: Marks,
    pub(super) result: Result<Begun, Failure>,
}

impl Leg {
    /// Sends the request; its first content is due `patience` after the end of the upload.
    pub(super) fn start(
        http: &Arc<HttpConnector>,
        sending: Sending,
        watch: Watch,
        (clock, patience): (Clock, Duration),
    ) -> Self {
        let times = Times { clock, patience, upload: sending.upload.clone() };
        let (connector, bounds) = (Arc::clone(http), times.clone());
        let work = async move {
            let mut marks = Marks::default();
            let step = begin(&connector, &sending, &clock, &mut marks);
            let result = bounds.bound(step).await;
            // The body is given back here.
            drop(sending);
            Said { marks, result: tidied(result, &connector).await }
        };
        let http = Arc::clone(http);
        Self { watch, work: work.boxed(), http, times, noted: Upload::default() }
    }

    /// The header is there, and the race waits for the first content.
    pub(super) fn go_on(&mut self, answer: Answer) {
        let (connector, times) = (Arc::clone(&self.http), self.times.clone());
        let mut marks = self.watch.marks;
        let operation = self.watch.operation();
        let work = async move {
            let step = first_content(answer, operation, &times.clock, &mut marks);
            let result = times.bound(step).await.map(Begun::Ready);
            Said { marks, result: tidied(result, &connector).await }
        };
        self.work = work.boxed();
    }

    /// When its first content is due at the latest.
    pub(super) fn due(&self) -> Instant {
        self.times.due().unwrap_or_else(|| Instant::now() + self.times.patience)
    }

    /// Takes note of the upload; whether it has moved on.
    fn note_upload(&mut self) -> bool {
        let upload = self.times.upload.get();
        let moved = upload != self.noted;
        if moved {
            self.noted = upload;
            self.watch.uploads(upload);
        }
        moved
    }
}

/// The next step that ends, and the position of its leg, which must be sent on or taken out. `None`: an upload has
/// moved on, and with it the deadlines. Never, without legs.
pub(super) async fn first_to_speak(legs: &mut [Leg]) -> Option<(usize, Result<Begun, Failure>)> {
    poll_fn(|context| {
        for (index, leg) in legs.iter_mut().enumerate() {
            let step = leg.work.as_mut().poll(context);
            let moved = leg.note_upload();
            if let Poll::Ready(said) = step {
                leg.watch.marks = said.marks;
                return Poll::Ready(Some((index, said.result)));
            }
            if moved {
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
