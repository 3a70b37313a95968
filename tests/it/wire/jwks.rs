//! Signing keys come and go, and so does Entra: what becomes of tokens meanwhile.

use crate::support::entra::{app, entra, made_up};
use crate::support::{Setup, World, wait_for, wait_until};
use firstlight::mock::{Beside, Entra, EntraEndpoint, EntraFault, EntraSpec};
use futures_util::future::join_all;
use serde_json::json;
use std::time::Duration;

fn fetched(result: &str) -> String {
    let tenant = EntraSpec::TENANT;
    format!("firstlight_jwks_fetches_total{{result=\"{result}\",tenant=\"{tenant}\"}}")
}

/// Waits until the fetches with this result are so many.
async fn fetched_times(world: &World, result: &str, times: &str) {
    let series = fetched(result);
    wait_for(&series, || async { (world.metric(&series).await == times).then_some(()) }).await;
}

/// Waits until the keys are more than a second older: the service that fetches has looked twice what is due.
async fn looked_twice(world: &World) {
    let series = format!("firstlight_jwks_age_seconds{{tenant=\"{}\"}}", EntraSpec::TENANT);
    let age = async || world.metric(&series).await.parse::<f64>().unwrap();
    let before = age().await;
    wait_for(&series, || async { (age().await > before + 1.0).then_some(()) }).await;
}

async fn assert_unknown(world: &World, token: &str) {
    let answer = world.chat_with(token).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (401, "unknown_signing_key"));
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.ends_with("error_description=\"unknown signing key\""), "{challenge}");
}

async fn served(world: &World, token: &str) {
    wait_for("the token's key", || async {
        (world.chat_with(token).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_old_tokens_are_served_and_new_ones_one_fetch_later() {
    let world = World::of_users().await;
    let old = world.entra().issue(json!({}));
    world.chat_with(&old).await.assert_whole_stream();
    world.entra().rotate().await.unwrap();
    let new = world.entra().issue(json!({}));
    // The answer does not wait for the fetch, which is held up.
    world.entra().set_fault(EntraEndpoint::Keys, EntraFault::Hang).unwrap();
    assert_unknown(&world, &new).await;
    world.entra().wait_until(EntraEndpoint::Keys, |keys| keys.requests == 2).await.unwrap();
    assert_unknown(&world, &new).await;
    world.chat_with(&old).await.assert_whole_stream();
    let uncached = world.entra().issue(json!({ "uti": "another" }));
    assert_unknown(&world, &uncached).await;
    drop(world);

    let world = World::of_users().await;
    let old = world.entra().issue(json!({}));
    world.chat_with(&old).await.assert_whole_stream();
    world.entra().rotate().await.unwrap();
    let new = world.entra().issue(json!({}));
    assert_unknown(&world, &new).await;
    served(&world, &new).await;
    assert_eq!((world.fetches(), world.metric(&fetched("ok")).await.as_str()), (2, "2"));
    for token in [&old, &new] {
        world.chat_with(token).await.assert_whole_stream();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_published_yet_are_no_keys() {
    let world = World::of_users().await;
    world.entra().rotate_ahead().await.unwrap();
    let ahead = world.entra().issue(json!({}));
    assert_unknown(&world, &ahead).await;
    fetched_times(&world, "ok", "2").await;
    assert_unknown(&world, &ahead).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_key_ids_bring_about_one_fetch() {
    let world = World::of_users().await;
    let good = world.entra().issue(json!({}));
    let flood = async |from: u32| {
        let tokens = (from..from + 200).map(|n| made_up(world.entra(), &format!("made-up-{n}")));
        let tokens: Vec<String> = tokens.collect();
        for some in tokens.chunks(20) {
            join_all(some.iter().map(|token| assert_unknown(&world, token))).await;
            world.chat_with(&good).await.assert_whole_stream();
        }
    };
    flood(0).await;
    fetched_times(&world, "ok", "2").await;
    flood(200).await;
    looked_twice(&world).await;
    assert_eq!(world.fetches(), 2, "the first and one more");
    let failures = "firstlight_auth_failures_total{reason=\"unknown_signing_key\"}";
    assert_eq!(world.metric(failures).await, "400");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_withdrawn_ends_what_was_verified_with_it() {
    let world = World::of_users().await;
    let old = world.entra().issue(json!({}));
    world.chat_with(&old).await.assert_whole_stream();
    world.entra().rotate().await.unwrap();
    world.entra().retire_old();
    world.chat_with(&old).await.assert_whole_stream();
    let new = world.entra().issue(json!({}));
    assert_unknown(&world, &new).await;
    served(&world, &new).await;
    assert_unknown(&world, &old).await;
    assert_eq!(world.fetches(), 2);
}

/// A world that has its keys, and whose fetches go wrong from now on; one of them is under way or has failed.
async fn troubled(endpoint: EntraEndpoint, fault: EntraFault) -> World {
    let world = World::of_users().await;
    let known = world.entra().issue(json!({ "uti": "known" }));
    world.chat_with(&known).await.assert_whole_stream();
    world.entra().set_fault(endpoint, fault).unwrap();
    assert_unknown(&world, &made_up(world.entra(), "made-up")).await;
    world.entra().wait_until(endpoint, |counted| counted.requests == 2).await.unwrap();
    for token in [known, world.entra().issue(json!({ "uti": "fresh" }))] {
        world.chat_with(&token).await.assert_whole_stream();
    }
    world
}

/// A fetch fails, nobody notices, and it is well again by itself with the next try.
async fn check_unnoticed((endpoint, fault): (EntraEndpoint, EntraFault)) {
    let world = troubled(endpoint, fault).await;
    let failed = fetched("failed");
    wait_for(&failed, || async { (world.metric(&failed).await != "0").then_some(()) }).await;
    let fresh = world.entra().issue(json!({ "uti": "after" }));
    world.chat_with(&fresh).await.assert_whole_stream();
    assert_eq!(world.metric(&fetched("ok")).await, "1", "{endpoint:?} {fault:?}");
    world.entra().set_fault(endpoint, EntraFault::None).unwrap();
    fetched_times(&world, "ok", "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_notices_that_the_keys_cannot_be_fetched() {
    let keys = [
        EntraFault::Down,
        EntraFault::Garbage,
        EntraFault::Huge,
        EntraFault::Status(500),
        EntraFault::Status(404),
        EntraFault::EmptyKeys,
        EntraFault::WrongIssuer,
    ];
    let discovery =
        [EntraFault::Down, EntraFault::WrongIssuer, EntraFault::Garbage, EntraFault::Huge];
    let keys = keys.map(|fault| (EntraEndpoint::Keys, fault));
    let discovery = discovery.map(|fault| (EntraEndpoint::Discovery, fault));
    join_all(keys.into_iter().chain(discovery).map(check_unnoticed)).await;
}

/// A hundred are served while a fetch has no end.
async fn check_nobody_waits(endpoint: EntraEndpoint, fault: EntraFault) {
    let world = troubled(endpoint, fault).await;
    let fresh = (0..100).map(|n| world.entra().issue(json!({ "uti": n.to_string() })));
    let fresh: Vec<String> = fresh.collect();
    for answer in join_all(fresh.iter().map(|token| world.chat_with(token))).await {
        answer.assert_whole_stream();
    }
    assert_eq!(world.entra().counters(endpoint).requests, 2, "one at a time");
    assert_eq!(world.entra().counters(endpoint).completed, 1, "{endpoint:?} {fault:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_fetch_that_takes_long() {
    let slow = EntraFault::Slow(Duration::from_hours(1));
    for endpoint in [EntraEndpoint::Keys, EntraEndpoint::Discovery] {
        for fault in [EntraFault::Hang, slow] {
            check_nobody_waits(endpoint, fault).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_as_good() {
    let world = World::of_users().await;
    world.entra().rotate().await.unwrap();
    let new = world.entra().issue(json!({}));
    let slow = EntraFault::Slow(Duration::from_millis(300));
    world.entra().set_fault(EntraEndpoint::Keys, slow).unwrap();
    assert_unknown(&world, &new).await;
    served(&world, &new).await;
    assert_eq!(world.fetches(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_keys_tokens_wait_for_them_and_keys_of_apps_do_not() {
    let entra: Entra = entra().await;
    entra.set_fault(EntraEndpoint::Keys, EntraFault::Down).unwrap();
    let beside = Beside { entra: Some(entra.clone()), imds: None };
    let setup = Setup { apps: app("users", ""), beside, ..Setup::default() };
    let world = World::of(setup).await;
    entra.wait_until(EntraEndpoint::Keys, |keys| keys.faulted > 0).await.unwrap();
    let token = entra.issue(json!({}));
    let answer = world.chat_with(&token).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "no_signing_keys"));
    assert_eq!(answer.json()["error"]["type"], "server_error");
    assert_eq!(answer.header("retry-after"), Some("5"));
    let line = world.log_line(answer.request_id()).await;
    assert_eq!((&line["status"], &line["code"]), (&json!(503), &json!("no_signing_keys")));
    let failures = "firstlight_auth_failures_total{reason=\"no_signing_keys\"}";
    assert_eq!(world.metric(failures).await, "1");
    world.chat().await.assert_whole_stream();
    assert_eq!(world.admin("/readyz").await.0, 200);
    entra.set_fault(EntraEndpoint::Keys, EntraFault::None).unwrap();
    served(&world, &token).await;
    wait_until("a good fetch", || entra.counters(EntraEndpoint::Keys).completed == 1).await;
}
