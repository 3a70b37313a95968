//! Which requests may be sent twice.
//!
//! Most requests to a model leave nothing behind: asked twice, they cost twice and nothing else, so a slow one
//! is hedged and a failed one tried again. The others keep something on the resource that answers, or go on
//! by themselves when the connection is gone. A copy of such a request is done as well as the first one, so
//! it is sent only when nothing can have been done yet: the connection failed, or the answer was a refusal
//! (401, 403, 429, or a deployment that does not exist).
//!
//! | request | may be sent twice |
//! |---|---|
//! | completions, embeddings, models | yes: these operations keep nothing |
//! | chat completions | unless `store` is true |
//! | responses (kept unless `store` is false) | if `store` is false, or the operator says that copies are fine |
//! | anything with `background` | no: it is done whether or not anybody reads the answer |
//!
//! A chat completion with `store` is not freed by the operator's option. Chat keeps an answer only for those
//! who ask, to train and evaluate models with, and a copy would stand in their data twice. Responses keep
//! every answer by default, mostly for nobody: there the operator can know that copies do no harm.

use crate::azure::peek::Peek;
use crate::azure::route::Operation;

/// When an operation keeps its answer on the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Whatever the request says.
    Never,
    /// If `store` is true: chat completions.
    WhenAsked,
    /// Unless `store` is false: responses.
    UnlessTold,
    /// Whatever the request says: files, threads and all else that is made.
    Always,
}

impl Keeping {
    /// How the answers to `operation` are kept.
    pub fn of(operation: Operation) -> Self {
        match operation {
            Operation::ChatCompletions => Self::WhenAsked,
            Operation::Responses => Self::UnlessTold,
            Operation::Completions
            | Operation::Embeddings
            | Operation::Images
            | Operation::Transcriptions
            | Operation::Speech
            | Operation::Models => Self::Never,
            Operation::Realtime | Operation::Resource => Self::Always,
        }
    }
}

/// What the operator says about responses that Azure keeps: `hedge.stored_responses`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoredResponses {
    /// Nobody may find one twice.
    #[default]
    Once,
    /// A second one that nobody knows of does no harm.
    Twice,
}

/// Whether a request may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// At any time: it may be hedged, and tried again after every failure.
    Anytime,
    /// Only if nothing has been done yet: never hedged.
    OnlyUntouched,
}

impl Repeat {
    /// What a request allows, from what its operation keeps and what its body says.
    ///
    /// # Examples
    ///
    /// ```
    /// use firstlight::azure::peek::Peek;
    /// use firstlight::azure::repeat::{Keeping, Repeat, StoredResponses};
    /// use firstlight::azure::route::Operation;
    ///
    /// let keeping = Keeping::of(Operation::ChatCompletions);
    /// let stored = Peek { store: Some(true), ..Peek::default() };
    /// assert_eq!(Repeat::of(keeping, &stored, StoredResponses::Twice), Repeat::OnlyUntouched);
    /// ```
    pub fn of(keeping: Keeping, asked: &Peek<'_>, stored_responses: StoredResponses) -> Self {
        let kept = match keeping {
            Keeping::Never => false,
            Keeping::Always => true,
            Keeping::WhenAsked => asked.store == Some(true),
            Keeping::UnlessTold => {
                asked.store != Some(false) && stored_responses == StoredResponses::Once
            }
        };
        if kept || asked.background == Some(true) { Self::OnlyUntouched } else { Self::Anytime }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::peek::peek;

    #[test]
    fn every_operation_keeps_as_azure_says() {
        let check = |operation, expected| assert_eq!(Keeping::of(operation), expected);
        check(Operation::ChatCompletions, Keeping::WhenAsked);
        check(Operation::Completions, Keeping::Never);
        check(Operation::Embeddings, Keeping::Never);
        check(Operation::Models, Keeping::Never);
    }

    /// What a body allows, without and with the operator's option.
    fn check(keeping: Keeping, body: &str, expected: [Repeat; 2]) {
        let asked = peek(body.as_bytes()).unwrap();
        let found =
            [StoredResponses::Once, StoredResponses::Twice].map(|s| Repeat::of(keeping, &asked, s));
        assert_eq!(found, expected, "{keeping:?} {body}");
    }

    #[test]
    fn what_leaves_something_behind_is_sent_once() {
        use Keeping::{Never, UnlessTold, WhenAsked};
        use Repeat::{Anytime, OnlyUntouched};
        for silent in ["{}", r#"{"store":null,"background":null}"#, r#"{"background":false}"#] {
            check(Never, silent, [Anytime, Anytime]);
            check(WhenAsked, silent, [Anytime, Anytime]);
            check(UnlessTold, silent, [OnlyUntouched, Anytime]);
        }
        check(Never, r#"{"store":true}"#, [Anytime, Anytime]);
        check(WhenAsked, r#"{"store":true}"#, [OnlyUntouched, OnlyUntouched]);
        check(UnlessTold, r#"{"store":true}"#, [OnlyUntouched, Anytime]);
        for keeping in [Never, WhenAsked, UnlessTold] {
            check(keeping, r#"{"store":false}"#, [Anytime, Anytime]);
            let background = r#"{"store":false,"background":true}"#;
            check(keeping, background, [OnlyUntouched, OnlyUntouched]);
        }
    }
}
