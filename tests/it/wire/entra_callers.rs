//! What backends are told of the caller, and keys that end.

use crate::support::entra::app;
use crate::support::{Answer, BACKEND_KEY, KEY, Setup, V1_CHAT, World, hash, streamed_chat};
use firstlight::mock::EntraSpec;
use reqwest::RequestBuilder;
use serde_json::json;

const NAMES: [&str; 5] = [
    "x-caller-app",
    "x-caller-tenant-id",
    "x-caller-object-id",
    "x-caller-client-id",
    "caller-objectid",
];
const FILES: &str = "/openai/v1/files";

async fn world(more: &'static str) -> World {
    let world = World::of_apps(app("users", ""), Setup { more, ..Setup::default() }).await;
    world.keys_known().await;
    world
}

/// A request that claims to come from somebody else, and wants what we add to be dropped. (With
/// underscores it would not pass the gate.)
fn forged(request: RequestBuilder) -> RequestBuilder {
    let request = request.header("connection", format!("keep-alive, {}", NAMES.join(", ")));
    NAMES.iter().fold(request, |request, name| {
        request.header(*name, "forged").header(*name, "forged twice")
    })
}

/// What the backend was told last, by the names above.
fn told(world: &World) -> [Option<String>; 5] {
    let sent = world.mock.last_request("a").unwrap().unwrap();
    assert!(sent.headers.iter().all(|(_, value)| !value.contains("forged")), "{sent:?}");
    assert_eq!(sent.header("api-key"), Some(BACKEND_KEY));
    NAMES.map(|name| {
        let values: Vec<_> = sent.headers.iter().filter(|(known, _)| known == name).collect();
        assert!(values.len() <= 1, "{values:?}");
        values.first().map(|(_, value)| value.clone())
    })
}

/// What the backend is told of requests with a token and with a key, on a route with a body and on one without.
async fn check_told(world: &World, by_token: [Option<&str>; 5], by_key: [Option<&str>; 5]) {
    let token = world.entra().issue(json!({ "sub": "pairwise-subject" }));
    for path in [V1_CHAT, FILES] {
        let ask = || match path {
            FILES => world.client.get(world.url(path)),
            _ => world.client.post(world.url(path)).json(&streamed_chat()),
        };
        for (request, expected) in
            [(ask().bearer_auth(&token), by_token), (ask().header("api-key", KEY), by_key)]
        {
            let answer = Answer::read(forged(request).send().await.unwrap()).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert_eq!(told(world), expected.map(|value| value.map(str::to_owned)), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_learn_who_asks_and_nobody_can_forge_it() {
    let world = world("caller: { headers: true, id: oid }").await;
    let (tenant, object) = (Some(EntraSpec::TENANT), Some(EntraSpec::OBJECT));
    let by_token = [Some("users"), tenant, object, Some(EntraSpec::CLIENT), object];
    check_told(&world, by_token, [Some("tests"), None, None, None, None]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_alone_may_be_told_and_may_be_the_subject() {
    let world = world("caller: { id: sub }").await;
    let by_token = [None, None, None, None, Some("pairwise-subject")];
    check_told(&world, by_token, [None; 5]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_in_the_configuration_nothing_is_told() {
    let world = world("").await;
    check_told(&world, [None; 5], [None; 5]).await;
}

/// A claim that could break a header is not told, and the request is served all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_cannot_smuggle_a_header() {
    let world = world("caller: { headers: true, id: oid }").await;
    for oid in ["x\r\nx-caller-app: admin", "två", "", " "] {
        let token = world.entra().issue(json!({ "oid": oid }));
        world.chat_with(&token).await.assert_whole_stream();
        let client = Some(EntraSpec::CLIENT);
        let expected = [Some("users"), Some(EntraSpec::TENANT), None, client, None];
        assert_eq!(told(&world), expected.map(|value| value.map(str::to_owned)), "{oid:?}");
    }
}

async fn by_key(world: &World, key: &str) -> (u16, Option<String>) {
    let request = world.client.post(world.url(V1_CHAT)).header("api-key", key);
    let answer = Answer::read(request.json(&streamed_chat()).send().await.unwrap()).await;
    let refused = (answer.status != 200).then(|| answer.error_code());
    if answer.status == 401 {
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"firstlight\""));
    }
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["code"].as_str(), refused.as_deref());
    (answer.status, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_live_side_by_side_until_one_ends_or_is_taken_away() {
    let key = |key: &str, name: &str, more: &str| {
        format!("      - {{ sha256: {}, name: {name}{more} }}\n", hash(key))
    };
    let (old, new) = (key("old-key", "old", ""), key("new-key", "new", ", expires: 2999-12-31"));
    let over = key("over-key", "over", ", expires: 2020-02-29");
    let apps = format!("  both:\n    api_keys:\n{old}{new}{over}");
    let world = World::of_apps(apps + &app("users", ""), Setup::default()).await;
    let refused = |code: &str| (401, Some(code.to_owned()));
    assert_eq!(by_key(&world, "old-key").await, (200, None));
    assert_eq!(by_key(&world, "new-key").await, (200, None));
    assert_eq!(by_key(&world, "over-key").await, refused("expired_api_key"));
    let line = world.log_text();
    let line = line.lines().find(|line| line.contains("expired_api_key")).unwrap();
    assert!(line.contains("\"key_name\":\"over\"") && line.contains("\"app\":null"), "{line}");
    assert_eq!(by_key(&world, "no-key").await, refused("invalid_api_key"));
    let expired = "firstlight_auth_failures_total{reason=\"expired_api_key\"}";
    assert_eq!(world.metric(expired).await, "1");
    world.reload(&world.yaml.replace(&old, "")).await.unwrap();
    assert_eq!(by_key(&world, "old-key").await, refused("invalid_api_key"));
    assert_eq!(by_key(&world, "new-key").await, (200, None));
    let ended = key("new-key", "new", ", expires: 2020-12-31");
    world.reload(&world.yaml.replace(&new, &ended)).await.unwrap();
    assert_eq!(by_key(&world, "new-key").await, refused("expired_api_key"));
    assert_eq!(by_key(&world, "old-key").await, (200, None));
}
