//! Who issues tokens for a tenant.
//!
//! Entra has two issuers for every tenant: v2, and v1, which a custom API gets by default, whatever endpoint the
//! client asked. Their texts differ by cloud, so the configuration says them.

/// The two issuers of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The tenant's id, a GUID in lower case.
    pub tenant: String,
    /// `iss` of its tokens with `ver` 2.0, as `https://login.microsoftonline.com/{tenant}/v2.0`.
    pub v2: String,
    /// `iss` of its tokens with `ver` 1.0, as `https://sts.windows.net/{tenant}/`, with the slash.
    pub v1: String,
}

/// Which form a token has: it decides `ver`, and which claim names the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

impl Version {
    /// What `ver` says.
    pub(super) fn claim(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }

    /// The claim that names the client application.
    pub(super) fn client_claim(self) -> &'static str {
        match self {
            Self::V1 => "appid",
            Self::V2 => "azp",
        }
    }
}

impl Issuer {
    /// Which of its two issuers `iss` is, if any.
    pub(super) fn version(&self, iss: &str) -> Option<Version> {
        if iss == self.v2 {
            Some(Version::V2)
        } else if iss == self.v1 {
            Some(Version::V1)
        } else {
            None
        }
    }

    /// Whether a signing key is for this tenant. The key sets of several tenants at once say `{tenantid}`.
    pub(super) fn owns_key_of(&self, issuer: &str) -> bool {
        self.version(&issuer.replace("{tenantid}", &self.tenant)).is_some()
    }
}
