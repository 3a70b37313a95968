//! h2 connections: Pingora drives them, with our limits.

use super::Proxy;
use super::tap::Tap;
use crate::config::checked::Limits;
use crate::live::Live;
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use std::sync::Arc;
use std::time::Duration;

/// An h2 connection without a request is closed after this.
const IDLE: Duration = Duration::from_mins(5);
/// The window of an upload: at the default of 64 KiB a prompt of megabytes crawls.
const WINDOW: u32 = 1 << 20;
/// What each field counts for beyond its bytes (RFC 9113, section 6.5.2).
const FIELD_OVERHEAD: usize = 32;
/// Largest header list whatever the configuration says.
const HEADER_LIST_MAX: usize = 64 << 10;

struct Http2 {
    proxy: Arc<Proxy>,
    live: Arc<Live>,
    options: HttpServerOptions,
}

/// Serves a connection that speaks h2 to its end.
pub(super) async fn serve(
    (proxy, live): (Arc<Proxy>, &Arc<Live>),
    tap: Box<Tap>,
    shutdown: &ShutdownWatch,
) {
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(IDLE);
    let http2 = Arc::new(Http2 { proxy, live: Arc::clone(live), options });
    drop(http2.process_new(tap, shutdown).await);
}

/// From Pingora's bounded defaults: unbounded ones are a known way to exhaust memory.
fn options(limits: &Limits) -> H2Options {
    let list = limits.header_bytes.saturating_add(FIELD_OVERHEAD.saturating_mul(limits.headers));
    let mut options = default_h2_options();
    options
        .initial_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(u32::try_from(list.min(HEADER_LIST_MAX)).unwrap_or(u32::MAX));
    options
}

#[async_trait]
impl HttpServerApp for Http2 {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.proxy.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(options(&self.live.snapshot().config.limits))
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
