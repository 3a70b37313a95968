//! Where a backend is: `scheme://host[:port]`, and nothing else.
//!
//! An endpoint receives the resource's key, so it must not be talked into going somewhere else: no user
//! info, no path, no link-local host (cloud metadata lives there), no spelling of an address that only a
//! resolver would recognise as one. What a name resolves to is checked where it is resolved.
//!
//! The endpoint is never repeated in a message, since it may have been pasted with a password in it.

use crate::config::checked::Endpoint;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// What is wrong, and what to write instead.
type Refusal = (&'static str, &'static str);

const EXAMPLE: &str = "write `https://NAME.openai.azure.com`";

/// Reads an endpoint as it stands in the file.
pub(super) fn parse(text: &str) -> Result<Endpoint, Refusal> {
    let (endpoint, ip) = read(text)?;
    if let Some(ip) = ip {
        usable(ip)?;
    }
    if !endpoint.tls && !is_loopback(&endpoint) {
        return Err((
            "plain http to a host that is not on loopback",
            "write `https://`; the key must not travel in the clear",
        ));
    }
    Ok(endpoint)
}

/// Reads the address of a metadata service: on this machine, or link-local.
pub(super) fn parse_near(text: &str) -> Result<Endpoint, Refusal> {
    let (endpoint, ip) = read(text)?;
    let near = ip.is_some_and(is_link_local) || is_loopback(&endpoint);
    if near && !endpoint.tls {
        return Ok(endpoint);
    }
    Err(("neither link-local nor loopback over http", "write `http://169.254.169.254`"))
}

/// Scheme, host and port, and the address where the host is one.
fn read(text: &str) -> Result<(Endpoint, Option<IpAddr>), Refusal> {
    let (scheme, rest) = text.split_once("://").ok_or(("not scheme://host", EXAMPLE))?;
    let tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(("neither https nor http", EXAMPLE)),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err((
            "user info in an endpoint",
            "leave out everything up to the `@`; secrets belong in `auth`",
        ));
    }
    if authority.contains(['/', '?', '#', '\\']) {
        return Err((
            "something behind the host",
            "write only scheme, host and port; Firstlight adds the path",
        ));
    }
    let (host, port) = split_port(authority)?;
    let host = read_host(host)?;
    let ip = address(&host);
    Ok((Endpoint { tls, host, port: port.unwrap_or(if tls { 443 } else { 80 }) }, ip))
}

/// Whether requests to it stay on this machine.
pub(super) fn is_loopback(endpoint: &Endpoint) -> bool {
    endpoint.host == "localhost" || address(&endpoint.host).is_some_and(|ip| ip.is_loopback())
}

/// The endpoint as it is written in a file.
pub(super) fn written(endpoint: &Endpoint) -> String {
    let Endpoint { tls, host, port } = endpoint;
    let scheme = if *tls { "https" } else { "http" };
    if host.contains(':') {
        format!("{scheme}://[{host}]:{port}")
    } else {
        format!("{scheme}://{host}:{port}")
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), Refusal> {
    let behind_brackets = authority.rfind(']');
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if behind_brackets.is_none_or(|at| at < host.len()) => (host, port),
        _ => return Ok((authority, None)),
    };
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port @ 1..) if digits => Ok((host, Some(port))),
        _ => Err(("not a port behind the host", "write a number from 1 to 65535, or leave it out")),
    }
}

fn read_host(text: &str) -> Result<String, Refusal> {
    if let Some(literal) = text.strip_prefix('[') {
        let literal = literal.strip_suffix(']').unwrap_or_default();
        let ip: Ipv6Addr = literal
            .parse()
            .map_err(|_| ("not an IPv6 address in the brackets", "write `[2001:db8::1]`"))?;
        return Ok(IpAddr::from(ip).to_canonical().to_string());
    }
    let host = text.to_ascii_lowercase();
    if host.parse::<Ipv4Addr>().is_ok() {
        return Ok(host);
    }
    if host.is_empty() || host.len() > 253 || !host.split('.').all(is_label) {
        return Err(("not a host name", EXAMPLE));
    }
    // `127.1`, `0x7f000001` and `2130706433` are all 127.0.0.1 to some resolvers.
    if host.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit())) {
        return Err((
            "neither a host name nor an address",
            "write an address with four decimal numbers",
        ));
    }
    Ok(host)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn usable(ip: IpAddr) -> Result<(), Refusal> {
    if is_link_local(ip) {
        return Err((
            "a link-local address",
            "write the backend's own address; metadata services live here",
        ));
    }
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(("an address that no single host has", "write the backend's own address"));
    }
    Ok(())
}

fn address(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}
