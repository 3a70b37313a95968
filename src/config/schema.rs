//! `conf/schema.json`: the table of keys as a JSON Schema, for editors.
//!
//! It says which keys there are, of which type, in which range and with which default. What is asked of several
//! keys together, of names and of addresses, only `check` knows.

use crate::config::checked::Policy;
use crate::config::keys;
use crate::config::keys::Flag;
use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Need;
use crate::config::keys::Real;
use crate::config::keys::Text;
use crate::config::keys::Usual;
use crate::config::keys::Whole;
use crate::config::keys::Word;
use serde_json::Value;
use serde_json::json;
use std::fmt::Display;

/// Maps and lists that must be written. (A [`Text`] says so itself.)
const REQUIRED: &[&str] = &["listen", "backends", "models", "apps"];

/// Names of the operator's choice.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";

/// The text of `conf/schema.json`.
pub fn schema() -> String {
    let mut root = map("");
    merge(
        &mut root,
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Configuration of Firstlight",
            "description": "Written from the code by a test; do not edit. `firstlight check` knows more.",
            "type": "object",
        }),
    );
    format!("{root:#}\n")
}

/// What stands at a pattern of the table that has keys below it.
fn group(pattern: &str) -> Value {
    let plain = if keys::allowed(pattern) == ["*"] { several(pattern) } else { map(pattern) };
    match pattern {
        "listen.*.tls" => {
            json!({ "anyOf": [plain, { "type": "array", "items": plain, "minItems": 1 }] })
        }
        "backends.*.auth" => json!({ "anyOf": [plain, { "enum": ["managed_identity", "none"] }] }),
        _ => plain,
    }
}

/// A list, or a map by names of the operator's choice.
fn several(pattern: &str) -> Value {
    let inner = format!("{pattern}.*");
    let is_list = keys::table().any(
        |key| matches!(key, Key::Group(Group { path, sample: "-", about: _ }) if *path == inner),
    );
    if is_list {
        let mut list = json!({ "type": "array", "items": group(&inner), "minItems": 1 });
        if pattern == "apps.*.api_keys" {
            merge(&mut list, json!({ "maxItems": 8 }));
        }
        return list;
    }
    json!({ "type": "object", "additionalProperties": group(&inner), "propertyNames": { "pattern": NAME },
        "minProperties": 1 })
}

/// A map with known keys.
fn map(pattern: &str) -> Value {
    let of =
        |name: &str| if pattern.is_empty() { name.to_owned() } else { format!("{pattern}.{name}") };
    let allowed = keys::allowed(pattern);
    let rows = || allowed.iter().filter_map(|name| row(&of(name)));
    let properties: serde_json::Map<String, Value> =
        rows().map(|key| (keys::name(key.path()).to_owned(), entry(key))).collect();
    let required: Vec<&str> =
        rows().filter(|key| is_required(*key)).map(|key| keys::name(key.path())).collect();
    let mut map =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    match pattern {
        "apps.*" => merge(
            &mut map,
            json!({ "anyOf": [{ "required": ["api_keys"] }, { "required": ["entra"] },
                { "required": ["anonymous"], "properties": { "anonymous": { "const": true } } }] }),
        ),
        "backends.*.auth.workload_identity" => {
            merge(&mut map, json!({ "required": ["tenant", "client_id", "token_file"] }));
        }
        "backends.*.auth.client_secret" => {
            merge(&mut map, json!({ "required": ["tenant", "client_id", "secret"] }));
        }
        "backends.*.auth" | "backends.*.auth.api_key" => {
            merge(&mut map, json!({ "minProperties": 1, "maxProperties": 1 }));
        }
        // Nothing written is an empty map.
        _ if required.is_empty() => merge(&mut map, json!({ "type": ["object", "null"] })),
        _ => merge(&mut map, json!({ "required": required })),
    }
    map
}

fn row(path: &str) -> Option<Key> {
    keys::table().find(|key| key.path() == path)
}

fn is_required(key: Key) -> bool {
    match key {
        Key::Text(text) => text.need == Need::Required,
        Key::Group(group) => REQUIRED.contains(&group.path),
        Key::Word(_) | Key::Flag(_) | Key::Real(_) | Key::Whole(_) => false,
    }
}

/// A key's value, with what is said about it.
fn entry(key: Key) -> Value {
    let (mut entry, about) = match key {
        Key::Group(Group { path, sample: _, about }) => (group(path), (*about).to_owned()),
        Key::Text(text) => (value(text), text.about.to_owned()),
        Key::Word(Word { path: _, default, words, about }) => {
            (json!({ "enum": words, "default": default.plain() }), said("", default, about))
        }
        Key::Flag(Flag { path: _, default, about }) => {
            (json!({ "type": "boolean", "default": default.plain() }), said("", default, about))
        }
        Key::Real(Real { path: _, default, least, most, unit, about }) => {
            let [plain, least, most] = [default.plain(), *least, *most].map(number);
            let range =
                json!({ "type": "number", "minimum": least, "maximum": most, "default": plain });
            (range, said(unit, default, about))
        }
        Key::Whole(Whole { path: _, default, least, most, unit, about }) => {
            let range = json!({ "type": "integer", "minimum": least, "maximum": most,
                "default": default.plain() });
            (range, said(unit, default, about))
        }
    };
    if !about.is_empty() {
        merge(&mut entry, json!({ "description": about.replace('\n', " ") }));
    }
    entry
}

/// What may stand at a key whose value is text, or a short list or map.
fn value(text: &Text) -> Value {
    // A name may look like a number, and is text all the same.
    let scalar = json!({ "type": ["string", "number", "boolean"], "minLength": 1 });
    let list = json!({ "type": "array", "items": scalar, "minItems": 1 });
    let one_of = |names: &[&str]| {
        let properties: serde_json::Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), scalar.clone())).collect();
        json!({ "type": "object", "properties": properties, "additionalProperties": false,
            "minProperties": 1, "maxProperties": 1 })
    };
    let mut value = match text.path {
        "listen.*.tls.certificate" | "listen.*.tls.key" => {
            json!({ "anyOf": [scalar, one_of(&["file", "credential"])] })
        }
        "models.*.backends" => {
            let deployments =
                json!({ "type": "object", "additionalProperties": scalar, "minProperties": 1 });
            json!({ "anyOf": [list, deployments] })
        }
        "models.*.routing" => json!({ "$ref": "#/properties/routing" }),
        "backends.*.auth.client_secret.secret" => one_of(&["env", "file", "credential"]),
        path if !keys::allowed(path).is_empty() => map(path),
        "apps.*.api_keys.*.sha256" => {
            json!({ "type": ["string", "number"], "pattern": "^[0-9A-Fa-f]{64}$" })
        }
        _ if text.shown.starts_with('[') => list,
        _ => scalar.clone(),
    };
    if text.need == Need::Default && value == scalar {
        merge(&mut value, json!({ "default": text.shown }));
    }
    value
}

/// The unit, the reason, and the default under `ema` if that is another.
fn said<T: Copy + PartialEq + Display>(unit: &str, default: &Usual<T>, about: &str) -> String {
    let unit = if unit.is_empty() { String::new() } else { format!("{unit}. ") };
    let ema = default.under(Policy::Ema);
    let other = if ema == default.plain() {
        String::new()
    } else {
        format!(" The default under `policy: ema` is {ema}.")
    };
    format!("{unit}{about}{other}")
}

/// A number without a fraction is written without one.
fn number(value: f64) -> Value {
    value.to_string().parse::<i64>().map_or_else(|_| value.into(), Into::into)
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
