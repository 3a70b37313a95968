//! Garbage from either side costs at most the request it came with.

use crate::support::{KEY, V1_CHAT, World};
use firstlight::mock::Fault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends raw bytes and returns whatever comes back until the server closes or has answered.
async fn raw(world: &World, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(world.address()).await.unwrap();
    // The server may close before it has read everything.
    drop(socket.write_all(bytes).await);
    drop(socket.shutdown().await);
    let mut seen = Vec::new();
    drop(socket.read_to_end(&mut seen).await);
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_clients_harms_nobody_else() {
    let world = World::plain().await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(2 << 20));
    let many = (0..400).map(|i| format!("x-{i}: 1")).collect::<Vec<_>>().join("\r\n");
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n\r\n");
    let cut = format!(
        "POST {V1_CHAT} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ncontent-length: 99\r\n\r\n{{\"mod"
    );
    let chunk = format!(
        "POST {V1_CHAT} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n"
    );
    let cases: [&[u8]; 10] = [
        b"\x00\x01\x02\xff\xfe",
        b"GET",
        b"\r\n\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\xff\x04\x00\x00\x00\x00\x00garbage",
        b"POST /openai/v1/chat/completions HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST /%ff%fe HTTP/1.1\r\nhost: \xff\r\napi-key: \xff\xfe\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
        cut.as_bytes(),
        chunk.as_bytes(),
    ];
    for bytes in cases {
        let seen = raw(&world, bytes).await;
        assert!(!seen.starts_with("HTTP/1.1 2"), "{seen}");
        world.chat().await.assert_whole_stream();
    }
    crate::support::wait_until("nothing is left in flight", || world.proxy.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_could_be_read_in_two_ways_is_refused() {
    let world = World::plain().await;
    for path in [
        "/openai/v1/%2e%2e/v1/models",
        "/openai/../openai/v1/models",
        "/openai/v1%2fmodels",
        "/openai/v1\\models",
    ] {
        let seen = raw(
            &world,
            format!("GET {path} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(seen.starts_with("HTTP/1.1 400 "), "{path}: {seen}");
    }
    assert_eq!(world.requests("a"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_speaks_no_http_is_left() {
    let world = World::plain().await;
    world.fault("a", Fault::Garbage);
    for _ in 0..5 {
        world.chat().await.assert_whole_stream();
    }
    assert!(world.is_degraded("gpt-4o", "a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_and_an_upgrade_of_anything_else_are_refused() {
    let world = World::plain().await;
    let seen =
        raw(&world, b"CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n").await;
    assert!(seen.starts_with("HTTP/1.1 405"), "{seen}");
    let upgrade = format!(
        "PUT {V1_CHAT} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    let seen = raw(&world, upgrade.as_bytes()).await;
    assert!(seen.starts_with("HTTP/1.1 405"), "{seen}");
    assert_eq!(world.requests("a"), 0);
}
