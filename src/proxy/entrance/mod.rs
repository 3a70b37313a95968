//! Where connections come in: everything between the listener and Pingora's first look at a request.
//!
//! Pingora bounds a head by 60 s for each read, a TLS handshake by 60 s, a kept connection and the number of
//! connections not at all, and it reads heads leniently. So a connection is counted ([`crowd`]), secured and read
//! to the end of a head here, under one deadline, and the head is judged by the [gate](crate::gate) as it came;
//! Pingora then reads the very bytes that passed ([`tap`]).

mod crowd;
mod head;
mod http2;
mod tap;

use crate::config::checked::Config;
use crate::gate::{Malformed, Opening, opening};
use crate::live::Live;
use crate::proxy::doors::Doors;
use crate::proxy::{FirstlightProxy, LlmConnector};
use crate::telemetry::Telemetry;
use crowd::{Crowd, Presence, State};
use head::{NoHead, Wait};
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp};
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::l4::stream::Stream as Tcp;
use pingora_core::protocols::{ALPN, Ssl, Stream};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use std::net::SocketAddr;
use std::sync::Arc;
use tap::Tap;
use tokio::time::{Instant, timeout_at};

type Proxy = HttpProxy<FirstlightProxy, LlmConnector>;

/// Pingora's own bound between two reads of a head, in seconds: above any of ours.
const PINGORA_KEEP_ALIVE: u64 = 3600;

/// Takes connections of all listeners.
pub struct Entrance {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    doors: Doors,
    /// By listener; `None` where there is no TLS.
    acceptors: Vec<Option<Acceptor>>,
    crowd: Arc<Crowd>,
}

impl Entrance {
    /// For listeners at these addresses, with what each does for TLS, in the order of the configuration.
    pub fn new(
        live: Arc<Live>,
        telemetry: Arc<Telemetry>,
        listeners: Vec<(SocketAddr, Option<Acceptor>)>,
    ) -> Self {
        let (addresses, acceptors) = listeners.into_iter().unzip();
        let crowd = Arc::new(Crowd::new(Arc::clone(&telemetry)));
        Self { live, telemetry, doors: Doors::new(addresses), acceptors, crowd }
    }

    /// Serves a connection to its end.
    pub async fn serve(&self, proxy: Arc<Proxy>, stream: Stream, shutdown: ShutdownWatch) {
        let config = Arc::clone(&self.live.snapshot().config);
        let socket = stream.get_socket_digest();
        let peer = socket.as_ref().and_then(|s| s.peer_addr()?.as_inet().copied());
        let local = socket.as_ref().and_then(|s| s.local_addr()?.as_inet().copied());
        let only = (self.acceptors.len() == 1).then_some(0);
        let place = local.and_then(|local| self.doors.place(local)).or(only);
        let entered = self.crowd.enter(peer.map(|peer| peer.ip()), &config);
        let Ok(mut presence) = entered.inspect_err(|full| self.refused(full.reason())) else {
            return;
        };
        let until = Instant::now() + config.timeouts.header;
        let Some((mut tap, secured)) = self.secure(stream, place, until).await else {
            self.refused("handshake");
            return;
        };
        // The first head may take as long as the handshake before it.
        let until = Instant::now() + config.timeouts.header;
        let http2 = match (secured, tap.selected_alpn_proto()) {
            (true, Some(ALPN::H2)) => true,
            (true, _) => false,
            (false, _) => match opens_http2(&mut tap, until).await {
                Some(http2) => http2,
                None => return,
            },
        };
        if http2 {
            presence.set(State::Http2);
            // Over TLS the preface may never come; the tap's watch bounds that, too.
            tap.watch(config.timeouts.header);
            http2::serve((proxy, &self.live), tap, &shutdown).await;
        } else {
            self.http1(proxy, (tap, until), &mut presence, &shutdown).await;
        }
    }

    /// Shakes hands where the listener speaks TLS. Tells whether it does.
    async fn secure(
        &self,
        stream: Stream,
        place: Option<usize>,
        until: Instant,
    ) -> Option<(Box<Tap>, bool)> {
        let Some(acceptor) = place.and_then(|place| self.acceptors.get(place)?.as_ref()) else {
            // A listener that is not known speaks nothing.
            return place.map(|_| (Box::new(Tap::new(stream)), false));
        };
        let tcp = stream.into_any().downcast::<Tcp>().ok()?;
        match timeout_at(until, acceptor.tls_handshake(*tcp)).await {
            Ok(Ok(secured)) => Some((Box::new(Tap::new(Box::new(secured))), true)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                None
            }
            Err(_late) => None,
        }
    }

    /// Serves one request after the other.
    async fn http1(
        &self,
        proxy: Arc<Proxy>,
        (mut tap, first): (Box<Tap>, Instant),
        presence: &mut Presence,
        shutdown: &ShutdownWatch,
    ) {
        let mut wait = Wait::First(first);
        let mut kept: Option<HttpPersistentSettings> = None;
        loop {
            let config = Arc::clone(&self.live.snapshot().config);
            let chunked = match head::read(&mut tap, wait, &config).await {
                Ok(chunked) => chunked,
                Err(NoHead::Gone) => return,
                Err(NoHead::Malformed(malformed)) => {
                    self.malformed(malformed);
                    head::refuse(&mut tap, malformed).await;
                    return;
                }
            };
            presence.set(State::Request);
            tap.await_answer(chunked);
            let mut session = ServerSession::new_http1(tap);
            let open = !*shutdown.borrow();
            session.set_keepalive(open.then_some(PINGORA_KEEP_ALIVE));
            if let Some(kept) = kept.take() {
                kept.apply_to_session(&mut session);
            }
            let Some(reused) = proxy.process_new_http(session, shutdown).await else { return };
            let (stream, settings) = reused.consume();
            let Ok(same) = stream.into_any().downcast::<Tap>() else { return };
            // What was sent behind a request before its answer is not read as the next one.
            if same.was_hasty() {
                return;
            }
            (tap, kept, wait) = (same, settings, Wait::Kept);
            presence.set(State::Idle);
        }
    }

    fn malformed(&self, malformed: Malformed) {
        let counter = &self.telemetry.metrics.requests_malformed;
        counter.with_label_values(&[malformed.reason()]).inc();
    }

    fn refused(&self, reason: &str) {
        self.telemetry.metrics.connections_refused.with_label_values(&[reason]).inc();
    }
}

/// Whether an unsecured connection opens h2; `None` if it says nothing in time, or left.
async fn opens_http2(tap: &mut Tap, until: Instant) -> Option<bool> {
    loop {
        match opening(tap.held()) {
            Opening::Http2 => return Some(true),
            Opening::Other => return Some(false),
            Opening::Undecided => {}
        }
        let read = timeout_at(until, tap.fill()).await.ok()?.ok()?;
        if read == 0 {
            return None;
        }
    }
}

/// The head's limits, as the gate takes them.
pub(super) fn head_limits(config: &Config) -> crate::gate::HeadLimits {
    crate::gate::HeadLimits { bytes: config.limits.header_bytes, fields: config.limits.headers }
}
