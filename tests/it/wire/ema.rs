//! The main job: a region that turns slow is noticed, left, and taken back.

use crate::support::{Setup, V1_CHAT, World, chat, wait_until};
use firstlight::mock::{Behaviour, Fault};

/// Thresholds scaled down to a mock that answers in about 20 ms.
const ROUTING: &str = "routing:
  policy: ema
  default_score_ms: 20
  detect: { trip_ms: 300, clear_ms: 200 }
  probe: { interval_seconds: 0 }";

fn steady() -> Behaviour {
    Behaviour { ttft_median_ms: 20.0, ttft_sigma: 0.0, ..Behaviour::instant() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_turns_slow_is_left_after_two_answers() {
    let world = World::of(Setup { behaviour: steady(), more: ROUTING, ..Setup::default() }).await;
    world.chat().await.assert_whole_stream();
    world.fault("a", Fault::Slow { factor: 1.0, add_ms: 400.0 });
    let slow = [world.chat().await, world.chat().await];
    assert!(slow.iter().all(|answer| answer.backend() == Some("a")), "slow answers are answers");
    assert!(world.is_degraded("gpt-4o", "a"));
    let before = world.requests("a");
    for _ in 0..20 {
        let answer = world.chat().await;
        answer.assert_whole_stream();
        assert_ne!(answer.backend(), Some("a"));
    }
    assert_eq!(world.requests("a"), before, "after it is marked nothing goes there");
    let metrics = world.admin("/metrics").await.1;
    assert!(metrics.contains("firstlight_target_degraded{backend=\"a\",model=\"gpt-4o\"} 1"));
    assert!(metrics.contains(
        "firstlight_target_changes_total{backend=\"a\",change=\"degraded_slow\",model=\"gpt-4o\"} 1"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_region_is_a_slow_region() {
    let more = "timeouts: { first_token_seconds: 0.4 }
routing: { policy: ema, detect: { trip_ms: 300, clear_ms: 200 }, probe: { interval_seconds: 0 } }";
    let world = World::of(Setup { more, ..Setup::default() }).await;
    world.fault("a", Fault::FreezeAfterRole);
    for _ in 0..5 {
        world.chat().await.assert_whole_stream();
    }
    assert!(world.is_degraded("gpt-4o", "a"));
    assert_eq!(world.requests("a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_degraded_the_best_of_them_still_serves() {
    let world = World::of(Setup { behaviour: steady(), more: ROUTING, ..Setup::default() }).await;
    for region in ["a", "b", "c"] {
        world.fault(region, Fault::Slow { factor: 1.0, add_ms: 320.0 });
    }
    let all = || ["a", "b", "c"].iter().all(|region| world.is_degraded("gpt-4o", region));
    for _ in 0..7 {
        world.chat().await.assert_whole_stream();
    }
    assert!(all());
    assert_eq!(world.admin("/readyz").await.0, 200, "routing fails open");
    let answer = world.chat().await;
    answer.assert_whole_stream();
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["attempts"][0]["why"], "panic", "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_bring_a_healed_region_back() {
    let more = "routing:
  policy: ema
  default_score_ms: 20
  detect: { trip_ms: 300, clear_ms: 200 }
  probe: { interval_seconds: 0.3, count: 2, timeout_seconds: 1 }";
    let world = World::of(Setup { behaviour: steady(), more, ..Setup::default() }).await;
    world.fault("a", Fault::Slow { factor: 1.0, add_ms: 400.0 });
    wait_until("probes alone find the slow region", || world.is_degraded("gpt-4o", "a")).await;
    world.fault("a", Fault::None);
    wait_until("probes clear it", || !world.is_degraded("gpt-4o", "a")).await;
    let answer = world.chat().await;
    answer.assert_whole_stream();
    let seen = world.mock.requests("a").unwrap();
    let agents: Vec<_> = seen.iter().filter_map(|r| r.header("user-agent")).collect();
    assert!(agents.iter().any(|agent| agent.starts_with("firstlight-probe/")), "{agents:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_refuses_max_tokens_is_probed_with_the_other_name() {
    let more = "routing: { probe: { interval_seconds: 0.3, count: 1 } }";
    let models =
        "  gpt-4o: { backends: { a: o3-mini } }\n  text-embedding-3-large: { probe: off }\n";
    let world = World::of(Setup { more, models, ..Setup::default() }).await;
    world.mock.wait_until("a", |c| c.rejected == 1 && c.completed >= 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_takes_turns_by_weight_and_never_leaves_anybody() {
    let more = "routing: { policy: round_robin, detect: { trip_ms: 30, clear_ms: 20 } }";
    let setup = Setup { first_preferred: false, more, ..Setup::default() };
    let world = World::of(setup).await;
    world.fault("a", Fault::Slow { factor: 1.0, add_ms: 50.0 });
    for _ in 0..9 {
        world.chat().await.assert_whole_stream();
    }
    assert_eq!(["a", "b", "c"].map(|region| world.requests(region)), [3, 3, 3]);
    assert!(!world.is_degraded("gpt-4o", "a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_feed_the_score_by_their_headers() {
    let world = World::of(Setup { behaviour: steady(), more: ROUTING, ..Setup::default() }).await;
    world.fault("a", Fault::Slow { factor: 1.0, add_ms: 400.0 });
    let input = serde_json::json!({"model": "text-embedding-3-large", "input": "x"});
    for _ in 0..2 {
        assert_eq!(world.post("/openai/v1/embeddings", &input).await.status, 200);
    }
    assert!(world.is_degraded("text-embedding-3-large", "a"));
    assert!(!world.is_degraded("gpt-4o", "a"), "a target is a model on a backend");
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_responses_feed_the_score_by_their_headers() {
    let world = World::of(Setup { behaviour: steady(), more: ROUTING, ..Setup::default() }).await;
    for _ in 0..30 {
        assert_eq!(world.post(V1_CHAT, &chat()).await.status, 200);
    }
    world.fault("a", Fault::Slow { factor: 1.0, add_ms: 1500.0 });
    let mut slow = 0;
    while !world.is_degraded("gpt-4o", "a") {
        let answer = world.post(V1_CHAT, &chat()).await;
        slow += u32::from(answer.backend() == Some("a"));
        assert!(slow <= 2, "it is left after two");
    }
    let before = world.requests("a");
    for _ in 0..20 {
        assert_ne!(world.post(V1_CHAT, &chat()).await.backend(), Some("a"));
    }
    assert_eq!(world.requests("a"), before);
}
