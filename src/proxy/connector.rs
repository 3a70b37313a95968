//! The upstream connector for LLM routes: Pingora asks it for a session, and the session runs a race.
//!
//! Pingora's own upstream path commits to a backend once the response header is there and replays at most
//! 64 KiB of a request body. Here the body comes out of band, whole, and `read_response_header` returns only
//! when an attempt has its first content token, so everything before it can be repeated elsewhere at
//! native cost. The [`LlmSession`] is what Pingora then reads the answer from.
//!
//! These traits are `doc(hidden)` in Pingora: the versions are pinned exactly, and the wire tests hold the
//! behaviour. This path does not run Pingora's header sanitiser; `forward` builds headers from an
//! allow-list instead.

use crate::proxy::order::Order;
use crate::proxy::session::LlmSession;
use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector as HttpConnector;
use pingora_core::connectors::http::custom::{Connection, Connector};
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::Peer;
use pingora_http::RequestHeader;
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

/// Takes the order from the request that Pingora hands to the session.
pub(super) fn detach(request: &mut RequestHeader) -> Option<Order> {
    let envelope: Envelope = request.extensions_mut().remove()?;
    envelope.0.lock().unwrap_or_else(PoisonError::into_inner).take()
}

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
        Ok((Connection::Session(LlmSession::new(&self.http)), false))
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
        session.release().await;
    }
}
