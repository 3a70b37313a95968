//! Front Door and others in front: who the client is, whether we are well, and whose requests these are.

use crate::support::{Answer, KEY, Setup, V1_CHAT, World, streamed_chat};
use reqwest::RequestBuilder;
use std::time::Duration;

const STATUS: &str = "/status-0123456789abcdef";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn world(more: &'static str) -> World {
    World::of(Setup { more, ..Setup::default() }).await
}

async fn send(request: RequestBuilder) -> Answer {
    Answer::read(request.json(&streamed_chat()).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_who_the_trusted_proxies_saw() {
    const SEEN: &str = "198.51.100.1, 198.51.100.7:4711, 10.9.9.9";
    for (more, expected) in [
        ("", "127.0.0.1"),
        ("trusted_proxies: [10.0.0.0/8]", "127.0.0.1"),
        ("trusted_proxies: [127.0.0.1]", "10.9.9.9"),
        ("trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]", "198.51.100.7"),
    ] {
        let world = world(more).await;
        let answer = send(world.request(V1_CHAT).header("x-forwarded-for", SEEN)).await;
        answer.assert_whole_stream();
        let line = world.log_line(answer.request_id()).await;
        assert_eq!(line["client_ip"], expected, "{more}");
        let sent = world.mock.last_request("a").unwrap().unwrap();
        assert_eq!(sent.header("x-forwarded-for"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_probes_learn_one_word_without_a_key() {
    let world = world("status_path: /status-0123456789abcdef\nfront_door_id: 00000000-0000-0000-0000-00000000000A").await;
    let url = world.url(STATUS);
    let get = || async { Answer::read(world.client.get(&url).send().await.unwrap()).await };
    let well = get().await;
    assert_eq!((well.status, well.text()), (200, "ok\n"));
    assert_eq!(world.client.head(&url).send().await.unwrap().status(), 200);
    let posted =
        world.client.post(&url).header("x-azure-fdid", "00000000-0000-0000-0000-00000000000a");
    assert_eq!(posted.send().await.unwrap().status(), 404);
    let other = world.client.get(world.url("/status-0123456789abcdee"));
    assert_eq!(other.send().await.unwrap().status(), 403, "one that does not know the path");
    world.log_line(&refused_id(&world).await).await;
    let log = world.log_text();
    assert!(!log.contains("\"status\":200"), "a probe was logged: {log}");
    let text = world.admin("/metrics").await.1;
    assert!(!text.contains("code=\"200\""), "a probe was counted");
    // Its connection is kept, and is the one that is asked on while nobody is let in.
    assert_eq!(get().await.status, 200);
    let drain = world.proxy.drain(Duration::from_secs(5));
    let asked = async {
        crate::support::wait_until("it drains", || world.proxy.is_draining()).await;
        get().await.status
    };
    let (_, status) = tokio::join!(drain, asked);
    assert_eq!(status, 503);
}

/// The id of a request that is certainly logged.
async fn refused_id(world: &World) -> String {
    send(world.request(V1_CHAT)).await.request_id().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_path_there_is_none() {
    let world = world("").await;
    assert_eq!(world.client.get(world.url(STATUS)).send().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_our_own_front_door_is_served() {
    const OURS: &str = "0123abcd-0000-0000-0000-00000000000a";
    let world = world("front_door_id: 0123ABCD-0000-0000-0000-00000000000A").await;
    let with = |id: &str| world.request(V1_CHAT).header("x-azure-fdid", id);
    assert_eq!(send(with(OURS)).await.status, 200);
    assert_eq!(send(with(&OURS.to_uppercase())).await.status, 200);
    let others = "0123abcd-0000-0000-0000-00000000000b";
    for request in [world.request(V1_CHAT), with(others), with(OURS).header("x-azure-fdid", others)]
    {
        let answer = send(request).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (403, "front_door_forbidden"));
    }
    assert_eq!(world.requests("a"), 2);
    assert_eq!(world.mock.last_request("a").unwrap().unwrap().header("x-azure-fdid"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_trace_is_passed_on_and_logged_and_no_other() {
    let world = world("").await;
    let valid = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let upper = valid.to_uppercase();
    let twice = [valid.as_str(), valid.as_str()];
    for (given, passes) in
        [(&[valid.as_str()][..], true), (&[upper.as_str()], false), (&[], false), (&twice, false)]
    {
        let mut request = world
            .client
            .post(world.url(V1_CHAT))
            .header("api-key", KEY)
            .header("tracestate", "a=b");
        for one in given {
            request = request.header("traceparent", *one);
        }
        let answer = send(request).await;
        answer.assert_whole_stream();
        let sent = world.mock.last_request("a").unwrap().unwrap();
        let expected = passes.then_some((valid.as_str(), "a=b"));
        assert_eq!(
            sent.header("traceparent").zip(sent.header("tracestate")),
            expected,
            "{given:?}"
        );
        assert!(passes || (sent.header("traceparent"), sent.header("tracestate")) == (None, None));
        let line = world.log_line(answer.request_id()).await;
        assert_eq!(line["trace_id"].as_str(), passes.then_some(TRACE), "{given:?}");
    }
}
