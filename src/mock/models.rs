//! The lists of models: what is deployed (v1), and what could be (`api-version`).

use crate::mock::chat::CREATED;
use serde_json::{Value, json};

/// `/openai/v1/models`.
pub(super) fn list(deployments: &[String]) -> Value {
    let data: Vec<Value> = deployments.iter().map(|id| one(id)).collect();
    json!({"object": "list", "data": data})
}

/// `/openai/v1/models/{id}`.
pub(super) fn one(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": CREATED, "owned_by": "system"})
}

/// `/openai/models?api-version=`.
pub(super) fn catalogue(models: &[String]) -> Value {
    let data: Vec<Value> = models.iter().map(|id| entry(id)).collect();
    json!({"object": "list", "data": data})
}

fn entry(id: &str) -> Value {
    let embeds = id.contains("embedding");
    json!({
        "id": id, "object": "model", "created_at": CREATED, "updated_at": CREATED, "status": "succeeded",
        "lifecycle_status": "generally-available", "deprecation": {},
        "capabilities": {
            "chat_completion": !embeds, "completion": false, "embeddings": embeds,
            "fine_tune": false, "inference": true,
        },
    })
}
