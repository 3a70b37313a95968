//! A backend that answers with bytes: for what the mock does not say.

use super::{ALL, FIRST, setup};
use crate::support::{Setup, World};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A good stream.
pub(super) const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"w0 \"}}]}\n\ndata: [DONE]\n\n";

/// A whole answer with this status line, these header lines and this body.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         {headers}connection: close\r\n\r\n{body}"
    )
}

/// What requests and probes are answered with.
#[derive(Clone)]
pub(super) struct Canned {
    answer: String,
    probe: String,
    /// Requests of clients.
    asked: Arc<AtomicU64>,
    /// A client's request is answered once there is a permit in it.
    gate: Option<Arc<Semaphore>>,
}

impl Canned {
    pub(super) fn new(answer: String) -> Self {
        Self { probe: answer.clone(), answer, asked: Arc::default(), gate: None }
    }

    /// The same to clients, and something else to probes.
    pub(super) fn but_to_probes(self, probe: &str) -> Self {
        Self { probe: probe.to_owned(), ..self }
    }

    /// The same, once it is released.
    pub(super) fn held(self) -> Self {
        Self { gate: Some(Arc::new(Semaphore::new(0))), ..self }
    }

    /// Lets requests be answered: it may be tried once more.
    pub(super) fn release(&self) {
        self.gate.as_ref().unwrap().add_permits(2);
    }

    /// How many requests of clients there were.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// A world in which it is the first region.
    pub(super) async fn first(&self) -> World {
        self.instead_of(&[FIRST]).await
    }

    /// A world in which there is nothing else.
    pub(super) async fn everywhere(&self) -> World {
        self.instead_of(&ALL).await
    }

    async fn instead_of(&self, regions: &[&str]) -> World {
        let each: Vec<_> = regions.iter().map(|region| (*region, self)).collect();
        Self::world(setup(), &each).await
    }

    /// A world in which these are regions of it.
    pub(super) async fn world(setup: Setup, regions: &[(&str, &Self)]) -> World {
        let world = World::of(setup).await;
        let mut yaml = world.yaml.clone();
        for (region, canned) in regions {
            let mock = format!("http://{}\"", world.mock.address(region).unwrap());
            assert!(yaml.contains(&mock), "{yaml}");
            let listening = (*canned).clone().listen().await;
            yaml = yaml.replace(&mock, &format!("http://{listening}\""));
        }
        world.reload(&yaml).await.unwrap();
        world
    }

    /// Where it listens.
    pub(super) async fn listen(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(self.clone().serve(socket));
            }
        });
        address
    }

    async fn serve(self, mut socket: TcpStream) {
        let Some(head) = request(&mut socket).await else { return };
        let probes = head.contains("firstlight-probe/");
        if !probes {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if let Some(gate) = &self.gate {
                gate.acquire().await.unwrap().forget();
            }
        }
        let said = if probes { &self.probe } else { &self.answer };
        // The other side may have enough of it before its end.
        if socket.write_all(said.as_bytes()).await.is_ok() {
            drop(socket.shutdown().await);
        }
    }
}

/// Reads one request; its head, unless the other side closed before.
pub(super) async fn request(socket: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length(head)
        {
            return Some(head.to_ascii_lowercase());
        }
        if socket.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

fn length(head: &str) -> usize {
    let head = head.to_ascii_lowercase();
    let mut lengths = head.lines().filter_map(|line| line.strip_prefix("content-length: "));
    lengths.next().map_or(0, |length| length.parse().unwrap())
}
