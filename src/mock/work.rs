//! What a surface makes of a question, whole or in pieces, and how that is sent on the clock.

use crate::mock::ask::{Ask, Delivery};
use crate::mock::audio;
use crate::mock::behaviour::Timing;
use crate::mock::chat::{chat_body, chat_pieces, completion_body, completion_pieces};
use crate::mock::draft::Draft;
use crate::mock::effect::mishap_refusal;
use crate::mock::embeddings;
use crate::mock::images;
use crate::mock::refusal::Refusal;
use crate::mock::reply::Reply;
use crate::mock::responses::{create, events};
use crate::mock::route::Surface;
use crate::mock::script::{Ending, Pieces, broken, hang, stream, whole};
use crate::mock::store::{Entry, Shelf};
use bytes::Bytes;
use serde_json::Value;
use std::time::Duration;

/// An answer before it is on the clock.
pub(super) enum Work {
    /// In one piece.
    Whole(Whole),
    /// A stream of this type.
    Stream(&'static str, Pieces),
}

/// An answer in one piece, and when it leaves.
pub(super) struct Whole {
    pub(super) at: Duration,
    pub(super) kind: &'static str,
    pub(super) body: Bytes,
    pub(super) tokens: u32,
}

impl Whole {
    pub(super) fn json(at: Duration, value: &Value) -> Self {
        Self { at, kind: JSON, body: Bytes::from(value.to_string()), tokens: 0 }
    }
}

const JSON: &str = "application/json";
pub(super) const EVENTS: &str = "text/event-stream; charset=utf-8";

/// Answers a question. `now` is in seconds since 1970.
pub(super) fn work(ask: &Ask, draft: &Draft, shelf: &mut Shelf, now: u64) -> Result<Work, Refusal> {
    if ask.surface == Surface::Responses {
        let made = create(shelf, ask, draft, now)?;
        if ask.delivery != Delivery::Whole {
            return Ok(Work::Stream(EVENTS, events::pieces(&made.whole, 0)));
        }
        // One in the background is answered before anything is thought.
        let background = made.now != made.whole;
        let at = if background { draft.timing.headers } else { draft.timing.token(draft.tokens) };
        return Ok(Work::Whole(Whole { tokens: draft.tokens, ..Whole::json(at, &made.now) }));
    }
    if ask.surface == Surface::Chat && ask.fields.is_object() {
        keep_chat(ask, draft, shelf);
    }
    Ok(match ask.delivery {
        Delivery::Whole => Work::Whole(one_piece(ask, draft)),
        Delivery::Stream | Delivery::StreamWithUsage => streamed(ask, draft),
    })
}

/// A chat that asked to be stored.
fn keep_chat(ask: &Ask, draft: &Draft, shelf: &mut Shelf) {
    let mut entry = Entry::new(chat_body(draft));
    let field = |name: &str| ask.fields.get(name).cloned().unwrap_or_default();
    entry.set("metadata", field("metadata"));
    entry.content = text(&field("messages"));
    shelf.put(format!("chat/completions/chatcmpl-{}", draft.id), entry);
}

/// An answer that is not streamed comes when its last token would have come.
fn one_piece(ask: &Ask, draft: &Draft) -> Whole {
    let (kind, body) = match ask.surface {
        Surface::Chat | Surface::Responses | Surface::Speech => (JSON, text(&chat_body(draft))),
        Surface::Completions => (JSON, text(&completion_body(draft))),
        Surface::Embeddings => (JSON, text(&embeddings::body(ask, draft))),
        Surface::Images | Surface::ImageEdits => (JSON, text(&images::body(ask, draft))),
        Surface::Transcription | Surface::Translation => audio::transcript(ask, draft),
    };
    let counted = ask.surface != Surface::Embeddings;
    let at = if counted { draft.timing.token(draft.tokens) } else { draft.timing.first };
    Whole { at, kind, body, tokens: draft.tokens }
}

fn streamed(ask: &Ask, draft: &Draft) -> Work {
    let pieces = match ask.surface {
        Surface::Chat | Surface::Embeddings | Surface::Responses => {
            chat_pieces(draft, ask.delivery)
        }
        Surface::Completions => completion_pieces(draft, ask.delivery),
        Surface::Images | Surface::ImageEdits => images::pieces(ask, draft),
        Surface::Transcription | Surface::Translation => audio::transcript_pieces(draft),
        Surface::Speech => {
            return Work::Stream(audio::speech_type(ask), audio::speech_pieces(ask, draft));
        }
    };
    Work::Stream(EVENTS, pieces)
}

fn text(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// Puts an answer on the clock, up to its ending.
pub(super) fn send(work: Work, timing: Timing, ending: &Ending, unix: Duration) -> Reply {
    match work {
        Work::Stream(EVENTS, pieces) => {
            Reply::events(timing.headers, stream(pieces, timing, ending))
        }
        Work::Stream(kind, pieces) => match ending {
            // Bytes have no event to say that it went wrong.
            Ending::Error(mishap) => Reply::refusal(&mishap_refusal(*mishap, unix)),
            Ending::Whole | Ending::Empty | Ending::Hang(_) | Ending::Truncated(_) => {
                Reply::events(timing.headers, stream(pieces, timing, ending)).typed(kind)
            }
        },
        Work::Whole(answer) => sized(answer, timing, ending, unix),
    }
}

fn sized(answer: Whole, timing: Timing, ending: &Ending, unix: Duration) -> Reply {
    let Whole { at, kind, body, tokens } = answer;
    let length = body.len();
    let reply = match ending {
        // There are no events to put the error into.
        Ending::Error(mishap) => return Reply::refusal(&mishap_refusal(*mishap, unix)),
        Ending::Hang(_) => Reply::sized(timing.headers, length, hang()),
        Ending::Truncated(_) => Reply::sized(at, length, broken(at, &body)),
        Ending::Whole | Ending::Empty => Reply::sized(at, length, whole(at, body, tokens)),
    };
    reply.typed(kind)
}
