//! How the mock fails: what a client sees of each fault, and what the mock counts.

use crate::mock::{CHAT, Stage, asked, client, streamed, told, with};
use firstlight::mock::{Behaviour, Counters, Fault, Injection, Limit, Outcome, RetryAfter};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What arrives of a stream before it breaks off, which it must.
async fn until_broken(mut response: reqwest::Response) -> String {
    let mut text = String::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
            Ok(None) => panic!("the stream ended as if it were whole: {text}"),
            Err(_) => return text,
        }
    }
}

/// Reads from a response as many events as `expected` tells, and no more.
async fn starts_with(response: &mut reqwest::Response, expected: &str) {
    let mut text = String::new();
    while text.is_empty() || told(&text) != expected {
        assert!(
            expected.starts_with(&told(&format!("{text}data: [DONE]\n\n")).replace("done", ""))
        );
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
}

fn one_cancelled(counters: &Counters) -> bool {
    counters.cancelled_by_client == 1 && counters.in_flight == 0
}

/// Sends a request as bytes and gives what comes back until the connection ends.
async fn raw(stage: &Stage) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(stage.mock.address("a").unwrap()).await.unwrap();
    let body = streamed().to_string();
    let head =
        format!("POST {CHAT} HTTP/1.1\r\nhost: mock\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map(|_| answer)
}

#[tokio::test]
async fn refusals_have_their_status_and_code() {
    let stage = Stage::new(Behaviour::instant()).await;
    let check = async |fault: Fault, status: u16, code: Option<&str>| {
        stage.mock.set_fault("a", fault.clone()).unwrap();
        let response = stage.chat_stream().await;
        assert_eq!(response.status().as_u16(), status, "{fault:?}");
        assert!(response.headers().contains_key("apim-request-id"));
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"]["code"].as_str(), code, "{fault:?}");
    };
    check(Fault::WrongKey, 401, Some("401")).await;
    check(Fault::Forbidden, 403, Some("403")).await;
    check(Fault::UnknownDeployment, 404, Some("DeploymentNotFound")).await;
    for status in [408, 500, 502, 503, 504] {
        check(Fault::Status5xx { status }, status, None).await;
    }
    let limited = Fault::Status429 { retry_after: RetryAfter::None, limit: Limit::PeakLoad };
    check(limited, 429, Some("429")).await;
    let counters = stage.mock.wait_until("a", |counters| counters.faulted == 9).await.unwrap();
    assert_eq!((counters.requests, counters.in_flight), (9, 0));
}

#[tokio::test]
async fn a_429_says_when_to_come_back_in_each_form() {
    let stage = Stage::new(Behaviour::instant()).await;
    let check = async |retry_after: RetryAfter, seconds: Option<&str>, millis: Option<&str>| {
        stage
            .mock
            .set_fault("a", Fault::Status429 { retry_after, limit: Limit::TokenRate })
            .unwrap();
        let response = stage.chat_stream().await;
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!((header("retry-after"), header("retry-after-ms")), (seconds, millis));
    };
    check(RetryAfter::None, None, None).await;
    check(RetryAfter::Seconds(5), Some("5"), None).await;
    check(RetryAfter::Millis(1_500), None, Some("1500")).await;
    check(RetryAfter::Both { seconds: 1, millis: 0 }, Some("1"), Some("0")).await;
    let dated = Fault::Status429 { retry_after: RetryAfter::Date(30), limit: Limit::Provisioned };
    stage.mock.set_fault("a", dated).unwrap();
    let response = stage.chat_stream().await;
    let date = response.headers()["retry-after"].to_str().unwrap();
    assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
    assert!(response.headers().contains_key("azure-openai-deployment-utilization"));
}

#[tokio::test]
async fn a_frozen_request_is_cancelled_when_its_client_leaves() {
    for http2 in [false, true] {
        let stage = Stage::failing(Fault::FreezeBeforeHeaders).await;
        let client =
            client(|builder| if http2 { builder.http2_prior_knowledge() } else { builder });
        let request = client.post(stage.url(CHAT)).json(&streamed());
        let waiting = tokio::spawn(request.send());
        stage.mock.wait_until("a", |counters| counters.in_flight == 1).await.unwrap();
        waiting.abort();
        let counters = stage.mock.wait_until("a", one_cancelled).await.unwrap();
        let recorded = stage.mock.last_request("a").unwrap().unwrap();
        assert_eq!(recorded.outcome, Some(Outcome::CancelledByClient));
        assert_eq!((recorded.ended_ms, counters.faulted), (counters.last_cancel_ms, 0));
    }
}

#[tokio::test]
async fn a_stream_freezes_after_the_stage_that_it_is_told() {
    let check = async |fault: Fault, expected: &str| {
        let stage = Stage::failing(fault).await;
        let mut response = stage.chat_stream().await;
        assert_eq!(response.status().as_u16(), 200);
        if !expected.is_empty() {
            starts_with(&mut response, expected).await;
        }
        drop(response);
        stage.mock.wait_until("a", one_cancelled).await.unwrap();
    };
    check(Fault::FreezeAfterHeaders, "").await;
    check(Fault::FreezeAfterFilter, "filter").await;
    check(Fault::FreezeAfterRole, "filter role").await;
    check(Fault::Slow { factor: 1.0, add_ms: 3_600_000.0 }, "filter").await;
}

#[tokio::test]
async fn a_stream_that_is_left_half_way_is_cancelled() {
    for http2 in [false, true] {
        let stage = Stage::new(Behaviour { gap_ms: 3_600_000.0, ..Behaviour::instant() }).await;
        let client =
            client(|builder| if http2 { builder.http2_prior_knowledge() } else { builder });
        let mut response = client.post(stage.url(CHAT)).json(&streamed()).send().await.unwrap();
        starts_with(&mut response, "filter role w0").await;
        drop(response);
        let counters = stage.mock.wait_until("a", one_cancelled).await.unwrap();
        assert_eq!((counters.streams, counters.answered_tokens), (1, 1));
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_sends_is_cancelled() {
    let stage = Stage::new(Behaviour::instant()).await;
    let mut stream = TcpStream::connect(stage.mock.address("a").unwrap()).await.unwrap();
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: mock\r\ncontent-length: 100\r\n\r\n");
    stream.write_all(format!("{head}half").as_bytes()).await.unwrap();
    stage.mock.wait_until("a", |counters| counters.in_flight == 1).await.unwrap();
    drop(stream);
    stage.mock.wait_until("a", one_cancelled).await.unwrap();
}

#[tokio::test]
async fn slow_tokens_leave_the_first_one_punctual() {
    let behaviour = Behaviour { gap_ms: 1.0, ..Behaviour::instant() };
    let stage = Stage::new(behaviour).await;
    stage.mock.set_fault("a", Fault::SlowTokens { factor: 1_000_000.0 }).unwrap();
    starts_with(&mut stage.chat_stream().await, "filter role w0").await;
}

#[tokio::test]
async fn streams_end_as_the_fault_says() {
    let check = async |fault: Fault, expected: &str| {
        let stage = Stage::failing(fault).await;
        let response = stage.chat_stream().await;
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(told(&response.text().await.unwrap()), expected);
        stage.mock.wait_until("a", |counters| counters.faulted == 1).await.unwrap();
    };
    check(Fault::ErrorAfter200, "filter error:server_error").await;
    check(Fault::ErrorAfter200RateLimit, "filter error:tokens").await;
    check(Fault::EndBeforeContent, "filter role done").await;
}

#[tokio::test]
async fn a_truncated_answer_does_not_look_whole() {
    for http2 in [false, true] {
        let stage = Stage::failing(Fault::Truncate { after_tokens: 2 }).await;
        let client =
            client(|builder| if http2 { builder.http2_prior_knowledge() } else { builder });
        let ask = |body: &Value| client.post(stage.url(CHAT)).json(body).send();
        let text = until_broken(ask(&streamed()).await.unwrap()).await;
        assert_eq!(told(&text), "filter role w0 w1");
        let text = until_broken(ask(&asked()).await.unwrap()).await;
        assert!(serde_json::from_str::<Value>(&text).is_err());
        stage.mock.wait_until("a", |counters| counters.faulted == 2).await.unwrap();
    }
}

#[tokio::test]
async fn an_error_after_200_is_a_plain_error_where_nothing_is_streamed() {
    let check = async |fault: Fault, status: u16| {
        let stage = Stage::failing(fault).await;
        assert_eq!(stage.post(CHAT, &asked()).await.status().as_u16(), status);
    };
    check(Fault::ErrorAfter200, 500).await;
    check(Fault::ErrorAfter200RateLimit, 429).await;
    check(Fault::EndBeforeContent, 200).await;
}

#[tokio::test]
async fn a_reset_comes_before_any_byte() {
    let stage = Stage::failing(Fault::Reset).await;
    assert_eq!(raw(&stage).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    stage.mock.wait_until("a", |counters| counters.faulted == 1).await.unwrap();
}

#[tokio::test]
async fn garbage_is_not_http() {
    let stage = Stage::failing(Fault::Garbage).await;
    let answer = raw(&stage).await.unwrap();
    assert!(!answer.is_empty() && !answer.starts_with(b"HTTP"));
    assert!(stage.try_post(CHAT, &asked()).await.is_err());
}

#[tokio::test]
async fn a_refusing_port_opens_again_at_the_same_address() {
    let stage = Stage::failing(Fault::Refuse).await;
    let address = stage.mock.address("a").unwrap();
    stage.mock.wait_until("a", |counters| !counters.listening).await.unwrap();
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    stage.mock.set_fault("a", Fault::None).unwrap();
    stage.mock.wait_until("a", |counters| counters.listening).await.unwrap();
    assert_eq!(stage.chat_stream().await.status().as_u16(), 200);
}

#[tokio::test]
async fn a_refusing_port_heals_by_itself() {
    let stage = Stage::new(Behaviour::instant()).await;
    let brief = Injection { for_seconds: Some(0.05), ..Fault::Refuse.into() };
    stage.mock.set_fault("a", brief).unwrap();
    stage.mock.wait_until("a", |counters| !counters.listening).await.unwrap();
    stage.mock.wait_until("a", |counters| counters.listening).await.unwrap();
    assert_eq!(stage.chat_stream().await.status().as_u16(), 200);
}

#[tokio::test]
async fn a_connection_that_was_open_before_a_refusal_is_reset() {
    let stage = Stage::new(Behaviour::instant()).await;
    stage.chat_stream().await.text().await.unwrap();
    stage.mock.set_fault("a", Fault::Refuse).unwrap();
    assert!(stage.try_post(CHAT, &asked()).await.is_err());
}

#[tokio::test]
async fn a_fault_strikes_only_its_share() {
    let stage = Stage::new(Behaviour::instant()).await;
    let half = Injection { share: 0.5, ..Fault::WrongKey.into() };
    stage.mock.set_fault("a", half).unwrap();
    for _ in 0..60 {
        stage.post(CHAT, &asked()).await.bytes().await.unwrap();
    }
    let counters = stage.mock.wait_until("a", |counters| counters.in_flight == 0).await.unwrap();
    assert_eq!(counters.completed + counters.faulted, 60);
    assert!((15..45).contains(&counters.faulted), "{counters:?}");
}

#[tokio::test]
async fn a_fault_leaves_requests_that_came_before_it_alone() {
    let stage = Stage::failing(Fault::FreezeAfterRole).await;
    let mut frozen = stage.chat_stream().await;
    starts_with(&mut frozen, "filter role").await;
    stage.mock.set_fault("a", Fault::None).unwrap();
    let body = with(&streamed(), &json!({"max_tokens": 1}));
    let healthy = stage.post(CHAT, &body).await.text().await.unwrap();
    assert_eq!(told(&healthy), "filter role w0 finish:length done");
    assert_eq!(stage.mock.counters("a").unwrap().in_flight, 1);
}

#[tokio::test]
async fn a_dropped_mock_leaves_nothing_behind() {
    let stage = Stage::failing(Fault::FreezeAfterFilter).await;
    let address = stage.mock.address("a").unwrap();
    let mut response = stage.chat_stream().await;
    starts_with(&mut response, "filter").await;
    drop(stage);
    assert!(response.chunk().await.is_err());
    let gone = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}
