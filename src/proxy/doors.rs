//! Which listener a connection came in by: a listener may be for some apps only.

use std::net::SocketAddr;

/// The addresses that are listened on, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Doors(Vec<SocketAddr>);

impl Doors {
    pub(super) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self(addresses)
    }

    /// The place of the listener that took a connection whose local end is `local`: the one on that very
    /// address, else the one on every address of the port.
    pub(super) fn place(&self, local: SocketAddr) -> Option<usize> {
        let same_port = |at: &SocketAddr| at.port() == local.port();
        let same_ip = |at: &SocketAddr| at.ip().to_canonical() == local.ip().to_canonical();
        let exact = self.0.iter().position(|at| same_port(at) && same_ip(at));
        exact.or_else(|| self.0.iter().position(|at| same_port(at) && at.ip().is_unspecified()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_is_found_by_address_or_by_port() {
        let addresses = ["10.0.0.4:443", "0.0.0.0:443", "[::]:8443", "127.0.0.1:8080"];
        let doors = Doors::new(addresses.iter().map(|a| a.parse().unwrap()).collect());
        let place = |local: &str| doors.place(local.parse().unwrap());
        assert_eq!(place("10.0.0.4:443"), Some(0));
        assert_eq!(place("10.0.0.5:443"), Some(1));
        assert_eq!(place("[::ffff:10.0.0.4]:8443"), Some(2), "IPv4 on a socket for both");
        assert_eq!(place("[::ffff:127.0.0.1]:8080"), Some(3));
        assert_eq!(place("127.0.0.1:9"), None);
    }
}
