//! What a request asks for beside its path: read from its body, whatever form that has.

use crate::azure::error::ClientError;
use crate::azure::multipart;
use crate::azure::peek::{Peek, peek};
use crate::azure::route::{Operation, Route};
use http::{HeaderMap, HeaderValue, Method, header};

/// How the body of a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// There is none.
    Nothing,
    /// JSON, or what says nothing of itself and is tried as JSON.
    Json,
    /// JSON, or nothing: some operations have a body or not, and the SDKs then say JSON and send nothing.
    MaybeJson,
    /// `multipart/form-data`.
    Form,
    /// Something else, that is passed on unread.
    Opaque,
}

impl Writing {
    /// By method and content type. What asks a model for something must be readable here.
    pub(super) fn of(route: &Route, headers: &HeaderMap) -> Result<Self, ClientError> {
        if route.method != Method::POST {
            return Ok(Self::Nothing);
        }
        let resource = route.operation == Operation::Resource;
        let json = if resource { Self::MaybeJson } else { Self::Json };
        let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(json) };
        let kind = kind.as_bytes().split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        if kind.eq_ignore_ascii_case(b"application/json")
            || kind.to_ascii_lowercase().ends_with(b"+json")
        {
            return Ok(json);
        }
        let form = kind.eq_ignore_ascii_case(b"multipart/form-data");
        match route.operation {
            Operation::Images | Operation::Transcriptions | Operation::Resource if form => {
                Ok(Self::Form)
            }
            // The offer of a call. Anything else could name what is not looked at.
            Operation::Resource
                if route.family() == "realtime"
                    && kind.eq_ignore_ascii_case(b"application/sdp") =>
            {
                Ok(Self::Opaque)
            }
            Operation::ChatCompletions
            | Operation::Completions
            | Operation::Embeddings
            | Operation::Responses
            | Operation::Images
            | Operation::Transcriptions
            | Operation::Speech
            | Operation::Models
            | Operation::Realtime
            | Operation::Resource => Err(ClientError::UnsupportedMediaType),
        }
    }
}

/// Reads a body as far as it decides anything. What has none says nothing.
pub(super) fn read<'a>(
    writing: Writing,
    content_type: Option<&HeaderValue>,
    body: &'a [u8],
) -> Result<Peek<'a>, ClientError> {
    match writing {
        Writing::MaybeJson if body.is_empty() => Ok(Peek::default()),
        Writing::Json | Writing::MaybeJson => Ok(peek(body)?),
        Writing::Form => {
            let content_type = content_type.map(HeaderValue::as_bytes).unwrap_or_default();
            let form = multipart::read(content_type, body)?;
            Ok(Peek {
                model: form.model.map(Into::into),
                model_span: form.model_span,
                stream: form.stream,
                prompt_tokens_estimate: u64::try_from(form.text_bytes / 4).unwrap_or(u64::MAX),
                ids: form.ids,
                ..Peek::default()
            })
        }
        Writing::Nothing | Writing::Opaque => Ok(Peek::default()),
    }
}
