//! What is compared: Firstlight under each of its policies, and nginx. Each with a fleet of its own.
//!
//! Apart from its address a contender answers one question: how often it has marked a region so far, which is
//! to say taken it out, for whatever reason. Firstlight counts that in its metrics, nginx in its error log.

use crate::fleet::Fleet;
use crate::nginx::Nginx;
use crate::scenario::Scenario;
use anyhow::{Context, bail};
use firstlight::config;
use firstlight::server::{Firstlight, Running};
use firstlight::telemetry::AccessLog;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The model that is asked for.
pub(crate) const MODEL: &str = "gpt-4o";

/// A proxy before three regions.
pub(crate) struct Contender {
    pub(crate) address: SocketAddr,
    pub(crate) fleet: Fleet,
    proxy: Proxy,
}

enum Proxy {
    Firstlight(Box<Running>),
    Nginx(Nginx),
}

/// What is fixed in the defaults, divided by what the time is: a healthy first token of 100 ms instead of 1 to
/// 2 s. `ema`'s `first_token_seconds` is lower still, or a black hole of 20 s would show no time-out at all.
/// `lookout` measures the rest itself; the pauses between its probes are production's.
pub(crate) const SETTINGS: &str = "lookout: trip_ms 400, clear_ms 250 (for its first 20 answers). ema: the same, \
    default_score_ms 120, first_token_seconds 2, probe every 5 s. All else at its default";

/// Which proxy.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Firstlight with this policy.
    Firstlight(&'static str),
    /// nginx from this binary.
    Nginx(PathBuf),
}

impl Kind {
    /// What it is called in the table.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Firstlight(policy) => policy,
            Self::Nginx(_) => "nginx",
        }
    }
}

impl Contender {
    /// Starts one, and its fleet.
    pub(crate) async fn start(kind: &Kind, scenario: &Scenario, seed: u64) -> anyhow::Result<Self> {
        let fleet = Fleet::start(scenario.headers, seed).await?;
        let regions = fleet.addresses();
        let (proxy, address) = match kind {
            Kind::Firstlight(policy) => firstlight(policy, &regions)?,
            Kind::Nginx(binary) => {
                let nginx = Nginx::start(binary, regions).await?;
                let address = nginx.address;
                (Proxy::Nginx(nginx), address)
            }
        };
        Ok(Self { address, fleet, proxy })
    }

    /// How often a region was marked so far: degraded or resting after a 429, or taken out by nginx.
    pub(crate) fn markings(&self, region: &str) -> u64 {
        match &self.proxy {
            Proxy::Nginx(nginx) => nginx.markings(region),
            Proxy::Firstlight(running) => {
                count(running, region, &["degraded_slow", "degraded_errors", "limited"])
            }
        }
    }

    /// How often a region came back so far; `None`: it does not say.
    pub(crate) fn returns(&self, region: &str) -> Option<u64> {
        match &self.proxy {
            Proxy::Nginx(_) => None,
            Proxy::Firstlight(running) => {
                Some(count(running, region, &["recovering", "recovered"]))
            }
        }
    }
}

fn count(running: &Running, region: &str, changes: &[&str]) -> u64 {
    let metric = &running.telemetry().metrics.target_changes;
    changes.iter().map(|change| metric.with_label_values(&[MODEL, region, change]).get()).sum()
}

fn firstlight(
    policy: &str,
    regions: &[(String, SocketAddr)],
) -> anyhow::Result<(Proxy, SocketAddr)> {
    let file = file(policy, regions)?;
    let checked = match config::check(&file) {
        Ok(checked) => checked,
        Err(problems) => bail!("the bench's own configuration: {problems:?}\n{file}"),
    };
    let running = Firstlight::bind(checked.config, AccessLog::off())?.spawn();
    let address = *running.addresses().first().context("no listener")?;
    Ok((Proxy::Firstlight(Box::new(running)), address))
}

/// The scaled thresholds, where they are used; [`SETTINGS`] tells of them.
fn file(policy: &str, regions: &[(String, SocketAddr)]) -> Result<String, std::fmt::Error> {
    let mut backends = String::new();
    for (name, address) in regions {
        writeln!(backends, "  {name}: {{ endpoint: 'http://{address}', auth: none }}")?;
    }
    let (first_token, probes) = match policy {
        "lookout" => ("", ""),
        _ => (
            "first_token_seconds: 2",
            "\n  default_score_ms: 120\n  probe: { interval_seconds: 5, timeout_seconds: 2 }",
        ),
    };
    Ok(format!(
        "listen: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: none }}
backends:
{backends}
models:
  {MODEL}: {{ {first_token} }}
apps:
  bench: {{ anonymous: true }}
routing:
  policy: {policy}
  detect: {{ trip_ms: 400, clear_ms: 250 }}{probes}
"
    ))
}
