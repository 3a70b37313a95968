//! The events of a Realtime session. Pure.

use crate::mock::draft::{word, words};
use crate::mock::store::fresh;
use serde_json::{Value, json};

/// What opens a session.
pub(super) fn created(model: &str) -> Value {
    let session = json!({
        "id": fresh("sess_"), "object": "realtime.session", "type": "realtime", "model": model,
        "output_modalities": ["text"], "instructions": "", "tools": [], "tool_choice": "auto",
        "max_output_tokens": "inf",
    });
    event("session.created", json!({"session": session}))
}

/// What is said before the first token.
pub(super) fn opening(answer: &Answer) -> Vec<Value> {
    let part = json!({"type": "text", "text": ""});
    vec![
        event(
            "response.output_item.added",
            json!({"response_id": answer.id, "output_index": 0,
            "item": answer.item("in_progress", 0)}),
        ),
        event("response.content_part.added", answer.at(json!({"part": part}))),
    ]
}

/// Token `index`.
pub(super) fn delta(answer: &Answer, index: u32) -> Value {
    event("response.output_text.delta", answer.at(json!({"delta": word(index)})))
}

/// What is said after the last token.
pub(super) fn ending(answer: &Answer) -> Vec<Value> {
    let text = words(answer.tokens);
    let part = json!({"type": "text", "text": text});
    let item = answer.item("completed", answer.tokens);
    vec![
        event("response.output_text.done", answer.at(json!({"text": text}))),
        event("response.content_part.done", answer.at(json!({"part": part}))),
        event(
            "response.output_item.done",
            json!({"response_id": answer.id, "output_index": 0, "item": item}),
        ),
        event("response.done", json!({"response": answer.response("completed")})),
    ]
}

/// An event with an id of its own.
pub(super) fn event(kind: &str, mut fields: Value) -> Value {
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("type".to_owned(), json!(kind));
        fields.insert("event_id".to_owned(), json!(fresh("event_")));
    }
    fields
}

/// An error that does not end the session.
pub(super) fn error(kind: &str, code: &str, message: &str) -> Value {
    event(
        "error",
        json!({"error": {"type": kind, "code": code, "message": message, "param": null}}),
    )
}

/// One answer of a session.
pub(super) struct Answer {
    id: String,
    item: String,
    pub(super) tokens: u32,
    prompt: u32,
}

impl Answer {
    /// An answer of so many tokens to a prompt of so many.
    pub(super) fn new(prompt: u32, tokens: u32) -> Self {
        Self { id: fresh("resp_"), item: fresh("item_"), tokens, prompt }
    }

    pub(super) fn response(&self, status: &str) -> Value {
        let over = status == "completed";
        let output = if over { vec![self.item(status, self.tokens)] } else { Vec::new() };
        let usage = over.then(|| {
            json!({
                "input_tokens": self.prompt, "output_tokens": self.tokens,
                "total_tokens": self.prompt.saturating_add(self.tokens),
                "input_token_details": {"text_tokens": self.prompt, "audio_tokens": 0, "cached_tokens": 0},
                "output_token_details": {"text_tokens": self.tokens, "audio_tokens": 0},
            })
        });
        json!({
            "id": self.id, "object": "realtime.response", "status": status, "status_details": null,
            "output": output, "usage": usage, "metadata": null, "output_modalities": ["text"],
        })
    }

    fn item(&self, status: &str, tokens: u32) -> Value {
        let content = json!([{"type": "output_text", "text": words(tokens)}]);
        let content = if tokens == 0 { json!([]) } else { content };
        json!({"id": self.item, "object": "realtime.item", "type": "message", "status": status,
            "role": "assistant", "content": content})
    }

    /// The fields of an event about its text.
    fn at(&self, mut rest: Value) -> Value {
        if let Some(fields) = rest.as_object_mut() {
            fields.insert("response_id".to_owned(), json!(self.id));
            fields.insert("item_id".to_owned(), json!(self.item));
            fields.insert("output_index".to_owned(), json!(0));
            fields.insert("content_index".to_owned(), json!(0));
        }
        rest
    }
}
