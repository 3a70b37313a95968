//! Our own refusals, in the shape that OpenAI's and Azure's SDKs read.
//!
//! `{"error":{"message","type","param","code"}}`: SDKs turn the status into an exception and show the
//! message, so the message says what is wrong and what to do. It never names a backend, a region or an
//! address: the client can do nothing with them, and a stranger could. What the client sent is echoed only
//! as a name of at most 64 characters.
//!
//! An answer of Azure's that is passed on does not come through here.

use crate::azure::multipart::FormError;
use crate::azure::over_limit;
use crate::azure::overload::Shed;
use crate::azure::peek::PeekError;
use crate::azure::route::RouteError;
use crate::quota::Over;
use bytes::Bytes;
use http::StatusCode;
use std::time::Duration;

/// When the signing keys of a tenant may have been fetched.
const KEYS_FETCHED: Duration = Duration::from_secs(5);

/// The challenge that comes with every 401.
const CHALLENGE: &str = "Bearer realm=\"firstlight\"";

/// A request whose head was refused, by whoever judged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status of the answer; not one that comes with headers of its own.
    pub status: StatusCode,
    /// Why, in a word.
    pub code: &'static str,
    /// Why, and what to do about it.
    pub message: &'static str,
}

/// A request that is answered by us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// A head that could be read in two ways, or is too large or too late.
    Malformed(Refused),
    /// It did not come through the Front Door that is ours.
    WrongFrontDoor,
    /// No pool has this name.
    UnknownModel {
        /// The name that was asked for.
        model: String,
    },
    /// The app may not use this model.
    ModelForbidden {
        /// The name that was asked for.
        model: String,
    },
    /// The app may not use the listener that the request came by.
    AppNotHere,
    /// No credential.
    MissingKey,
    /// A credential that belongs to no app.
    BadKey,
    /// A key whose time is over.
    ExpiredKey,
    /// A token that proves nothing.
    BadToken {
        /// Why, in a word.
        code: &'static str,
        /// Why, without quotes.
        description: &'static str,
    },
    /// A token that is genuine, and does not permit this.
    TokenForbidden {
        /// Why, in a word.
        code: &'static str,
        /// Why, without quotes.
        description: &'static str,
    },
    /// A token that cannot be checked yet.
    TokenUnchecked {
        /// Why, in a word.
        code: &'static str,
        /// Why, without quotes.
        description: &'static str,
    },
    /// Two credentials, or one that cannot be read.
    AmbiguousCredential,
    /// A credential in the query.
    CredentialInUrl,
    /// The body is not a JSON object.
    BadJson {
        /// The byte where reading stopped.
        offset: usize,
        /// What was expected there.
        what: &'static str,
    },
    /// The v1 form without a model in the body.
    NoModel,
    /// A member that decides the routing stands there twice.
    DuplicateKey {
        /// The member.
        key: &'static str,
    },
    /// A member that decides the routing has a value of the wrong type.
    WrongType {
        /// The member.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A body larger than the limit.
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    BodyTimeout,
    /// A body in chunks whose sizes or ends are wrong.
    BadChunks,
    /// A body where none belongs.
    UnexpectedBody,
    /// Fields behind the body.
    Trailers,
    /// There is no room for it.
    Overloaded {
        /// In what.
        shed: Shed,
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// A body that is not JSON by its content type.
    UnsupportedMediaType,
    /// A form that cannot be read, or may be read in two ways.
    BadForm {
        /// What is wrong with it.
        what: &'static str,
    },
    /// No such path.
    UnknownPath,
    /// Only apps that may use every model may use this: the models that it names are not seen here.
    PathForbidden,
    /// The id belongs to another app.
    ForeignId {
        /// The id.
        id: String,
    },
    /// Nobody knows which backend keeps it, or no backend does.
    UnknownId {
        /// The id.
        id: String,
    },
    /// What the request names is kept on several backends.
    ScatteredIds {
        /// One of the ids.
        id: String,
    },
    /// The backend that keeps it does not have the model.
    ModelElsewhere {
        /// The id.
        id: String,
    },
    /// The one backend that keeps it cannot be reached.
    OwnerDown {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The form needs an `api-version`.
    MissingApiVersion,
    /// The path exists, for another method.
    MethodNotAllowed {
        /// The value of the `Allow` header.
        allow: &'static str,
    },
    /// A path that could be read in two ways.
    BadPath {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A path that is a WebSocket, asked for as something else.
    UpgradeRequired,
    /// A WebSocket that cannot be opened.
    BadHandshake {
        /// What is wrong.
        what: &'static str,
    },
    /// `X-Probe-Target` names no backend of this model.
    UnknownProbeTarget {
        /// The name that was given.
        target: String,
    },
    /// A limit of the app's own was met.
    OverLimit(Over),
    /// Every target is resting after a 429.
    AllLimited {
        /// When the first of them is back.
        retry_after: Duration,
    },
    /// No target could answer.
    NothingLeft {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// Every response was empty, or not in the form that it must have.
    UpstreamMalformed,
    /// Every backend refused our own credential.
    UpstreamAuth,
    /// There is no token of ours to prove us with.
    NoToken {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// A stream that the backend broke off.
    BrokenOff,
    /// A mistake of ours.
    Internal,
}

impl ClientError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.facts().0
    }

    /// The code in the access log; also `error.code`, but for a limit of the app's own, which the client must
    /// see as any rate limit and the operator must not.
    pub fn code(&self) -> &'static str {
        if let Self::OverLimit(over) = self { over_limit::log_code(over) } else { self.facts().1 }
    }

    /// The value of `Retry-After` in seconds, rounded up so that nobody comes back early.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let retry_after = if let Self::AllLimited { retry_after }
        | Self::NothingLeft { retry_after }
        | Self::OwnerDown { retry_after }
        | Self::NoToken { retry_after }
        | Self::OverLimit(Over { retry_after, .. })
        | Self::Overloaded { retry_after, .. } = self
        {
            *retry_after
        } else if let Self::TokenUnchecked { .. } = self {
            KEYS_FETCHED
        } else {
            return None;
        };
        let part = u64::from(retry_after.subsec_nanos() > 0);
        Some(retry_after.as_secs().saturating_add(part).max(1))
    }

    /// The value of `retry-after-ms`, rounded up, where the wait is known so well.
    pub fn retry_after_ms(&self) -> Option<u64> {
        let (Self::OverLimit(Over { retry_after, .. }) | Self::AllLimited { retry_after }) = self
        else {
            return None;
        };
        Some(u64::try_from(retry_after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    /// The `x-ratelimit-` headers: what is left of the app's limits.
    pub fn rate_limits(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let over = if let Self::OverLimit(over) = self { Some(over) } else { None };
        over.into_iter().flat_map(over_limit::headers)
    }

    /// The value of `Allow`.
    pub fn allow(&self) -> Option<&'static str> {
        if let Self::MethodNotAllowed { allow } = self { Some(allow) } else { None }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, section 3).
    pub fn www_authenticate(&self) -> Option<String> {
        let with = |error: &str, description: &str| {
            format!("{CHALLENGE}, error=\"{error}\", error_description=\"{description}\"")
        };
        if let Self::BadToken { description, .. } = self {
            return Some(with("invalid_token", description));
        }
        if let Self::TokenForbidden { description, .. } = self {
            return Some(with("insufficient_scope", description));
        }
        (self.status() == StatusCode::UNAUTHORIZED).then(|| CHALLENGE.to_owned())
    }

    /// Whether it is the credential that is refused.
    pub fn is_of_credential(&self) -> bool {
        matches!(
            self,
            Self::MissingKey
                | Self::BadKey
                | Self::ExpiredKey
                | Self::BadToken { .. }
                | Self::TokenForbidden { .. }
                | Self::TokenUnchecked { .. }
                | Self::AmbiguousCredential
        )
    }

    /// Whether two readers may see different requests: nothing that follows on the connection can be trusted.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::BadPath { .. } | Self::BadChunks | Self::Malformed(_))
    }

    /// The JSON body of the answer.
    pub fn body(&self) -> Bytes {
        let (_, code, kind) = self.facts();
        let error = serde_json::json!({
            "error": { "message": self.message(), "type": kind, "param": null, "code": code }
        });
        Bytes::from(error.to_string())
    }
}

impl From<RouteError> for ClientError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NotFound => Self::UnknownPath,
            RouteError::MissingApiVersion => Self::MissingApiVersion,
            RouteError::MethodNotAllowed { allow } => Self::MethodNotAllowed { allow },
            RouteError::BadPath(what) => Self::BadPath { what },
            RouteError::CredentialInQuery => Self::CredentialInUrl,
        }
    }
}

impl From<PeekError> for ClientError {
    fn from(error: PeekError) -> Self {
        match error {
            PeekError::BadJson { offset, what } => Self::BadJson { offset, what },
            PeekError::Duplicate(key) => Self::DuplicateKey { key },
            PeekError::WrongType { key, expected } => Self::WrongType { key, expected },
        }
    }
}

impl From<FormError> for ClientError {
    fn from(error: FormError) -> Self {
        match error {
            FormError::Boundary => Self::BadForm { what: "its content type has no plain boundary" },
            FormError::Parts(what) => Self::BadForm { what },
            FormError::Duplicate(key) => Self::DuplicateKey { key },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<ClientError> {
        let retry_after = Duration::from_millis(1_200);
        let name = || "gpt-4o".to_owned();
        let status = StatusCode::BAD_REQUEST;
        vec![
            ClientError::Malformed(Refused { status, code: "host", message: "No Host; send one." }),
            ClientError::WrongFrontDoor,
            ClientError::UnknownModel { model: name() },
            ClientError::ModelForbidden { model: name() },
            ClientError::AppNotHere,
            ClientError::MissingKey,
            ClientError::BadKey,
            ClientError::ExpiredKey,
            ClientError::BadToken { code: "expired", description: "the token has expired" },
            ClientError::TokenForbidden { code: "missing_role", description: "it lacks a role" },
            ClientError::TokenUnchecked { code: "no_keys", description: "there are no keys yet" },
            ClientError::AmbiguousCredential,
            ClientError::CredentialInUrl,
            ClientError::BadJson { offset: 7, what: "a comma or } is expected here" },
            ClientError::BadForm { what: "a part has no name" },
            ClientError::PathForbidden,
            ClientError::ForeignId { id: name() },
            ClientError::UnknownId { id: name() },
            ClientError::ScatteredIds { id: name() },
            ClientError::ModelElsewhere { id: name() },
            ClientError::OwnerDown { retry_after },
            ClientError::NoModel,
            ClientError::DuplicateKey { key: "model" },
            ClientError::WrongType { key: "stream", expected: "true or false" },
            ClientError::BodyTooLarge { limit: 1_024 },
            ClientError::BodyTimeout,
            ClientError::UnexpectedBody,
            ClientError::BadChunks,
            ClientError::Trailers,
            ClientError::Overloaded { shed: Shed::Memory, retry_after },
            ClientError::UnsupportedMediaType,
            ClientError::UnknownPath,
            ClientError::MissingApiVersion,
            ClientError::MethodNotAllowed { allow: "POST" },
            ClientError::BadPath { what: "a dot segment" },
            ClientError::UpgradeRequired,
            ClientError::BadHandshake { what: "the request must have no body" },
            ClientError::UnknownProbeTarget { target: name() },
            ClientError::OverLimit(Over {
                what: crate::quota::What::Tokens,
                retry_after,
                asked: 7,
                room: crate::quota::Room::default(),
            }),
            ClientError::AllLimited { retry_after },
            ClientError::NothingLeft { retry_after },
            ClientError::UpstreamMalformed,
            ClientError::UpstreamAuth,
            ClientError::NoToken { retry_after },
            ClientError::BrokenOff,
            ClientError::Internal,
        ]
    }

    fn message(error: &ClientError) -> String {
        let body: serde_json::Value = serde_json::from_slice(&error.body()).unwrap();
        body["error"]["message"].as_str().unwrap().to_owned()
    }

    #[test]
    fn every_body_has_the_shape_that_sdks_read() {
        for error in every_kind() {
            let body: serde_json::Value = serde_json::from_slice(&error.body()).unwrap();
            let fields: Vec<_> =
                body["error"].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(fields, ["code", "message", "param", "type"]);
            if !matches!(error, ClientError::OverLimit(_)) {
                assert_eq!(body["error"]["code"], error.code());
            }
            assert!(message(&error).ends_with('.'), "{error:?}");
            assert!(error.status().is_client_error() || error.status().is_server_error());
        }
    }

    #[test]
    fn codes_tell_the_kinds_apart() {
        let codes: std::collections::BTreeSet<_> =
            every_kind().iter().map(ClientError::code).collect();
        assert_eq!(codes.len(), every_kind().len());
    }

    #[test]
    fn the_headers_that_belong_to_a_status_come_with_it() {
        for error in every_kind() {
            // A token without a role is told so in the same header (RFC 6750, section 3.1).
            let challenges =
                error.status() == 401 || matches!(error, ClientError::TokenForbidden { .. });
            assert_eq!(error.www_authenticate().is_some(), challenges, "{error:?}");
            assert_eq!(error.allow().is_some(), error.status() == 405, "{error:?}");
            assert_eq!(
                error.retry_after_seconds().is_some(),
                [429, 503].contains(&error.status().as_u16())
            );
        }
    }

    #[test]
    fn nobody_is_asked_back_early() {
        let seconds = |retry_after| ClientError::AllLimited { retry_after }.retry_after_seconds();
        assert_eq!(seconds(Duration::ZERO), Some(1));
        assert_eq!(seconds(Duration::from_millis(1_001)), Some(2));
        assert_eq!(seconds(Duration::from_secs(59)), Some(59));
        assert_eq!(seconds(Duration::MAX), Some(u64::MAX));
    }

    #[test]
    fn names_are_repeated_short_and_escaped() {
        let named = |model: &str| message(&ClientError::UnknownModel { model: model.to_owned() });
        assert!(named("a\"b\n").contains("`a\"b\n`"));
        assert!(named(&"é".repeat(65)).contains(&format!("`{}…`", "é".repeat(64))));
        assert!(named(&"é".repeat(64)).contains(&format!("`{}`", "é".repeat(64))));
    }
}
