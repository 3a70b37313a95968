//! What is asked of resources beyond making, looking, changing and deleting.

use crate::mock::refusal::Refusal;
use crate::mock::responses::kept;
use crate::mock::store::act::{Found, Order, make, shown};
use crate::mock::store::kinds::collection;
use crate::mock::store::life::{add_items, add_messages, begun, cancelled};
use crate::mock::store::list::listed;
use crate::mock::store::{Entry, Shelf, fresh, runs, unknown};
use bytes::Bytes;
use serde_json::{Value, json};

type Answer = Result<Found, Refusal>;

/// Does it, if it is one of these.
pub(super) fn act(shelf: &mut Shelf, order: &Order<'_>) -> Option<Answer> {
    Some(match (order.method.as_str(), order.path) {
        (_, ["responses", ..]) => return kept::act(shelf, order),
        ("POST", ["realtime", kind]) => secret(order, kind),
        ("POST", ["threads", "runs"]) => thread_and_run(shelf, order),
        ("POST", [path @ .., "submit_tool_outputs"]) => {
            known(shelf, path).and_then(|path| runs::resumed(shelf, &path, order))
        }
        ("POST", [upload @ .., "complete"]) => completed_upload(shelf, upload, order),
        ("POST", [path @ .., "cancel"]) => cancelled(shelf, path, order.now).map(Found::Json),
        ("POST", path @ ["evals", _, "runs", _]) => {
            cancelled(shelf, path, order.now).map(Found::Json)
        }
        ("POST", [path @ .., state @ ("pause" | "resume")]) => paused(shelf, path, state),
        ("POST", ["vector_stores", store, "search"]) => search(shelf, store, order),
        ("POST", ["conversations", id, "items"]) => {
            known(shelf, &["conversations", id]).map(|path| {
                let mut items = add_items(shelf, &path, order.field("items"));
                items.reverse();
                Found::Json(listed(items, &order.page))
            })
        }
        ("GET", path @ [.., "content"]) => content(shelf, path),
        ("GET", ["chat", "completions", id, "messages"]) => {
            known(shelf, &["chat", "completions", id]).map(|path| {
                let content = shelf.get(&path).map(|entry| entry.content.clone());
                let messages = serde_json::from_slice(&content.unwrap_or_default());
                Found::Json(listed(messages.unwrap_or_default(), &order.page))
            })
        }
        ("GET", ["vector_stores", store, "file_batches", id, "files"]) => {
            known(shelf, &["vector_stores", store, "file_batches", id]).map(|path| {
                let named = shown(shelf, &path);
                let ids =
                    named.get("file_ids").and_then(Value::as_array).cloned().unwrap_or_default();
                let files = shelf.members(&format!("vector_stores/{store}/files")).into_iter();
                let of = |entry: &&Entry| entry.value.get("id").is_some_and(|id| ids.contains(id));
                let files = files.filter(of).map(|entry| entry.value.clone()).collect();
                Found::Json(listed(files, &order.page))
            })
        }
        ("GET", ["fine_tuning", "jobs", id, part @ ("events" | "checkpoints")]) => {
            known(shelf, &["fine_tuning", "jobs", id]).map(|_| tuning(id, part, order))
        }
        ("GET", ["evals", eval, "runs", run, "output_items"]) => {
            known(shelf, &["evals", eval, "runs", run])
                .map(|_| Found::Json(listed(Vec::new(), &order.page)))
        }
        _ => return None,
    })
}

/// The path of a resource that exists.
fn known(shelf: &Shelf, path: &[&str]) -> Result<String, Refusal> {
    let (id, parents) = path.split_last().ok_or_else(Refusal::no_resource)?;
    let kind = collection(parents).ok_or_else(Refusal::no_resource)?;
    let joined = path.join("/");
    shelf.get(&joined).map(|_| joined).ok_or_else(|| unknown(kind.noun, id))
}

fn secret(order: &Order<'_>, kind: &str) -> Answer {
    let value = json!({"value": fresh("ek_"), "expires_at": order.now + 60});
    let wanted = order.field("session").unwrap_or(&order.body.fields);
    let mut session = wanted.as_object().cloned().unwrap_or_default();
    session.entry("type").or_insert_with(|| json!("realtime"));
    session.insert("id".to_owned(), json!(fresh("sess_")));
    session.insert("object".to_owned(), json!("realtime.session"));
    if kind == "client_secrets" {
        let mut answer = value;
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("session".to_owned(), Value::Object(session));
        }
        return Ok(Found::Json(answer));
    }
    if !matches!(kind, "sessions" | "transcription_sessions") {
        return Err(Refusal::no_resource());
    }
    session.insert("client_secret".to_owned(), value);
    Ok(Found::Json(Value::Object(session)))
}

/// A thread is made, and a run in it.
fn thread_and_run(shelf: &mut Shelf, order: &Order<'_>) -> Answer {
    let id = fresh("thread_");
    let thread = format!("threads/{id}");
    let value = json!({"id": id, "object": "thread", "created_at": order.now, "metadata": {}});
    shelf.put(thread.clone(), Entry::new(value));
    let messages = order.field("thread").and_then(|thread| thread.get("messages"));
    add_messages(shelf, &thread, messages, order.now);
    let path = ["threads", id.as_str(), "runs"];
    let inner = Order { path: &path, body: order.body.clone(), page: order.page.clone(), ..*order };
    let kind = collection(&path).ok_or_else(Refusal::no_resource)?;
    let run = make(shelf, kind, &path.join("/"), &inner)?;
    begun(shelf, kind, &run, &inner)
}

/// The parts of an upload, in the order that is asked for, become a file.
fn completed_upload(shelf: &mut Shelf, path: &[&str], order: &Order<'_>) -> Answer {
    let path = known(shelf, path)?;
    let ids = order.field("part_ids").and_then(Value::as_array).into_iter().flatten();
    let mut content = Vec::new();
    for id in ids.filter_map(Value::as_str) {
        let part = shelf.get(&format!("{path}/parts/{id}")).ok_or_else(|| unknown("part", id))?;
        content.extend_from_slice(&part.content);
    }
    let upload = shown(shelf, &path);
    let file = json!({
        "id": fresh("file-"), "object": "file", "created_at": order.now, "bytes": content.len(),
        "filename": upload.get("filename"), "purpose": upload.get("purpose"), "status": "processed",
    });
    let id = file.get("id").and_then(Value::as_str).unwrap_or_default();
    let entry = Entry { content: Bytes::from(content), ..Entry::new(file.clone()) };
    shelf.put(format!("files/{id}"), entry);
    if let Some(upload) = shelf.entry(&path) {
        upload.set("status", "completed");
        upload.set("file", file);
    }
    Ok(Found::Json(shown(shelf, &path)))
}

fn paused(shelf: &mut Shelf, path: &[&str], state: &str) -> Answer {
    let path = known(shelf, path)?;
    if let Some(job) = shelf.entry(&path) {
        job.set("status", if state == "pause" { "paused" } else { "queued" });
    }
    Ok(Found::Json(shown(shelf, &path)))
}

fn search(shelf: &Shelf, store: &str, order: &Order<'_>) -> Answer {
    let path = known(shelf, &["vector_stores", store])?;
    let query = order.field("query").ok_or_else(|| Refusal::missing("query"))?;
    let hits: Vec<Value> = shelf
        .members(&format!("{path}/files"))
        .into_iter()
        .filter_map(|entry| entry.value.get("id")?.as_str())
        .filter_map(|id| Some((id, shelf.get(&format!("files/{id}"))?)))
        .map(|(id, file)| {
            let text = String::from_utf8_lossy(&file.content);
            json!({"file_id": id, "filename": file.value.get("filename"), "score": 0.9, "attributes": {},
                "content": [{"type": "text", "text": text}]})
        })
        .collect();
    Ok(Found::Json(json!({
        "object": "vector_store.search_results.page", "search_query": query, "data": hits,
        "has_more": false, "next_page": null,
    })))
}

/// The bytes of a file, or the texts of one in a vector store.
fn content(shelf: &Shelf, path: &[&str]) -> Answer {
    let (_, owner) = path.split_last().ok_or_else(Refusal::no_resource)?;
    let joined = known(shelf, owner)?;
    let bytes = |path: &str| shelf.get(path).map(|entry| entry.content.clone()).unwrap_or_default();
    match owner {
        ["vector_stores", _, "files", id] => {
            let text = String::from_utf8_lossy(&bytes(&format!("files/{id}"))).into_owned();
            Ok(Found::Json(json!({
                "object": "vector_store.file_content.page", "data": [{"type": "text", "text": text}],
                "has_more": false, "next_page": null,
            })))
        }
        ["videos", _] => {
            Ok(Found::File("video/mp4", Bytes::from_static(b"\0\0\0\x18ftypmp42mock")))
        }
        ["files", _] | ["containers", ..] => {
            Ok(Found::File("application/octet-stream", bytes(&joined)))
        }
        _ => Err(Refusal::no_resource()),
    }
}

fn tuning(id: &str, part: &str, order: &Order<'_>) -> Found {
    let entry = match part {
        "events" => {
            json!({"id": format!("ftevent-{id}"), "object": "fine_tuning.job.event", "level": "info",
            "created_at": order.now, "message": "Job enqueued.", "type": "message", "data": null})
        }
        _ => {
            json!({"id": format!("ftckpt_{id}"), "object": "fine_tuning.job.checkpoint", "step_number": 1,
            "created_at": order.now, "fine_tuning_job_id": id, "metrics": {"step": 1.0},
            "fine_tuned_model_checkpoint": "mock:ckpt-step-1"})
        }
    };
    Found::Json(listed(vec![entry], &order.page))
}
