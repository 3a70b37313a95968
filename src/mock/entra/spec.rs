//! What a fake Entra is to know: its tenants, the APIs that tokens are for, and the clients that ask for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use uuid::Uuid;

/// A fake Entra to start. The default one has one tenant, one API and one client, whose ids are the constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraSpec {
    /// Where it listens, which has to be a loopback address; port 0 takes any free port.
    pub listen: SocketAddr,
    /// The tenants' ids, lower-case GUIDs; the first is the one of [`crate::mock::Entra::issue`]. All tenants
    /// share the signing keys, as Entra's do.
    pub tenants: Vec<String>,
    /// What tokens are for; the first is the one of [`crate::mock::Entra::issue`].
    pub apis: Vec<EntraApi>,
    /// Who gets tokens; the first is the one of [`crate::mock::Entra::issue`].
    pub clients: Vec<EntraClient>,
    /// How long a token lasts.
    pub lifetime: Duration,
}

/// An API of an organisation: what its registration says of the tokens for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraApi {
    /// The application id, a GUID: the audience of v2 tokens.
    pub id: String,
    /// The App ID URI, `api://...`: the audience of v1 tokens.
    pub uri: String,
    /// Which tokens it takes; they are these, whichever endpoint is asked.
    pub version: TokenVersion,
    /// What every client may do there: the claim `roles`. Without any, the claim is missing.
    pub roles: Vec<String>,
}

/// The two forms of Entra's access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenVersion {
    /// `ver` is `1.0`, and the issuer is the one of the security token service.
    V1,
    /// `ver` is `2.0`.
    V2,
}

/// A registered application with a service principal in every tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraClient {
    /// The application id, a GUID: the claim `azp` or `appid`.
    pub id: String,
    /// The service principal's id, a GUID: the claims `oid` and `sub`.
    pub object_id: String,
    /// Its secret; without it, no secret is right.
    pub secret: Option<String>,
    /// The assertions that workload identity may present; without it, any text that is not empty.
    pub federated_tokens: Option<Vec<String>>,
}

impl EntraSpec {
    /// The tenant of the default.
    pub const TENANT: &str = "8a1c0f3e-5d7b-4c29-9e64-2f1b7d3a6c05";
    /// The API of the default: the audience of its v2 tokens.
    pub const API: &str = "c2d4e6f8-1a3b-4c5d-8e7f-9a0b1c2d3e4f";
    /// The App ID URI of that API: the audience of its v1 tokens.
    pub const API_URI: &str = "api://c2d4e6f8-1a3b-4c5d-8e7f-9a0b1c2d3e4f";
    /// The role that tokens of the default have.
    pub const ROLE: &str = "LLM.Invoke";
    /// The client of the default.
    pub const CLIENT: &str = "1f6e2d5c-9b8a-4746-b5c4-d3e2f1a0b9c8";
    /// Its service principal.
    pub const OBJECT: &str = "70a1b2c3-d4e5-4f60-8172-93a4b5c6d7e8";
    /// Its secret.
    pub const SECRET: &str = "the-secret-of-the-mock-client";

    /// Says what is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        if self.tenants.is_empty() || self.apis.is_empty() || self.clients.is_empty() {
            return Err("an Entra needs a tenant, an API and a client".to_owned());
        }
        let guid =
            |text: &String| Uuid::parse_str(text).is_ok_and(|uuid| uuid.to_string() == *text);
        match self.tenants.iter().find(|tenant| !guid(tenant)) {
            Some(tenant) => Err(format!("tenant {tenant:?} is no GUID in lower case")),
            None => Ok(()),
        }
    }
}

impl Default for EntraSpec {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tenants: vec![Self::TENANT.to_owned()],
            apis: vec![EntraApi {
                id: Self::API.to_owned(),
                uri: Self::API_URI.to_owned(),
                version: TokenVersion::V2,
                roles: vec![Self::ROLE.to_owned()],
            }],
            clients: vec![EntraClient {
                id: Self::CLIENT.to_owned(),
                object_id: Self::OBJECT.to_owned(),
                secret: Some(Self::SECRET.to_owned()),
                federated_tokens: None,
            }],
            lifetime: Duration::from_hours(1),
        }
    }
}

impl TokenVersion {
    /// The claim `ver`.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::mock::entra::spec::EntraSpec;

    #[test]
    fn tenants_are_guids() {
        assert_eq!(EntraSpec::default().check(), Ok(()));
        for tenant in ["contoso.com", "8A1C0F3E-5D7B-4C29-9E64-2F1B7D3A6C05", ""] {
            let spec = EntraSpec { tenants: vec![tenant.to_owned()], ..EntraSpec::default() };
            assert!(spec.check().unwrap_err().contains("no GUID"), "{tenant}");
        }
        let none = EntraSpec { tenants: Vec::new(), ..EntraSpec::default() };
        assert!(none.check().unwrap_err().contains("needs a tenant"));
    }
}
