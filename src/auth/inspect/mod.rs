//! Why a token is taken or refused, check by check: for `firstlight token inspect`.
//!
//! It walks the same checks in the same order as the verifier (`walk`), and goes on after a refusal with whatever
//! can still be judged. A token is taken exactly if no step is refused and none is unknown; the first refusal is
//! the reason that a client would get.

mod advice;

use crate::auth::caller::Caller;
use crate::auth::compact;
use crate::auth::grant::Grant;
use crate::auth::header::FORBIDDEN;
use crate::auth::inspect::advice::advice;
use crate::auth::issuer::Issuer;
use crate::auth::json::Object;
use crate::auth::signing_keys::SigningKeys;
use crate::auth::token_error::TokenError;
use crate::auth::walk::{Check, Rules, Trail, walk};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

pub use crate::auth::walk::Verdict;

/// Longest piece of a token that is shown.
const FOUND_CHARS_MAX: usize = 300;

/// The last second of the year 9999: no date is written beyond it.
const LAST_DATE: u64 = 253_402_300_799;

/// One check of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was judged, in two or three words.
    pub what: &'static str,
    /// What the token says of it, without control characters. Claims are shown, the signature never.
    pub found: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What to do about it; empty if it is fulfilled.
    pub advice: String,
}

/// Judges a token by every check, at a moment in Unix seconds. `keys` gives the signing keys of a tenant; without
/// them the signature stays unknown.
pub fn inspect(
    token: &str,
    grants: &[Grant],
    issuers: &[Issuer],
    keys: &dyn Fn(&str) -> Option<Arc<SigningKeys>>,
    now: u64,
) -> Vec<Step> {
    let rules = Rules::new(grants.to_vec(), issuers.to_vec());
    let mut trail = Trail::Whole(Vec::new());
    let caller = walk(token, &rules, now, keys, &mut trail).ok().flatten();
    let Trail::Whole(steps) = trail else { return Vec::new() };
    let read = Read::new(token, caller, now);
    let step = |(check, verdict): (Check, Verdict)| {
        // The key set was not given: nothing is wrong with the token.
        let no_keys = matches!(verdict, Verdict::Refused(TokenError::NoKeys { .. }));
        let verdict = if no_keys { Verdict::Unknown } else { verdict };
        let advice = advice(check, &verdict, (&rules, &read));
        Step { what: name(check), found: read.found(check), verdict, advice }
    };
    steps.into_iter().map(step).collect()
}

fn name(check: Check) -> &'static str {
    match check {
        Check::Size => "size",
        Check::Shape => "parts",
        Check::Header => "header",
        Check::Parameters => "header parameters",
        Check::Algorithm => "algorithm",
        Check::Type => "type",
        Check::KeyId => "key id",
        Check::Claims => "claims",
        Check::Issuer => "issuer",
        Check::Version => "version",
        Check::Tenant => "tenant",
        Check::Expiry => "end",
        Check::Beginning => "beginning",
        Check::Audience => "audience",
        Check::Client => "client application",
        Check::Permissions => "roles and scopes",
        Check::Key => "signing key",
        Check::Signature => "signature",
        Check::SomePermission => "some permission",
        Check::App => "app",
    }
}

/// What can be read of a token, whether it is good or not.
struct Read {
    token_bytes: usize,
    parts: usize,
    header: Object,
    claims: Object,
    caller: Option<Caller>,
    now: u64,
}

impl Read {
    fn new(token: &str, caller: Option<Caller>, now: u64) -> Self {
        let parts = compact::size(token).and_then(compact::split).ok();
        let header = parts.and_then(|parts| parts.header().ok()).unwrap_or_default();
        let claims = parts.and_then(|parts| parts.claims().ok()).unwrap_or_default();
        let parts = token.split('.').count();
        Self { token_bytes: token.len(), parts, header, claims, caller, now }
    }

    fn found(&self, check: Check) -> String {
        let found = match check {
            Check::Size => format!("{} bytes", self.token_bytes),
            Check::Shape => format!("{} parts", self.parts),
            Check::Header => names(&self.header),
            Check::Parameters => self.forbidden(),
            Check::Algorithm => said(&self.header, &["alg"]),
            Check::Type => said(&self.header, &["typ"]),
            Check::KeyId | Check::Key => said(&self.header, &["kid"]),
            Check::Claims => names(&self.claims),
            Check::Issuer => said(&self.claims, &["iss"]),
            Check::Version => said(&self.claims, &["ver"]),
            Check::Tenant => said(&self.claims, &["tid"]),
            Check::Expiry => self.moment("exp"),
            Check::Beginning => self.moment("nbf"),
            Check::Audience => said(&self.claims, &["aud"]),
            Check::Client => said(&self.claims, &["azp", "appid"]),
            Check::Permissions | Check::SomePermission => said(&self.claims, &["roles", "scp"]),
            Check::Signature => "not shown".to_owned(),
            Check::App => self.app(),
        };
        printable(&found)
    }

    fn forbidden(&self) -> String {
        let found = FORBIDDEN.iter().filter(|name| self.header.contains_key(**name));
        let found: Vec<&str> = found.copied().collect();
        if found.is_empty() { "none that is dangerous".to_owned() } else { found.join(", ") }
    }

    fn app(&self) -> String {
        match &self.caller {
            Some(caller) if caller.may_probe => format!("{}, and may probe", caller.app),
            Some(caller) => caller.app.as_ref().to_owned(),
            None => "none".to_owned(),
        }
    }

    /// A moment as it is written, as a date, and how far off it is.
    fn moment(&self, claim: &str) -> String {
        let written = said(&self.claims, &[claim]);
        let Some(moment) = self.claims.get(claim).and_then(serde_json::Value::as_u64) else {
            return written;
        };
        let off = humantime::format_duration(Duration::from_secs(moment.abs_diff(self.now)));
        let off = if moment < self.now { format!("{off} ago") } else { format!("in {off}") };
        if moment > LAST_DATE {
            return written;
        }
        let date = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(moment));
        format!("{written} = {date}, {off}")
    }
}

fn names(object: &Object) -> String {
    if object.is_empty() {
        return "nothing that could be read".to_owned();
    }
    object.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// What members say, as JSON.
fn said(object: &Object, names: &[&str]) -> String {
    let said = names.iter().filter_map(|name| Some(format!("{name} {}", object.get(*name)?)));
    let said: Vec<String> = said.collect();
    if said.is_empty() { format!("no {}", names.join(" or ")) } else { said.join(", ") }
}

/// A hostile token must not write to the terminal what it likes, or as much as it likes.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(FOUND_CHARS_MAX).map(plain).collect();
    if text.chars().nth(FOUND_CHARS_MAX).is_some() {
        short.push_str("...");
    }
    short
}
