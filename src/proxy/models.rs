//! The list of models: what the app may use, answered here. A backend would list what it could deploy.

use crate::azure::error::ClientError;
use crate::config::checked::App;
use crate::live::Snapshot;
use crate::proxy::intake::find_model;
use bytes::Bytes;
use serde_json::{Value, json};

/// The answer to `/models`, or to `/models/{id}`.
pub(super) fn answer(
    id: Option<&str>,
    snapshot: &Snapshot,
    app: &App,
) -> Result<Bytes, ClientError> {
    let answer = if let Some(id) = id {
        entry(&find_model(id, snapshot, app)?.name)
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
