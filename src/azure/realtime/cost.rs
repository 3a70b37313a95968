//! What a conversation cost, read from the events that a backend sends.
//!
//! Each answer of the model ends with a `response.done`, and each transcription of the user's audio with an event
//! of its own; both say what they used. Only messages that may be one of them are kept, up to a bound, and each for
//! as long as it takes to arrive. What is longer, or broken, goes uncounted and is passed on all the same.

use crate::azure::json::{Cursor, Fault, Token};
use crate::azure::realtime::frames::Piece;
use crate::azure::usage::Usage;
use serde::Deserialize;
use std::borrow::Cow;

/// The most of one event that is kept.
const EVENT_BYTES_MAX: usize = 256 << 10;
/// Most events have their type at their beginning: after so many bytes it is looked for.
const HEAD_BYTES: usize = 256;
/// The ends of the types that tell what was used.
const TELLING: [&str; 2] = ["response.done", "input_audio_transcription.completed"];

const TEXT: u8 = 1;
const BYTES: u8 = 2;

/// Adds up what a backend says was used.
///
/// # Examples
///
/// ```
/// use firstlight::azure::realtime::{cost::Cost, frames::Frames};
///
/// let event = br#"{"type":"response.done","response":{"usage":{"input_tokens":7,"output_tokens":2}}}"#;
/// let mut frame = vec![0x81, u8::try_from(event.len()).unwrap()];
/// frame.extend(event);
/// let (mut frames, mut cost) = (Frames::default(), Cost::default());
/// frames.see(&frame, |piece| {
///     cost.see(&piece);
/// });
/// assert_eq!(cost.usage().unwrap().prompt, Some(7));
/// ```
#[derive(Debug, Default)]
pub struct Cost {
    message: Message,
    usage: Option<Usage>,
}

/// The message that is under way.
#[derive(Debug, Default, PartialEq, Eq)]
enum Message {
    #[default]
    None,
    /// It may be one that tells: what came of it.
    Kept(Vec<u8>),
    PassedOver,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    /// Of a transcription.
    usage: Option<Told>,
    response: Option<Response>,
}

#[derive(Deserialize)]
struct Response {
    usage: Option<Told>,
}

/// What an event says; a transcription may be counted in seconds instead.
#[derive(Deserialize)]
struct Told {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_token_details: Option<Details>,
    output_token_details: Option<Details>,
}

#[derive(Default, Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

impl Cost {
    /// Takes a piece of what the backend sends. Tells whether it completed an event that says what was used.
    pub fn see(&mut self, piece: &Piece<'_>) -> bool {
        if piece.opcode > BYTES {
            // Control frames may come between the frames of a message.
            return false;
        }
        if self.message == Message::None {
            let readable = piece.opcode == TEXT && !piece.masked;
            self.message = if readable { Message::Kept(Vec::new()) } else { Message::PassedOver };
        }
        if let Message::Kept(kept) = &mut self.message
            && !keep(kept, piece.payload)
        {
            self.message = Message::PassedOver;
        }
        if !piece.ends || !piece.last_frame {
            return false;
        }
        let Message::Kept(event) = std::mem::take(&mut self.message) else { return false };
        let told = read(&event);
        self.add(told.as_ref());
        told.is_some()
    }

    /// What was used so far, if anything was told.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn add(&mut self, told: Option<&Told>) {
        let Some(told) = told else { return };
        let so_far = self.usage.get_or_insert_default();
        let cached = told.input_token_details.as_ref().and_then(|details| details.cached_tokens);
        let reasoning =
            told.output_token_details.as_ref().and_then(|details| details.reasoning_tokens);
        sum(&mut so_far.prompt, told.input_tokens);
        sum(&mut so_far.completion, told.output_tokens);
        sum(&mut so_far.cached, cached);
        sum(&mut so_far.reasoning, reasoning);
    }
}

fn sum(so_far: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *so_far = Some(so_far.unwrap_or(0).saturating_add(more));
    }
}

/// Adds to what is kept of a message, as long as it may be one that tells.
fn keep(kept: &mut Vec<u8>, payload: &[u8]) -> bool {
    let missing = HEAD_BYTES.saturating_sub(kept.len()).min(payload.len());
    let (head, rest) = payload.split_at_checked(missing).unwrap_or((payload, &[]));
    kept.extend_from_slice(head);
    if missing > 0 && kept.len() == HEAD_BYTES && kind(kept).is_some_and(|kind| !tells(kind)) {
        return false;
    }
    kept.extend_from_slice(rest);
    kept.len() <= EVENT_BYTES_MAX
}

fn names_a_type(text: &[u8]) -> bool {
    TELLING.iter().any(|kind| memchr::memmem::find(text, kind.as_bytes()).is_some())
}

fn tells(kind: &[u8]) -> bool {
    TELLING.iter().any(|telling| kind.ends_with(telling.as_bytes()))
}

/// The type of an event of which the beginning is there, if it stands in that.
fn kind(head: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    let member = |cursor: &mut Cursor<'_>, key: Token<'_>| {
        let from = cursor.place();
        cursor.skip_value()?;
        if key.raw() == b"type" {
            found = Some(from..cursor.place());
        }
        Ok::<(), Fault>(())
    };
    // What is cut off is an error, and what came before it counts.
    _ = Cursor::new(head).object(member);
    head.get(found?)?.trim_ascii().strip_prefix(b"\"")?.strip_suffix(b"\"")
}

fn read(event: &[u8]) -> Option<Told> {
    if !names_a_type(event) {
        return None;
    }
    let event: Event<'_> = serde_json::from_slice(event).ok()?;
    if !tells(event.kind.as_bytes()) {
        return None;
    }
    event.response.and_then(|response| response.usage).or(event.usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::realtime::frames::Frames;

    const DONE: &str = r#"{"type":"response.done","event_id":"e1","response":{"id":"r","usage":{"total_tokens":253,
        "input_tokens":132,"output_tokens":121,"input_token_details":{"text_tokens":119,"audio_tokens":13,
        "cached_tokens":64},"output_token_details":{"text_tokens":30,"audio_tokens":91}}}}"#;
    const HEARD: &str = r#"{"event_id":"e2","type":"conversation.item.input_audio_transcription.completed",
        "transcript":"Hi","usage":{"type":"tokens","total_tokens":22,"input_tokens":13,"output_tokens":9}}"#;

    /// A frame of a server: its first byte and its payload.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u64::try_from(payload.len()).unwrap();
        let mut frame = vec![first];
        match length {
            0..=125 => frame.push(u8::try_from(length).unwrap()),
            126..=65_535 => {
                frame.push(126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    fn cost(frames: &[Vec<u8>], chunk: usize) -> Option<Usage> {
        let (mut reader, mut cost) = (Frames::default(), Cost::default());
        for chunk in frames.concat().chunks(chunk) {
            reader.see(chunk, |piece| {
                cost.see(&piece);
            });
        }
        assert_eq!(cost.message, Message::None, "nothing is kept between messages");
        cost.usage()
    }

    fn check(frames: &[Vec<u8>], expected: Option<[Option<u64>; 4]>) {
        let expected = expected.map(|[prompt, completion, cached, reasoning]| Usage {
            prompt,
            completion,
            cached,
            reasoning,
            ..Usage::default()
        });
        for chunk in [1, 7, 100, 1 << 20] {
            assert_eq!(cost(frames, chunk), expected, "in chunks of {chunk}");
        }
    }

    #[test]
    fn what_each_answer_used_is_added_up() {
        let done = || frame(0x81, DONE.as_bytes());
        check(&[done()], Some([Some(132), Some(121), Some(64), None]));
        check(
            &[done(), frame(0x82, b"audio"), frame(0x81, HEARD.as_bytes()), done()],
            Some([Some(277), Some(251), Some(128), None]),
        );
    }

    #[test]
    fn a_message_in_parts_is_one() {
        let (begin, end) = DONE.as_bytes().split_at(40);
        let parts = [frame(0x01, begin), frame(0x89, b"ping"), frame(0x00, b""), frame(0x80, end)];
        check(&parts, Some([Some(132), Some(121), Some(64), None]));
    }

    #[test]
    fn everything_else_is_passed_over() {
        let other = r#"{"type":"response.audio.delta","delta":"response.done"}"#;
        check(&[frame(0x81, other.as_bytes()), frame(0x81, b""), frame(0x88, b"\x03\xe8")], None);
        check(&[frame(0x82, DONE.as_bytes())], None);
        check(&[frame(0x81, &DONE.as_bytes()[..DONE.len() - 1])], None);
        let seconds = HEARD.replace("input_tokens", "in").replace("output_tokens", "out");
        check(&[frame(0x81, seconds.as_bytes())], Some([None; 4]));
        let long = format!("{}{}", DONE, " ".repeat(EVENT_BYTES_MAX));
        assert_eq!(cost(&[frame(0x81, long.as_bytes())], 1 << 20), None);
    }

    #[test]
    fn a_type_may_stand_anywhere() {
        let rest = DONE.strip_prefix("{\"type\":\"response.done\",").unwrap();
        let rest = rest.strip_suffix('}').unwrap();
        for pad in [1, HEAD_BYTES, 10 * HEAD_BYTES] {
            let pad = "x".repeat(pad);
            let last = format!(
                "{{\"pad\":{{\"type\":\"other{pad}\"}},{rest},\"type\":\"response.done\"}}"
            );
            let expected = Some([Some(132), Some(121), Some(64), None]);
            check(&[frame(0x81, last.as_bytes())], expected);
        }
    }

    #[test]
    fn what_does_not_tell_is_not_kept() {
        let (mut reader, mut cost) = (Frames::default(), Cost::default());
        let audio = [r#"{"type":"response.audio.delta","delta":""#, &"A".repeat(1 << 20)].concat();
        let bytes = frame(0x81, audio.as_bytes());
        for chunk in bytes[..bytes.len() - 1].chunks(4_096) {
            reader.see(chunk, |piece| {
                cost.see(&piece);
            });
            assert_eq!(cost.message, Message::PassedOver);
        }
    }
}
