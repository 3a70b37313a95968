//! A fake Entra ID: an HTTP server on loopback with the discovery documents, the signing keys and the token
//! endpoint of `login.microsoftonline.com`, for any number of tenants.
//!
//! Its tokens are real: JSON Web Tokens signed with RSA keys of its own, which rotate when they are told to.
//! Each endpoint fails in the way its [`EntraFault`] says and counts what it has seen.
//! Left out: TLS, people who sign in, certificates (`x5c`), and the tenant `common`.

mod aadsts;
mod accept;
mod claims;
mod documents;
pub(in crate::mock) mod fault;
mod grant;
mod keyring;
mod service;
mod spec;

pub use crate::mock::entra::fault::{EntraEndpoint, EntraFault};
pub use crate::mock::entra::spec::{EntraApi, EntraClient, EntraSpec, TokenVersion};

use crate::mock::entra::accept::{Wanted, accepts, key_of};
use crate::mock::entra::claims::merged;
use crate::mock::entra::grant::Grant;
use crate::mock::entra::keyring::{Keyring, Publication, SigningKey};
use crate::mock::entra::service::Directory;
use crate::mock::ledger::{Counters, Recorded};
use crate::mock::{MockError, reach, site};
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinSet, spawn_blocking};

/// A running fake Entra. Clones are the same one; when the last of them is dropped, its port is closed.
#[derive(Clone, Debug)]
pub struct Entra {
    directory: Arc<Directory>,
    address: SocketAddr,
    _tasks: Arc<JoinSet<()>>,
}

impl Entra {
    /// Makes a signing key and serves in the current runtime. Its port is open when this returns.
    pub async fn start(spec: EntraSpec) -> io::Result<Self> {
        spec.check().map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        let door = site::open(spec.listen, "the fake Entra")?;
        let address = door.address();
        let keyring = Keyring::new(made().await?);
        let directory = Arc::new(Directory::new(format!("http://{address}"), spec, keyring));
        let mut tasks = JoinSet::new();
        site::keep(door, Arc::clone(&directory), &mut tasks);
        Ok(Self { directory, address, _tasks: Arc::new(tasks) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stands for `https://login.microsoftonline.com`: `http://127.0.0.1:PORT`, without a slash at its end.
    pub fn authority(&self) -> &str {
        &self.directory.base
    }

    /// Its tenants.
    pub fn tenants(&self) -> &[String] {
        &self.directory.spec.tenants
    }

    /// The first tenant.
    pub fn tenant(&self) -> &str {
        self.directory.spec.tenants.first().map_or(EntraSpec::TENANT, String::as_str)
    }

    /// The issuer of a tenant's tokens: `{authority}/{tenant}/v2.0`, and for the first version
    /// `{authority}/{tenant}/`.
    pub fn issuer(&self, tenant: &str, version: TokenVersion) -> String {
        self.directory.issuer(tenant, version)
    }

    /// A token for the first API, of the first client, whose claims are changed by `claims`, a JSON object:
    /// what is null in it is taken away. A `ver` of `1.0` makes it a token of the first version, and a `tid`
    /// one of that tenant, issuer and all. Anything but an object takes the place of all claims.
    pub fn issue(&self, claims: Value) -> String {
        self.issue_with(json!({}), claims)
    }

    /// The same, and the token's header is changed by `header` in the same way. The signature is always an
    /// RS256 of the key that signs at present, whatever the header says.
    pub fn issue_with(&self, header: Value, claims: Value) -> String {
        self.directory.sign(header, &self.claims(claims))
    }

    /// A signed token of any two texts, which need not be JSON.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        self.directory.keyring.lock().signer().sign(header.as_bytes(), claims.as_bytes())
    }

    /// Unix seconds on its clock.
    pub(in crate::mock) fn now(&self) -> u64 {
        self.directory.now()
    }

    /// Whether a service of Azure with one of these audiences would take this token: signed with a key that is
    /// not retired, by one of the tenants, and valid now.
    pub fn accepts(&self, token: &str, audiences: &[String]) -> bool {
        let Some(key) = key_of(token, &self.directory.keyring.lock()) else { return false };
        let versions = [TokenVersion::V1, TokenVersion::V2];
        let of = |tenant: &String| versions.map(|version| self.issuer(tenant, version));
        let issuers: Vec<String> = self.directory.spec.tenants.iter().flat_map(of).collect();
        accepts(token, &key, &Wanted { audiences, issuers: &issuers, now: self.now() })
    }

    /// Adds a key, which signs from now on. The old ones stay published. Gives its id.
    pub async fn rotate(&self) -> io::Result<String> {
        self.add_key(Publication::Published).await
    }

    /// Adds a key, which signs from now on and is not published before [`Entra::publish`]. Gives its id.
    pub async fn rotate_ahead(&self) -> io::Result<String> {
        self.add_key(Publication::Withheld).await
    }

    /// Publishes all keys.
    pub fn publish(&self) {
        self.directory.keyring.lock().publish();
    }

    /// Forgets all keys but the one that signs.
    pub fn retire_old(&self) {
        self.directory.keyring.lock().retire_old();
    }

    /// The ids of the published keys, the oldest first.
    pub fn key_ids(&self) -> Vec<String> {
        self.directory.keyring.lock().published().map(|key| key.kid.clone()).collect()
    }

    /// The document that the keys' endpoint of a tenant gives when it is well.
    pub fn key_set(&self, tenant: &str) -> Value {
        let issuer = self.issuer(tenant, TokenVersion::V2);
        self.directory.keyring.lock().document(Some(&issuer))
    }

    /// How long tokens last that are issued from now on.
    pub fn set_lifetime(&self, lifetime: Duration) {
        *self.directory.lifetime.lock() = lifetime;
    }

    /// Switches a fault of one endpoint on, in the place of the one before; `EntraFault::None` switches it off.
    pub fn set_fault(&self, endpoint: EntraEndpoint, fault: EntraFault) -> Result<(), MockError> {
        self.directory.set_fault(endpoint, fault).map_err(MockError::Invalid)
    }

    /// The same at every endpoint.
    pub fn set_fault_everywhere(&self, fault: EntraFault) -> Result<(), MockError> {
        EntraEndpoint::ALL.into_iter().try_for_each(|endpoint| self.set_fault(endpoint, fault))
    }

    /// What is wrong with an endpoint.
    pub fn fault(&self, endpoint: EntraEndpoint) -> EntraFault {
        self.directory.fault(endpoint)
    }

    /// What an endpoint has counted so far.
    pub fn counters(&self, endpoint: EntraEndpoint) -> Counters {
        self.directory.counted(endpoint).counters()
    }

    /// The last requests of an endpoint, up to 64, the oldest first.
    pub fn requests(&self, endpoint: EntraEndpoint) -> Vec<Recorded> {
        self.directory.counted(endpoint).recent()
    }

    /// Forgets what all endpoints have seen.
    pub fn reset(&self) {
        for endpoint in EntraEndpoint::ALL {
            self.directory.counted(endpoint).reset();
        }
    }

    /// Waits until the counters of an endpoint are as `reached` wants them, and gives them. After ten seconds it
    /// gives up and says what they were.
    pub async fn wait_until(
        &self,
        endpoint: EntraEndpoint,
        reached: impl FnMut(&Counters) -> bool,
    ) -> Result<Counters, MockError> {
        reach(self.directory.counted(endpoint), reached).await
    }

    async fn add_key(&self, publication: Publication) -> io::Result<String> {
        let key = made().await?;
        let kid = key.kid.clone();
        self.directory.keyring.lock().add(key, publication);
        Ok(kid)
    }

    fn claims(&self, over: Value) -> Value {
        let spec = &self.directory.spec;
        let (Some(api), Some(client)) = (spec.apis.first(), spec.clients.first()) else {
            return over;
        };
        let version = match over.get("ver").and_then(Value::as_str) {
            Some("1.0") => TokenVersion::V1,
            Some("2.0") => TokenVersion::V2,
            Some(_) | None => api.version,
        };
        let audience = match version {
            TokenVersion::V1 => api.uri.clone(),
            TokenVersion::V2 => api.id.clone(),
        };
        let tenant = over.get("tid").and_then(Value::as_str).unwrap_or_else(|| self.tenant());
        let grant = Grant {
            version,
            audience,
            roles: api.roles.clone(),
            client: client.id.clone(),
            object_id: client.object_id.clone(),
            proof: "1",
        };
        merged(self.directory.claims(&grant, tenant), over)
    }
}

/// A new key, made where it holds nothing up.
async fn made() -> io::Result<SigningKey> {
    spawn_blocking(SigningKey::generate).await.map_err(io::Error::other)?
}
