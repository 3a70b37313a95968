//! How many are connected, from where, and what their connections do. What was counted is given back when its
//! connection is dropped, however it ends.

use crate::config::checked::Config;
use crate::telemetry::Telemetry;
use parking_lot::Mutex;
use prometheus::IntGauge;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// All connections of clients.
pub(super) struct Crowd {
    counts: Mutex<Counts>,
    telemetry: Arc<Telemetry>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All places are taken.
    All,
    /// All places of its address are taken.
    OfAddress,
}

impl Full {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::All => "connections",
            Self::OfAddress => "connections_per_ip",
        }
    }
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has not sent its first head yet.
    Opening,
    /// It carries a request.
    Request,
    /// It waits for its next request.
    Idle,
    /// It speaks h2.
    Http2,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Request => "request",
            Self::Idle => "idle",
            Self::Http2 => "h2",
        }
    }
}

/// One connection, counted until it is dropped.
pub(super) struct Presence {
    crowd: Arc<Crowd>,
    /// Where it counts against the limit of an address.
    network: Option<IpAddr>,
    gauge: IntGauge,
}

impl Crowd {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { counts: Mutex::default(), telemetry }
    }

    /// Counts a connection, if there is a place for it. An address that is not known counts for all only.
    pub(super) fn enter(
        self: &Arc<Self>,
        peer: Option<IpAddr>,
        config: &Config,
    ) -> Result<Presence, Full> {
        let network = peer.filter(|peer| !config.in_front.trusts(*peer)).map(network);
        let mut counts = self.counts.lock();
        if counts.all >= config.limits.connections {
            return Err(Full::All);
        }
        if let Some(network) = network {
            let here = counts.by_network.entry(network).or_default();
            if *here >= config.limits.connections_per_ip {
                return Err(Full::OfAddress);
            }
            *here += 1;
        }
        counts.all += 1;
        drop(counts);
        let gauge = self.gauge(State::Opening);
        gauge.inc();
        Ok(Presence { crowd: Arc::clone(self), network, gauge })
    }

    fn gauge(&self, state: State) -> IntGauge {
        self.telemetry.metrics.connections.with_label_values(&[state.word()])
    }
}

impl Presence {
    pub(super) fn set(&mut self, state: State) {
        self.gauge.dec();
        self.gauge = self.crowd.gauge(state);
        self.gauge.inc();
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.gauge.dec();
        let mut counts = self.crowd.counts.lock();
        counts.all = counts.all.saturating_sub(1);
        let Some(network) = self.network else { return };
        if let Some(here) = counts.by_network.get_mut(&network) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                counts.by_network.remove(&network);
            }
        }
    }
}

/// An IPv4 address, or the /64 of an IPv6 one: whoever has one of those has all of its addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{AccessLog, Metrics};

    fn crowd() -> Arc<Crowd> {
        let telemetry = Telemetry::new(Metrics::new().unwrap(), AccessLog::off());
        Arc::new(Crowd::new(Arc::new(telemetry)))
    }

    fn config(text: &str) -> Config {
        let minimal = include_str!("../../../conf/minimal.yaml");
        crate::config::check(&format!("{minimal}\n{text}")).unwrap().config
    }

    #[test]
    fn each_address_and_all_together_have_places() {
        let config = config(
            "trusted_proxies: [10.0.0.0/8]\nlimits: { connections: 5, connections_per_ip: 2 }",
        );
        let crowd = crowd();
        let enter = |ip: &str| crowd.enter(Some(ip.parse().unwrap()), &config);
        let first = enter("192.0.2.1").unwrap();
        let second = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").err(), Some(Full::OfAddress));
        drop(second);
        let again = enter("192.0.2.1").unwrap();
        let proxies: Vec<_> = (0..3).map(|_| enter("10.1.2.3").unwrap()).collect();
        assert_eq!(enter("192.0.2.2").err(), Some(Full::All));
        drop((first, again, proxies));
        assert_eq!(crowd.counts.lock().all, 0);
        assert!(crowd.counts.lock().by_network.is_empty());
        let six = [enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap()];
        assert_eq!(enter("2001:db8::3").err(), Some(Full::OfAddress));
        assert!(enter("2001:db8:0:1::3").is_ok());
        drop(six);
    }

    #[test]
    fn a_panic_gives_the_place_back() {
        let (crowd, config) = (crowd(), config("limits: { connections: 1 }"));
        let held = Arc::clone(&crowd);
        let limits = config.clone();
        let panicked = std::thread::spawn(move || {
            let mut presence = held.enter(None, &limits).unwrap();
            presence.set(State::Request);
            panic!("a connection's own");
        });
        assert!(panicked.join().is_err());
        assert_eq!(crowd.gauge(State::Request).get(), 0);
        assert!(crowd.enter(None, &config).is_ok());
    }
}
