//! The part of the control endpoint that steers the fake Entra and the fake IMDS.

use crate::mock::control::{Verdict, read};
use crate::mock::{Beside, Counters, Entra, EntraEndpoint, EntraFault, Imds, ImdsFault, MockError};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The fake Entra as the control endpoint shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntraStatus {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its URL, which stands for `https://login.microsoftonline.com`.
    pub authority: String,
    /// Its tenants.
    pub tenants: Vec<String>,
    /// The ids of the published keys, the oldest first.
    pub key_ids: Vec<String>,
    /// What is wrong with each endpoint.
    pub faults: BTreeMap<EntraEndpoint, EntraFault>,
    /// What each endpoint has counted.
    pub counters: BTreeMap<EntraEndpoint, Counters>,
}

/// The fake IMDS as the control endpoint shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImdsStatus {
    /// Where it listens.
    pub address: SocketAddr,
    /// The client ids of its identities, the system-assigned one first.
    pub identities: Vec<String>,
    /// What is wrong with it.
    pub fault: ImdsFault,
    /// What it has counted.
    pub counters: Counters,
}

/// A token to issue.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[serde(default = "nothing")]
    claims: Value,
    #[serde(default = "nothing")]
    header: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    #[serde(default = "yes")]
    publish: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntraTrouble {
    endpoint: Option<EntraEndpoint>,
    fault: EntraFault,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImdsTrouble {
    fault: ImdsFault,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lifetime {
    seconds: u32,
}

fn nothing() -> Value {
    json!({})
}

const fn yes() -> bool {
    true
}

pub(super) async fn decide_for_entra(
    entra: &Entra,
    method: &Method,
    rest: &[&str],
    body: &[u8],
) -> Verdict {
    let changed = match (method.as_str(), rest) {
        ("GET", []) => Ok(()),
        ("GET", ["requests"]) => {
            return Verdict::show(&per_endpoint(|endpoint| entra.requests(endpoint)));
        }
        ("POST", ["tokens"]) => return issued(entra, body),
        ("POST", ["rotate"]) => rotated(entra, body).await,
        ("POST", ["publish"]) => {
            entra.publish();
            Ok(())
        }
        ("POST", ["retire"]) => {
            entra.retire_old();
            Ok(())
        }
        ("PUT", ["fault"]) => broken(entra, body),
        ("DELETE", ["fault"]) => told(entra.set_fault_everywhere(EntraFault::None)),
        ("PUT", ["lifetime"]) => lifetime(body).map(|lifetime| entra.set_lifetime(lifetime)),
        _ => return Verdict::nowhere(method, &format!("/entra/{}", rest.join("/"))),
    };
    changed.map_or_else(Verdict::Bad, |()| Verdict::show(&entra_status(entra)))
}

pub(super) fn decide_for_imds(imds: &Imds, method: &Method, rest: &[&str], body: &[u8]) -> Verdict {
    let changed = match (method.as_str(), rest) {
        ("GET", []) => Ok(()),
        ("GET", ["requests"]) => return Verdict::show(&imds.requests()),
        ("PUT", ["fault"]) => {
            read::<ImdsTrouble>(body).and_then(|trouble| told(imds.set_fault(trouble.fault)))
        }
        ("DELETE", ["fault"]) => told(imds.set_fault(ImdsFault::None)),
        ("PUT", ["lifetime"]) => lifetime(body).map(|lifetime| imds.set_lifetime(lifetime)),
        _ => return Verdict::nowhere(method, &format!("/imds/{}", rest.join("/"))),
    };
    changed.map_or_else(Verdict::Bad, |()| Verdict::show(&imds_status(imds)))
}

/// Forgets what both have seen.
pub(super) fn reset(beside: &Beside) {
    if let Some(entra) = &beside.entra {
        entra.reset();
    }
    if let Some(imds) = &beside.imds {
        imds.reset();
    }
}

fn issued(entra: &Entra, body: &[u8]) -> Verdict {
    match read::<Order>(if body.is_empty() { b"{}" } else { body }) {
        Ok(Order { claims, header }) => {
            Verdict::Show(json!({"access_token": entra.issue_with(header, claims)}))
        }
        Err(problem) => Verdict::Bad(problem),
    }
}

async fn rotated(entra: &Entra, body: &[u8]) -> Result<(), String> {
    let rotation: Rotation = read(if body.is_empty() { b"{}" } else { body })?;
    let rotated = if rotation.publish { entra.rotate().await } else { entra.rotate_ahead().await };
    rotated.map(drop).map_err(|error| error.to_string())
}

fn broken(entra: &Entra, body: &[u8]) -> Result<(), String> {
    let EntraTrouble { endpoint, fault } = read(body)?;
    told(match endpoint {
        Some(endpoint) => entra.set_fault(endpoint, fault),
        None => entra.set_fault_everywhere(fault),
    })
}

fn lifetime(body: &[u8]) -> Result<Duration, String> {
    read::<Lifetime>(body).map(|lifetime| Duration::from_secs(lifetime.seconds.into()))
}

fn told(changed: Result<(), MockError>) -> Result<(), String> {
    changed.map_err(|error| error.to_string())
}

fn entra_status(entra: &Entra) -> EntraStatus {
    EntraStatus {
        address: entra.address(),
        authority: entra.authority().to_owned(),
        tenants: entra.tenants().to_vec(),
        key_ids: entra.key_ids(),
        faults: per_endpoint(|endpoint| entra.fault(endpoint)),
        counters: per_endpoint(|endpoint| entra.counters(endpoint)),
    }
}

fn per_endpoint<T>(of: impl Fn(EntraEndpoint) -> T) -> BTreeMap<EntraEndpoint, T> {
    EntraEndpoint::ALL.into_iter().map(|endpoint| (endpoint, of(endpoint))).collect()
}

fn imds_status(imds: &Imds) -> ImdsStatus {
    ImdsStatus {
        address: imds.address(),
        identities: imds.identities(),
        fault: imds.fault(),
        counters: imds.counters(),
    }
}
