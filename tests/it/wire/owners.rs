//! What lives on one backend: follow-ups find it, other apps do not, and nothing is sent elsewhere.

use crate::support::{Answer, KEY, PROBE_KEY, Setup, Streamed, V1_CHAT, World};
use firstlight::mock::{Fault, Limit, RetryAfter};
use reqwest::Method;
use serde_json::{Value, json};

const RESPONSES: &str = "/openai/v1/responses";

/// Three regions, none preferred.
async fn world() -> World {
    World::of(Setup { first_preferred: false, ..Setup::default() }).await
}

async fn ask(world: &World, key: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = world.client.request(method, world.url(path)).header("api-key", key);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    Answer::read(request.send().await.unwrap()).await
}

async fn get(world: &World, path: &str) -> Answer {
    ask(world, KEY, Method::GET, path, None).await
}

fn response(previous: Option<&str>) -> Value {
    let mut body = json!({"model": "gpt-4o", "input": "Say hi"});
    if let Some(previous) = previous {
        body["previous_response_id"] = json!(previous);
    }
    body
}

/// A new response: its id, and the backend that made it.
async fn respond(world: &World, previous: Option<&str>) -> (String, String) {
    let answer = world.post(RESPONSES, &response(previous)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    (answer.json()["id"].as_str().unwrap().to_owned(), answer.backend().unwrap().to_owned())
}

#[tokio::test]
async fn every_follow_up_goes_to_the_backend_that_keeps_the_response() {
    let world = world().await;
    for _ in 0..6 {
        let (id, backend) = respond(&world, None).await;
        let (next, again) = respond(&world, Some(&id)).await;
        assert_eq!(again, backend);
        for path in [format!("{RESPONSES}/{next}"), format!("/v1/responses/{id}/input_items")] {
            let answer = get(&world, &path).await;
            assert_eq!((answer.status, answer.backend()), (200, Some(&*backend)), "{path}");
        }
        let old = format!("/openai/responses/{id}?api-version=2025-03-01-preview");
        let gone = ask(&world, KEY, Method::DELETE, &old, None).await;
        assert_eq!((gone.status, gone.backend()), (200, Some(&*backend)), "{}", gone.text());
    }
}

#[tokio::test]
async fn the_id_of_a_stream_is_known_before_the_stream_ends() {
    let world = world().await;
    let mut body = response(None);
    body["stream"] = json!(true);
    let mut stream = Streamed::of(world.request(RESPONSES).json(&body).send().await.unwrap());
    let first = String::from_utf8(stream.next().await.unwrap()).unwrap();
    let id = first.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(id.starts_with("resp_"), "{first}");
    let next = respond(&world, Some(&id)).await.1;
    while stream.next().await.is_some() {}
    assert_eq!(stream.into_answer().backend(), Some(&*next));
}

#[tokio::test]
async fn ids_of_one_app_are_refused_to_another() {
    let world = world().await;
    let (id, _) = respond(&world, None).await;
    let path = format!("{RESPONSES}/{id}");
    let before: u64 = ["a", "b", "c"].iter().map(|region| world.requests(region)).sum();
    for (method, path, body) in [
        (Method::GET, path.clone(), None),
        (Method::DELETE, path.clone(), None),
        (Method::POST, format!("{path}/cancel"), None),
        (Method::POST, RESPONSES.to_owned(), Some(response(Some(&id)))),
        (
            Method::POST,
            RESPONSES.to_owned(),
            Some(json!({"model": "gpt-4o", "conversation": {"id": id}, "input": "x"})),
        ),
        (
            Method::POST,
            RESPONSES.to_owned(),
            Some(json!({"model": "gpt-4o", "input": [{"type": "x", "id": id}]})),
        ),
    ] {
        let answer = ask(&world, PROBE_KEY, method, &path, body).await;
        assert_eq!((answer.status, &*answer.error_code()), (403, "id_forbidden"), "{path}");
    }
    let after: u64 = ["a", "b", "c"].iter().map(|region| world.requests(region)).sum();
    assert_eq!(after, before, "no backend was asked");
    assert_eq!(get(&world, &path).await.status, 200);
}

#[tokio::test]
async fn what_nobody_knows_is_looked_for_by_get_alone() {
    let world = world().await;
    // Made beside Firstlight, as before it was put in front.
    let url = format!("http://{}{RESPONSES}", world.mock.address("b").unwrap());
    let made = world.client.post(url).header("api-key", crate::support::BACKEND_KEY);
    let made: Value = made.json(&response(None)).send().await.unwrap().json().await.unwrap();
    let id = made["id"].as_str().unwrap().to_owned();
    let path = format!("{RESPONSES}/{id}");
    for (method, path, body) in [
        (Method::DELETE, path.clone(), None),
        (Method::POST, format!("{path}/cancel"), None),
        (Method::POST, RESPONSES.to_owned(), Some(response(Some(&id)))),
    ] {
        let answer = ask(&world, KEY, method, &path, body).await;
        assert_eq!((answer.status, &*answer.error_code()), (404, "id_not_found"), "{path}");
    }
    let found = get(&world, &path).await;
    assert_eq!((found.status, found.backend()), (200, Some("b")), "{}", found.text());
    // Found, it is known, and its finder's.
    assert_eq!(ask(&world, PROBE_KEY, Method::GET, &path, None).await.status, 403);
    assert_eq!(respond(&world, Some(&id)).await.1, "b");
    assert_eq!(ask(&world, KEY, Method::DELETE, &path, None).await.status, 200);
}

#[tokio::test]
async fn what_is_nowhere_is_azures_404_and_what_may_be_somewhere_is_not() {
    let world = world().await;
    let path = format!("{RESPONSES}/resp_nowhere1");
    let nowhere = get(&world, &path).await;
    assert_eq!((nowhere.status, nowhere.attempts()), (404, Some(3)), "{}", nowhere.text());
    for region in ["a", "b", "c"] {
        assert_eq!(world.requests(region), 1);
    }
    world.fault("b", Fault::Status5xx { status: 500 });
    let unsure = get(&world, &path).await;
    assert_eq!(unsure.status, 503, "b may have it: {}", unsure.text());
}

#[tokio::test]
async fn an_owner_that_is_down_is_told_and_nobody_else_is_asked() {
    let world = world().await;
    let (id, backend) = respond(&world, None).await;
    world.mock.reset();
    world.fault(&backend, Fault::Status5xx { status: 503 });
    for (method, path, body) in [
        (Method::GET, format!("{RESPONSES}/{id}"), None),
        (Method::POST, RESPONSES.to_owned(), Some(response(Some(&id)))),
    ] {
        let answer = ask(&world, KEY, method, &path, body).await;
        assert_eq!((answer.status, &*answer.error_code()), (503, "owner_unavailable"));
        assert!(answer.header("retry-after").is_some());
        assert!(!answer.text().contains(&*backend) || backend.len() == 1);
    }
    for region in ["a", "b", "c"].into_iter().filter(|region| *region != backend) {
        assert_eq!(world.requests(region), 0, "{region}");
    }
    world.fault(&backend, Fault::None);
    assert_eq!(respond(&world, Some(&id)).await.1, backend);
}

#[tokio::test]
async fn an_owner_that_rests_is_a_429_with_its_own_wait() {
    let world = world().await;
    let (id, backend) = respond(&world, None).await;
    world.fault(
        &backend,
        Fault::Status429 { retry_after: RetryAfter::default(), limit: Limit::default() },
    );
    let answer = world.post(RESPONSES, &response(Some(&id))).await;
    assert_eq!((answer.status, &*answer.error_code()), (429, "rate_limit_exceeded"));
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn files_and_what_is_made_of_them_are_together() {
    let world = world().await;
    let mut files = Vec::new();
    for n in 0..4 {
        let form = format!(
            "--xx\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n--xx\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
             Content-Type: text/plain\r\n\r\ntext {n}\r\n--xx--\r\n"
        );
        let request = world.request("/v1/files");
        let request = request.header("content-type", "multipart/form-data; boundary=xx").body(form);
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        files.push((
            answer.json()["id"].as_str().unwrap().to_owned(),
            answer.backend().unwrap().to_owned(),
        ));
    }
    assert!(files.iter().all(|(_, backend)| *backend == files[0].1), "{files:?}");
    let ids: Vec<&String> = files.iter().map(|(id, _)| id).collect();
    let store = world.post("/v1/vector_stores", &json!({"name": "s", "file_ids": ids})).await;
    assert_eq!((store.status, store.backend()), (200, Some(&*files[0].1)), "{}", store.text());
    let listed = get(&world, "/v1/files?limit=2").await;
    assert_eq!((listed.status, listed.backend()), (200, Some(&*files[0].1)));
    let content = get(&world, &format!("/openai/v1/files/{}/content", files[2].0)).await;
    assert_eq!((content.status, content.text()), (200, "text 2"));
}

/// Uploads a file for an app; its id.
async fn upload(world: &World, key: &str) -> String {
    let form = "--xx\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n--xx\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\ntext\r\n--xx--\r\n";
    let request = world.client.post(world.url("/v1/files")).header("api-key", key);
    let request = request.header("content-type", "multipart/form-data; boundary=xx").body(form);
    let answer = Answer::read(request.send().await.unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_list_shows_nothing_of_another_app() {
    let world = World::of(Setup { regions: vec!["a"], ..Setup::default() }).await;
    let (ours, theirs) = (upload(&world, KEY).await, upload(&world, PROBE_KEY).await);
    let shown = |answer: &Answer| -> Vec<String> {
        let data = answer.json()["data"].as_array().unwrap().clone();
        data.iter().map(|file| file["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(shown(&get(&world, "/v1/files").await), [ours]);
    let other = ask(&world, PROBE_KEY, Method::GET, "/v1/files", None).await;
    assert_eq!(shown(&other), [&*theirs]);
    // In every writing of the id.
    let escaped = theirs.replace('-', "\\u002d");
    let body = format!(r#"{{"name":"s","file_ids":["{escaped}"]}}"#);
    let request = world.request("/v1/vector_stores").header("content-type", "application/json");
    let answer = Answer::read(request.body(body).send().await.unwrap()).await;
    assert_eq!((answer.status, &*answer.error_code()), (403, "id_forbidden"));
}

#[tokio::test]
async fn words_of_the_protocol_belong_to_nobody() {
    let world = world().await;
    let mut body = response(None);
    body["tools"] =
        json!([{"type": "file_search", "vector_store_ids": [], "required": ["thread_id"]}]);
    body["metadata"] = json!({"kind": "file_search_call", "of": "resp_000000000000000000000000"});
    for key in [KEY, PROBE_KEY, KEY] {
        let answer = ask(&world, key, Method::POST, RESPONSES, Some(body.clone())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Only its id is given: the message, or what it was made of, is on one backend.
#[tokio::test]
async fn what_is_referred_to_leads_to_its_backend_and_is_its_apps_own() {
    let world = world().await;
    for _ in 0..6 {
        let made = world.post(RESPONSES, &response(None)).await;
        let (backend, made) = (made.backend().unwrap().to_owned(), made.json());
        let message =
            made["output"].as_array().unwrap().iter().find(|item| item["type"] == "message");
        let id = message.unwrap()["id"].clone();
        assert!(id.as_str().unwrap().starts_with("msg_"), "{id}");
        let mut body = response(None);
        body["input"] = json!([{"type": "item_reference", "id": id}]);
        let answer = world.post(RESPONSES, &body).await;
        assert_eq!((answer.status, answer.backend()), (200, Some(&*backend)), "{}", answer.text());
        let other = ask(&world, PROBE_KEY, Method::POST, RESPONSES, Some(body.clone())).await;
        assert_eq!((other.status, other.error_code().as_str()), (403, "id_forbidden"));
        // Sent back whole it can go anywhere.
        body["input"] = json!([message.unwrap()]);
        let other = ask(&world, PROBE_KEY, Method::POST, RESPONSES, Some(body)).await;
        assert_eq!(other.status, 200, "{}", other.text());
    }
}

#[tokio::test]
async fn what_was_compacted_goes_on_where_it_was() {
    let world = world().await;
    for _ in 0..6 {
        let compacted = world.post("/v1/responses/compact", &response(None)).await;
        assert_eq!(compacted.status, 200, "{}", compacted.text());
        let mut body = response(None);
        body["input"] = compacted.json()["output"].clone();
        let answer = world.post(RESPONSES, &body).await;
        assert_eq!(
            (answer.status, answer.backend()),
            (200, compacted.backend()),
            "{}",
            answer.text()
        );
        let other = ask(&world, PROBE_KEY, Method::POST, RESPONSES, Some(body)).await;
        assert_eq!((other.status, other.error_code().as_str()), (403, "id_forbidden"));
    }
}

/// The same endpoint under another name: a GET finds what is there, and what goes on from it follows.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_renamed_backend_keeps_is_found_again() {
    let world = world().await;
    let (id, backend) = respond(&world, None).await;
    let renamed = world.yaml.replace(&format!("\n  {backend}:"), "\n  renamed:");
    assert_ne!(renamed, world.yaml);
    world.reload(&renamed).await.unwrap();
    let (path, follow_up) = (format!("{RESPONSES}/{id}"), response(Some(&id)));
    let answer = world.post(RESPONSES, &follow_up).await;
    assert_eq!(
        (answer.status, answer.error_code().as_str()),
        (404, "id_not_found"),
        "nobody is asked"
    );
    let other = ask(&world, PROBE_KEY, Method::GET, &path, None).await;
    assert_eq!(other.status, 403, "it is still its app's own");
    let found = get(&world, &path).await;
    assert_eq!((found.status, found.backend()), (200, Some("renamed")), "{}", found.text());
    let answer = world.post(RESPONSES, &follow_up).await;
    assert_eq!((answer.status, answer.backend()), (200, Some("renamed")), "{}", answer.text());
}

#[tokio::test]
async fn a_word_in_an_answer_is_nobodys() {
    let world = world().await;
    let thread = json!({"metadata": {"id": "imported"}});
    let made = ask(&world, KEY, Method::POST, "/v1/threads", Some(thread)).await;
    assert_eq!((made.status, &made.json()["metadata"]["id"]), (200, &json!("imported")));
    // Nobody knows it, so it is looked for; it is not refused as another's.
    let answer = ask(&world, PROBE_KEY, Method::GET, "/v1/threads/imported", None).await;
    assert_eq!((answer.status, answer.attempts()), (404, Some(3)), "{}", answer.text());
}

#[tokio::test]
async fn things_on_two_backends_are_not_mixed() {
    let world = world().await;
    let (one, first) = respond(&world, None).await;
    let other = loop {
        let (id, backend) = respond(&world, None).await;
        if backend != first {
            break id;
        }
    };
    let mut body = response(Some(&one));
    body["input"] = json!([{"type": "item_reference", "id": other}]);
    let answer = world.post(RESPONSES, &body).await;
    assert_eq!((answer.status, &*answer.error_code()), (400, "ids_on_two_backends"));
}

#[tokio::test]
async fn the_models_are_those_of_the_app() {
    let world = world().await;
    for path in ["/openai/v1/models", "/v1/models", "/openai/models?api-version=2024-10-21"] {
        let answer = get(&world, path).await;
        let names: Vec<String> = answer.json()["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["gpt-4o", "text-embedding-3-large"], "{path}");
    }
    let all = ask(&world, PROBE_KEY, Method::GET, "/v1/models", None).await;
    assert_eq!(all.json()["data"].as_array().unwrap().len(), 3);
    assert_eq!(get(&world, "/v1/models/gpt-4o").await.json()["id"], "gpt-4o");
    assert_eq!(get(&world, "/v1/models/other").await.error_code(), "model_forbidden");
    assert_eq!(get(&world, "/v1/models/none").await.error_code(), "DeploymentNotFound");
    let batch = world.post("/v1/batches", &json!({"input_file_id": "file-1"})).await;
    assert_eq!((batch.status, &*batch.error_code()), (403, "path_forbidden"));
    for region in ["a", "b", "c"] {
        assert_eq!(world.requests(region), 0, "they are answered here");
    }
    assert_eq!(world.post(V1_CHAT, &crate::support::chat()).await.status, 200);
}
