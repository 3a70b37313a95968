//! What a body names has to live here: a file, a store, an earlier response. Pure.
//!
//! A resource does not know what was made on another one, so this is what finds a request that was sent astray.

use crate::mock::refusal::Refusal;
use crate::mock::store::{Shelf, unknown};
use http::StatusCode;
use serde_json::{Value, json};

/// Field, collection, and what the error calls it.
const FIELDS: &[(&str, &str, &str)] = &[
    ("input_file_id", "files", "file"),
    ("training_file", "files", "file"),
    ("validation_file", "files", "file"),
    ("file_id", "files", "file"),
    ("file_ids", "files", "file"),
    ("vector_store_id", "vector_stores", "vector store"),
    ("vector_store_ids", "vector_stores", "vector store"),
    ("assistant_id", "assistants", "assistant"),
    ("thread_id", "threads", "thread"),
    ("conversation", "conversations", "conversation"),
    ("container", "containers", "container"),
];

/// Sees that all of them do.
pub(in crate::mock) fn check_references(shelf: &Shelf, value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| name.as_str() != "metadata")
            .try_for_each(|(name, value)| check_field(shelf, name, value)),
        Value::Array(values) => values.iter().try_for_each(|value| check_references(shelf, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn check_field(shelf: &Shelf, name: &str, value: &Value) -> Result<(), Refusal> {
    let text = value.as_str();
    match (name, text) {
        ("previous_response_id", Some(id)) if shelf.get(&format!("responses/{id}")).is_none() => {
            return Err(no_previous_response(id));
        }
        ("encrypted_content", Some(text)) if !shelf.decrypts(text) => return Err(encrypted()),
        _ => {}
    }
    let Some((_, collection, noun)) = FIELDS.iter().find(|(field, _, _)| *field == name) else {
        return check_references(shelf, value);
    };
    let listed = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    let inner = value.get("id").and_then(Value::as_str);
    let mut ids = text.into_iter().chain(inner).chain(listed);
    let lost = ids.find(|id| shelf.get(&format!("{collection}/{id}")).is_none());
    lost.map_or_else(|| check_references(shelf, value), |id| Err(unknown(noun, id)))
}

fn no_previous_response(id: &str) -> Refusal {
    bad(
        &format!("Previous response with id '{id}' not found."),
        &json!("previous_response_id"),
        "previous_response_not_found",
    )
}

fn encrypted() -> Refusal {
    bad(
        "The encrypted content could not be verified. Reason: Encrypted content could not be decrypted or parsed.",
        &Value::Null,
        "invalid_encrypted_content",
    )
}

fn bad(message: &str, parameter: &Value, code: &str) -> Refusal {
    let body = json!({"error": {
        "message": message, "type": "invalid_request_error", "param": parameter, "code": code,
    }});
    Refusal { status: StatusCode::BAD_REQUEST, headers: Vec::new(), body }
}

#[cfg(test)]
mod tests {
    use crate::mock::store::{Entry, Shelf, check_references};
    use serde_json::{Value, json};

    #[test]
    fn what_is_named_lives_here() {
        let mut shelf = Shelf::default();
        for path in ["files/f", "vector_stores/v", "responses/r", "conversations/c"] {
            shelf.put(path.to_owned(), Entry::new(Value::Null));
        }
        let ours = shelf.encrypt();
        let status =
            |body: Value| check_references(&shelf, &body).err().map(|no| no.status.as_u16());
        let deep = json!({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}],
            "previous_response_id": "r", "conversation": {"id": "c"}, "metadata": {"file_id": "x"},
            "input": [{"content": [{"file_id": "f"}]}, {"encrypted_content": ours}]});
        assert_eq!(status(deep), None);
        assert_eq!(status(json!({"input": [{"content": [{"file_id": "x"}]}]})), Some(404));
        assert_eq!(status(json!({"tools": [{"vector_store_ids": ["v", "x"]}]})), Some(404));
        assert_eq!(status(json!({"conversation": "x"})), Some(404));
        assert_eq!(status(json!({"previous_response_id": "x"})), Some(400));
        assert_eq!(status(json!({"input": [{"encrypted_content": "gAAAAAx"}]})), Some(400));
    }
}
