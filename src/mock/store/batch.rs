//! A batch that is done: one answer for each line of its input, in a file of its own.

use crate::mock::chat::CREATED;
use crate::mock::draft::words;
use crate::mock::store::act::Order;
use crate::mock::store::{Entry, Shelf, fresh};
use bytes::Bytes;
use serde_json::{Value, json};

/// Answers every line.
pub(super) fn finish(shelf: &mut Shelf, path: &str, order: &Order<'_>) {
    let input = shelf
        .get(path)
        .and_then(|batch| batch.value.get("input_file_id")?.as_str())
        .and_then(|id| shelf.get(&format!("files/{id}")))
        .map(|file| file.content.clone())
        .unwrap_or_default();
    let lines: Vec<String> = input
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .map(|line| format!("{}\n", answer(&line, order.tokens)))
        .collect();
    let content = Bytes::from(lines.concat());
    let file = fresh("file-");
    let value = json!({
        "id": file, "object": "file", "created_at": order.now, "bytes": content.len(), "status": "processed",
        "filename": "output.jsonl", "purpose": "batch_output",
    });
    shelf.put(format!("files/{file}"), Entry { content, ..Entry::new(value) });
    if let Some(batch) = shelf.entry(path) {
        let counts = json!({"total": lines.len(), "completed": lines.len(), "failed": 0});
        batch.set("output_file_id", file);
        batch.set("completed_at", order.now);
        batch.set("request_counts", counts);
    }
}

fn answer(line: &Value, tokens: u32) -> Value {
    let message = json!({"role": "assistant", "content": words(tokens)});
    let body = json!({
        "id": fresh("chatcmpl-"), "object": "chat.completion", "created": CREATED,
        "model": line.pointer("/body/model"),
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 8, "completion_tokens": tokens, "total_tokens": tokens.saturating_add(8)},
    });
    json!({
        "id": fresh("batch_req_"), "custom_id": line.get("custom_id"), "error": null,
        "response": {"status_code": 200, "request_id": fresh("req_"), "body": body},
    })
}
