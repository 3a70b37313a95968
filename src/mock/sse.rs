//! An event with a name, as everything but chat streams them.

use bytes::Bytes;
use serde_json::Value;

/// `event: NAME`, and the data in one line.
pub(super) fn event(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// An event whose name is its `type`.
pub(super) fn typed(data: &Value) -> Bytes {
    event(data.get("type").and_then(Value::as_str).unwrap_or_default(), data)
}
