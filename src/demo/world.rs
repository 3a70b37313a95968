//! The demo's world: for each policy a fleet of mock regions with a whole Firstlight in front.
//!
//! The two sides share nothing but the process, so that neither's load disturbs the other's answers; both
//! fleets draw their times from the same seed. Each proxy runs `conf/demo.yaml` the way `firstlight run`
//! would: as text, with its own addresses put in, through the same checks.

use crate::config;
use crate::demo::DemoError;
use crate::demo::scenario;
use crate::demo::scenario::Phase;
use crate::demo::scenario::Timeline;
use crate::demo::tally::Tally;
use crate::demo::watch::Reading;
use crate::demo::watch::Watch;
use crate::mock::BackendSpec;
use crate::mock::Fault;
use crate::mock::Mock;
use crate::routing::State;
use crate::server::Firstlight;
use crate::server::Running;
use crate::server::StartError;
use crate::telemetry::AccessLog;
use crate::time::Time;
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// The configuration of both proxies.
pub const CONFIGURATION: &str = include_str!("../../conf/demo.yaml");
/// The model that is asked for.
pub(super) const MODEL: &str = "gpt-4o";
/// The key of the one app.
pub(super) const KEY: &str = "firstlight-demo";

/// What stands in [`CONFIGURATION`] for what only a running demo knows.
mod placeholder {
    pub(super) const LISTEN: &str = "127.0.0.1:8080";
    pub(super) const ADMIN: &str = "127.0.0.1:9090";
    pub(super) const REGIONS: [(&str, &str); 3] = [
        ("eastus2", "127.0.0.1:9101"),
        ("westus3", "127.0.0.1:9102"),
        ("swedencentral", "127.0.0.1:9103"),
    ];
    pub(super) const POLICY: &str = "policy: lookout";
    pub(super) const PROBE: &str = "probe_backoff_max_seconds: 4";
}

/// Both fleets draw their times from it.
const SEED: u64 = 1;

/// How a side routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// As the configuration says.
    Firstlight,
    /// Each region in turn.
    RoundRobin,
}

/// One policy: its regions, its proxy, and what is seen of it.
pub(super) struct Side {
    pub(super) policy: Policy,
    pub(super) mock: Mock,
    pub(super) proxy: Running,
    pub(super) tally: Mutex<Tally>,
    pub(super) watch: Mutex<Watch>,
}

/// One region as a proxy sees it now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegionView {
    /// Whether it is degraded.
    pub degraded: bool,
    /// Moving average of time to first token in milliseconds.
    pub score_ms: f64,
}

impl Side {
    /// Starts the regions and the proxy in front of them, which listens on `listen`, or on a free port if that
    /// one is taken.
    pub(super) async fn start(
        policy: Policy,
        listen: SocketAddr,
        timeline: Timeline,
    ) -> Result<Self, DemoError> {
        let specs = scenario::REGIONS
            .map(|(name, median)| BackendSpec::local(name, scenario::behaviour(median)));
        let control = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mock =
            Mock::start(specs.to_vec(), Some(control), SEED).await.map_err(DemoError::Mock)?;
        let proxy = match bind(policy, listen, &mock, timeline) {
            Err(DemoError::Start(StartError::Bind { why: source, .. }))
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                bind(policy, SocketAddr::new(listen.ip(), 0), &mock, timeline)?
            }
            bound => bound?,
        };
        let (tally, watch) = (Mutex::default(), Mutex::default());
        Ok(Self { policy, mock, proxy: proxy.spawn(), tally, watch })
    }

    /// Where its clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        self.proxy.addresses().first().copied().unwrap_or(any)
    }

    /// Makes the region as ill as it is in `phase`.
    pub(super) fn enter(&self, phase: Phase) -> Result<(), DemoError> {
        let fault = match phase {
            Phase::Healthy | Phase::Healed => Fault::None,
            Phase::Bad => Fault::Slow { factor: scenario::SLOW_FACTOR, add_ms: 0.0 },
        };
        Ok(self.mock.set_fault(scenario::BAD_REGION, fault)?)
    }

    /// Looks at the bad region: the picks first, then its state (see [`crate::demo::watch`]).
    pub(super) fn observe(&self, phase: Phase, at: Time) {
        let picks = picks(&self.proxy, scenario::BAD_REGION);
        let degraded = self.region(scenario::BAD_REGION).is_some_and(|view| view.degraded);
        self.watch.lock().read(Reading { at, phase, picks, degraded });
    }

    /// What the proxy thinks of a region.
    pub(super) fn region(&self, name: &str) -> Option<RegionView> {
        let live = self.proxy.live();
        let snapshot = live.snapshot();
        let pool = &snapshot.model(MODEL)?.pool;
        let view = pool.view(pool.position(name)?, live.clock().now())?;
        Some(RegionView { degraded: view.state == State::Degraded, score_ms: view.score_ms })
    }
}

fn bind(
    policy: Policy,
    listen: SocketAddr,
    mock: &Mock,
    timeline: Timeline,
) -> Result<Firstlight, DemoError> {
    let text = configuration(policy, listen, &mock.addresses(), timeline)?;
    let told = |problems: Vec<config::Problem>| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        DemoError::Configuration(lines.join("; "))
    };
    let checked = config::check(&text).map_err(told)?;
    Ok(Firstlight::bind(checked.config, AccessLog::off())?)
}

/// [`CONFIGURATION`] with the present addresses, policy and pause between probes in it.
pub fn configuration(
    policy: Policy,
    listen: SocketAddr,
    regions: &[(String, SocketAddr)],
    timeline: Timeline,
) -> Result<String, DemoError> {
    let mut text = put(CONFIGURATION, placeholder::LISTEN, &listen.to_string())?;
    text = put(&text, placeholder::ADMIN, &SocketAddr::new(listen.ip(), 0).to_string())?;
    text = put(
        &text,
        placeholder::PROBE,
        &format!("probe_backoff_max_seconds: {}", timeline.probe_seconds()),
    )?;
    for (name, place) in placeholder::REGIONS {
        let address = regions.iter().find(|(known, _)| known == name).map(|(_, address)| address);
        let address = address.ok_or(DemoError::Placeholder(place))?;
        text = put(&text, place, &address.to_string())?;
    }
    match policy {
        Policy::Firstlight => Ok(text),
        Policy::RoundRobin => put(&text, placeholder::POLICY, "policy: round_robin"),
    }
}

fn put(text: &str, place: &'static str, value: &str) -> Result<String, DemoError> {
    if text.contains(place) {
        Ok(text.replace(place, value))
    } else {
        Err(DemoError::Placeholder(place))
    }
}

/// How often `region` was chosen for a request, for whatever reason.
fn picks(proxy: &Running, region: &str) -> u64 {
    let families = proxy.telemetry().metrics.picks.collect();
    let series = families.iter().flat_map(MetricFamily::get_metric);
    let of_region = series.filter(|series| {
        series.get_label().iter().any(|label| label.name() == "backend" && label.value() == region)
    });
    let sum: f64 = of_region.map(|series| series.get_counter().get_value()).sum();
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a counter is a whole number, and the demo ends long before 2^53"
    )]
    let picks = sum as u64;
    picks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked;
    use std::time::Duration;

    fn filled(policy: Policy) -> checked::Config {
        let regions: Vec<(String, SocketAddr)> = (1..)
            .zip(scenario::REGIONS)
            .map(|(port, (name, _))| (name.to_owned(), ([127, 0, 0, 1], port).into()))
            .collect();
        let timeline = Timeline::new(Duration::from_secs(30));
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let text = configuration(policy, listen, &regions, timeline).unwrap();
        config::check(&text).unwrap().config
    }

    #[test]
    fn every_placeholder_is_filled() {
        let config = filled(Policy::Firstlight);
        let ports = |name: &str| config.backends[name].endpoint.port;
        assert_eq!(["eastus2", "westus3", "swedencentral"].map(ports), [1, 2, 3]);
        assert_eq!((config.listen[0].address.port(), config.admin.unwrap().port()), (0, 0));
        assert_eq!(config.routing.recover.probe_backoff_max, Duration::from_secs(2));
    }

    #[test]
    fn the_sides_differ_in_nothing_but_the_policy_and_its_defaults() {
        let (ours, theirs) = (filled(Policy::Firstlight), filled(Policy::RoundRobin));
        assert_eq!(theirs.routing.policy, checked::Policy::RoundRobin);
        assert_ne!(ours.routing.policy, theirs.routing.policy);
        let mut alike = theirs;
        alike.routing = ours.routing.clone();
        alike.models.clone_from(&ours.models);
        assert_eq!(alike, ours);
    }

    #[test]
    fn the_model_and_the_key_are_those_of_the_file() {
        use sha2::Digest;
        let config = filled(Policy::Firstlight);
        assert!(config.models.contains_key(MODEL));
        let hash = hex::encode(sha2::Sha256::digest(KEY));
        assert_eq!(config.apps["demo"].api_keys[0].sha256, hash);
    }

    #[test]
    fn healthy_and_bad_lie_on_both_sides_of_the_thresholds() {
        let detect = filled(Policy::Firstlight).routing.detect;
        assert_eq!(detect.trip_ms.to_bits(), scenario::SLOW_MS.to_bits());
        let slow = scenario::REGIONS.map(|(_, median)| median * scenario::SLOW_FACTOR);
        assert!(slow.iter().all(|ms| *ms > 1.5 * detect.trip_ms), "{slow:?}");
        assert!(scenario::REGIONS.iter().all(|(_, ms)| 2.0 * ms < detect.clear_ms));
    }
}
