//! One token, by `azure_identity`: a new credential object each time, since its cache would give the old token until
//! five minutes before the end, and a new client, which reads the machine's authorities again. It happens a few times
//! a day.

use super::transport::{AUTHORITY, IMDS, Seen, Transport};
use super::trouble::Trouble;
use crate::config::checked::Credential;
use crate::live::{Token, TokenSource};
use crate::secrets;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, Transport as AzureTransport};
use azure_identity::{
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Fetches a token. The library tries again by the rules of the giver, within `limit`.
pub(super) async fn fetch(source: &TokenSource, limit: Duration) -> Result<Token, Trouble> {
    let seen = Seen::default();
    match timeout(limit, ask(source, seen.clone())).await {
        Ok(Ok(token)) => Ok(token),
        Ok(Err(trouble)) => Err(seen.last().unwrap_or(trouble)),
        Err(_) => Err(seen.last().unwrap_or(Trouble::TimedOut)),
    }
}

async fn ask(source: &TokenSource, seen: Seen) -> Result<Token, Trouble> {
    let from = source.clone();
    // Files are read.
    let made = spawn_blocking(move || credential(&from, seen)).await;
    let credential = made.map_err(|_| Trouble::Refused)??;
    let given = credential.get_token(&[source.identity.scope.as_str()], None).await;
    // Its text may hold parts of the answer. What matters was seen.
    let given = given.map_err(|_| Trouble::Refused)?;
    let expires = u64::try_from(given.expires_on.unix_timestamp()).unwrap_or(0);
    Token::new(given.token.secret(), expires).ok_or(Trouble::Garbage)
}

fn credential(source: &TokenSource, seen: Seen) -> Result<Arc<dyn TokenCredential>, Trouble> {
    let options = |stand_in| options(stand_in, source, seen);
    match &source.identity.credential {
        Credential::SystemAssigned => managed(None, options(IMDS)?),
        Credential::ClientId(id) => {
            managed(Some(UserAssignedId::ClientId(id.clone())), options(IMDS)?)
        }
        Credential::ObjectId(id) => {
            managed(Some(UserAssignedId::ObjectId(id.clone())), options(IMDS)?)
        }
        Credential::ResourceId(id) => {
            managed(Some(UserAssignedId::ResourceId(id.clone())), options(IMDS)?)
        }
        Credential::Workload { tenant, client_id, token_file } => {
            workload((tenant, client_id), token_file, options(AUTHORITY)?)
        }
        Credential::Secret { tenant, client_id, secret } => {
            // Read anew each time: it may have been rotated.
            let secret = secrets::resolve(secret).map_err(|e| Trouble::Secret(e.to_string()))?;
            let secret = Secret::new(secret.expose().to_owned());
            let options = ClientSecretCredentialOptions { client_options: options(AUTHORITY)? };
            let made =
                ClientSecretCredential::new(tenant, client_id.clone(), secret, Some(options));
            Ok(made.map_err(|_| Trouble::Refused)?)
        }
    }
}

fn managed(
    user_assigned_id: Option<UserAssignedId>,
    client_options: ClientOptions,
) -> Result<Arc<dyn TokenCredential>, Trouble> {
    let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options };
    // It fails only where the environment speaks of a place that the library does not support.
    let made = ManagedIdentityCredential::new(Some(options));
    Ok(made.map_err(|_| Trouble::Environment)?)
}

fn workload(
    (tenant, client_id): (&str, &str),
    token_file: &Path,
    client_options: ClientOptions,
) -> Result<Arc<dyn TokenCredential>, Trouble> {
    // The library's own error would have to be told apart from others.
    std::fs::File::open(token_file).map_err(|error| {
        let path = token_file.display();
        Trouble::File(format!("cannot read {path}: {error}; let the service's user read it"))
    })?;
    let options = WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions { client_options },
        client_id: Some(client_id.to_owned()),
        tenant_id: Some(tenant.to_owned()),
        token_file_path: Some(token_file.to_owned()),
    };
    let made = WorkloadIdentityCredential::new(Some(options));
    Ok(made.map_err(|_| Trouble::Refused)?)
}

fn options(
    stand_in: &'static str,
    source: &TokenSource,
    seen: Seen,
) -> Result<ClientOptions, Trouble> {
    let transport = Transport::new(stand_in, source.giver.origin(), seen);
    let transport = Arc::new(transport.map_err(|_| Trouble::Unreachable)?);
    let mut cloud = CustomConfiguration::default();
    AUTHORITY.clone_into(&mut cloud.authority_host);
    Ok(ClientOptions {
        transport: Some(AzureTransport::new(transport)),
        cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
        ..ClientOptions::default()
    })
}
