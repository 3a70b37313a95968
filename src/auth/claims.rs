//! What the claims of a token have to say, one function a check, with strict types: a claim of another type than
//! it must have is refused and never taken for absent.

use crate::auth::grant::Permissions;
use crate::auth::issuer::{Issuer, Version};
use crate::auth::json::Object;
use crate::auth::token_error::TokenError;
use serde_json::Value;
use std::time::Duration;

/// How far the issuer's clock and ours may be apart, in seconds.
pub(super) const SKEW_SECONDS: u64 = 60;

/// Longest text of a token that is handed on.
/// Most audiences that are looked at.
const AUDIENCES_MAX: usize = 8;

const HANDED_ON_CHARS_MAX: usize = 128;

/// Which application asked for the token.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    /// `None`: the token does not say.
    pub(super) id: Option<&'a str>,
}

/// The issuer, which must be one of the configured, and which of its two forms it is.
pub(super) fn issuer<'i>(
    claims: &Object,
    issuers: &'i [Issuer],
) -> Result<(&'i Issuer, Version), TokenError> {
    let iss = text(claims, "iss")?;
    let found = issuers.iter().find_map(|issuer| Some((issuer, issuer.version(iss)?)));
    found.ok_or(TokenError::UnknownIssuer)
}

/// `ver` has to be that of the issuer.
pub(super) fn version(claims: &Object, version: Version) -> Result<(), TokenError> {
    if text(claims, "ver")? == version.claim() { Ok(()) } else { Err(TokenError::WrongVersion) }
}

/// `tid` has to be the issuer's tenant.
pub(super) fn tenant(claims: &Object, issuer: &Issuer) -> Result<(), TokenError> {
    if text(claims, "tid")? == issuer.tenant { Ok(()) } else { Err(TokenError::WrongTenant) }
}

/// `exp`, which has to be there and in the future.
pub(super) fn expiry(claims: &Object, now: u64) -> Result<u64, TokenError> {
    let expires = seconds(claims, "exp")?.ok_or(TokenError::BadClaim("exp"))?;
    if now >= expires.saturating_add(SKEW_SECONDS) { Err(TokenError::Expired) } else { Ok(expires) }
}

/// `nbf` and `iat`: numbers, if they are there, and `nbf` in the past.
pub(super) fn beginning(claims: &Object, now: u64) -> Result<(), TokenError> {
    seconds(claims, "iat")?;
    match seconds(claims, "nbf")? {
        Some(begins) if now.saturating_add(SKEW_SECONDS) < begins => Err(TokenError::NotYetValid),
        _ => Ok(()),
    }
}

/// `aud`: a text, or a list of texts.
pub(super) fn audiences(claims: &Object) -> Result<Vec<&str>, TokenError> {
    match claims.get("aud") {
        Some(Value::String(audience)) => Ok(vec![audience]),
        // Entra writes one. Each is compared with those of every app.
        Some(Value::Array(list)) if list.len() <= AUDIENCES_MAX => texts(list, "aud"),
        _ => Err(TokenError::BadClaim("aud")),
    }
}

/// `roles`, a list of texts, and `scp`, words in one text. Either may be missing.
pub(super) fn permissions(claims: &Object) -> Result<Permissions<'_>, TokenError> {
    let roles = match claims.get("roles") {
        None => Vec::new(),
        Some(Value::Array(list)) => texts(list, "roles")?,
        Some(_) => return Err(TokenError::BadClaim("roles")),
    };
    let scopes = match claims.get("scp") {
        None => Vec::new(),
        Some(Value::String(words)) => words.split(' ').filter(|word| !word.is_empty()).collect(),
        Some(_) => return Err(TokenError::BadClaim("scp")),
    };
    Ok(Permissions { roles, scopes })
}

/// A token without any permission is refused: Entra issues one to every app of the tenant that asks, and an ID
/// token has none either.
pub(super) fn some_permission(permissions: &Permissions<'_>) -> Result<(), TokenError> {
    let none = permissions.roles.is_empty() && permissions.scopes.is_empty();
    if none { Err(TokenError::NoPermission) } else { Ok(()) }
}

/// The client application. Every access token names it and no ID token does, which may hold a user's roles as well.
pub(super) fn client(claims: &Object, version: Version) -> Result<Client<'_>, TokenError> {
    let name = version.client_claim();
    match claims.get(name) {
        Some(Value::String(id)) if may_be_handed_on(id) => Ok(Client { id: Some(id) }),
        _ => Err(TokenError::BadClaim(name)),
    }
}

/// A claim that names somebody, if it is a text that may stand in a header and in a log.
pub(super) fn name(claims: &Object, claim: &str) -> Option<String> {
    let text = claims.get(claim)?.as_str()?;
    may_be_handed_on(text).then(|| text.to_owned())
}

fn may_be_handed_on(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= HANDED_ON_CHARS_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn text<'a>(claims: &'a Object, name: &'static str) -> Result<&'a str, TokenError> {
    claims.get(name).and_then(Value::as_str).ok_or(TokenError::BadClaim(name))
}

fn texts<'a>(list: &'a [Value], name: &'static str) -> Result<Vec<&'a str>, TokenError> {
    list.iter().map(|one| one.as_str().ok_or(TokenError::BadClaim(name))).collect()
}

/// A moment in Unix seconds: a number, of which RFC 7519 allows fractions.
fn seconds(claims: &Object, name: &'static str) -> Result<Option<u64>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let fraction = || Duration::try_from_secs_f64(value.as_f64()?).ok().map(|d| d.as_secs());
    value.as_u64().or_else(fraction).map(Some).ok_or(TokenError::BadClaim(name))
}
