//! Runs of assistants: what they say, the tools they wait for, and their streams.

use crate::mock::draft::{word, words};
use crate::mock::refusal::Refusal;
use crate::mock::script::{Mishap, Pieces};
use crate::mock::sse::event;
use crate::mock::store::act::{Found, Order, shown};
use crate::mock::store::{Entry, Shelf, fresh, life};
use bytes::Bytes;
use serde_json::{Value, json};

/// After a run was made: it takes from its assistant what it was not given.
pub(super) fn begun(shelf: &mut Shelf, path: &str, order: &Order<'_>) -> Result<Found, Refusal> {
    let run = shown(shelf, path);
    let assistant = format!("assistants/{}", text(&run, "assistant_id"));
    let assistant = shown(shelf, &assistant);
    let thread = thread_of(path).to_owned();
    life::add_messages(shelf, &thread, order.field("additional_messages"), order.now);
    let Some(entry) = shelf.entry(path) else { return Err(Refusal::no_resource()) };
    for field in ["model", "instructions", "tools"] {
        let given = order.field(field).or_else(|| assistant.get(field)).filter(|v| !v.is_null());
        if let Some(value) = given {
            entry.set(field, value.clone());
        }
    }
    entry.later = required_call(&entry.value);
    Ok(answer(shelf, path, order))
}

/// After the outputs of its tools have come.
pub(super) fn resumed(shelf: &mut Shelf, path: &str, order: &Order<'_>) -> Result<Found, Refusal> {
    let Some(entry) = shelf.entry(path).filter(|entry| entry.status() == "requires_action") else {
        let message = "Runs in this status do not accept tool outputs.";
        return Err(Refusal::invalid_value("status", message));
    };
    entry.set("status", "queued");
    entry.set("required_action", Value::Null);
    entry.looks = 0;
    Ok(answer(shelf, path, order))
}

fn answer(shelf: &mut Shelf, path: &str, order: &Order<'_>) -> Found {
    let queued = shown(shelf, path);
    if !order.streams() {
        return Found::Json(queued);
    }
    if let Some(entry) = shelf.entry(path) {
        entry.set("status", "completed");
    }
    finish(shelf, path, order);
    Found::Events(pieces(shelf, path, &queued, order.tokens))
}

/// A run that comes to its end has written a message, or waits for a tool.
pub(super) fn finish(shelf: &mut Shelf, path: &str, order: &Order<'_>) {
    let Some(run) = shelf.entry(path) else { return };
    run.set("started_at", order.now);
    if let Some(action) = run.later.take() {
        run.set("status", "requires_action");
        run.set("required_action", action);
        return;
    }
    let usage = json!({"prompt_tokens": 16, "completion_tokens": order.tokens,
        "total_tokens": order.tokens.saturating_add(16)});
    run.set("completed_at", order.now);
    run.set("usage", usage.clone());
    let run = run.value.clone();
    let (message, step) = (fresh("msg_"), fresh("step_"));
    let made = |id: &str, object: &str| {
        json!({
            "id": id, "object": object, "created_at": order.now, "status": "completed",
            "thread_id": run.get("thread_id"), "assistant_id": run.get("assistant_id"),
            "run_id": run.get("id"), "completed_at": order.now, "metadata": {},
        })
    };
    let mut said = Entry::new(made(&message, "thread.message"));
    said.set("role", "assistant");
    said.set("attachments", json!([]));
    said.set("content", content(&words(order.tokens)));
    let mut stepped = Entry::new(made(&step, "thread.run.step"));
    stepped.set("type", "message_creation");
    stepped.set("usage", usage);
    let creation = json!({"message_id": message});
    let details = json!({"type": "message_creation", "message_creation": creation});
    stepped.set("step_details", details);
    shelf.put(format!("{}/messages/{message}", thread_of(path)), said);
    shelf.put(format!("{path}/steps/{step}"), stepped);
}

/// The events of a run that is done already, as if it were going on.
fn pieces(shelf: &Shelf, path: &str, queued: &Value, tokens: u32) -> Pieces {
    let run = shown(shelf, path);
    let mut running = queued.clone();
    put(&mut running, "status", json!("in_progress"));
    let begin = [
        event("thread.run.created", queued),
        event("thread.run.queued", queued),
        event("thread.run.in_progress", &running),
    ];
    let done = Bytes::from_static(b"event: done\ndata: [DONE]\n\n");
    let steps = shelf.members(&format!("{path}/steps"));
    let step = steps.last().map(|step| step.value.clone());
    let Some(step) = step.filter(|_| text(&run, "status") == "completed") else {
        let end = event("thread.run.requires_action", &run);
        let pieces = Pieces::tokens_only(0, |_| Bytes::new());
        return Pieces { filter: begin.concat().into(), finish: end, done, ..pieces };
    };
    let messages = shelf.members(&format!("{}/messages", thread_of(path)));
    let message = messages.last().map(|message| message.value.clone()).unwrap_or_default();
    let (mut young_step, mut young) = (step.clone(), message.clone());
    put(&mut young_step, "status", json!("in_progress"));
    put(&mut young, "status", json!("in_progress"));
    put(&mut young, "content", json!([]));
    let role = [
        event("thread.run.step.created", &young_step),
        event("thread.run.step.in_progress", &young_step),
        event("thread.message.created", &young),
        event("thread.message.in_progress", &young),
    ];
    let finish =
        [event("thread.message.completed", &message), event("thread.run.step.completed", &step)];
    let id = text(&message, "id").to_owned();
    let delta = move |index| event("thread.message.delta", &delta(&id, index));
    Pieces {
        filter: begin.concat().into(),
        role: Some(role.concat().into()),
        finish: finish.concat().into(),
        usage: Some(event("thread.run.completed", &run)),
        done,
        mishap: Box::new(move |mishap| failed(&running, mishap)),
        ..Pieces::tokens_only(tokens, delta)
    }
}

fn delta(message: &str, index: u32) -> Value {
    let text =
        json!({"index": 0, "type": "text", "text": {"value": word(index), "annotations": []}});
    json!({"id": message, "object": "thread.message.delta", "delta": {"content": [text]}})
}

fn failed(run: &Value, mishap: Mishap) -> Bytes {
    let (code, message) = mishap.words();
    let mut run = run.clone();
    put(&mut run, "status", json!("failed"));
    put(&mut run, "last_error", json!({"code": code, "message": message}));
    event("thread.run.failed", &run)
}

/// The call of the first function, if the run has to make one.
fn required_call(run: &Value) -> Option<Value> {
    let choice = run.get("tool_choice")?;
    if choice.as_str() != Some("required") && !choice.is_object() {
        return None;
    }
    let tools = run.get("tools")?.as_array()?;
    let name = tools.iter().find_map(|tool| tool.pointer("/function/name"))?;
    let function = json!({"name": name, "arguments": "{}"});
    let call = json!({"id": fresh("call_"), "type": "function", "function": function});
    Some(json!({"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call]}}))
}

fn content(words: &str) -> Value {
    json!([{"type": "text", "text": {"value": words, "annotations": []}}])
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn put(value: &mut Value, field: &str, to: Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.insert(field.to_owned(), to);
    }
}

/// `threads/{id}` of the path of a run.
fn thread_of(path: &str) -> &str {
    path.split("/runs/").next().unwrap_or_default()
}
