//! Plays a script as the body of a response.
//!
//! The body holds the request's [`Visit`]. When the last step has been handed out, the visit ends with the
//! outcome that was foreseen; when the server drops the body before, because the client has gone, the visit
//! ends as cancelled.

use crate::mock::ledger::{Outcome, Visit};
use crate::mock::script::{Script, Step};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame};
use std::iter::Peekable;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until};

/// A request or an answer ended before its end: the client left, or a fault broke the answer off.
#[derive(Clone, Copy, Debug, Error)]
#[error("broken off before the end")]
pub(super) struct BrokenOff;

pub(super) type AnswerBody = UnsyncBoxBody<Bytes, BrokenOff>;

/// A body that follows `script`, whose times count from `arrival`.
pub(super) fn play(script: Script, arrival: Instant, visit: Visit, outcome: Outcome) -> AnswerBody {
    let timer = Box::pin(sleep_until(arrival));
    PlayedBody { script: script.peekable(), arrival, timer, breaks_at: None, visit, outcome }
        .boxed_unsync()
}

struct PlayedBody {
    script: Peekable<Script>,
    arrival: Instant,
    timer: Pin<Box<Sleep>>,
    breaks_at: Option<Instant>,
    visit: Visit,
    outcome: Outcome,
}

/// What was handed out just before a break has this long to leave the server's buffers: breaking off throws
/// away what is still there.
const FLUSH: Duration = Duration::from_millis(5);

impl PlayedBody {
    fn poll_until(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(context)
    }

    fn poll_break(&mut self, context: &mut Context<'_>) -> Poll<BrokenOff> {
        let breaks_at = *self.breaks_at.get_or_insert_with(|| Instant::now() + FLUSH);
        ready!(self.poll_until(breaks_at, context));
        self.script.next();
        self.visit.end(self.outcome);
        Poll::Ready(BrokenOff)
    }
}

impl Body for PlayedBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        let at = match this.script.peek() {
            None => return Poll::Ready(None),
            // Whoever waits here is woken by nothing; the server drops this body when the client leaves.
            Some(Step::Hang) => return Poll::Pending,
            Some(Step::Send { at, .. } | Step::Abort { at }) => *at,
        };
        if this.breaks_at.is_none() {
            ready!(this.poll_until(this.arrival + at, context));
        }
        let Some(Step::Send { bytes, tokens, .. }) = this.script.next_if(Step::sends) else {
            return this.poll_break(context).map(|broken| Some(Err(broken)));
        };
        this.visit.tokens(tokens);
        if this.script.peek().is_none() {
            this.visit.end(this.outcome);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
