//! Speech to text, and text to speech.

use crate::mock::ask::Ask;
use crate::mock::draft::{Draft, word, words};
use crate::mock::script::Pieces;
use crate::mock::sse::typed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

/// What a chunk of speech weighs.
const CHUNK_BYTES: usize = 1_024;

/// A transcription or translation in the form that was asked for: its type, and the text.
pub(super) fn transcript(ask: &Ask, draft: &Draft) -> (&'static str, Bytes) {
    let text = words(draft.tokens);
    let plain = |body: String| ("text/plain; charset=utf-8", Bytes::from(body));
    let form = ask.fields.get("response_format").and_then(Value::as_str).unwrap_or("json");
    let json = match form {
        "text" => return plain(format!("{text}\n")),
        "srt" => return plain(format!("1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n")),
        "vtt" => return plain(format!("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{text}\n\n")),
        "verbose_json" => json!({
            "task": "transcribe", "language": "english", "duration": 1.0, "text": text,
            "usage": {"type": "duration", "seconds": 1},
            "segments": [{"id": 0, "seek": 0, "start": 0.0, "end": 1.0, "text": text, "tokens": [1],
                "temperature": 0.0, "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.0}],
        }),
        _ => json!({"text": text, "usage": usage(draft)}),
    };
    ("application/json", Bytes::from(json.to_string()))
}

/// A transcription word by word.
pub(super) fn transcript_pieces(draft: &Draft) -> Pieces {
    let delta = |index| typed(&json!({"type": "transcript.text.delta", "delta": word(index)}));
    let text = words(draft.tokens);
    let done = json!({"type": "transcript.text.done", "text": text, "usage": usage(draft)});
    Pieces { finish: typed(&done), ..Pieces::tokens_only(draft.tokens, delta) }
}

/// Speech, chunk by chunk: as it is, or in events.
pub(super) fn speech_pieces(ask: &Ask, draft: &Draft) -> Pieces {
    if ask.fields.get("stream_format").and_then(Value::as_str) != Some("sse") {
        return Pieces::tokens_only(draft.tokens, chunk);
    }
    let delta = |index| {
        typed(&json!({"type": "speech.audio.delta", "audio": STANDARD.encode(chunk(index))}))
    };
    let done = json!({"type": "speech.audio.done", "usage": counted(draft)});
    Pieces { finish: typed(&done), ..Pieces::tokens_only(draft.tokens, delta) }
}

/// The type of what [`speech_pieces`] gives.
pub(super) fn speech_type(ask: &Ask) -> &'static str {
    let field = |name| ask.fields.get(name).and_then(Value::as_str);
    match (field("stream_format"), field("response_format")) {
        (Some("sse"), _) => "text/event-stream; charset=utf-8",
        (_, Some("wav")) => "audio/wav",
        (_, Some("pcm")) => "audio/pcm",
        (_, Some("opus")) => "audio/opus",
        (_, Some("flac")) => "audio/flac",
        (_, Some("aac")) => "audio/aac",
        _ => "audio/mpeg",
    }
}

/// A chunk says its number in its first byte.
fn chunk(index: u32) -> Bytes {
    let mut bytes = vec![0xAA_u8; CHUNK_BYTES];
    if let Some(first) = bytes.first_mut() {
        *first = u8::try_from(index % 256).unwrap_or(0);
    }
    Bytes::from(bytes)
}

fn counted(draft: &Draft) -> Value {
    let (input, output) = (draft.usage.prompt, draft.usage.completion);
    json!({"input_tokens": input, "output_tokens": output, "total_tokens": input.saturating_add(output)})
}

fn usage(draft: &Draft) -> Value {
    let mut usage = counted(draft);
    if let Some(fields) = usage.as_object_mut() {
        fields.insert("type".to_owned(), json!("tokens"));
        let details = json!({"audio_tokens": draft.usage.prompt, "text_tokens": 0});
        fields.insert("input_token_details".to_owned(), details);
    }
    usage
}
