//! What the mock answers when it is well.

use crate::mock::{CHAT, Stage, V1_CHAT, asked, client, events, streamed, told, with};
use firstlight::mock::{BackendSpec, Behaviour};
use reqwest::{ClientBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

const EMBEDDINGS: &str = "/openai/v1/embeddings";

#[tokio::test]
async fn a_chat_stream_is_in_azures_order() {
    let stage = Stage::new(Behaviour::instant()).await;
    let plain = stage.chat_stream().await;
    assert_eq!(plain.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(told(&plain.text().await.unwrap()), "filter role w0 w1 w2 w3 w4 finish:stop done");

    let body = with(
        &streamed(),
        &json!({"model": "gpt-4o", "stream_options": {"include_usage": true}, "max_completion_tokens": 2}),
    );
    let text = stage.post(V1_CHAT, &body).await.text().await.unwrap();
    assert_eq!(told(&text), "filter role w0 w1 finish:length usage done");
    let usage: Value = serde_json::from_str(events(&text)[5]).unwrap();
    assert_eq!(usage["usage"]["completion_tokens"], 2);
    assert!(usage["latency_checkpoint"]["service_ttft_ms"].is_u64());
}

#[tokio::test]
async fn a_legacy_completion_streams_texts() {
    let stage = Stage::new(Behaviour::instant()).await;
    let body = json!({"model": "gpt-35", "prompt": "Say hi", "stream": true, "max_tokens": 2});
    let text = stage.post("/openai/v1/completions", &body).await.text().await.unwrap();
    assert_eq!(told(&text), "filter w0 w1 finish:length done");
    let whole = with(&body, &json!({"stream": false}));
    let whole: Value = stage.post("/openai/v1/completions", &whole).await.json().await.unwrap();
    assert_eq!(whole["choices"][0]["text"], "w0 w1 ");
}

#[tokio::test]
async fn a_whole_answer_reports_its_usage() {
    let behaviour = Behaviour { cached_share: 0.5, reasoning_tokens: 7, ..Behaviour::instant() };
    let stage = Stage::new(behaviour).await;
    let answer: Value = stage.post(CHAT, &asked()).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "w0 w1 w2 w3 w4 ");
    let usage = &answer["usage"];
    let prompt = usage["prompt_tokens"].as_u64().unwrap();
    assert_eq!(usage["completion_tokens"], 12);
    assert_eq!(usage["total_tokens"], prompt + 12);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], prompt / 2);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 7);
    let counters = stage.mock.wait_until("a", |counters| counters.completed == 1).await.unwrap();
    assert_eq!((counters.streams, counters.answered_tokens), (0, 5));
}

#[tokio::test]
async fn a_required_tool_is_called() {
    let stage = Stage::new(Behaviour { tokens: 3, ..Behaviour::instant() }).await;
    let tool = json!({
        "tools": [{"type": "function", "function": {"name": "look_up"}}], "tool_choice": "required",
    });
    let text = stage.post(CHAT, &with(&streamed(), &tool)).await.text().await.unwrap();
    assert_eq!(told(&text), r#"filter role call:{"text":" call:w1 call:"} finish:tool_calls done"#);
    let first: Value = serde_json::from_str(events(&text)[2]).unwrap();
    let call = &first["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!((&call["function"]["name"], &call["index"]), (&json!("look_up"), &json!(0)));

    let whole: Value = stage.post(CHAT, &with(&asked(), &tool)).await.json().await.unwrap();
    let call = &whole["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["arguments"], r#"{"text":"w1 "}"#);
}

#[tokio::test]
async fn embeddings_are_numbers_or_base64_of_the_same() {
    let stage = Stage::new(Behaviour::instant()).await;
    let body = json!({"model": "embed", "input": ["one", "two"]});
    let numbers: Value = stage.post(EMBEDDINGS, &body).await.json().await.unwrap();
    assert_eq!(numbers["data"].as_array().unwrap().len(), 2);
    assert_eq!(numbers["data"][1]["index"], 1);
    let vector = json!([0.125, -0.25, 0.5, -0.5, 0.25, -0.125, 0.375, -0.375]);
    assert_eq!(numbers["data"][1]["embedding"], vector);
    let body = with(&body, &json!({"encoding_format": "base64"}));
    let encoded: Value = stage.post(EMBEDDINGS, &body).await.json().await.unwrap();
    assert_eq!(encoded["data"][0]["embedding"], "AAAAPgAAgL4AAAA/AAAAvwAAgD4AAAC+AADAPgAAwL4=");
}

#[tokio::test]
async fn models_are_listed_in_three_forms() {
    let deployments = Some(vec!["gpt-4o".to_owned(), "embed".to_owned()]);
    let stage =
        Stage::of(BackendSpec { deployments, ..BackendSpec::local("a", Behaviour::instant()) })
            .await;
    let get = async |path: &str| {
        let response = stage.client.get(stage.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, list) = get("/openai/v1/models").await;
    assert_eq!((status, &list["data"][1]["id"]), (200, &json!("embed")));
    assert_eq!(get("/openai/v1/models/embed").await.1["object"], "model");
    assert_eq!(get("/openai/v1/models/other").await.0, 404);
    let (_, catalogue) = get("/openai/models?api-version=2024-10-21").await;
    assert_eq!(catalogue["data"][0]["capabilities"]["inference"], true);
    assert_eq!(get("/openai/models").await.0, 404);
}

#[tokio::test]
async fn mistakes_of_the_request_get_azures_answers() {
    let deployments = Some(["gpt-4o", "o3-mini"].map(str::to_owned).to_vec());
    let api_key = Some("secret".to_owned());
    let spec =
        BackendSpec { deployments, api_key, ..BackendSpec::local("a", Behaviour::instant()) };
    let stage = Stage::of(spec).await;
    let check = async |key: &str, path: &str, body: &str, status: u16, code: &str| {
        let request =
            stage.client.post(stage.url(path)).header("api-key", key).body(body.to_owned());
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path} {body}");
        assert_eq!(response.headers()["x-mock-backend"], "a");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"]["code"].as_str().unwrap_or("null"), code, "{path} {body}");
    };
    let good = asked().to_string();
    check("wrong", CHAT, &good, 401, "401").await;
    check("secret", "/openai/deployments/gpt-4o/chat/completions", &good, 404, "404").await;
    check("secret", "/openai/v1/nothing", &good, 404, "404").await;
    check("secret", &CHAT.replace("gpt-4o", "gpt-9"), &good, 404, "DeploymentNotFound").await;
    check("secret", CHAT, "{", 400, "null").await;
    check("secret", CHAT, "{}", 400, "missing_required_parameter").await;
    check("secret", V1_CHAT, &good, 400, "missing_required_parameter").await;
    check("secret", CHAT, r#"{"messages":["trigger content filter"]}"#, 400, "content_filter")
        .await;
    let limited = with(&asked(), &json!({"max_tokens": 9})).to_string();
    check("secret", &CHAT.replace("gpt-4o", "o3-mini"), &limited, 400, "unsupported_parameter")
        .await;
    let counters = stage.mock.wait_until("a", |counters| counters.in_flight == 0).await.unwrap();
    assert_eq!((counters.requests, counters.rejected), (9, 9));
}

#[tokio::test]
async fn every_answer_says_who_gave_it_and_what_arrived() {
    let spec = BackendSpec {
        region: "swedencentral".to_owned(),
        ..BackendSpec::local("a", Behaviour::instant())
    };
    let stage = Stage::of(spec).await;
    let body = streamed().to_string();
    let request = stage.client.post(stage.url(CHAT)).header("x-custom", "1").body(body.clone());
    let first = request.send().await.unwrap();
    let second = stage.chat_stream().await;
    let headers = first.headers();
    assert_eq!(headers["x-ms-region"], "swedencentral");
    assert_eq!(headers["x-ms-deployment-name"], "gpt-4o");
    assert_eq!(headers["azureml-model-session"], "mock-a");
    assert_eq!(headers["x-mock-body-bytes"], body.len().to_string());
    assert_eq!(headers["x-mock-body-sha256"], hex::encode(Sha256::digest(&body)));
    for kind in ["limit", "remaining"] {
        assert!(headers.contains_key(format!("x-ratelimit-{kind}-requests")));
        assert!(headers.contains_key(format!("x-ratelimit-{kind}-tokens")));
    }
    assert_ne!(headers["apim-request-id"], second.headers()["apim-request-id"]);

    let recorded = &stage.mock.requests("a").unwrap()[0];
    assert_eq!((recorded.method.as_str(), recorded.path.as_str()), ("POST", CHAT));
    assert_eq!((recorded.header("x-custom"), recorded.header("api-key")), (Some("1"), None));
    assert_eq!(recorded.body_bytes, body.len());
}

#[tokio::test]
async fn http_2_with_prior_knowledge_carries_many_streams() {
    let stage = Stage::new(Behaviour::instant()).await;
    let client = client(ClientBuilder::http2_prior_knowledge);
    let mut streams = JoinSet::new();
    for _ in 0..50 {
        let request = client.post(stage.url(CHAT)).json(&streamed());
        streams.spawn(async move { request.send().await.unwrap() });
    }
    for response in streams.join_all().await {
        assert_eq!(
            (response.status(), response.version()),
            (StatusCode::OK, reqwest::Version::HTTP_2)
        );
        assert_eq!(
            told(&response.text().await.unwrap()),
            "filter role w0 w1 w2 w3 w4 finish:stop done"
        );
    }
}

#[tokio::test]
async fn headers_and_filter_chunk_come_while_the_first_token_does_not() {
    let behaviour = Behaviour { ttft_median_ms: 3_600_000.0, ..Behaviour::instant() };
    let stage = Stage::new(behaviour).await;
    let mut response = stage.chat_stream().await;
    let chunk = response.chunk().await.unwrap().unwrap();
    assert_eq!(told(std::str::from_utf8(&chunk).unwrap()), "filter");
    assert_eq!(stage.mock.counters("a").unwrap().in_flight, 1);
}

#[tokio::test]
async fn a_body_beyond_the_cap_is_refused() {
    let stage = Stage::new(Behaviour::instant()).await;
    let client = client(ClientBuilder::http2_prior_knowledge);
    let body = vec![b' '; 64 * 1024 * 1024 + 1];
    let response = client.post(stage.url(CHAT)).body(body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}
