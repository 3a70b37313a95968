//! What is allowed only on one machine: loopback endpoints, and going without a proof.
//!
//! A loopback endpoint behind a public listener would let anyone on the network reach a service that
//! trusts this machine. A backend with `auth: none` and an anonymous app trust whoever connects, so there
//! both sides, listeners and endpoints, must stay on loopback. The parts of the file are read in order;
//! this is asked once all are known.

use crate::config::checked::BackendAuth;
use crate::config::checked::Config;
use crate::config::checked::Endpoint;
use crate::config::endpoint;
use crate::config::problem::Place;
use crate::config::problem::Problem;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use std::net::SocketAddr;

/// What in a checked configuration must not stand together: where its parts come from two files.
pub(super) fn conflicts(config: &Config) -> Vec<Problem> {
    let spot = |path: String| Spot { place: Place::START, path };
    let mut exposure = Exposure::default();
    for (place, listener) in config.listen.iter().enumerate() {
        exposure.listener(listener.address, &spot(format!("listen[{place}].address")));
    }
    for (name, backend) in &config.backends {
        exposure.endpoint(&backend.endpoint, &spot(format!("backends.{name}.endpoint")));
        if backend.auth == BackendAuth::None {
            exposure.trusting(&spot(format!("backends.{name}.auth")));
        }
    }
    for (name, _) in config.apps.iter().filter(|(_, app)| app.anonymous) {
        exposure.trusting(&spot(format!("apps.{name}.anonymous")));
    }
    let entra = [("authority", &config.entra.authority), ("sts", &config.entra.sts)];
    for (key, at) in entra.into_iter().filter(|(_, at)| endpoint::is_loopback(at)) {
        exposure.endpoint(at, &spot(format!("entra.{key}")));
    }
    let mut problems = Problems::default();
    exposure.check(&mut problems);
    problems.settle().err().unwrap_or_default()
}

/// What the readers saw of it.
#[derive(Debug, Default)]
pub(super) struct Exposure {
    /// The first listener that other machines can reach.
    open_listener: Option<Spot>,
    /// The first endpoint on another machine.
    far_endpoint: Option<Spot>,
    near_endpoints: Vec<Spot>,
    trusting: Vec<Spot>,
}

impl Exposure {
    pub(super) fn listener(&mut self, address: SocketAddr, spot: &Spot) {
        if !address.ip().to_canonical().is_loopback() {
            self.open_listener.get_or_insert_with(|| spot.clone());
        }
    }

    pub(super) fn endpoint(&mut self, endpoint: &Endpoint, spot: &Spot) {
        if endpoint::is_loopback(endpoint) {
            self.near_endpoints.push(spot.clone());
        } else {
            self.far_endpoint.get_or_insert_with(|| spot.clone());
        }
    }

    /// Something that trusts whoever connects.
    pub(super) fn trusting(&mut self, spot: &Spot) {
        self.trusting.push(spot.clone());
    }

    /// Notes what must not stand together.
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Some(open) = &self.open_listener {
            for spot in &self.near_endpoints {
                let wrong =
                    format!("a loopback endpoint, while other machines reach `{}`", open.path);
                problems.refuse(
                    spot,
                    wrong,
                    "write an endpoint elsewhere, or listen on 127.0.0.1 only",
                );
            }
        }
        let Some(open) = self.open_listener.as_ref().or(self.far_endpoint.as_ref()) else { return };
        for spot in &self.trusting {
            let wrong = format!("allowed only on loopback, and `{}` is not", open.path);
            problems.refuse(
                spot,
                wrong,
                "use keys, or put every listener and every endpoint on loopback",
            );
        }
    }
}
