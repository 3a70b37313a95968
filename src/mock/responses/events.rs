//! A response as the events of its stream, numbered from 0.
//!
//! `response.created` and `response.in_progress` leave with the headers, long before anything is said.

use crate::mock::responses::early;
use crate::mock::script::{Mishap, Pieces};
use crate::mock::sse::typed;
use bytes::Bytes;
use serde_json::{Value, json};

/// The events of `whole` from this number on.
pub(in crate::mock) fn pieces(whole: &Value, from: u64) -> Pieces {
    let mut writer = Writer { next: 0, from };
    let begun = early(whole, "in_progress");
    let mut filter = vec![writer.event("response.created", json!({"response": begun}))];
    if whole.get("background") == Some(&Value::Bool(true)) {
        let queued = early(whole, "queued");
        filter.push(writer.event("response.queued", json!({"response": queued})));
    }
    filter.push(writer.event("response.in_progress", json!({"response": begun})));
    let failed = writer.next;
    let items = whole.get("output").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some((last, before)) = items.split_last() else {
        return Pieces {
            filter: filter.concat().into(),
            ..Pieces::tokens_only(0, |_| Bytes::new())
        };
    };
    let mut role = Vec::new();
    for (index, item) in before.iter().enumerate() {
        role.push(
            writer
                .event("response.output_item.added", json!({"output_index": index, "item": item})),
        );
        role.push(
            writer.event("response.output_item.done", json!({"output_index": index, "item": item})),
        );
    }
    let said = Said::new(last, before.len());
    role.extend(said.begin(&mut writer));
    let first = writer.next;
    let count = u64::try_from(said.tokens.len()).unwrap_or(u64::MAX);
    writer.next += count;
    let finish = said.end(&mut writer);
    let status = whole.get("status").and_then(Value::as_str).unwrap_or("completed");
    let end = writer.event(&format!("response.{status}"), json!({"response": whole}));
    let tokens = u32::try_from(count).unwrap_or(u32::MAX);
    let token = move |index| {
        let mut writer = Writer { next: first + u64::from(index), from };
        said.delta(&mut writer, index)
    };
    Pieces {
        filter: filter.concat().into(),
        role: Some(role.concat().into()),
        finish: finish.concat().into(),
        usage: Some(end),
        mishap: Box::new(move |mishap| mishaps(&begun, failed, mishap)),
        ..Pieces::tokens_only(tokens, token)
    }
}

/// Numbers events, and leaves out those that were seen before.
struct Writer {
    next: u64,
    from: u64,
}

impl Writer {
    fn event(&mut self, kind: &str, mut data: Value) -> Bytes {
        let number = self.next;
        self.next += 1;
        if number < self.from {
            return Bytes::new();
        }
        if let Some(fields) = data.as_object_mut() {
            fields.insert("type".to_owned(), json!(kind));
            fields.insert("sequence_number".to_owned(), json!(number));
        }
        typed(&data)
    }
}

/// The item that is said token by token: a message, or the arguments of a call.
struct Said {
    item: Value,
    id: Value,
    index: usize,
    text: String,
    tokens: Vec<String>,
    calls: bool,
}

impl Said {
    fn new(item: &Value, index: usize) -> Self {
        let calls = item.get("arguments").is_some();
        let text = if calls { item.get("arguments") } else { item.pointer("/content/0/text") };
        let text = text.and_then(Value::as_str).unwrap_or_default().to_owned();
        let tokens = text.split_inclusive(' ').map(str::to_owned).collect();
        let id = item.get("id").cloned().unwrap_or_default();
        Self { item: item.clone(), id, index, text, tokens, calls }
    }

    fn begin(&self, writer: &mut Writer) -> Vec<Bytes> {
        let mut young = self.item.clone();
        if let Some(fields) = young.as_object_mut() {
            fields.insert("status".to_owned(), json!("in_progress"));
            let (field, nothing) =
                if self.calls { ("arguments", json!("")) } else { ("content", json!([])) };
            fields.insert(field.to_owned(), nothing);
        }
        let added = json!({"output_index": self.index, "item": young});
        let mut events = vec![writer.event("response.output_item.added", added)];
        if !self.calls {
            events.push(writer.event("response.content_part.added", self.part("")));
        }
        events
    }

    fn delta(&self, writer: &mut Writer, index: u32) -> Bytes {
        let token = usize::try_from(index).ok().and_then(|index| self.tokens.get(index));
        let delta = token.map(String::as_str).unwrap_or_default();
        if self.calls {
            let data = json!({"item_id": self.id, "output_index": self.index, "delta": delta});
            return writer.event("response.function_call_arguments.delta", data);
        }
        let data = json!({"item_id": self.id, "output_index": self.index, "content_index": 0, "delta": delta,
            "logprobs": []});
        writer.event("response.output_text.delta", data)
    }

    fn end(&self, writer: &mut Writer) -> Vec<Bytes> {
        let done = json!({"output_index": self.index, "item": self.item});
        let said = if self.calls {
            let data = json!({"item_id": self.id, "output_index": self.index, "arguments": self.text,
                "name": self.item.get("name")});
            vec![writer.event("response.function_call_arguments.done", data)]
        } else {
            let data = json!({"item_id": self.id, "output_index": self.index, "content_index": 0,
                "text": self.text, "logprobs": []});
            vec![
                writer.event("response.output_text.done", data),
                writer.event("response.content_part.done", self.part(&self.text)),
            ]
        };
        said.into_iter().chain([writer.event("response.output_item.done", done)]).collect()
    }

    fn part(&self, text: &str) -> Value {
        let part = json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
        json!({"item_id": self.id, "output_index": self.index, "content_index": 0, "part": part})
    }
}

/// After a 200: what went wrong, and the response that came to nothing.
fn mishaps(begun: &Value, number: u64, mishap: Mishap) -> Bytes {
    let (code, message) = mishap.words();
    let mut writer = Writer { next: number, from: 0 };
    let error = json!({"code": code, "message": message, "param": null});
    let error = writer.event("error", error);
    let mut response = begun.clone();
    if let Some(fields) = response.as_object_mut() {
        fields.insert("status".to_owned(), json!("failed"));
        fields.insert("error".to_owned(), json!({"code": code, "message": message}));
    }
    let failed = writer.event("response.failed", json!({"response": response}));
    [error, failed].concat().into()
}

#[cfg(test)]
mod tests {
    use crate::mock::responses::events::pieces;
    use serde_json::{Value, json};

    fn numbers(whole: &Value, from: u64) -> Vec<u64> {
        let pieces = pieces(whole, from);
        let tokens = (0..pieces.tokens).map(|index| (pieces.token)(index));
        let parts = [Some(pieces.filter), pieces.role].into_iter().flatten();
        let ends = [Some(pieces.finish), pieces.usage].into_iter().flatten();
        let all: Vec<u8> = parts.chain(tokens).chain(ends).flatten().collect();
        let text = String::from_utf8(all).unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| {
            serde_json::from_str::<Value>(data).unwrap()["sequence_number"].as_u64().unwrap()
        })
        .collect()
    }

    #[test]
    fn events_are_numbered_without_a_gap_and_can_be_taken_up_again() {
        let content = json!([{"type": "output_text", "text": "w0 w1 "}]);
        let whole = json!({"status": "completed", "background": true, "output": [
            {"id": "rs_1", "type": "reasoning"}, {"id": "msg_1", "type": "message", "content": content}]});
        let all = numbers(&whole, 0);
        assert_eq!(all, (0..13).collect::<Vec<_>>());
        assert_eq!(numbers(&whole, 7), (7..13).collect::<Vec<_>>());
    }
}
