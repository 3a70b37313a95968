//! A client that leaves takes its upstream request with it: tokens cost money.

use crate::support::{Setup, Streamed, V1_CHAT, World, chat, streamed_chat};
use firstlight::mock::{Behaviour, Fault};
use serde_json::Value;

/// Sends, waits until the backend has the request, leaves, and waits for the backend to notice.
async fn check(fault: Fault, body: Value) {
    let world = World::plain().await;
    world.fault("a", fault);
    let request = world.request(V1_CHAT).json(&body).send();
    let waiting = tokio::spawn(request);
    world.mock.wait_until("a", |c| c.in_flight == 1).await.unwrap();
    waiting.abort();
    let counters = world.mock.wait_until("a", |c| c.cancelled_by_client == 1).await.unwrap();
    assert_eq!(counters.in_flight, 0);
    assert_eq!(world.requests("b") + world.requests("c"), 0, "nobody waits for another attempt");
    crate::support::wait_until("nothing in flight", || world.proxy.in_flight() == 0).await;
    let line: Value = serde_json::from_str(world.log_text().lines().last().unwrap()).unwrap();
    assert_eq!(line["term"], "client_abort", "{line}");
    assert_eq!(line["attempts"][0]["outcome"], "client_abort", "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_token_wherever_it_hangs() {
    check(Fault::FreezeBeforeHeaders, streamed_chat()).await;
    check(Fault::FreezeAfterHeaders, streamed_chat()).await;
    check(Fault::FreezeAfterRole, streamed_chat()).await;
    check(Fault::FreezeBeforeHeaders, chat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_stream() {
    let behaviour = Behaviour { gap_ms: 3_600_000.0, ..Behaviour::instant() };
    let world = World::of(Setup { behaviour, ..Setup::default() }).await;
    let response = world.request(V1_CHAT).json(&streamed_chat()).send().await.unwrap();
    let mut stream = Streamed::of(response);
    assert!(stream.next().await.is_some());
    drop(stream);
    world.mock.wait_until("a", |c| c.cancelled_by_client == 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_h2_where_one_stream_ends_and_the_connection_stays() {
    let world = World::plain().await;
    world.fault("a", Fault::FreezeAfterRole);
    let client = crate::support::client(reqwest::ClientBuilder::http2_prior_knowledge);
    let request = client.post(world.url(V1_CHAT)).header("api-key", crate::support::KEY);
    let waiting = tokio::spawn(request.json(&streamed_chat()).send());
    world.mock.wait_until("a", |c| c.in_flight == 1).await.unwrap();
    waiting.abort();
    world.mock.wait_until("a", |c| c.cancelled_by_client == 1).await.unwrap();
}
