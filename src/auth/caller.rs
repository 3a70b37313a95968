//! Whom a token proved to be there.

use std::sync::Arc;

/// What is known of the sender of a token. Every text of the token is at most 128 printable ASCII characters
/// without spaces: it may stand in a header and in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The app whose grant the token fulfils.
    pub app: Arc<str>,
    /// The tenant.
    pub tenant: String,
    /// `oid`: the user or the service principal; with the tenant it names one caller for good.
    pub object_id: Option<String>,
    /// `sub`: the same, but another for every audience.
    pub subject: Option<String>,
    /// `azp` or `appid`: the client application.
    pub client: Option<String>,
    /// Whether it may say which target a request goes to.
    pub may_probe: bool,
    /// `exp`, in Unix seconds.
    pub expires: u64,
}
