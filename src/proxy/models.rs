//! The models that an app may use: found by name, and listed here. A backend would list what it could deploy.

use crate::azure::error::ClientError;
use crate::config::checked::App;
use crate::live::{LiveModel, Snapshot};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// The model, if it exists and the app may use it.
pub(super) fn find(
    name: &str,
    snapshot: &Snapshot,
    app: &App,
) -> Result<Arc<LiveModel>, ClientError> {
    match snapshot.model(name) {
        Some(model) if app.may_use(name) => Ok(Arc::clone(model)),
        Some(_) => Err(ClientError::ModelForbidden { model: name.to_owned() }),
        None => Err(ClientError::UnknownModel { model: name.to_owned() }),
    }
}

/// The answer to `/models`, or to `/models/{id}`.
pub(super) fn answer(
    id: Option<&str>,
    snapshot: &Snapshot,
    app: &App,
) -> Result<Bytes, ClientError> {
    let answer = if let Some(id) = id {
        entry(&find(id, snapshot, app)?.name)
    } else {
        let names = snapshot.models().map(|model| &*model.name);
        let entries: Vec<Value> = names.filter(|name| app.may_use(name)).map(entry).collect();
        json!({ "object": "list", "data": entries })
    };
    Ok(Bytes::from(answer.to_string()))
}

/// `created` must be there, and is not known here.
fn entry(name: &str) -> Value {
    json!({ "id": name, "object": "model", "created": 0, "owned_by": "azure-openai" })
}
