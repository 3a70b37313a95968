//! What a request used: asked for where the client did not, taken out again, and estimated where nobody tells.

use crate::support::{
    Answer, KEY, Setup, Streamed, V1_CHAT, World, chat, client, content_of, streamed_chat,
};
use firstlight::mock::Fault;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// As clients write it that know nothing of usage, oddly spaced.
const BODY: &str = r#"{ "model" : "gpt-4o","stream":true,  "n":1e0, "messages":[{"role":"user","content":"Say \u0068i"}]}"#;
const ASKING: &str = r#"{"stream_options":{"include_usage":true}, "model" : "gpt-4o","stream":true,  "n":1e0, "messages":[{"role":"user","content":"Say \u0068i"}]}"#;

async fn asking() -> World {
    World::of(Setup { more: "inject_usage: true", ..Setup::default() }).await
}

async fn send(world: &World, path: &str, body: &str) -> Answer {
    let request = world.request(path).header("content-type", "application/json");
    Answer::read(request.body(body.to_owned()).send().await.unwrap()).await
}

/// That the upstream got this body, to the byte.
fn assert_sent(world: &World, body: &str) {
    let seen = world.mock.last_request("a").unwrap().unwrap();
    assert_eq!(seen.body_sha256, hex::encode(Sha256::digest(body)), "not {body}");
}

/// What was told of it, and that nothing of it was estimated.
async fn assert_told(world: &World, answer: &Answer) {
    let line = world.log_line(answer.request_id()).await;
    assert_eq!((&line["tokens_out"], &line["tokens_est"]), (&json!(5), &json!(false)), "{line}");
    assert!(line["tokens_in"].as_u64().unwrap() > 0, "{line}");
    assert_eq!(line["bytes_out"], answer.body.len(), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usage_is_asked_for_and_taken_out() {
    let world = asking().await;
    let answer = send(&world, V1_CHAT, BODY).await;
    answer.assert_whole_stream();
    assert!(!answer.text().contains("\"usage\":{"), "{}", answer.text());
    assert_eq!(answer.text().matches("\"choices\":[]").count(), 1, "the filter's is left");
    assert_sent(&world, ASKING);
    assert_told(&world, &answer).await;
    let total =
        "firstlight_tokens_total{app=\"tests\",backend=\"a\",model=\"gpt-4o\",type=\"completion\"}";
    assert_eq!(world.metric(total).await, "5");
    let prompt = json!({"model": "gpt-4o", "prompt": "Say hi", "stream": true});
    let answer = world.post("/openai/v1/completions", &prompt).await;
    assert!(answer.complete && answer.text().contains("[DONE]"), "{}", answer.text());
    assert!(!answer.text().contains("\"usage\":{"), "{}", answer.text());
    assert_told(&world, &answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_h2_as_well() {
    let world = asking().await;
    let client = client(reqwest::ClientBuilder::http2_prior_knowledge);
    let request = client.post(world.url(V1_CHAT)).header("api-key", KEY);
    let request = request.header("content-type", "application/json").body(BODY);
    let answer = Answer::read(request.send().await.unwrap()).await;
    answer.assert_whole_stream();
    assert!(!answer.text().contains("\"usage\":{"), "{}", answer.text());
    assert_told(&world, &answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_is_named_at_the_same_time() {
    let models = "  gpt-4o: { backends: { a: my-deployment } }\n  text-embedding-3-large: {}\n";
    let setup = Setup { models, more: "inject_usage: true", ..Setup::default() };
    let world = World::of(setup).await;
    send(&world, V1_CHAT, BODY).await.assert_whole_stream();
    assert_sent(&world, &ASKING.replace("gpt-4o", "my-deployment"));
    let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
    send(&world, path, BODY).await.assert_whole_stream();
    assert_sent(&world, ASKING);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_or_streams_nothing_is_left_alone() {
    let world = asking().await;
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_eq!(answer.text().matches("\"usage\":{").count(), 1, "{}", answer.text());
    assert_sent(&world, &streamed_chat().to_string());
    assert_told(&world, &answer).await;
    let answer = world.post(V1_CHAT, &chat()).await;
    assert_sent(&world, &chat().to_string());
    assert_told(&world, &answer).await;
    let input = json!({"model": "text-embedding-3-large", "input": "x"});
    world.post("/openai/v1/embeddings", &input).await;
    assert_sent(&world, &input.to_string());
}

/// The default: nothing is changed, and what was used is an estimate that says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_told_is_estimated() {
    let world = World::plain().await;
    let answer = send(&world, V1_CHAT, BODY).await;
    answer.assert_whole_stream();
    assert_sent(&world, BODY);
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["tokens_est"], true, "{line}");
    assert_eq!((&line["tokens_in"], &line["tokens_out"]), (&json!(BODY.len() / 4), &json!(5)));
    assert_eq!((&line["tokens_cached"], &line["tokens_reasoning"]), (&Value::Null, &Value::Null));
    let series = |name: &str, kind: &str| {
        format!("firstlight_{name}{{app=\"tests\",backend=\"a\",model=\"gpt-4o\",type=\"{kind}\"}}")
    };
    assert_eq!(world.metric(&series("tokens_estimated_total", "completion")).await, "5");
    assert_eq!(world.metric(&series("tokens_total", "completion")).await, "0");
    assert_eq!(world.metric(&series("tokens_total", "prompt")).await, "0");
    // What failed used nothing that anybody knows of.
    for region in ["a", "b", "c"] {
        world.fault(region, Fault::Status5xx { status: 503 });
    }
    let line = world.log_line(send(&world, V1_CHAT, BODY).await.request_id()).await;
    assert_eq!((&line["tokens_in"], &line["tokens_est"]), (&Value::Null, &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_is_told_whole() {
    let world = asking().await;
    world.fault("a", Fault::Truncate { after_tokens: 2 });
    let answer = send(&world, V1_CHAT, BODY).await;
    assert!(!answer.complete, "{}", answer.text());
    assert_eq!(content_of(answer.text()), "w0 w1 ");
    assert!(answer.text().contains("\"upstream_abort\""), "{}", answer.text());
    let line = world.log_line(answer.request_id()).await;
    assert_eq!((&line["tokens_out"], &line["tokens_est"]), (&json!(2), &json!(true)), "{line}");
}

// ---- What the mock does not send ----

const TOKEN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"w0 \"}}],\"usage\":null}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5},\"latency_checkpoint\":{}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// A region that answers one request after the other with this stream, in pieces of so many bytes.
async fn scripted(text: String, size: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = Vec::new();
            // The last bytes of every body that is sent here.
            while !request.ends_with(b"\"}]}") {
                assert!(socket.read_buf(&mut request).await.unwrap() > 0, "cut short");
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
            socket.write_all(head.as_bytes()).await.unwrap();
            for piece in text.as_bytes().chunks(size) {
                let piece = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                socket.write_all(&piece).await.unwrap();
                socket.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            socket.write_all(b"0\r\n\r\n").await.unwrap();
        }
    });
    address
}

/// A world whose first region is such a one.
async fn with_scripted(text: &str, size: usize) -> World {
    let world = asking().await;
    let scripted = scripted(text.to_owned(), size).await;
    let mock = world.mock.address("a").unwrap().to_string();
    world.reload(&world.yaml.replace(&mock, &scripted)).await.unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usage_is_taken_out_however_it_is_cut() {
    let text = [TOKEN, TOKEN, USAGE, DONE].concat();
    for size in [1, 7, 100, 1_000] {
        let world = with_scripted(&text, size).await;
        let answer = send(&world, V1_CHAT, BODY).await;
        assert!(answer.complete, "{}", answer.text());
        assert_eq!(answer.text(), [TOKEN, TOKEN, DONE].concat());
        assert_told(&world, &answer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_at_the_end_is_not_lost() {
    let text = [TOKEN, DONE, "data: {\"usage\":{\"x\":1}"].concat();
    for size in [1, 1_000] {
        let world = with_scripted(&text, size).await;
        let answer = send(&world, V1_CHAT, BODY).await;
        assert_eq!((answer.complete, answer.text()), (true, text.as_str()));
    }
}

// ---- In the background ----

/// The model begins when there is room: the client gets its id at once, and the wait says nothing of the target.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_in_the_background_is_passed_on_at_once_and_not_timed() {
    let world = World::plain().await;
    let mut body = streamed_chat();
    body["background"] = json!(true);
    let answer = world.post(V1_CHAT, &body).await;
    answer.assert_whole_stream();
    assert_eq!(answer.header("x-firstlight-ttft-ms"), None);
    let timed = "firstlight_ttft_seconds_count{backend=\"a\",model=\"gpt-4o\",size=\"0\"}";
    assert_eq!(world.metric(timed).await, "0");
    world.chat().await.assert_whole_stream();
    assert_eq!(world.metric(timed).await, "1");
    world.fault("a", Fault::FreezeAfterFilter);
    let response = world.request(V1_CHAT).json(&body).send().await.unwrap();
    let first = Streamed::of(response).next().await.unwrap();
    assert!(String::from_utf8(first).unwrap().contains("prompt_filter_results"));
}

// ---- Other operations ----

const V1_RESPONSES: &str = "/openai/v1/responses";

fn response_of(instructions: &str) -> Value {
    json!({"model": "gpt-4o", "stream": true, "store": false, "input": "Say hi", "instructions": instructions})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_tells_what_it_used() {
    let world = asking().await;
    let whole = json!({"model": "gpt-4o", "input": "Say hi"});
    let streamed = response_of("x");
    let pictures = json!({"model": "gpt-4o", "prompt": "A cat", "background": "transparent"});
    let coming = json!({"model": "gpt-4o", "prompt": "A cat", "stream": true, "partial_images": 1});
    let spoken =
        json!({"model": "gpt-4o", "input": "Hi", "voice": "alloy", "stream_format": "sse"});
    for (path, body) in [
        (V1_RESPONSES, &whole),
        (V1_RESPONSES, &streamed),
        ("/openai/v1/images/generations", &pictures),
        ("/openai/v1/images/generations", &coming),
        ("/openai/v1/audio/speech", &spoken),
    ] {
        let answer = world.post(path, body).await;
        assert!(answer.status == 200 && answer.complete, "{path}: {}", answer.text());
        assert_sent(&world, &body.to_string());
        let line = world.log_line(answer.request_id()).await;
        assert!(line["tokens_in"].as_u64() > Some(0), "{path}: {line}");
        assert!(line["tokens_out"].as_u64() > Some(0), "{path}: {line}");
        assert_eq!(line["tokens_est"], false, "{line}");
    }
}

/// Its first event repeats the instructions. A model that then says nothing is silent all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_first_event_of_a_response_is_no_first_token() {
    let models = "  gpt-4o: { first_token_seconds: 0.3 }\n  text-embedding-3-large: {}\n";
    for size in [10, 20_000, 200_000] {
        let world = World::of(Setup { models, ..Setup::default() }).await;
        world.fault("a", Fault::FreezeAfterRole);
        let answer = world.post(V1_RESPONSES, &response_of(&"x".repeat(size))).await;
        assert!(answer.complete && answer.text().contains("response.completed"), "{size}");
        let line = world.log_line(answer.request_id()).await;
        let first = &line["attempts"][0];
        assert_eq!((&first["backend"], &first["ttft_ms"]), (&json!("a"), &Value::Null), "{line}");
        assert!(matches!(line["backend"].as_str(), Some("b" | "c")), "{line}");
        assert!(line["ttft_ms"].is_number() && line["tokens_est"] == false, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_inside_of_a_response_is_one() {
    let world = World::plain().await;
    world.fault("a", Fault::ErrorAfter200RateLimit);
    let answer = world.post(V1_RESPONSES, &response_of("x")).await;
    assert!(answer.complete && answer.text().contains("response.completed"), "{}", answer.text());
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["attempts"][0]["outcome"], "limited", "{line}");
    assert_eq!(line["attempts"].as_array().unwrap().len(), 2, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_breaks_off_is_told_so_and_estimated() {
    let world = World::plain().await;
    world.fault("a", Fault::Truncate { after_tokens: 2 });
    let answer = world.post(V1_RESPONSES, &response_of("x")).await;
    assert!(!answer.complete && answer.text().contains("\"upstream_abort\""), "{}", answer.text());
    let line = world.log_line(answer.request_id()).await;
    assert_eq!((&line["tokens_out"], &line["tokens_est"]), (&json!(2), &json!(true)), "{line}");
}
