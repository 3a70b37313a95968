//! The access log: one line tells the story, and never what was said.

use crate::support::{Answer, BACKEND_KEY, KEY, V1_CHAT, World, streamed_chat};
use firstlight::mock::Fault;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_line_tells_the_whole_story() {
    let world = World::plain().await;
    world.fault("a", Fault::Status5xx { status: 500 });
    let answer = world.chat().await;
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["app"], "tests");
    assert_eq!((line["v"].as_u64(), line["auth"].as_str()), (Some(1), Some("key")));
    assert_eq!(line["key_name"], "k1");
    assert_eq!(line["key_id"].as_str().unwrap().len(), 8);
    assert_eq!(line["client_ip"], "127.0.0.1");
    assert_eq!((line["method"].as_str(), line["route"].as_str()), (Some("POST"), Some(V1_CHAT)));
    assert_eq!(
        (line["model"].as_str(), line["deployment"].as_str()),
        (Some("gpt-4o"), Some("gpt-4o"))
    );
    assert_eq!((line["stream"].as_bool(), line["status"].as_u64()), (Some(true), Some(200)));
    assert_eq!(line["bytes_in"], streamed_chat().to_string().len());
    assert_eq!(line["bytes_out"], answer.body.len());
    assert_eq!(line["tokens_out"], 5);
    assert!(line["tokens_in"].as_u64().unwrap() > 0);
    assert!(line["ttft_ms"].as_f64().unwrap() <= line["duration_ms"].as_f64().unwrap());
    assert_eq!(line["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(line["attempts"][0]["status"], 500);
    assert_eq!(line["attempts"][0]["why"], "cost");
    assert!(line["attempts"][1]["ttft_ms"].as_f64().unwrap() >= 0.0);
    assert_eq!(line["backend"].as_str(), answer.backend());
    assert_eq!(line["upstream_request_id"].as_str(), answer.header("apim-request-id"));
    assert_eq!((line["term"].as_str(), line["config_gen"].as_u64()), (Some("ok"), Some(1)));
    assert!(line["ts"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_read_from_answers_that_are_not_streamed() {
    let world = World::plain().await;
    let answer = world.post(V1_CHAT, &crate::support::chat()).await;
    let line = world.log_line(answer.request_id()).await;
    let usage = &answer.json()["usage"];
    assert_eq!(line["tokens_in"], usage["prompt_tokens"]);
    assert_eq!(line["tokens_out"], usage["completion_tokens"]);
    let input = json!({"model": "text-embedding-3-large", "input": "x"});
    let answer = world.post("/openai/v1/embeddings", &input).await;
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["tokens_in"], answer.json()["usage"]["prompt_tokens"]);
    let metrics = world.admin("/metrics").await.1;
    assert!(metrics.contains("firstlight_tokens_total{app=\"tests\",backend=\"a\",model=\"gpt-4o\",type=\"completion\"} 5"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_said_and_no_secret_is_written_anywhere() {
    let world = World::plain().await;
    let canary = "canary-7f3a";
    let mut body = streamed_chat();
    body["messages"][0]["content"] = canary.into();
    world.post(V1_CHAT, &body).await.assert_whole_stream();
    let refused = world
        .client
        .post(world.url(&format!("/openai/{canary}?x={canary}")))
        .header("api-key", canary);
    let refused = Answer::read(refused.json(&body).send().await.unwrap()).await;
    let broken = world
        .request(V1_CHAT)
        .header("content-type", "application/json")
        .body(format!("{{{canary}"));
    let broken = Answer::read(broken.send().await.unwrap()).await;
    world.log_line(refused.request_id()).await;
    world.log_line(broken.request_id()).await;
    let metrics = world.admin("/metrics").await.1;
    for text in [&world.log_text(), &metrics] {
        for secret in [canary, KEY, BACKEND_KEY, "w0"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    assert!(!broken.text().contains(canary) && !refused.text().contains(canary));
}
