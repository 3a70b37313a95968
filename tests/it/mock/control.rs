//! The control endpoint, and what a `Mock` refuses to be.

use crate::mock::{CHAT, Stage, asked};
use firstlight::mock::{BackendSpec, BackendStatus, Behaviour, Fault, Mock, MockError, Recorded};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::ErrorKind;

async fn control(stage: &Stage, method: Method, path: &str, body: &str) -> (u16, Value) {
    let request = stage.client.request(method, stage.control_url(path)).body(body.to_owned());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn it_explains_itself() {
    let stage = Stage::new(Behaviour::instant()).await;
    let response = stage.client.get(stage.control_url("/")).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), firstlight::mock::HELP);
}

#[tokio::test]
async fn every_fault_of_the_help_is_one() {
    let stage = Stage::new(Behaviour::instant()).await;
    // A fault starts at each `{"fault"` and ends where its braces do.
    let starts: Vec<usize> =
        firstlight::mock::HELP.match_indices("{\"fault\"").map(|(at, _)| at).collect();
    assert!(starts.len() > 20);
    for start in starts {
        let (_, text) = firstlight::mock::HELP.split_at(start);
        let mut json = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let fault = json.next().unwrap().unwrap().to_string();
        let (status, answer) = control(&stage, Method::PUT, "/backends/a/fault", &fault).await;
        assert_eq!(status, 200, "{fault}: {answer}");
    }
}

#[tokio::test]
async fn faults_and_behaviour_are_switched() {
    let stage = Stage::new(Behaviour::instant()).await;
    let fault = r#"{"fault": {"status_5xx": {"status": 503}}, "share": 1, "for_seconds": 60}"#;
    let (_, shown) = control(&stage, Method::PUT, "/backends/a/fault", fault).await;
    let shown: BackendStatus = serde_json::from_value(shown).unwrap();
    assert_eq!(shown.fault.fault, Fault::Status5xx { status: 503 });
    assert_eq!(stage.post(CHAT, &asked()).await.status().as_u16(), 503);

    let (_, shown) = control(&stage, Method::DELETE, "/backends/a/fault", "").await;
    assert_eq!(shown["fault"], json!({"fault": "none", "share": 1.0}));
    let (_, shown) =
        control(&stage, Method::PUT, "/backends/a/behaviour", r#"{"tokens": 2}"#).await;
    let shown: BackendStatus = serde_json::from_value(shown).unwrap();
    assert_eq!(shown.behaviour, Behaviour { tokens: 2, ..Behaviour::instant() });
    let answer: Value = stage.post(CHAT, &asked()).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "w0 w1 ");
}

#[tokio::test]
async fn backends_requests_and_counters_are_shown_and_forgotten() {
    let stage = Stage::new(Behaviour::instant()).await;
    stage.post(CHAT, &asked()).await.bytes().await.unwrap();
    stage.mock.wait_until("a", |counters| counters.completed == 1).await.unwrap();
    let (_, shown) = control(&stage, Method::GET, "/backends", "").await;
    let shown: Vec<BackendStatus> = serde_json::from_value(shown).unwrap();
    assert_eq!(shown[0].address, stage.mock.address("a").unwrap());
    assert_eq!(shown[0].counters, stage.mock.counters("a").unwrap());
    let (_, requests) = control(&stage, Method::GET, "/backends/a/requests", "").await;
    let requests: Vec<Recorded> = serde_json::from_value(requests).unwrap();
    assert_eq!((requests.len(), requests[0].path.as_str()), (1, CHAT));

    control(&stage, Method::POST, "/reset", "").await;
    assert_eq!(stage.mock.counters("a").unwrap().requests, 0);
    assert!(stage.mock.last_request("a").unwrap().is_none());
}

#[tokio::test]
async fn mistakes_are_told() {
    let stage = Stage::new(Behaviour::instant()).await;
    let check = async |method: Method, path: &str, body: &str, status: u16, problem: &str| {
        let (found, answer) = control(&stage, method, path, body).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(found == status && message.contains(problem), "{path} {body}: {found} {message}");
    };
    check(Method::PUT, "/backends/b/fault", "{}", 404, "there is no backend \"b\"").await;
    check(Method::GET, "/nothing", "", 404, "GET / tells what there is").await;
    check(Method::DELETE, "/backends/a", "", 404, "GET / tells what there is").await;
    check(Method::PUT, "/backends/a/fault", "slow", 400, "expected value").await;
    check(Method::PUT, "/backends/a/fault", r#"{"fault": "sick"}"#, 400, "unknown variant `sick`")
        .await;
    check(
        Method::PUT,
        "/backends/a/fault",
        r#"{"fault": {"status_5xx": {"status": 200}}}"#,
        400,
        "status is 200",
    )
    .await;
    check(Method::PUT, "/backends/a/behaviour", r#"{"ttft": 1}"#, 400, "unknown field `ttft`")
        .await;
    check(Method::PUT, "/backends/a/behaviour", r#"{"gap_ms": -1}"#, 400, "gap_ms is -1").await;
}

#[tokio::test]
async fn what_cannot_be_started_is_refused() {
    let spec = |name: &str| BackendSpec::local(name, Behaviour::instant());
    let check = async |specs: Vec<BackendSpec>, control: Option<&str>, problem: &str| {
        let control = control.map(|address| address.parse().unwrap());
        let error = Mock::start(specs, control, 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(problem), "{error}");
    };
    check(vec![spec("a"), spec("a")], None, "two backends with the name a").await;
    check(vec![spec("a/b")], None, "no name for a backend").await;
    check(vec![spec("a")], Some("0.0.0.0:0"), "loopback").await;
}

#[tokio::test]
async fn a_backend_that_is_not_there_and_a_fault_that_cannot_be_are_errors() {
    let stage = Stage::new(Behaviour::instant()).await;
    let unknown = MockError::UnknownBackend("b".to_owned());
    assert_eq!(stage.mock.set_fault("b", Fault::Reset).unwrap_err(), unknown);
    assert_eq!(stage.mock.counters("b").unwrap_err(), unknown);
    let impossible = stage.mock.set_fault("a", Fault::Slow { factor: -1.0, add_ms: 0.0 });
    assert!(matches!(impossible, Err(MockError::Invalid(_))));
}
