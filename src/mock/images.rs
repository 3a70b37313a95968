//! Pictures: always the same one, whole or with previews.

use crate::mock::ask::Ask;
use crate::mock::chat::CREATED;
use crate::mock::draft::Draft;
use crate::mock::route::Surface;
use crate::mock::script::Pieces;
use crate::mock::sse::typed;
use serde_json::{Value, json};

/// A PNG of one transparent pixel, in base64.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// The answer: as many pictures as were asked for.
pub(super) fn body(ask: &Ask, draft: &Draft) -> Value {
    let count = number(ask, "n").clamp(1, 10);
    let data: Vec<Value> = (0..count).map(|_| json!({"b64_json": PICTURE})).collect();
    json!({
        "created": CREATED, "data": data, "background": "opaque", "output_format": "png", "size": "1024x1024",
        "quality": "high", "usage": usage(draft),
    })
}

/// The previews that were asked for, and the picture.
pub(super) fn pieces(ask: &Ask, draft: &Draft) -> Pieces {
    let kind = if ask.surface == Surface::Images { "image_generation" } else { "image_edit" };
    let picture = |rest: Value| {
        let mut event = json!({
            "b64_json": PICTURE, "background": "opaque", "created_at": CREATED, "output_format": "png",
            "quality": "high", "size": "1024x1024",
        });
        if let (Some(event), Value::Object(rest)) = (event.as_object_mut(), rest) {
            event.extend(rest);
        }
        typed(&event)
    };
    let whole = picture(json!({"type": format!("{kind}.completed"), "usage": usage(draft)}));
    let partial = move |index: u32| {
        picture(json!({"type": format!("{kind}.partial_image"), "partial_image_index": index}))
    };
    let previews = u32::try_from(number(ask, "partial_images").min(3)).unwrap_or(0);
    Pieces { finish: whole, ..Pieces::tokens_only(previews, partial) }
}

/// A field that a form sends as text.
fn number(ask: &Ask, field: &str) -> u64 {
    let value = ask.fields.get(field);
    let text = || value.and_then(Value::as_str).and_then(|text| text.parse().ok());
    value.and_then(Value::as_u64).or_else(text).unwrap_or(0)
}

fn usage(draft: &Draft) -> Value {
    let prompt = draft.usage.prompt;
    json!({
        "input_tokens": prompt, "input_tokens_details": {"text_tokens": prompt, "image_tokens": 0},
        "output_tokens": draft.usage.completion, "total_tokens": prompt.saturating_add(draft.usage.completion),
    })
}
