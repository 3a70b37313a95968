//! A streamed response on its way to the client: scanned once, and judged by its own events.
//!
//! Once these say that the response is whole, nothing that happens to its connection is an error, and the client does
//! not wait long for what may follow. Where they say that it is under way, the end of the connection breaks it off,
//! however clean. What the events must say is the table in [`azure::ending`](crate::azure::ending).

use crate::azure::ending::Ending;
use crate::azure::sse::{Scanner, StreamError, is_event_stream};
use crate::exchange::{Answer, Found};
use crate::proxy::admitted::Request;
use crate::proxy::progress::Scanned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the rest of a whole response is waited for: usage, annotations and the closing mark follow its last token
/// within milliseconds, those of a content filter that works beside the model within a second or so.
const REST_WAIT: Duration = Duration::from_secs(2);

/// How long the end of the connection's body is waited for behind the last event, so that the connection can be kept.
/// The client has all of the response meanwhile.
const END_WAIT: Duration = Duration::from_millis(250);

/// What is known of a streamed response.
pub(super) struct Streaming {
    request: Arc<Request>,
    scanner: Box<Scanner>,
    /// Whether what looks whole may go on for as long as any response: with the next picture.
    may_go_on: bool,
    /// Since when it has come this far.
    since: (Ending, Instant),
}

impl Streaming {
    /// Begins with what is held of a response; `None`: it is no good stream.
    pub(super) fn begin(answer: &mut Answer, request: &Arc<Request>) -> Option<Self> {
        let header = answer.session.response_header()?;
        if !header.status.is_success() || !is_event_stream(&header.headers) {
            return None;
        }
        let scanner = answer.scanner.take().unwrap_or_else(|| {
            let mut scanner = Box::new(Scanner::new(request.operation()));
            scanner.scan(answer.held.as_deref().unwrap_or_default());
            scanner
        });
        let request = Arc::clone(request);
        let may_go_on = request.admitted.may_be_several_pictures();
        let since = (Ending::Unknown, Instant::now());
        let mut streaming = Self { request, scanner, may_go_on, since };
        streaming.publish();
        Some(streaming)
    }

    /// Takes the next chunk; `None`: the response has ended. Returns what that means for a response without content.
    pub(super) fn take(&mut self, chunk: Option<&[u8]>) -> Found {
        let found = Found::scan(&mut self.scanner, chunk);
        self.publish();
        found
    }

    /// Whether its first content is still to come and nobody waits for it: the response is made in the background, or
    /// resumed. Its model may think for as long as it likes.
    pub(super) fn is_quiet(&self) -> bool {
        !self.request.admitted.awaits_content() && !self.scanner.seen().first_token
    }

    pub(super) fn ending(&self) -> Ending {
        self.since.0
    }

    /// How long the next chunk is waited for; `None`: as long as for any.
    pub(super) fn wait(&self) -> Option<Duration> {
        let (ending, since) = self.since;
        let wait = match ending {
            Ending::Whole if self.may_go_on => return None,
            Ending::Unknown | Ending::Open => return None,
            Ending::Whole | Ending::Failed(_) => REST_WAIT,
            Ending::Closed => END_WAIT,
        };
        Some(wait.saturating_sub(since.elapsed()))
    }

    fn publish(&mut self) {
        let scanned = Scanned { seen: self.scanner.seen(), usage: self.scanner.usage() };
        self.request.progress.set_scanned(scanned);
        let ending = self.scanner.ending();
        if ending == self.since.0 {
            return;
        }
        self.since = (ending, Instant::now());
        if let Ending::Failed(error) = ending {
            let code = match error {
                StreamError::Error => "upstream_error",
                StreamError::RateLimited => "rate_limit_exceeded",
            };
            self.request.progress.lock().told = Some(code.to_owned());
        }
    }
}
