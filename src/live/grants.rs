//! What the configuration says of tokens, in the words of those who verify them.

use crate::auth::grant::Grant;
use crate::auth::issuer::Issuer;
use crate::config::checked::AppEntra;
use crate::config::checked::Config;

/// What each app takes, in the order of their names.
pub fn grants(config: &Config) -> Vec<Grant> {
    let entries = config.apps.iter().filter_map(|(name, app)| Some((name, app.entra.as_ref()?)));
    entries.map(|(name, entra)| grant(name, entra)).collect()
}

fn grant(app: &str, entra: &AppEntra) -> Grant {
    Grant {
        app: app.into(),
        tenant: entra.tenant.clone(),
        audiences: entra.audiences.clone(),
        roles: entra.roles.clone(),
        scopes: entra.scopes.clone(),
        clients: entra.clients.clone(),
        probe_roles: entra.probe_roles.clone(),
    }
}

/// The issuers of every tenant that an app names, each once.
pub fn issuers(config: &Config) -> Vec<Issuer> {
    let mut tenants: Vec<String> = grants(config).into_iter().map(|grant| grant.tenant).collect();
    tenants.sort_unstable();
    tenants.dedup();
    let of_tenant = |tenant: String| Issuer {
        v2: config.entra.issuer_v2(&tenant),
        v1: config.entra.issuer_v1(&tenant),
        tenant,
    };
    tenants.into_iter().map(of_tenant).collect()
}
