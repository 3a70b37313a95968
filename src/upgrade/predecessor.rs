//! The new process's side: takes over from the old one, tells it, and sees its end.

use super::link::{self, Bequest, Reader, Word};
use serde_json::Value;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use tokio::io::AsyncReadExt;

/// The process that this one takes over from.
#[derive(Debug)]
pub struct Predecessor {
    link: UnixStream,
}

/// What it left.
#[derive(Debug)]
pub struct Inheritance {
    /// Listening sockets with their addresses in the old configuration.
    pub sockets: Vec<(String, OwnedFd)>,
    /// What was learned, as the state file has it.
    pub learned: Option<Value>,
}

impl Predecessor {
    /// The process at the other end of standard input.
    pub fn at_stdin() -> io::Result<Self> {
        Ok(Self { link: UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?) })
    }

    /// Receives what it leaves. Blocks until it comes.
    pub fn inherit(&self) -> io::Result<Inheritance> {
        let sockets = link::receive_sockets(&self.link)?;
        let bequest = Reader::new(self.link.try_clone()?).read::<Bequest>()?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the old process is gone")
        })?;
        if bequest.addresses.len() != sockets.len() {
            let (named, came) = (bequest.addresses.len(), sockets.len());
            return Err(io::Error::other(format!("{named} sockets were named, {came} came")));
        }
        let sockets = bequest.addresses.into_iter().zip(sockets).collect();
        Ok(Inheritance { sockets, learned: bequest.learned })
    }

    /// Tells it that this process serves.
    pub fn serving(&self) -> io::Result<()> {
        link::say(&self.link, &Word::Serving { pid: std::process::id() })
    }

    /// Tells it that this process cannot serve.
    pub fn failed(&self, why: String) {
        // If it is gone there is nobody to tell.
        drop(link::say(&self.link, &Word::Failed { why }));
    }

    /// Ends when the old process has ended.
    pub fn gone(&self) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let link = self.link.try_clone();
        async {
            let link = link?;
            link.set_nonblocking(true)?;
            let mut link = tokio::net::UnixStream::from_std(link)?;
            let mut nothing = [0; 64];
            // A reset is an end, too.
            while link.read(&mut nothing).await.is_ok_and(|bytes| bytes > 0) {}
            Ok(())
        }
    }
}
