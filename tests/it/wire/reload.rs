//! A reload changes what requests meet from the next one on, and nothing for those under way.

use crate::support::{
    Answer, KEY, Setup, V1_CHAT, World, chat, hash, streamed_chat, wait_for, wait_until,
};
use firstlight::mock::{Behaviour, Fault};
use reqwest::Client;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_backend_finishes_its_stream_and_gets_nothing_new() {
    let behaviour = Behaviour { gap_ms: 50.0, ..Behaviour::instant() };
    let world = World::of(Setup { behaviour, ..Setup::default() }).await;
    let running = world.request(V1_CHAT).json(&streamed_chat()).send().await.unwrap();
    let reloaded = world.reload(&world.without("a")).await.unwrap();
    assert_eq!(reloaded.generation, 2);
    assert!(reloaded.changed.iter().any(|line| line.starts_with("- backends.a.endpoint: ")));
    assert_eq!(reloaded.waiting, [""; 0]);
    for _ in 0..5 {
        let answer = world.chat().await;
        answer.assert_whole_stream();
        assert!(["b", "c"].contains(&answer.backend().unwrap()));
    }
    let answer = Answer::read(running).await;
    answer.assert_whole_stream();
    assert_eq!((answer.backend(), world.requests("a")), (Some("a"), 1));

    // It comes back: to this configuration it is a new one.
    world.reload(&world.yaml).await.unwrap();
    assert_eq!(world.chat().await.backend(), Some("a"), "it is preferred");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_models_and_body_sizes_hold_at_once() {
    let world = World::of(Setup { more: "limits: { body_mib: 2 }", ..Setup::default() }).await;
    assert_eq!(world.chat().await.status, 200);
    let large = || async {
        let mut body = chat();
        body["messages"][0]["content"] = "x".repeat(1500 << 10).into();
        world.post(V1_CHAT, &body).await.status
    };
    assert_eq!(large().await, 200);
    world.reload(&world.yaml.replace("body_mib: 2", "body_mib: 1")).await.unwrap();
    assert_eq!(large().await, 413);

    world.reload(&world.yaml.replace("[gpt-4o, text-", "[text-")).await.unwrap();
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.error_code().as_str()), (403, "model_forbidden"));

    // On the connection that is open already.
    world.reload(&world.yaml.replace(&hash(KEY), &hash("another"))).await.unwrap();
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.error_code().as_str()), (401, "invalid_api_key"));
    let with = world.client.post(world.url(V1_CHAT)).header("api-key", "another");
    assert_eq!(with.json(&streamed_chat()).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_retry_and_routing_hold_at_once() {
    let world = World::plain().await;
    world.fault("a", Fault::Status5xx { status: 503 });
    assert_eq!((world.chat().await.status, world.requests("a")), (200, 1));
    let once = world.yaml.clone() + "retry: { max_attempts: 1 }\n";
    world.reload(&once).await.unwrap();
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.attempts()), (503, Some(1)));
    world.reload(&world.yaml).await.unwrap();
    assert_eq!(world.chat().await.status, 200);

    let probing = world.yaml.replace("interval_seconds: 0 }", "interval_seconds: 0.1 }");
    let seen = world.requests("c");
    world.reload(&probing).await.unwrap();
    wait_until("rounds of probes", || world.requests("c") > seen + 2).await;
}

/// A request with so large a body that it holds for ever.
fn hold(world: &World, tasks: &mut JoinSet<()>) {
    let mut body = chat();
    body["messages"][0]["content"] = "x".repeat(700 << 10).into();
    let request = world.request(V1_CHAT).json(&body);
    tasks.spawn(async move { drop(request.send().await) });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_for_bodies_grows_at_once_and_shrinks_as_it_is_given_back() {
    let more = "limits: { body_mib: 1, buffered_mib: 1 }";
    let world = World::of(Setup { more, ..Setup::default() }).await;
    let with = |mib: u32| world.yaml.replace("buffered_mib: 1", &format!("buffered_mib: {mib}"));
    let free = || world.proxy.live().memory().free();
    let held = |count: u64| world.mock.wait_until("a", move |c| c.in_flight == count);
    world.fault("a", Fault::FreezeBeforeHeaders);
    let mut tasks = JoinSet::new();
    hold(&world, &mut tasks);
    held(1).await.unwrap();
    world.reload(&with(4)).await.unwrap();
    for count in 2..=4 {
        hold(&world, &mut tasks);
        held(count).await.unwrap();
    }
    assert!(free() < 4096 - 4 * 700);

    world.reload(&with(1)).await.unwrap();
    assert_eq!(free(), 0, "what was free is gone at once");
    // Up and down once more, while more is held than there may be.
    world.reload(&with(2)).await.unwrap();
    world.reload(&with(1)).await.unwrap();
    assert_eq!(free(), 0);
    tasks.shutdown().await;
    wait_until("nothing in flight", || world.proxy.in_flight() == 0).await;
    wait_until("all of the new limit is free, and no more", || free() == 1024).await;
    world.reload(&with(2)).await.unwrap();
    assert_eq!(free(), 2048);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_vanishes_from_the_scrape() {
    let world = World::plain().await;
    assert_eq!(world.chat().await.backend(), Some("a"));
    let readings = |text: &str| {
        let of_a = |line: &&str| line.starts_with("firstlight_target_") && line.contains("\"a\"");
        text.lines().filter(of_a).count()
    };
    assert!(readings(&world.admin("/metrics").await.1) > 10);
    world.reload(&world.without("a").replace("  other: {}\n", "")).await.unwrap();
    let text = world.admin("/metrics").await.1;
    assert_eq!(readings(&text), 0, "{text}");
    let of_model = |line: &&str| line.starts_with("firstlight_pool_") && line.contains("\"other\"");
    assert_eq!(text.lines().filter(of_model).count(), 0);
    for (series, value) in [
        ("firstlight_config_generation", "2"),
        ("firstlight_config_reloads_total{result=\"applied\"}", "1"),
        ("firstlight_config_last_reload_successful", "1"),
    ] {
        assert_eq!(world.metric(series).await, value, "{series}");
    }
}

/// Asks without a pause until it is told to stop. Gives how many answers it had, all of them whole.
async fn ask(client: Client, url: String, stop: Arc<AtomicBool>) -> usize {
    let mut answers = 0;
    while !stop.load(Relaxed) {
        let request = client.post(&url).header("api-key", KEY).json(&streamed_chat());
        Answer::read(request.send().await.unwrap()).await.assert_whole_stream();
        answers += 1;
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_reloads_under_load_fail_nobody_and_leave_no_task_behind() {
    let world = World::plain().await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = || Handle::current().metrics().num_alive_tasks();
    world.chat().await;
    let mut load = JoinSet::new();
    for _ in 0..4 {
        load.spawn(ask(world.client.clone(), world.url(V1_CHAT), Arc::clone(&stop)));
    }
    let less = [world.without("a"), world.without("b"), world.yaml.clone()];
    for yaml in less.iter().cycle().take(50) {
        let served = world.requests("c") + world.requests("a") + world.requests("b");
        world.reload(yaml).await.unwrap();
        wait_until("requests meet it", || {
            world.requests("c") + world.requests("a") + world.requests("b") > served + 3
        })
        .await;
    }
    stop.store(true, Relaxed);
    let answers: usize = load.join_all().await.into_iter().sum();
    assert!(answers >= 150, "{answers}");
    assert_eq!(world.metric("firstlight_config_generation").await, "51");
    assert_eq!(world.proxy.in_flight(), 0);

    // Every backend has its kept connections by now, which have tasks, too. Reloads add none.
    let before = tasks();
    for yaml in less.iter().cycle().take(50) {
        world.reload(yaml).await.unwrap();
        world.chat().await.assert_whole_stream();
    }
    wait_for("no more tasks than before", || async { (tasks() <= before + 5).then_some(()) }).await;
}
