//! The tenants whose tokens are taken, each with its signing keys as they were last fetched.

use crate::auth::issuer::Issuer;
use crate::auth::signing_keys::SigningKeys;
use crate::auth::verifier::Verifier;
use crate::config::checked::Config;
use crate::live::grants::{grants, issuers};
use crate::time::Time;
use arc_swap::ArcSwapOption;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

/// One tenant. A request loads its keys and never waits for them.
pub struct Tenant {
    /// Whose tokens the keys sign.
    pub issuer: Issuer,
    /// Where its documents are: scheme, host and port.
    pub authority: String,
    keys: ArcSwapOption<SigningKeys>,
    /// When they were fetched, in seconds since 1970; 0: never.
    fetched: AtomicU64,
    wanted: AtomicBool,
    course: Mutex<KeyCourse>,
    turn: tokio::sync::Mutex<()>,
}

/// How the fetches of a tenant's keys go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyCourse {
    /// When the next is due.
    pub due: Time,
    /// When one was last made because a token named an unknown key.
    pub last_wanted: Option<Time>,
    /// Failures since the last good one.
    pub failures: u32,
    /// What went wrong the last time.
    pub error: Option<String>,
}

impl Tenant {
    fn new(issuer: Issuer, authority: String) -> Self {
        Self {
            issuer,
            authority,
            keys: ArcSwapOption::empty(),
            fetched: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            course: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
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

    /// A token names a key that is not there: somebody should look whether it is new. Any number of wishes are one.
    pub fn want_keys(&self) {
        self.wanted.store(true, Relaxed);
    }

    /// Whether there is such a wish.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// A fetch begins: it grants the wishes until now.
    pub fn grant(&self) {
        self.wanted.store(false, Relaxed);
    }

    /// How its fetches go.
    pub fn course(&self) -> KeyCourse {
        self.course.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how they go.
    pub fn note(&self, course: KeyCourse) {
        *self.course.lock().unwrap_or_else(PoisonError::into_inner) = course;
    }

    /// The right to fetch, unless somebody else has it.
    pub fn free_turn(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.turn.try_lock().ok()
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
        let authority = config.entra.authority.origin();
        let issuers = issuers(config);
        let carried = |issuer: &Issuer| {
            let old = previous.and_then(|p| p.all.get(&issuer.tenant));
            let same = old.filter(|old| old.issuer == *issuer && old.authority == authority);
            let new = || Arc::new(Tenant::new(issuer.clone(), authority.clone()));
            (issuer.tenant.clone(), same.map_or_else(new, Arc::clone))
        };
        let all = issuers.iter().map(carried).collect();
        Self { all, verifier: Verifier::new(grants(config), issuers) }
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
