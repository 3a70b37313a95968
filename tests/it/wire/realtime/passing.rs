//! What passes through an open session.

use super::stage::{DONE, Does, Socket, Stage, V1, closed, echoed, next};
use crate::support::KEY;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_every_kind_and_size_pass_unchanged() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let mut socket = stage.open().await;
    for size in [0, 1, 125, 126, 65_535, 65_536, 5 << 20] {
        echoed(&mut socket, &"ü".repeat(size / 2)).await;
        let bytes = Message::binary(vec![7; size]);
        socket.send(bytes.clone()).await.unwrap();
        assert_eq!(next(&mut socket).await, Some(bytes));
    }
    socket.send(Message::Ping("p".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Pong("p".into())), "of the backend");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_parts_passes_with_a_ping_between_them() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let mut socket = stage.open().await;
    let part = |opcode, text: &'static str, last| {
        Message::Frame(Frame::message(text, OpCode::Data(opcode), last))
    };
    socket.send(part(Data::Text, "one ", false)).await.unwrap();
    socket.send(Message::Ping("p".into())).await.unwrap();
    socket.send(part(Data::Continue, "message", true)).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Pong("p".into())));
    assert_eq!(next(&mut socket).await, Some(Message::text("one message")));
}

#[tokio::test(flavor = "multi_thread")]
async fn close_codes_pass_in_both_directions() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let mut socket = stage.open().await;
    let frame = CloseFrame { code: 4000.into(), reason: "mine".into() };
    socket.close(Some(frame)).await.unwrap();
    assert_eq!(stage.backends[0].end().await, 4000);
    assert_eq!(closed(&mut socket).await, 4000, "the answer");
    let mut socket = stage.open().await;
    socket.send(Message::text("close")).await.unwrap();
    assert_eq!(closed(&mut socket).await, 4001);
    assert_eq!(next(&mut socket).await, None);
    stage.quiet().await;
    let lines = stage.log_lines(2).await;
    assert!(lines.iter().all(|line| line["term"] == "ok"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_with_the_101_is_not_lost() {
    let stage = Stage::of(&[Does::Greets]).await;
    let mut socket = stage.open().await;
    assert_eq!(next(&mut socket).await, Some(Message::text("hello")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_stops_the_backend_and_nothing_is_piled_up() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let (mut sender, mut receiver) = stage.open().await.split();
    // More than all buffers on the way hold: it is all sent only because it is read meanwhile.
    let (count, message) = (64_usize, Message::binary(vec![1; 1 << 20]));
    let sending = async {
        for _ in 0..count {
            sender.send(message.clone()).await.unwrap();
        }
    };
    let receiving = async {
        for _ in 0..count {
            let got = receiver.next().await.unwrap().unwrap();
            assert_eq!(got.len(), 1 << 20);
        }
    };
    let both = async { tokio::join!(sending, receiving) };
    tokio::time::timeout(std::time::Duration::from_mins(1), both).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_however_they_are_cut() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let mut stream = stage.connect().await;
    let head = format!(
        "GET {V1} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\n{}connection: Upgrade\r\n\r\n",
        super::stage::UPGRADE
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    stream.set_nodelay(true).unwrap();
    for byte in b"\x81\x85\0\0\0\0Hello" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut echo = [0; 7];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"\x81\x05Hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_is_read_and_told() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let mut socket = stage.open().await;
    for _ in 0..2 {
        socket.send(Message::text("done")).await.unwrap();
        assert_eq!(next(&mut socket).await, Some(Message::text(DONE)));
    }
    echoed(&mut socket, "more").await;
    socket.close(None).await.unwrap();
    while next(&mut socket).await.is_some() {}
    let line = stage.log_lines(1).await.remove(0);
    let number = |name: &str| line[name].as_u64().unwrap();
    assert_eq!((number("tokens_in"), number("tokens_out"), number("tokens_cached")), (60, 24, 16));
    assert!(
        number("bytes_in") > 10 && number("bytes_out") > 2 * u64::try_from(DONE.len()).unwrap()
    );
    assert_eq!((&line["model"], &line["deployment"]), (&"gpt-realtime".into(), &"rt-prod".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_charged_while_the_session_runs() {
    let more =
        "  strict: { api_keys: [ { sha256: HASH, name: k } ], limits: { tokens_per_minute: 40 } }";
    let more = more.replace("HASH", &crate::support::hash("strict"));
    let stage = Stage::with_app(&[Does::Echoes], &more).await;
    let mut socket = stage.try_open(V1, &[("api-key", "strict")]).await.unwrap().0;
    socket.send(Message::text("done")).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::text(DONE)));
    let second = stage.refused(V1, "api-key: strict\r\n").await;
    assert_eq!(second, (429, "rate_limit_exceeded".to_owned()), "42 of 40 are used");
}

/// Every other client says that it leaves.
async fn leave(mut socket: Socket, number: usize) {
    if number == 0 {
        socket.close(None).await.unwrap();
        while next(&mut socket).await.is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_sessions_leave_nothing_behind() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let talks = (0..100).map(|number| {
        let stage = &stage;
        async move {
            let mut socket = stage.open().await;
            echoed(&mut socket, &format!("I am {number}")).await;
            leave(socket, number % 2).await;
        }
    });
    futures_util::future::join_all(talks).await;
    stage.quiet().await;
    let metrics = stage.metrics().await;
    let left = "firstlight_quota_remaining{app=\"tests\",what=\"concurrent\"} 200";
    assert!(metrics.contains(left), "{metrics}");
    assert_eq!(stage.log_lines(100).await.len(), 100);
}
