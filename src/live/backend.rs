//! One backend as requests see it: where it is now, and what we prove ourselves with there.

use crate::auth::keys::BadHash;
use crate::config::checked::Backend;
use crate::config::checked::BackendAuth;
use crate::config::checked::Endpoint;
use crate::config::checked::Timeouts;
use crate::live::CertificateError;
use crate::live::token::TokenSlot;
use crate::secrets;
use crate::secrets::SecretError;
use arc_swap::ArcSwap;
use http::HeaderValue;
use http::Method;
use http::header;
use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::WrappedX509;
use pingora_core::utils::tls::parse_x509;
use pingora_core::{Error, ErrorType};
use pingora_http::RequestHeader;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Idle upstream connections are kept this long: below the 4 minutes after which Azure's own load balancer
/// cuts them, so that we close first.
const IDLE_CONNECTION: Duration = Duration::from_mins(1);

/// Why a snapshot could not be built from a configuration that passed its checks.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A client key's hash cannot be read.
    #[error(transparent)]
    Key(#[from] BadHash),
    /// A backend's key cannot be had.
    #[error("backends.{backend}.auth.api_key: {why}")]
    Secret {
        /// Whose key.
        backend: String,
        /// What is wrong with it.
        why: SecretError,
    },
    /// A backend's certificate authorities cannot be read.
    #[error("backends.{backend}.ca: {path}: {wrong}", path = path.display())]
    Authorities {
        /// Whose.
        backend: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        wrong: String,
    },
    /// A listener's certificate cannot be used.
    #[error("listen: {listener}: {why}")]
    Certificate {
        /// Which listener.
        listener: SocketAddr,
        /// What is wrong with it.
        why: CertificateError,
    },
}

/// What proves us.
enum Credential {
    Nothing,
    Key(HeaderValue),
    Token(Arc<TokenSlot>),
}

/// One backend.
pub struct LiveBackend {
    /// Its name in the configuration.
    pub name: Arc<str>,
    host: HeaderValue,
    credential: Credential,
    /// Its addresses, kept fresh by the discovery service; never empty once it was resolved.
    addresses: Arc<ArcSwap<Vec<SocketAddr>>>,
    /// Which address the next connection uses; moved on by a failed connect.
    turn: AtomicUsize,
    tls_name: Option<String>,
    authorities: Option<Arc<CaType>>,
    connect: Duration,
    /// Host and port to resolve.
    pub authority: (String, u16),
}

impl LiveBackend {
    pub(super) fn build(
        (name, backend): (&str, &Backend),
        timeouts: &Timeouts,
        slot: Option<Arc<TokenSlot>>,
        previous: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let endpoint = &backend.endpoint;
        let authority = (endpoint.host.clone(), endpoint.port);
        let addresses = match previous {
            Some(old) if old.authority == authority => Arc::clone(&old.addresses),
            _ => Arc::new(ArcSwap::from_pointee(literal(&endpoint.host, endpoint.port))),
        };
        Ok(Self {
            name: name.into(),
            host: host_header(endpoint),
            credential: match slot {
                Some(slot) => Credential::Token(slot),
                None => key(name, &backend.auth)?.map_or(Credential::Nothing, Credential::Key),
            },
            addresses,
            turn: AtomicUsize::new(0),
            tls_name: endpoint.tls.then(|| endpoint.host.clone()),
            authorities: authorities(name, backend.ca.as_ref())?,
            connect: timeouts.connect,
            authority,
        })
    }

    /// Where the next connection goes; `None` while the name was never resolved.
    pub fn peer(&self) -> Option<HttpPeer> {
        let addresses = self.addresses.load();
        let index = self.turn.load(Relaxed).checked_rem(addresses.len())?;
        let address = *addresses.get(index)?;
        let name = self.tls_name.clone();
        // Always a socket address: with a host name this constructor resolves it, blocking, and panics.
        let mut peer = HttpPeer::new(address, name.is_some(), name.unwrap_or_default());
        peer.options.connection_timeout = Some(self.connect);
        peer.options.total_connection_timeout = Some(self.connect);
        peer.options.idle_timeout = Some(IDLE_CONNECTION);
        peer.options.ca.clone_from(&self.authorities);
        Some(peer)
    }

    /// The slot of its token, if it takes one.
    pub fn token(&self) -> Option<&Arc<TokenSlot>> {
        match &self.credential {
            Credential::Token(slot) => Some(slot),
            Credential::Nothing | Credential::Key(_) => None,
        }
    }

    /// Whether a request could be sent with what proves us, at `unix`, the time since 1970.
    pub fn is_proved(&self, unix: Duration) -> bool {
        self.token().is_none_or(|slot| slot.is_usable(unix))
    }

    /// A request to it: addressed, and with our credential. The only place that sends the credential. Without a
    /// token where one belongs it is an error.
    pub fn request(
        &self,
        (method, path): (Method, &str),
        unix: Duration,
    ) -> pingora_core::Result<RequestHeader> {
        let mut request = RequestHeader::build(method, path.as_bytes(), Some(12))?;
        request.insert_header(header::HOST, self.host.clone())?;
        match &self.credential {
            Credential::Nothing => {}
            Credential::Key(key) => request.insert_header("api-key", key.clone())?,
            Credential::Token(slot) => {
                let none = || Error::explain(ErrorType::Custom("token"), "no token");
                request
                    .insert_header(header::AUTHORIZATION, slot.header(unix).ok_or_else(none)?)?;
            }
        }
        Ok(request)
    }

    /// The last connect failed: try the next address.
    pub fn next_address(&self) {
        self.turn.fetch_add(1, Relaxed);
    }

    /// Where it is known to be.
    pub fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.addresses.load_full()
    }

    /// Publishes fresh addresses; an empty list is ignored (the last good ones stay).
    pub fn publish(&self, addresses: Vec<SocketAddr>) {
        if !addresses.is_empty() {
            self.addresses.store(Arc::new(addresses));
        }
    }

    /// The name for the TLS handshake; `None` for plain HTTP.
    pub fn tls_name(&self) -> Option<&str> {
        self.tls_name.as_deref()
    }
}

/// The address, where the host is one and needs no resolving.
fn literal(host: &str, port: u16) -> Vec<SocketAddr> {
    host.parse().map(|ip| SocketAddr::new(ip, port)).into_iter().collect()
}

/// The port is named only where it is not the usual one of the scheme.
fn host_header(endpoint: &Endpoint) -> HeaderValue {
    let Endpoint { tls, host, port } = endpoint;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let usual = if *tls { 443 } else { 80 };
    let text = if *port == usual { host } else { format!("{host}:{port}") };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}

fn key(backend: &str, auth: &BackendAuth) -> Result<Option<HeaderValue>, BuildError> {
    let BackendAuth::ApiKey(source) = auth else { return Ok(None) };
    let failed = |why| BuildError::Secret { backend: backend.to_owned(), why };
    let secret = secrets::resolve(source).map_err(failed)?;
    let mut value = HeaderValue::from_str(secret.expose())
        .map_err(|_| failed(SecretError::Unprintable("the key".to_owned())))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn authorities(backend: &str, path: Option<&PathBuf>) -> Result<Option<Arc<CaType>>, BuildError> {
    let Some(path) = path else { return Ok(None) };
    let failed = |wrong: String| BuildError::Authorities {
        backend: backend.to_owned(),
        path: path.clone(),
        wrong,
    };
    let pem = std::fs::read(path).map_err(|e| failed(format!("cannot be read: {e}")))?;
    let mut found: Vec<WrappedX509> = Vec::new();
    for block in x509_parser::pem::Pem::iter_from_buffer(&pem) {
        let block = block.map_err(|e| failed(format!("is not PEM: {e}")))?;
        // Parsed here first: the type below panics on what does not parse.
        block.parse_x509().map_err(|e| failed(format!("holds no certificate: {e}")))?;
        found.push(WrappedX509::new(block.contents.clone(), parse_x509));
    }
    if found.is_empty() {
        return Err(failed("holds no certificate".to_owned()));
    }
    Ok(Some(found.into()))
}
