//! All that a token has to fulfil, in the order in which it is judged.
//!
//! What costs little comes first: lengths, JSON, the header, the issuer, times and the audience are judged before
//! a signature is verified, so that a token made up by a stranger costs microseconds. What a caller may do is
//! judged after it: only those whom Entra knows learn which roles and clients an app asks for.
//!
//! The order and the checks stand here once. A [`Trail`] decides whether a refusal ends the walk (the verifier)
//! or is noted (`inspect`), which goes on with every check that does not need what was refused.

use crate::auth::caller::Caller;
use crate::auth::claims;
use crate::auth::compact;
use crate::auth::compact::Compact;
use crate::auth::grant::{Grant, Permissions, choose};
use crate::auth::header;
use crate::auth::issuer::{Issuer, Version};
use crate::auth::json::Object;
use crate::auth::signing_keys::SigningKeys;
use crate::auth::token_error::TokenError;
use std::sync::Arc;

/// What the configuration says of tokens.
pub(super) struct Rules {
    grants: Vec<Grant>,
    issuers: Vec<Issuer>,
}

/// The signing keys of a tenant, if they have been fetched.
pub(super) type KeysOf<'k> = &'k dyn Fn(&str) -> Option<Arc<SigningKeys>>;

/// One thing that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Size,
    Shape,
    Header,
    Parameters,
    Algorithm,
    Type,
    KeyId,
    Claims,
    Issuer,
    Version,
    Tenant,
    Expiry,
    Beginning,
    Audience,
    Client,
    Permissions,
    Key,
    Signature,
    SomePermission,
    App,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Fulfilled.
    Ok,
    /// Not fulfilled.
    Refused(TokenError),
    /// Not judged, because something that it needs is missing.
    Unknown,
}

/// Where a walk ends, and what is kept of it.
pub(super) enum Trail {
    /// At the first refusal.
    UntilRefused,
    /// At the end; every check with its verdict.
    Whole(Vec<(Check, Verdict)>),
}

impl Rules {
    pub(super) fn new(mut grants: Vec<Grant>, issuers: Vec<Issuer>) -> Self {
        grants.sort_by(Grant::precedence);
        Self { grants, issuers }
    }

    pub(super) fn grants_of(&self, tenant: &str) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(move |grant| grant.tenant == tenant)
    }

    pub(super) fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    fn takes_audience(&self, tenant: &str, audiences: &[&str]) -> Result<(), TokenError> {
        let mut grants = self.grants_of(tenant).peekable();
        if grants.peek().is_none() {
            return Err(TokenError::UnknownTenant);
        }
        let known = grants.any(|grant| grant.is_for(tenant, audiences));
        if known { Ok(()) } else { Err(TokenError::WrongAudience) }
    }
}

impl Trail {
    /// Judges what an earlier check gave. `None` is given on: something that is needed is missing.
    fn then<I, T>(
        &mut self,
        check: Check,
        input: Option<I>,
        judge: impl FnOnce(I) -> Result<T, TokenError>,
    ) -> Result<Option<T>, TokenError> {
        let judged = input.map(judge).transpose();
        let Self::Whole(steps) = self else { return judged };
        let verdict = match &judged {
            Ok(Some(_)) => Verdict::Ok,
            Ok(None) => Verdict::Unknown,
            Err(why) => Verdict::Refused(why.clone()),
        };
        steps.push((check, verdict));
        Ok(judged.unwrap_or_default())
    }
}

/// What the claims say.
struct Claimed<'a> {
    issuer: Option<(&'a Issuer, Version)>,
    expires: Option<u64>,
    audiences: Option<Vec<&'a str>>,
    client: Option<claims::Client<'a>>,
    permissions: Option<Permissions<'a>>,
}

/// Judges a token. `None`: something was refused, or could not be judged, and the trail is a whole one.
pub(super) fn walk(
    token: &str,
    rules: &Rules,
    now: u64,
    keys: KeysOf<'_>,
    trail: &mut Trail,
) -> Result<Option<Caller>, TokenError> {
    let sized = trail.then(Check::Size, Some(token), compact::size)?;
    let parts = trail.then(Check::Shape, sized, compact::split)?;
    let header = trail.then(Check::Header, parts, |parts| parts.header())?;
    let key_id = walk_header(header.as_ref(), trail)?;
    let claims = trail.then(Check::Claims, parts, |parts| parts.claims())?;
    let claims = claims.as_ref();
    let claimed = walk_claims(claims, rules, now, trail)?;
    let tenant = claimed.issuer.map(|(issuer, _)| issuer.tenant.as_str());
    walk_signature(parts, key_id.zip(tenant), keys, trail)?;

    let permissions = claimed.permissions.as_ref();
    trail.then(Check::SomePermission, permissions, claims::some_permission)?;
    let asked = tenant.zip(claimed.audiences.as_ref()).zip(claimed.client).zip(permissions);
    let grant = trail.then(Check::App, asked, |(((tenant, audiences), client), permissions)| {
        let grants = rules.grants_of(tenant).filter(|grant| grant.is_for(tenant, audiences));
        choose(grants, client.id, permissions)
    })?;

    let all = grant.zip(claims).zip(permissions).zip(claimed.expires);
    Ok(all.map(|(((grant, claims), permissions), expires)| Caller {
        app: Arc::clone(&grant.app),
        tenant: grant.tenant.clone(),
        object_id: claims::name(claims, "oid"),
        subject: claims::name(claims, "sub"),
        client: claimed.client.and_then(|client| client.id).map(str::to_owned),
        may_probe: grant.may_probe(permissions),
        expires,
    }))
}

/// Who a token names, without judging it: of one whose signature was judged before. The app is not known.
pub(super) fn named(token: &str) -> Option<Caller> {
    let claims = compact::split(token).ok()?.claims().ok()?;
    let client = ["azp", "appid"].iter().find_map(|claim| claims::name(&claims, claim));
    Some(Caller {
        app: "".into(),
        tenant: claims::name(&claims, "tid")?,
        object_id: claims::name(&claims, "oid"),
        subject: claims::name(&claims, "sub"),
        client,
        may_probe: false,
        expires: 0,
    })
}

fn walk_header<'a>(
    header: Option<&'a Object>,
    trail: &mut Trail,
) -> Result<Option<&'a str>, TokenError> {
    trail.then(Check::Parameters, header, header::parameters)?;
    trail.then(Check::Algorithm, header, header::algorithm)?;
    trail.then(Check::Type, header, header::kind)?;
    trail.then(Check::KeyId, header, header::key_id)
}

fn walk_claims<'a>(
    claims: Option<&'a Object>,
    rules: &'a Rules,
    now: u64,
    trail: &mut Trail,
) -> Result<Claimed<'a>, TokenError> {
    let issuer = trail.then(Check::Issuer, claims, |c| claims::issuer(c, &rules.issuers))?;
    let of_issuer = claims.zip(issuer);
    trail.then(Check::Version, of_issuer, |(c, (_, version))| claims::version(c, version))?;
    trail.then(Check::Tenant, of_issuer, |(c, (issuer, _))| claims::tenant(c, issuer))?;
    let expires = trail.then(Check::Expiry, claims, |c| claims::expiry(c, now))?;
    trail.then(Check::Beginning, claims, |c| claims::beginning(c, now))?;
    let audiences = trail.then(Check::Audience, of_issuer, |(c, (issuer, _))| {
        let audiences = claims::audiences(c)?;
        rules.takes_audience(&issuer.tenant, &audiences)?;
        Ok(audiences)
    })?;
    let client =
        trail.then(Check::Client, of_issuer, |(c, (_, version))| claims::client(c, version))?;
    let permissions = trail.then(Check::Permissions, claims, claims::permissions)?;
    Ok(Claimed { issuer, expires, audiences, client, permissions })
}

fn walk_signature(
    parts: Option<Compact<'_>>,
    named: Option<(&str, &str)>,
    keys: KeysOf<'_>,
    trail: &mut Trail,
) -> Result<(), TokenError> {
    let found = trail.then(Check::Key, named, |(key_id, tenant)| {
        let keys = keys(tenant).ok_or_else(|| TokenError::NoKeys { tenant: tenant.to_owned() })?;
        if keys.knows(key_id) {
            Ok((keys, key_id))
        } else {
            Err(TokenError::UnknownKey { tenant: tenant.to_owned() })
        }
    })?;
    trail.then(Check::Signature, parts.zip(found), |(parts, (keys, key_id))| {
        let genuine = keys.verify(key_id, parts.signed, parts.signature);
        if genuine == Some(true) { Ok(()) } else { Err(TokenError::BadSignature) }
    })?;
    Ok(())
}
