//! The Responses API of the mock: its events, what it keeps, and how it fails.

use crate::mock::{Stage, named_events};
use firstlight::mock::{Behaviour, Fault};
use reqwest::StatusCode;
use serde_json::{Value, json};

const RESPONSES: &str = "/openai/v1/responses";

fn asked(more: &Value) -> Value {
    crate::mock::with(&json!({"model": "gpt-4o", "input": "Say hi"}), more)
}

async fn said(stage: &Stage, more: &Value) -> Value {
    let response = stage.post(RESPONSES, &asked(more)).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

fn names(events: &[(String, Value)]) -> String {
    let names = events.iter().map(|(name, data)| {
        let delta = data["delta"].as_str().unwrap_or(name);
        delta.trim().trim_start_matches("response.").to_owned()
    });
    names.collect::<Vec<_>>().join(" ")
}

const WHOLE: &str = "created in_progress output_item.added content_part.added w0 w1 w2 w3 w4 \
    output_text.done content_part.done output_item.done completed";

#[tokio::test]
async fn a_stream_has_the_real_events_and_is_kept_for_a_second_look() {
    let stage = Stage::new(Behaviour::instant()).await;
    let path = "/openai/responses?api-version=2025-04-01-preview";
    let response = stage.post(path, &asked(&json!({"stream": true}))).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let events = named_events(&response.text().await.unwrap());
    assert_eq!(names(&events), WHOLE);
    let numbers: Vec<_> = events.iter().map(|(_, data)| data["sequence_number"].clone()).collect();
    assert_eq!(numbers, (0..13).map(Value::from).collect::<Vec<_>>());
    let usage = &events.last().unwrap().1["response"]["usage"];
    let (input, output) =
        (usage["input_tokens"].as_u64().unwrap(), usage["output_tokens"].as_u64().unwrap());
    assert_eq!((output, usage["total_tokens"].as_u64()), (5, Some(input + 5)));
    assert!(usage["input_tokens_details"]["cached_tokens"].is_u64());

    let id = events[0].1["response"]["id"].as_str().unwrap();
    let kept = stage.get_json(&format!("{RESPONSES}/{id}")).await;
    assert_eq!(kept, events.last().unwrap().1["response"]);
    let again = stage.get_text(&format!("{RESPONSES}/{id}?stream=true&starting_after=7")).await;
    assert_eq!(
        names(&named_events(&again)),
        "w4 output_text.done content_part.done output_item.done completed"
    );
    assert_eq!(stage.mock.last_request("a").unwrap().unwrap().model, None);
    assert_eq!(stage.mock.requests("a").unwrap()[0].model.as_deref(), Some("gpt-4o"));
}

#[tokio::test]
async fn a_response_follows_only_one_that_is_kept_here() {
    let stage = Stage::new(Behaviour::instant()).await;
    let first = said(&stage, &json!({})).await;
    let next = said(&stage, &json!({"previous_response_id": first["id"]})).await;
    assert_eq!(next["previous_response_id"], first["id"]);

    let other = Stage::new(Behaviour::instant()).await;
    let refused = async |body: Value| {
        let response = other.post(RESPONSES, &body).await;
        let status = response.status().as_u16();
        let answer: Value = response.json().await.unwrap();
        (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let not_found = (400, "previous_response_not_found".to_owned());
    assert_eq!(refused(asked(&json!({"previous_response_id": first["id"]}))).await, not_found);
    let unstored = said(&stage, &json!({"store": false})).await;
    let id = unstored["id"].as_str().unwrap();
    assert_eq!(stage.get(&format!("{RESPONSES}/{id}")).await.status(), StatusCode::NOT_FOUND);

    let include = json!({"include": ["reasoning.encrypted_content"], "store": false});
    let reasoned = said(&stage, &include).await;
    let input = json!({"input": reasoned["output"]});
    said(&stage, &input).await;
    assert_eq!(refused(asked(&input)).await, (400, "invalid_encrypted_content".to_owned()));
}

#[tokio::test]
async fn one_in_the_background_goes_on_each_time_it_is_looked_at_and_can_be_stopped() {
    let stage = Stage::new(Behaviour::instant()).await;
    let begun = said(&stage, &json!({"background": true})).await;
    assert_eq!((&begun["status"], &begun["output"]), (&json!("queued"), &json!([])));
    let path = format!("{RESPONSES}/{}", begun["id"].as_str().unwrap());
    assert_eq!(stage.get_json(&path).await["status"], "in_progress");
    let done = stage.get_json(&path).await;
    assert_eq!(done["status"], "completed");
    assert_eq!(done["output"][0]["content"][0]["text"], "w0 w1 w2 w3 w4 ");

    let begun = said(&stage, &json!({"background": true})).await;
    let path = format!("{RESPONSES}/{}", begun["id"].as_str().unwrap());
    let stopped: Value =
        stage.post(&format!("{path}/cancel"), &json!({})).await.json().await.unwrap();
    assert_eq!(stopped["status"], "cancelled");
    assert_eq!(stage.get_json(&path).await["status"], "cancelled");
    let deleted = stage.client.delete(stage.url(&path)).send().await.unwrap();
    assert_eq!(deleted.json::<Value>().await.unwrap()["deleted"], true);
    assert_eq!(stage.get(&path).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn items_counts_and_compactions() {
    let stage = Stage::new(Behaviour::instant()).await;
    let made = said(&stage, &json!({})).await;
    let path = format!("{RESPONSES}/{}/input_items", made["id"].as_str().unwrap());
    assert_eq!(stage.get_json(&path).await["data"][0]["content"][0]["text"], "Say hi");
    let post = async |path: &str| {
        let response = stage.post(&format!("{RESPONSES}/{path}"), &asked(&json!({}))).await;
        response.json::<Value>().await.unwrap()
    };
    assert_eq!(post("input_tokens").await["object"], "response.input_tokens");
    assert_eq!(post("compact").await["object"], "response.compaction");
}

#[tokio::test]
async fn a_tool_that_is_required_is_called() {
    let stage = Stage::new(Behaviour::instant()).await;
    let tool = json!({"stream": true, "tool_choice": "required", "tools": [{"type": "function", "name": "f"}]});
    let text = stage.post(RESPONSES, &asked(&tool)).await.text().await.unwrap();
    let events = named_events(&text);
    let called = events.iter().find(|(name, _)| name == "response.function_call_arguments.done");
    let arguments = called.unwrap().1["arguments"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(arguments).unwrap().is_object());
}

#[tokio::test]
async fn faults_strike_a_response_like_a_chat() {
    let stage = Stage::new(Behaviour::instant()).await;
    let streamed = asked(&json!({"stream": true}));
    let check = async |fault: Fault, expected: &str, retry_after: Option<&str>| {
        stage.mock.set_fault("a", fault).unwrap();
        let response = stage.post(RESPONSES, &streamed).await;
        assert_eq!(response.status(), StatusCode::OK);
        let found =
            response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(found.as_deref(), retry_after);
        let events = named_events(&response.text().await.unwrap());
        assert_eq!(names(&events), expected);
        events
    };
    let limited =
        check(Fault::ErrorAfter200RateLimit, "created in_progress error failed", Some("3")).await;
    assert_eq!(limited[2].1["code"], "rate_limit_exceeded");
    assert_eq!(limited[3].1["response"]["error"]["code"], "rate_limit_exceeded");
    check(Fault::ErrorAfter200, "created in_progress error failed", None).await;
    let nothing = "created in_progress output_item.added content_part.added";
    check(Fault::EndBeforeContent, nothing, None).await;

    stage.mock.set_fault("a", Fault::Truncate { after_tokens: 2 }).unwrap();
    let response = stage.post(RESPONSES, &streamed).await;
    assert!(response.text().await.is_err(), "it ended as if it were whole");
    stage.mock.set_fault("a", Fault::ErrorAfter200RateLimit).unwrap();
    let whole = stage.post(RESPONSES, &asked(&json!({}))).await;
    assert_eq!(whole.status(), StatusCode::TOO_MANY_REQUESTS);
    stage.mock.set_fault("a", Fault::FreezeAfterFilter).unwrap();
    let mut frozen = stage.post(RESPONSES, &streamed).await;
    let first = String::from_utf8(frozen.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(first.starts_with("event: response.created\n"));
    drop(frozen);
    stage.mock.wait_until("a", |counters| counters.cancelled_by_client == 1).await.unwrap();
}
