//! What to do about a check that a token does not fulfil.

use super::Read;
use crate::auth::grant::Grant;
use crate::auth::issuer::Issuer;
use crate::auth::token_error::TokenError;
use crate::auth::walk::{Check, Rules, Verdict};
use serde_json::Value;

/// What to do, in one sentence; empty if nothing is to be done.
pub(super) fn advice(check: Check, verdict: &Verdict, (rules, read): (&Rules, &Read)) -> String {
    match verdict {
        Verdict::Ok => String::new(),
        Verdict::Unknown if check == Check::Key => {
            "give the key set of the tenant: without it the signature is not judged".to_owned()
        }
        Verdict::Unknown => "not judged: see what is refused above".to_owned(),
        Verdict::Refused(why) => refused(why, rules, read),
    }
}

fn refused(why: &TokenError, rules: &Rules, read: &Read) -> String {
    let accepted = |of: fn(&Grant) -> &Vec<String>| of_grants(rules, read, of);
    match why {
        TokenError::UnknownIssuer => {
            let issuers = rules.issuers().iter();
            let accepted = list(issuers.flat_map(|issuer: &Issuer| [&issuer.v2, &issuer.v1]));
            return format!("accepted, to the letter: {accepted}");
        }
        TokenError::WrongAudience => {
            let audiences = accepted(|grant| &grant.audiences);
            return format!(
                "accepted: {audiences}; ask for a token of one of these, or add it to `audiences`"
            );
        }
        TokenError::ClientNotPermitted => {
            let clients = accepted(|grant| &grant.clients);
            return format!("accepted: {clients}; add the client to the app's `clients`");
        }
        TokenError::MissingRole => {
            let (roles, scopes) = (accepted(|grant| &grant.roles), accepted(|grant| &grant.scopes));
            return format!(
                "wanted: role {roles} or scope {scopes}; assign it in Entra, then get a new token"
            );
        }
        TokenError::BadClaim(claim) => {
            return format!(
                "`{claim}` is missing or has the wrong type: look at who made the token"
            );
        }
        TokenError::BadSignature if read.header.contains_key("nonce") => {
            "the header has a nonce: only the API that it is for, as Microsoft Graph, can verify it"
        }
        TokenError::TooLong => "send the token alone, at most 16 KiB",
        TokenError::Malformed => "send all three parts of base64url, without the word Bearer",
        TokenError::Encrypted => "switch token encryption off for the API in Entra",
        TokenError::BadHeader | TokenError::BadClaims => "send the token as Entra issued it",
        TokenError::Duplicate => "Entra writes no member twice: look at who made the token",
        TokenError::ForbiddenHeader => "Entra writes none of these: look at who made the token",
        TokenError::WrongAlgorithm => "Entra signs with RS256: look at who made the token",
        TokenError::WrongType => "send the access token, not another one that came with it",
        TokenError::BadKeyId => "Entra names its key in `kid`: look at who made the token",
        TokenError::WrongVersion => {
            "Entra's v1 issuer has ver 1.0 and its v2 issuer 2.0: look at who made the token"
        }
        TokenError::WrongTenant => {
            "Entra puts one tenant into `iss` and `tid`: look at who made the token"
        }
        TokenError::UnknownTenant => "add the tenant to an app of the configuration",
        TokenError::Expired => "get a new token, or set the clock of this machine",
        TokenError::NotYetValid => "set the clock of this machine",
        TokenError::NoKeys { .. } => "wait until the signing keys have been fetched",
        TokenError::UnknownKey { .. } => {
            "fetch the key set again: Entra may have a new key, or it is another cloud's"
        }
        TokenError::BadSignature => "it was changed after it was signed, or another one signed it",
        TokenError::NoPermission => {
            "assign an app role to the caller in Entra; an ID token never suffices"
        }
    }
    .to_owned()
}

/// What the grants of the token's tenant say.
fn of_grants(rules: &Rules, read: &Read, of: impl Fn(&Grant) -> &Vec<String>) -> String {
    let tenant = read.claims.get("tid").and_then(Value::as_str).unwrap_or_default();
    list(rules.grants_of(tenant).flat_map(of))
}

fn list<'t>(texts: impl Iterator<Item = &'t String>) -> String {
    let mut texts: Vec<&str> = texts.map(String::as_str).collect();
    texts.sort_unstable();
    texts.dedup();
    if texts.is_empty() { "(none)".to_owned() } else { texts.join(", ") }
}
