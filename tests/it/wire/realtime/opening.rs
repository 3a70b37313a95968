//! Who may open a session, what the backend is asked, and what becomes of an attempt that fails.

use super::stage::{Does, Stage, UPGRADE, V1, code, echoed, header};
use crate::support::{BACKEND_KEY, KEY};
use tokio_tungstenite::tungstenite::Error;

const VERSIONED: &str = "/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-realtime";
const LIMITED: &str =
    "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 42\r\n\r\n{\"error\":{\"code\":\"DeploymentNotFound\"}}   ";
const UNAUTHORISED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}";
const BAD_REQUEST: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nx-secret: s\r\ncontent-length: 27\r\n\r\n{\"error\":{\"code\":\"theirs\"}}";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_form_reaches_the_backends_own_deployment() {
    for (path, asked) in [
        (V1, "/openai/v1/realtime?model=rt-prod"),
        ("/v1/realtime?model=gpt-realtime&x=y", "/openai/v1/realtime?model=rt-prod"),
        (VERSIONED, "/openai/realtime?api-version=2024-10-01-preview&deployment=rt-prod"),
        (
            "/openai/v1/realtime?intent=transcription&model=gpt-realtime",
            "/openai/v1/realtime?model=rt-prod&intent=transcription",
        ),
    ] {
        let stage = Stage::of(&[Does::Echoes]).await;
        let (mut socket, answer) = stage.try_open(path, &[("api-key", KEY)]).await.unwrap();
        echoed(&mut socket, "hello").await;
        let head = stage.backends[0].head();
        assert!(head.starts_with(&format!("GET {asked} HTTP/1.1\r\n")), "{path}: {head}");
        assert_eq!(answer.headers()["x-firstlight-backend"], "a");
        assert_eq!(answer.headers()["x-ms-region"], "Test");
        assert!(answer.headers().get("server").is_none());
    }
}

/// Opens a session with a credential at some place; neither it nor its place goes further.
async fn check_credential(path: &str, headers: &[(&str, &str)]) {
    let stage = Stage::of(&[Does::Echoes]).await;
    let mut all = vec![("cookie", "c"), ("origin", "https://page.test"), ("user-agent", "browser")];
    all.extend(headers);
    let (mut socket, _) = stage.try_open(path, &all).await.unwrap_or_else(|error| {
        panic!("{path} {headers:?}: {error}");
    });
    echoed(&mut socket, "hello").await;
    let head = stage.backends[0].head();
    assert_eq!(header(&head, "api-key"), Some(BACKEND_KEY));
    assert!(!head.contains(KEY) && !head.contains("insecure"), "{head}");
    for name in ["authorization", "cookie", "origin", "sec-websocket-extensions"] {
        assert_eq!(header(&head, name), None, "{head}");
    }
    assert_eq!(header(&head, "user-agent"), Some("browser"));
    drop(socket);
    let line = stage.log_lines(1).await.remove(0);
    assert_eq!(
        (&line["app"], &line["auth"], &line["status"]),
        (&"tests".into(), &"key".into(), &101.into())
    );
    assert!(!stage.log_text().contains(KEY), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_taken_from_every_place_and_goes_no_further() {
    let bearer = format!("Bearer {KEY}");
    check_credential(V1, &[("api-key", KEY)]).await;
    check_credential(V1, &[("authorization", &bearer)]).await;
    check_credential(&format!("{V1}&api-key={KEY}"), &[]).await;
    check_credential(&format!("{VERSIONED}&Authorization=Bearer+{KEY}"), &[]).await;
    check_credential(&format!("{V1}&authorization=Bearer%20{KEY}"), &[]).await;
    check_credential(&format!("{V1}&api-key={KEY}"), &[("api-key", KEY)]).await;
    let protocol = format!("realtime, openai-insecure-api-key.{KEY}, openai-beta.realtime-v1");
    check_credential(V1, &[("sec-websocket-protocol", &protocol)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subprotocol_is_agreed_on() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let protocol = format!("realtime, openai-insecure-api-key.{KEY}, openai-organization.o");
    let (_socket, answer) =
        stage.try_open(V1, &[("sec-websocket-protocol", &protocol)]).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "realtime");
    assert_eq!(header(&stage.backends[0].head(), "sec-websocket-protocol"), Some("realtime"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_as_json_and_nothing_is_asked() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let key = format!("api-key: {KEY}\r\n");
    let check = async |path: &str, headers: &str, status: u16, code: &str| {
        assert_eq!(
            stage.refused(path, headers).await,
            (status, code.to_owned()),
            "{path} {headers}"
        );
    };
    check(V1, "", 401, "missing_api_key").await;
    check(V1, "api-key: wrong\r\n", 401, "invalid_api_key").await;
    check(&format!("{V1}&api-key=wrong"), &key, 400, "ambiguous_credential").await;
    check("/openai/v1/realtime?model=other", &key, 403, "model_forbidden").await;
    check("/openai/v1/realtime?model=nothing", &key, 404, "DeploymentNotFound").await;
    check("/openai/realtime?deployment=gpt-realtime", &key, 404, "missing_api_version").await;
    check(&format!("{V1}&call_id=rtc_1"), &key, 400, "bad_handshake").await;
    check(&format!("{V1}&intent=a%20b"), &key, 400, "bad_handshake").await;
    check(V1, &format!("{key}upgrade: h2c\r\n"), 400, "bad_handshake").await;
    check(V1, &format!("{key}sec-websocket-version: 8\r\n"), 426, "upgrade_required").await;
    check(V1, &format!("{key}content-length: 5\r\n"), 400, "bad_handshake").await;
    check(&format!("/openai/v1/models?api-key={KEY}"), "", 400, "credential_in_url").await;
    assert_eq!(stage.backends[0].heads(), [""; 0]);
    assert!(!stage.log_text().contains(KEY));
    stage.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_is_told_what_this_is() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let url = format!("http://{}{V1}", stage.proxy.addresses()[0]);
    let client = crate::support::client(|builder| builder);
    let answer = client.get(&url).header("api-key", KEY).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["upgrade"]),
        (426, &"websocket".parse().unwrap())
    );
    assert!(answer.text().await.unwrap().contains("upgrade_required"));
    let answer = client.post(&url).header("api-key", KEY).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 405);
    let client = crate::support::client(reqwest::ClientBuilder::http2_prior_knowledge);
    let answer = client.get(&url).header("api-key", KEY).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 400);
    assert!(answer.text().await.unwrap().contains("HTTP/1.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_hold_as_many_sessions_as_requests() {
    let stage = Stage::of(&[Does::Echoes]).await;
    let mut first = stage.try_open(V1, &[("api-key", "other")]).await.unwrap().0;
    let second = stage.refused(V1, "api-key: other\r\n").await;
    assert_eq!(second, (429, "rate_limit_exceeded".to_owned()));
    first.close(None).await.unwrap();
    stage.quiet().await;
    echoed(&mut stage.try_open(V1, &[("api-key", "other")]).await.unwrap().0, "again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_before_the_101_is_tried_elsewhere() {
    for does in [
        Does::Leaves,
        Does::Says(BROKEN),
        Does::Says(LIMITED),
        Does::Says(NOT_FOUND),
        Does::Says(UNAUTHORISED),
        Does::Says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        Does::Says("HTTP/1.1 302 Found\r\nlocation: http://elsewhere\r\ncontent-length: 0\r\n\r\n"),
        Does::Says("not HTTP at all\r\n\r\n"),
        // A 101 that belongs to another request, and one that upgrades to something else.
        Does::SaysAndWaits(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        ),
        Does::SaysAndWaits(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        ),
    ] {
        let stage = Stage::of(&[does, Does::Echoes]).await;
        let (mut socket, answer) = stage.try_open(V1, &[("api-key", KEY)]).await.unwrap();
        assert_eq!(answer.headers()["x-firstlight-backend"], "b");
        assert_eq!(answer.headers()["x-firstlight-attempts"], "2");
        echoed(&mut socket, "hello").await;
    }
}

/// What the client is told when all backends do the same.
async fn told(does: Does) -> (u16, String) {
    let stage = Stage::of(&[does, does]).await;
    let told = stage.refused(V1, &format!("api-key: {KEY}\r\n")).await;
    stage.quiet().await;
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_fail_the_client_is_told_as_for_any_request() {
    assert_eq!(told(Does::Says(BROKEN)).await, (503, "no_backend_available".to_owned()));
    assert_eq!(told(Does::Says(LIMITED)).await, (429, "rate_limit_exceeded".to_owned()));
    assert_eq!(told(Does::Says(UNAUTHORISED)).await, (502, "upstream_auth".to_owned()));
    assert_eq!(told(Does::Says(NOT_FOUND)).await, (404, "DeploymentNotFound".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_the_request_is_passed_on_at_once() {
    let stage = Stage::of(&[Does::Says(BAD_REQUEST), Does::Echoes]).await;
    let refused = stage.try_open(V1, &[("api-key", KEY)]).await;
    let Err(Error::Http(answer)) = refused else { panic!("{refused:?}") };
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["x-firstlight-attempts"], "1");
    assert!(answer.headers().get("x-secret").is_none());
    assert_eq!(stage.backends[1].heads(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_behind_the_request_is_never_a_request() {
    let smuggled = "GET /openai/v1/models HTTP/1.1\r\nhost: x\r\n\r\n";
    let raw = format!(
        "GET {V1} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\n{UPGRADE}connection: Upgrade\r\n\r\n{smuggled}"
    );
    let stage = Stage::of(&[Does::Says(BAD_REQUEST)]).await;
    let (status, answer) = stage.ask(&raw).await;
    assert_eq!((status, answer.matches("HTTP/1.1 ").count()), (400, 1), "{answer}");
    assert_eq!(code(&answer), "theirs");
    let refused = raw.replace("upgrade: websocket", "upgrade: h2c");
    let (status, answer) = stage.ask(&refused).await;
    assert_eq!((status, answer.matches("HTTP/1.1 ").count()), (400, 1), "{answer}");
    // Behind a 101 it is a frame that nobody understands.
    let stage = Stage::of(&[Does::Echoes]).await;
    let (status, answer) = stage.ask(&raw).await;
    assert_eq!((status, answer.matches("HTTP/1.1 ").count()), (101, 1), "{answer}");
    stage.quiet().await;
    assert_eq!(stage.log_lines(1).await.len(), 1);
}
