//! The ends of streams: from its events, whether a response is under way, whole, or failed.
//!
//! A connection that closes cleanly in the middle of a response, and one that breaks behind its last event, are both
//! common: proxies in between, restarts and resets know nothing of the events. So a stream is judged by what it
//! said, and by its connection only where it said nothing that is known here.
//!
//! | operation | under way | whole, more may follow | nothing follows | failed |
//! |---|---|---|---|---|
//! | chat completions, completions | a chunk with `choices` | a `finish_reason` for each choice that began | `[DONE]` | an `error` member or event |
//! | Responses, resumed ones too | `response.…` | | `response.completed`, `.incomplete`, `.cancelled` | `response.failed`, `error` |
//! | runs of assistants | `thread.…` | `thread.run.completed`, `.incomplete`, `.cancelled`, `.expired`, `.requires_action` | `[DONE]` | `thread.run.failed`, `error` |
//! | speech | `speech.audio.…` | `speech.audio.done` | `[DONE]` | `error` |
//! | transcription | `transcript.text.…` | `transcript.text.done` | `[DONE]` | `error` |
//! | images | `image_generation.…`, `image_edit.…` | the `….completed` of the last picture | `[DONE]` | `error` |
//!
//! Sources, in the API reference that Azure's v1 surface follows (platform.openai.com/docs/api-reference):
//! `chat-streaming` and `completions` (the finish reason of each choice, usage behind it, and the terminator
//! `data: [DONE]`), `responses-streaming` and the states of the Response object, `assistants-streaming/events` (a run's
//! end, then `done` with `[DONE]`), `audio/speech-audio-done-event`, `audio/transcript-text-done-event` and
//! `images-streaming`. Azure puts prompt filter results in front of chat chunks and annotations of its content
//! filter behind the finish reason (learn.microsoft.com/azure/ai-foundry/openai/concepts/content-streaming).
//!
//! Streams are told apart by the names of their events and not by the operation, for a response is resumed, and a run
//! started, on paths of their own. Names that are not in the table say nothing.

use crate::azure::event::StreamError;

/// How far a response has come, by the events of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// No event of a known form has passed: only the connection tells how it ends.
    #[default]
    Unknown,
    /// Under way: an end here leaves half of a response.
    Open,
    /// The response is there; usage, annotations or a closing mark may follow.
    Whole,
    /// The response is there, and nothing follows.
    Closed,
    /// The upstream reported in the stream that the response failed.
    Failed(StreamError),
}

impl Ending {
    /// Takes what the next event says.
    #[must_use]
    pub(super) fn after(self, mark: Mark) -> Self {
        match (self, mark) {
            (Self::Failed(_) | Self::Closed, _) | (_, Mark::Unknown) => self,
            (_, Mark::Last) => Self::Closed,
            (_, Mark::Whole) => Self::Whole,
            (_, Mark::More) | (Self::Unknown, Mark::Going) => Self::Open,
            (Self::Open | Self::Whole, Mark::Going) => self,
        }
    }

    /// Takes an error event. The first one counts; behind the last event of a response there is none.
    #[must_use]
    pub(super) fn failed(self, error: StreamError) -> Self {
        match self {
            Self::Failed(_) | Self::Closed => self,
            Self::Unknown | Self::Open | Self::Whole => Self::Failed(error),
        }
    }
}

/// What one event says of the end of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing: it is in no row of the table.
    #[default]
    Unknown,
    /// An event of a known form that ends nothing.
    Going,
    /// More of a response that may have looked whole.
    More,
    /// The response is whole.
    Whole,
    /// The response is whole, and nothing follows.
    Last,
}

impl Mark {
    /// What an event of this name says.
    pub(super) fn of(name: &[u8]) -> Self {
        let Some((row, rest)) =
            ROWS.iter().find_map(|row| Some((row, name.strip_prefix(row.prefix)?)))
        else {
            return Self::Unknown;
        };
        if row.last.contains(&rest) {
            Self::Last
        } else if row.whole.contains(&rest) {
            Self::Whole
        } else if row.more.contains(&rest) {
            Self::More
        } else {
            Self::Going
        }
    }
}

/// The events of one kind of stream, by what follows the prefix of their names.
struct Row {
    prefix: &'static [u8],
    more: &'static [&'static [u8]],
    whole: &'static [&'static [u8]],
    last: &'static [&'static [u8]],
}

static ROWS: [Row; 6] = [
    Row {
        prefix: b"response.",
        more: &[],
        whole: &[],
        last: &[b"completed", b"incomplete", b"cancelled"],
    },
    Row {
        prefix: b"thread.",
        more: &[],
        whole: &[
            b"run.completed",
            b"run.incomplete",
            b"run.cancelled",
            b"run.expired",
            b"run.requires_action",
        ],
        last: &[],
    },
    Row { prefix: b"speech.audio.", more: &[], whole: &[b"done"], last: &[] },
    Row { prefix: b"transcript.text.", more: &[], whole: &[b"done"], last: &[] },
    // Where several pictures are asked for, each has events of its own.
    Row {
        prefix: b"image_generation.",
        more: &[b"partial_image"],
        whole: &[b"completed"],
        last: &[],
    },
    Row { prefix: b"image_edit.", more: &[b"partial_image"], whole: &[b"completed"], last: &[] },
];

/// The choices of a chat completion: which have begun, and which have finished. The API allows 128; what has a
/// larger index is not followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Choices {
    begun: u128,
    finished: u128,
    /// Other things with an `index`: calls of tools.
    others: u128,
}

impl Choices {
    /// Takes a choice of an event.
    #[expect(clippy::fn_params_excessive_bools, reason = "a fact of the choice")]
    pub(super) fn add(&mut self, index: u32, is_finished: bool) {
        self.begun |= bit(index);
        if is_finished {
            self.finished |= bit(index);
        }
    }

    /// Takes the choices of an event that was read, and all that it numbered.
    pub(super) fn merge(&mut self, event: Self, numbered: u128) {
        self.begun |= event.begun;
        self.finished |= event.finished;
        self.others |= numbered & !event.begun;
    }

    /// Whether an event that numbers these may begin a choice.
    pub(super) fn may_begin(&self, numbered: u128) -> bool {
        let unseen = numbered & !self.begun;
        unseen & !self.others != 0 || (unseen != 0 && numbered & self.begun == 0)
    }

    /// What they say of the end of the stream.
    pub(super) fn mark(&self) -> Mark {
        let is_whole = self.begun != 0 && self.begun & !self.finished == 0;
        if is_whole { Mark::Whole } else { Mark::More }
    }
}

/// The bit of an index; none for one that is not followed.
pub(super) fn bit(index: u32) -> u128 {
    1_u128.checked_shl(index).unwrap_or(0)
}

/// The number that a value begins with, as far as it can be an index.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    let digits = value.iter().take(4).take_while(|byte| byte.is_ascii_digit());
    let mut number: Option<u32> = None;
    for digit in digits {
        number = Some(number.unwrap_or(0) * 10 + u32::from(digit - b'0'));
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_end() {
        let check =
            |name: &str, expected| assert_eq!(Mark::of(name.as_bytes()), expected, "{name}");
        for last in ["response.completed", "response.incomplete", "response.cancelled"] {
            check(last, Mark::Last);
        }
        for whole in [
            "thread.run.completed",
            "thread.run.incomplete",
            "thread.run.cancelled",
            "thread.run.expired",
            "thread.run.requires_action",
            "speech.audio.done",
            "transcript.text.done",
            "image_generation.completed",
            "image_edit.completed",
        ] {
            check(whole, Mark::Whole);
        }
        for going in [
            "response.created",
            "response.output_text.done",
            "response.image_generation_call.completed",
            "response.image_generation_call.partial_image",
            "thread.run.cancelling",
            "thread.run.step.completed",
            "thread.message.completed",
            "speech.audio.delta",
            "transcript.text.segment",
        ] {
            check(going, Mark::Going);
        }
        check("image_edit.partial_image", Mark::More);
        for unknown in ["", "error", "done", "keepalive", "agent.delta", "completed", "response"] {
            check(unknown, Mark::Unknown);
        }
    }

    #[test]
    fn what_is_over_stays_over() {
        let limited = StreamError::RateLimited;
        for mark in [Mark::Unknown, Mark::Going, Mark::More, Mark::Whole, Mark::Last] {
            assert_eq!(Ending::Closed.after(mark), Ending::Closed);
            assert_eq!(Ending::Failed(limited).after(mark), Ending::Failed(limited));
        }
        assert_eq!(Ending::Closed.failed(limited), Ending::Closed);
        assert_eq!(Ending::Whole.failed(limited), Ending::Failed(limited));
        assert_eq!(Ending::Failed(limited).failed(StreamError::Error), Ending::Failed(limited));
        assert_eq!(Ending::Whole.after(Mark::Going), Ending::Whole);
        assert_eq!(Ending::Whole.after(Mark::More), Ending::Open);
        assert_eq!(Ending::Unknown.after(Mark::Unknown), Ending::Unknown);
    }

    #[test]
    fn every_choice_that_began_must_finish() {
        let mut choices = Choices::default();
        assert_eq!(choices.mark(), Mark::More, "nothing has begun");
        let mut event = Choices::default();
        event.add(0, false);
        choices.merge(event, 0b1);
        assert!(!choices.may_begin(0b1), "known");
        assert!(choices.may_begin(0b11), "not known: a tool or a choice");
        choices.merge(event, 0b11);
        assert!(!choices.may_begin(0b11), "a tool");
        assert!(choices.may_begin(0b10), "a tool is never alone, so it is a choice");
        event = Choices::default();
        event.add(1, true);
        choices.merge(event, 0b10);
        assert_eq!(choices.mark(), Mark::More, "the first choice goes on");
        event.add(0, true);
        choices.merge(event, 0b11);
        assert_eq!(choices.mark(), Mark::Whole);
    }

    #[test]
    fn indices_are_bounded() {
        assert_eq!((bit(0), bit(127), bit(128), bit(u32::MAX)), (1, 1 << 127, 0, 0));
        let read = ["0,", "12}", "7", "-1", "x", "", "99999999999999", "\"1\""]
            .map(|text| number(text.as_bytes()));
        assert_eq!(read, [Some(0), Some(12), Some(7), None, None, None, Some(9_999), None]);
    }
}
