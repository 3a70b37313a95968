//! Clients that hold connections without using them are cut, and others are served meanwhile.

use crate::support::{KEY, Pem, Setup, V1_CHAT, World, streamed_chat, wait_for, wait_until};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const ATTACKERS: usize = 1000;
/// An address of this machine that is not the one of good clients.
const THEIRS: &str = "127.0.0.2:0";

async fn connect_from(theirs: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(theirs.parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn world(more: &'static str) -> World {
    World::of(Setup { more, ..Setup::default() }).await
}

/// Reads until the server closes.
async fn read_all(socket: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let all = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut seen));
    drop(all.await.unwrap());
    String::from_utf8_lossy(&seen).into_owned()
}

/// Sends `begin`, then a byte now and then until the server closes; gives what it answered.
async fn drip(to: SocketAddr, begin: Arc<str>, standing: Arc<AtomicUsize>) -> String {
    let mut socket = connect_from(THEIRS, to).await;
    socket.write_all(begin.as_bytes()).await.unwrap();
    standing.fetch_add(1, Ordering::Relaxed);
    let (mut read, mut write) = socket.split();
    let mut seen = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            read = read.read_buf(&mut seen) => if !matches!(read, Ok(1..)) { break },
            _ = tick.tick() => drop(write.write_all(b"x").await),
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// A thousand who begin with `begin` are all cut with 408, and a good client is served all the while.
async fn check_attack(world: World, begin: &str) {
    let world = Arc::new(world);
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let good = {
        let (world, over, served) = (Arc::clone(&world), Arc::clone(&over), Arc::clone(&served));
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                world.chat().await.assert_whole_stream();
                served.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let (begin, standing): (Arc<str>, _) = (begin.into(), Arc::new(AtomicUsize::new(0)));
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        attackers.spawn(drip(world.address(), Arc::clone(&begin), Arc::clone(&standing)));
    }
    wait_until("the attack stands", || standing.load(Ordering::Relaxed) == ATTACKERS).await;
    let before = served.load(Ordering::Relaxed);
    let answers = attackers.join_all().await;
    assert!(served.load(Ordering::Relaxed) > before, "nobody was served during the attack");
    over.store(true, Ordering::Relaxed);
    good.await.unwrap();
    for answer in &answers {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    // The good client's own connections stay, idle.
    for state in ["opening", "request"] {
        let series = format!("firstlight_connections{{state=\"{state}\"}}");
        wait_for("all are gone", || async { (world.metric(&series).await == "0").then_some(()) })
            .await;
    }
    assert_eq!(world.proxy.in_flight(), 0);
    world.chat().await.assert_whole_stream();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_heads_harm_nobody() {
    let world = world("timeouts: { header_seconds: 2 }").await;
    check_attack(world, &format!("POST {V1_CHAT} HTTP/1.1\r\nHost: x\r\nX-A: ")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_bodies_harm_nobody() {
    let world =
        world("timeouts: { body_grace_seconds: 2 }\nlimits: { body_rate_bytes_per_second: 500 }")
            .await;
    let head = format!(
        "POST {V1_CHAT} HTTP/1.1\r\nHost: x\r\napi-key: {KEY}\r\nContent-Length: 10000\r\n\r\n{{\"model\":\""
    );
    check_attack(world, &head).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_left_without_a_word() {
    let (pem, folder) = (Pem::of("localhost"), tempfile::tempdir().unwrap());
    let listen = format!(
        "  - address: 127.0.0.1:0\n  - {{ address: 127.0.0.1:0, tls: {} }}\n",
        pem.write(folder.path())
    );
    let more = "timeouts: { header_seconds: 0.3, keep_alive_seconds: 0.3 }";
    let world = World::of(Setup { listen: Some(listen), more, ..Setup::default() }).await;
    let [plain, secure] = *world.proxy.addresses() else { panic!("two listeners") };
    for address in [plain, secure] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        assert_eq!(read_all(&mut socket).await, "");
    }
    let late = "firstlight_connections_refused_total{reason=\"handshake\"}";
    assert_eq!(world.metric(late).await, "1");
    // A client that kept its connection and is done.
    let mut socket = TcpStream::connect(plain).await.unwrap();
    let body = streamed_chat().to_string();
    let request = format!(
        "POST {V1_CHAT} HTTP/1.1\r\nHost: x\r\napi-key: {KEY}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let seen = read_all(&mut socket).await;
    assert!(seen.starts_with("HTTP/1.1 200 ") && seen.ends_with("0\r\n\r\n"), "{seen}");
    // And one that begins its next head and does not end it.
    let mut socket = TcpStream::connect(plain).await.unwrap();
    socket.write_all(format!("{request}POST").as_bytes()).await.unwrap();
    let seen = read_all(&mut socket).await;
    assert_eq!(seen.matches("HTTP/1.1 ").count(), 1, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections() {
    let world = world("limits: { connections_per_ip: 2 }").await;
    let opening = "firstlight_connections{state=\"opening\"}";
    let held =
        [connect_from(THEIRS, world.address()).await, connect_from(THEIRS, world.address()).await];
    wait_for("both are taken", || async { (world.metric(opening).await == "2").then_some(()) })
        .await;
    let mut third = connect_from(THEIRS, world.address()).await;
    assert_eq!(read_all(&mut third).await, "");
    let refused = "firstlight_connections_refused_total{reason=\"connections_per_ip\"}";
    assert_eq!(world.metric(refused).await, "1");
    world.chat().await.assert_whole_stream();
    drop(held);
    wait_for("both are gone", || async { (world.metric(opening).await == "0").then_some(()) })
        .await;
    let _again = connect_from(THEIRS, world.address()).await;
    wait_for("one is taken", || async { (world.metric(opening).await == "1").then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_that_are_trusted_have_more_and_all_together_have_so_many() {
    let world =
        world("trusted_proxies: [127.0.0.2]\nlimits: { connections_per_ip: 1, connections: 3 }")
            .await;
    let opening = "firstlight_connections{state=\"opening\"}";
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(connect_from(THEIRS, world.address()).await);
    }
    wait_for("three are taken", || async { (world.metric(opening).await == "3").then_some(()) })
        .await;
    let mut fourth = TcpStream::connect(world.address()).await.unwrap();
    assert_eq!(read_all(&mut fourth).await, "");
    let refused = "firstlight_connections_refused_total{reason=\"connections\"}";
    assert_eq!(world.metric(refused).await, "1");
    held.pop();
    wait_for("one is gone", || async { (world.metric(opening).await == "2").then_some(()) }).await;
    world.chat().await.assert_whole_stream();
}
