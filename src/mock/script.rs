//! An answer as a script: what leaves when, and how it ends. The deadlines are data.
//!
//! A [`Script`] is a lazy sequence of [`Step`]s, so a stream of a million tokens costs no more memory than one
//! of ten; [`crate::mock::body`] plays it. [`stream`] puts the pieces of a streamed answer in Azure's order:
//! filter chunk (with the headers), role chunk, tokens, finish chunk, usage chunk, `[DONE]`; a fault's
//! [`Ending`] says where that order is left.

use crate::mock::behaviour::Timing;
use bytes::Bytes;
use std::iter::once;
use std::time::Duration;

/// What is done when, counted from the arrival of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes leave.
    Send { at: Duration, bytes: Bytes, tokens: u32 },
    /// The answer breaks off: no proper end of the body.
    Abort { at: Duration },
    /// Nothing happens any more.
    Hang,
}

impl Step {
    pub(super) fn sends(&self) -> bool {
        matches!(self, Self::Send { .. })
    }
}

pub(super) type Script = Box<dyn Iterator<Item = Step> + Send>;

/// How a streamed answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With everything.
    Whole,
    /// Not at all, after this stage.
    Hang(Stage),
    /// Broken off after so many tokens.
    Truncated(u32),
    /// With an error event after the filter chunk.
    Error(Mishap),
    /// After the role chunk, as if that were all.
    Empty,
}

/// How far an answer gets before it freezes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Headers,
    Filter,
    Role,
}

/// What an error event after a 200 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    Server,
    RateLimit,
}

/// The chunks of a streamed answer, rendered.
pub(super) struct Pieces {
    pub(super) filter: Bytes,
    pub(super) role: Option<Bytes>,
    pub(super) token: Box<dyn Fn(u32) -> Bytes + Send>,
    pub(super) tokens: u32,
    pub(super) finish: Bytes,
    pub(super) usage: Option<Bytes>,
    /// What says that there is no more; nothing where the end of the body does.
    pub(super) done: Bytes,
    /// The events that say that it went wrong.
    pub(super) mishap: Box<dyn Fn(Mishap) -> Bytes + Send>,
}

impl Pieces {
    /// Nothing but tokens: for what is streamed in another order than chat.
    pub(super) fn tokens_only(tokens: u32, token: impl Fn(u32) -> Bytes + Send + 'static) -> Self {
        Self {
            filter: Bytes::new(),
            role: None,
            token: Box::new(token),
            tokens,
            finish: Bytes::new(),
            usage: None,
            done: Bytes::new(),
            mishap: Box::new(Mishap::event),
        }
    }
}

/// A streamed answer, up to its ending.
pub(super) fn stream(pieces: Pieces, timing: Timing, ending: &Ending) -> Script {
    let Pieces { filter, role, token, tokens, finish, usage, done, mishap } = pieces;
    let filter = some(filter).map(|bytes| send(timing.headers, bytes)).into_iter();
    let role = role.map(|role| send(timing.role, role)).into_iter();
    match *ending {
        Ending::Whole => {
            let end = timing.token(tokens.saturating_sub(1));
            let tail = [some(finish), usage, some(done)]
                .into_iter()
                .flatten()
                .map(move |bytes| send(end, bytes));
            Box::new(filter.chain(role).chain(spoken(token, tokens, timing)).chain(tail))
        }
        Ending::Hang(Stage::Headers) => Box::new(once(Step::Hang)),
        Ending::Hang(Stage::Filter) => Box::new(filter.chain(once(Step::Hang))),
        Ending::Hang(Stage::Role) => Box::new(filter.chain(role).chain(once(Step::Hang))),
        Ending::Truncated(after) => {
            let sent = after.min(tokens);
            let abort = Step::Abort { at: timing.token(sent) };
            Box::new(filter.chain(role).chain(spoken(token, sent, timing)).chain(once(abort)))
        }
        Ending::Error(kind) => Box::new(filter.chain(once(send(timing.role, mishap(kind))))),
        Ending::Empty => {
            let done = some(done).map(|bytes| send(timing.first, bytes));
            Box::new(filter.chain(role).chain(done))
        }
    }
}

/// An answer that is not streamed: one body at one moment.
pub(super) fn whole(at: Duration, body: Bytes, tokens: u32) -> Script {
    Box::new(once(Step::Send { at, bytes: body, tokens }))
}

/// Half of a body, then the break.
pub(super) fn broken(at: Duration, body: &Bytes) -> Script {
    let half = body.slice(..body.len() / 2);
    Box::new([send(at, half), Step::Abort { at }].into_iter())
}

/// Headers and never a body.
pub(super) fn hang() -> Script {
    Box::new(once(Step::Hang))
}

/// The end of chat and completions.
pub(super) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

impl Mishap {
    /// Code and message, where an event has fields for them.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Server => (
                "server_error",
                "The server had an error while processing your request. Sorry about that!",
            ),
            Self::RateLimit => {
                ("rate_limit_exceeded", "Rate limit reached. Please retry after 3 seconds.")
            }
        }
    }

    /// As chat and completions say it.
    pub(super) fn event(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Server => {
                b"data: {\"error\":{\"message\":\"The server had an error while processing your request. Sorry \
                about that!\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n"
            }
            Self::RateLimit => {
                b"data: {\"error\":{\"message\":\"Rate limit reached. Please retry after 1 second.\",\
                \"type\":\"tokens\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}\n\n"
            }
        })
    }
}

/// An event that is not empty.
fn some(bytes: Bytes) -> Option<Bytes> {
    (!bytes.is_empty()).then_some(bytes)
}

fn send(at: Duration, bytes: Bytes) -> Step {
    Step::Send { at, bytes, tokens: 0 }
}

fn spoken(
    token: Box<dyn Fn(u32) -> Bytes + Send>,
    count: u32,
    timing: Timing,
) -> impl Iterator<Item = Step> + Send {
    (0..count).map(move |index| Step::Send {
        at: timing.token(index),
        bytes: token(index),
        tokens: 1,
    })
}

#[cfg(test)]
mod tests {
    use crate::mock::behaviour::Timing;
    use crate::mock::script::{DONE, Ending, Mishap, Pieces, Stage, Step, stream};
    use bytes::Bytes;
    use std::time::Duration;

    const TIMING: Timing = Timing {
        headers: Duration::from_millis(10),
        role: Duration::from_millis(90),
        first: Duration::from_millis(100),
        gap: Duration::from_millis(5),
    };

    /// A script in one line: the time and the bytes of each step.
    fn told(ending: &Ending) -> String {
        let pieces = Pieces {
            filter: Bytes::from_static(b"filter"),
            role: Some(Bytes::from_static(b"role")),
            finish: Bytes::from_static(b"finish"),
            usage: Some(Bytes::from_static(b"usage")),
            done: DONE,
            ..Pieces::tokens_only(3, |index| Bytes::from(format!("w{index}")))
        };
        let steps = stream(pieces, TIMING, ending).map(|step| match step {
            Step::Send { at, bytes, .. } => {
                format!("{} {}", at.as_millis(), String::from_utf8_lossy(&bytes).trim())
            }
            Step::Abort { at } => format!("{} abort", at.as_millis()),
            Step::Hang => "hang".to_owned(),
        });
        steps.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_whole_stream_is_in_the_order_of_azure() {
        assert_eq!(
            told(&Ending::Whole),
            "10 filter, 90 role, 100 w0, 105 w1, 110 w2, 110 finish, 110 usage, 110 data: [DONE]"
        );
    }

    #[test]
    fn a_fault_leaves_the_order_where_it_says() {
        assert_eq!(told(&Ending::Hang(Stage::Headers)), "hang");
        assert_eq!(told(&Ending::Hang(Stage::Filter)), "10 filter, hang");
        assert_eq!(told(&Ending::Hang(Stage::Role)), "10 filter, 90 role, hang");
        assert_eq!(told(&Ending::Truncated(1)), "10 filter, 90 role, 100 w0, 105 abort");
        assert_eq!(told(&Ending::Empty), "10 filter, 90 role, 100 data: [DONE]");
        assert!(
            told(&Ending::Error(Mishap::Server)).starts_with("10 filter, 90 data: {\"error\":{")
        );
        assert!(told(&Ending::Error(Mishap::RateLimit)).contains("rate_limit_exceeded"));
    }
}
