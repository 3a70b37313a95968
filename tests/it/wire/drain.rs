//! Backends that an operator took out of use: nothing new goes there, and nothing that runs is cut.

use crate::support::{
    Answer, PROBE_KEY, Setup, V1_CHAT, World, streamed_chat, wait_for, wait_until,
};
use firstlight::mock::Behaviour;
use firstlight::routing::Switch;

fn drain(world: &World, backend: &str, drained: Switch) {
    world.proxy.live().drain_backend(backend, drained).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_backend_gets_no_new_request_and_finishes_its_streams() {
    let behaviour = Behaviour { gap_ms: 50.0, ..Behaviour::instant() };
    let world = World::of(Setup { behaviour, ..Setup::default() }).await;
    let running = world.request(V1_CHAT).json(&streamed_chat()).send().await.unwrap();
    drain(&world, "a", Switch::On);
    for _ in 0..5 {
        let answer = world.chat().await;
        answer.assert_whole_stream();
        assert_ne!(answer.backend(), Some("a"), "though it is preferred");
    }
    let answer = Answer::read(running).await;
    answer.assert_whole_stream();
    assert_eq!((answer.backend(), world.requests("a")), (Some("a"), 1));
    let gauge = |reason: &str| {
        format!("firstlight_target_blocked{{backend=\"a\",model=\"gpt-4o\",reason=\"{reason}\"}}")
    };
    assert_eq!(world.metric(&gauge("drained")).await, "1");
    assert_eq!(world.metric(&gauge("auth_failed")).await, "0");
    drain(&world, "a", Switch::Off);
    assert_eq!(world.chat().await.backend(), Some("a"));
    assert_eq!(world.metric(&gauge("drained")).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_drained_the_client_is_told_and_it_is_not_ready() {
    let world = World::plain().await;
    assert_eq!(world.admin("/readyz").await.0, 200);
    for backend in ["a", "b", "c"] {
        drain(&world, backend, Switch::On);
    }
    let list = || async {
        let request = world.client.get(world.url("/openai/v1/files"));
        Answer::read(request.header("api-key", crate::support::KEY).send().await.unwrap()).await
    };
    for answer in [world.chat().await, list().await] {
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "no_backend_available"));
        assert!(answer.header("retry-after").is_some());
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "server_error");
        assert!(error["message"].as_str().unwrap().contains("cannot be reached"), "{error}");
    }
    let not_ready = (503, "no target could be tried\n".to_owned());
    assert_eq!(world.admin("/readyz").await, not_ready);
    for backend in ["a", "b", "c"] {
        assert_eq!(world.requests(backend), 0);
    }
    drain(&world, "b", Switch::Off);
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.backend()), (200, Some("b")));
    assert_eq!(list().await.status, 200);
    assert_eq!(world.admin("/readyz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_backend_is_not_probed() {
    let more = "routing:
  policy: ema
  probe: { interval_seconds: 0.1, count: 1, timeout_seconds: 1 }";
    let world = World::of(Setup { more, ..Setup::default() }).await;
    let probes = |count: u64| {
        let seen = world.requests("a");
        let world = &world;
        async move { wait_until("probes of a", || world.requests("a") >= seen + count).await }
    };
    wait_for("a probe", || async { (world.requests("b") > 0).then_some(()) }).await;
    drain(&world, "b", Switch::On);
    // One of each model may have been on its way.
    probes(3).await;
    let before = world.requests("b");
    probes(9).await;
    assert_eq!(world.requests("b"), before);
    drain(&world, "b", Switch::Off);
    wait_until("the next round", || world.requests("b") > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_a_drained_backend_may_still_try_it() {
    let world = World::plain().await;
    drain(&world, "c", Switch::On);
    let request = world.client.post(world.url(V1_CHAT)).header("api-key", PROBE_KEY);
    let request = request.header("x-probe-target", "c").json(&streamed_chat());
    let answer = Answer::read(request.send().await.unwrap()).await;
    answer.assert_whole_stream();
    assert_eq!(answer.backend(), Some("c"));
}
