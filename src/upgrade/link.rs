//! The link between a process and its successor: a pair of unix sockets, open until the old process ends.
//!
//! ```text
//! old -> new   one byte that carries the listening sockets, then one line: a `Bequest`
//! new -> old   lines of `Word`: launched (the launcher's), failed, serving
//! end of file  the other process is gone
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The most sockets that are handed over; the system's limit for one message is 253.
const MOST_SOCKETS: usize = 128;
/// The longest line.
const MOST_BYTES: u64 = 32 << 20;

/// What the old process leaves to the new one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bequest {
    /// The addresses of the sockets, in their order.
    pub addresses: Vec<String>,
    /// What was learned, as the state file has it.
    pub learned: Option<Value>,
}

/// What the new process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It was started; said by the launcher, which ends then.
    Launched {
        /// The id of the new process.
        pid: u32,
    },
    /// It cannot serve, and ends.
    Failed {
        /// Why.
        why: String,
    },
    /// It serves: the old process may drain.
    Serving {
        /// The id of the new process.
        pid: u32,
    },
}

/// Writes one line.
pub fn say<T: Serialize>(mut to: &UnixStream, what: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Reads lines, and what the sockets carry.
pub struct Reader(BufReader<UnixStream>);

impl Reader {
    /// Over one end of the link.
    pub fn new(from: UnixStream) -> Self {
        Self(BufReader::new(from))
    }

    /// The next line; `None` at the end.
    pub fn read<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        (&mut self.0).take(MOST_BYTES).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&line)?))
    }
}

/// Sends the sockets, with the one byte that carries them.
pub fn send_sockets(to: &UnixStream, sockets: &[OwnedFd]) -> io::Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    if sockets.len() > MOST_SOCKETS {
        return Err(io::Error::other(format!(
            "{} listening sockets cannot be handed over, {MOST_SOCKETS} at most",
            sockets.len()
        )));
    }
    let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other("the sockets do not fit into one message"));
    }
    sendmsg(to, &[IoSlice::new(b"S")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Receives what [`send_sockets`] sent. Before anything is read in lines.
pub fn receive_sockets(from: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let got =
        recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the old process is gone"));
    }
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received);
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn sockets_and_words_cross() {
        let (old, new) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        send_sockets(&old, &[OwnedFd::from(listener)]).unwrap();
        let learned = Some(serde_json::json!({"a": 1}));
        say(&old, &Bequest { addresses: vec![address.to_string()], learned }).unwrap();

        let mut sockets = receive_sockets(&new).unwrap();
        let mut lines = Reader::new(new.try_clone().unwrap());
        let bequest: Bequest = lines.read().unwrap().unwrap();
        assert_eq!(bequest.addresses, [address.to_string()]);
        assert_eq!(bequest.learned.unwrap()["a"], 1);
        let listener = TcpListener::from(sockets.remove(0));
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());

        say(&new, &Word::Serving { pid: 7 }).unwrap();
        let mut answers = Reader::new(old);
        assert_eq!(answers.read::<Word>().unwrap(), Some(Word::Serving { pid: 7 }));
        drop((new, lines));
        assert_eq!(answers.read::<Word>().unwrap(), None, "the end is seen");
    }

    #[test]
    fn garbage_and_too_many_sockets_are_errors() {
        let (old, new) = UnixStream::pair().unwrap();
        (&new).write_all(b"\xff{not json\n").unwrap();
        assert!(Reader::new(old.try_clone().unwrap()).read::<Word>().is_err());
        let socket = || OwnedFd::from(UnixStream::pair().unwrap().0);
        let many: Vec<_> = (0..=MOST_SOCKETS).map(|_| socket()).collect();
        assert!(send_sockets(&old, &many).is_err());
        drop(old);
        assert!(receive_sockets(&new).is_err(), "the other end is gone");
    }
}
