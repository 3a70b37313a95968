//! What was learned about a target stays with it through reloads, wherever it stands in the new file.

use crate::support::{Setup, V1_CHAT, World, streamed_chat, wait_until};
use firstlight::mock::Fault;
use firstlight::routing::{State, Switch, View};

const MODEL: &str = "gpt-4o";

fn setup() -> Setup {
    Setup { regions: vec!["m", "n", "z"], ..Setup::default() }
}

fn view(world: &World, backend: &str) -> View {
    let live = world.proxy.live();
    let snapshot = live.snapshot();
    let pool = &snapshot.model(MODEL).unwrap().pool;
    pool.view(pool.position(backend).unwrap(), live.clock().now()).unwrap()
}

/// The file with one backend more, that sorts before all others: every target has another position.
fn moved(world: &World) -> String {
    let line = world.yaml.lines().find(|line| line.starts_with("  z: ")).unwrap();
    let new = line.replacen("  z:", "  a:", 1).replace("tier: 1", "tier: 9");
    world.yaml.replacen("backends:\n", &format!("backends:\n{new}\n"), 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_degraded_target_stays_degraded_and_a_drained_one_drained() {
    let world = World::of(setup()).await;
    while view(&world, "m").base_ms.is_none() {
        assert_eq!(world.chat().await.backend(), Some("m"));
    }
    world.fault("m", Fault::Status5xx { status: 503 });
    while !world.is_degraded(MODEL, "m") {
        assert_eq!(world.chat().await.status, 200);
    }
    world.proxy.live().drain_backend("n", Switch::On).unwrap();
    let before = ["m", "n", "z"].map(|backend| view(&world, backend));
    world.reload(&moved(&world)).await.unwrap();
    assert!(world.proxy.live().snapshot().has_backend("a"));
    assert!(before[0].base_ms.is_some());
    for (backend, before) in ["m", "n", "z"].iter().zip(before) {
        let after = view(&world, backend);
        assert_eq!((after.state, after.blocks), (before.state, before.blocks), "{backend}");
        assert_eq!(after.base_ms, before.base_ms, "{backend}");
    }
    assert_eq!(world.state(MODEL, "a"), State::Healthy, "a new one starts anew");
    assert_eq!(world.chat().await.backend(), Some("z"));
    // Gone for a moment, it is a new one, too.
    world.reload(&world.without("m")).await.unwrap();
    world.reload(&world.yaml).await.unwrap();
    assert_eq!(world.state(MODEL, "m"), State::Healthy);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_began_before_are_counted_to_their_end() {
    let world = World::of(setup()).await;
    world.fault("m", Fault::FreezeBeforeHeaders);
    let request = world.request(V1_CHAT).json(&streamed_chat());
    let waiting = tokio::spawn(async move { drop(request.send().await) });
    world.mock.wait_until("m", |c| c.in_flight == 1).await.unwrap();
    for yaml in [moved(&world), world.yaml.clone(), moved(&world)] {
        world.reload(&yaml).await.unwrap();
        assert_eq!(view(&world, "m").in_flight, 1);
        assert_eq!(view(&world, "n").in_flight, 0);
    }
    waiting.abort();
    wait_until("none in flight", || view(&world, "m").in_flight == 0).await;
    wait_until("none at all", || world.proxy.in_flight() == 0).await;
    for backend in ["a", "m", "n", "z"] {
        assert_eq!(view(&world, backend).in_flight, 0, "{backend}");
    }
}
