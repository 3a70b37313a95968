//! Who sent a request that came through proxies of ours.

use std::net::{IpAddr, SocketAddr};

/// The client's address: the last one in `X-Forwarded-For` that is not a proxy of ours, if who connected (`peer`)
/// is one. `forwarded` are the values of all such headers, in their order.
///
/// Every proxy adds whom it saw on the right, so what stands left of a stranger is only what that stranger
/// wrote. Where something cannot be read, the proxy that wrote it is the last who is known.
pub fn client<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut known = peer.to_canonical();
    if !is_trusted(known) {
        return known;
    }
    let entries = forwarded.rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
    for entry in entries {
        let Some(address) = address(entry.trim_ascii()) else { break };
        known = address;
        if !is_trusted(known) {
            break;
        }
    }
    known
}

/// An address, also with a port, as Azure's gateways write it.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let with_port = || text.parse::<SocketAddr>().ok().map(|at| at.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text.parse().ok().or_else(with_port).or_else(bracketed);
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, forwarded: &[&str], expected: &str) {
        let trusted = |ip: IpAddr| ip.to_string().starts_with("10.");
        let values = forwarded.iter().map(|value| value.as_bytes());
        let found = client(peer.parse().unwrap(), values, trusted);
        assert_eq!(found.to_string(), expected, "{peer} {forwarded:?}");
    }

    #[test]
    fn the_last_stranger_is_the_client() {
        check("192.0.2.1", &["198.51.100.7"], "192.0.2.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["198.51.100.7"], "198.51.100.7");
        check("10.0.0.1", &["1.2.3.4, 198.51.100.7"], "198.51.100.7");
        check("10.0.0.1", &["1.2.3.4", "198.51.100.7:5000 , 10.0.0.2"], "198.51.100.7");
        check("10.0.0.1", &["[2001:db8::7]:443"], "2001:db8::7");
        check("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7");
        check("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7");
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check("10.0.0.1", &["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &["\u{e9}"], "10.0.0.1");
    }
}
