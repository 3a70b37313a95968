//! The upstream connector for LLM routes: Pingora asks it for a session, and the session runs an attempt.
//!
//! Pingora's own upstream path commits to a backend once the response header is there and replays at most
//! 64 KiB of a request body. Here the body comes out of band, whole, and `read_response_header` returns only
//! when the attempt has its first content token, so everything before it can be repeated elsewhere at
//! native cost. The session below is what Pingora then reads the answer from.
//!
//! These traits are `doc(hidden)` in Pingora: the versions are pinned exactly, and the wire tests hold the
//! behaviour. This path does not run Pingora's header sanitiser; `forward` builds headers from an
//! allow-list instead.

use crate::azure::sse::is_event_stream;
use crate::exchange::Answer;
use crate::proxy::attempt;
use crate::proxy::attempt::{Aftermath, Order};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector as HttpConnector;
use pingora_core::connectors::http::custom::{Connection, Connector};
use pingora_core::protocols::http::custom::client::Session;
use pingora_core::protocols::http::custom::{BodyWrite, CustomMessageWrite};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::{Digest, UniqueIDType};
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::Peer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The connector. One per proxy: it owns the pool of upstream connections.
pub struct LlmConnector {
    http: Arc<HttpConnector>,
}

impl LlmConnector {
    /// A connector with a connection pool of its own, sized by `conf`.
    pub fn new(conf: &ServerConf) -> Self {
        let options = ConnectorOptions::from_server_conf(conf);
        Self { http: Arc::new(HttpConnector::new(Some(options))) }
    }
}

/// An order on its way through the extensions of a request header, which must be `Clone`.
#[derive(Clone)]
struct Envelope(Arc<Mutex<Option<Order>>>);

/// Attaches the order to the request that Pingora hands to the session.
pub(super) fn attach(request: &mut RequestHeader, order: Order) {
    request.extensions_mut().insert(Envelope(Arc::new(Mutex::new(Some(order)))));
}

#[async_trait]
impl Connector for LlmConnector {
    type Session = LlmSession;

    async fn get_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        _peer: &P,
    ) -> Result<(Connection<LlmSession>, bool)> {
        let session = LlmSession {
            http: Arc::clone(&self.http),
            order: None,
            answer: None,
            aftermath: None,
            cut: None,
        };
        Ok((Connection::Session(session), false))
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        _peer: &P,
    ) -> Option<LlmSession> {
        None
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        session: LlmSession,
        _peer: &P,
        _idle: Option<Duration>,
    ) {
        if let Some(answer) = session.answer {
            answer.release(&self.http).await;
        }
    }
}

/// One attempt, as Pingora sees it: a client session.
#[expect(unnameable_types, reason = "Pingora names it through the connector; nobody else needs to")]
pub struct LlmSession {
    http: Arc<HttpConnector>,
    order: Option<Order>,
    answer: Option<Answer>,
    /// Told once how the answer ended.
    aftermath: Option<Aftermath>,
    /// The upstream broke off after content was sent: told to the client as an event first, then this.
    cut: Option<Box<Error>>,
}

/// What a streaming client is told when the upstream breaks off. It is followed by an unclean end of the
/// body, so that no client can take the stream for complete.
const CUT_EVENT: &[u8] = b"\n\ndata: {\"error\":{\"message\":\"The stream broke off before it was complete. \
    Send the request again.\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_abort\"}}\n\n";

/// Over h2 a reset discards what still waits to be sent: the event gets this long to leave.
const CUT_LINGER: Duration = Duration::from_millis(20);

impl LlmSession {
    fn answer(&mut self) -> Result<&mut Answer> {
        self.answer
            .as_mut()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "no answer yet"))
    }

    fn ended(&mut self) {
        if let Some(answer) = self.answer.as_mut() {
            answer.ended = true;
        }
        if let Some(aftermath) = self.aftermath.take() {
            aftermath.completed();
        }
    }

    /// The upstream broke off: a streaming client is told why before its body ends uncleanly.
    fn broke_off(&mut self, error: Box<Error>) -> Result<Option<Bytes>> {
        if let Some(aftermath) = self.aftermath.take() {
            aftermath.broke_off();
        }
        if !self.is_event_stream() {
            return Err(error);
        }
        self.cut = Some(error);
        Ok(Some(Bytes::from_static(CUT_EVENT)))
    }

    fn is_event_stream(&self) -> bool {
        self.response_header().is_some_and(|h| is_event_stream(&h.headers))
    }
}

#[async_trait]
impl Session for LlmSession {
    async fn write_request_header(
        &mut self,
        mut request: Box<RequestHeader>,
        _end: bool,
    ) -> Result<()> {
        let envelope: Option<Envelope> = request.extensions_mut().remove();
        self.order =
            envelope.and_then(|e| e.0.lock().unwrap_or_else(PoisonError::into_inner).take());
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
        let (answer, aftermath) = attempt::run(&self.http, order).await?;
        (self.answer, self.aftermath) = (Some(answer), Some(aftermath));
        Ok(())
    }

    async fn read_response_body(&mut self) -> Result<Option<Bytes>> {
        if let Some(error) = self.cut.take() {
            tokio::time::sleep(CUT_LINGER).await;
            return Err(error);
        }
        let answer = self.answer()?;
        if let Some(held) = answer.held.take() {
            return Ok(Some(held));
        }
        if answer.ended || answer.session.response_done() {
            self.ended();
            return Ok(None);
        }
        match answer.session.read_response_body().await {
            Ok(Some(chunk)) => Ok(Some(chunk)),
            Ok(None) => {
                self.ended();
                Ok(None)
            }
            Err(error) => self.broke_off(error),
        }
    }

    fn response_finished(&self) -> bool {
        self.answer.as_ref().is_some_and(|a| a.ended && a.held.is_none())
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        if let Some(answer) = self.answer.as_mut() {
            answer.session.shutdown().await;
        }
    }

    fn response_header(&self) -> Option<&ResponseHeader> {
        self.answer.as_ref().and_then(|a| a.session.response_header())
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
        if self.cut.is_some() {
            return Ok(false);
        }
        let answer = self.answer()?;
        if answer.held.is_some() {
            return Ok(false);
        }
        let ended = answer.ended || answer.session.response_done();
        if ended {
            self.ended();
        }
        Ok(ended)
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
