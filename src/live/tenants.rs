//! The tenants whose tokens are taken, each with its signing keys as they were last fetched.

use crate::auth::grant::Grant;
use crate::auth::issuer::Issuer;
use crate::auth::signing_keys::SigningKeys;
use crate::auth::verifier::Verifier;
use crate::config::checked::Config;
use arc_swap::ArcSwapOption;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::Notify;

/// One tenant. A request loads its keys and never waits for them.
pub struct Tenant {
    /// Whose tokens the keys sign.
    pub issuer: Issuer,
    /// Where its documents are: scheme, host and port.
    pub authority: String,
    keys: ArcSwapOption<SigningKeys>,
    /// When they were fetched, in seconds since 1970; 0: never.
    fetched: AtomicU64,
    wanted: Notify,
}

impl Tenant {
    fn new(issuer: Issuer, authority: String) -> Self {
        let (keys, fetched) = (ArcSwapOption::empty(), AtomicU64::new(0));
        Self { issuer, authority, keys, fetched, wanted: Notify::new() }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.issuer.tenant
    }

    /// Its signing keys, if there ever were any.
    pub fn keys(&self) -> Option<Arc<SigningKeys>> {
        self.keys.load_full()
    }

    /// When its keys were fetched, in seconds since 1970.
    pub fn fetched(&self) -> Option<u64> {
        Some(self.fetched.load(Relaxed)).filter(|&at| at > 0)
    }

    /// Publishes keys that were fetched at that moment. The same keys again keep what was verified with them.
    pub fn publish(&self, keys: SigningKeys, fetched: u64) {
        if self.keys.load().as_ref().is_none_or(|old| old.revision() != keys.revision()) {
            self.keys.store(Some(Arc::new(keys)));
        }
        self.fetched.store(fetched, Relaxed);
    }

    /// A token names a key that is not there: somebody should look whether it is new. Any number of wishes are
    /// one.
    pub fn want_keys(&self) {
        self.wanted.notify_one();
    }

    /// Waits for such a wish.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

/// All tenants by id, and who verifies their tokens.
pub struct Tenants {
    all: BTreeMap<String, Arc<Tenant>>,
    /// Begins anew with each configuration, so that nothing is remembered that it does not permit.
    verifier: Verifier,
}

impl Tenants {
    pub(super) fn build(config: &Config, previous: Option<&Self>) -> Self {
        let apps = config.apps.iter();
        let grants = apps.filter_map(|(app, settings)| {
            let entra = settings.entra.clone()?;
            Some(Grant {
                app: app.as_str().into(),
                tenant: entra.tenant,
                audiences: entra.audiences,
                roles: entra.roles,
                scopes: entra.scopes,
                clients: entra.clients,
                probe_roles: entra.probe_roles,
            })
        });
        let grants: Vec<_> = grants.collect();
        let authority = config.entra.authority.origin();
        let mut all = BTreeMap::new();
        for tenant in grants.iter().map(|grant| &grant.tenant) {
            let issuer = issuer(config, tenant);
            let old = previous.and_then(|p| p.all.get(tenant));
            let same = old.filter(|old| old.issuer == issuer && old.authority == authority);
            let new = || Arc::new(Tenant::new(issuer, authority.clone()));
            all.entry(tenant.clone()).or_insert_with(|| same.map_or_else(new, Arc::clone));
        }
        let issuers = all.values().map(|tenant| tenant.issuer.clone()).collect();
        Self { all, verifier: Verifier::new(grants, issuers) }
    }

    /// Who verifies tokens.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The tenant with that id.
    pub fn get(&self, id: &str) -> Option<&Arc<Tenant>> {
        self.all.get(id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.all.values()
    }
}

/// Who issues the tokens of a tenant.
pub(crate) fn issuer(config: &Config, tenant: &str) -> Issuer {
    let (v2, v1) = (config.entra.issuer_v2(tenant), config.entra.issuer_v1(tenant));
    Issuer { tenant: tenant.to_owned(), v2, v1 }
}
