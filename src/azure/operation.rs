//! What a request asks for, as far as it is treated differently here.

use crate::azure::route_error::RouteError;
use http::Method;

/// What a request asks a model, or a resource, to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Chat completions, streamed or not.
    ChatCompletions,
    /// Legacy completions, streamed or not.
    Completions,
    /// Embeddings.
    Embeddings,
    /// A new response of the Responses API, streamed or not.
    Responses,
    /// Pictures: made, edited or varied.
    Images,
    /// Speech to text: transcriptions and translations.
    Transcriptions,
    /// Text to speech.
    Speech,
    /// The list of the models that an app may use, or one of them. Answered here.
    Models,
    /// A conversation over a WebSocket.
    Realtime,
    /// Anything else that lives on one resource: by its id, as a list, or to be made.
    Resource,
}

impl Operation {
    /// Whether a stream of it begins with a first content token that tells how fast its target is.
    pub fn is_generated(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Completions | Self::Responses)
    }

    /// Makes sure that it is asked for with a method it knows.
    pub(super) fn check(self, method: &Method) -> Result<(), RouteError> {
        let allow = match self {
            Self::Models | Self::Realtime => "GET",
            Self::Resource => "GET, POST, DELETE",
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::Responses
            | Self::Images
            | Self::Transcriptions
            | Self::Speech => "POST",
        };
        let allowed = allow.split(", ").any(|word| word == method.as_str());
        if allowed { Ok(()) } else { Err(RouteError::MethodNotAllowed { allow }) }
    }
}
