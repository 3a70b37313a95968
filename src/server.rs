//! The composition root: the only file that knows every part.
//!
//! [`Firstlight::bind`] builds everything from a checked configuration and takes the sockets, so that a taken
//! port is a plain error before anything runs. The parts are Pingora services; they run on the present tokio
//! runtime, the same way in production, in the demo and in the tests.

use crate::admin::Admin;
use crate::clock::Clock;
use crate::config::checked::Config;
use crate::config::checked::Listener;
use crate::config::checked::SecretSource;
use crate::endpoints::Endpoints;
use crate::live::BuildError;
use crate::live::Live;
use crate::probing::Prober;
use crate::proxy::FirstlightProxy;
use crate::proxy::LlmConnector;
use crate::telemetry::AccessLog;
use crate::telemetry::Metrics;
use crate::telemetry::Telemetry;
use futures_util::FutureExt;
use parking_lot::Mutex;
use pingora_core::apps::HttpServerOptions;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::protocols::http::v2::server::default_h2_options;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{Fds, ListenFds};
use pingora_core::services::background::background_service;
use pingora_core::services::listening;
use pingora_core::services::{ServiceReadyNotifier, ServiceWithDependents};
use pingora_core::tls::{
    RootCertStore, ServerConfig, install_default_crypto_provider, load_certs_and_key_files,
    load_platform_certs_incl_env_into_store, version,
};
use pingora_proxy::HttpProxy;
use pingora_proxy::ProxyServiceBuilder;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Upstream connections that are kept for reuse.
const KEPT_CONNECTIONS: usize = 1024;
/// A kept client connection that is silent for this long is closed.
const H2_IDLE: Duration = Duration::from_mins(5);
/// Wishes for a probe that may wait.
const PROBE_WISHES: usize = 64;
/// The window of an h2 upload: at the default of 64 KiB a prompt of megabytes crawls.
const H2_WINDOW: u32 = 1 << 20;

/// Why Firstlight does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What the configuration points at cannot be used.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; free the port, or change `listen` or `admin`")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A certificate or its key cannot be used.
    #[error("listener {address}: certificate {certificate} and key {key} cannot be used: {wrong}")]
    Certificate {
        /// Which listener.
        address: SocketAddr,
        /// Its certificate file.
        certificate: String,
        /// Its key file.
        key: String,
        /// What is wrong.
        wrong: String,
    },
    /// The machine has no certificate authorities, or they cannot be read.
    #[error(
        "the system's certificate authorities cannot be loaded: {0}; install the package ca-certificates, or \
         set SSL_CERT_FILE to a file that holds them"
    )]
    Authorities(String),
    /// Metrics could not be registered: a mistake of ours.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A proxy that is bound and not yet running.
pub struct Firstlight {
    parts: Parts,
    front: Front,
    /// Everything else: it goes on while the front drains.
    others: Vec<Box<dyn ServiceWithDependents>>,
    fds: ListenFds,
}

/// A proxy that runs. Dropped, it stops accepting; streams in flight go on as long as the runtime.
pub struct Running {
    parts: Parts,
    stop_front: watch::Sender<bool>,
    stop_others: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

struct Parts {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    draining: Arc<AtomicBool>,
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Firstlight {
    /// Builds everything and takes the sockets.
    pub fn bind(config: Config, access_log: AccessLog) -> Result<Self, StartError> {
        check_authorities()?;
        let listeners = config.listen.clone();
        let admin_address = config.admin;
        let live = Arc::new(Live::new(config, Clock::start())?);
        let telemetry = Arc::new(Telemetry::new(Metrics::new()?, access_log));
        let draining = Arc::new(AtomicBool::new(false));
        let conf = Arc::new(server_conf());
        let mut sockets = Fds::new();
        let mut others: Vec<Box<dyn ServiceWithDependents>> = Vec::new();

        let (wishes, wished) = mpsc::channel(PROBE_WISHES);
        let proxy = FirstlightProxy::new(Arc::clone(&live), Arc::clone(&telemetry), wishes);
        let mut front = front(&conf, proxy);
        let mut addresses = Vec::new();
        for listener in &listeners {
            let address = take_socket(listener.address, &mut sockets)?;
            add_listener(&mut front, listener, address)?;
            addresses.push(address);
        }

        let admin_address = admin_address.map(|a| take_socket(a, &mut sockets)).transpose()?;
        if let Some(address) = admin_address {
            let admin =
                Admin::new(Arc::clone(&live), Arc::clone(&telemetry), Arc::clone(&draining));
            let mut service = listening::Service::new("admin".to_owned(), admin);
            service.add_tcp(&address.to_string());
            others.push(Box::new(service));
        }

        let prober = Prober::new(Arc::clone(&live), Arc::clone(&telemetry), &conf, wished);
        others.push(Box::new(background_service("probes", prober)));
        let endpoints = Endpoints::new(Arc::clone(&live), Arc::clone(&telemetry));
        others.push(Box::new(background_service("endpoints", endpoints)));

        let parts = Parts { live, telemetry, draining, addresses, admin: admin_address };
        Ok(Self { parts, front, others, fds: Arc::new(Mutex::new(sockets)) })
    }

    /// Runs it on the present tokio runtime.
    pub fn spawn(self) -> Running {
        let start = |mut service: Box<dyn ServiceWithDependents>, stop: &watch::Sender<bool>| {
            let (fds, stopped) = (Arc::clone(&self.fds), stop.subscribe());
            let ready = ServiceReadyNotifier::new(watch::channel(false).0);
            tokio::spawn(async move { service.start_service(Some(fds), stopped, 1, ready).await })
        };
        let (stop_front, stop_others) = (watch::channel(false).0, watch::channel(false).0);
        let mut tasks = vec![start(Box::new(self.front), &stop_front)];
        tasks.extend(self.others.into_iter().map(|service| start(service, &stop_others)));
        Running { parts: self.parts, stop_front, stop_others, tasks }
    }
}

impl Running {
    /// Where clients connect, in the order of the configuration, with the ports that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.parts.addresses
    }

    /// Where metrics and health are served.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.parts.admin
    }

    /// What is live.
    pub fn live(&self) -> &Arc<Live> {
        &self.parts.live
    }

    /// What it reports.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.parts.telemetry
    }

    /// Requests that are not finished.
    pub fn in_flight(&self) -> i64 {
        self.parts.telemetry.metrics.requests_in_flight.get()
    }

    /// Stops accepting and waits until nothing is in flight, at most `limit`. Returns what was still in
    /// flight then.
    pub async fn drain(&self, limit: Duration) -> i64 {
        self.parts.draining.store(true, Relaxed);
        self.stop_front.send_replace(true);
        let until = tokio::time::Instant::now() + limit;
        while self.in_flight() > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.in_flight()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop_front.send_replace(true);
        self.stop_others.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Pingora's own settings, filled from ours; its configuration file is not used (it ignores unknown keys).
fn server_conf() -> ServerConf {
    ServerConf {
        upstream_keepalive_pool_size: KEPT_CONNECTIONS,
        // The request's own progress bounds its attempts; this only has to be above that.
        max_retries: 16,
        ..ServerConf::default()
    }
}

type Front = listening::Service<HttpProxy<FirstlightProxy, LlmConnector>>;

fn front(conf: &Arc<ServerConf>, proxy: FirstlightProxy) -> Front {
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

/// Binds an address and files the socket under the address that was really taken.
fn take_socket(address: SocketAddr, sockets: &mut Fds) -> Result<SocketAddr, StartError> {
    let failed = |source| StartError::Bind { address, source };
    let socket = TcpListener::bind(address).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let taken = socket.local_addr().map_err(failed)?;
    sockets.add(taken.to_string(), socket.into_raw_fd());
    Ok(taken)
}

fn add_listener(
    front: &mut Front,
    listener: &Listener,
    address: SocketAddr,
) -> Result<(), StartError> {
    let Some(tls) = listener.tls.first() else {
        front.add_tcp(&address.to_string());
        return Ok(());
    };
    let (certificate, key) = (text(&tls.certificate), text(&tls.key));
    let failed = |wrong: String| StartError::Certificate {
        address,
        certificate: certificate.clone(),
        key: key.clone(),
        wrong,
    };
    check_certificate(&certificate, &key).map_err(&failed)?;
    let settings = TlsSettings::intermediate(&certificate, &key);
    let mut settings = settings.map_err(|e| failed(e.to_string()))?;
    settings.enable_h2();
    front.add_tls_with_settings(&address.to_string(), None, settings);
    Ok(())
}

/// Loads the system's authorities once as Pingora will, which panics where there are none.
fn check_authorities() -> Result<(), StartError> {
    let mut found = RootCertStore::empty();
    load_platform_certs_incl_env_into_store(&mut found)
        .map_err(|e| StartError::Authorities(e.to_string()))
}

/// Loads the files once as Pingora will, which panics on what it cannot use.
fn check_certificate(certificate: &str, key: &str) -> Result<(), String> {
    install_default_crypto_provider();
    let loaded = load_certs_and_key_files(certificate, key).map_err(|e| e.to_string())?;
    let (chain, private) = loaded.ok_or("one of them holds no certificate or no key")?;
    let config = ServerConfig::builder_with_protocol_versions(&[&version::TLS12, &version::TLS13]);
    config
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map(drop)
        .map_err(|e| e.to_string())
}

fn text(source: &SecretSource) -> String {
    match source {
        SecretSource::File(path) => path.to_string_lossy().into_owned(),
        SecretSource::Credential(name) | SecretSource::Env(name) => name.clone(),
    }
}
