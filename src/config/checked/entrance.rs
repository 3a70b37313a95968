//! What a request and a connection may cost, and what stands in front, checked.

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use std::net::IpAddr;

/// What a request and a connection may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Requests at a time, of all apps; at least 1.
    pub concurrent: u32,
    /// Largest request body, in bytes.
    pub body_bytes: usize,
    /// All request bodies in memory together, in bytes; at least `body_bytes`.
    pub buffered_bytes: usize,
    /// Ids whose backend is known.
    pub kept_ids: usize,
    /// Least rate of a request body, in bytes a second; 0 is any.
    pub body_rate: u32,
    /// Largest head of a request, in bytes.
    pub header_bytes: usize,
    /// Most headers of a request.
    pub headers: usize,
    /// Requests at a time on one h2 connection.
    pub h2_streams: u32,
    /// Connections of all clients.
    pub connections: usize,
    /// Connections of one address that is not a trusted proxy's.
    pub connections_per_ip: usize,
}

/// What stands in front of Firstlight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InFront {
    /// Networks whose `X-Forwarded-For` is believed.
    #[serde(serialize_with = "as_text")]
    pub trusted_proxies: Vec<IpNet>,
    /// The path that health probes ask for.
    pub status_path: Option<String>,
    /// The id of the one Front Door that requests come through, lower case.
    pub front_door_id: Option<String>,
}

impl InFront {
    /// Whether an address is one of a trusted proxy. IPv4 in IPv6 counts as IPv4.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

fn as_text<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(networks.iter().map(ToString::to_string))
}
