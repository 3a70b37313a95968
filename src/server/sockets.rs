//! The listening sockets of the process: bound here, or taken over from the process before this one.
//!
//! Pingora gets a copy of each; the originals stay here so that an upgrade can hand them to the next process.
//! They must be dropped when a process stops accepting: while one copy is open, connections queue up at it.

use super::StartError;
use pingora_core::server::Fds;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, OwnedFd};

/// One listening socket.
#[derive(Debug)]
struct Held {
    /// The address of the configuration; its port may be 0.
    asked: SocketAddr,
    socket: TcpListener,
}

/// The listening sockets.
#[derive(Debug, Default)]
pub struct Sockets {
    /// From the process before this one, not yet used.
    inherited: Vec<Held>,
    taken: Vec<Held>,
}

impl Sockets {
    /// Those of the process before, by the addresses of its configuration. What is not taken is closed.
    pub fn inherit(sockets: Vec<(SocketAddr, OwnedFd)>) -> Self {
        let held = |(asked, socket)| Held { asked, socket: TcpListener::from(socket) };
        Self { inherited: sockets.into_iter().map(held).collect(), taken: Vec::new() }
    }

    /// Takes an address: the socket of the process before, or a new one. Gives the address that was really
    /// taken, which differs where the port is 0.
    pub(super) fn take(&mut self, asked: SocketAddr) -> Result<SocketAddr, StartError> {
        let failed = |why| StartError::Bind { address: asked, why };
        let found = self.inherited.iter().position(|held| held.asked == asked);
        let socket = match found {
            Some(index) => self.inherited.remove(index).socket,
            None => TcpListener::bind(asked).map_err(failed)?,
        };
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        self.taken.push(Held { asked, socket });
        Ok(address)
    }

    /// Closes what was inherited and not taken, and copies the rest into Pingora's table, under the addresses
    /// that were really taken.
    pub(super) fn table(&mut self) -> io::Result<Fds> {
        self.inherited.clear();
        let mut table = Fds::new();
        for held in &self.taken {
            let address = held.socket.local_addr()?.to_string();
            table.add(address, held.socket.try_clone()?.into_raw_fd());
        }
        Ok(table)
    }

    /// Copies for the next process, by the addresses of the configuration.
    pub fn copies(&self) -> io::Result<Vec<(SocketAddr, OwnedFd)>> {
        let copy = |held: &Held| Ok((held.asked, OwnedFd::from(held.socket.try_clone()?)));
        self.taken.iter().map(copy).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn a_socket_is_handed_on_and_listens_all_the_while() {
        let mut old = Sockets::default();
        let address = old.take(any()).unwrap();
        let mut new = Sockets::inherit(old.copies().unwrap());
        drop(old);
        TcpStream::connect(address).unwrap();
        assert_eq!(new.take(any()).unwrap(), address, "by the address of the configuration");
        drop(new);
        assert!(TcpStream::connect(address).is_err(), "nobody holds it any more");
    }

    #[test]
    fn what_the_new_configuration_does_not_name_is_closed() {
        let mut old = Sockets::default();
        let address = old.take(any()).unwrap();
        let mut new = Sockets::inherit(old.copies().unwrap());
        drop(old);
        let other = new.take("127.0.0.2:0".parse().unwrap()).unwrap();
        let table = new.table().unwrap();
        assert!(TcpStream::connect(address).is_err());
        assert!(
            table.get(&other.to_string()).is_some() && table.get(&address.to_string()).is_none()
        );
    }

    #[test]
    fn a_taken_port_is_told_with_what_to_do() {
        let mut first = Sockets::default();
        let address = first.take(any()).unwrap();
        let error = Sockets::default().take(address).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("free the port"), "{error}");
    }
}
