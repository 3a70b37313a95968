//! The clients' side: Pingora's proxy service with its listeners.

use super::StartError;
use crate::config::checked::Listener;
use crate::live::ServerNames;
use crate::proxy::{FirstlightProxy, LlmConnector};
use futures_util::FutureExt;
use pingora_core::apps::HttpServerOptions;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::protocols::http::v2::server::default_h2_options;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::listening;
use pingora_core::tls::{RootCertStore, load_platform_certs_incl_env_into_store};
use pingora_proxy::{HttpProxy, ProxyServiceBuilder};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Upstream connections that are kept for reuse.
const KEPT_CONNECTIONS: usize = 1024;
/// A kept client connection that is silent for this long is closed.
const H2_IDLE: Duration = Duration::from_mins(5);
/// The window of an h2 upload: at the default of 64 KiB a prompt of megabytes crawls.
const H2_WINDOW: u32 = 1 << 20;

/// The service that clients talk to.
pub(super) type Front = listening::Service<HttpProxy<FirstlightProxy, LlmConnector>>;

/// Pingora's own settings, filled from ours; its configuration file is not used (it ignores unknown keys).
pub(super) fn server_conf() -> ServerConf {
    ServerConf {
        upstream_keepalive_pool_size: KEPT_CONNECTIONS,
        // The request's own progress bounds its attempts; this only has to be above that.
        max_retries: 16,
        ..ServerConf::default()
    }
}

/// The service, without a listener yet.
pub(super) fn front(conf: &Arc<ServerConf>, proxy: FirstlightProxy) -> Front {
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(H2_IDLE);
    let mut front = ProxyServiceBuilder::new(conf, proxy)
        .name("front")
        .server_options(options)
        .custom(LlmConnector::new(conf), Arc::new(|_, _, _| async { None }.boxed()))
        .build();
    if let Some(app) = front.app_logic_mut() {
        // From Pingora's bounded defaults: unbounded ones are a known way to exhaust memory.
        let mut h2 = default_h2_options();
        h2.initial_window_size(H2_WINDOW).initial_connection_window_size(4 * H2_WINDOW);
        app.h2_options = Some(h2);
    }
    front
}

/// Adds a listener on a socket that was taken at `address`.
pub(super) fn listen(
    front: &mut Front,
    listener: &Listener,
    address: SocketAddr,
    names: ServerNames,
) -> Result<(), StartError> {
    if listener.tls.is_empty() {
        front.add_tcp(&address.to_string());
        return Ok(());
    }
    // The certificates are looked up at each handshake, in the snapshot that is live then.
    let failed = |wrong: String| StartError::Tls { address, wrong };
    let mut settings = TlsSettings::intermediate("", "").map_err(|e| failed(e.to_string()))?;
    settings.set_cert_resolver(Arc::new(names));
    settings.enable_h2();
    front.add_tls_with_settings(&address.to_string(), None, settings);
    Ok(())
}

/// Loads the system's authorities once as Pingora will, which panics where there are none.
pub(crate) fn check_authorities() -> Result<(), StartError> {
    let mut found = RootCertStore::empty();
    load_platform_certs_incl_env_into_store(&mut found)
        .map_err(|e| StartError::Authorities(e.to_string()))
}
