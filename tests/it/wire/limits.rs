//! The limits of an app: what is refused, how it reads, what comes back, and whom it does not touch.

use crate::support::{
    Answer, KEY, PROBE_KEY, Setup, Streamed, V1_CHAT, World, chat, streamed_chat, wait_for,
};
use firstlight::mock::{Behaviour, Fault};
use serde_json::{Value, json};

const MODELS: &str = "    models: [gpt-4o, text-embedding-3-large]\n";

/// The configuration with these limits for the app `tests`.
fn with(world: &World, limits: &str) -> String {
    let limited = format!("{MODELS}    limits: {{ {limits} }}\n");
    assert!(world.yaml.contains(MODELS), "{}", world.yaml);
    world.yaml.replace(MODELS, &limited)
}

async fn limited(limits: &str) -> World {
    limited_of(limits, Setup::default()).await
}

async fn limited_of(limits: &str, setup: Setup) -> World {
    let world = World::of(setup).await;
    world.reload(&with(&world, limits)).await.unwrap();
    world
}

/// A chat that may answer so much.
fn chat_of(max_tokens: u64) -> Value {
    let mut body = chat();
    body["max_tokens"] = json!(max_tokens);
    body
}

/// Of the app that has no limits.
async fn other_app(world: &World) -> Answer {
    let request = world.client.post(world.url(V1_CHAT)).header("api-key", PROBE_KEY);
    Answer::read(request.json(&streamed_chat()).send().await.unwrap()).await
}

/// What a scrape says is left.
async fn left(world: &World, what: &str) -> i64 {
    let series = format!("firstlight_quota_remaining{{app=\"tests\",what=\"{what}\"}}");
    world.metric(&series).await.parse().unwrap()
}

async fn refused(world: &World, what: &str) -> String {
    world.metric(&format!("firstlight_quota_refused_total{{app=\"tests\",what=\"{what}\"}}")).await
}

fn header(answer: &Answer, name: &str) -> u64 {
    answer.header(name).unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// A 429 of ours: its shape, its wait, and its line in the log.
async fn check_refused(world: &World, answer: &Answer, kind: &str, code: &str) {
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.error_code(), "rate_limit_exceeded");
    let error = &answer.json()["error"];
    assert_eq!((error["type"].as_str(), &error["param"]), (Some(kind), &Value::Null));
    assert!(error["message"].as_str().unwrap().contains("of this application"), "{error}");
    let (seconds, ms) = (header(answer, "retry-after"), header(answer, "retry-after-ms"));
    assert_eq!(seconds, ms.div_ceil(1000));
    assert_eq!((answer.attempts(), answer.backend()), (None, None));
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(
        (&line["code"], &line["status"], &line["app"]),
        (&json!(code), &json!(429), &json!("tests"))
    );
    assert_eq!((&line["retry_after_ms"], &line["term"]), (&json!(ms), &json!("refused")));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_minute() {
    let world = limited("requests_per_minute: 1").await;
    world.chat().await.assert_whole_stream();
    assert_eq!(left(&world, "requests").await, 0);
    let answer = world.chat().await;
    check_refused(&world, &answer, "requests", "over_requests").await;
    let limits = ["limit", "remaining", "renewalperiod"];
    let limits = limits.map(|name| header(&answer, &format!("x-ratelimit-{name}-requests")));
    assert_eq!(limits, [1, 0, 60]);
    assert!((1..=60).contains(&header(&answer, "x-ratelimit-reset-requests")));
    assert!((1..=60).contains(&header(&answer, "retry-after")));
    assert_eq!(answer.header("x-ratelimit-limit-tokens"), None, "it has no such limit");
    assert_eq!(refused(&world, "requests").await, "1");
    assert_eq!(world.requests("a"), 1);
    other_app(&world).await.assert_whole_stream();
}

/// It is refused by its header: a body of which nothing ever comes is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_too_many_is_refused_before_its_body() {
    let world = limited("requests_per_minute: 1").await;
    world.chat().await.assert_whole_stream();
    let never =
        reqwest::Body::wrap_stream(futures_util::stream::pending::<std::io::Result<Vec<u8>>>());
    let request = world.request(V1_CHAT).header("content-type", "application/json").body(never);
    let answer = Answer::read(request.send().await.unwrap()).await;
    check_refused(&world, &answer, "requests", "over_requests").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_minute_are_estimated_and_settled() {
    let world = limited("tokens_per_minute: 10000").await;
    // Each is counted with 9,000 and uses some 20, which is known before its client sees the end.
    for _ in 0..4 {
        assert_eq!(world.post(V1_CHAT, &chat_of(9_000)).await.status, 200);
    }
    let used = 10_000 - left(&world, "tokens").await;
    assert!((0..=200).contains(&used), "{used}");

    // While one is under way its whole estimate is taken.
    world.fault("a", Fault::FreezeBeforeHeaders);
    let waiting = tokio::spawn(world.request(V1_CHAT).json(&chat_of(9_000)).send());
    world.mock.wait_until("a", |c| c.in_flight == 1).await.unwrap();
    let answer = world.post(V1_CHAT, &chat_of(9_000)).await;
    check_refused(&world, &answer, "tokens", "over_tokens").await;
    assert_eq!(header(&answer, "x-ratelimit-limit-tokens"), 10_000);
    assert!(header(&answer, "x-ratelimit-remaining-tokens") < 9_000);
    assert_eq!(refused(&world, "tokens").await, "1");
    let small = world.client.post(world.url(V1_CHAT)).header("api-key", KEY).json(&chat_of(1));
    drop(tokio::spawn(small.send()));
    world.mock.wait_until("a", |c| c.in_flight == 2).await.unwrap();

    // Its client leaves: what is charged is the prompt that was sent.
    waiting.abort();
    wait_for("the tokens", || async { (left(&world, "tokens").await > 9_000).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_for_is_looked_at_for_nothing() {
    let world = limited("tokens_per_minute: 1000").await;
    let ask = json!({"model": "gpt-4o", "input": "x".repeat(400), "max_output_tokens": 100});
    let made = world.post("/v1/responses", &ask).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let path = format!("/v1/responses/{}", made.json()["id"].as_str().unwrap());
    let before = left(&world, "tokens").await;
    for _ in 0..10 {
        let request = world.client.get(world.url(&path)).header("api-key", KEY);
        let answer = Answer::read(request.send().await.unwrap()).await;
        let usage = &answer.json()["usage"]["input_tokens"];
        assert!(answer.status == 200 && usage.as_u64() > Some(50), "{}", answer.text());
    }
    // Only more comes back meanwhile.
    let after = left(&world, "tokens").await;
    assert!(before < 1_000 && after >= before, "{before} {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_more_than_a_minute_waits_until_nothing_else_is_used() {
    let world = limited("tokens_per_minute: 2000").await;
    assert_eq!(world.post(V1_CHAT, &chat_of(16_384)).await.status, 200);
    let mut held = chat_of(1_000);
    held["stream"] = json!(true);
    world.fault("a", Fault::FreezeBeforeHeaders);
    let _waiting = tokio::spawn(world.request(V1_CHAT).json(&held).send());
    world.mock.wait_until("a", |c| c.in_flight == 1).await.unwrap();
    let answer = world.post(V1_CHAT, &chat_of(16_384)).await;
    check_refused(&world, &answer, "tokens", "over_tokens").await;
    assert!(answer.text().contains("more than the limit of a whole minute"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_served_costs_no_tokens() {
    let world = limited("tokens_per_minute: 1000").await;
    for region in ["a", "b", "c"] {
        world.fault(region, Fault::Status5xx { status: 503 });
    }
    for _ in 0..4 {
        let answer = world.post(V1_CHAT, &chat_of(900)).await;
        assert_eq!(answer.error_code(), "no_backend_available");
        world.log_line(answer.request_id()).await;
    }
    let unknown = json!({"model": "nothing", "max_tokens": 900});
    for _ in 0..4 {
        assert_eq!(world.post(V1_CHAT, &unknown).await.status, 404);
    }
    assert_eq!(left(&world, "tokens").await, 1_000);
}

/// Without usage in the stream: the prompt's estimate and the content that came.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_usage_is_counted_by_what_was_seen() {
    let world = limited("tokens_per_minute: 2000").await;
    let mut body = chat_of(1_900);
    body["stream"] = json!(true);
    let answer = world.post(V1_CHAT, &body).await;
    answer.assert_whole_stream();
    assert!(!answer.text().contains("prompt_tokens"), "{}", answer.text());
    assert!(left(&world, "tokens").await >= 1_900);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_a_time() {
    let behaviour = Behaviour { gap_ms: 3_600_000.0, ..Behaviour::instant() };
    let world = limited_of("concurrent: 1", Setup { behaviour, ..Setup::default() }).await;
    let open = async |key: &str| {
        let request = world.client.post(world.url(V1_CHAT)).header("api-key", key);
        let response = request.json(&streamed_chat()).send().await.unwrap();
        let mut stream = Streamed::of(response);
        assert!(stream.next().await.is_some());
        stream
    };
    let held = open(KEY).await;
    assert_eq!(left(&world, "concurrent").await, 0);
    let answer = world.chat().await;
    check_refused(&world, &answer, "concurrent_requests", "over_concurrent").await;
    assert_eq!(refused(&world, "concurrent").await, "1");
    drop(open(PROBE_KEY).await);
    drop(held);
    wait_for("its place", || async { (left(&world, "concurrent").await == 1).then_some(()) }).await;
    drop(open(KEY).await);
}

/// The next request of a client that reads to the end finds the place free, on whatever connection it comes.
#[tokio::test(flavor = "multi_thread")]
async fn one_after_the_other_is_one_at_a_time() {
    let world = limited("concurrent: 1").await;
    for n in 0..50 {
        let client = crate::support::client(|builder| builder);
        let body = if n % 2 == 0 { streamed_chat() } else { chat() };
        let request = client.post(world.url(V1_CHAT)).header("api-key", KEY).json(&body);
        assert_eq!(Answer::read(request.send().await.unwrap()).await.status, 200, "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_limit_and_keeps_what_is_used() {
    let world = limited("requests_per_minute: 1").await;
    assert_eq!(world.chat().await.status, 200);
    assert_eq!(world.chat().await.status, 429);
    // A refused configuration changes nothing.
    assert!(world.reload(&with(&world, "requests_per_minute: many")).await.is_err());
    assert_eq!(world.chat().await.status, 429);
    world.reload(&with(&world, "requests_per_minute: 2")).await.unwrap();
    assert_eq!(world.chat().await.status, 200);
    assert_eq!(world.chat().await.status, 429, "both are used");
    world.reload(&world.yaml).await.unwrap();
    assert_eq!(world.chat().await.status, 200, "no limit");
    let scrape = world.admin("/metrics").await.1;
    assert!(!scrape.contains("firstlight_quota_remaining{"), "{scrape}");
}
