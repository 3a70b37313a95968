//! What happens to a resource as it goes on: what follows from its making, and each time it is looked at.

use crate::mock::refusal::Refusal;
use crate::mock::store::act::{Found, Order, shown};
use crate::mock::store::kinds::collection;
use crate::mock::store::objects::{counts, item, message_content};
use crate::mock::store::{Entry, Kind, Shelf, batch, fresh, runs};
use serde_json::{Value, json};

/// After a resource was made.
pub(super) fn begun(
    shelf: &mut Shelf,
    kind: &Kind,
    path: &str,
    order: &Order<'_>,
) -> Result<Found, Refusal> {
    match kind.object {
        "thread" => add_messages(shelf, path, order.field("messages"), order.now),
        "conversation" => drop(add_items(shelf, path, order.field("items"))),
        "vector_store" => add_files(shelf, path, path, order),
        "vector_store.files_batch" => {
            let store = path.split("/file_batches/").next().unwrap_or_default().to_owned();
            add_files(shelf, &store, path, order);
        }
        "thread.run" => return runs::begun(shelf, path, order),
        _ => {}
    }
    Ok(Found::Json(shown(shelf, path)))
}

/// A resource is one state further each time that somebody looks, until it is done.
pub(super) fn looked_at(shelf: &mut Shelf, kind: &Kind, path: &str, order: &Order<'_>) -> Value {
    let Some(entry) = shelf.entry(path) else { return Value::Null };
    let status = entry.status().to_owned();
    let (Some(last), false) = (kind.states.last(), kind.is_final(&status)) else {
        return shown(shelf, path);
    };
    if !kind.states.contains(&status.as_str()) {
        return shown(shelf, path);
    }
    entry.looks += 1;
    let status = kind.states.get(entry.looks).unwrap_or(last);
    entry.set("status", *status);
    let counted = entry.value.pointer("/file_counts/total").and_then(Value::as_u64);
    if let Some(total) = counted.and_then(|total| usize::try_from(total).ok()) {
        entry.set("file_counts", counts(status, total));
    }
    if status == last {
        done(shelf, kind, path, order);
    }
    shown(shelf, path)
}

fn done(shelf: &mut Shelf, kind: &Kind, path: &str, order: &Order<'_>) {
    match kind.object {
        "batch" => return batch::finish(shelf, path, order),
        "thread.run" => return runs::finish(shelf, path, order),
        _ => {}
    }
    let Some(entry) = shelf.entry(path) else { return };
    match kind.object {
        "response" => {
            if let Some(value) = entry.later.take() {
                entry.value = value;
            }
        }
        "fine_tuning.job" => {
            let base = entry.value.get("model").and_then(Value::as_str).unwrap_or_default();
            let tuned = format!("{base}.{}", fresh("ft-"));
            entry.set("fine_tuned_model", tuned);
            entry.set("finished_at", order.now);
            entry.set("trained_tokens", 1_024);
        }
        "eval.run" => {
            entry.set("result_counts", json!({"total": 1, "passed": 1, "failed": 0, "errored": 0}));
        }
        "video" => {
            entry.set("progress", 100);
            entry.set("completed_at", order.now);
        }
        _ => {}
    }
}

/// Puts messages into a thread.
pub(super) fn add_messages(shelf: &mut Shelf, thread: &str, messages: Option<&Value>, now: u64) {
    for message in messages.and_then(Value::as_array).into_iter().flatten() {
        let id = fresh("msg_");
        let value = json!({
            "id": id, "object": "thread.message", "created_at": now, "status": "completed",
            "thread_id": thread.trim_start_matches("threads/"), "role": message.get("role"),
            "content": message_content(message.get("content")), "assistant_id": null, "run_id": null,
            "attachments": [], "metadata": {},
        });
        shelf.put(format!("{thread}/messages/{id}"), Entry::new(value));
    }
}

/// Puts items into a conversation, and gives them as they are kept.
pub(in crate::mock) fn add_items(
    shelf: &mut Shelf,
    conversation: &str,
    items: Option<&Value>,
) -> Vec<Value> {
    let mut kept = Vec::new();
    for given in items.and_then(Value::as_array).into_iter().flatten() {
        let value = item(given);
        let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
        shelf.put(format!("{conversation}/items/{id}"), Entry::new(value.clone()));
        kept.push(value);
    }
    kept
}

/// Puts files into a vector store; `counter` is what counts them.
fn add_files(shelf: &mut Shelf, store: &str, counter: &str, order: &Order<'_>) {
    let ids = order.field("file_ids").and_then(Value::as_array).into_iter().flatten();
    let ids: Vec<&str> = ids.filter_map(Value::as_str).collect();
    for id in &ids {
        let value = json!({
            "id": id, "object": "vector_store.file", "created_at": order.now, "status": "in_progress",
            "vector_store_id": store.trim_start_matches("vector_stores/"), "usage_bytes": 0,
            "last_error": null, "attributes": {},
        });
        shelf.put(format!("{store}/files/{id}"), Entry::new(value));
    }
    if let Some(entry) = shelf.entry(counter) {
        entry.set("file_counts", counts("in_progress", ids.len()));
    }
}

/// Stops a resource that is on its way. `path` is its own, without the `cancel`.
pub(super) fn cancelled(shelf: &mut Shelf, path: &[&str], now: u64) -> Result<Value, Refusal> {
    let (Some((id, parents)), joined) = (path.split_last(), path.join("/")) else {
        return Err(Refusal::no_resource());
    };
    let kind = collection(parents).ok_or_else(Refusal::no_resource)?;
    let entry = shelf.entry(&joined).ok_or_else(|| super::unknown(kind.noun, id))?;
    let status = entry.status().to_owned();
    if kind.is_final(&status) {
        let message = format!("Cannot cancel {} with status '{status}'.", kind.noun);
        return Err(Refusal::invalid_value("status", &message));
    }
    entry.set("status", "cancelled");
    entry.set("cancelled_at", now);
    entry.later = None;
    Ok(entry.value.clone())
}
