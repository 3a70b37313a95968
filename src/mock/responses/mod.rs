//! The Responses API: what an answer is, and where it is kept.

pub(super) mod events;
pub(super) mod kept;

use crate::mock::ask::Ask;
use crate::mock::chat::argument;
use crate::mock::draft::{Draft, Finish, Usage, words};
use crate::mock::refusal::Refusal;
use crate::mock::store::{Entry, Shelf, add_items, check_references, fresh, item};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// A new response: as it is now, and as it will be.
pub(super) struct Made {
    pub(super) now: Value,
    pub(super) whole: Value,
}

/// Makes a response and keeps it, unless it is not to be.
pub(super) fn create(
    shelf: &mut Shelf,
    ask: &Ask,
    draft: &Draft,
    now: u64,
) -> Result<Made, Refusal> {
    let fields = &ask.fields;
    let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
    check_references(shelf, fields)?;
    if field("input").is_none() && field("prompt").is_none() {
        return Err(Refusal::missing("input"));
    }
    let stored = field("store") != Some(&Value::Bool(false));
    let background = field("background") == Some(&Value::Bool(true));
    if background && !stored {
        return Err(Refusal::invalid_value(
            "store",
            "Background mode requires 'store' to be true.",
        ));
    }
    let whole = object(shelf, ask, draft, now);
    let present = if background { early(&whole, "queued") } else { whole.clone() };
    let input = input_items(field("input"));
    if stored {
        let id = whole.get("id").and_then(Value::as_str).unwrap_or_default();
        let content = Bytes::from(Value::from(input.clone()).to_string());
        let later = background.then(|| whole.clone());
        let entry = Entry { content, later, ..Entry::new(present.clone()) };
        shelf.put(format!("responses/{id}"), entry);
    }
    if let Some(id) = field("conversation").and_then(|it| it.get("id").unwrap_or(it).as_str()) {
        let path = format!("conversations/{id}");
        drop(add_items(shelf, &path, Some(&Value::from(input))));
        drop(add_items(shelf, &path, whole.get("output")));
    }
    Ok(Made { now: present, whole })
}

/// A response before there is anything in it.
pub(super) fn early(whole: &Value, status: &str) -> Value {
    let mut fields = whole.as_object().cloned().unwrap_or_default();
    fields.insert("status".to_owned(), json!(status));
    fields.insert("output".to_owned(), json!([]));
    fields.insert("usage".to_owned(), Value::Null);
    fields.insert("incomplete_details".to_owned(), Value::Null);
    Value::Object(fields)
}

fn object(shelf: &Shelf, ask: &Ask, draft: &Draft, now: u64) -> Value {
    let cut = draft.finish == Finish::Length;
    let incomplete = cut.then(|| json!({"reason": "max_output_tokens"}));
    let mut fields = defaults();
    let given = ask.fields.as_object().into_iter().flatten();
    for (name, value) in
        given.filter(|(name, value)| !NOT_SHOWN.contains(&name.as_str()) && !value.is_null())
    {
        fields.insert(name.clone(), value.clone());
    }
    let own = json!({
        "id": fresh("resp_"), "object": "response", "created_at": now, "model": draft.model,
        "status": if cut { "incomplete" } else { "completed" }, "incomplete_details": incomplete, "error": null,
        "output": output(shelf, ask, draft), "usage": usage(&draft.usage), "service_tier": "default",
        "content_filters": [],
    });
    fields.extend(own.as_object().cloned().unwrap_or_default());
    if let Some(Value::String(id)) = ask.fields.get("conversation") {
        fields.insert("conversation".to_owned(), json!({"id": id}));
    }
    Value::Object(fields)
}

/// Fields of a request that are not fields of the response.
const NOT_SHOWN: &[&str] = &["input", "stream", "stream_options", "include"];

fn defaults() -> Map<String, Value> {
    let value = json!({
        "background": false, "instructions": null, "max_output_tokens": null, "metadata": {},
        "parallel_tool_calls": true, "previous_response_id": null, "reasoning": {"effort": null, "summary": null},
        "store": true, "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto",
        "tools": [], "top_p": 1.0, "truncation": "disabled", "user": null,
    });
    value.as_object().cloned().unwrap_or_default()
}

fn output(shelf: &Shelf, ask: &Ask, draft: &Draft) -> Vec<Value> {
    let included = ask.fields.get("include").and_then(Value::as_array).into_iter().flatten();
    let reasoned = included.into_iter().any(|what| what == "reasoning.encrypted_content");
    let reasoning = reasoned.then(|| {
        json!({"id": fresh("rs_"), "type": "reasoning", "summary": [], "encrypted_content": shelf.encrypt()})
    });
    let said = match &draft.tool {
        None => {
            let text = json!({"type": "output_text", "text": words(draft.tokens), "annotations": [], "logprobs": []});
            json!({"id": fresh("msg_"), "type": "message", "status": "completed", "role": "assistant", "content": [text]})
        }
        Some(name) => {
            let arguments: String =
                (0..draft.tokens).map(|index| argument(index, draft.tokens)).collect();
            json!({"id": fresh("fc_"), "type": "function_call", "status": "completed", "name": name,
                "call_id": fresh("call_"), "arguments": arguments})
        }
    };
    reasoning.into_iter().chain([said]).collect()
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt, "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt.saturating_add(usage.completion),
    })
}

/// What was said to it, as a list of items.
fn input_items(input: Option<&Value>) -> Vec<Value> {
    match input {
        Some(Value::Array(items)) => items.iter().map(item).collect(),
        Some(text) => vec![item(&json!({"role": "user", "content": text}))],
        None => Vec::new(),
    }
}
