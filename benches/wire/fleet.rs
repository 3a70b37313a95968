//! The three regions behind one contender: a mock of their own for each, with the same seed, so that no
//! contender's requests change what another one meets.

use crate::scenario::HEALTHY_MS;
use firstlight::mock::{BackendSpec, Behaviour, Fault, Headers, Mock, MockError};
use std::net::SocketAddr;

/// The regions' names, in the order in which configurations list them.
pub(crate) const REGIONS: [&str; 3] = ["eastus2", "swedencentral", "westus3"];

/// Three regions, all well until one is broken.
pub(crate) struct Fleet {
    mock: Mock,
}

/// Requests of clients that one region has had; probes of a contender's own do not count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// How many there were since the tally was opened.
    pub(crate) requests: u64,
    last_id: u64,
}

impl Fleet {
    /// Opens the three ports. The same `seed` draws the same times of answers.
    pub(crate) async fn start(headers: Headers, seed: u64) -> anyhow::Result<Self> {
        let behaviour = Behaviour {
            ttft_median_ms: HEALTHY_MS,
            ttft_sigma: 0.25,
            header_ms: 15.0,
            headers,
            gap_ms: 10.0,
            tokens: 20,
            ..Behaviour::default()
        };
        let specs = REGIONS.map(|name| BackendSpec::local(name, behaviour.clone()));
        Ok(Self { mock: Mock::start(specs.to_vec(), None, seed).await? })
    }

    /// Names and addresses.
    pub(crate) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.mock.addresses()
    }

    /// How many requests each region has had, probes included, in the order of [`REGIONS`].
    pub(crate) fn requests(&self) -> Result<[u64; 3], MockError> {
        let [a, b, c] = REGIONS.map(|region| self.mock.counters(region).map(|c| c.requests));
        Ok([a?, b?, c?])
    }

    /// Breaks one region, or heals it.
    pub(crate) fn set_fault(&self, region: &str, fault: Fault) -> Result<(), MockError> {
        self.mock.set_fault(region, fault)
    }

    /// Starts to count a region's requests.
    pub(crate) fn open_tally(&self, region: &str) -> Result<Tally, MockError> {
        let last_id = self.mock.last_request(region)?.map_or(0, |request| request.id);
        Ok(Tally { requests: 0, last_id })
    }

    /// Counts what has come since. The mock remembers 64 requests: call this more often than those come.
    pub(crate) fn count(&self, region: &str, tally: &mut Tally) -> Result<(), MockError> {
        for request in self.mock.requests(region)? {
            let probe = request.header("user-agent").is_some_and(|who| who.contains("probe"));
            if request.id > tally.last_id {
                tally.last_id = request.id;
                tally.requests += u64::from(!probe);
            }
        }
        Ok(())
    }
}
