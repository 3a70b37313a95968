//! What a body says, JSON or multipart, as one JSON object. Pure.
//!
//! The field of a form is a text in the object (`true` and `false` are truths, and `name[]` a list), a file an
//! object of its name and size; the bytes of the first file stand beside.

use crate::mock::refusal::Refusal;
use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::{Map, Value, json};

/// A body, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Body {
    pub(super) fields: Value,
    pub(super) file: Option<File>,
}

/// A file of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

impl Body {
    pub(super) fn file_bytes(&self) -> usize {
        self.file.as_ref().map_or(0, |file| file.bytes.len())
    }
}

/// Reads a body; an empty one is an empty object.
pub(super) fn body(headers: &HeaderMap, bytes: &Bytes) -> Result<Body, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if let Some(kind) = kind.filter(|kind| kind.starts_with("multipart/form-data")) {
        return form(kind, bytes)
            .ok_or_else(|| Refusal::bad_json("the multipart form is not one, or not whole"));
    }
    if bytes.is_empty() {
        return Ok(Body { fields: json!({}), file: None });
    }
    let fields: Value =
        serde_json::from_slice(bytes).map_err(|error| Refusal::bad_json(&error.to_string()))?;
    if !fields.is_object() {
        return Err(Refusal::bad_json("an object was expected"));
    }
    Ok(Body { fields, file: None })
}

fn form(kind: &str, bytes: &Bytes) -> Option<Body> {
    let (_, boundary) = kind.split_once("boundary=")?;
    let boundary = boundary.split(';').next()?.trim().trim_matches('"');
    let mut rest = after(bytes, format!("--{boundary}").as_bytes())?;
    let delimiter = format!("\r\n--{boundary}");
    let mut fields = Map::new();
    let mut file = None;
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n")?;
        let end = memchr::memmem::find(part, delimiter.as_bytes())?;
        let content = part.get(..end)?;
        rest = part.get(end + delimiter.len()..)?;
        let head_end = memchr::memmem::find(content, b"\r\n\r\n")?;
        let head = std::str::from_utf8(content.get(..head_end)?).ok()?;
        let content = content.get(head_end + 4..)?;
        let name = parameter(head, "name")?;
        let value = match parameter(head, "filename") {
            None => text(&String::from_utf8_lossy(content)),
            Some(filename) => {
                let shown = json!({"filename": filename, "bytes": content.len()});
                file.get_or_insert(File { name: filename, bytes: bytes.slice_ref(content) });
                shown
            }
        };
        put(&mut fields, &name, value);
    }
    Some(Body { fields: Value::Object(fields), file })
}

fn after<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    bytes.get(memchr::memmem::find(bytes, mark)? + mark.len()..)
}

/// A parameter of `Content-Disposition`: `; name="value"`.
fn parameter(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| {
        line.get(..20).is_some_and(|start| start.eq_ignore_ascii_case("content-disposition:"))
    })?;
    let values = line.split(';').filter_map(|part| part.trim().split_once('='));
    let found = values.into_iter().find(|(key, _)| *key == name);
    found.map(|(_, value)| value.trim_matches('"').to_owned())
}

fn text(content: &str) -> Value {
    match content {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        content => Value::from(content),
    }
}

/// `name[]` makes a list, `name[key]` an object.
fn put(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let Some((name, key)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) else {
        fields.insert(name.to_owned(), value);
        return;
    };
    if key.is_empty() {
        if let Some(list) = fields.entry(name).or_insert_with(|| json!([])).as_array_mut() {
            list.push(value);
        }
    } else if let Some(object) = fields.entry(name).or_insert_with(|| json!({})).as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use crate::mock::fields::body;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, header};
    use serde_json::json;

    #[test]
    fn a_form_is_an_object_and_a_file() {
        let text = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
            --b\r\ncontent-disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n\
            --b\r\nContent-Disposition: form-data; name=\"include[]\"\r\n\r\nlogprobs\r\n\
            --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
            Content-Type: application/octet-stream\r\n\r\n1\r\n2--b\0\r\n--b--\r\n";
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("multipart/form-data; boundary=b");
        headers.insert(header::CONTENT_TYPE, kind);
        let read = body(&headers, &Bytes::from_static(text.as_bytes())).unwrap();
        let fields = json!({"purpose": "batch", "stream": true, "include": ["logprobs"],
            "file": {"filename": "a.bin", "bytes": 8}});
        assert_eq!(read.fields, fields);
        assert_eq!(read.file.unwrap().bytes.as_ref(), b"1\r\n2--b\0");
        let cut = Bytes::copy_from_slice(&text.as_bytes()[..text.len() - 30]);
        assert!(body(&headers, &cut).is_err());
    }
}
