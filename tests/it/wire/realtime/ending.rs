//! How sessions end: by a limit, by a drain, and by one side that is gone.

use super::stage::{Does, Stage, closed, echoed, next};
use crate::support::{KEY, wait_until};
use futures_util::SinkExt;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_session_is_closed_on_both_sides() {
    let stage = Stage::with(&[Does::Echoes], "timeouts: { realtime_idle_seconds: 0.2 }").await;
    let mut socket = stage.open().await;
    echoed(&mut socket, "hello").await;
    assert_eq!(closed(&mut socket).await, 1001);
    assert_eq!(stage.backends[0].end().await, 1001);
    assert_eq!(next(&mut socket).await, None);
    stage.quiet().await;
    assert_eq!(stage.log_lines(1).await[0]["term"], "idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_session_is_closed_however_busy_it_is() {
    let stage = Stage::with(&[Does::Echoes], "timeouts: { realtime_total_seconds: 0.5 }").await;
    let mut socket = stage.open().await;
    let code = loop {
        // It may be closed between the two.
        drop(socket.send(Message::text("busy")).await);
        match next(&mut socket).await {
            Some(Message::Close(Some(frame))) => break u16::from(frame.code),
            Some(message) => assert_eq!(message, Message::text("busy")),
            None => panic!("no close frame"),
        }
    };
    assert_eq!((code, stage.backends[0].end().await), (1008, 1008));
    stage.quiet().await;
    assert_eq!(stage.log_lines(1).await[0]["term"], "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_answers_nothing_holds_nothing_up() {
    let stage = Stage::with(&[Does::Greets], "timeouts: { realtime_idle_seconds: 0.2 }").await;
    let mut socket = stage.open().await;
    assert_eq!(next(&mut socket).await, Some(Message::text("hello")));
    assert_eq!(closed(&mut socket).await, 1001);
    stage.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_frame_never_comes_in_the_middle_of_another() {
    let stage = Stage::with(&[Does::Echoes], "timeouts: { realtime_idle_seconds: 0.3 }").await;
    let mut socket = stage.open().await;
    // Half a frame of the client's, and then nothing: the backend is not told in the middle of it.
    socket.get_mut().write_all(b"\x81\x85\0\0\0\0He").await.unwrap();
    assert_eq!(closed(&mut socket).await, 1001, "the other direction is at the end of a frame");
    assert_eq!(stage.backends[0].end().await, 0, "cut, since the frame did not end");
    stage.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_tells_everybody_and_does_not_wait_for_them() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = stage.open().await;
        echoed(&mut socket, "hello").await;
        sockets.push(socket);
    }
    let draining = async {
        let begun = tokio::time::Instant::now();
        assert_eq!(stage.proxy.drain(Duration::from_mins(1)).await, 0);
        begun.elapsed()
    };
    let clients = async {
        for socket in &mut sockets {
            assert_eq!(closed(socket).await, 1001);
            assert_eq!(next(socket).await, None);
        }
    };
    let (took, ()) = tokio::join!(draining, clients);
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(stage.backends[0].ends.lock().unwrap()[..], [1001, 1001, 1001]);
    let lines = stage.log_lines(3).await;
    assert!(lines.iter().all(|line| line["term"] == "drained"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_ends_the_backends_session() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let mut socket = stage.open().await;
    echoed(&mut socket, "hello").await;
    drop(socket);
    assert_eq!(stage.backends[0].end().await, 0);
    stage.quiet().await;
    // One that is reset.
    let mut socket = stage.open().await;
    echoed(&mut socket, "hello").await;
    socket.get_mut().set_zero_linger().unwrap();
    drop(socket);
    stage.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_gone_ends_the_clients_session_and_no_other_is_asked() {
    let stage = Stage::of(&[Does::Echoes, Does::Echoes]).await;
    let mut socket = stage.open().await;
    socket.send(Message::text("cut")).await.unwrap();
    assert_eq!(next(&mut socket).await, None);
    stage.quiet().await;
    assert_eq!((stage.backends[0].heads().len(), stage.backends[1].heads().len()), (1, 0));
    let line = stage.log_lines(1).await.remove(0);
    assert_eq!((&line["status"], &line["term"]), (&101.into(), &"upstream_abort".into()));
    assert_eq!(line["attempts"][0]["outcome"], "broken_off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_answer_is_noticed() {
    let stage = Stage::of(&[Does::SaysAndWaits("HTTP/1.1 100 Continue\r\n\r\n")]).await;
    let mut stream = stage.connect().await;
    let head = format!(
        "GET {} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\n{}connection: Upgrade\r\n\r\n",
        super::stage::V1,
        super::stage::UPGRADE
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    wait_until("the request at the backend", || !stage.backends[0].heads().is_empty()).await;
    drop(stream);
    stage.quiet().await;
    assert_eq!(stage.log_lines(1).await[0]["term"], "client_abort");
}
