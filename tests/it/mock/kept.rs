//! What lives on one mock and on no other: files, batches, vector stores, assistants and the like.

use crate::mock::{CHAT, Stage, asked, named_events, with};
use firstlight::mock::{BackendSpec, Behaviour};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A form of a few fields and one file.
fn form(fields: &[(&str, &str)], file: &str) -> (String, String) {
    let part = |head: &str, content: &str| {
        format!("--fence\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    let fields: String =
        fields.iter().map(|(name, value)| part(&format!("name=\"{name}\""), value)).collect();
    let file = part("name=\"file\"; filename=\"f.jsonl\"", file);
    ("multipart/form-data; boundary=fence".to_owned(), format!("{fields}{file}--fence--\r\n"))
}

async fn send_form(stage: &Stage, path: &str, (kind, body): (String, String)) -> reqwest::Response {
    let request = stage.client.post(stage.url(path)).header("content-type", kind);
    request.body(body).send().await.unwrap()
}

async fn uploaded(stage: &Stage, content: &str) -> String {
    let form = form(&[("purpose", "batch")], content);
    let checksum = hex::encode(Sha256::digest(&form.1));
    let response = send_form(stage, "/openai/v1/files", form).await;
    assert_eq!(response.headers()["x-mock-body-sha256"], checksum);
    let file: Value = response.json().await.unwrap();
    assert_eq!((&file["bytes"], &file["purpose"]), (&json!(content.len()), &json!("batch")));
    file["id"].as_str().unwrap().to_owned()
}

async fn call(stage: &Stage, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = stage.client.request(method, stage.url(path)).json(&body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn made(stage: &Stage, path: &str, body: Value) -> Value {
    let (status, answer) = call(stage, Method::POST, path, body).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

#[tokio::test]
async fn a_batch_answers_every_line_of_a_file_that_is_here() {
    let stage = Stage::new(Behaviour::instant()).await;
    let lines = "{\"custom_id\":\"1\",\"body\":{\"model\":\"m\"}}\n{\"custom_id\":\"2\"}\n";
    let file = uploaded(&stage, lines).await;
    let content = stage.get_text(&format!("/openai/v1/files/{file}/content")).await;
    assert_eq!(content, lines);
    let ask =
        json!({"input_file_id": file, "endpoint": "/chat/completions", "completion_window": "24h"});
    let batch = made(&stage, "/openai/v1/batches", ask.clone()).await;
    let path = format!("/openai/v1/batches/{}", batch["id"].as_str().unwrap());
    let mut states = vec![batch["status"].clone()];
    while states.last().unwrap() != "completed" {
        states.push(stage.get_json(&path).await["status"].clone());
    }
    assert_eq!(states, ["validating", "in_progress", "finalizing", "completed"]);
    let output = stage.get_json(&path).await["output_file_id"].as_str().unwrap().to_owned();
    let output = stage.get_text(&format!("/openai/v1/files/{output}/content")).await;
    assert_eq!(output.lines().count(), 2);

    let other = Stage::new(Behaviour::instant()).await;
    let (status, answer) = call(&other, Method::POST, "/openai/v1/batches", ask).await;
    assert_eq!(status, 404);
    assert_eq!(answer["error"]["message"], format!("No file found with id '{file}'."));
}

#[tokio::test]
async fn an_upload_is_its_parts_in_the_order_that_is_asked_for() {
    let stage = Stage::new(Behaviour::instant()).await;
    let ask = json!({"filename": "f", "purpose": "batch", "bytes": 4, "mime_type": "text/plain"});
    let upload = made(&stage, "/openai/v1/uploads", ask).await;
    let path = format!("/openai/v1/uploads/{}", upload["id"].as_str().unwrap());
    let mut parts = Vec::new();
    for content in ["cd", "ab"] {
        let (kind, body) = form(&[], content);
        let body = body.replace("name=\"file\"", "name=\"data\"");
        let part: Value =
            send_form(&stage, &format!("{path}/parts"), (kind, body)).await.json().await.unwrap();
        parts.push(part["id"].clone());
    }
    parts.reverse();
    let done = made(&stage, &format!("{path}/complete"), json!({"part_ids": parts})).await;
    let file = done["file"]["id"].as_str().unwrap();
    assert_eq!(stage.get_text(&format!("/openai/v1/files/{file}/content")).await, "abcd");
}

#[tokio::test]
async fn a_run_writes_into_its_thread_and_waits_for_its_tools() {
    let stage = Stage::new(Behaviour::instant()).await;
    let version = "?api-version=2024-05-01-preview";
    let at = |path: &str| format!("/openai/{path}{version}");
    let tool = json!({"type": "function", "function": {"name": "f"}});
    let assistant =
        made(&stage, &at("assistants"), json!({"model": "gpt-4o", "tools": [tool]})).await;
    let message = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let thread = made(&stage, &at("threads"), message).await;
    let runs = format!("threads/{}/runs", thread["id"].as_str().unwrap());
    let ask = json!({"assistant_id": assistant["id"], "tool_choice": "required"});
    let run = made(&stage, &at(&runs), ask).await;
    assert_eq!((&run["status"], &run["model"]), (&json!("queued"), &json!("gpt-4o")));
    let path = format!("{runs}/{}", run["id"].as_str().unwrap());
    stage.get_json(&at(&path)).await;
    let waiting = stage.get_json(&at(&path)).await;
    assert_eq!(waiting["status"], "requires_action");
    let outputs =
        json!({"tool_outputs": [{"tool_call_id": "call", "output": "1"}], "stream": true});
    let response = stage.post(&at(&format!("{path}/submit_tool_outputs")), &outputs).await;
    let events = named_events(&response.text().await.unwrap());
    let names: Vec<_> = events.iter().map(|(name, _)| name.trim_start_matches("thread.")).collect();
    assert_eq!(&names[..4], ["run.created", "run.queued", "run.in_progress", "run.step.created"]);
    assert_eq!(names.iter().filter(|name| **name == "message.delta").count(), 5);
    assert_eq!(&names[names.len() - 2..], ["run.completed", "done"]);
    let messages = thread["id"].as_str().unwrap();
    let messages = stage.get_json(&at(&format!("threads/{messages}/messages"))).await;
    assert_eq!(messages["data"][0]["content"][0]["text"]["value"], "w0 w1 w2 w3 w4 ");
    assert_eq!(messages["data"][1]["role"], "user");
    assert_eq!(
        stage.get_json(&at(&format!("{path}/steps"))).await["data"][0]["type"],
        "message_creation"
    );

    let elsewhere = json!({"assistant_id": "asst_elsewhere"});
    assert_eq!(call(&stage, Method::POST, &at(&runs), elsewhere).await.0, 404);
}

#[tokio::test]
async fn a_vector_store_finds_what_is_in_its_files() {
    let stage = Stage::new(Behaviour::instant()).await;
    let file = uploaded(&stage, "needle").await;
    let stores = "/openai/v1/vector_stores";
    let store = made(&stage, stores, json!({"file_ids": [file]})).await;
    assert_eq!(store["file_counts"]["in_progress"], 1);
    let path = format!("{stores}/{}", store["id"].as_str().unwrap());
    assert_eq!(stage.get_json(&path).await["file_counts"]["completed"], 1);
    assert_eq!(stage.get_json(&format!("{path}/files/{file}")).await["status"], "completed");
    let hits = made(&stage, &format!("{path}/search"), json!({"query": "?"})).await;
    assert_eq!(hits["data"][0]["content"][0]["text"], "needle");
    let batch = made(&stage, &format!("{path}/file_batches"), json!({"file_ids": [file]})).await;
    let batch = format!("{path}/file_batches/{}", batch["id"].as_str().unwrap());
    assert_eq!(stage.get_json(&batch).await["status"], "completed");
    assert_eq!(stage.get_json(&format!("{batch}/files")).await["data"][0]["id"], file.as_str());
}

#[tokio::test]
async fn everything_that_is_kept_is_made_shown_listed_changed_and_deleted_here_only() {
    let stage = Stage::new(Behaviour::instant()).await;
    let other = Stage::new(Behaviour::instant()).await;
    let file = uploaded(&stage, "{}").await;
    let assistant = made(&stage, "/openai/v1/assistants", json!({"model": "m"})).await;
    let eval = json!({"data_source_config": {"type": "custom"}, "testing_criteria": []});
    let tuning = json!({"model": "gpt-4o-mini", "training_file": file});
    let table = [
        ("assistants", json!({"model": "m"}), "asst_"),
        ("threads", json!({}), "thread_"),
        ("vector_stores", json!({"name": "n"}), "vs_"),
        ("conversations", json!({"items": [{"role": "user", "content": "x"}]}), "conv_"),
        ("containers", json!({"name": "n"}), "cntr_"),
        ("fine_tuning/jobs", tuning, "ftjob-"),
        ("evals", eval, "eval_"),
        ("videos", json!({"model": "sora", "prompt": "x"}), "video_"),
    ];
    for (collection, body, prefix) in table {
        let value = made(&stage, &format!("/openai/v1/{collection}"), body).await;
        let id = value["id"].as_str().unwrap();
        assert!(id.starts_with(prefix), "{id}");
        let path = format!("/openai/v1/{collection}/{id}");
        assert_eq!(stage.get_json(&path).await["id"], id);
        let elsewhere = other.get(&path).await;
        assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(elsewhere.json::<Value>().await.unwrap()["error"]["message"].is_string());
        if collection != "fine_tuning/jobs" {
            assert_eq!(call(&stage, Method::DELETE, &path, json!({})).await.1["deleted"], true);
            assert_eq!(stage.get(&path).await.status(), StatusCode::NOT_FOUND);
        }
    }
    let id = assistant["id"].as_str().unwrap();
    let changed =
        made(&stage, &format!("/openai/v1/assistants/{id}"), json!({"name": "new"})).await;
    assert_eq!((&changed["name"], &changed["id"]), (&json!("new"), &assistant["id"]));
    assert_eq!(stage.get_json("/openai/v1/assistants").await["data"][0]["id"], id);
    let jobs = stage.get_json("/openai/v1/fine_tuning/jobs").await;
    let job = format!("/openai/v1/fine_tuning/jobs/{}", jobs["data"][0]["id"].as_str().unwrap());
    assert_eq!(stage.get_json(&format!("{job}/events")).await["data"][0]["level"], "info");
    assert_eq!(
        call(&stage, Method::POST, &format!("{job}/cancel"), json!({})).await.1["status"],
        "cancelled"
    );
    assert_eq!(call(&stage, Method::POST, &format!("{job}/cancel"), json!({})).await.0, 400);
    assert_eq!(stage.get("/openai/v1/nothing").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_body_that_names_a_deployment_names_one_that_is_here() {
    let mut spec = BackendSpec::local("a", Behaviour::instant());
    spec.deployments = Some(vec!["whisper".to_owned()]);
    let stage = Stage::of(spec).await;
    let (status, answer) =
        call(&stage, Method::POST, "/openai/v1/assistants", json!({"model": "m"})).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("DeploymentNotFound")));
    let path = "/openai/v1/audio/transcriptions";
    let known = send_form(&stage, path, form(&[("model", "whisper")], "RIFF")).await;
    assert_eq!(known.json::<Value>().await.unwrap()["text"], "w0 w1 w2 w3 w4 ");
    let unknown = send_form(&stage, path, form(&[("model", "other")], "RIFF")).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(stage.mock.last_request("a").unwrap().unwrap().model.as_deref(), Some("other"));
    let missing = send_form(&stage, path, form(&[], "RIFF")).await;
    assert_eq!(missing.status(), StatusCode::BAD_REQUEST);
    let deployed = "/openai/deployments/whisper/audio/translations?api-version=2024-10-21";
    let text = send_form(&stage, deployed, form(&[("response_format", "text")], "RIFF")).await;
    assert_eq!(text.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(text.text().await.unwrap(), "w0 w1 w2 w3 w4 \n");
}

#[tokio::test]
async fn a_chat_is_kept_if_it_asks_to_be() {
    let stage = Stage::new(Behaviour::instant()).await;
    let ask = with(&asked(), &json!({"store": true, "metadata": {"a": "b"}}));
    let answer: Value = stage.post(CHAT, &ask).await.json().await.unwrap();
    let path = format!("/openai/v1/chat/completions/{}", answer["id"].as_str().unwrap());
    let kept = stage.get_json(&path).await;
    assert_eq!((&kept["choices"], &kept["metadata"]["a"]), (&answer["choices"], &json!("b")));
    assert_eq!(stage.get_json(&format!("{path}/messages")).await["data"][0]["content"], "Say hi");
    let forgotten: Value = stage.post(CHAT, &asked()).await.json().await.unwrap();
    let path = format!("/openai/v1/chat/completions/{}", forgotten["id"].as_str().unwrap());
    assert_eq!(stage.get(&path).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn sound_and_pictures() {
    let stage = Stage::new(Behaviour::instant()).await;
    let speech = json!({"model": "tts", "input": "Hi", "voice": "alloy"});
    let response = stage.post("/openai/v1/audio/speech", &speech).await;
    assert_eq!(response.headers()["content-type"], "audio/mpeg");
    let bytes = response.bytes().await.unwrap();
    let numbers: Vec<u8> = bytes.chunks(1_024).map(|chunk| chunk[0]).collect();
    assert_eq!((bytes.len(), numbers), (5 * 1_024, vec![0, 1, 2, 3, 4]));

    let form = form(&[("model", "gpt-4o-transcribe"), ("stream", "true")], "RIFF");
    let response = send_form(&stage, "/openai/v1/audio/transcriptions", form).await;
    let events = named_events(&response.text().await.unwrap());
    assert_eq!(events.len(), 6);
    assert_eq!(events[5].1["text"], "w0 w1 w2 w3 w4 ");
    assert_eq!(events[5].1["usage"]["output_tokens"], 5);

    let picture = json!({"model": "gpt-image-1", "prompt": "x", "n": 2});
    let answer = made(&stage, "/openai/v1/images/generations", picture).await;
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    assert!(answer["usage"]["total_tokens"].is_u64());
    let streamed = json!({"model": "m", "prompt": "x", "stream": true, "partial_images": 1});
    let response = stage.post("/openai/v1/images/generations", &streamed).await;
    let events = named_events(&response.text().await.unwrap());
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["image_generation.partial_image", "image_generation.completed"]);
}
