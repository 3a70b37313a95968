//! What a new resource looks like: the fields that the service fills in, and over them what it was made with.
//! Pure.

use crate::mock::refusal::Refusal;
use crate::mock::store::act::Order;
use crate::mock::store::{Kind, fresh};
use serde_json::{Map, Value, json};

/// Fields of a request that do not become fields of what it makes.
const NOT_KEPT: &[&str] =
    &["file", "stream", "messages", "thread", "items", "additional_messages", "data"];

/// A new resource.
pub(super) fn object(kind: &Kind, id: &str, order: &Order<'_>) -> Result<Value, Refusal> {
    if let Some(missing) = required(kind.object).iter().find(|name| order.field(name).is_none()) {
        return Err(Refusal::missing(missing));
    }
    let mut fields = filled(kind.object, order);
    let given = order.body.fields.as_object().into_iter().flatten();
    for (name, value) in given.filter(|(name, _)| !NOT_KEPT.contains(&name.as_str())) {
        fields.insert(name.clone(), value.clone());
    }
    if kind.object == "thread.message" {
        fields.insert("content".to_owned(), message_content(order.field("content")));
    }
    fields.insert("id".to_owned(), json!(id));
    fields.insert("object".to_owned(), json!(kind.object));
    fields.insert("created_at".to_owned(), json!(order.now));
    Ok(Value::Object(fields))
}

/// What nobody can make one without.
fn required(object: &str) -> &'static [&'static str] {
    match object {
        "assistant" => &["model"],
        "batch" => &["input_file_id", "endpoint", "completion_window"],
        "eval" => &["data_source_config", "testing_criteria"],
        "eval.run" => &["data_source"],
        "file" => &["file", "purpose"],
        "fine_tuning.job" => &["model", "training_file"],
        "thread.message" => &["role", "content"],
        "thread.run" => &["assistant_id"],
        "upload" => &["filename", "purpose", "bytes", "mime_type"],
        "upload.part" => &["data"],
        "vector_store.files_batch" => &["file_ids"],
        "video" => &["model", "prompt"],
        _ => &[],
    }
}

fn filled(object: &str, order: &Order<'_>) -> Map<String, Value> {
    let owner = order.path.get(1).copied().unwrap_or_default();
    let hour = order.now + 3_600;
    let file = order.body.file.as_ref();
    let (name, bytes) = file.map_or(("", 0), |file| (file.name.as_str(), file.bytes.len()));
    let value = match object {
        "assistant" => json!({"name": null, "description": null, "instructions": null, "tools": [],
            "tool_resources": {}, "metadata": {}, "temperature": 1.0, "top_p": 1.0, "response_format": "auto"}),
        "batch" => {
            json!({"errors": null, "output_file_id": null, "error_file_id": null, "metadata": null,
            "request_counts": {"total": 0, "completed": 0, "failed": 0}, "expires_at": order.now + 86_400})
        }
        "container" => json!({"name": "", "status": "running", "last_active_at": order.now,
            "expires_after": {"anchor": "last_active_at", "minutes": 20}}),
        "container.file" => {
            json!({"container_id": owner, "bytes": bytes, "path": format!("/mnt/data/{name}"),
            "source": "user"})
        }
        "conversation" => json!({"metadata": {}}),
        "eval" => json!({"name": "", "metadata": {}}),
        "eval.run" => {
            json!({"eval_id": owner, "name": "", "model": "", "metadata": {}, "error": null,
            "report_url": "", "per_model_usage": [], "per_testing_criteria_results": [],
            "result_counts": {"total": 0, "passed": 0, "failed": 0, "errored": 0}})
        }
        "file" => {
            json!({"bytes": bytes, "filename": name, "status": "processed", "status_details": null})
        }
        "fine_tuning.job" => {
            json!({"fine_tuned_model": null, "finished_at": null, "organization_id": "mock",
            "result_files": [], "seed": 42, "trained_tokens": null, "validation_file": null, "error": null,
            "hyperparameters": {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}})
        }
        "thread" => json!({"metadata": {}, "tool_resources": {}}),
        "thread.message" => {
            json!({"thread_id": owner, "assistant_id": null, "run_id": null, "attachments": [],
            "metadata": {}, "status": "completed"})
        }
        "thread.run" => {
            json!({"thread_id": owner, "metadata": {}, "started_at": null, "completed_at": null,
            "cancelled_at": null, "failed_at": null, "expires_at": hour, "last_error": null, "usage": null,
            "required_action": null, "incomplete_details": null, "instructions": "", "model": "", "tools": [],
            "tool_choice": "auto", "parallel_tool_calls": true, "response_format": "auto", "temperature": 1.0,
            "top_p": 1.0, "truncation_strategy": {"type": "auto", "last_messages": null},
            "max_prompt_tokens": null, "max_completion_tokens": null})
        }
        "upload" => json!({"status": "pending", "expires_at": hour, "file": null}),
        "upload.part" => json!({"upload_id": owner}),
        "vector_store" => {
            json!({"name": "", "usage_bytes": 0, "last_active_at": order.now, "metadata": {},
            "expires_after": null, "expires_at": null, "file_counts": counts("in_progress", 0)})
        }
        "vector_store.file" => {
            json!({"vector_store_id": owner, "usage_bytes": 0, "last_error": null,
            "attributes": {}, "chunking_strategy": {"type": "static", "static":
                {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}})
        }
        "vector_store.files_batch" => {
            json!({"vector_store_id": owner, "file_counts": counts("in_progress", 0)})
        }
        "video" => json!({"progress": 0, "seconds": "4", "size": "720x1280", "error": null,
            "completed_at": null, "expires_at": hour, "remixed_from_video_id": null}),
        _ => json!({}),
    };
    if let Value::Object(fields) = value { fields } else { Map::new() }
}

/// How many files of a store are how far: all of them as far as the store itself.
pub(super) fn counts(status: &str, files: usize) -> Value {
    let of = |name: &str| if name == status { files } else { 0 };
    json!({"in_progress": of("in_progress"), "completed": of("completed"), "failed": 0,
        "cancelled": of("cancelled"), "total": files})
}

/// A message's text in the form in which it is kept.
pub(super) fn message_content(content: Option<&Value>) -> Value {
    let text = |text: &str| json!({"type": "text", "text": {"value": text, "annotations": []}});
    match content {
        Some(Value::String(words)) => json!([text(words)]),
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| part.get("text").and_then(Value::as_str).map_or_else(|| part.clone(), text))
            .collect(),
        _ => json!([]),
    }
}

/// An item of a conversation or of a response's input in the form in which it is kept.
pub(in crate::mock) fn item(given: &Value) -> Value {
    let content = match given.get("content") {
        Some(Value::String(text)) => json!([{"type": "input_text", "text": text}]),
        Some(parts) => parts.clone(),
        None => Value::Null,
    };
    let mut fields = given.as_object().cloned().unwrap_or_default();
    let is_message = fields.get("type").is_none_or(|kind| kind == "message");
    if is_message {
        fields.insert("type".to_owned(), json!("message"));
        fields.insert("content".to_owned(), content);
    }
    fields.insert("status".to_owned(), json!("completed"));
    fields.entry("id").or_insert_with(|| json!(fresh(if is_message { "msg_" } else { "item_" })));
    Value::Object(fields)
}
