//! What Pingora reads an answer from: a client session that runs a race first.
//!
//! `read_response_header` returns when the race has its winner, so everything before that can be repeated
//! elsewhere; or when a streaming client has waited for long enough, which then gets a header of ours
//! ([`Early`]).
//!
//! A stream is passed on to the end that its own events tell ([`Streaming`]); anything else to that of its framing.
//!
//! Pingora reads the header and then chunk by chunk in one future that is dropped as a whole when the client
//! leaves: dropping the race closes every connection of it.

use crate::azure::ending::Ending;
use crate::azure::error::ClientError;
use crate::azure::in_stream::cut_event;
use crate::azure::sse::StreamError;
use crate::azure::sse::is_event_stream;
use crate::exchange::{Answer, Found};
use crate::proxy::admitted::Request;
use crate::proxy::connector::detach;
use crate::proxy::early::{Early, Said};
use crate::proxy::order::Order;
use crate::proxy::passing::{Passing, Settled};
use crate::proxy::race::{Race, Step, Winner};
use crate::proxy::streaming::Streaming;
use crate::proxy::watch::Aftermath;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use pingora_core::connectors::http::Connector as HttpConnector;
use pingora_core::protocols::http::custom::client::Session;
use pingora_core::protocols::http::custom::{BodyWrite, CustomMessageWrite};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::{Digest, UniqueIDType};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::sync::Arc;
use std::time::Duration;

/// Over h2 a reset discards what still waits to be sent: the event gets this long to leave.
const CUT_LINGER: Duration = Duration::from_millis(20);

/// One request, as Pingora sees it: a client session.
#[expect(unnameable_types, reason = "Pingora names it through the connector; nobody else needs to")]
pub struct LlmSession {
    http: Arc<HttpConnector>,
    order: Option<Order>,
    request: Option<Arc<Request>>,
    early: Option<Early>,
    answer: Option<Answer>,
    /// What its events say, if it is a stream.
    streaming: Option<Streaming>,
    /// Its first content is still to come.
    passing: Option<Passing>,
    /// Told once how the answer ended.
    aftermath: Option<Aftermath>,
    idle: Option<Duration>,
    /// The longest silence before the first content, where that is not waited for.
    total: Option<Duration>,
    /// A list is passed on at its end.
    is_list: bool,
    /// The client has all that it gets.
    over: bool,
    /// The upstream broke off after content was sent: told to the client as an event first, then this.
    cut: Option<Box<Error>>,
}

impl LlmSession {
    pub(super) fn new(http: &Arc<HttpConnector>) -> Self {
        Self {
            http: Arc::clone(http),
            order: None,
            request: None,
            early: None,
            answer: None,
            streaming: None,
            passing: None,
            aftermath: None,
            idle: None,
            total: None,
            is_list: false,
            over: false,
            cut: None,
        }
    }

    /// Gives the connection back.
    pub(super) async fn release(self) {
        if let Some(answer) = self.answer {
            answer.release(&self.http).await;
        }
    }

    fn answer(&mut self) -> Result<&mut Answer> {
        self.answer
            .as_mut()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "no answer yet"))
    }

    fn take(&mut self, winner: Winner) {
        let Winner { mut answer, aftermath, passing } = winner;
        let request = self.request.as_ref();
        self.streaming = request.and_then(|request| Streaming::begin(&mut answer, request));
        (self.answer, self.aftermath, self.passing) = (Some(answer), aftermath, passing);
        if let Ending::Failed(error) = self.ending() {
            self.failed(error);
        }
        self.set_wait();
    }

    /// How long the next chunk is waited for. Before the first content there is another time-out.
    fn set_wait(&mut self) {
        let wait = self.streaming.as_ref().and_then(Streaming::wait);
        let silence = if self.is_quiet() { self.total } else { self.idle };
        let wait = silence.map(|silence| wait.map_or(silence, |wait| wait.min(silence)));
        if let Some(answer) = self.answer.as_mut() {
            answer.session.set_read_timeout(wait.filter(|_| self.passing.is_none()));
        }
    }

    fn is_quiet(&self) -> bool {
        self.streaming.as_ref().is_some_and(Streaming::is_quiet)
    }

    fn ending(&self) -> Ending {
        self.streaming.as_ref().map_or(Ending::Unknown, Streaming::ending)
    }

    /// Whether there is no answer of a backend, now or any more.
    fn is_waiting(&self) -> bool {
        self.early.is_some() && self.answer.is_none()
    }

    /// What to say before, or instead of, the answer of a backend; `None`: there is one.
    async fn wait(&mut self) -> Option<Bytes> {
        match self.early.as_mut()?.wait().await {
            Said::Chunk(chunk) => Some(chunk),
            Said::Winner(winner) => {
                self.take(*winner);
                None
            }
            Said::Last(event, winner) => {
                if let Some(winner) = winner {
                    winner.aftermath.inspect(Aftermath::completed);
                    winner.answer.release(&self.http).await;
                }
                Some(event)
            }
            Said::Nothing => None,
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        let over = self.over;
        let answer = self.answer()?;
        if let Some(held) = answer.held.take() {
            return Ok(Some(held));
        }
        if over {
            return Ok(None);
        }
        if answer.ended || answer.session.response_done() {
            return if self.ended() {
                Ok(None)
            } else {
                half().or_else(|error| self.broke_off(error))
            };
        }
        let read = match (self.passing.as_mut(), self.answer.as_mut()) {
            (Some(passing), Some(answer)) => passing.read(&mut answer.session).await,
            (None, Some(answer)) => answer.session.read_response_body().await,
            (_, None) => Ok(None),
        };
        match read {
            Ok(Some(chunk)) => {
                self.note(Some(&chunk));
                Ok(Some(chunk))
            }
            Ok(None) if self.ended() => Ok(self.last_chunk()),
            Ok(None) => half().or_else(|error| self.broke_off(error)),
            Err(error) => self.broke_off(error),
        }
    }

    /// Nothing but the end: with a last chunk, though empty, whoever holds something back hears of it.
    fn last_chunk(&self) -> Option<Bytes> {
        (self.is_list || self.is_event_stream()).then(Bytes::new)
    }

    /// Takes note of a chunk on its way to the client; `None`: of the end.
    fn note(&mut self, chunk: Option<&[u8]>) {
        let Some(streaming) = self.streaming.as_mut() else { return };
        let before = (streaming.ending(), streaming.is_quiet());
        let found = streaming.take(chunk);
        let ending = streaming.ending();
        let now = (ending, streaming.is_quiet());
        self.settle(found, chunk);
        if let Ending::Failed(error) = ending {
            self.failed(error);
        }
        // What ends is waited for within bounds; most chunks change nothing.
        if now != before || !matches!(ending, Ending::Open | Ending::Unknown) {
            self.set_wait();
        }
    }

    /// Settles an attempt whose first content was still to come.
    fn settle(&mut self, found: Found, chunk: Option<&[u8]>) {
        let Some(passing) = self.passing.as_mut() else { return };
        let settled = passing.saw(found, chunk);
        if settled == Settled::No {
            return;
        }
        self.passing = None;
        if settled == Settled::Failed {
            self.aftermath = None;
        }
        self.set_wait();
    }

    /// The upstream told in its stream that it failed. The event goes to the client as it came.
    fn failed(&mut self, error: StreamError) {
        let Some(aftermath) = self.aftermath.take() else { return };
        match error {
            StreamError::Error => aftermath.broke_off(),
            StreamError::RateLimited => aftermath.limited(),
        }
    }

    /// The upstream's response has ended as its framing says. Returns whether it is whole, or nothing is known of its
    /// form.
    fn ended(&mut self) -> bool {
        if self.over {
            return true;
        }
        self.note(None);
        if let Some(answer) = self.answer.as_mut() {
            answer.ended = true;
        }
        if self.ending() == Ending::Open {
            return false;
        }
        self.complete();
        true
    }

    fn complete(&mut self) {
        self.over = true;
        if let Some(aftermath) = self.aftermath.take() {
            aftermath.completed();
        }
    }

    /// The upstream broke off. Behind a whole response that is its end; else a streaming client is told why before its
    /// body ends uncleanly, unless the upstream itself has told it.
    fn broke_off(&mut self, error: Box<Error>) -> Result<Option<Bytes>> {
        let before_content = self.passing.take().is_some();
        if matches!(self.ending(), Ending::Failed(_)) {
            if *error.etype() != ErrorType::ReadTimedout {
                return Err(error);
            }
            // Nothing followed.
            self.over = true;
            return Ok(self.last_chunk());
        }
        if let Some(streaming) = self.streaming.as_mut() {
            streaming.take(None);
        }
        if matches!(self.ending(), Ending::Whole | Ending::Closed) {
            self.complete();
            return Ok(self.last_chunk());
        }
        if let Some(aftermath) = self.aftermath.take().filter(|_| !before_content) {
            aftermath.broke_off();
        }
        if !self.is_event_stream() {
            return Err(error);
        }
        self.cut = Some(error);
        Ok(Some(cut_event()))
    }

    fn is_event_stream(&self) -> bool {
        self.response_header().is_some_and(|h| is_event_stream(&h.headers))
    }
}

/// Why a body ends uncleanly whose upstream's ended cleanly.
fn half<T>() -> Result<T> {
    Error::e_explain(ErrorType::ConnectionClosed, "the stream ended within its response")
}

fn refused(request: &Request, refusal: ClientError) -> Result<()> {
    let code = refusal.code();
    request.progress.lock().refusal = Some(refusal);
    Err(Error::explain(ErrorType::Custom("attempt"), code).into_up())
}

#[async_trait]
impl Session for LlmSession {
    async fn write_request_header(
        &mut self,
        mut request: Box<RequestHeader>,
        _end: bool,
    ) -> Result<()> {
        self.order = detach(&mut request);
        Ok(())
    }

    async fn write_request_body(&mut self, _data: Bytes, _end: bool) -> Result<()> {
        Ok(())
    }

    async fn finish_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {}

    fn set_write_timeout(&mut self, _timeout: Option<Duration>) {}

    async fn read_response_header(&mut self) -> Result<()> {
        let order = self.order.take();
        let order =
            order.ok_or_else(|| Error::explain(ErrorType::InternalError, "no order attached"))?;
        let mut race = Race::start(&self.http, order);
        self.is_list = race.request().admitted.route.is_list();
        self.idle = Some(race.request().patience.idle);
        self.total = Some(race.request().patience.first_content.total());
        self.request = Some(Arc::clone(race.request()));
        match race.run(race.hold_until()).await {
            Step::Won(winner) => self.take(*winner),
            Step::Open => self.early = Some(Early::new(race)?),
            Step::Lost(refusal) => return refused(race.request(), refusal),
        }
        Ok(())
    }

    async fn read_response_body(&mut self) -> Result<Option<Bytes>> {
        if let Some(error) = self.cut.take() {
            tokio::time::sleep(CUT_LINGER).await;
            return Err(error);
        }
        if self.is_waiting() {
            let said = self.wait().await;
            if said.is_some() || self.is_waiting() {
                return Ok(said);
            }
        }
        self.read().await
    }

    fn response_finished(&self) -> bool {
        match (&self.answer, &self.early) {
            (Some(answer), _) => self.over && answer.held.is_none(),
            (None, Some(early)) => early.is_over(),
            (None, None) => false,
        }
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.early = None;
        if let Some(answer) = self.answer.as_mut() {
            answer.session.shutdown().await;
        }
    }

    fn response_header(&self) -> Option<&ResponseHeader> {
        match &self.early {
            Some(early) => Some(early.header()),
            None => self.answer.as_ref().and_then(|a| a.session.response_header()),
        }
    }

    fn was_upgraded(&self) -> bool {
        false
    }

    fn digest(&self) -> Option<&Digest> {
        self.answer.as_ref().and_then(|a| a.session.digest())
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.answer.as_mut().and_then(|a| a.session.digest_mut())
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.answer.as_ref().and_then(|a| a.session.server_addr())
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.answer.as_ref().and_then(|a| a.session.client_addr())
    }

    async fn read_trailers(&mut self) -> Result<Option<HeaderMap>> {
        Ok(None)
    }

    fn fd(&self) -> UniqueIDType {
        -1
    }

    /// Whether nothing follows what was just handed out.
    async fn check_response_end_or_error(&mut self, _headers: bool) -> Result<bool> {
        if self.cut.is_some() || self.is_waiting() {
            return Ok(false);
        }
        let over = self.over;
        let answer = self.answer()?;
        if answer.held.is_some() {
            return Ok(false);
        }
        let ended = answer.ended || answer.session.response_done();
        // Where half of a response has ended, the event that tells of it follows.
        Ok(over || (ended && self.ended()))
    }

    fn take_request_body_writer(&mut self) -> Option<Box<dyn BodyWrite>> {
        Some(Box::new(NoBody))
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn futures_util::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>>
    {
        Some(Box::new(stream::empty()))
    }

    async fn drain_custom_messages(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        Some(Box::new(()))
    }
}

/// The body went out of band; whatever Pingora would write is discarded.
struct NoBody;

#[async_trait]
impl BodyWrite for NoBody {
    async fn write_all_buf(&mut self, data: &mut Bytes) -> Result<()> {
        data.clear();
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    async fn cleanup(&mut self) -> Result<()> {
        Ok(())
    }

    fn upgrade_body_writer(&mut self) {}
}
