//! One exchange with one target: send the request, wait for its first content.
//!
//! Nothing is passed on from here: the chunks before the first content token (the prompt filter's, the
//! role's) are held, so that a 200 that stays silent, or turns into an error event, can still be answered by
//! another backend. What each answer means is `azure::status`. What it teaches is the caller's business:
//! `proxy` for clients' requests, `probing` for our own.
//!
//! It has two steps, [`begin`] up to the response header and [`first_content`], since a race looks at what is
//! left to try between them. How far the first has come is in [`Sending::progress`].

mod upload;
mod whole;

use crate::azure::form::{Form, is_readable};
use crate::azure::limit::retry_after;
use crate::azure::limit_kind::{LimitKind, limit_kind};
use crate::azure::route::Operation;
use crate::azure::sse::Scanner;
use crate::azure::sse::StreamError;
use crate::azure::sse::is_event_stream;
use crate::azure::status::Verdict;
use crate::azure::status::error_code;
use crate::azure::status::judge;
use crate::azure::stored::StoredId;
use crate::clock::Clock;
use crate::quota::Held;
use crate::time::Time;
use bytes::Bytes;
use http::HeaderMap;
use pingora_core::Result;
use pingora_core::connectors::http::Connector as HttpConnector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use std::time::Duration;
pub(crate) use upload::{ExchangeProgress, Stand, Upload};
pub(crate) use whole::Memory;
use whole::read_more;

/// The most that is held back while waiting for the first content token. A stream that says more than this
/// without content is passed on as it is.
const HOLD_BYTES: usize = 1 << 20;
/// The most that is read of an error answer, to learn its code and to keep the connection.
const ERROR_BODY_BYTES: usize = 64 << 10;
/// How long the body of an error is waited for whose status says it all.
const ERROR_BODY_WAIT: Duration = Duration::from_secs(1);
/// A body that has begun, and the body of an error, are given up after this long without a byte: no model is waited
/// for any more.
const BODY_SILENCE: Duration = Duration::from_mins(2);
/// A kept connection that breaks within this time of its use was closed by the other side before.
const STALE_WITHIN: Duration = Duration::from_secs(1);
/// A group of connections that none is kept in: asking there makes a new one.
const FRESH_GROUP: u64 = 2;

/// What is sent.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(crate) struct Sending {
    pub(crate) peer: HttpPeer,
    pub(crate) request: RequestHeader,
    /// In pieces that follow each other.
    pub(crate) body: Vec<Bytes>,
    pub(crate) operation: Operation,
    /// Whether a stream was asked for: then the first content token counts, else the first byte.
    pub(crate) stream: bool,
    /// Whether it may be sent again when a kept connection breaks: nobody knows what was done.
    pub(crate) replay: bool,
    /// Whether it reads what another backend may have: a 404 then says only that this one has not.
    pub(crate) seek: bool,
    pub(crate) progress: ExchangeProgress,
    /// Where the id of the response is noted, if the response is stored and may have to be deleted.
    pub(crate) stored: Option<StoredId>,
    /// The form that a good response must have.
    pub(crate) form: Form,
    /// What a small JSON response is held with to its end; `None`: it is passed on as it comes.
    pub(crate) memory: Option<Memory>,
    /// About how many tokens it counts as.
    pub(crate) tokens: u64,
}

/// When what was seen, whatever became of the exchange.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) status: u16,
    pub(crate) header: Option<Time>,
    pub(crate) first_token: Option<Time>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Good: a first token, or a first byte of a good answer.
    Ok,
    /// Passed on as it is: the client's own mistake, or nothing else could be tried.
    Passed,
    /// A 4xx that was kept aside: another attempt could still serve the request.
    Refused,
    /// No connection.
    Connect,
    /// The connection broke before any content.
    Reset,
    /// The connection took nothing more of the request, which was never whole.
    UploadStalled,
    /// No first content token in time.
    TimedOut,
    /// 5xx, 408 or 499.
    ServerError,
    /// 429, or its event inside a stream.
    Limited,
    /// Our credential was refused.
    Unauthorised,
    /// The deployment is not there.
    DeploymentMissing,
    /// What is looked for is not there.
    NotHere,
    /// 409 with a Retry-After.
    Conflict,
    /// An error event before any content.
    ErrorEvent,
    /// The stream ended before any content.
    EmptyStream,
    /// A 2xx whose body is empty or not in the form that it must have.
    Malformed,
    /// Good at first, then it broke off or failed after content was passed on.
    BrokenOff,
    /// The client left first.
    ClientAbort,
    /// Another attempt of the same request had its first content earlier.
    Lost,
}

impl Outcome {
    /// The word for logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::UploadStalled => "upload_stalled",
            Self::TimedOut => "timed_out",
            Self::ServerError => "server_error",
            Self::Limited => "limited",
            Self::Unauthorised => "unauthorised",
            Self::DeploymentMissing => "deployment_missing",
            Self::NotHere => "not_here",
            Self::Conflict => "conflict",
            Self::ErrorEvent => "error_event",
            Self::EmptyStream => "empty_stream",
            Self::Malformed => "malformed",
            Self::BrokenOff => "broken_off",
            Self::ClientAbort => "client_abort",
            Self::Lost => "lost",
        }
    }

    /// What an answer that is no success comes to, with the rest that it asked for; `None`: it is the client's.
    pub(crate) const fn of_refusal(verdict: Verdict, rest: Option<Duration>) -> Option<Self> {
        Some(match verdict {
            Verdict::Conflict if rest.is_some() => Self::Conflict,
            Verdict::Serve | Verdict::Success | Verdict::Conflict => return None,
            Verdict::NotDeployed => Self::DeploymentMissing,
            Verdict::Unauthorised => Self::Unauthorised,
            Verdict::Limited => Self::Limited,
            Verdict::Failed => Self::ServerError,
        })
    }

    /// Whether such an answer is passed on when nothing else can be tried.
    pub(crate) const fn is_spare(self) -> bool {
        matches!(self, Self::DeploymentMissing | Self::Conflict)
    }

    /// Whether it counts against the target's health as an error.
    pub(crate) const fn is_error(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::Reset
                | Self::UploadStalled
                | Self::ServerError
                | Self::ErrorEvent
                | Self::EmptyStream
                | Self::Malformed
        )
    }
}

/// A good answer, or one that is passed on.
pub(crate) struct Answer {
    pub(crate) session: HttpSession,
    pub(crate) peer: HttpPeer,
    /// What was read and not yet passed on.
    pub(crate) held: Option<Bytes>,
    /// The scanner that has read what is held of a stream, if one has.
    pub(crate) scanner: Option<Box<Scanner>>,
    /// Whether the upstream finished its answer.
    pub(crate) ended: bool,
    /// Whether the upstream took the whole request, without which its connection is of no further use.
    pub(crate) took_all: bool,
    /// What it is.
    pub(crate) kind: AnswerKind,
    progress: ExchangeProgress,
    /// Where its id is noted: see [`Sending::stored`].
    pub(crate) stored: Option<StoredId>,
    /// The memory that it holds until the client has it.
    pub(crate) room: Option<Held>,
}

impl Answer {
    /// Reads what is left, discards it and gives the connection back.
    pub(crate) async fn finish(mut self, http: &HttpConnector) {
        while !self.ended {
            self.held = None;
            if read_more(&mut self).await.is_err() {
                return;
            }
        }
        self.release(http).await;
    }

    /// Gives the connection back, if it can be used again; closes it otherwise.
    pub(crate) async fn release(mut self, http: &HttpConnector) {
        if self.ended && self.took_all {
            let idle = self.peer.options.idle_timeout;
            http.release_http_session(self.session, &self.peer, idle).await;
        } else {
            self.session.shutdown().await;
        }
    }
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    /// Good; `Marks::first_token` tells whether its speed counts.
    Good,
    /// Passed on as it is; it says nothing about the target.
    Passed,
}

/// No answer to pass on, or only for want of a better one.
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    /// The answer, where there was one.
    pub(crate) answer: Option<Answer>,
    /// Whether the contract passes it on when nothing else can be tried.
    pub(crate) is_spare: bool,
    /// The rest that a rate limit asked for.
    pub(crate) rest: Option<Duration>,
    /// What a rate limit counts.
    pub(crate) kind: LimitKind,
}

impl Failure {
    pub(crate) fn bare(outcome: Outcome) -> Self {
        Self { outcome, answer: None, is_spare: false, rest: None, kind: LimitKind::default() }
    }
}

/// How far an exchange has come.
pub(crate) enum Begun {
    /// The header of a good stream is there, its first content is not.
    Stream(Answer),
    /// An answer that can be passed on.
    Ready(Answer),
}

/// Runs one exchange to its first content, or to its failure. The caller bounds its time.
pub(crate) async fn exchange(
    http: &HttpConnector,
    sending: &Sending,
    clock: &Clock,
    marks: &mut Marks,
) -> std::result::Result<Answer, Failure> {
    match begin(http, sending, clock, marks).await? {
        Begun::Ready(answer) => Ok(answer),
        Begun::Stream(answer) => {
            first_content(answer, (sending.operation, sending.tokens), clock, marks).await
        }
    }
}

/// Sends the request and waits for the header of its answer; for all of a bad answer.
pub(crate) async fn begin(
    http: &HttpConnector,
    sending: &Sending,
    clock: &Clock,
    marks: &mut Marks,
) -> std::result::Result<Begun, Failure> {
    let (session, took_all) = send(http, sending, clock).await?;
    marks.header = Some(clock.now());
    let header = session.response_header();
    marks.status = header.map_or(0, |h| h.status.as_u16());
    let event_stream = header.is_some_and(|h| is_event_stream(&h.headers));
    let readable = header.is_some_and(|h| is_readable(h.status.as_u16(), &h.headers));
    let kind = AnswerKind::Good;
    // Not the peer of a second try: what is kept is kept where the next request looks for it.
    let peer = sending.peer.clone();
    let (held, scanner, room, stored) = (None, None, None, sending.stored.clone());
    let progress = sending.progress.clone();
    let answer = Answer {
        session,
        peer,
        held,
        scanner,
        ended: false,
        took_all,
        kind,
        progress,
        stored,
        room,
    };
    if !(200..300).contains(&marks.status) {
        let answer = judge_error(answer, (marks.status, sending.tokens), clock).await?;
        if sending.seek && marks.status == 404 {
            // It says only that this backend has not got it.
            let outcome = Outcome::NotHere;
            let failure = Failure { is_spare: true, ..Failure::bare(outcome) };
            return Err(Failure { answer: Some(answer), ..failure });
        }
        return Ok(Begun::Ready(answer));
    }
    if sending.stream && event_stream {
        return Ok(Begun::Stream(answer));
    }
    let answer = whole::read(answer, sending, readable).await?;
    if sending.operation == Operation::Embeddings {
        // Time to headers is what an embedding has for a first token.
        marks.first_token = marks.header;
    }
    Ok(Begun::Ready(answer))
}

/// Sends the request and waits for the response header. A kept connection that turns out to be dead at once
/// is replaced by a fresh one. Also tells whether the upstream took the whole request.
async fn send(
    http: &HttpConnector,
    sending: &Sending,
    clock: &Clock,
) -> std::result::Result<(HttpSession, bool), Failure> {
    let mut peer = sending.peer.clone();
    upload::limit_unsent(&mut peer);
    loop {
        sending.progress.uploads(Upload::Connecting);
        // Boxed: its state is large, and of no use while the answer is waited for.
        let connected = Box::pin(http.get_http_session(&peer)).await;
        let (mut session, reused) = connected.map_err(|_| Failure::bare(Outcome::Connect))?;
        let begun = clock.now();
        match upload::write_and_wait(&mut session, sending, clock).await {
            Ok(took_all) => return Ok((session, took_all)),
            // The other side closed it while it was idle. One that breaks later was worked on: a failure.
            Err(_)
                if reused
                    && sending.replay
                    && peer.group_key != FRESH_GROUP
                    && clock.now().since(begun) < STALE_WITHIN =>
            {
                peer.group_key = FRESH_GROUP;
            }
            Err(error) if upload::is_stalled(&error) => {
                return Err(Failure::bare(Outcome::UploadStalled));
            }
            Err(_) => return Err(Failure::bare(Outcome::Reset)),
        }
    }
}

/// Reads until the first content token, holding what comes before it.
pub(crate) async fn first_content(
    mut answer: Answer,
    (operation, tokens): (Operation, u64),
    clock: &Clock,
    marks: &mut Marks,
) -> std::result::Result<Answer, Failure> {
    let mut scanner = Box::new(Scanner::new(operation));
    loop {
        let Ok(chunk) = read_more(&mut answer).await else {
            return Err(Failure::bare(Outcome::Reset));
        };
        answer.progress.chunk_came(clock.now());
        let mut found = Found::scan(&mut scanner, chunk.as_deref());
        if found == Found::Nothing && answer.ended {
            found = Found::scan(&mut scanner, None);
        }
        let held = answer.held.as_ref().map_or(0, Bytes::len);
        if found != Found::Nothing || held > HOLD_BYTES {
            answer.scanner = Some(scanner);
            return opened((answer, tokens), found, clock, marks);
        }
    }
}

#[expect(clippy::result_large_err, reason = "as in the asynchronous steps around it")]
fn opened(
    (answer, tokens): (Answer, u64),
    found: Found,
    clock: &Clock,
    marks: &mut Marks,
) -> std::result::Result<Answer, Failure> {
    match found {
        Found::Failed(outcome) => {
            let rest = rest_asked(&answer, clock);
            // An empty stream tells the client nothing.
            let is_spare = outcome != Outcome::EmptyStream;
            let kind = kind_of(&answer, tokens);
            Err(Failure { outcome, answer: Some(answer), is_spare, rest, kind })
        }
        // Too much is held: it is passed on as it is, and how fast its model is stays unknown.
        Found::Complete | Found::Nothing => Ok(answer),
        Found::Content => {
            marks.first_token = Some(clock.now());
            Ok(answer)
        }
    }
}

/// What a chunk of a stream before its first content came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing that decides.
    Nothing,
    /// The first content token.
    Content,
    /// It said why it stopped: a complete answer that happens to be empty (filtered, say).
    Complete,
    /// An error event, or an end without content.
    Failed(Outcome),
}

impl Found {
    /// Scans the next chunk; `None`: the answer has ended.
    pub(crate) fn scan(scanner: &mut Scanner, chunk: Option<&[u8]>) -> Self {
        let seen = match chunk {
            Some(chunk) => scanner.scan(chunk),
            None => scanner.finish(),
        };
        if seen.first_token {
            return Self::Content;
        }
        match seen.error {
            Some(StreamError::RateLimited) => Self::Failed(Outcome::Limited),
            Some(StreamError::Error) => Self::Failed(Outcome::ErrorEvent),
            None if scanner.finished() => Self::Complete,
            None if seen.done || chunk.is_none() => Self::Failed(Outcome::EmptyStream),
            None => Self::Nothing,
        }
    }
}

/// What an answer that is not 2xx means for this attempt.
///
/// Where the status says it all, its body is read only to keep the connection, and only for a moment: one that
/// stalls or breaks off changes nothing. Any other is the client's, and half of it is no answer: a broken body
/// is a broken connection.
async fn judge_error(
    mut answer: Answer,
    (status, tokens): (u16, u64),
    clock: &Clock,
) -> std::result::Result<Answer, Failure> {
    answer.session.set_read_timeout(Some(BODY_SILENCE));
    if judge(status, None).is_final() {
        // Incomplete, it closes its connection when it is released.
        drop(tokio::time::timeout(ERROR_BODY_WAIT, read_error_body(&mut answer)).await);
    } else if read_error_body(&mut answer).await.is_err() {
        return Err(Failure::bare(Outcome::Reset));
    }
    let rest = rest_asked(&answer, clock);
    let code = answer.held.as_deref().and_then(error_code);
    let Some(outcome) = Outcome::of_refusal(judge(status, code.as_deref()), rest) else {
        return Ok(Answer { kind: AnswerKind::Passed, ..answer });
    };
    let (is_spare, kind) = (outcome.is_spare(), kind_of(&answer, tokens));
    Err(Failure { outcome, answer: Some(answer), is_spare, rest, kind })
}

async fn read_error_body(answer: &mut Answer) -> Result<()> {
    while !answer.ended && answer.held.as_ref().map_or(0, Bytes::len) < ERROR_BODY_BYTES {
        read_more(answer).await?;
    }
    Ok(())
}

/// What a rate limit counts, by its header and what it has said.
fn kind_of(answer: &Answer, tokens: u64) -> LimitKind {
    let none = HeaderMap::new();
    let headers = answer.session.response_header().map_or(&none, |h| &h.headers);
    limit_kind(headers, answer.held.as_deref().unwrap_or_default(), tokens)
}

/// The rest that the header of an answer asks for.
pub(crate) fn rest_asked(answer: &Answer, clock: &Clock) -> Option<Duration> {
    let none = HeaderMap::new();
    let headers = answer.session.response_header().map_or(&none, |h| &h.headers);
    retry_after(headers, clock.unix().as_secs())
}
