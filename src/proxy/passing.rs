//! A stream that is passed on before its first content, since nothing else could be tried.
//!
//! Its attempt is still judged by that content: here the lease is kept and settled when it passes, or when it
//! is clear that it does not come.

use crate::azure::limit_kind::{LimitKind, limit_kind};
use crate::exchange::{AnswerKind, Failure, Found, Outcome};
use crate::proxy::admitted::Request;
use crate::proxy::watch::Watch;
use crate::routing::Attempts;
use crate::time::Time;
use bytes::Bytes;
use http::HeaderMap;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::{Error, ErrorType, Result};
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// What is still open about such a stream.
pub(super) struct Passing {
    request: Arc<Request>,
    watch: Watch,
    attempts: Attempts,
    /// The rest that its header asks for, should it turn out to be a limit.
    rest: Option<Duration>,
}

/// Whether the attempt is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Not yet.
    No,
    /// It was good.
    Good,
    /// It was not.
    Failed,
}

impl Passing {
    pub(super) fn new(
        request: Arc<Request>,
        mut watch: Watch,
        attempts: Attempts,
        rest: Option<Duration>,
    ) -> Self {
        watch.keep_by_progress();
        Self { request, watch, attempts, rest }
    }

    /// Reads the next chunk, minding the deadlines meanwhile. After an error the attempt is settled.
    pub(super) async fn read(&mut self, session: &mut HttpSession) -> Result<Option<Bytes>> {
        let read = {
            // One future to its end: a read that is given up may lose what it has read.
            let mut reading = pin!(session.read_response_body());
            loop {
                let now = self.request.now();
                let is_over = self.is_over(now);
                self.watch.overdue(now);
                let next =
                    self.watch.next_deadline().into_iter().chain(self.watch.time_out()).min();
                let pause = next.map_or(Duration::MAX, |next| next.since(now));
                tokio::select! {
                    biased;
                    read = &mut reading => break read.map_err(|error| (Outcome::Reset, error)),
                    () = ready(()), if is_over => break Err(late()),
                    () = sleep(pause) => {}
                }
            }
        };
        read.map_err(|(outcome, error)| {
            self.fail(outcome, LimitKind::default());
            error
        })
    }

    /// Whether its time has run out; if that is evidence only, it goes on.
    fn is_over(&mut self, now: Time) -> bool {
        let timed_out = self.watch.is_timed_out(now);
        if timed_out && !self.watch.is_cut() {
            self.watch.outlast(now);
        }
        timed_out && self.watch.is_cut()
    }

    /// Takes what the next chunk came to; `None`: what the end did.
    pub(super) fn saw(&mut self, found: Found, chunk: Option<&[u8]>) -> Settled {
        match found {
            Found::Nothing => {
                self.watch.chunk_came(self.request.now());
                Settled::No
            }
            Found::Content => {
                self.watch.marks.first_token = Some(self.request.now());
                self.watch.succeed(AnswerKind::Good);
                Settled::Good
            }
            Found::Complete => {
                self.watch.succeed(AnswerKind::Good);
                Settled::Good
            }
            Found::Failed(outcome) => {
                let said = chunk.unwrap_or_default();
                self.fail(outcome, limit_kind(&HeaderMap::new(), said, self.watch.tokens()));
                Settled::Failed
            }
        }
    }

    fn fail(&mut self, outcome: Outcome, kind: LimitKind) {
        let failure = Failure { rest: self.rest, kind, ..Failure::bare(outcome) };
        let how = self.watch.fail(&failure, &self.attempts);
        let (model, target) = (self.request.model(), self.watch.target());
        for event in self.attempts.gave_up(&model.pool, target, how, self.request.now()) {
            self.request.tell(Some(event));
        }
    }
}

fn late() -> (Outcome, Box<Error>) {
    (Outcome::TimedOut, Error::explain(ErrorType::ReadTimedout, "no first content in time"))
}
