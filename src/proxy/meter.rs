//! The limits of an app around one request: its place and its estimate before it goes on, and at its end what
//! it used in truth.
//!
//! What it used is what the answer says. A stream without usage is the estimate of its prompt and the content
//! events that were seen (reasoning that nobody saw is not in it); an answer that is not streamed and says
//! nothing leaves the estimate standing. So does a request that every backend refused for its size. Attempts that raced are our decision and cost the app nothing.

use crate::azure::error::ClientError;
use crate::azure::peek::Peek;
use crate::azure::route::Operation;
use crate::azure::usage::Usage;
use crate::exchange::Outcome;
use crate::live::Live;
use crate::proxy::context::Context;
use crate::proxy::shed;
use crate::telemetry::Telemetry;
use crate::time::Time;
use http::Method;
use std::sync::Arc;

/// What a chat answer is counted with whose request names no length: several times a usual answer, so that a
/// burst of such requests is held back before the first of them has ended, and far below what a model may
/// write, or an app with a small limit could never ask without `max_tokens`.
const CHAT_TOKENS: u64 = 1_024;

/// The same for a legacy completion: what the API itself then allows.
const COMPLETION_TOKENS: u64 = 16;

/// What a conversation takes when it begins: nothing is known of what will be said, but that an app without a token
/// left may not begin.
const CONVERSATION_TOKENS: u64 = 1;

/// About how many tokens a request may use: its prompt, and the most that it allows each of its answers.
pub(super) fn estimate(operation: Operation, seen: &Peek<'_>) -> u64 {
    let usual = match operation {
        Operation::ChatCompletions | Operation::Responses => CHAT_TOKENS,
        Operation::Completions => COMPLETION_TOKENS,
        Operation::Realtime => return CONVERSATION_TOKENS,
        Operation::Embeddings
        | Operation::Images
        | Operation::Transcriptions
        | Operation::Speech
        | Operation::Models
        | Operation::Resource => return seen.prompt_tokens_estimate,
    };
    let answers = seen.answers.unwrap_or(1).max(1);
    let generated = seen.max_tokens.unwrap_or(usual).saturating_mul(answers);
    seen.prompt_tokens_estimate.saturating_add(generated)
}

/// Takes a place among all requests, and one request and one place of the app's own: all that is known before the
/// body is there. A request for which there is no room here costs the app nothing.
pub(super) fn enter(ctx: &mut Context, app: &Arc<str>, live: &Live) -> Result<(), ClientError> {
    ctx.place = Some(shed::enter(app, live)?);
    let now = live.clock().now();
    if let Some(quota) = ctx.snapshot.quota(app) {
        ctx.admission = Some(quota.admit(now).map_err(ClientError::OverLimit)?);
    }
    Ok(())
}

/// Takes the tokens of the estimate; without them the request has not been.
pub(super) fn reserve(ctx: &mut Context, tokens: u64, now: Time) -> Result<(), ClientError> {
    if let Some(admission) = ctx.admission.take() {
        ctx.admission = Some(admission.reserve(now, tokens).map_err(ClientError::OverLimit)?);
    }
    Ok(())
}

/// The request is over: what it used takes the place of its estimate, and its place is free. Once is enough,
/// more often does no harm.
pub(super) fn close(ctx: &mut Context, now: Time) {
    ctx.place = None;
    let Some(mut admission) = ctx.admission.take() else { return };
    if let Some(tokens) = used(&end(ctx)) {
        admission.settle(now, tokens);
    }
}

/// Counts a refusal, if it is one for a limit or for want of room.
pub(super) fn count(error: &ClientError, ctx: &Context, telemetry: &Telemetry) {
    if let ClientError::OverLimit(over) = error {
        let app = ctx.note.app.as_deref().unwrap_or("");
        let refused = &telemetry.metrics.quota_refused;
        refused.with_label_values(&[app, over.what.as_str()]).inc();
    }
    if let ClientError::Overloaded { shed, .. } = error {
        telemetry.metrics.shed.with_label_values(&[shed.as_str()]).inc();
    }
}

/// How a request ended, as far as it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nobody answered: it was refused, or every attempt failed.
    Nothing,
    /// Every backend refused it for its size.
    Oversize,
    /// The client left before there was an answer. Its prompt was sent.
    Left { prompt: u64 },
    /// It looked at what was made before: that was paid for when it was made.
    Looked,
    /// There was an answer.
    Answered(Answered),
}

/// What is known of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answered {
    operation: Operation,
    status: u16,
    /// The estimate of the prompt.
    prompt: u64,
    usage: Usage,
    /// In a stream, how many events had content.
    events: Option<u32>,
}

/// The tokens of a request, as its log line tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) usage: Usage,
    /// Whether the answer said nothing, and this is what was asked and what was seen.
    pub(super) is_estimated: bool,
}

/// What the answer says, or else an estimate.
pub(super) fn tokens(ctx: &Context) -> Tokens {
    estimated(&end(ctx)).map_or_else(
        || Tokens { usage: ctx.usage(), is_estimated: false },
        |usage| Tokens { usage, is_estimated: true },
    )
}

/// The estimate for a good answer that tells nothing; `None` where it does, and where tokens are not what is used.
fn estimated(end: &End) -> Option<Usage> {
    let End::Answered(answer) = end else { return None };
    let in_tokens = answer.operation.is_generated() || answer.operation == Operation::Embeddings;
    let is_good = (200..300).contains(&answer.status);
    (in_tokens && is_good && answer.usage.is_empty()).then(|| Usage {
        prompt: Some(answer.prompt),
        completion: answer.events.map(u64::from),
        ..Usage::default()
    })
}

fn end(ctx: &Context) -> End {
    let Some(request) = &ctx.request else { return End::Nothing };
    let prompt = request.admitted.prompt_tokens;
    let state = request.progress.lock();
    let Some(attempt) = state.answered_by() else {
        let left = Outcome::ClientAbort.as_str();
        let sent = state.attempts.iter().any(|attempt| attempt.outcome == left);
        return match (sent, state.oversize) {
            (true, _) => End::Left { prompt },
            (false, true) => End::Oversize,
            (false, false) => End::Nothing,
        };
    };
    if request.operation() == Operation::Resource && request.admitted.route.method == Method::GET {
        return End::Looked;
    }
    End::Answered(Answered {
        operation: request.operation(),
        status: attempt.status,
        prompt,
        usage: ctx.usage(),
        events: ctx.relayed.content_events(),
    })
}

/// The tokens that a conversation used so far, if anything was told.
pub(super) fn total(usage: &Usage) -> Option<u64> {
    let told = usage.prompt.is_some() || usage.completion.is_some();
    told.then(|| usage.prompt.unwrap_or(0).saturating_add(usage.completion.unwrap_or(0)))
}

/// The tokens that a request used; `None`: nothing tells, so the estimate is as good as anything.
fn used(end: &End) -> Option<u64> {
    let answer = match *end {
        End::Nothing | End::Looked => return Some(0),
        End::Oversize => return None,
        End::Left { prompt } => return Some(prompt),
        End::Answered(answer) => answer,
    };
    let prompt = answer.usage.prompt.unwrap_or(answer.prompt);
    // An embedding generates nothing, a refusal neither.
    let silent = answer.operation == Operation::Embeddings || answer.status >= 300;
    let generated = answer
        .usage
        .completion
        .or_else(|| answer.events.map(u64::from))
        .or_else(|| silent.then_some(0))?;
    Some(prompt.saturating_add(generated))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::peek::peek;

    #[test]
    fn an_estimate_is_the_prompt_and_the_most_that_may_be_answered() {
        let check = |operation, body: &str, generated: u64| {
            let seen = peek(body.as_bytes()).unwrap();
            let expected = seen.prompt_tokens_estimate.saturating_add(generated);
            assert_eq!(estimate(operation, &seen), expected, "{body}");
        };
        let chat = Operation::ChatCompletions;
        check(chat, r#"{"messages":[]}"#, 1_024);
        check(chat, r#"{"messages":[],"n":3}"#, 3 * 1_024);
        check(chat, r#"{"messages":[],"max_tokens":7,"n":3}"#, 21);
        check(chat, r#"{"messages":[],"max_completion_tokens":800,"n":0}"#, 800);
        check(chat, r#"{"max_tokens":18446744073709551615,"n":9}"#, u64::MAX);
        check(chat, r#"{"max_tokens":"many","n":null}"#, 1_024);
        check(Operation::Completions, r#"{"prompt":"x"}"#, 16);
        check(Operation::Completions, r#"{"prompt":"x","max_tokens":5,"best_of":4,"n":2}"#, 20);
        check(Operation::Embeddings, r#"{"input":"x","max_tokens":5}"#, 0);
    }

    const PLAIN: Answered = Answered {
        operation: Operation::ChatCompletions,
        status: 200,
        prompt: 100,
        usage: Usage { prompt: None, completion: None, cached: None, reasoning: None, audio: None },
        events: None,
    };

    fn told(prompt: Option<u64>, completion: Option<u64>) -> Usage {
        Usage { prompt, completion, ..Usage::default() }
    }

    #[test]
    fn what_was_used_is_what_the_answer_says_or_what_was_seen() {
        let check = |answer: Answered, expected: Option<u64>| {
            assert_eq!(used(&End::Answered(answer)), expected, "{answer:?}");
        };
        let usage = told(Some(80), Some(9));
        check(Answered { usage, events: Some(4), ..PLAIN }, Some(89));
        check(Answered { usage, ..PLAIN }, Some(89));
        check(Answered { events: Some(4), ..PLAIN }, Some(104));
        check(Answered { usage: told(Some(80), None), events: Some(4), ..PLAIN }, Some(84));
        check(Answered { usage: told(Some(u64::MAX), Some(1)), ..PLAIN }, Some(u64::MAX));
        check(PLAIN, None);
        check(Answered { usage: told(Some(80), None), ..PLAIN }, None);
        check(Answered { status: 400, ..PLAIN }, Some(100));
        let operation = Operation::Embeddings;
        check(Answered { operation, ..PLAIN }, Some(100));
        check(Answered { operation, usage: told(Some(80), None), ..PLAIN }, Some(80));
    }

    #[test]
    fn what_an_answer_does_not_tell_is_estimated() {
        let check = |answer: Answered, expected: Option<Usage>| {
            assert_eq!(estimated(&End::Answered(answer)), expected, "{answer:?}");
        };
        check(Answered { events: Some(4), ..PLAIN }, Some(told(Some(100), Some(4))));
        check(PLAIN, Some(told(Some(100), None)));
        check(Answered { usage: told(Some(80), None), events: Some(4), ..PLAIN }, None);
        check(Answered { status: 400, ..PLAIN }, None);
        check(Answered { operation: Operation::Images, ..PLAIN }, None);
        let operation = Operation::Responses;
        check(Answered { operation, events: Some(4), ..PLAIN }, Some(told(Some(100), Some(4))));
        assert_eq!(estimated(&End::Left { prompt: 70 }), None);
        assert_eq!(estimated(&End::Nothing), None);
    }

    #[test]
    fn nothing_is_charged_for_nothing() {
        assert_eq!(used(&End::Nothing), Some(0));
        assert_eq!(used(&End::Looked), Some(0));
        assert_eq!(used(&End::Oversize), None, "what was taken stays taken");
        assert_eq!(used(&End::Left { prompt: 70 }), Some(70));
    }
}
