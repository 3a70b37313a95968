//! Embeddings: small vectors, as numbers or as base64 of little-endian 32-bit floats.
//!
//! The official clients ask for base64 unless told otherwise.

use crate::mock::ask::{Ask, Encoding};
use crate::mock::draft::Draft;
use serde_json::{Value, json};

/// Exact in 32 bits, so both encodings say the same.
const VECTOR: [f32; 8] = [0.125, -0.25, 0.5, -0.5, 0.25, -0.125, 0.375, -0.375];

/// The answer: one vector per input.
pub(super) fn body(ask: &Ask, draft: &Draft) -> Value {
    let vector = match ask.encoding {
        Encoding::Float => json!(VECTOR),
        Encoding::Base64 => {
            let bytes: Vec<u8> = VECTOR.iter().flat_map(|number| number.to_le_bytes()).collect();
            Value::from(base64(&bytes))
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

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter =
                usize::try_from(bits >> shift & 63).ok().and_then(|index| ALPHABET.get(index));
            let letter = letter.filter(|_| place <= group.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::mock::embeddings::base64;

    #[test]
    fn base64_is_that_of_the_standard() {
        let check = |input: &str, expected: &str| assert_eq!(base64(input.as_bytes()), expected);
        check("", "");
        check("f", "Zg==");
        check("fo", "Zm8=");
        check("foo", "Zm9v");
        check("foobar", "Zm9vYmFy");
    }
}
