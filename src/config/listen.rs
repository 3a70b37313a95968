//! Addresses that Firstlight itself binds: the clients' listeners and the operator's.

use crate::config::apps::Apps;
use crate::config::at::At;
use crate::config::checked::Listener;
use crate::config::checked::ListenerTls;
use crate::config::keys;
use crate::config::loopback::Exposure;
use crate::config::names;
use crate::config::names::Known;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::secrets;
use crate::config::section::Section;
use crate::config::tree::Value;
use std::net::IpAddr;
use std::net::SocketAddr;

const FORM: &str = "an address and a port, such as 0.0.0.0:8443 or [::1]:8443";

/// Reads `listen` and `admin`.
pub(super) fn read(
    file: &Section<'_>,
    apps: &Apps<'_>,
    exposure: &mut Exposure,
    problems: &mut Problems,
) -> (Vec<Listener>, Option<SocketAddr>) {
    let mut bound = Vec::new();
    let mut listeners = Vec::new();
    let all = file.require("listen", "[{ address: 127.0.0.1:8080 }]", problems);
    for at in
        all.map(|at| at.items("at least one `- address: HOST:PORT`", problems)).unwrap_or_default()
    {
        let section = at.section("listen.*", problems);
        let address = address(&section, &mut bound, exposure, problems);
        listeners.extend(listener(&section, address, apps, problems));
    }
    (listeners, admin(file, &mut bound, problems))
}

fn address(
    section: &Section<'_>,
    bound: &mut Vec<(SocketAddr, String)>,
    exposure: &mut Exposure,
    problems: &mut Problems,
) -> Option<SocketAddr> {
    let at = section.require("address", "0.0.0.0:8443", problems)?;
    let address = socket(at, problems)?;
    bind(address, &at.spot, bound, problems);
    exposure.listener(address, &at.spot);
    Some(address)
}

fn listener(
    section: &Section<'_>,
    address: Option<SocketAddr>,
    apps: &Apps<'_>,
    problems: &mut Problems,
) -> Option<Listener> {
    let tls = section.get("tls").map(|at| certificates(at, problems));
    let known = Known { one: "app", names: &apps.names };
    let apps = section
        .get(keys::name(keys::LISTENER_APPS.path))
        .map(|at| names::known(at, &known, problems));
    let address = address?;
    if tls.is_none() && !address.ip().is_loopback() {
        problems.warn(
            &section.spot,
            "clients' keys cross the network in the clear",
            "add `tls`, or listen on loopback",
        );
    }
    Some(Listener { address, tls: tls.unwrap_or_default(), apps })
}

/// One map, or a list of them.
fn certificates(at: &At<'_>, problems: &mut Problems) -> Vec<ListenerTls> {
    if !matches!(at.value(), Value::List(_)) {
        return certificate(at, problems).into_iter().collect();
    }
    let items = at.items("at least one `- { certificate: PATH, key: PATH }`", problems);
    items.iter().filter_map(|at| certificate(at, problems)).collect()
}

fn certificate(at: &At<'_>, problems: &mut Problems) -> Option<ListenerTls> {
    let section = at.section("listen.*.tls", problems);
    let mut pem = |name: &str, shown: &str| {
        let at = section.require(name, shown, problems)?;
        secrets::pem(at, problems)
    };
    let certificate = pem("certificate", "/etc/firstlight/tls.crt");
    let key = pem("key", "/etc/firstlight/tls.key");
    Some(ListenerTls { certificate: certificate?, key: key? })
}

fn admin(
    file: &Section<'_>,
    bound: &mut Vec<(SocketAddr, String)>,
    problems: &mut Problems,
) -> Option<SocketAddr> {
    let section = file.inner("admin", problems);
    let Some(at) = section.get(keys::name(keys::ADMIN_ADDRESS.path)) else {
        let address = keys::ADMIN_ADDRESS.shown.parse().ok()?;
        let spot = Spot { place: section.spot.place, path: keys::ADMIN_ADDRESS.path.to_owned() };
        bind(address, &spot, bound, problems);
        return Some(address);
    };
    if at.text("an address and a port, or `none`", problems)? == "none" {
        return None;
    }
    let address = socket(at, problems)?;
    bind(address, &at.spot, bound, problems);
    if !address.ip().is_loopback() {
        problems.warn(
            &at.spot,
            "anyone on the network can read metrics here",
            "write 127.0.0.1:9090, or guard the port",
        );
    }
    Some(address)
}

fn socket(at: &At<'_>, problems: &mut Problems) -> Option<SocketAddr> {
    let address = at.text(FORM, problems)?.parse().ok();
    if address.is_none() {
        problems.refuse(&at.spot, "not an address with a port", format!("write {FORM}"));
    }
    address
}

/// Notes an address that cannot be bound beside an earlier one. Port 0 is a new port each time.
fn bind(
    address: SocketAddr,
    spot: &Spot,
    bound: &mut Vec<(SocketAddr, String)>,
    problems: &mut Problems,
) {
    let taken = bound.iter().find(|(other, _)| collide(address, *other));
    if let Some((_, other)) = taken {
        problems.refuse(
            spot,
            format!("the address of `{other}`"),
            "give each listener a port of its own",
        );
    }
    bound.push((address, spot.path.clone()));
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let every = |ip: IpAddr| ip.is_unspecified();
    let overlap =
        a.ip() == b.ip() || a.is_ipv4() == b.is_ipv4() && (every(a.ip()) || every(b.ip()));
    a.port() != 0 && a.port() == b.port() && overlap
}
