//! The clients' side: Pingora's proxy service with its listeners.

use super::StartError;
use crate::live::ServerNames;
use crate::proxy::{Entrance, FirstlightProxy, LlmConnector};
use futures_util::FutureExt;
use pingora_core::apps::HttpServerOptions;
use pingora_core::listeners::tls::{Acceptor, TlsSettings};
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::listening;
use pingora_core::tls::{RootCertStore, load_platform_certs_incl_env_into_store};
use pingora_proxy::{HttpProxy, ProxyServiceBuilder};
use std::net::SocketAddr;
use std::sync::Arc;

/// Upstream connections that are kept for reuse.
const KEPT_CONNECTIONS: usize = 1024;

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

/// The service, without a listener yet. Connections are the entrance's from the first byte.
pub(super) fn front(conf: &Arc<ServerConf>, proxy: FirstlightProxy, entrance: Entrance) -> Front {
    let mut options = HttpServerOptions::default();
    options.force_custom = true;
    let entrance = Arc::new(entrance);
    let serve = move |proxy, stream, shutdown: &ShutdownWatch| {
        let (entrance, shutdown) = (Arc::clone(&entrance), shutdown.clone());
        async move {
            entrance.serve(proxy, stream, shutdown).await;
            None
        }
        .boxed()
    };
    ProxyServiceBuilder::new(conf, proxy)
        .name("front")
        .server_options(options)
        .custom(LlmConnector::new(conf), Arc::new(serve))
        .build()
}

/// What does the TLS handshakes of the listener at `address`. The certificates are looked up at each, in the
/// snapshot that is live then.
pub(super) fn acceptor(address: SocketAddr, names: ServerNames) -> Result<Acceptor, StartError> {
    let failed = |wrong: String| StartError::Tls { address, wrong };
    let mut settings = TlsSettings::intermediate("", "").map_err(|e| failed(e.to_string()))?;
    settings.set_cert_resolver(Arc::new(names));
    settings.enable_h2();
    Ok(settings.build())
}

/// Loads the system's authorities once as Pingora will, which panics where there are none.
pub(crate) fn check_authorities() -> Result<(), StartError> {
    let mut found = RootCertStore::empty();
    load_platform_certs_incl_env_into_store(&mut found)
        .map_err(|e| StartError::Authorities(e.to_string()))
}
