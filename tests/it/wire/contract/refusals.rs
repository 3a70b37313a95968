//! Rows of the contract in which the backend refused: the request, our credential, our deployment.

use super::canned::{Canned, GOOD, answer};
use super::{
    ALL, FIRST, OTHERS, all_ill, asked_elsewhere, attempts, check_nothing_learned, check_ours,
    check_rescued, check_strikes, ill, plain, probes, set_ill, settled, view, world,
};
use crate::support::{Answer, V1_CHAT, World, chat, streamed_chat, wait_for, wait_until};
use firstlight::azure::error::ClientError;
use firstlight::mock::Fault;
use firstlight::routing::{Block, State};
use serde_json::json;
use std::time::Duration;

/// Passed on with its status, its type and every byte of its body, and nobody else is asked.
async fn check_unchanged(status: &str, headers: &str, body: &str) {
    let canned = Canned::new(answer(status, headers, body));
    let world = canned.first().await;
    for (path, question) in plain() {
        let answer = world.post(path, &question).await;
        assert!(status.starts_with(&answer.status.to_string()), "{}", answer.text());
        assert_eq!((answer.text(), answer.complete), (body, true), "{status}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-ms-region"), Some("Sweden Central"), "Azure's own word");
        assert_eq!((answer.attempts(), answer.header("retry-after")), (Some(1), None));
    }
    assert_eq!((canned.asked(), asked_elsewhere(&world)), (3, 0));
    assert_eq!(attempts(&world, FIRST).await, "passed 3");
    settled(&world).await;
    check_nothing_learned(&world, FIRST);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_about_the_request_is_passed_on_unchanged() {
    let body = r#"{"error": {"message":"Caf\u00e9?", "type":"invalid_request_error","param":"x","code":"404"} }"#;
    for status in [
        "400 Bad Request",
        "405 Method Not Allowed",
        "413 Payload Too Large",
        "415 Unsupported Media Type",
        "422 Unprocessable Entity",
    ] {
        check_unchanged(status, "x-ms-region: Sweden Central\r\n", body).await;
    }
    check_unchanged("400 Bad Request", "x-ms-region: Sweden Central\r\n", "not JSON at all").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_prompt_is_filtered_everywhere() {
    let world = world().await;
    let mut question = streamed_chat();
    question["messages"][0]["content"] = json!("trigger content filter");
    for _ in 0..5 {
        let answer = world.post(V1_CHAT, &question).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (400, "content_filter"));
        let inner = &answer.json()["error"]["innererror"];
        assert_eq!(inner["code"], "ResponsibleAIPolicyViolation", "{inner}");
        assert_eq!(answer.attempts(), Some(1));
    }
    assert_eq!((world.requests(FIRST), asked_elsewhere(&world)), (5, 0));
    assert_eq!(attempts(&world, FIRST).await, "passed 5");
    check_nothing_learned(&world, FIRST);
}

/// Asked for once more, of another: without an id in it nothing says that it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_looked_for_in_one_other_place() {
    let body = r#"{"error":{"code":"404","message":"Resource not found"}}"#;
    for status in ["404 Not Found", "410 Gone"] {
        let canned = Canned::new(answer(status, "", body));
        let world = canned.first().await;
        for _ in 0..3 {
            check_rescued(&world.chat().await);
        }
        assert_eq!((canned.asked(), attempts(&world, FIRST).await.as_str()), (3, "refused 3"));
        settled(&world).await;
        check_nothing_learned(&world, FIRST);
        let world = canned.everywhere().await;
        for (path, question) in plain() {
            let answer = world.post(path, &question).await;
            assert!(status.starts_with(&answer.status.to_string()), "{}", answer.text());
            assert_eq!((answer.text(), answer.attempts()), (body, Some(2)), "{status}");
        }
        assert_eq!(attempts(&world, FIRST).await, "refused 3");
        // It names a file, which another resource has not.
        let named = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": [
            {"type": "file", "file": {"file_id": "file-0123456789abcdefgh"}}]}]});
        let answer = canned.first().await.post(V1_CHAT, &named).await;
        assert_eq!((answer.text(), answer.attempts()), (body, Some(1)));
    }
}

/// A deployment that nobody configured is the client's own mistake, and Azure is not asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_is_not_configured_is_asked_of_nobody() {
    let world = world().await;
    let answer = world.post(V1_CHAT, &json!({"model": "gpt-9", "messages": []})).await;
    let error = ClientError::UnknownModel { model: "gpt-9".to_owned() };
    check_ours(&answer, (404, "DeploymentNotFound"), &error);
    assert_eq!((world.requests(FIRST), asked_elsewhere(&world)), (0, 0));
}

fn is_blocked(world: &World, block: Block) -> bool {
    view(world, FIRST).blocks.has(block)
}

async fn blocked_metric(world: &World, reason: &str) -> String {
    let labels = format!("backend=\"{FIRST}\",model=\"gpt-4o\",reason=\"{reason}\"");
    world.metric(&format!("firstlight_target_blocked{{{labels}}}")).await
}

/// Another backend's answer, and no strike; then our own probe takes the target out, and takes it back.
async fn check_blocked(fault: Fault, outcome: &str, (block, reason): (Block, &str)) {
    let world = ill(fault.clone()).await;
    check_rescued(&world.chat().await);
    assert_eq!(attempts(&world, FIRST).await, format!("{outcome} 1"), "{fault:?}");
    assert_eq!(asked_elsewhere(&world), 1);
    wait_until("what the probe finds", || is_blocked(&world, block)).await;
    assert_eq!(probes(&world, outcome).await, "1");
    check_left_alone(&world, reason).await;
    world.fault(FIRST, Fault::None);
    let yaml = world.yaml.clone();
    world.reload(&yaml).await.unwrap();
    wait_until("the probe's success", || !is_blocked(&world, block)).await;
    assert_eq!(world.chat().await.backend(), Some(FIRST));
}

/// Out of use, which is told to the operator, and no worse for it.
async fn check_left_alone(world: &World, reason: &str) {
    assert_eq!(blocked_metric(world, reason).await, "1");
    check_strikes(world, FIRST, 0.0);
    let found = view(world, FIRST);
    assert_eq!((found.state, found.base_ms), (State::Healthy, None), "{found:?}");
    let before = world.requests(FIRST);
    assert_eq!(world.chat().await.attempts(), Some(1));
    assert_eq!(world.requests(FIRST), before);
}

/// An answer to a client says nothing that a probe does not say, too.
async fn check_not_blocked(refusal: String, outcome: &str) {
    let canned = Canned::new(refusal).but_to_probes(GOOD);
    let world = canned.first().await;
    let answer = world.chat().await;
    check_rescued(&answer);
    wait_for("the probe", || async { (probes(&world, "ok").await == "1").then_some(()) }).await;
    check_rescued(&world.chat().await);
    assert_eq!((canned.asked(), asked_elsewhere(&world)), (2, 2), "it is asked like any other");
    assert_eq!(attempts(&world, FIRST).await, format!("{outcome} 2"));
    let found = view(&world, FIRST);
    assert!(!found.blocks.any() && found.state == State::Healthy, "{found:?}");
    check_strikes(&world, FIRST, 0.0);
}

/// How the renewal of a token comes before that probe: `identity::a_hundred_refusals_of_one_token_are_one_renewal`.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_credential_is_never_the_clients() {
    for fault in [Fault::WrongKey, Fault::WrongToken, Fault::Forbidden] {
        check_blocked(fault.clone(), "unauthorised", (Block::AuthFailed, "auth_failed")).await;
        let world = all_ill(fault).await;
        let answer = world.chat().await;
        check_ours(&answer, (502, "upstream_auth"), &ClientError::UpstreamAuth);
        assert_eq!((answer.attempts(), asked_elsewhere(&world) >= 2), (Some(3), true));
        // The same when probes have found so, and nobody is asked any more.
        let auth_failed = |region| view(&world, region).blocks.has(Block::AuthFailed);
        wait_until("what all probes find", || ALL.into_iter().all(auth_failed)).await;
        let answer = world.chat().await;
        check_ours(&answer, (502, "upstream_auth"), &ClientError::UpstreamAuth);
        assert_eq!(
            (answer.attempts(), attempts(&world, FIRST).await.as_str()),
            (None, "unauthorised 1")
        );
    }
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let refusal = answer(status, "", r#"{"error":{"code":"401","message":"Access denied."}}"#);
        check_not_blocked(refusal, "unauthorised").await;
    }
}

const NOT_FOUND: &str =
    r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_should_be_there_is_looked_for_elsewhere() {
    let missing = (Block::Misconfigured, "misconfigured");
    check_blocked(Fault::UnknownDeployment, "deployment_missing", missing).await;
    let not_found = answer("404 Not Found", "", NOT_FOUND);
    check_not_blocked(not_found.clone(), "deployment_missing").await;
    let canned = Canned::new(not_found);
    let world = canned.everywhere().await;
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.text()), (404, NOT_FOUND), "unchanged");
    assert_eq!((answer.attempts(), canned.asked()), (Some(3), 3));
}

/// Our credential is to blame only if it was refused everywhere, in whatever order they are asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_refused_beside_other_failures_is_not_to_blame() {
    let nothing_left = ClientError::NothingLeft { retry_after: Duration::from_secs(5) };
    let failing = || Fault::Status5xx { status: 500 };
    for (first, others) in [(Fault::WrongKey, failing()), (failing(), Fault::WrongKey)] {
        let world = ill(first).await;
        set_ill(&world, &OTHERS, others).await;
        let answer = world.chat().await;
        check_ours(&answer, (503, "no_backend_available"), &nothing_left);
        assert_eq!(answer.attempts(), Some(3));
    }
}

/// Nobody asked for another protocol: that is no answer, and what follows it is none either.
#[tokio::test(flavor = "multi_thread")]
async fn a_101_that_nobody_asked_for_goes_elsewhere() {
    let switches = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    let canned = Canned::new(format!("{switches}{}", answer("200 OK", "", "{}")));
    let world = canned.first().await;
    for _ in 0..2 {
        check_rescued(&world.chat().await);
    }
    assert_eq!((canned.asked(), attempts(&world, FIRST).await.as_str()), (2, "reset 2"));
}

fn check_conflict(answer: &Answer, attempts: u32) {
    assert_eq!((answer.status, answer.text()), (409, CONFLICT));
    assert_eq!((answer.attempts(), answer.complete), (Some(attempts), true));
}

const CONFLICT: &str = r#"{"error":{"code":"409","message":"It is being changed."}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_goes_elsewhere_only_if_it_says_when() {
    let bare = Canned::new(answer("409 Conflict", "", CONFLICT));
    let world = bare.first().await;
    check_conflict(&world.post(V1_CHAT, &chat()).await, 1);
    assert_eq!((bare.asked(), asked_elsewhere(&world)), (1, 0));
    assert_eq!(attempts(&world, FIRST).await, "passed 1");
    check_nothing_learned(&world, FIRST);

    let timed = Canned::new(answer("409 Conflict", "retry-after: 7\r\n", CONFLICT));
    let world = timed.first().await;
    for _ in 0..2 {
        check_rescued(&world.chat().await);
    }
    assert_eq!((timed.asked(), asked_elsewhere(&world)), (2, 2), "it asks for no rest");
    assert_eq!(attempts(&world, FIRST).await, "conflict 2");
    check_nothing_learned(&world, FIRST);

    let answer = timed.everywhere().await.chat().await;
    check_conflict(&answer, 3);
    assert_eq!(answer.header("retry-after"), Some("7"));
}
