//! The status, the code and the type of each of our refusals.

use crate::azure::error::ClientError;
use crate::azure::over_limit;
use http::StatusCode;

impl ClientError {
    /// Status, code, and `error.type`.
    pub(super) fn facts(&self) -> (StatusCode, &'static str, &'static str) {
        const REQUEST: &str = "invalid_request_error";
        const SERVER: &str = "server_error";
        match self {
            Self::Malformed(refused) => (refused.status, refused.code, REQUEST),
            Self::WrongFrontDoor => (StatusCode::FORBIDDEN, "front_door_forbidden", REQUEST),
            Self::UnknownModel { .. } => (StatusCode::NOT_FOUND, "DeploymentNotFound", REQUEST),
            Self::ModelForbidden { .. } => (StatusCode::FORBIDDEN, "model_forbidden", REQUEST),
            Self::AppNotHere => (StatusCode::FORBIDDEN, "listener_forbidden", REQUEST),
            Self::MissingKey => (StatusCode::UNAUTHORIZED, "missing_api_key", REQUEST),
            Self::BadKey => (StatusCode::UNAUTHORIZED, "invalid_api_key", REQUEST),
            Self::ExpiredKey => (StatusCode::UNAUTHORIZED, "expired_api_key", REQUEST),
            Self::BadToken { code, .. } => (StatusCode::UNAUTHORIZED, code, REQUEST),
            Self::TokenForbidden { code, .. } => (StatusCode::FORBIDDEN, code, REQUEST),
            Self::TokenUnchecked { code, .. } => (StatusCode::SERVICE_UNAVAILABLE, code, SERVER),
            Self::AmbiguousCredential => (StatusCode::BAD_REQUEST, "ambiguous_credential", REQUEST),
            Self::CredentialInUrl => (StatusCode::BAD_REQUEST, "credential_in_url", REQUEST),
            Self::BadJson { .. } => (StatusCode::BAD_REQUEST, "invalid_json", REQUEST),
            Self::NoModel => (StatusCode::BAD_REQUEST, "missing_model", REQUEST),
            Self::DuplicateKey { .. } => (StatusCode::BAD_REQUEST, "duplicate_key", REQUEST),
            Self::WrongType { .. } => (StatusCode::BAD_REQUEST, "invalid_type", REQUEST),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", REQUEST),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body_timeout", REQUEST),
            Self::Overloaded { .. } => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", SERVER),
            Self::BadChunks => (StatusCode::BAD_REQUEST, "bad_chunks", REQUEST),
            Self::UnexpectedBody => (StatusCode::BAD_REQUEST, "unexpected_body", REQUEST),
            Self::Trailers => (StatusCode::BAD_REQUEST, "trailers", REQUEST),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", REQUEST)
            }
            Self::BadForm { .. } => (StatusCode::BAD_REQUEST, "invalid_form", REQUEST),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown_path", REQUEST),
            Self::PathForbidden => (StatusCode::FORBIDDEN, "path_forbidden", REQUEST),
            Self::ForeignId { .. } => (StatusCode::FORBIDDEN, "id_forbidden", REQUEST),
            Self::UnknownId { .. } => (StatusCode::NOT_FOUND, "id_not_found", REQUEST),
            Self::ScatteredIds { .. } => (StatusCode::BAD_REQUEST, "ids_on_two_backends", REQUEST),
            Self::ModelElsewhere { .. } => (StatusCode::BAD_REQUEST, "model_elsewhere", REQUEST),
            Self::OwnerDown { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "owner_unavailable", SERVER)
            }
            Self::MissingApiVersion => (StatusCode::NOT_FOUND, "missing_api_version", REQUEST),
            Self::MethodNotAllowed { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", REQUEST)
            }
            Self::BadPath { .. } => (StatusCode::BAD_REQUEST, "bad_path", REQUEST),
            Self::UpgradeRequired => (StatusCode::UPGRADE_REQUIRED, "upgrade_required", REQUEST),
            Self::BadHandshake { .. } => (StatusCode::BAD_REQUEST, "bad_handshake", REQUEST),
            Self::UnknownProbeTarget { .. } => {
                (StatusCode::BAD_REQUEST, "unknown_probe_target", REQUEST)
            }
            Self::OverLimit(over) => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", over_limit::kind(over))
            }
            Self::AllLimited { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "rate_limit_error")
            }
            Self::NothingLeft { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "no_backend_available", SERVER)
            }
            Self::NoToken { .. } => (StatusCode::SERVICE_UNAVAILABLE, "no_token", SERVER),
            Self::UpstreamMalformed => (StatusCode::BAD_GATEWAY, "upstream_malformed", SERVER),
            Self::UpstreamAuth => (StatusCode::BAD_GATEWAY, "upstream_auth", SERVER),
            Self::BrokenOff => (StatusCode::BAD_GATEWAY, "upstream_abort", SERVER),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", SERVER),
        }
    }
}
