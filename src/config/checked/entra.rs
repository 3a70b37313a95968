//! Entra ID: who signs clients' tokens, which of them are an app's, and what our own identity is.

use crate::config::checked::{Endpoint, SecretSource};
use serde::Serialize;
use std::path::PathBuf;

/// Where Entra ID and the identities of this machine are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entra {
    /// Where tenants publish their signing keys and give tokens.
    pub authority: Endpoint,
    /// Who issues tokens of version 1.
    pub sts: Endpoint,
    /// Where managed identities get their tokens; on this machine or link-local.
    pub imds: Endpoint,
}

impl Entra {
    /// The issuer of a tenant's tokens of version 2.
    pub fn issuer_v2(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.authority.origin())
    }

    /// The issuer of a tenant's tokens of version 1. The stroke at its end belongs to it.
    pub fn issuer_v1(&self, tenant: &str) -> String {
        format!("{}/{tenant}/", self.sts.origin())
    }
}

/// Which tokens are those of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppEntra {
    /// The tenant's id, lower case.
    pub tenant: String,
    /// What `aud` may be; at least one.
    pub audiences: Vec<String>,
    /// Roles of which one is enough.
    pub roles: Vec<String>,
    /// Roles whose bearer may choose the backend.
    pub probe_roles: Vec<String>,
    /// Scopes of which one will do instead of a role; empty: none does.
    pub scopes: Vec<String>,
    /// Client ids of the callers, lower case; empty: any caller.
    pub clients: Vec<String>,
}

/// An identity of Firstlight's own, and what its tokens are for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Identity {
    /// What it is.
    pub credential: Credential,
    /// The scope of its tokens.
    pub scope: String,
}

/// What an identity is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// The identity that Azure gave to this virtual machine.
    SystemAssigned,
    /// One that was assigned to it, by its client id.
    ClientId(String),
    /// One that was assigned to it, by its object id.
    ObjectId(String),
    /// One that was assigned to it, by its resource id.
    ResourceId(String),
    /// An app registration that trusts the token in a file.
    Workload {
        /// The tenant's id.
        tenant: String,
        /// The app registration's client id.
        client_id: String,
        /// The file with the token.
        token_file: PathBuf,
    },
    /// An app registration with a secret.
    Secret {
        /// The tenant's id.
        tenant: String,
        /// The app registration's client id.
        client_id: String,
        /// Where the secret comes from.
        secret: SecretSource,
    },
}

/// What backends are told of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallerHeaders {
    /// Whether they are told the app, and tenant, object and client id of a token.
    pub all: bool,
    /// Which claim is sent in `id_header`.
    pub id: CallerId,
    /// A header name, lower case; none that has another meaning.
    pub id_header: String,
}

/// A claim of a caller's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallerId {
    /// None.
    Off,
    /// The object id: the same in the whole tenant.
    Oid,
    /// The subject: of this app alone.
    Sub,
}
