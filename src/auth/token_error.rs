//! Why a token is refused: a code for the log and the metric, a sentence for the client, and which answer it is.
//!
//! Nothing here holds a part of the token, but for the tenant, which the configuration knows.

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.description())]
pub enum TokenError {
    /// Longer than [`crate::auth::credential::TOKEN_BYTES_MAX`].
    TooLong,
    /// Not three parts of base64url.
    Malformed,
    /// Five parts: an encrypted token.
    Encrypted,
    /// The header is no JSON object, or too long.
    BadHeader,
    /// The claims are no JSON object, or too long.
    BadClaims,
    /// A member of the header or a claim stands twice.
    Duplicate,
    /// The header wants something done that would let the token choose its own key or meaning.
    ForbiddenHeader,
    /// Another algorithm than RS256.
    WrongAlgorithm,
    /// Another kind of token than an access token.
    WrongType,
    /// No key id, or none that a key could have.
    BadKeyId,
    /// A claim that is needed is missing, or has a type that it must not have.
    BadClaim(&'static str),
    /// Nobody whom the configuration knows issued it.
    UnknownIssuer,
    /// `ver` does not belong to the issuer.
    WrongVersion,
    /// `tid` is not the issuer's tenant.
    WrongTenant,
    /// No app takes tokens of the tenant.
    UnknownTenant,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// It is for another API.
    WrongAudience,
    /// No signing keys of the tenant have been fetched yet.
    NoKeys {
        /// Whose keys are wanted.
        tenant: String,
    },
    /// The tenant's key set has no such key: it may have got a new one.
    UnknownKey {
        /// Whose keys may be fetched again.
        tenant: String,
    },
    /// The signature is not the key's.
    BadSignature,
    /// Neither roles nor scopes: Entra gives such a token to every app of a tenant, and to those who sign in.
    NoPermission,
    /// No app takes tokens of this client.
    ClientNotPermitted,
    /// None of the roles and scopes that the app asks for.
    MissingRole,
}

/// What answer a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 401: the token proves nothing.
    Invalid,
    /// 403: the token is genuine and does not permit this.
    Forbidden,
    /// 503: Firstlight cannot tell yet.
    Unavailable,
}

impl TokenError {
    /// A short code for the log and the metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong => "token_too_long",
            Self::Malformed => "malformed_token",
            Self::Encrypted => "encrypted_token",
            Self::BadHeader => "bad_header",
            Self::BadClaims => "bad_claims",
            Self::Duplicate => "duplicate_member",
            Self::ForbiddenHeader => "forbidden_header",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::WrongType => "wrong_type",
            Self::BadKeyId => "bad_key_id",
            Self::BadClaim(_) => "bad_claim",
            Self::UnknownIssuer => "unknown_issuer",
            Self::WrongVersion => "wrong_version",
            Self::WrongTenant => "wrong_tenant",
            Self::UnknownTenant => "unknown_tenant",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongAudience => "wrong_audience",
            Self::NoKeys { .. } => "no_signing_keys",
            Self::UnknownKey { .. } => "unknown_signing_key",
            Self::BadSignature => "bad_signature",
            Self::NoPermission => "no_permission",
            Self::ClientNotPermitted => "client_not_permitted",
            Self::MissingRole => "missing_role",
        }
    }

    /// A sentence for `error_description`: ASCII without quotes, and nothing of the token.
    pub fn description(&self) -> &'static str {
        match self {
            Self::TooLong => "the token is too long",
            Self::Malformed => "the token is not a signed JWT",
            Self::Encrypted => "encrypted tokens are not accepted",
            Self::BadHeader => "the token header is not a JSON object of acceptable size",
            Self::BadClaims => "the token claims are not a JSON object of acceptable size",
            Self::Duplicate => "a member of the token stands twice",
            Self::ForbiddenHeader => "the token header has a parameter that is not accepted",
            Self::WrongAlgorithm => "the token is not signed with RS256",
            Self::WrongType => "the token is not an access token",
            Self::BadKeyId => "the token names no usable signing key",
            Self::BadClaim(_) => "a claim of the token is missing or has the wrong type",
            Self::UnknownIssuer => "the issuer of the token is not accepted",
            Self::WrongVersion => "the version of the token is not that of its issuer",
            Self::WrongTenant => "the tenant of the token is not that of its issuer",
            Self::UnknownTenant => "the tenant of the token is not accepted",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::WrongAudience => "the token is for another audience",
            Self::NoKeys { .. } => "the signing keys are not available yet",
            Self::UnknownKey { .. } => "unknown signing key",
            Self::BadSignature => "the signature of the token is wrong",
            Self::NoPermission => "the token has neither roles nor scopes",
            Self::ClientNotPermitted => "the client application is not permitted",
            Self::MissingRole => "the token lacks a required role or scope",
        }
    }

    /// What answer it is.
    pub fn kind(&self) -> Refused {
        match self {
            Self::NoKeys { .. } => Refused::Unavailable,
            Self::NoPermission | Self::ClientNotPermitted | Self::MissingRole => Refused::Forbidden,
            Self::TooLong
            | Self::Malformed
            | Self::Encrypted
            | Self::BadHeader
            | Self::BadClaims
            | Self::Duplicate
            | Self::ForbiddenHeader
            | Self::WrongAlgorithm
            | Self::WrongType
            | Self::BadKeyId
            | Self::BadClaim(_)
            | Self::UnknownIssuer
            | Self::WrongVersion
            | Self::WrongTenant
            | Self::UnknownTenant
            | Self::Expired
            | Self::NotYetValid
            | Self::WrongAudience
            | Self::UnknownKey { .. }
            | Self::BadSignature => Refused::Invalid,
        }
    }
}
