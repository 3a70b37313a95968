//! Which tokens an app takes, and which of several apps takes a token.
//!
//! A token has to be of the grant's tenant, for one of its audiences, from one of its clients, and has to hold
//! one of its roles or scopes. Grants that name their clients come before those that take any; among equals the
//! first by the app's name wins. If none takes the token, the reason is that of the grant that came furthest.

use crate::auth::token_error::TokenError;
use std::cmp::Ordering;
use std::sync::Arc;

/// What the configuration says of one app's tokens. Texts are compared exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The app.
    pub app: Arc<str>,
    /// The id of its tenant, a GUID in lower case.
    pub tenant: String,
    /// What `aud` may be: the client id of the API (v2), or its App ID URI (v1).
    pub audiences: Vec<String>,
    /// Roles of which one suffices.
    pub roles: Vec<String>,
    /// Delegated scopes of which one suffices; empty: no scope does.
    pub scopes: Vec<String>,
    /// Client applications that may use it; empty: all.
    pub clients: Vec<String>,
    /// Roles that allow to say which target a request goes to. They do not suffice by themselves.
    pub probe_roles: Vec<String>,
}

/// What a token holds of permissions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Permissions<'a> {
    pub(super) roles: Vec<&'a str>,
    pub(super) scopes: Vec<&'a str>,
}

impl Grant {
    /// The order in which grants are asked.
    pub(super) fn precedence(&self, other: &Self) -> Ordering {
        let key = |grant: &Self| (grant.clients.is_empty(), Arc::clone(&grant.app));
        key(self).cmp(&key(other))
    }

    pub(super) fn is_for(&self, tenant: &str, audiences: &[&str]) -> bool {
        self.tenant == tenant && any(&self.audiences, audiences)
    }

    pub(super) fn may_probe(&self, permissions: &Permissions<'_>) -> bool {
        any(&self.probe_roles, &permissions.roles)
    }

    fn permits(&self, permissions: &Permissions<'_>) -> bool {
        any(&self.roles, &permissions.roles) || any(&self.scopes, &permissions.scopes)
    }

    fn knows_client(&self, client: Option<&str>) -> bool {
        self.clients.is_empty()
            || client.is_some_and(|client| self.clients.iter().any(|one| one == client))
    }
}

/// The first of the grants, which are in order and for the token's tenant and audience, that takes the token.
pub(super) fn choose<'g>(
    grants: impl Iterator<Item = &'g Grant>,
    client: Option<&str>,
    permissions: &Permissions<'_>,
) -> Result<&'g Grant, TokenError> {
    let mut furthest = TokenError::ClientNotPermitted;
    for grant in grants.filter(|grant| grant.knows_client(client)) {
        if grant.permits(permissions) {
            return Ok(grant);
        }
        furthest = TokenError::MissingRole;
    }
    Err(furthest)
}

fn any(wanted: &[String], held: &[&str]) -> bool {
    held.iter().any(|one| wanted.iter().any(|text| text == one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(app: &str, clients: &[&str], roles: &[&str], scopes: &[&str]) -> Grant {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Grant {
            app: app.into(),
            tenant: "t".to_owned(),
            audiences: vec!["a".to_owned()],
            roles: texts(roles),
            scopes: texts(scopes),
            clients: texts(clients),
            probe_roles: Vec::new(),
        }
    }

    /// Grants in the order that they are written in, and whom each token goes to.
    fn check(
        mut grants: Vec<Grant>,
        client: Option<&str>,
        (roles, scopes): (&[&str], &[&str]),
        expected: &Result<&str, TokenError>,
    ) {
        grants.sort_by(Grant::precedence);
        let permissions = Permissions { roles: roles.to_vec(), scopes: scopes.to_vec() };
        let found = choose(grants.iter(), client, &permissions);
        assert_eq!(found.map(|grant| &*grant.app), *expected, "{client:?} {permissions:?}");
    }

    #[test]
    fn a_grant_that_names_the_client_comes_first() {
        let grants = || {
            vec![
                grant("any", &[], &["R"], &[]),
                grant("zeta", &["c1", "c2"], &["R"], &[]),
                grant("mine", &["c1"], &["R"], &[]),
                grant("also-any", &[], &["R"], &[]),
            ]
        };
        check(grants(), Some("c1"), (&["R"], &[]), &Ok("mine"));
        check(grants(), Some("c2"), (&["R"], &[]), &Ok("zeta"));
        check(grants(), Some("c3"), (&["R"], &[]), &Ok("also-any"));
        check(grants(), None, (&["R"], &[]), &Ok("also-any"));
        check(grants(), Some("C1"), (&["R"], &[]), &Ok("also-any"));
    }

    #[test]
    fn one_role_or_one_scope_suffices() {
        let grants = || vec![grant("app", &[], &["R", "S"], &["use", "all"])];
        check(grants(), None, (&["x", "S"], &[]), &Ok("app"));
        check(grants(), None, (&[], &["openid", "use"]), &Ok("app"));
        check(grants(), None, (&["R"], &["openid"]), &Ok("app"));
        check(grants(), None, (&["use"], &["R"]), &Err(TokenError::MissingRole));
        check(grants(), None, (&["r"], &["USE"]), &Err(TokenError::MissingRole));
        let without_scopes = vec![grant("app", &[], &["R"], &[])];
        check(without_scopes, None, (&[], &["R", "use"]), &Err(TokenError::MissingRole));
    }

    #[test]
    fn the_reason_is_that_of_the_grant_that_came_furthest() {
        let one = || vec![grant("app", &["c"], &["R"], &[])];
        check(one(), Some("d"), (&["R"], &[]), &Err(TokenError::ClientNotPermitted));
        check(one(), None, (&["R"], &[]), &Err(TokenError::ClientNotPermitted));
        check(one(), Some("c"), (&["S"], &[]), &Err(TokenError::MissingRole));
        let two = || [one(), vec![grant("other", &["d"], &["S"], &[])]].concat();
        check(two(), Some("d"), (&["R"], &[]), &Err(TokenError::MissingRole));
        check(two(), Some("e"), (&["R"], &[]), &Err(TokenError::ClientNotPermitted));
    }
}
