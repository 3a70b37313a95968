//! Requests that are not streamed: a region that no longer answers them, or slowly, is noticed and left.

use crate::support::{Setup, V1_CHAT, World, chat, wait_until};
use firstlight::mock::{Behaviour, Fault};
use futures_util::future::join_all;

/// A world whose responses take 60 ms.
async fn world() -> World {
    let behaviour = Behaviour { ttft_median_ms: 60.0, ttft_sigma: 0.0, ..Behaviour::instant() };
    let more = "routing: { detect: { trip_ms: 2000, clear_ms: 1000 } }";
    let world = World::of(Setup { behaviour, more, ..Setup::default() }).await;
    chats(&world, 60).await;
    world
}

/// So many at once, all of which are answered.
async fn chats(world: &World, n: usize) {
    let body = chat();
    for answer in join_all((0..n).map(|_| world.post(V1_CHAT, &body))).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn probes(world: &World, region: &str) -> usize {
    let seen = world.mock.requests(region).unwrap();
    let agents = seen.iter().filter_map(|r| r.header("user-agent"));
    agents.filter(|agent| agent.starts_with("firstlight-probe/")).count()
}

async fn check_left(fault: Fault) {
    let world = world().await;
    let before = world.requests("a");
    assert!(before >= 50, "it is the first: {before}");
    world.fault("a", fault.clone());
    let mut rounds = 0;
    while !world.is_degraded("gpt-4o", "a") {
        rounds += 1;
        assert!(rounds <= 10, "{fault:?}: it is not left");
        chats(&world, 3).await;
    }
    wait_until("a probe looks there", || probes(&world, "a") > 0).await;
    for _ in 0..5 {
        let answer = world.post(V1_CHAT, &chat()).await;
        assert_eq!((answer.status, answer.attempts()), (200, Some(1)));
        assert_ne!(answer.backend(), Some("a"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_region_is_left_and_everybody_is_answered() {
    check_left(Fault::FreezeBeforeHeaders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_became_slow_is_left() {
    check_left(Fault::Slow { factor: 1.0, add_ms: 3000.0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_back_by_its_probes() {
    let world = world().await;
    world.fault("a", Fault::FreezeBeforeHeaders);
    while !world.is_degraded("gpt-4o", "a") {
        chats(&world, 3).await;
    }
    world.fault("a", Fault::None);
    wait_until("probes lead it back", || !world.is_degraded("gpt-4o", "a")).await;
}
