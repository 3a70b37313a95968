//! Chat completions and legacy completions, streamed and whole, as Azure writes them.
//!
//! Chunks are formatted by hand, with everything that does not change put together once: a mock that shares
//! two cores with what it tests must be cheap.

use crate::mock::ask::Delivery;
use crate::mock::draft::{Draft, word, words};
use crate::mock::script::{DONE, Mishap, Pieces};
use bytes::Bytes;
use serde_json::{Value, json};

/// All answers were created at this second; nothing depends on it.
pub(super) const CREATED: u64 = 1_760_000_000;

/// The chunks of a streamed chat answer.
pub(super) fn chat_pieces(draft: &Draft, delivery: Delivery) -> Pieces {
    let envelope = Envelope::new(draft, "chatcmpl", "chat.completion.chunk");
    let (role, tool) = match &draft.tool {
        None => (r#"{"content":"","refusal":null,"role":"assistant"}"#, None),
        Some(name) => (r#"{"content":null,"refusal":null,"role":"assistant"}"#, Some(name.clone())),
    };
    let role = envelope.delta(role, None);
    let finish = envelope.delta("{}", Some(draft.finish.name()));
    let usage = envelope.usage(draft, delivery);
    let (tokens, call_id) = (draft.tokens, draft.id.clone());
    let token = move |index| match &tool {
        None => envelope.delta(&format!(r#"{{"content":"{}"}}"#, word(index)), None),
        Some(name) => envelope.delta(&call_delta(name, &call_id, index, tokens), None),
    };
    Pieces {
        filter: filter(),
        role: Some(role),
        token: Box::new(token),
        tokens,
        finish,
        usage,
        done: DONE,
        mishap: Box::new(Mishap::event),
    }
}

/// The chunks of a streamed legacy completion, which has no role.
pub(super) fn completion_pieces(draft: &Draft, delivery: Delivery) -> Pieces {
    let envelope = Envelope::new(draft, "cmpl", "text_completion");
    let finish = envelope.text("", Some(draft.finish.name()));
    let usage = envelope.usage(draft, delivery);
    let token = move |index| envelope.text(&word(index), None);
    Pieces {
        filter: filter(),
        role: None,
        token: Box::new(token),
        tokens: draft.tokens,
        finish,
        usage,
        done: DONE,
        mishap: Box::new(Mishap::event),
    }
}

/// A whole chat answer.
pub(super) fn chat_body(draft: &Draft) -> Value {
    let message = match &draft.tool {
        None => {
            json!({"role": "assistant", "content": words(draft.tokens), "refusal": Value::Null})
        }
        Some(name) => {
            let arguments: String =
                (0..draft.tokens).map(|index| argument(index, draft.tokens)).collect();
            let function = json!({"name": name, "arguments": arguments});
            let call = json!({"id": format!("call_{}", draft.id), "type": "function", "function": function});
            json!({"role": "assistant", "content": Value::Null, "refusal": Value::Null, "tool_calls": [call]})
        }
    };
    let choice = json!({
        "index": 0, "message": message, "finish_reason": draft.finish.name(), "logprobs": Value::Null,
        "content_filter_results": {},
    });
    whole(draft, "chatcmpl", "chat.completion", &choice)
}

/// A whole legacy completion.
pub(super) fn completion_body(draft: &Draft) -> Value {
    let choice = json!({
        "index": 0, "text": words(draft.tokens), "finish_reason": draft.finish.name(), "logprobs": Value::Null,
        "content_filter_results": {},
    });
    whole(draft, "cmpl", "text_completion", &choice)
}

fn whole(draft: &Draft, prefix: &str, object: &str, choice: &Value) -> Value {
    let mut usage = draft.usage.json();
    if let Some(fields) = usage.as_object_mut() {
        fields.insert("latency_checkpoint".to_owned(), draft.latency_checkpoint());
    }
    json!({
        "id": format!("{prefix}-{}", draft.id), "object": object, "created": CREATED, "model": draft.model,
        "choices": [choice], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE.clone()}],
        "service_tier": "default", "system_fingerprint": "fp_mock", "usage": usage,
    })
}

/// What surrounds the choices of each chunk.
struct Envelope {
    tail: String,
}

impl Envelope {
    fn new(draft: &Draft, prefix: &str, object: &str) -> Self {
        let model = Value::from(draft.model.as_str());
        Self {
            tail: format!(
                r#""created":{CREATED},"id":"{prefix}-{}","model":{model},"obfuscation":"aB3dE5","object":"{object}","service_tier":"default","system_fingerprint":"fp_mock""#,
                draft.id
            ),
        }
    }

    fn delta(&self, delta: &str, finish: Option<&str>) -> Bytes {
        let finish = Value::from(finish);
        self.event(&format!(
            r#"{{"content_filter_results":{{}},"delta":{delta},"finish_reason":{finish},"index":0,"logprobs":null}}"#
        ))
    }

    fn text(&self, text: &str, finish: Option<&str>) -> Bytes {
        let finish = Value::from(finish);
        self.event(&format!(
            r#"{{"content_filter_results":{{}},"finish_reason":{finish},"index":0,"logprobs":null,"text":"{text}"}}"#
        ))
    }

    fn event(&self, choice: &str) -> Bytes {
        Bytes::from(format!("data: {{\"choices\":[{choice}],{},\"usage\":null}}\n\n", self.tail))
    }

    fn usage(&self, draft: &Draft, delivery: Delivery) -> Option<Bytes> {
        (delivery == Delivery::StreamWithUsage).then(|| {
            let (usage, checkpoint) = (draft.usage.json(), draft.latency_checkpoint());
            Bytes::from(format!(
                "data: {{\"choices\":[],{},\"latency_checkpoint\":{checkpoint},\"usage\":{usage}}}\n\n",
                self.tail
            ))
        })
    }
}

/// The chunk that comes with the headers and is not a token.
fn filter() -> Bytes {
    let results = json!([{"prompt_index": 0, "content_filter_results": SAFE.clone()}]);
    Bytes::from(format!(
        "data: {{\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_filter_results\":{results}}}\n\n"
    ))
}

/// The first delta of a call names the function, the others are pieces of its arguments.
fn call_delta(name: &str, id: &str, index: u32, tokens: u32) -> String {
    let arguments = Value::from(argument(index, tokens));
    let function = if index == 0 {
        let name = Value::from(name);
        format!(
            r#""id":"call_{id}","type":"function","function":{{"name":{name},"arguments":{arguments}}}"#
        )
    } else {
        format!(r#""function":{{"arguments":{arguments}}}"#)
    };
    format!(r#"{{"tool_calls":[{{"index":0,{function}}}]}}"#)
}

/// Piece `index` of `tokens` pieces that together are a JSON object.
pub(super) fn argument(index: u32, tokens: u32) -> String {
    match (index, tokens) {
        (_, 1) => "{}".to_owned(),
        (0, _) => r#"{"text":""#.to_owned(),
        (_, _) if index + 1 == tokens => r#""}"#.to_owned(),
        (_, _) => word(index),
    }
}

static SAFE: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| {
    json!({
        "hate": {"filtered": false, "severity": "safe"},
        "self_harm": {"filtered": false, "severity": "safe"},
        "sexual": {"filtered": false, "severity": "safe"},
        "violence": {"filtered": false, "severity": "safe"},
    })
});

#[cfg(test)]
mod tests {
    use crate::mock::chat::argument;

    #[test]
    fn the_pieces_of_arguments_are_json_together() {
        for tokens in 1..6 {
            let text: String = (0..tokens).map(|index| argument(index, tokens)).collect();
            assert!(
                serde_json::from_str::<serde_json::Value>(&text).unwrap().is_object(),
                "{text}"
            );
        }
    }
}
