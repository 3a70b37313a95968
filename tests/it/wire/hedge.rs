//! A late attempt is raced by another: the first content token wins, the loser is cancelled.
//!
//! The first region is where requests go first, and it is ill. Nothing is known of any, so an attempt is late
//! after a fixed time.

use crate::support::{
    Answer, PROBE_KEY, Setup, Streamed, V1_CHAT, World, chat, streamed_chat, wait_until,
};
use firstlight::mock::Fault;
use firstlight::routing::{Ask, Backing};
use serde_json::Value;

/// A world in which an attempt is late after 200 ms (and a second time after 400), and nobody probes.
fn setup(more: &'static str) -> Setup {
    Setup {
        more,
        models: "  gpt-4o:
    probe: off
    routing: { detect: { trip_ms: 200, clear_ms: 150 } }
  other: {}
  text-embedding-3-large: {}
",
        ..Setup::default()
    }
}

/// The same after 500 ms: more room for what happens before it is late a second time.
fn patient_setup(more: &'static str) -> Setup {
    Setup {
        models: "  gpt-4o:
    probe: off
    routing: { detect: { trip_ms: 500, clear_ms: 150 } }
  other: {}
  text-embedding-3-large: {}
",
        ..setup(more)
    }
}

async fn hedges(world: &World, result: &str) -> String {
    let series = format!("firstlight_hedges_total{{model=\"gpt-4o\",result=\"{result}\"}}");
    world.metric(&series).await
}

fn hash(body: &Value) -> String {
    hex::encode(<sha2::Sha256 as sha2::Digest>::digest(serde_json::to_vec(body).unwrap()))
}

async fn check_rescued(fault: Fault) {
    let world = World::of(setup("")).await;
    world.fault("a", fault.clone());
    let answer = world.chat().await;
    answer.assert_whole_stream();
    let winner = answer.backend().unwrap();
    assert_ne!(winner, "a", "{fault:?}");
    assert_eq!(answer.attempts(), Some(2));
    let counters = world.mock.wait_until("a", |c| c.cancelled_by_client == 1).await.unwrap();
    assert_eq!((counters.requests, counters.in_flight), (1, 0), "the loser is cancelled at once");
    assert_eq!(world.requests("b") + world.requests("c"), 1);
    for region in ["a", winner] {
        let seen = world.mock.last_request(region).unwrap().unwrap();
        assert_eq!(seen.body_sha256, hash(&streamed_chat()), "the body is sent whole to both");
    }
    check_story(&world, &answer, winner).await;
}

/// What the log and the metrics tell of a rescue from the first region.
async fn check_story(world: &World, answer: &Answer, winner: &str) {
    let line = world.log_line(answer.request_id()).await;
    let attempts = &line["attempts"];
    assert_eq!((&attempts[0]["backend"], &attempts[0]["outcome"]), (&"a".into(), &"lost".into()));
    assert_eq!((&attempts[1]["why"], &attempts[1]["outcome"]), (&"hedge".into(), &"ok".into()));
    assert_eq!((line["backend"].as_str(), line["term"].as_str()), (Some(winner), Some("ok")));
    let counted = [hedges(world, "sent"), hedges(world, "won"), hedges(world, "lost")];
    assert_eq!(futures_util::future::join_all(counted).await, ["1", "1", "0"]);
    let saved = "firstlight_hedge_saved_seconds_count{model=\"gpt-4o\"}";
    assert_eq!(world.metric(saved).await, "1");
    let spent = "firstlight_hedge_tokens_spent_total{model=\"gpt-4o\"}";
    assert_ne!(world.metric(spent).await, "0");
    let lost = "firstlight_attempts_total{backend=\"a\",model=\"gpt-4o\",outcome=\"lost\"}";
    assert_eq!(world.metric(lost).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_freezes_it_is_rescued() {
    check_rescued(Fault::FreezeBeforeHeaders).await;
    check_rescued(Fault::FreezeAfterHeaders).await;
    check_rescued(Fault::FreezeAfterFilter).await;
    check_rescued(Fault::FreezeAfterRole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_h2_too() {
    let world = World::of(setup("")).await;
    world.fault("a", Fault::FreezeAfterRole);
    let client = crate::support::client(reqwest::ClientBuilder::http2_prior_knowledge);
    let request = client.post(world.url(V1_CHAT)).header("api-key", crate::support::KEY);
    let answer = Answer::read(request.json(&streamed_chat()).send().await.unwrap()).await;
    answer.assert_whole_stream();
    world.mock.wait_until("a", |c| c.cancelled_by_client == 1).await.unwrap();
}

/// One region is degraded by errors of a while ago and now answers slowly; the other freezes a request, whose
/// time-out is four minutes.
/// Takes a region out by errors of requests that were served elsewhere.
fn degrade(world: &World, region: &str) {
    let live = world.proxy.live();
    let model = live.snapshot().model("gpt-4o").cloned().unwrap();
    let target = model.pool.position(region).unwrap();
    for request in 0..100 {
        if world.is_degraded("gpt-4o", region) {
            return;
        }
        let ask = Ask { request, prompt_tokens: 700, ..Ask::default() };
        let lease = model.pool.dispatch(target, ask, live.clock().now()).unwrap();
        lease.failed(Backing::Elsewhere, live.clock().now());
        model.pool.served_elsewhere(target, request, live.clock().now());
    }
    panic!("{region} is in use still");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stuck_is_rescued_by_a_degraded_region() {
    let world = World::of(Setup { regions: vec!["a", "b"], ..setup("") }).await;
    world.fault("b", Fault::Status5xx { status: 500 });
    degrade(&world, "b");
    world.fault("b", Fault::Slow { factor: 1.0, add_ms: 300.0 });
    world.fault("a", Fault::FreezeAfterRole);
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_eq!((answer.backend(), answer.attempts()), (Some("b"), Some(2)));
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["attempts"][0]["outcome"], "lost", "{line}");
    let waited = line["attempts"][0]["ms"].as_f64().unwrap();
    assert!((400.0..20_000.0).contains(&waited), "2 T, and an answer of 300 ms: {line}");
    assert_eq!(line["attempts"][1]["why"], "rescue", "{line}");
    let found = [hedges(&world, "denied_degraded"), hedges(&world, "sent"), hedges(&world, "won")];
    assert_eq!(futures_util::future::join_all(found).await, ["1", "1", "1"]);
    let picks = "firstlight_picks_total{backend=\"b\",model=\"gpt-4o\",why=\"rescue\"}";
    assert_eq!(world.metric(picks).await, "1");
    assert!(world.is_degraded("gpt-4o", "b"), "an answer as slow as that leads nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_late_one_may_win_all_the_same() {
    let world = World::of(patient_setup("")).await;
    world.fault("a", Fault::Slow { factor: 1.0, add_ms: 750.0 });
    for region in ["b", "c"] {
        world.fault(region, Fault::FreezeAfterRole);
    }
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_eq!(answer.backend(), Some("a"));
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["backend"], "a", "{line}");
    assert_eq!(line["attempts"][0]["outcome"], "ok", "{line}");
    assert_eq!(line["attempts"][1]["outcome"], "lost", "{line}");
    let counted = [hedges(&world, "won").await, hedges(&world, "lost").await];
    assert_eq!(counted, ["0", "1"]);
    wait_until("the hedge is cancelled", || {
        let cancelled = |region| world.mock.counters(region).unwrap().cancelled_by_client;
        cancelled("b") + cancelled("c") == 1
    })
    .await;
}

/// The first region is frozen, there is no other attempt at all, and the reason is counted.
async fn check_alone(world: World, sent: reqwest::RequestBuilder, denied: &str) {
    world.fault("a", Fault::FreezeBeforeHeaders);
    let answer = Answer::read(sent.send().await.unwrap()).await;
    assert_eq!((answer.status, answer.attempts()), (503, Some(1)), "{}", answer.text());
    assert_eq!((world.requests("b"), world.requests("c")), (0, 0));
    assert_ne!(hedges(&world, denied).await, "0");
    assert_eq!(hedges(&world, "sent").await, "0");
}

const SOON: &str = "timeouts: { first_token_seconds: 0.5, answer_seconds: 0.5 }";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_not_sent_twice() {
    let world = World::of(setup(SOON)).await;
    let mut body = streamed_chat();
    body["store"] = true.into();
    let request = world.request(V1_CHAT).json(&body);
    check_alone(world, request, "denied_not_allowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_one_target_gets_that_one() {
    let world = World::of(setup(SOON)).await;
    let request = world.client.post(world.url(V1_CHAT)).header("api-key", PROBE_KEY);
    let request = request.header("x-probe-target", "a").json(&streamed_chat());
    check_alone(world, request, "denied_not_allowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_the_budget_does_not_hold_is_not_hedged() {
    let world = World::of(setup(SOON)).await;
    world.fault("a", Fault::FreezeBeforeHeaders);
    let mut body = streamed_chat();
    // More than the 20,000 tokens that a quiet service may spend, less than the longest that is hedged.
    body["messages"][0]["content"] = "word ".repeat(20_000).into();
    let answer = world.post(V1_CHAT, &body).await;
    answer.assert_whole_stream();
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["attempts"][0]["outcome"], "timed_out", "it is tried again: {line}");
    assert_eq!(hedges(&world, "sent").await, "0");
    assert_ne!(hedges(&world, "denied_budget").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hedge_that_fails_only_ends_itself() {
    let world = World::of(Setup { regions: vec!["a", "b"], ..setup("") }).await;
    world.fault("a", Fault::Slow { factor: 1.0, add_ms: 500.0 });
    world.fault("b", Fault::Status5xx { status: 500 });
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_eq!((answer.backend(), answer.attempts()), (Some("a"), Some(2)));
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["attempts"][1]["outcome"], "server_error", "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_waits_until_no_attempt_is_open() {
    let world = World::of(patient_setup("timeouts: { first_token_seconds: 0.75 }")).await;
    world.fault("a", Fault::FreezeAfterRole);
    for region in ["b", "c"] {
        world.fault(region, Fault::Status5xx { status: 500 });
    }
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.attempts()), (503, Some(3)), "{}", answer.text());
    let line = world.log_line(answer.request_id()).await;
    let told = |n: usize| {
        let attempt = &line["attempts"][n];
        (attempt["outcome"].as_str().unwrap(), attempt["why"].as_str().unwrap() == "hedge")
    };
    assert_eq!(told(0), ("timed_out", false), "{line}");
    assert_eq!(told(1), ("server_error", true), "{line}");
    assert_eq!(told(2), ("server_error", false), "it came after the first had ended: {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_own_mistake_is_an_answer_whoever_tells_it() {
    // A hedge's refusal waits for the first attempt: here until its time is over.
    let world = World::of(patient_setup("timeouts: { first_token_seconds: 0.75 }")).await;
    world.fault("a", Fault::FreezeBeforeHeaders);
    let mut body = streamed_chat();
    body["messages"][0]["content"] = "trigger content filter".into();
    let answer = world.post(V1_CHAT, &body).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (400, "content_filter"));
    assert_eq!(answer.attempts(), Some(2));
    world.mock.wait_until("a", |c| c.cancelled_by_client == 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_all_attempts_with_it() {
    let world = World::of(Setup { regions: vec!["a", "b"], ..setup("") }).await;
    for region in ["a", "b"] {
        world.fault(region, Fault::FreezeAfterHeaders);
    }
    let waiting = tokio::spawn(world.request(V1_CHAT).json(&streamed_chat()).send());
    for region in ["a", "b"] {
        world.mock.wait_until(region, |c| c.in_flight == 1).await.unwrap();
    }
    waiting.abort();
    for region in ["a", "b"] {
        world.mock.wait_until(region, |c| c.cancelled_by_client == 1).await.unwrap();
    }
    wait_until("nothing in flight", || world.proxy.in_flight() == 0).await;
    let line: Value = serde_json::from_str(world.log_text().lines().last().unwrap()).unwrap();
    assert_eq!(line["term"], "client_abort", "{line}");
    for attempt in line["attempts"].as_array().unwrap() {
        assert_eq!(attempt["outcome"], "client_abort", "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nowhere_else_to_go_the_header_is_not_held() {
    let world = World::of(Setup { regions: vec!["a"], ..setup("") }).await;
    world.fault("a", Fault::FreezeAfterHeaders);
    let response = world.request(V1_CHAT).json(&streamed_chat()).send().await.unwrap();
    assert_eq!(response.status(), 200, "before any content");
    let stream = Streamed::of(response);
    assert_eq!(world.mock.counters("a").unwrap().in_flight, 1);
    drop(stream);
    world.mock.wait_until("a", |c| c.cancelled_by_client == 1).await.unwrap();
    wait_until("nothing in flight", || world.proxy.in_flight() == 0).await;
    let line: Value = serde_json::from_str(world.log_text().lines().last().unwrap()).unwrap();
    assert_eq!(line["attempts"][0]["outcome"], "client_abort", "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_not_held_is_judged_all_the_same() {
    let world = World::of(Setup { regions: vec!["a"], ..setup(SOON) }).await;
    let answer = world.chat().await;
    answer.assert_whole_stream();
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["attempts"][0]["outcome"], "ok", "{line}");
    assert!(line["attempts"][0]["ttft_ms"].is_number(), "{line}");
    let faults = [
        (Fault::FreezeAfterHeaders, "timed_out"),
        (Fault::FreezeAfterRole, "timed_out"),
        (Fault::EndBeforeContent, "empty_stream"),
        (Fault::ErrorAfter200, "error_event"),
        (Fault::Truncate { after_tokens: 0 }, "reset"),
        (Fault::Truncate { after_tokens: 2 }, "broken_off"),
    ];
    for (fault, outcome) in faults {
        world.fault("a", fault.clone());
        let answer = world.chat().await;
        assert_eq!(answer.status, 200, "{fault:?}");
        let ended_well = matches!(outcome, "empty_stream" | "error_event");
        assert_eq!(answer.complete, ended_well, "{fault:?}: {}", answer.text());
        let line = world.log_line(answer.request_id()).await;
        assert_eq!(line["attempts"][0]["outcome"], outcome, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_is_not_timed_by_its_first_token() {
    let world = World::of(setup("")).await;
    world.fault("a", Fault::Slow { factor: 1.0, add_ms: 500.0 });
    let answer = world.post(V1_CHAT, &chat()).await;
    assert_eq!((answer.status, answer.attempts(), answer.backend()), (200, Some(1), Some("a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_an_address_is_not_raced() {
    let world = World::of(Setup { regions: vec!["a"], nowhere: Some("n"), ..setup("") }).await;
    world.fault("a", Fault::Slow { factor: 1.0, add_ms: 300.0 });
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_eq!(answer.backend(), Some("a"));
    for result in ["sent", "won", "lost"] {
        assert_eq!(hedges(&world, result).await, "0", "{result}");
    }
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["attempts"][0]["outcome"], "ok", "{line}");
    assert_eq!(line["attempts"][1]["backend"], "n", "{line}");
    assert_eq!(line["attempts"][1]["outcome"], "connect", "{line}");
}
