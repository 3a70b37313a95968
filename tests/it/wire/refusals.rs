//! What is refused, how it is told, and that nothing of the client's crosses that must not.

use crate::support::{
    Answer, BACKEND_KEY, KEY, PROBE_KEY, Setup, V1_CHAT, World, streamed_chat, wait_until,
};
use firstlight::mock::Fault;
use firstlight::routing::Block;
use serde_json::{Value, json};

const DEPLOYMENT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";

async fn check(world: &World, path: &str, body: &str, expected: (u16, &str)) {
    let request =
        world.request(path).header("content-type", "application/json").body(body.to_owned());
    let answer = Answer::read(request.send().await.unwrap()).await;
    assert_eq!((answer.status, answer.error_code().as_str()), expected, "{path} {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_a_clear_answer() {
    let world = World::plain().await;
    let good = streamed_chat().to_string();
    let unknown = good.replace("gpt-4o", "gpt-9");
    let other = good.replace("gpt-4o", "other");
    for (path, body, expected) in [
        (V1_CHAT, unknown.as_str(), (404, "DeploymentNotFound")),
        (
            "/openai/deployments/gpt-9/chat/completions?api-version=1",
            good.as_str(),
            (404, "DeploymentNotFound"),
        ),
        (V1_CHAT, other.as_str(), (403, "model_forbidden")),
        (V1_CHAT, "", (400, "invalid_json")),
        (V1_CHAT, "{", (400, "invalid_json")),
        (V1_CHAT, "[]", (400, "invalid_json")),
        (V1_CHAT, "{\"messages\":[]}", (400, "missing_model")),
        (DEPLOYMENT, "nonsense", (400, "invalid_json")),
        (V1_CHAT, r#"{"model":"gpt-4o","model":"other"}"#, (400, "duplicate_key")),
        (V1_CHAT, r#"{"model":"gpt-4o","mod\u0065l":"other"}"#, (400, "duplicate_key")),
        (V1_CHAT, r#"{"model":"gpt-4o","stream":true,"stream":false}"#, (400, "duplicate_key")),
        (V1_CHAT, r#"{"model":"gpt-4o","store":true,"store":false}"#, (400, "duplicate_key")),
        (V1_CHAT, r#"{"model":7}"#, (400, "invalid_type")),
        ("/openai/v1/nothing", "{}", (404, "unknown_path")),
        ("/", "{}", (404, "unknown_path")),
        (
            "/openai/deployments/gpt-4o/chat/completions",
            good.as_str(),
            (404, "missing_api_version"),
        ),
        ("/openai/v1/models", "{}", (405, "method_not_allowed")),
        ("/openai/v1/chat/completions?api-key=abc", good.as_str(), (400, "credential_in_url")),
        ("/openai//v1/chat/completions", good.as_str(), (400, "bad_path")),
    ] {
        check(&world, path, body, expected).await;
    }
    assert_eq!(
        world.requests("a") + world.requests("b") + world.requests("c"),
        0,
        "nothing reached a backend"
    );
    world.chat().await.assert_whole_stream();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_asked_for_and_checked() {
    let world = World::plain().await;
    let ask = |headers: Vec<(&'static str, String)>| {
        let mut request = world.client.post(world.url(V1_CHAT)).json(&streamed_chat());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        async { Answer::read(request.send().await.unwrap()).await }
    };
    for (headers, status, code) in [
        (vec![], 401, "missing_api_key"),
        (vec![("api-key", "wrong".to_owned())], 401, "invalid_api_key"),
        (vec![("authorization", "Bearer wrong".to_owned())], 401, "invalid_api_key"),
        (vec![("authorization", format!("Basic {KEY}"))], 400, "ambiguous_credential"),
        (
            vec![("api-key", KEY.to_owned()), ("authorization", "Bearer x".to_owned())],
            400,
            "ambiguous_credential",
        ),
        (vec![("api-key", BACKEND_KEY.to_owned())], 401, "invalid_api_key"),
    ] {
        let answer = ask(headers).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (status, code));
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
    ask(vec![("authorization", format!("Bearer {KEY}"))]).await.assert_whole_stream();
    ask(vec![("api-key", KEY.to_owned()), ("authorization", format!("Bearer {KEY}"))])
        .await
        .assert_whole_stream();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_allowed_reaches_a_backend() {
    let world = World::plain().await;
    let request = world
        .request(V1_CHAT)
        .header("cookie", "session=secret")
        .header("x-forwarded-for", "1.2.3.4")
        .header("x-stainless-lang", "python")
        .header("x-ms-spillover-deployment", "other")
        .header("x-anything", "1")
        .header("connection", "api-key, x-ms-client-request-id")
        .header("x-probe-target", "b")
        .header("x-ms-client-request-id", "mine")
        .json(&streamed_chat());
    let answer = Answer::read(request.send().await.unwrap()).await;
    answer.assert_whole_stream();
    assert_eq!(
        answer.backend(),
        Some("a"),
        "X-Probe-Target of an app that may not probe is dropped"
    );
    let seen = world.mock.last_request("a").unwrap().unwrap();
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let allowed = [
        "accept",
        "api-key",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-ms-client-request-id",
    ];
    assert!(names.iter().all(|name| allowed.contains(name)), "{names:?}");
    assert_eq!(seen.header("api-key"), Some(BACKEND_KEY));
    assert_eq!(seen.header("x-ms-client-request-id"), Some("mine"));
    assert!(seen.headers.iter().all(|(_, value)| !value.contains(KEY)), "the client's key crossed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_kept_if_it_is_a_plain_word() {
    let world = World::plain().await;
    for (given, kept) in
        [("abc-1.2_3", true), ("two words", false), (&"x".repeat(129), false), ("<b>", false)]
    {
        let request = world.request(V1_CHAT).header("x-request-id", given).json(&streamed_chat());
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert_eq!(answer.request_id() == given, kept, "{given}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_may_probe_names_its_backend_and_nothing_else() {
    let world = World::plain().await;
    let probe = |target: &'static str| {
        let request = world.client.post(world.url(V1_CHAT)).header("api-key", PROBE_KEY);
        let request = request.header("x-probe-target", target).json(&streamed_chat());
        async { Answer::read(request.send().await.unwrap()).await }
    };
    let answer = probe("c").await;
    answer.assert_whole_stream();
    assert_eq!(answer.backend(), Some("c"));
    for target in ["nowhere", "http://169.254.169.254/", "C", ""] {
        let answer = probe(target).await;
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (400, "unknown_probe_target"),
            "{target}"
        );
    }
    world.fault("c", Fault::Status5xx { status: 500 });
    let answer = probe("c").await;
    assert_eq!(
        (answer.status, answer.attempts()),
        (503, Some(1)),
        "it asks one target and no other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_refuses_our_key_is_left_alone_until_a_probe_succeeds() {
    let world = World::of(Setup { regions: vec!["a", "b"], ..Setup::default() }).await;
    world.fault("a", Fault::WrongKey);
    world.chat().await.assert_whole_stream();
    let blocked = || {
        let live = world.proxy.live();
        live.snapshot().model("gpt-4o").unwrap().pool.blocks(0).unwrap().has(Block::AuthFailed)
    };
    wait_until("our own probe finds the refusal", blocked).await;
    let before = world.requests("a");
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(1)));
    assert_eq!(world.requests("a"), before, "a blocked target is not used");
    let metrics = world.admin("/metrics").await.1;
    assert!(
        metrics.contains(
            "firstlight_target_blocked{backend=\"a\",model=\"gpt-4o\",reason=\"auth_failed\"} 1"
        ),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_where_none_belongs_is_refused() {
    let world = World::plain().await;
    let request =
        world.client.get(world.url("/openai/v1/models")).header("api-key", KEY).body("{}");
    let answer = Answer::read(request.send().await.unwrap()).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (400, "unexpected_body"));
}

/// An h2 request with trailers once kept a thread busy for ever. Spoken by hand: no client here sends them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_trailers_are_refused() {
    let world = World::plain().await;
    let socket = tokio::net::TcpStream::connect(world.address()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    let driver = tokio::spawn(connection);
    for _ in 0..4 {
        let request = http::Request::post(format!("http://x{V1_CHAT}"))
            .header("api-key", KEY)
            .header("content-type", "application/json");
        let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(streamed_chat().to_string().into(), false).unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-late", http::HeaderValue::from_static("1"));
        body.send_trailers(trailers).unwrap();
        assert_eq!(response.await.unwrap().status(), 400);
    }
    world.chat().await.assert_whole_stream();
    driver.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_types_are_refused() {
    let world = World::plain().await;
    for (kind, status) in [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("APPLICATION/json; charset=utf-8", 200),
    ] {
        let request = world.request(V1_CHAT).header("content-type", kind);
        let answer =
            Answer::read(request.body(streamed_chat().to_string()).send().await.unwrap()).await;
        assert_eq!(answer.status, status, "{kind}");
    }
    let untyped: Value = json!(streamed_chat());
    let request = world.request(V1_CHAT).body(untyped.to_string());
    assert_eq!(
        Answer::read(request.send().await.unwrap()).await.status,
        200,
        "no type at all is tried"
    );
}
