//! A port that can be shut and opened again without losing its number.
//!
//! Closing the listener alone would set the port free for others. So a second socket is bound to the same
//! address and never listens: while the listener is closed, the kernel refuses connections to it.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// A reserved address and, while it is open, its listener.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    listener: Option<TcpListener>,
    _reservation: Socket,
}

/// As many connections may wait to be accepted.
const BACKLOG: i32 = 1_024;

impl Door {
    /// Reserves `address`, whose port may be 0, and opens it.
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let first = bound(address)?;
        let address = first
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("a TCP socket without an internet address"))?;
        // Two sockets may share an address only as long as none of them listens.
        let reservation = bound(address)?;
        let listener = Some(listening(first)?);
        Ok(Self { address, listener, _reservation: reservation })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_open(&self) -> bool {
        self.listener.is_some()
    }

    /// Refuses connections from now on. Those that wait to be accepted are reset.
    pub(super) fn shut(&mut self) {
        self.listener = None;
    }

    /// Accepts connections again.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if self.listener.is_none() {
            self.listener = Some(listening(bound(self.address)?)?);
        }
        Ok(())
    }

    /// The next connection; while the door is shut there is none.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        let Some(listener) = &self.listener else { return std::future::pending().await };
        let (stream, _peer) = listener.accept().await?;
        // A token must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listening(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use crate::mock::door::Door;
    use std::io::ErrorKind;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn a_door_is_shut_and_opened_again_at_the_same_address() {
        let mut door = Door::open(([127, 0, 0, 1], 0).into()).unwrap();
        for _ in 0..3 {
            let (near, far) = tokio::join!(TcpStream::connect(door.address()), door.accept());
            assert_eq!(near.unwrap().local_addr().unwrap(), far.unwrap().peer_addr().unwrap());
            door.shut();
            let refused = TcpStream::connect(door.address()).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            door.reopen().unwrap();
        }
    }
}
