//! Which requests may be sent twice.
//!
//! Most requests to a model leave nothing behind: a second copy costs its tokens and nothing else, so a slow one
//! is hedged and a failed one tried again. Others keep something on the resource that responds, act while the
//! response is written ([`tools`](crate::azure::tools)), or go on by themselves when the connection is gone. A
//! copy of such a request is done as well as the first one, so it is sent only when surely nothing was done yet:
//! the connection failed, or the response was a refusal (401, 403, 429, or a deployment that does not exist).
//!
//! | request | may be sent twice |
//! |---|---|
//! | completions, embeddings, models | yes: these operations keep nothing |
//! | chat completions | unless `store` is true |
//! | responses with `store: false` | yes |
//! | responses without `store` | yes: Azure stores them, mostly for nobody, and the copy is deleted |
//! | responses with `store: true` | no: the client says that it wants to find one of it |
//! | anything with `background`, or with a `conversation` | no: it goes on without a reader, or is added to it |
//! | anything with a tool that may have an effect | no, unless the operator lists the tool's type |

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

/// Whether a request may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// At any time: a copy leaves nothing behind.
    Anytime,
    /// At any time, but a copy is stored, only because the request does not say otherwise. Nobody knows of that
    /// copy, and it is to be deleted.
    StoredByDefault,
    /// Only if nothing has been done yet: never hedged.
    OnlyUntouched,
}

impl Repeat {
    /// What a request allows, from what its operation keeps and what its body says. `tools`: the types of tools
    /// that the operator allows to be used twice, see [`Tools::may_repeat`](crate::azure::tools::Tools::may_repeat).
    ///
    /// # Examples
    ///
    /// ```
    /// use firstlight::azure::peek::Peek;
    /// use firstlight::azure::repeat::{Keeping, Repeat};
    /// use firstlight::azure::route::Operation;
    ///
    /// let keeping = Keeping::of(Operation::Responses);
    /// assert_eq!(Repeat::of(keeping, &Peek::default(), &[]), Repeat::StoredByDefault);
    /// let stored = Peek { store: Some(true), ..Peek::default() };
    /// assert_eq!(Repeat::of(keeping, &stored, &[]), Repeat::OnlyUntouched);
    /// ```
    pub fn of(keeping: Keeping, asked: &Peek<'_>, tools: &[String]) -> Self {
        if asked.background == Some(true) || asked.conversation || !asked.tools.may_repeat(tools) {
            return Self::OnlyUntouched;
        }
        match (keeping, asked.store) {
            (Keeping::Never, _)
            | (Keeping::WhenAsked, Some(false) | None)
            | (Keeping::UnlessTold, Some(false)) => Self::Anytime,
            (Keeping::UnlessTold, None) => Self::StoredByDefault,
            (Keeping::WhenAsked | Keeping::UnlessTold, Some(true)) | (Keeping::Always, _) => {
                Self::OnlyUntouched
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::peek::peek;
    use Keeping::{Always, Never, UnlessTold, WhenAsked};
    use Repeat::{Anytime, OnlyUntouched, StoredByDefault};

    #[test]
    fn every_operation_keeps_as_azure_says() {
        let check = |operation, expected| assert_eq!(Keeping::of(operation), expected);
        check(Operation::ChatCompletions, WhenAsked);
        check(Operation::Responses, UnlessTold);
        check(Operation::Completions, Never);
        check(Operation::Embeddings, Never);
        check(Operation::Models, Never);
        check(Operation::Resource, Always);
    }

    fn of(keeping: Keeping, body: &str, tools: &[String]) -> Repeat {
        Repeat::of(keeping, &peek(body.as_bytes()).unwrap(), tools)
    }

    /// What a body allows to operations that never keep their response, that keep it when asked, and unless told.
    fn check(body: &str, expected: [Repeat; 3]) {
        let found = [Never, WhenAsked, UnlessTold].map(|keeping| of(keeping, body, &[]));
        assert_eq!(found, expected, "{body}");
        assert_eq!(of(Always, body, &[]), OnlyUntouched, "{body}");
    }

    #[test]
    fn what_is_stored_is_sent_once_unless_only_the_default_stores_it() {
        let silent = [
            "{}",
            r#"{"store":null,"background":null,"conversation":null,"tools":null,"prompt":null}"#,
            r#"{"background":false,"tools":[]}"#,
            r#"{"previous_response_id":"resp_0123456789abcdef"}"#,
        ];
        for body in silent {
            check(body, [Anytime, Anytime, StoredByDefault]);
        }
        check(r#"{"store":false}"#, [Anytime; 3]);
        check(r#"{"store":true}"#, [Anytime, OnlyUntouched, OnlyUntouched]);
    }

    #[test]
    fn what_goes_on_or_is_added_to_is_sent_once() {
        for store in ["", r#""store":false,"#, r#""store":true,"#] {
            for rest in [
                r#""background":true"#,
                r#""conversation":"conv_0123456789abcdef""#,
                r#""conversation":{"id":"conv_0123456789abcdef"}"#,
                r#""conversation":{}"#,
            ] {
                check(&format!("{{{store}{rest}}}"), [OnlyUntouched; 3]);
            }
        }
    }

    #[test]
    fn tools_without_an_effect_change_nothing() {
        for kind in [
            "function",
            "custom",
            "file_search",
            "web_search",
            "web_search_preview",
            "web_search_preview_2025_03_11",
            "computer",
            "computer_use",
            "computer_use_preview",
        ] {
            let body = format!(r#"{{"tools":[{{"type":"{kind}"}}]}}"#);
            check(&body, [Anytime, Anytime, StoredByDefault]);
            let unstored = format!(r#"{{"store":false,"tools":[{{"type":"{kind}"}}]}}"#);
            check(&unstored, [Anytime; 3]);
        }
    }

    #[test]
    fn tools_with_an_effect_are_used_once_unless_the_operator_lists_them() {
        for kind in
            ["mcp", "code_interpreter", "image_generation", "shell", "local_shell", "of_tomorrow"]
        {
            let body = format!(r#"{{"store":false,"tools":[{{"type":"{kind}"}}]}}"#);
            check(&body, [OnlyUntouched; 3]);
            for allowed in [kind, "all"] {
                let allowed = [allowed.to_owned()];
                assert_eq!(of(UnlessTold, &body, &allowed), Anytime, "{kind}");
                let stored = body.replace("false", "true");
                assert_eq!(of(UnlessTold, &stored, &allowed), OnlyUntouched, "{kind}");
                let silent = body.replace("false", "null");
                assert_eq!(of(UnlessTold, &silent, &allowed), StoredByDefault, "{kind}");
            }
            assert_eq!(of(UnlessTold, &body, &["other".to_owned()]), OnlyUntouched, "{kind}");
        }
        check(r#"{"store":false,"prompt":{"id":"pmpt_1"}}"#, [OnlyUntouched; 3]);
    }
}
