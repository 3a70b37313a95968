//! Encrypted content without the id of its item: only the resource that wrote it can read it.

use super::canned::{Canned, answer};
use super::{ALL, FIRST, OTHERS, V1_RESPONSES, setup};
use crate::support::{Answer, KEY, PROBE_KEY, World};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// As the model's resource writes it; clients and servers escape it differently.
const CONTENT: &str = "gAAAAABo+x/Zq0_T-encrypted-in-westus==";

fn whole() -> String {
    let escaped = CONTENT.replace('/', "\\/");
    let body = format!(
        r#"{{"object":"response","output":[{{"type":"reasoning","encrypted_content":"{escaped}"}}]}}"#
    );
    answer("200 OK", "", &body)
}

/// In chunks that cut the value.
fn streamed() -> String {
    let body = format!(
        "event: response.output_item.done\ndata: {{\"type\":\"response.output_item.done\",\"item\":{{\"type\":\"reasoning\",\
         \"encrypted_content\":\"{CONTENT}\"}}}}\n\nevent: response.output_text.delta\ndata: \
         {{\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}}\n\nevent: response.completed\ndata: \
         {{\"type\":\"response.completed\",\"response\":{{}}}}\n\n"
    );
    let pieces = body.as_bytes().chunks(60);
    let mut chunks = String::new();
    for piece in pieces {
        let text = std::str::from_utf8(piece).unwrap();
        write!(chunks, "{:x}\r\n{text}\r\n", piece.len()).unwrap();
    }
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n{chunks}0\r\n\r\n"
    )
}

fn question(content: Option<&str>, stream: bool) -> Value {
    let mut input = json!([{"role": "user", "content": "Say hi"}]);
    if let Some(content) = content {
        let thought = json!({"type": "reasoning", "summary": [], "encrypted_content": content});
        input.as_array_mut().unwrap().insert(0, thought);
    }
    json!({"model": "gpt-4o", "store": false, "stream": stream, "input": input})
}

async fn ask(world: &World, key: &str, target: Option<&str>, body: &Value) -> Answer {
    let mut request = world.client.post(world.url(V1_RESPONSES)).header("api-key", key);
    if let Some(target) = target {
        request = request.header("x-probe-target", target);
    }
    Answer::read(request.json(body).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leads_back_to_the_backend_that_wrote_it() {
    for (writes, stream) in [(whole(), false), (streamed(), true)] {
        let writer = Canned::new(writes);
        let world = Canned::world(setup(), &[(OTHERS[0], &writer)]).await;
        let first = ask(&world, PROBE_KEY, Some(OTHERS[0]), &question(None, stream)).await;
        assert_eq!((first.status, first.backend()), (200, Some(OTHERS[0])), "{}", first.text());
        for _ in 0..3 {
            let next = ask(&world, PROBE_KEY, None, &question(Some(CONTENT), stream)).await;
            assert_eq!((next.backend(), next.attempts()), (Some(OTHERS[0]), Some(1)));
        }
        // What nobody knows goes anywhere, and so does what another application sends on.
        let other = "gAAAAABo+x/Zq0_T-of-long-ago";
        for (key, content) in [(PROBE_KEY, other), (KEY, CONTENT)] {
            let free = ask(&world, key, None, &question(Some(content), stream)).await;
            assert_eq!((free.backend(), free.attempts()), (Some(FIRST), Some(1)));
            assert_eq!(
                (free.status, free.error_code().as_str()),
                (400, "invalid_encrypted_content")
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_where_it_was_written_is_told_with_its_time() {
    let writer = Canned::new(whole());
    let world = Canned::world(setup(), &[(OTHERS[0], &writer)]).await;
    let first = ask(&world, PROBE_KEY, Some(OTHERS[0]), &question(None, false)).await;
    assert_eq!(first.status, 200);
    let limited = Canned::new(answer("429 Too Many", "retry-after: 7\r\n", "{}"));
    let yaml = std::fs::read_to_string(world.file()).unwrap();
    let line = yaml.lines().find(|line| line.contains(&format!("{}:", OTHERS[0]))).unwrap();
    let (before, rest) = line.split_once("http://").unwrap();
    let address = limited.clone().listen().await;
    let new = format!("{before}http://{address}{}", rest.get(rest.find('"').unwrap()..).unwrap());
    world.reload(&yaml.replace(line, &new)).await.unwrap();
    let asked: u64 = ALL.iter().map(|region| world.requests(region)).sum();
    let next = ask(&world, PROBE_KEY, None, &question(Some(CONTENT), false)).await;
    assert_eq!((next.status, next.error_code().as_str()), (429, "rate_limit_exceeded"));
    let wait: u64 = next.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=7).contains(&wait), "{wait}");
    assert_eq!(ALL.iter().map(|region| world.requests(region)).sum::<u64>(), asked);
}
