//! Tiers, weights and seats over the wire: what the backends really served.

use crate::support::{Answer, Setup, Streamed, V1_CHAT, World, chat, streamed_chat, wait_for};
use firstlight::mock::{Behaviour, Fault};
use futures_util::future::join_all;

/// Two backends, the first of which is preferred, with these keys.
async fn world(behaviour: Behaviour, keys: [&str; 2]) -> World {
    let setup = Setup { regions: vec!["a", "b"], behaviour, ..Setup::default() };
    let world = World::of(setup).await;
    let mut yaml = world.yaml.clone();
    for (tier, keys) in ["tier: 0", "tier: 1"].into_iter().zip(keys).rev() {
        assert!(yaml.contains(tier), "{yaml}");
        yaml = yaml.replacen(tier, keys, 1);
    }
    world.reload(&yaml).await.unwrap();
    world
}

/// A stream that has begun and does not end.
async fn open(world: &World) -> (Streamed, String) {
    let response = world.request(V1_CHAT).json(&streamed_chat()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let backend = response.headers()["x-firstlight-backend"].to_str().unwrap().to_owned();
    let mut stream = Streamed::of(response);
    assert!(stream.next().await.is_some());
    (stream, backend)
}

fn endless() -> Behaviour {
    Behaviour { gap_ms: 3_600_000.0, ..Behaviour::instant() }
}

/// What is not streamed teaches nothing about speed, so that nothing but the weights decides.
#[tokio::test(flavor = "multi_thread")]
async fn three_quarters_are_served_by_the_one_and_a_quarter_by_the_other() {
    let keys = ["tier: 1, weight: 75", "tier: 1, weight: 25"];
    let world = world(Behaviour::instant(), keys).await;
    for _ in 0..20 {
        let body = chat();
        let all = join_all((0..20).map(|_| world.post(V1_CHAT, &body))).await;
        assert!(all.iter().all(|answer| answer.status == 200));
    }
    let served = (world.requests("a"), world.requests("b"));
    assert_eq!(served.0 + served.1, 400);
    // 300, and four and a half standard deviations of 8.7.
    assert!((261..=339).contains(&served.0), "{served:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backend_spills_until_there_is_room_and_nothing_is_queued_when_all_are_full() {
    let keys = ["tier: 0, max_in_flight: 2", "tier: 1, max_in_flight: 1"];
    let world = world(endless(), keys).await;
    let (first, at_first) = open(&world).await;
    let (second, at_second) = open(&world).await;
    let (third, at_third) = open(&world).await;
    assert_eq!([at_first, at_second, at_third], ["a", "a", "b"]);

    let answer = world.chat().await;
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "overloaded"));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=4).contains(&wait), "{wait}");
    assert_eq!(world.metric("firstlight_shed_total{reason=\"targets\"}").await, "1");
    let series = "firstlight_target_under_way{backend=\"a\",model=\"gpt-4o\"}";
    assert_eq!(world.metric(series).await, "2");
    assert_eq!((world.requests("a"), world.requests("b")), (2, 1));

    drop(second);
    wait_for("a seat", || async { (world.metric(series).await == "1").then_some(()) }).await;
    let (again, at) = open(&world).await;
    assert_eq!(at, "a", "back as soon as there is room");
    drop((first, third, again));
}

/// An answer that is not streamed takes a seat as well, from its dispatch on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_streamed_takes_a_seat() {
    let keys = ["tier: 0, max_in_flight: 1", "tier: 1"];
    let world = world(Behaviour::instant(), keys).await;
    world.fault("a", Fault::FreezeBeforeHeaders);
    let waiting = tokio::spawn(world.request(V1_CHAT).json(&chat()).send());
    world.mock.wait_until("a", |counters| counters.in_flight == 1).await.unwrap();
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_eq!(answer.backend(), Some("b"));
    // The client leaves, and its seat is free.
    waiting.abort();
    world.fault("a", Fault::None);
    let served_by_a = || async {
        let answer: Answer = world.chat().await;
        (answer.backend() == Some("a")).then_some(())
    };
    wait_for("an answer of a", served_by_a).await;
}

/// The seat is free when the client has the whole answer, on any connection.
#[tokio::test(flavor = "multi_thread")]
async fn one_after_the_other_needs_one_seat() {
    let keys = ["tier: 0, max_in_flight: 1", "tier: 1"];
    let world = world(Behaviour::instant(), keys).await;
    for n in 0..30 {
        let body = if n % 2 == 0 { streamed_chat() } else { chat() };
        let answer = world.post(V1_CHAT, &body).await;
        assert_eq!((answer.status, answer.backend()), (200, Some("a")), "{n}");
    }
}
