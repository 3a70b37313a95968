//! What the events of streams are called.

use crate::azure::ending::Mark;

/// The name of an event, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) kind: Kind,
    /// What it says of the end of its stream.
    pub(super) mark: Mark,
}

impl Name {
    pub(super) fn of(word: &[u8]) -> Self {
        Self { kind: Kind::of(word), mark: Mark::of(word) }
    }
}

/// What the type of an event, or its `event` field, calls it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// `error`: in every stream.
    Error,
    /// It carries the error in an object of its own.
    Failed,
    /// The end of a good stream.
    End,
    /// A piece of what the model writes.
    Delta,
    /// All of what it wrote, once more or at once.
    Transcript,
    /// A picture, whole or coming.
    Picture,
    /// One thing that the model does: a message, a call, a thought.
    Item,
    /// Anything else, or nothing.
    #[default]
    Other,
}

impl Kind {
    fn of(word: &[u8]) -> Self {
        match word {
            b"error" => Self::Error,
            b"response.failed" | b"thread.run.failed" => Self::Failed,
            b"response.completed"
            | b"response.incomplete"
            | b"response.cancelled"
            | b"speech.audio.done"
            | b"thread.run.completed"
            | b"thread.run.incomplete"
            | b"thread.run.cancelled"
            | b"thread.run.expired"
            | b"thread.run.requires_action" => Self::End,
            b"image_generation.completed" | b"image_edit.completed" => Self::Picture,
            b"transcript.text.done" => Self::Transcript,
            b"transcript.text.segment" => Self::Delta,
            b"response.output_item.added" | b"response.output_item.done" => Self::Item,
            _ if word.ends_with(b".delta") => Self::Delta,
            _ if word.ends_with(b".partial_image") => Self::Picture,
            _ => Self::Other,
        }
    }
}
