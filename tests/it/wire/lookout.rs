//! `lookout` on the wire: what probes do beside the requests.

use crate::support::{Setup, World, wait_until};
use firstlight::mock::{Behaviour, Fault};
use firstlight::routing::State;

/// A world whose answers take 60 ms, and in which an attempt is late, and slow, after 200 ms.
fn setup() -> Setup {
    Setup {
        behaviour: Behaviour { ttft_median_ms: 60.0, ttft_sigma: 0.0, ..Behaviour::instant() },
        more: "routing: { detect: { trip_ms: 200, clear_ms: 150 } }",
        ..Setup::default()
    }
}

fn probes(world: &World, region: &str) -> usize {
    let seen = world.mock.requests(region).unwrap();
    let agents = seen.iter().filter_map(|r| r.header("user-agent"));
    agents.filter(|agent| agent.starts_with("firstlight-probe/")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_attempt_is_confirmed_by_a_probe_that_is_given_up_in_time() {
    let world = World::of(setup()).await;
    world.fault("a", Fault::FreezeBeforeHeaders);
    world.chat().await.assert_whole_stream();
    wait_until("a probe looks there", || probes(&world, "a") == 1).await;
    world.mock.wait_until("a", |c| c.cancelled_by_client == 2).await.unwrap();
    let timed_out = "firstlight_probes_total{backend=\"a\",model=\"gpt-4o\",outcome=\"timed_out\"}";
    assert_eq!(world.metric(timed_out).await, "1");
    world.chat().await.assert_whole_stream();
    assert_eq!(probes(&world, "a"), 1, "one in ten seconds is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_region_is_left_and_led_back_by_probes() {
    let world = World::of(setup()).await;
    world.fault("a", Fault::FreezeAfterRole);
    while !world.is_degraded("gpt-4o", "a") {
        world.chat().await.assert_whole_stream();
    }
    let before = world.requests("a");
    for _ in 0..5 {
        let answer = world.chat().await;
        answer.assert_whole_stream();
        assert_eq!(answer.attempts(), Some(1), "nobody waits for it any more");
    }
    assert_eq!(world.requests("a") - before, 0);
    world.fault("a", Fault::None);
    wait_until("probes find it well", || world.state("gpt-4o", "a") == State::Recovering).await;
    let out = "firstlight_target_out_seconds_total{backend=\"a\",model=\"gpt-4o\"}";
    assert_ne!(world.metric(out).await, "0");
    let state = "firstlight_target_state{backend=\"a\",model=\"gpt-4o\",state=\"recovering\"}";
    assert_eq!(world.metric(state).await, "1");
}
