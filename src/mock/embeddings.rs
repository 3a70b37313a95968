//! Embeddings: small vectors, as numbers or as base64 of little-endian 32-bit floats.
//!
//! The official clients ask for base64 unless told otherwise.

use crate::mock::ask::{Ask, Encoding};
use crate::mock::draft::Draft;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Exact in 32 bits, so both encodings say the same.
const VECTOR: [f32; 8] = [0.125, -0.25, 0.5, -0.5, 0.25, -0.125, 0.375, -0.375];

/// The answer: one vector per input.
pub(super) fn body(ask: &Ask, draft: &Draft) -> Value {
    let vector = match ask.encoding {
        Encoding::Float => json!(VECTOR),
        Encoding::Base64 => {
            let bytes: Vec<u8> = VECTOR.iter().flat_map(|number| number.to_le_bytes()).collect();
            Value::from(STANDARD.encode(bytes))
        }
    };
    let data: Vec<Value> = (0..ask.inputs)
        .map(|index| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    let tokens = draft.usage.prompt;
    json!({
        "object": "list", "data": data, "model": draft.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })
}
