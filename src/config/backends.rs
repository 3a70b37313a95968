//! Backends: where requests go, and what proves us to them.

use crate::config::at::At;
use crate::config::checked::Backend;
use crate::config::checked::Endpoint;
use crate::config::checked::Entra;
use crate::config::endpoint;
use crate::config::identities;
use crate::config::keys;
use crate::config::loopback::Exposure;
use crate::config::names;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::secrets;
use crate::config::section::Section;
use std::collections::BTreeMap;

/// The backends that could be read, and the names of all that are written: a model that names a broken
/// one has made no mistake of its own.
#[derive(Debug, Default)]
pub(super) struct Backends<'a> {
    pub(super) all: BTreeMap<String, Backend>,
    pub(super) names: Vec<&'a str>,
    weights: Vec<Spot>,
}

impl Backends<'_> {
    /// Warns about weights where no model looks at them.
    pub(super) fn warn_of_weights(&self, problems: &mut Problems) {
        for spot in &self.weights {
            let wrong = "without effect: no model is routed by weight";
            problems.warn(spot, wrong, "leave it out, or use tiers");
        }
    }
}

/// Reads `backends`.
pub(super) fn read<'a>(
    file: &Section<'a>,
    entra: &Entra,
    exposure: &mut Exposure,
    problems: &mut Problems,
) -> Backends<'a> {
    const WHAT: &str = "{ NAME: { endpoint: https://NAME.openai.azure.com } }";
    let mut backends = Backends::default();
    let mut endpoints: BTreeMap<(String, u16), String> = BTreeMap::new();
    let written = file.require("backends", WHAT, problems).map(|at| at.named(WHAT, problems));
    for (name, at) in written.unwrap_or_default() {
        backends.names.push(name);
        let name = names::check(name, &at.key_spot(), problems);
        let section = at.section("backends.*", problems);
        let Some(backend) = backend(&section, entra, exposure, problems) else { continue };
        if backend.weight != keys::WEIGHT.default.plain() {
            backends.weights.extend(section.spot_of(keys::WEIGHT.path).cloned());
        }
        let place = (backend.endpoint.host.clone(), backend.endpoint.port);
        if let Some(other) = endpoints.insert(place, at.spot.path.clone()) {
            let wrong = format!("the same endpoint as `{other}`");
            problems.warn(
                &section.spot,
                wrong,
                "give each resource one entry, or its health is learned twice",
            );
        }
        backends.all.extend(name.map(|name| (name, backend)));
    }
    backends
}

fn backend(
    section: &Section<'_>,
    entra: &Entra,
    exposure: &mut Exposure,
    problems: &mut Problems,
) -> Option<Backend> {
    let endpoint = section
        .require("endpoint", "https://NAME.openai.azure.com", problems)
        .and_then(|at| read_endpoint(at, exposure, problems));
    let auth = identities::auth(section, entra, exposure, problems);
    let tier = section.whole(&keys::TIER, problems);
    let weight = section.whole(&keys::WEIGHT, problems);
    let most = section.whole(&keys::MAX_IN_FLIGHT, problems);
    let max_in_flight = (most > 0).then_some(most);
    let ca = section.get("ca").map(|at| secrets::path(at, "the path of a PEM file", problems));
    let (endpoint, auth, ca) = (endpoint?, auth?, ca.flatten());
    Some(Backend { endpoint, auth, tier, weight, max_in_flight, ca })
}

fn read_endpoint(
    at: &At<'_>,
    exposure: &mut Exposure,
    problems: &mut Problems,
) -> Option<Endpoint> {
    match endpoint::parse(at.text("https://NAME.openai.azure.com", problems)?) {
        Ok(endpoint) => {
            exposure.endpoint(&endpoint, &at.spot);
            Some(endpoint)
        }
        Err((wrong, instead)) => {
            problems.refuse(&at.spot, wrong, instead);
            None
        }
    }
}
