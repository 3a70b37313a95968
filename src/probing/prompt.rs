//! What a probe sends, and what its answer tells. `firstlight check --live` asks in the very same way.

use crate::azure::form::Form;
use crate::azure::route::Operation;
use crate::config::checked::ProbeKind;
use crate::exchange::{Answer, AnswerKind, ExchangeProgress, Failure, Marks, Outcome, Sending};
use crate::live::LiveModel;
use crate::routing::ProbeOutcome;
use crate::time::Time;
use bytes::Bytes;
use http::{Method, header};
use std::time::Duration;

/// What an exchange came to.
pub(crate) type Exchanged = Result<Answer, Failure>;

/// How the request says how many tokens an answer may have. Reasoning models refuse the older name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenLimit {
    /// `max_tokens`.
    Tokens,
    /// `max_completion_tokens`.
    CompletionTokens,
}

impl TokenLimit {
    const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "max_tokens",
            Self::CompletionTokens => "max_completion_tokens",
        }
    }
}

/// The smallest request that has a first token, with our credential as it is at `unix`. `None` where the model is
/// not probed, or it cannot be sent yet: no address, no token.
pub(crate) fn prompt(
    model: &LiveModel,
    target: usize,
    limit: TokenLimit,
    unix: Duration,
) -> Option<Sending> {
    let backend = model.backends.get(target)?;
    let deployment = &model.pool.spec(target)?.deployment;
    let (most, limit) = (model.routing.probe.max_tokens, limit.name());
    let text = "Reply with the word ok.";
    let (operation, path, body) = match model.probe {
        ProbeKind::Chat => (
            Operation::ChatCompletions,
            "/openai/v1/chat/completions",
            serde_json::json!({ "model": deployment, "stream": true, limit: most,
                "messages": [{ "role": "user", "content": text }] }),
        ),
        ProbeKind::Completions => (
            Operation::Completions,
            "/openai/v1/completions",
            serde_json::json!({ "model": deployment, "stream": true, limit: most, "prompt": text }),
        ),
        ProbeKind::Embeddings => (
            Operation::Embeddings,
            "/openai/v1/embeddings",
            serde_json::json!({ "model": deployment, "input": "ok" }),
        ),
        ProbeKind::Off => return None,
    };
    let body = Bytes::from(body.to_string());
    let mut request = backend.request((Method::POST, path), unix).ok()?;
    request.insert_header(header::CONTENT_TYPE, "application/json").ok()?;
    request.insert_header(header::CONTENT_LENGTH, body.len()).ok()?;
    request
        .insert_header(header::USER_AGENT, concat!("firstlight-probe/", env!("CARGO_PKG_VERSION")))
        .ok()?;
    let stream = operation != Operation::Embeddings;
    Some(Sending {
        peer: backend.peer()?,
        request,
        body: vec![body],
        operation,
        stream,
        replay: true,
        seek: false,
        progress: ExchangeProgress::default(),
        stored: None,
        form: if stream { Form::Events } else { Form::Object },
        memory: None,
        tokens: 0,
    })
}

/// What came of one exchange.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    sent: Time,
    ended: Time,
    marks: Marks,
    pub(crate) outcome: Outcome,
    rest: Option<Duration>,
    /// It must be asked by the other name of the limit.
    pub(crate) refused_max_tokens: bool,
}

impl Asked {
    pub(crate) fn of(result: &Exchanged, (sent, ended): (Time, Time), marks: Marks) -> Self {
        let (outcome, rest) = match result {
            Ok(answer) if answer.kind == AnswerKind::Passed => (Outcome::Passed, None),
            Ok(_) => (Outcome::Ok, None),
            Err(failure) => (failure.outcome, failure.rest),
        };
        let body = result.as_ref().ok().and_then(|answer| answer.held.as_deref());
        let told = body.unwrap_or_default();
        let told = memchr::memmem::find(told, b"max_completion_tokens").is_some();
        let refused_max_tokens = outcome == Outcome::Passed && marks.status == 400 && told;
        Self { sent, ended, marks, outcome, rest, refused_max_tokens }
    }

    pub(super) fn took(&self) -> Duration {
        self.marks.first_token.unwrap_or(self.ended).since(self.sent)
    }

    /// The status of the answer; 0 where there was none.
    pub(crate) fn status(&self) -> u16 {
        self.marks.status
    }

    /// The time to the first token, if there was one.
    pub(crate) fn first_token(&self) -> Option<Duration> {
        self.marks.first_token.map(|at| at.since(self.sent))
    }

    /// What it tells about the target, if anything.
    pub(super) fn found(&self) -> Option<ProbeOutcome> {
        match self.outcome {
            // Good without a first token: a thinking model that used up its few tokens, say.
            Outcome::Ok => {
                Some(self.first_token().map_or(ProbeOutcome::Answered, ProbeOutcome::FirstToken))
            }
            // Of the model that says nothing, however fast it was: the routing core knows what to make of it.
            Outcome::Passed | Outcome::Refused | Outcome::Conflict => Some(ProbeOutcome::Refused),
            Outcome::TimedOut => Some(ProbeOutcome::TimedOut),
            Outcome::Limited => Some(ProbeOutcome::Limited(self.rest)),
            Outcome::Unauthorised => Some(ProbeOutcome::AuthFailed),
            Outcome::DeploymentMissing => Some(ProbeOutcome::Misconfigured),
            Outcome::Connect
            | Outcome::Reset
            | Outcome::UploadStalled
            | Outcome::ServerError
            | Outcome::ErrorEvent
            | Outcome::EmptyStream
            | Outcome::Malformed => Some(ProbeOutcome::Failed),
            Outcome::NotHere | Outcome::BrokenOff | Outcome::ClientAbort | Outcome::Lost => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(status: u16, outcome: Outcome) -> Asked {
        let marks = Marks { status, ..Marks::default() };
        let (sent, ended) = (Time::ZERO, Time::at(Duration::from_millis(3)));
        Asked { sent, ended, marks, outcome, rest: None, refused_max_tokens: false }
    }

    #[test]
    fn a_quick_refusal_is_no_answer_of_the_model() {
        for status in [400, 404, 405, 413, 415, 422] {
            let found = asked(status, Outcome::Passed).found();
            assert_eq!(found, Some(ProbeOutcome::Refused), "{status}");
        }
        assert_eq!(asked(409, Outcome::Conflict).found(), Some(ProbeOutcome::Refused));
        let missing = asked(404, Outcome::DeploymentMissing);
        assert_eq!(missing.found(), Some(ProbeOutcome::Misconfigured));
        assert_eq!(asked(200, Outcome::Ok).found(), Some(ProbeOutcome::Answered));
        assert_eq!(asked(500, Outcome::ServerError).found(), Some(ProbeOutcome::Failed));
    }
}
