//! A response that is not streamed and is cut midway: a small one goes elsewhere, whatever its framing.

use super::canned::Canned;
use super::{FIRST, asked_elsewhere, attempts, view};
use crate::support::{V1_CHAT, World, chat, wait_until};
use serde_json::{Value, json};

/// More than is held to its end.
const LARGE: usize = 300 << 10;

fn embedding() -> Value {
    json!({"model": "text-embedding-3-large", "input": "x"})
}

fn whole(length: usize) -> String {
    format!(r#"{{"choices":[{{"message":{{"content":"{}"}}}}]}}"#, "w".repeat(length))
}

/// Ways to frame a body.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunked,
    Close,
}

const FRAMINGS: [Framing; 3] = [Framing::Length, Framing::Chunked, Framing::Close];

impl Framing {
    /// The first `sent` bytes of a body, as if all were to follow.
    fn cut(self, body: &str, sent: usize) -> String {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        let (length, sent) = (body.len(), body.split_at(sent).0);
        match self {
            Self::Length => format!("{head}content-length: {length}\r\n\r\n{sent}"),
            // In two chunks, of which the second is cut.
            Self::Chunked if sent.len() > 1 => {
                let (first, second) = sent.split_at(sent.len() / 2);
                let rest = length - first.len();
                let first = format!("{:x}\r\n{first}\r\n", first.len());
                format!("{head}transfer-encoding: chunked\r\n\r\n{first}{rest:x}\r\n{second}")
            }
            Self::Chunked => {
                format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{sent}")
            }
            Self::Close => format!("{head}\r\n{sent}"),
        }
    }

    fn whole(self, body: &str) -> String {
        let end = if matches!(self, Self::Chunked) { "\r\n0\r\n\r\n" } else { "" };
        self.cut(body, body.len()) + end
    }
}

async fn check_given_back(world: &World, free: u64) {
    let memory = world.proxy.live().memory();
    wait_until("what was held is given back", || memory.free() == free).await;
}

async fn check_goes_elsewhere(said: String, context: &str) {
    let world = Canned::new(said).first().await;
    let free = world.proxy.live().memory().free();
    for _ in 0..2 {
        let answer = world.post(V1_CHAT, &chat()).await;
        assert_eq!((answer.status, answer.attempts()), (200, Some(2)), "{context}");
        assert_eq!(answer.json()["usage"]["completion_tokens"], 5, "{context}");
        assert_ne!(answer.backend(), Some(FIRST));
    }
    let answer = world.post("/openai/v1/embeddings", &embedding()).await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(2)), "{context}");
    assert_eq!(attempts(&world, FIRST).await, "reset 2", "{context}");
    assert_eq!(view(&world, FIRST).base_ms, None);
    check_given_back(&world, free).await;
}

async fn check_cut_everywhere(framing: Framing, body: &str) {
    for sent in [1, body.len() / 2, body.len() - 1] {
        let context = format!("{framing:?}, {sent} of {}", body.len());
        check_goes_elsewhere(framing.cut(body, sent), &context).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_response_that_is_cut_goes_elsewhere() {
    check_goes_elsewhere("HTTP/1.1 200 OK\r\ncontent-ty".to_owned(), "in its header").await;
    for framing in FRAMINGS {
        for body in [whole(10), whole(20_000)] {
            check_cut_everywhere(framing, &body).await;
        }
    }
    // Before its first byte; with its connection, that is an empty one.
    for framing in [Framing::Length, Framing::Chunked] {
        check_goes_elsewhere(framing.cut(&whole(10), 0), "at byte 0").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_response_is_passed_on_as_it_is() {
    for framing in FRAMINGS {
        for length in [10, 20_000, LARGE] {
            let body = whole(length);
            let world = Canned::new(framing.whole(&body)).first().await;
            let free = world.proxy.live().memory().free();
            let answer = world.post(V1_CHAT, &chat()).await;
            assert_eq!((answer.status, answer.attempts()), (200, Some(1)), "{framing:?}");
            assert!(answer.complete && answer.text() == body, "{framing:?} {length}");
            assert_eq!(
                (attempts(&world, FIRST).await.as_str(), asked_elsewhere(&world)),
                ("ok 1", 0)
            );
            check_given_back(&world, free).await;
        }
    }
}

/// What is larger, or finds no memory, is passed on as it comes: its end is then the client's to see.
async fn check_broken(world: &World) {
    let answer = world.post(V1_CHAT, &chat()).await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(1)));
    assert!(!answer.complete, "{} bytes", answer.body.len());
    assert_eq!(asked_elsewhere(world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_response_that_is_cut_is_not_held() {
    for framing in [Framing::Length, Framing::Chunked] {
        let body = whole(LARGE);
        check_broken(&Canned::new(framing.cut(&body, body.len() - 1)).first().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_nothing_is_held() {
    let body = whole(20_000);
    let world = Canned::new(Framing::Length.cut(&body, body.len() - 1)).first().await;
    let memory = std::sync::Arc::clone(world.proxy.live().memory());
    let held = memory.take(&"batch".into(), memory.free() - 8).unwrap();
    check_broken(&world).await;
    drop(held);
    let answer = world.post(V1_CHAT, &chat()).await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(2)));
}
