//! A stream whose header is ours: it was sent before there was an answer.
//!
//! A streaming client is not kept waiting for ever: timers between us and it cut at a minute or four, and a
//! reasoning model thinks for longer. After a while it gets a header of ours, and a comment now and then while
//! the race goes on behind it. What Azure's header says is then lost to it, and a failure can only be told inside
//! the stream. Some clients take no comments (azure-ai-inference for Python raises on every line that is not
//! `data:`); for them the time until then can be made long.

use crate::azure::in_stream::{WAITING, error_event};
use crate::azure::sse::is_event_stream;
use crate::azure::status::error_code;
use crate::exchange::AnswerKind;
use crate::proxy::admitted::Request;
use crate::proxy::race::{Race, Step, Winner};
use crate::proxy::shed;
use crate::time::Time;
use bytes::Bytes;
use http::header;
use pingora_core::Result;
use pingora_http::ResponseHeader;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A waiting client hears from us this often; more often where the header was not held for as long, since
/// whoever sets that time knows of a shorter timer.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
const COMMENT_LEAST: Duration = Duration::from_millis(50);

/// A stream whose header was sent before there was an answer.
pub(super) struct Early {
    header: ResponseHeader,
    request: Arc<Request>,
    /// Until there is an answer. In a mutex that is never locked, since a race can only be used by one thread
    /// at a time and Pingora asks for what can be shared.
    race: Option<Mutex<Race>>,
    next_comment: Time,
}

impl Early {
    /// Goes on with a race behind a header of ours.
    pub(super) fn new(race: Race) -> Result<Self> {
        let mut header = ResponseHeader::build(200, Some(8))?;
        header.insert_header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")?;
        header.insert_header(header::CACHE_CONTROL, "no-cache")?;
        let request = Arc::clone(race.request());
        let next_comment = request.now();
        Ok(Self { header, request, race: Some(Mutex::new(race)), next_comment })
    }

    /// What the client was sent.
    pub(super) fn header(&self) -> &ResponseHeader {
        &self.header
    }

    /// Whether the race is over.
    pub(super) fn is_over(&self) -> bool {
        self.race.is_none()
    }

    /// Waits for the next thing to say, or for the winner.
    pub(super) async fn wait(&mut self) -> Said {
        let Some(race) = self.race.as_mut() else { return Said::Nothing };
        let race = race.get_mut().unwrap_or_else(PoisonError::into_inner);
        match race.run(Some(self.next_comment)).await {
            Step::Open => {
                let pause = self.request.patience.hold.clamp(COMMENT_LEAST, COMMENT_EVERY);
                self.next_comment = self.request.now() + pause;
                Said::Chunk(Bytes::from_static(WAITING))
            }
            Step::Won(winner) => {
                self.race = None;
                self.judge(winner)
            }
            Step::Lost(refusal) => {
                self.race = None;
                self.request.progress.lock().told = Some(refusal.code().to_owned());
                Said::Last(error_event(refusal.status(), b"", &refusal), None)
            }
        }
    }

    /// A stream goes on as if nothing had been; anything else can only be told as an error.
    fn judge(&self, winner: Box<Winner>) -> Said {
        let answer = &winner.answer;
        let Some(header) = answer.session.response_header() else { return Said::Nothing };
        let id = header.headers.get("apim-request-id").and_then(|v| v.to_str().ok());
        self.request.progress.lock().upstream_id = id.map(str::to_owned);
        if answer.kind == AnswerKind::Good && is_event_stream(&header.headers) {
            return Said::Winner(winner);
        }
        let otherwise = shed::come_back();
        let status = header.status;
        let status = if status.is_success() { otherwise.status() } else { status };
        let body = answer.held.clone().unwrap_or_default();
        let code = error_code(&body);
        let code = code.map_or_else(|| otherwise.code().to_owned(), std::borrow::Cow::into_owned);
        self.request.progress.lock().told = Some(code);
        Said::Last(error_event(status, &body, &otherwise), Some(winner))
    }
}

/// What a waiting client gets next.
pub(super) enum Said {
    /// This, and more later.
    Chunk(Bytes),
    /// This, and nothing more; with the answer that it tells of.
    Last(Bytes, Option<Box<Winner>>),
    /// What the winner says.
    Winner(Box<Winner>),
    /// It was all said.
    Nothing,
}
