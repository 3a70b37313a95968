//! What a request does to what is kept: one rule for every collection.

use crate::mock::fields::Body;
use crate::mock::refusal::Refusal;
use crate::mock::script::Pieces;
use crate::mock::store::kinds::{Kind, Verb, collection};
use crate::mock::store::list::{Page, listed};
use crate::mock::store::objects::object;
use crate::mock::store::{Entry, Shelf, check_references, fresh, life, special, unknown};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

/// A request for something that is kept.
#[derive(Debug)]
pub(in crate::mock) struct Order<'a> {
    pub(in crate::mock) method: &'a Method,
    /// Below `/openai` or `/openai/v1`.
    pub(in crate::mock) path: &'a [&'a str],
    pub(in crate::mock) page: Page,
    /// From which event on a stream is asked for once more.
    pub(in crate::mock) replay: Option<u64>,
    pub(in crate::mock) body: Body,
    /// How much a model says here.
    pub(in crate::mock) tokens: u32,
    /// Seconds since 1970.
    pub(in crate::mock) now: u64,
}

/// What it comes to.
pub(in crate::mock) enum Found {
    Json(Value),
    /// A file, and its type.
    File(&'static str, Bytes),
    Events(Pieces),
}

impl Order<'_> {
    pub(in crate::mock) fn field(&self, name: &str) -> Option<&Value> {
        self.body.fields.get(name)
    }

    pub(in crate::mock) fn streams(&self) -> bool {
        self.field("stream") == Some(&Value::Bool(true))
    }

    fn is(&self, method: &Method) -> bool {
        self.method == method
    }
}

/// Does it.
pub(in crate::mock) fn act(shelf: &mut Shelf, order: &Order<'_>) -> Result<Found, Refusal> {
    check_references(shelf, &order.body.fields)?;
    if let Some(found) = special::act(shelf, order) {
        return found;
    }
    if let Some(kind) = collection(order.path) {
        return in_collection(shelf, kind, order);
    }
    let (Some((id, parents)), path) = (order.path.split_last(), order.path.join("/")) else {
        return Err(Refusal::no_resource());
    };
    let kind = collection(parents).ok_or_else(Refusal::no_resource)?;
    if shelf.get(&path).is_none() {
        return Err(unknown(kind.noun, id));
    }
    on_resource(shelf, kind, &path, order)
}

fn in_collection(
    shelf: &mut Shelf,
    kind: &'static Kind,
    order: &Order<'_>,
) -> Result<Found, Refusal> {
    let path = order.path.join("/");
    if let [parents @ .., parent, _collection] = order.path
        && let Some(owner) = collection(parents)
        && shelf.get(&format!("{}/{parent}", parents.join("/"))).is_none()
    {
        return Err(unknown(owner.noun, parent));
    }
    if order.is(&Method::GET) && kind.allows(Verb::List) {
        let members: Vec<Value> =
            shelf.members(&path).into_iter().map(|entry| entry.value.clone()).collect();
        return Ok(Found::Json(listed(members, &order.page)));
    }
    if order.is(&Method::POST) && kind.allows(Verb::Create) {
        let made = make(shelf, kind, &path, order)?;
        return life::begun(shelf, kind, &made, order);
    }
    Err(Refusal::no_resource())
}

/// Makes a resource and gives its path.
pub(super) fn make(
    shelf: &mut Shelf,
    kind: &'static Kind,
    collection: &str,
    order: &Order<'_>,
) -> Result<String, Refusal> {
    let id = match order.field("file_id").and_then(Value::as_str) {
        // A file keeps its id in a vector store.
        Some(file) if kind.prefix.is_empty() => file.to_owned(),
        _ if kind.prefix.is_empty() => return Err(Refusal::missing("file_id")),
        _ => fresh(kind.prefix),
    };
    let mut entry = Entry::new(object(kind, &id, order)?);
    if let Some(first) = kind.states.first() {
        entry.set("status", *first);
    }
    if let Some(file) = &order.body.file {
        entry.content = file.bytes.clone();
    }
    let path = format!("{collection}/{id}");
    shelf.put(path.clone(), entry);
    Ok(path)
}

fn on_resource(
    shelf: &mut Shelf,
    kind: &'static Kind,
    path: &str,
    order: &Order<'_>,
) -> Result<Found, Refusal> {
    if order.is(&Method::GET) && kind.allows(Verb::Get) {
        return Ok(Found::Json(life::looked_at(shelf, kind, path, order)));
    }
    if order.is(&Method::POST) && kind.allows(Verb::Update) {
        update(shelf, path, &order.body.fields);
        return Ok(Found::Json(shown(shelf, path)));
    }
    if order.is(&Method::DELETE) && kind.allows(Verb::Delete) {
        let id = order.path.last().copied().unwrap_or_default();
        shelf.delete(path);
        return Ok(Found::Json(deleted(shelf, kind, path, id)));
    }
    Err(Refusal::no_resource())
}

/// A resource as it is now.
pub(super) fn shown(shelf: &Shelf, path: &str) -> Value {
    shelf.get(path).map(|entry| entry.value.clone()).unwrap_or_default()
}

fn update(shelf: &mut Shelf, path: &str, fields: &Value) {
    let known = ["id", "object", "created_at", "status"];
    let changes = fields.as_object().into_iter().flatten();
    let Some(entry) = shelf.entry(path) else { return };
    for (name, value) in changes.filter(|(name, _)| !known.contains(&name.as_str())) {
        entry.set(name, value.clone());
    }
}

fn deleted(shelf: &Shelf, kind: &Kind, path: &str, id: &str) -> Value {
    match kind.object {
        // The conversation that it was taken from.
        "conversation.item" => shown(shelf, path.split("/items/").next().unwrap_or_default()),
        "file" | "response" => json!({"id": id, "object": kind.object, "deleted": true}),
        object => json!({"id": id, "object": format!("{object}.deleted"), "deleted": true}),
    }
}
