//! The life of a real process: signals, draining, its end.

use crate::support::{Home, KEY, Service, V1_CHAT, streamed_chat, wait_until};
use firstlight::clock::Clock;
use firstlight::mock::Behaviour;
use firstlight::time::Time;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Streams of five tokens, so far apart.
async fn home(gap_ms: f64) -> Home {
    Home::new(Behaviour { gap_ms, ..Behaviour::instant() }).await
}

/// A chat on a connection of one's own.
fn ask(connection: &mut TcpStream) -> String {
    let body = streamed_chat().to_string();
    let head = format!(
        "POST {V1_CHAT} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"0\r\n\r\n") && connection.read(&mut byte).unwrap() == 1 {
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

async fn drains(service: &Service) {
    service.said("draining").await;
    wait_until("nobody listens", || TcpStream::connect(service.address()).is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_finishes_what_runs_and_tells_kept_connections() {
    let home = home(400.0).await;
    let mut service = home.start().await;
    let mut kept = TcpStream::connect(service.address()).unwrap();
    home.mock.set_behaviour("a", Behaviour::instant()).unwrap();
    assert!(ask(&mut kept).contains("[DONE]"));
    home.mock.set_behaviour("a", Behaviour { gap_ms: 400.0, ..Behaviour::instant() }).unwrap();
    let mut stream = service.stream().await;
    stream.next().await.unwrap();
    service.signal("TERM");
    drains(&service).await;
    home.mock.set_behaviour("a", Behaviour::instant()).unwrap();
    let answer = ask(&mut kept);
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    assert!(answer.contains("[DONE]"), "{answer}");
    while stream.next().await.is_some() {}
    stream.into_answer().assert_whole_stream();
    assert_eq!(service.ended().await.code(), Some(0));
    service.said("stopped").await;
    let draining = service.said("draining").await;
    assert_eq!(
        (draining["in_flight"].as_u64(), draining["drain_seconds"].as_f64()),
        (Some(1), Some(20.0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn told_twice_it_leaves_at_once_and_says_what_it_left() {
    let home = home(3_600_000.0).await;
    let mut service = home.start().await;
    let mut stream = service.stream().await;
    stream.next().await.unwrap();
    service.signal("INT");
    drains(&service).await;
    service.signal("TERM");
    assert_eq!(service.ended().await.code(), Some(0));
    let left = service.said("stopped with requests in flight").await;
    assert_eq!((left["in_flight"].as_u64(), left["level"].as_str()), (Some(1), Some("WARN")));
    while stream.next().await.is_some() {}
    assert!(!stream.into_answer().complete, "cut, and seen to be");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_it_lingers_a_moment_and_no_longer() {
    let home = home(0.0).await;
    let mut service = home.start().await;
    assert_eq!(service.chat().await.status, 200);
    let told = Clock::start();
    service.signal("TERM");
    assert_eq!(service.ended().await.code(), Some(0));
    let took = told.now().since(Time::ZERO);
    let linger = firstlight::server::LINGER;
    assert!(took >= linger && took < linger + Duration::from_secs(3), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hangup_reloads() {
    let home = home(0.0).await;
    let service = home.start().await;
    home.configure(&home.yaml().replace("tier: 1", "tier: 2"));
    service.signal("HUP");
    let line = service.said("configuration reloaded").await;
    assert_eq!(
        (line["generation"].as_u64(), line["changed"].as_str()),
        (Some(2), Some("~ backends.b.tier: 1 -> 2"))
    );
    home.configure("nothing");
    service.signal("HUP");
    service.said("configuration refused, the old one keeps serving").await;
    assert_eq!(service.chat().await.status, 200);
}

/// Whether a process has a handler for SIGTERM: bit 14 of the mask.
fn obeys(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << 14) != 0
}

/// From the moment that it has a handler, however far the start is: always in order, and nothing left behind.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_while_it_starts_it_ends_in_order() {
    let home = home(0.0).await;
    home.configure(&home.yaml().replace("drain_seconds: 20", "drain_seconds: 0.1"));
    for round in 0..20 {
        let mut service = home.launch(&[]);
        if round % 2 == 0 {
            wait_until("a handler", || obeys(service.pid())).await;
        } else {
            service.said("serving").await;
        }
        service.signal("TERM");
        let status = service.ended().await;
        assert_eq!(status.code(), Some(0), "round {round}: {status}");
        service.said("stopped").await;
    }
}

/// A start waits for names, tokens and signing keys. An order to stop does not.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_while_it_waits_for_a_token_it_does_not_wait() {
    let home = home(0.0).await;
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let key = format!("api_key: {{ file: {} }}", home.path("backend.key").display());
    let yaml = home.yaml().replace(&key, "managed_identity: {}");
    assert_ne!(yaml, home.yaml());
    let imds = format!("entra: {{ imds: \"http://{}\" }}\n", silent.local_addr().unwrap());
    home.configure(&(yaml + &imds));
    let mut service = home.launch(&[]);
    // The metadata service is asked: now it waits.
    let asked = tokio::task::spawn_blocking(move || silent.accept().unwrap()).await.unwrap();
    service.signal("TERM");
    assert_eq!(service.ended().await.code(), Some(0));
    assert_eq!(service.lines("serving").len(), 0);
    drop(asked);
}
