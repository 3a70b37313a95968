//! What is asked about a response that was kept, and of the counts and compactions that are kept nowhere.

use crate::mock::refusal::Refusal;
use crate::mock::responses::{events, input_items};
use crate::mock::store::act::{Found, Order};
use crate::mock::store::listed;
use crate::mock::store::{Entry, Shelf, fresh, unknown};
use serde_json::{Value, json};

type Answer = Result<Found, Refusal>;

/// Does it, if it is one of these.
pub(in crate::mock) fn act(shelf: &mut Shelf, order: &Order<'_>) -> Option<Answer> {
    match (order.method.as_str(), order.path) {
        ("POST", ["responses", "compact"]) => Some(Ok(Found::Json(compacted(shelf, order)))),
        ("POST", ["responses", "input_tokens"]) => Some(Ok(Found::Json(
            json!({"object": "response.input_tokens", "input_tokens": tokens(order)}),
        ))),
        ("POST", ["responses", id, "cancel"]) => Some(cancelled(shelf, id)),
        ("GET", ["responses", id, "input_items"]) => Some(items(shelf, id, order)),
        ("GET", ["responses", id]) => order.replay.map(|from| replayed(shelf, id, from)),
        _ => None,
    }
}

fn entry<'a>(shelf: &'a mut Shelf, id: &str) -> Result<&'a mut Entry, Refusal> {
    shelf.entry(&format!("responses/{id}")).ok_or_else(|| unknown("response", id))
}

/// Its stream once more; one in the background is done by then.
fn replayed(shelf: &mut Shelf, id: &str, from: u64) -> Answer {
    let entry = entry(shelf, id)?;
    if let Some(whole) = entry.later.take() {
        entry.value = whole;
    }
    Ok(Found::Events(events::pieces(&entry.value, from)))
}

/// Only what runs in the background can be stopped; what has ended stays as it is.
fn cancelled(shelf: &mut Shelf, id: &str) -> Answer {
    let entry = entry(shelf, id)?;
    if entry.value.get("background") != Some(&Value::Bool(true)) {
        let message = "Cannot cancel a synchronous response.";
        return Err(Refusal::invalid_value("response_id", message));
    }
    if entry.later.take().is_some() {
        entry.set("status", "cancelled");
    }
    Ok(Found::Json(entry.value.clone()))
}

fn items(shelf: &mut Shelf, id: &str, order: &Order<'_>) -> Answer {
    let content = entry(shelf, id)?.content.clone();
    let items: Vec<Value> = serde_json::from_slice(&content).unwrap_or_default();
    Ok(Found::Json(listed(items, &order.page)))
}

/// Four bytes make a token, more or less.
fn tokens(order: &Order<'_>) -> usize {
    order.field("input").map_or(0, |input| input.to_string().len() / 4)
}

fn compacted(shelf: &Shelf, order: &Order<'_>) -> Value {
    let mut output = input_items(order.field("input"));
    output.push(
        json!({"id": fresh("cmp_"), "type": "compaction", "encrypted_content": shelf.encrypt()}),
    );
    let tokens = tokens(order);
    json!({
        "id": fresh("resp_"), "object": "response.compaction", "created_at": order.now, "output": output,
        "usage": {"input_tokens": tokens, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": tokens + 1},
    })
}
