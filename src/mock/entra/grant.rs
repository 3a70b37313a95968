//! Reads what a client posts to the token endpoint, and decides what it gets. Pure.

use crate::mock::entra::aadsts::Aadsts;
use crate::mock::entra::spec::{EntraClient, EntraSpec, TokenVersion};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use std::collections::BTreeMap;

/// What a client asks for, and how it proves who it is.
#[derive(Debug)]
pub(super) struct TokenRequest {
    fields: BTreeMap<String, String>,
}

/// A token that is to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) version: TokenVersion,
    pub(super) audience: String,
    pub(super) roles: Vec<String>,
    pub(super) client: String,
    pub(super) object_id: String,
    pub(super) proof: &'static str,
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl TokenRequest {
    /// The fields of the form, and the client of an `Authorization: Basic`, if there is one.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Self {
        let mut fields: BTreeMap<String, String> =
            form_urlencoded::parse(body).into_owned().collect();
        if let Some((id, secret)) = basic(headers) {
            fields.insert("client_id".to_owned(), id);
            fields.insert("client_secret".to_owned(), secret);
        }
        Self { fields }
    }

    fn get(&self, name: &'static str) -> Result<&str, Aadsts> {
        let field = self.fields.get(name).filter(|value| !value.is_empty());
        field.map(String::as_str).ok_or_else(|| Aadsts::missing(name))
    }
}

/// Identifier and secret, which are percent-encoded inside of the base64.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let header = headers.get("authorization")?.to_str().ok()?;
    let decoded = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let plain = |text: &str| {
        let pair = form_urlencoded::parse(text.as_bytes()).into_owned().next();
        pair.map_or_else(String::new, |(name, _)| name)
    };
    Some((plain(id), plain(secret)))
}

/// What a request at the endpoint of `version` comes to.
pub(super) fn grant(
    spec: &EntraSpec,
    tenant: &str,
    version: TokenVersion,
    request: &TokenRequest,
) -> Result<Grant, Aadsts> {
    let kind = request.get("grant_type")?;
    if kind != "client_credentials" {
        return Err(Aadsts::unknown_grant(kind));
    }
    let id = request.get("client_id")?;
    let client = spec.clients.iter().find(|client| client.id == id);
    let client = client.ok_or_else(|| Aadsts::unknown_client(id, tenant))?;
    let proof = proven(client, request)?;
    let resource = match version {
        TokenVersion::V1 => request.get("resource")?,
        TokenVersion::V2 => {
            let scope = request.get("scope")?;
            scope.strip_suffix("/.default").ok_or_else(|| Aadsts::wrong_scope(scope))?
        }
    };
    let (version, audience, roles) =
        found(spec, resource).ok_or_else(|| Aadsts::unknown_resource(resource, tenant))?;
    let (client, object_id) = (client.id.clone(), client.object_id.clone());
    Ok(Grant { version, audience, roles, client, object_id, proof })
}

/// Sees that the client is who it says; gives the claim that says how.
fn proven(client: &EntraClient, request: &TokenRequest) -> Result<&'static str, Aadsts> {
    if let Ok(assertion) = request.get("client_assertion") {
        if request.get("client_assertion_type")? != JWT_BEARER {
            return Err(Aadsts::unknown_assertion_type());
        }
        let known = client.federated_tokens.as_ref();
        let fits = known.is_none_or(|tokens| tokens.iter().any(|token| token == assertion));
        return if fits { Ok("2") } else { Err(Aadsts::wrong_assertion()) };
    }
    let secret = request.get("client_secret").map_err(|_| Aadsts::no_proof())?;
    if client.secret.as_deref() == Some(secret) {
        Ok("1")
    } else {
        Err(Aadsts::wrong_secret(&client.id))
    }
}

/// An API of the tenant, or a service of Azure: those are https addresses and take v1 tokens.
fn found(spec: &EntraSpec, resource: &str) -> Option<(TokenVersion, String, Vec<String>)> {
    match spec.apis.iter().find(|api| api.id == resource || api.uri == resource) {
        Some(api) => {
            let audience = match api.version {
                TokenVersion::V1 => resource.to_owned(),
                TokenVersion::V2 => api.id.clone(),
            };
            Some((api.version, audience, api.roles.clone()))
        }
        None if resource.starts_with("https://") => {
            Some((TokenVersion::V1, resource.to_owned(), Vec::new()))
        }
        None => None,
    }
}
