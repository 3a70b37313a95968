//! What a client sees of a good stream, and of one that breaks.

use crate::support::{Answer, Setup, Streamed, V1_CHAT, World, chat, content_of, streamed_chat};
use firstlight::mock::{Behaviour, Fault};
use firstlight::routing::State;
use serde_json::json;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_arrives_whole_with_our_headers() {
    let world = World::plain().await;
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_eq!(answer.backend(), Some("a"));
    assert_eq!(answer.attempts(), Some(1));
    assert!(answer.header("x-firstlight-ttft-ms").is_some());
    assert_eq!(answer.header("x-ms-region"), Some("a"));
    assert!(answer.header("apim-request-id").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_url_forms_and_all_operations_are_served() {
    let world = World::plain().await;
    let deployments = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
    world.post(deployments, &streamed_chat()).await.assert_whole_stream();
    let answer = world.post(deployments, &chat()).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "w0 w1 w2 w3 w4 ");
    let prompt = json!({"model": "gpt-4o", "prompt": "Say hi", "stream": true});
    let answer = world.post("/openai/v1/completions", &prompt).await;
    assert!(answer.complete && answer.text().contains("[DONE]"), "{}", answer.text());
    let input = json!({"model": "text-embedding-3-large", "input": "x"});
    let answer = world.post("/openai/v1/embeddings", &input).await;
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_may_have_another_name_on_a_backend() {
    let models = "  gpt-4o: { backends: { a: my-deployment } }\n  text-embedding-3-large: {}\n";
    let world = World::of(Setup { models, ..Setup::default() }).await;
    world.chat().await.assert_whole_stream();
    let seen = world.mock.last_request("a").unwrap().unwrap();
    let body = serde_json::to_vec(&streamed_chat()).unwrap();
    let expected = String::from_utf8(body).unwrap().replace("\"gpt-4o\"", "\"my-deployment\"");
    assert_eq!(seen.body_sha256, hex::encode(<sha2::Sha256 as sha2::Digest>::digest(expected)));
    let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
    world.post(path, &streamed_chat()).await.assert_whole_stream();
    let seen = world.mock.last_request("a").unwrap().unwrap();
    assert_eq!(
        seen.path,
        "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_passed_on_as_they_come() {
    // Tokens an hour apart: what arrives before the second one cannot have waited for it.
    let behaviour = Behaviour { gap_ms: 3_600_000.0, ..Behaviour::instant() };
    let world = World::of(Setup { behaviour, ..Setup::default() }).await;
    let response = world.request(V1_CHAT).json(&streamed_chat()).send().await.unwrap();
    let mut stream = Streamed::of(response);
    let mut seen = String::new();
    while !seen.contains("w0") {
        seen.push_str(&String::from_utf8(stream.next().await.unwrap()).unwrap());
    }
    assert_eq!(content_of(&seen), "w0 ");
    assert_eq!(world.mock.counters("a").unwrap().in_flight, 1, "the upstream is not finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_does_not_look_complete_and_is_not_repeated() {
    let world = World::plain().await;
    world.fault("a", Fault::Truncate { after_tokens: 2 });
    let answer = world.chat().await;
    assert_eq!(answer.status, 200);
    assert!(!answer.complete, "the client could take it for complete: {}", answer.text());
    assert!(!answer.text().contains("[DONE]"));
    assert!(answer.text().contains("\"upstream_abort\""), "{}", answer.text());
    assert_eq!(content_of(answer.text()), "w0 w1 ");
    assert_eq!(
        (world.requests("b"), world.requests("c")),
        (0, 0),
        "after the first content: never"
    );
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["term"], "upstream_abort", "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_h2_a_broken_stream_does_not_look_complete_either() {
    let world = World::plain().await;
    world.fault("a", Fault::Truncate { after_tokens: 2 });
    let client = crate::support::client(reqwest::ClientBuilder::http2_prior_knowledge);
    let request = client.post(world.url(V1_CHAT)).header("api-key", crate::support::KEY);
    let answer = Answer::read(request.json(&streamed_chat()).send().await.unwrap()).await;
    assert!(!answer.complete, "the client could take it for complete");
    assert!(answer.text().contains("\"upstream_abort\""), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_after_the_first_token_ends_in_time_and_counts_against_the_region() {
    let behaviour = Behaviour { gap_ms: 3_600_000.0, ..Behaviour::instant() };
    let more = "timeouts: { idle_seconds: 0.1 }";
    let world = World::of(Setup { behaviour, more, ..Setup::default() }).await;
    for _ in 0..3 {
        let answer = world.chat().await;
        assert_eq!((answer.status, answer.backend()), (200, Some("a")));
        assert!(
            !answer.complete && answer.text().contains("\"upstream_abort\""),
            "{}",
            answer.text()
        );
        let line = world.log_line(answer.request_id()).await;
        assert_eq!(line["attempts"][0]["outcome"], "broken_off", "{line}");
    }
    assert!(world.is_degraded("gpt-4o", "a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_that_breaks_off_is_asked_of_another() {
    let world = World::plain().await;
    world.fault("a", Fault::Truncate { after_tokens: 2 });
    let answer = world.post(V1_CHAT, &chat()).await;
    assert_eq!((answer.status, answer.attempts(), answer.complete), (200, Some(2), true));
    for region in ["b", "c"] {
        world.fault(region, Fault::Truncate { after_tokens: 2 });
    }
    let answer = world.post(V1_CHAT, &chat()).await;
    assert_eq!((answer.status, answer.complete), (503, true), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_and_without_a_body_may_follow_each_other() {
    let world = World::of(Setup { regions: vec!["a"], ..Setup::default() }).await;
    for _ in 0..3 {
        let files =
            world.client.get(world.url("/openai/v1/files")).header("api-key", crate::support::KEY);
        let answer = Answer::read(files.send().await.unwrap()).await;
        assert_eq!((answer.status, answer.json()["object"].as_str()), (200, Some("list")));
        world.chat().await.assert_whole_stream();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_fails_over_too() {
    for fault in [Fault::Status5xx { status: 500 }, Fault::WrongKey, Fault::Refuse, Fault::Reset] {
        let world = World::plain().await;
        world.fault("a", fault.clone());
        if fault == Fault::Refuse {
            world.mock.wait_until("a", |c| !c.listening).await.unwrap();
        }
        let files =
            world.client.get(world.url("/openai/v1/files")).header("api-key", crate::support::KEY);
        let answer = Answer::read(files.send().await.unwrap()).await;
        assert_eq!(
            (answer.status, answer.attempts()),
            (200, Some(2)),
            "{fault:?}: {}",
            answer.text()
        );
        let line = world.log_line(answer.request_id()).await;
        assert_eq!(line["attempts"][0]["backend"], "a", "{line}");
        assert_ne!(line["attempts"][0]["outcome"], "ok", "{line}");
        assert_eq!(line["attempts"][1]["outcome"], "ok", "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tool_calls_and_empty_answers_are_answers() {
    let world = World::plain().await;
    let mut tools = streamed_chat();
    tools["tools"] = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
    tools["tool_choice"] = json!("required");
    let answer = world.post(V1_CHAT, &tools).await;
    assert!(answer.complete && answer.text().contains("tool_calls"), "{}", answer.text());
    assert_eq!(answer.attempts(), Some(1));
    let answer = world
        .post(
            V1_CHAT,
            &json!({"model": "gpt-4o", "messages": [{"role": "user",
        "content": "trigger content filter"}]}),
        )
        .await;
    assert_eq!((answer.status, answer.error_code().as_str()), (400, "content_filter"));
    assert_eq!(answer.attempts(), Some(1), "the client's own mistake is not tried elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_could_not_list_its_files_is_asked_again_in_time() {
    let world = World::plain().await;
    let unset = world.proxy.live().snapshot().any_backend.routing.recover.flag_ttl;
    assert!(unset.is_some(), "nobody probes it");
    let more = "routing: { recover: { flag_ttl_seconds: 1 } }";
    let world = World::of(Setup { more, ..Setup::default() }).await;
    let live = world.proxy.live();
    let (any, clock) = (Arc::clone(&live.snapshot().any_backend), *live.clock());
    let state = || any.pool.view(0, clock.now()).unwrap().state;
    world.fault("a", Fault::Status5xx { status: 500 });
    while state() != State::Degraded {
        let files =
            world.client.get(world.url("/openai/v1/files")).header("api-key", crate::support::KEY);
        assert_eq!(files.send().await.unwrap().status(), 200);
    }
    world.fault("a", Fault::None);
    crate::support::wait_until("its time is over", || state() != State::Degraded).await;
}
