//! What our refusals say to people: what is wrong, and what to do about it.

use crate::azure::error::ClientError;
use crate::azure::over_limit;

/// Longest name that is repeated to the client, in characters.
const ECHO_CHARS_MAX: usize = 64;

impl ClientError {
    /// What is wrong, and what to do about it.
    #[expect(clippy::too_many_lines, reason = "a table: one arm for each refusal")]
    pub(super) fn message(&self) -> String {
        match self {
            Self::Malformed(refused) => refused.message.to_owned(),
            Self::WrongFrontDoor => {
                "This address is not served directly; use the public one.".to_owned()
            }
            Self::UnknownModel { model } => {
                format!("There is no model {}; ask for one that is configured here.", quoted(model))
            }
            Self::ModelForbidden { model } => {
                format!("This key may not use the model {}; use a key that may.", quoted(model))
            }
            Self::AppNotHere => {
                "This key may not be used on this address; use the address of its application."
                    .to_owned()
            }
            Self::BadToken { description, .. }
            | Self::TokenForbidden { description, .. }
            | Self::TokenUnchecked { description, .. } => self.of_token(description),
            Self::BadJson { offset, what } => {
                format!("The request body is not a JSON object, at byte {offset}: {what}.")
            }
            Self::DuplicateKey { key } => {
                format!("The request body gives `{key}` twice; give it once.")
            }
            Self::WrongType { key, expected } => {
                format!("`{key}` in the request body must be {expected}.")
            }
            Self::BadForm { what } => {
                format!("The request body is not a plain form: {what}; send multipart/form-data.")
            }
            Self::ForeignId { id } => {
                format!("{} belongs to another application; use its key.", quoted(id))
            }
            Self::UnknownId { id } => {
                format!(
                    "{} is not known here; it may have been deleted or have expired.",
                    quoted(id)
                )
            }
            Self::ScatteredIds { id } => format!(
                "{} is kept in another place than what else this request names; create them anew, one after the other, each naming the one before.",
                quoted(id)
            ),
            Self::ModelElsewhere { id } => format!(
                "This model is not served where {} is kept; use the model that made it.",
                quoted(id)
            ),
            Self::BodyTooLarge { limit } => {
                format!("The request body is larger than {limit} bytes; send a smaller one.")
            }
            Self::MethodNotAllowed { allow } => format!("This path is served for {allow} only."),
            Self::BadPath { what } => {
                format!("The request target is refused because of {what}; send a plain path.")
            }
            Self::BadHandshake { what } => {
                format!("The WebSocket cannot be opened: {what}.")
            }
            Self::UnknownProbeTarget { target } => {
                format!(
                    "X-Probe-Target {} is no backend of this model; name one that is.",
                    quoted(target)
                )
            }
            Self::OverLimit(over) => {
                over_limit::message(over, self.retry_after_seconds().unwrap_or(1))
            }
            Self::AllLimited { .. } => {
                let seconds = self.retry_after_seconds().unwrap_or(1);
                format!(
                    "The rate limit of this model is used up everywhere; retry after {seconds} s."
                )
            }
            Self::MissingKey => MISSING_KEY.to_owned(),
            Self::BadKey => BAD_KEY.to_owned(),
            Self::ExpiredKey => "This key has expired; use the one that replaces it.".to_owned(),
            Self::AmbiguousCredential => AMBIGUOUS_CREDENTIAL.to_owned(),
            Self::CredentialInUrl => CREDENTIAL_IN_URL.to_owned(),
            Self::NoModel => NO_MODEL.to_owned(),
            Self::BodyTimeout => BODY_TIMEOUT.to_owned(),
            Self::UnexpectedBody => "This path takes no request body; send none.".to_owned(),
            Self::Overloaded { shed, .. } => shed.message().to_owned(),
            Self::Trailers => "Request trailers are not accepted; send none.".to_owned(),
            Self::UnsupportedMediaType => UNSUPPORTED_MEDIA_TYPE.to_owned(),
            Self::BadChunks => BAD_CHUNKS.to_owned(),
            Self::UnknownPath => UNKNOWN_PATH.to_owned(),
            Self::PathForbidden => PATH_FORBIDDEN.to_owned(),
            Self::OwnerDown { .. } => OWNER_DOWN.to_owned(),
            Self::MissingApiVersion => MISSING_API_VERSION.to_owned(),
            Self::UpgradeRequired => UPGRADE_REQUIRED.to_owned(),
            Self::NothingLeft { .. } => NOTHING_LEFT.to_owned(),
            Self::NoToken { .. } => NO_TOKEN.to_owned(),
            Self::UpstreamMalformed => UPSTREAM_MALFORMED.to_owned(),
            Self::UpstreamAuth => UPSTREAM_AUTH.to_owned(),
            Self::BrokenOff => BROKEN_OFF.to_owned(),
            Self::Internal => INTERNAL.to_owned(),
        }
    }

    /// Of a token, with what is wrong with it.
    fn of_token(&self, description: &str) -> String {
        if let Self::TokenForbidden { .. } = self {
            format!("The token does not permit this: {description}. Ask the operator for access.")
        } else if let Self::TokenUnchecked { .. } = self {
            format!("The token cannot be checked: {description}. Try again.")
        } else {
            format!(
                "The token is not accepted: {description}. Get a new one for this API; if it is new, try again in a minute."
            )
        }
    }
}

// The messages without a variable part.
const MISSING_KEY: &str = "No credential; send the header `api-key` or `Authorization: Bearer`.";
const BAD_KEY: &str =
    "The credential is not known here; check the key and the address it is meant for.";
const AMBIGUOUS_CREDENTIAL: &str = "The credential cannot be told; send one `api-key` header or one `Authorization: Bearer` header.";
const CREDENTIAL_IN_URL: &str = "Credentials do not belong in a URL, for URLs are logged; send `api-key` as a header, and replace this key.";
const NO_MODEL: &str = "The request body names no `model`; add the name of the model to use.";
const BODY_TIMEOUT: &str = "The request body did not arrive in time; send it again.";
const UNSUPPORTED_MEDIA_TYPE: &str =
    "The request body must be JSON; send `Content-Type: application/json`.";
const BAD_CHUNKS: &str =
    "The chunks of the request body are not well formed; send it with Content-Length.";
const UNKNOWN_PATH: &str = "Resource not found; the operations of Azure OpenAI are served below /openai/v1, /v1, \
     /openai/deployments/{deployment} and /openai.";
const PATH_FORBIDDEN: &str =
    "This key may use some models only, and this operation may use any; use a key that may.";
const OWNER_DOWN: &str =
    "The one place that keeps what this request names cannot be reached at the moment; try again.";
const MISSING_API_VERSION: &str =
    "Resource not found; add `?api-version=` to the URL, or use the form /openai/v1.";
const UPGRADE_REQUIRED: &str =
    "This path is a WebSocket of version 13 over HTTP/1.1; open it with a client for WebSockets.";
const NOTHING_LEFT: &str = "The model cannot be reached at the moment; try again.";
const NO_TOKEN: &str = "The gateway has no token of its own at the moment; its operator must check its identity. Try again.";
const UPSTREAM_MALFORMED: &str =
    "The model's response was empty or not in the expected form; send the request again.";
const UPSTREAM_AUTH: &str =
    "The gateway could not authenticate to the model; its operator must check its credentials.";
const BROKEN_OFF: &str = "The stream broke off before it was complete. Send the request again.";
const INTERNAL: &str = "The gateway made a mistake; report it with the value of x-request-id.";

/// A client's word in quotes, cut if it is long.
fn quoted(name: &str) -> String {
    let mut chars = name.chars();
    let shown: String = chars.by_ref().take(ECHO_CHARS_MAX).collect();
    let rest = if chars.next().is_some() { "…" } else { "" };
    format!("`{shown}{rest}`")
}
