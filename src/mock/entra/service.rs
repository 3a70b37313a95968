//! From a request to Entra's answer: which endpoint it is for, what is wrong there, and what it says when well.

use crate::clock::Clock;
use crate::mock::connection::Sabotage;
use crate::mock::entra::aadsts::{Aadsts, Trace};
use crate::mock::entra::claims::{Subject, Validity, claims};
use crate::mock::entra::documents::{discovery, issuer};
use crate::mock::entra::fault::{EntraEndpoint, EntraFault, failure};
use crate::mock::entra::grant::{Grant, TokenRequest, grant};
use crate::mock::entra::keyring::Keyring;
use crate::mock::entra::spec::{EntraSpec, TokenVersion};
use crate::mock::ledger::Ledger;
use crate::mock::site::{self, Act, Page, Site};
use crate::rng::Rng;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Builder;

/// What a running Entra knows.
#[derive(Debug)]
pub(super) struct Directory {
    /// Its own address as a URL, without a slash at its end.
    pub(super) base: String,
    pub(super) spec: EntraSpec,
    pub(super) keyring: Mutex<Keyring>,
    pub(super) lifetime: Mutex<Duration>,
    faults: Mutex<BTreeMap<EntraEndpoint, EntraFault>>,
    ledgers: BTreeMap<EntraEndpoint, Arc<Ledger>>,
    /// Of requests for what is not served.
    strays: Arc<Ledger>,
    clock: Clock,
    rng: Mutex<Rng>,
}

/// The issuer of a fault: a tenant that nobody has.
const FOREIGN_TENANT: &str = "deadbeef-0bad-4bad-8bad-0badc0ffee00";

/// What a document gets too much with one of the faults.
const PADDING_BYTES: usize = 4 * 1024 * 1024;

impl Directory {
    pub(super) fn new(base: String, spec: EntraSpec, keyring: Keyring) -> Self {
        let clock = Clock::start();
        let ledgers = EntraEndpoint::ALL.map(|endpoint| (endpoint, site::ledger(clock)));
        // Two of them must not give tokens the same ids.
        let seed = u64::try_from(clock.unix().as_nanos()).unwrap_or(u64::MAX);
        Self {
            base,
            lifetime: Mutex::new(spec.lifetime),
            spec,
            keyring: Mutex::new(keyring),
            faults: Mutex::default(),
            ledgers: BTreeMap::from(ledgers),
            strays: site::ledger(clock),
            clock,
            rng: Mutex::new(Rng::from_seed(seed)),
        }
    }

    pub(super) fn fault(&self, endpoint: EntraEndpoint) -> EntraFault {
        self.faults.lock().get(&endpoint).copied().unwrap_or_default()
    }

    pub(super) fn set_fault(
        &self,
        endpoint: EntraEndpoint,
        fault: EntraFault,
    ) -> Result<(), String> {
        fault.check(endpoint)?;
        self.faults.lock().insert(endpoint, fault);
        Ok(())
    }

    pub(super) fn counted(&self, endpoint: EntraEndpoint) -> &Arc<Ledger> {
        self.ledgers.get(&endpoint).unwrap_or(&self.strays)
    }

    pub(super) fn issuer(&self, tenant: &str, version: TokenVersion) -> String {
        issuer(&self.base, tenant, version)
    }

    /// The claims of a token that is issued now.
    pub(super) fn claims(&self, grant: &Grant, tenant: &str) -> Value {
        let subject = Subject {
            tenant: tenant.to_owned(),
            issuer: self.issuer(tenant, grant.version),
            audience: grant.audience.clone(),
            client: grant.client.clone(),
            object_id: grant.object_id.clone(),
            proof: grant.proof,
            roles: grant.roles.clone(),
        };
        let validity = Validity { now: self.now(), seconds: self.lifetime.lock().as_secs() };
        claims(grant.version, &subject, validity, &self.fresh_id().replace('-', ""))
    }

    /// Signs claims with the key that signs at present, under a header changed by `over`.
    pub(super) fn sign(&self, over: Value, claims: &Value) -> String {
        let key = self.keyring.lock().signer();
        let usual = json!({"typ": "JWT", "alg": "RS256", "x5t": key.kid, "kid": key.kid});
        let header = crate::mock::entra::claims::merged(usual, over);
        key.sign(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// Unix seconds.
    pub(super) fn now(&self) -> u64 {
        self.clock.unix().as_secs()
    }

    fn fresh_id(&self) -> String {
        let mut rng = self.rng.lock();
        let bits = u128::from(rng.bits()) << 64 | u128::from(rng.bits());
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    }

    fn refuse(&self, refusal: &Aadsts) -> Page {
        let trace = Trace {
            base: self.base.clone(),
            id: self.fresh_id(),
            correlation_id: self.fresh_id(),
            unix: self.clock.unix(),
        };
        Page::json(refusal.status, &refusal.body(&trace))
    }

    /// What an endpoint says about a tenant when all is well, or when only its issuer is wrong.
    fn page(&self, call: &Call<'_>, parts: &Parts, body: &[u8]) -> Page {
        let tenant = call.tenant.to_ascii_lowercase();
        if !self.spec.tenants.contains(&tenant) {
            return self.refuse(&Aadsts::unknown_tenant(call.tenant));
        }
        let fault = self.fault(call.endpoint);
        let named = if fault == EntraFault::WrongIssuer { FOREIGN_TENANT } else { &tenant };
        match call.endpoint {
            EntraEndpoint::Discovery => {
                let issuer = self.issuer(named, call.version);
                public(&discovery(&self.base, &tenant, call.version, &issuer))
            }
            EntraEndpoint::Keys if fault == EntraFault::EmptyKeys => {
                public(&json!({"keys": []})).faulted()
            }
            EntraEndpoint::Keys => {
                // Only the document of the second version says whose the keys are.
                let issuer = self.issuer(named, TokenVersion::V2);
                let issuer = (call.version == TokenVersion::V2).then_some(issuer.as_str());
                public(&self.keyring.lock().document(issuer))
            }
            EntraEndpoint::Token => {
                let request = TokenRequest::read(&parts.headers, body);
                match grant(&self.spec, &tenant, call.version, &request) {
                    Ok(grant) => self.token(&grant, named, call.version),
                    Err(refusal) => self.refuse(&refusal),
                }
                .header("cache-control", "no-store, no-cache")
                .header("pragma", "no-cache")
            }
        }
    }

    fn token(&self, grant: &Grant, tenant: &str, endpoint: TokenVersion) -> Page {
        let claims = self.claims(grant, tenant);
        let access_token = self.sign(json!({}), &claims);
        let seconds = self.lifetime.lock().as_secs().saturating_sub(1);
        let answer = match endpoint {
            // The first version writes numbers as texts.
            TokenVersion::V1 => json!({
                "token_type": "Bearer", "expires_in": seconds.to_string(),
                "ext_expires_in": seconds.to_string(), "expires_on": text(&claims, "exp"),
                "not_before": text(&claims, "nbf"), "resource": grant.audience,
                "access_token": access_token,
            }),
            TokenVersion::V2 => json!({
                "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds,
                "access_token": access_token,
            }),
        };
        Page::json(StatusCode::OK, &answer)
    }
}

fn text(claims: &Value, name: &str) -> String {
    claims.get(name).map_or_else(String::new, Value::to_string)
}

/// A document that may be kept for a day.
fn public(document: &Value) -> Page {
    Page::json(StatusCode::OK, document).header("cache-control", "max-age=86400, private")
}

impl Site for Directory {
    fn ledger(&self, parts: &Parts) -> &Arc<Ledger> {
        let call = Call::of(&parts.method, parts.uri.path());
        call.map_or(&self.strays, |call| self.counted(call.endpoint))
    }

    fn act(&self, parts: &Parts, body: &[u8]) -> Act {
        let Some(call) = Call::of(&parts.method, parts.uri.path()) else {
            let problem = json!({"error": {"code": "404", "message": "nothing is served here"}});
            return Act::Send(Page::json(StatusCode::NOT_FOUND, &problem));
        };
        let page = || self.page(&call, parts, body).header("x-ms-request-id", self.fresh_id());
        match self.fault(call.endpoint) {
            EntraFault::None => Act::Send(page()),
            EntraFault::Down => Act::Cut(Sabotage::Reset),
            EntraFault::Slow(after) => Act::Send(Page { after, ..page() }),
            EntraFault::Hang => Act::Hang,
            EntraFault::Status(status) => {
                let status = failure(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Act::Send(self.refuse(&Aadsts::transient(status)).faulted())
            }
            EntraFault::Garbage => Act::Send(Page::garbage()),
            EntraFault::Huge => Act::Send(padded(page()).faulted()),
            EntraFault::WrongIssuer | EntraFault::EmptyKeys => Act::Send(page().faulted()),
        }
    }
}

/// The same JSON object with one long text more.
fn padded(page: Page) -> Page {
    let mut document: Value = serde_json::from_slice(&page.body).unwrap_or_default();
    if let Some(fields) = document.as_object_mut() {
        fields.insert("padding".to_owned(), "x".repeat(PADDING_BYTES).into());
    }
    Page { body: Bytes::from(document.to_string()), ..page }
}

/// What a request's path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Call<'a> {
    endpoint: EntraEndpoint,
    version: TokenVersion,
    tenant: &'a str,
}

impl<'a> Call<'a> {
    fn of(method: &Method, path: &'a str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let tenant = segments.next()?;
        let rest: Vec<&str> = segments.collect();
        let (endpoint, version) = match (method.as_str(), rest.as_slice()) {
            ("GET", ["v2.0", ".well-known", "openid-configuration"]) => {
                (EntraEndpoint::Discovery, TokenVersion::V2)
            }
            ("GET", [".well-known", "openid-configuration"]) => {
                (EntraEndpoint::Discovery, TokenVersion::V1)
            }
            ("GET", ["discovery", "v2.0", "keys"]) => (EntraEndpoint::Keys, TokenVersion::V2),
            ("GET", ["discovery", "keys"]) => (EntraEndpoint::Keys, TokenVersion::V1),
            ("POST", ["oauth2", "v2.0", "token"]) => (EntraEndpoint::Token, TokenVersion::V2),
            ("POST", ["oauth2", "token"]) => (EntraEndpoint::Token, TokenVersion::V1),
            _ => return None,
        };
        Some(Self { endpoint, version, tenant })
    }
}
