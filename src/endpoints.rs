//! Where the backends are: their addresses, resolved again and again, off the request path.
//!
//! Pingora's load-balancing crate does what it is good at: service discovery (here: DNS) and
//! connection-level health of the addresses found. What comes out is published to each backend as a plain
//! list, healthy addresses first. If a look-up fails the last good list stays; if no address accepts
//! connections they are all published, since a failed attempt tells more than a guess.
//!
//! A name that resolves to a link-local address (where cloud metadata lives) is refused, and to loopback,
//! too, unless the endpoint itself was written as a loopback host.

use crate::live::Live;
use crate::live::LiveBackend;
use crate::live::Snapshot;
use crate::telemetry::Telemetry;
use async_trait::async_trait;
use futures_util::future::join_all;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use pingora_core::{Error, ErrorType, Result};
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::TcpHealthCheck;
use pingora_load_balancing::{Backend, Backends};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Keeps the addresses of every backend fresh.
pub struct Endpoints {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
}

impl Endpoints {
    /// A service over the backends of what is live.
    pub fn new(live: Arc<Live>, telemetry: Arc<Telemetry>) -> Self {
        Self { live, telemetry }
    }

    /// Looks up the backends of a snapshot that have no address yet, so that it can be made live with them.
    /// What is not found within `limit` is found later, in the background.
    pub async fn resolve_new(snapshot: &Snapshot, limit: Duration) {
        let new = snapshot.backends().filter(|backend| backend.addresses().is_empty());
        let looks = new.map(|backend| async {
            match look_up(backend).await {
                Ok(addresses) => backend.publish(addresses),
                Err(error) => {
                    let (host, name) = (&backend.authority.0, &*backend.name);
                    tracing::warn!(backend = name, host, %error, "host name not resolved yet");
                }
            }
        });
        // What came too late is looked up again by the service.
        drop(tokio::time::timeout(limit, join_all(looks)).await);
    }

    async fn round(&self, watched: &mut BTreeMap<Arc<str>, Watched>) {
        let snapshot = self.live.snapshot();
        let named = || snapshot.backends().filter(|b| b.authority.0.parse::<IpAddr>().is_err());
        for backend in named() {
            let known =
                watched.entry(Arc::clone(&backend.name)).or_insert_with(|| Watched::new(backend));
            if known.authority != backend.authority {
                *known = Watched::new(backend);
            }
        }
        // At the same time: one resolver that does not answer must not hold the others up.
        let all = named().filter_map(|b| Some((b, watched.get(&b.name)?)));
        join_all(all.map(|(backend, known)| self.refresh(backend, known))).await;
    }

    async fn refresh(&self, backend: &LiveBackend, known: &Watched) {
        match known.refresh().await {
            Ok(addresses) => backend.publish(addresses),
            Err(error) => {
                let (host, name) = (&backend.authority.0, &*backend.name);
                tracing::warn!(backend = name, host, %error, "host name not resolved, addresses kept");
                self.telemetry.metrics.resolve_failures.with_label_values(&[name]).inc();
            }
        }
    }
}

#[async_trait]
impl BackgroundService for Endpoints {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut watched = BTreeMap::new();
        loop {
            let refresh = self.live.snapshot().config.dns_refresh;
            self.round(&mut watched).await;
            let unresolved = self.live.snapshot().backends().any(|b| b.addresses().is_empty());
            let pause = if unresolved { Duration::from_secs(1).min(refresh) } else { refresh };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// Looks a backend up once: its addresses, those that take connections first.
pub(crate) async fn look_up(backend: &LiveBackend) -> Result<Vec<SocketAddr>> {
    Watched::new(backend).refresh().await
}

/// The discovery of one backend.
struct Watched {
    authority: (String, u16),
    found: Backends,
}

impl Watched {
    fn new(backend: &LiveBackend) -> Self {
        let authority = backend.authority.clone();
        let mut found = Backends::new(Box::new(Dns { authority: authority.clone() }));
        // A connect without a TLS handshake: what a broken certificate means is for attempts to tell.
        found.set_health_check(TcpHealthCheck::new());
        Self { authority, found }
    }

    async fn refresh(&self) -> Result<Vec<SocketAddr>> {
        self.found.update(|_| {}).await?;
        let all = self.found.get_backend();
        if all.len() > 1 {
            self.found.run_health_check(true).await;
        }
        let (healthy, ill): (Vec<_>, Vec<_>) = all.iter().partition(|b| self.found.ready(b));
        let usable = if healthy.is_empty() { ill } else { healthy };
        Ok(usable.iter().filter_map(|b| b.addr.as_inet().copied()).collect())
    }
}

/// Service discovery by the system's resolver, which knows resolv.conf and private zones.
struct Dns {
    authority: (String, u16),
}

#[async_trait]
impl ServiceDiscovery for Dns {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let (host, port) = &self.authority;
        let failed = |why: String| Error::explain(ErrorType::Custom("DNS"), why);
        let found = tokio::net::lookup_host((host.as_str(), *port))
            .await
            .map_err(|e| failed(e.to_string()))?;
        let allowed = found.filter(|a| is_allowed(a.ip(), host));
        let backends: BTreeSet<Backend> =
            allowed.filter_map(|a| Backend::new(&a.to_string()).ok()).collect();
        if backends.is_empty() {
            return Err(failed(format!("{host} has no address that may be used")));
        }
        Ok((backends, HashMap::new()))
    }
}

/// Whether a resolved address may be connected to.
fn is_allowed(ip: IpAddr, host: &str) -> bool {
    let (link_local, loopback, unspecified) = match ip.to_canonical() {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.is_loopback(), v4.is_unspecified()),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.is_loopback(), v6.is_unspecified()),
    };
    !link_local && !unspecified && loopback == (host == "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ip: &str, expected: [bool; 2]) {
        let ip: IpAddr = ip.parse().unwrap();
        assert_eq!([is_allowed(ip, "a.example"), is_allowed(ip, "localhost")], expected, "{ip}");
    }

    #[test]
    fn where_a_name_may_point() {
        check("20.42.0.1", [true, false]);
        check("10.0.0.4", [true, false]);
        check("127.0.0.1", [false, true]);
        check("::1", [false, true]);
        check("169.254.169.254", [false, false]);
        check("::ffff:169.254.169.254", [false, false]);
        check("fe80::1", [false, false]);
        check("0.0.0.0", [false, false]);
    }
}
