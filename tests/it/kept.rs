//! What a real process has learned outlives it: killed, stopped, or started on a damaged file.

use crate::support::{Answer, Home, KEY, Service, wait_until};
use firstlight::mock::Behaviour;
use serde_json::{Value, json};
use std::fs;

async fn home() -> Home {
    Home::new(Behaviour { ttft_median_ms: 20.0, ..Behaviour::instant() }).await
}

/// Asks until the usual time of the preferred backend is known. A drain saves, so that a crash now costs nothing.
async fn learn(service: &Service) -> f64 {
    loop {
        service.chat().await.assert_whole_stream();
        if let Some(base) = service.target("a").await["base_ms"].as_f64() {
            return base;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_s_knowledge_and_drains_are_found_again() {
    let home = home().await;
    let mut service = home.start().await;
    service.said("nothing was learned before: a cold start").await;
    let base = learn(&service).await;
    assert_eq!(service.told(&["backend", "drain", "b"]).await.0, 0);
    service.signal("KILL");
    assert_eq!(service.ended().await.code(), None);
    drop(service);

    let mut service = home.start().await;
    let line = service.said("starting with what was learned before").await;
    assert_eq!((line["targets"].as_u64(), line["drained"].as_u64()), (Some(2), Some(1)), "{line}");
    let found = service.target("a").await["base_ms"].as_f64().unwrap();
    assert!((found - base).abs() < base / 2.0, "{found} after {base}");
    assert_eq!(service.target("b").await["state"], "drained");
    // Stopped in order it saves by itself.
    assert_eq!(service.told(&["backend", "enable", "b"]).await.0, 0);
    service.signal("TERM");
    service.ended().await;
    drop(service);
    let service = home.start().await;
    assert_eq!(service.target("b").await["state"], "healthy");
    assert!(service.target("a").await["base_ms"].is_number());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_a_warning_and_a_cold_start() {
    let home = home().await;
    fs::write(home.path("state/learned.json"), "{ half of it").unwrap();
    let service = home.start().await;
    let line = service.said("starting with nothing learned").await;
    assert_eq!(line["level"], "WARN");
    let why = line["error"].as_str().unwrap();
    assert!(why.contains("it is damaged") && why.contains("learned.json.rejected"), "{why}");
    assert!(service.target("a").await["base_ms"].is_null());
    assert_eq!(service.chat().await.status, 200);
    assert_eq!(
        fs::read_to_string(home.path("state/learned.json.rejected")).unwrap(),
        "{ half of it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_cannot_be_kept_says_so_and_holds() {
    let home = home().await;
    let service = home.start().await;
    fs::remove_dir_all(home.path("state")).unwrap();
    let (code, printed) = service.told(&["backend", "drain", "b"]).await;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("not saved, the next process would not know"), "{printed}");
    assert_eq!(service.target("b").await["state"], "drained");
}

/// One request for responses: its answer, and the backend that gave it.
async fn respond(service: &Service, path: &str, body: Option<Value>) -> (Value, String) {
    let url = format!("http://{}/openai/v1/responses{path}", service.address());
    let client = crate::support::client(|builder| builder);
    let request = match &body {
        Some(body) => client.post(url).json(body),
        None => client.get(url),
    };
    let answer = Answer::read(request.header("api-key", KEY).send().await.unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    (answer.json(), answer.backend().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lives_on_one_backend_is_found_again_after_a_crash() {
    let home = home().await;
    let mut service = home.start().await;
    // On the backend that nobody would choose.
    assert_eq!(service.told(&["backend", "drain", "a"]).await.0, 0);
    let question = json!({"model": "gpt-4o", "input": "Say hi"});
    let (made, backend) = respond(&service, "", Some(question.clone())).await;
    assert_eq!(backend, "b");
    let id = made["id"].as_str().unwrap().to_owned();
    let file = home.path("state/kept.jsonl");
    wait_until("the id in the file", || {
        fs::read_to_string(&file).is_ok_and(|text| text.contains(&id))
    })
    .await;
    assert_eq!(service.told(&["backend", "enable", "a"]).await.0, 0);
    service.signal("KILL");
    service.ended().await;
    drop(service);

    let service = home.start().await;
    let mut next = question;
    next["previous_response_id"] = json!(id);
    assert_eq!(respond(&service, "", Some(next)).await.1, "b");
    assert_eq!(respond(&service, &format!("/{id}"), None).await.1, "b");
}
