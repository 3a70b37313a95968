//! Tokens of Entra ID at the front door: who is served, who is refused and what they are told.

use crate::support::entra::{app, made_up};
use crate::support::{Answer, KEY, Setup, V1_CHAT, World, chat, streamed_chat};
use firstlight::clock::Clock;
use firstlight::mock::EntraSpec;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

const OTHER_TENANT: &str = "0a0b0c0d-1111-4222-8333-444455556666";
const OTHER_CLIENT: &str = "0a0b0c0d-5555-4666-8777-888899990000";

/// Nothing of a token in the log, not even a part of it.
fn assert_hidden(world: &World, token: &str) {
    let log = world.log_text();
    for part in token.split('.').filter(|part| part.len() >= 8) {
        assert!(!log.contains(part.get(..24).unwrap_or(part)), "{log}");
    }
}

/// A refusal: in the shape of OpenAI, with its challenge, in the log and in the metric, and nothing of the token.
async fn check_refused(world: &World, token: &str, expected: (u16, &str, &str)) {
    let (status, code, description) = expected;
    let answer = world.chat_with(token).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{description}");
    let error = answer.json()["error"].clone();
    assert_eq!((&error["type"], &error["param"]), (&json!("invalid_request_error"), &Value::Null));
    assert!(error["message"].as_str().unwrap().contains(description), "{error}");
    let kind = if status == 401 { "invalid_token" } else { "insufficient_scope" };
    let challenge = format!(
        "Bearer realm=\"firstlight\", error=\"{kind}\", error_description=\"{description}\""
    );
    assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
    let line = world.log_line(answer.request_id()).await;
    assert_eq!((&line["status"], &line["code"]), (&json!(status), &json!(code)));
    assert_eq!((&line["term"], &line["app"]), (&json!("refused"), &Value::Null));
    // Who a genuine token names is told, and what a forged one says is not.
    let (auth, tenant) = match status {
        403 => (json!("jwt"), json!(EntraSpec::TENANT)),
        _ => (Value::Null, Value::Null),
    };
    assert_eq!((&line["auth"], &line["tenant"]), (&auth, &tenant));
    assert_eq!(line["object_id"].is_string(), status == 403);
    let series = format!("firstlight_auth_failures_total{{reason=\"{code}\"}}");
    assert_ne!(world.metric(&series).await, "0", "{series}");
    assert_hidden(world, token);
}

async fn served_app(world: &World, token: &str) -> Value {
    let answer = world.chat_with(token).await;
    answer.assert_whole_stream();
    world.log_line(answer.request_id()).await["app"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_both_versions_are_served_and_logged() {
    let world = World::of_users().await;
    for version in ["1.0", "2.0"] {
        let token = world.entra().issue(json!({ "ver": version }));
        // The second time it is known.
        for _ in 0..2 {
            let answer = world.chat_with(&token).await;
            answer.assert_whole_stream();
            let line = world.log_line(answer.request_id()).await;
            let told = ["app", "auth", "tenant", "object_id", "client_id", "key_id", "code"];
            assert_eq!(
                told.map(|name| line[name].as_str()),
                [
                    Some("users"),
                    Some("jwt"),
                    Some(EntraSpec::TENANT),
                    Some(EntraSpec::OBJECT),
                    Some(EntraSpec::CLIENT),
                    None,
                    None
                ]
            );
            let sent = world.mock.last_request("a").unwrap().unwrap();
            assert_eq!(sent.header("authorization"), None);
            assert!(sent.headers.iter().all(|(_, value)| !value.contains("eyJ")), "{sent:?}");
        }
        assert_hidden(&world, &token);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_get_401_and_are_told_why() {
    let world = World::of_users().await;
    let entra = world.entra();
    let now = Clock::start().unix().as_secs();
    let good = entra.issue(json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let turned: String = signature.chars().rev().collect();
    let header = |header: Value| entra.issue_with(header, json!({}));
    let issuer = |tenant: &str| format!("{}/{tenant}/v2.0", entra.authority());
    let cases = [
        (
            entra.issue(json!({ "aud": "api://another" })),
            "wrong_audience",
            "the token is for another audience",
        ),
        (
            entra.issue(json!({ "aud": [EntraSpec::API.to_uppercase()] })),
            "wrong_audience",
            "the token is for another audience",
        ),
        (
            entra.issue(json!({ "tid": OTHER_TENANT })),
            "unknown_issuer",
            "the issuer of the token is not accepted",
        ),
        (
            entra.issue(json!({ "tid": OTHER_TENANT, "iss": issuer(EntraSpec::TENANT) })),
            "wrong_tenant",
            "the tenant of the token is not that of its issuer",
        ),
        (
            entra.issue(json!({ "ver": "1.0", "iss": issuer(EntraSpec::TENANT) })),
            "wrong_version",
            "the version of the token is not that of its issuer",
        ),
        (entra.issue(json!({ "exp": now - 120 })), "expired", "the token has expired"),
        (entra.issue(json!({ "nbf": now + 600 })), "not_yet_valid", "the token is not valid yet"),
        (
            entra.issue(json!({ "nbf": (now - 60).to_string() })),
            "bad_claim",
            "a claim of the token is missing or has the wrong type",
        ),
        (header(json!({ "alg": "none" })), "wrong_algorithm", "the token is not signed with RS256"),
        (
            header(json!({ "alg": "HS256" })),
            "wrong_algorithm",
            "the token is not signed with RS256",
        ),
        (
            header(json!({ "jku": entra.authority() })),
            "forbidden_header",
            "the token header has a parameter that is not accepted",
        ),
        (made_up(entra, "nobody's"), "unknown_signing_key", "unknown signing key"),
        (format!("{signed}.{turned}"), "bad_signature", "the signature of the token is wrong"),
        (format!("{signed}."), "bad_signature", "the signature of the token is wrong"),
        (
            entra.issue(json!({ "padding": "x".repeat(20 * 1024) })),
            "token_too_long",
            "the token is too long",
        ),
    ];
    for (token, code, description) in cases {
        check_refused(&world, &token, (401, code, description)).await;
    }
    assert!(["a", "b", "c"].iter().all(|region| world.requests(region) == 0));
    world.chat_with(&good).await.assert_whole_stream();
}

#[tokio::test(flavor = "multi_thread")]
async fn genuine_tokens_without_the_permission_get_403() {
    let world = World::of_users().await;
    let entra = world.entra();
    let lacks = "the token lacks a required role or scope";
    let cases = [
        (json!({ "roles": null }), "no_permission", "the token has neither roles nor scopes"),
        (json!({ "roles": [] }), "no_permission", "the token has neither roles nor scopes"),
        (json!({ "roles": ["Other", "llm.invoke"] }), "missing_role", lacks),
        (json!({ "roles": null, "scp": "LLM.Invoke openid" }), "missing_role", lacks),
        (json!({ "roles": ["Probe.Execute"] }), "missing_role", lacks),
    ];
    for (claims, code, description) in cases {
        // Twice: what is genuine is remembered, what it permits is not.
        for _ in 0..2 {
            check_refused(&world, &entra.issue(claims.clone()), (403, code, description)).await;
        }
    }
    assert_eq!(world.requests("a"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn delegated_tokens_are_served_where_the_app_has_their_scope() {
    let apps = app("users", ", scopes: [access_as_user]");
    let world = World::of_apps(apps, Setup::default()).await;
    world.keys_known().await;
    let delegated = |scp: &str| world.entra().issue(json!({ "roles": null, "scp": scp }));
    assert_eq!(served_app(&world, &delegated("openid access_as_user")).await, "users");
    let lacks = (403, "missing_role", "the token lacks a required role or scope");
    check_refused(&world, &delegated("openid access_as_users"), lacks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_credential_in_one_header_is_taken() {
    let world = World::of_users().await;
    let token = world.entra().issue(json!({}));
    let bearer = format!("Bearer {token}");
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = world.client.post(world.url(V1_CHAT)).json(&streamed_chat());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(request.send().await.unwrap()).await
    };
    let authorization = AUTHORIZATION.as_str();
    let key = format!("Bearer {KEY}");
    for headers in [
        [(authorization, bearer.as_str()), (authorization, &bearer)],
        [(authorization, &bearer), (authorization, &key)],
        [(authorization, &key), (authorization, &bearer)],
        [(authorization, &bearer), ("api-key", KEY)],
    ] {
        let answer = ask(&headers).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (400, "ambiguous_credential"));
    }
    assert_eq!(ask(&[("api-key", &token)]).await.status, 401, "a token is no key");
    assert_eq!(ask(&[(authorization, &format!("Basic {token}"))]).await.status, 400);
    assert_eq!(world.requests("a"), 0);
    ask(&[(authorization, &bearer), ("api-key", "")]).await.assert_whole_stream();
    assert_hidden(&world, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_probe_says_where_a_request_goes() {
    let world = World::of_users().await;
    let ask = async |roles: &[&str], target: &str| {
        let token = world.entra().issue(json!({ "roles": roles }));
        let request = world.client.post(world.url(V1_CHAT)).bearer_auth(token);
        let request = request.header("x-probe-target", target).json(&streamed_chat());
        Answer::read(request.send().await.unwrap()).await
    };
    let both = ["LLM.Invoke", "Probe.Execute"];
    for region in ["c", "b"] {
        assert_eq!(ask(&both, region).await.backend(), Some(region));
        let sent = world.mock.last_request(region).unwrap().unwrap();
        assert_eq!(sent.header("x-probe-target"), None);
    }
    let nowhere = ask(&both, "http://elsewhere.example").await;
    assert_eq!((nowhere.status, nowhere.error_code().as_str()), (400, "unknown_probe_target"));
    assert_eq!(ask(&["Probe.Execute"], "b").await.status, 403, "it is no role of its own");
    let plain = ask(&["LLM.Invoke"], "b").await;
    assert_eq!((plain.status, plain.backend()), (200, Some("a")));
    assert_eq!(world.mock.last_request("a").unwrap().unwrap().header("x-probe-target"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_application_decides_which_app_it_is() {
    let named = app("named", &format!(", clients: [{}]", EntraSpec::CLIENT));
    let embedder = app("any", "") + "    models: [text-embedding-3-large]\n";
    let world = World::of_apps(named + &embedder, Setup::default()).await;
    world.keys_known().await;
    let entra = world.entra();
    assert_eq!(served_app(&world, &entra.issue(json!({}))).await, "named");
    assert_eq!(served_app(&world, &entra.issue(json!({ "ver": "1.0" }))).await, "named");
    // Another client is the app that names none, which may use another model.
    for claims in [json!({ "azp": OTHER_CLIENT }), json!({ "ver": "1.0", "appid": OTHER_CLIENT })] {
        let token = entra.issue(claims);
        let answer = world.chat_with(&token).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (403, "model_forbidden"));
        let line = world.log_line(answer.request_id()).await;
        assert_eq!((&line["app"], &line["client_id"]), (&json!("any"), &json!(OTHER_CLIENT)));
        let request = world.client.post(world.url("/openai/v1/embeddings")).bearer_auth(&token);
        let body = json!({ "model": "text-embedding-3-large", "input": "x" });
        assert_eq!(Answer::read(request.json(&body).send().await.unwrap()).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_no_app_names_is_refused() {
    let apps = app("named", &format!(", clients: [{}]", EntraSpec::CLIENT));
    let world = World::of_apps(apps, Setup::default()).await;
    world.keys_known().await;
    let refused = (403, "client_not_permitted", "the client application is not permitted");
    let other = world.entra().issue(json!({ "azp": OTHER_CLIENT }));
    check_refused(&world, &other, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_takes_a_role_away_revokes_what_was_verified() {
    let world = World::of_users().await;
    let token = world.entra().issue(json!({}));
    assert_eq!(served_app(&world, &token).await, "users");
    let yaml = world.yaml.clone();
    let users = app("users", "");
    assert!(yaml.contains(&users), "{yaml}");
    world.reload(&yaml.replace(&users, &app("users", ", roles: [Chosen.Few]"))).await.unwrap();
    let lacks = (403, "missing_role", "the token lacks a required role or scope");
    check_refused(&world, &token, lacks).await;
    assert_eq!(world.fetches(), 1, "a reload keeps the signing keys");
    world.reload(&yaml.replace(&users, "")).await.unwrap();
    let answer = world.chat_with(&token).await;
    assert_eq!(answer.status, 401, "no app takes tokens: {}", answer.text());
    world.reload(&yaml).await.unwrap();
    assert_eq!(served_app(&world, &token).await, "users", "at once, with keys");
    // A body that is not read costs the token nothing.
    let request = world.client.post(world.url(V1_CHAT)).bearer_auth(&token).json(&chat());
    assert_eq!(Answer::read(request.send().await.unwrap()).await.status, 200);
}
