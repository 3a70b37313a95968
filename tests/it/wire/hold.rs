//! A streaming client is not kept waiting for its header for ever.

use crate::support::{
    Answer, Setup, Streamed, V1_CHAT, World, chat, content_of, streamed_chat, wait_until,
};
use firstlight::mock::{Fault, Limit, RetryAfter};
use serde_json::Value;

const WAITING: &str = ": waiting\n\n";

/// The header is held for a tenth of a second, and an attempt waits for half of one.
fn setup() -> Setup {
    Setup {
        more: "timeouts: { first_token_seconds: 0.5, answer_seconds: 0.5 }
retry: { hold_headers_seconds: 0.1 }",
        ..Setup::default()
    }
}

/// The data of the error event that the stream ends with.
fn told(answer: &Answer) -> Value {
    assert!(answer.complete, "a clean end: {}", answer.text());
    assert!(!answer.text().contains("[DONE]"), "{}", answer.text());
    assert!(answer.text().starts_with(WAITING), "{}", answer.text());
    let (_, event) = answer.text().rsplit_once("event: error\ndata: ").unwrap();
    serde_json::from_str(event.strip_suffix("\n\n").unwrap()).unwrap()
}

/// A stream that goes on after the wait.
async fn check_served(world: &World, answer: &Answer, backend: &str, attempts: usize) {
    answer.assert_whole_stream();
    assert!(answer.text().matches(WAITING).count() >= 2, "{}", answer.text());
    assert!(answer.header("content-type").unwrap().starts_with("text/event-stream"));
    assert_eq!(answer.backend(), None, "it was not known when the header was sent");
    let line = world.log_line(answer.request_id()).await;
    assert_eq!((line["backend"].as_str(), line["term"].as_str()), (Some(backend), Some("ok")));
    assert_eq!(line["attempts"].as_array().unwrap().len(), attempts, "{line}");
    assert!(line["upstream_request_id"].is_string(), "{line}");
    assert!(line["ttft_ms"].as_f64().unwrap() > 100.0, "comments are no content: {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_come_until_the_answer_does() {
    let world = World::of(setup()).await;
    world.fault("a", Fault::Slow { factor: 1.0, add_ms: 300.0 });
    let answer = world.chat().await;
    check_served(&world, &answer, "a", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_goes_on_behind_the_header() {
    for fault in [Fault::FreezeBeforeHeaders, Fault::FreezeAfterRole] {
        let world = World::of(Setup { regions: vec!["a", "b"], ..setup() }).await;
        world.fault("a", fault);
        let answer = world.chat().await;
        check_served(&world, &answer, "b", 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_h2_as_well() {
    let world = World::of(Setup { regions: vec!["a", "b"], ..setup() }).await;
    world.fault("a", Fault::FreezeAfterRole);
    let client = crate::support::client(reqwest::ClientBuilder::http2_prior_knowledge);
    let request = client.post(world.url(V1_CHAT)).header("api-key", crate::support::KEY);
    let answer = Answer::read(request.json(&streamed_chat()).send().await.unwrap()).await;
    check_served(&world, &answer, "b", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_everything_fails_the_stream_says_so() {
    let world = World::of(setup()).await;
    for region in ["a", "b", "c"] {
        world.fault(region, Fault::FreezeBeforeHeaders);
    }
    let answer = world.chat().await;
    let event = told(&answer);
    assert_eq!((answer.status, event["error"]["status"].as_u64()), (200, Some(503)));
    assert_eq!(event["code"], "no_backend_available", "{event}");
    let line = world.log_line(answer.request_id()).await;
    assert_eq!((line["status"].as_u64(), line["term"].as_str()), (Some(200), Some("failed")));
    assert_eq!(
        (line["code"].as_str(), line["backend"].as_str()),
        (Some("no_backend_available"), None)
    );
    assert_eq!(line["attempts"].as_array().unwrap().len(), 2, "{line}");
}

/// The first region is frozen; what the second one answers is told in the stream.
async fn check_told(fault: Fault, content: &str, status: u64, code: &str) {
    let world = World::of(Setup { regions: vec!["a", "b"], ..setup() }).await;
    world.fault("a", Fault::FreezeBeforeHeaders);
    world.fault("b", fault);
    let mut body = streamed_chat();
    body["messages"][0]["content"] = content.into();
    let answer = world.post(V1_CHAT, &body).await;
    let event = told(&answer);
    assert_eq!((answer.status, event["error"]["status"].as_u64()), (200, Some(status)), "{event}");
    assert_eq!(event["code"], code, "{event}");
    let line = world.log_line(answer.request_id()).await;
    assert_eq!((line["code"].as_str(), line["term"].as_str()), (Some(code), Some("failed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn azures_own_refusal_is_told_with_its_status_and_body() {
    check_told(Fault::None, "trigger content filter", 400, "content_filter").await;
    check_told(Fault::UnknownDeployment, "Say hi", 404, "DeploymentNotFound").await;
    let limited = Fault::Status429 { retry_after: RetryAfter::Seconds(7), limit: Limit::default() };
    check_told(limited, "Say hi", 429, "rate_limit_exceeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_later_still_ends_uncleanly() {
    let world = World::of(Setup { regions: vec!["a", "b"], ..setup() }).await;
    world.fault("a", Fault::FreezeBeforeHeaders);
    world.fault("b", Fault::Truncate { after_tokens: 2 });
    let answer = world.chat().await;
    assert!(!answer.complete && answer.text().contains("\"upstream_abort\""), "{}", answer.text());
    assert_eq!(content_of(answer.text()), "w0 w1 ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_streamed_is_held_as_long_as_it_takes() {
    let world = World::of(setup()).await;
    world.fault("a", Fault::Slow { factor: 1.0, add_ms: 300.0 });
    let answer = world.post(V1_CHAT, &chat()).await;
    assert_eq!((answer.status, answer.backend()), (200, Some("a")));
    answer.json();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_while_it_waits_ends_the_attempt() {
    let world = World::of(Setup { more: "retry: { hold_headers_seconds: 0.1 }", ..setup() }).await;
    world.fault("a", Fault::FreezeAfterHeaders);
    let response = world.request(V1_CHAT).json(&streamed_chat()).send().await.unwrap();
    let mut stream = Streamed::of(response);
    assert_eq!(stream.next().await.unwrap(), WAITING.as_bytes());
    drop(stream);
    world.mock.wait_until("a", |c| c.cancelled_by_client == 1).await.unwrap();
    wait_until("nothing in flight", || world.proxy.in_flight() == 0).await;
    let line: Value = serde_json::from_str(world.log_text().lines().last().unwrap()).unwrap();
    assert_eq!(line["term"], "client_abort", "{line}");
    assert_eq!(line["attempts"][0]["outcome"], "client_abort", "{line}");
}
