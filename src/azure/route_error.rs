//! Why a request target is not served.

/// Why a request target is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No such path.
    #[error("no such path")]
    NotFound,
    /// The deployment and resource forms exist only with an `api-version`.
    #[error("api-version is missing")]
    MissingApiVersion,
    /// The path exists, for another method.
    #[error("method not allowed; use {allow}")]
    MethodNotAllowed {
        /// The value of the `Allow` header.
        allow: &'static str,
    },
    /// The target could be read in two ways, or not at all.
    #[error("bad path: {0}")]
    BadPath(&'static str),
    /// A credential in the query: URLs end up in logs and histories.
    #[error("a credential in the query")]
    CredentialInQuery,
}
