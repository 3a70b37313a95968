//! Whose access token of Entra ID this is.

use crate::auth::caller::Caller;
use crate::auth::compact;
use crate::auth::grant::Grant;
use crate::auth::issuer::Issuer;
use crate::auth::seen::{Known, Outcome, Seen, TokenId};
use crate::auth::signing_keys::SigningKeys;
#[cfg(doc)]
use crate::auth::token_error::Refused;
use crate::auth::token_error::TokenError;
use crate::auth::walk::{self, KeysOf, Rules, Trail, walk};
use std::cell::RefCell;
use std::sync::Arc;

/// Verifies tokens by what the configuration says, and remembers those that it verified. A new configuration is a
/// new verifier, which remembers nothing.
pub struct Verifier {
    rules: Rules,
    seen: Seen,
}

impl Verifier {
    /// A verifier of the tokens of `issuers`, for the apps of `grants`.
    pub fn new(grants: Vec<Grant>, issuers: Vec<Issuer>) -> Self {
        Self { rules: Rules::new(grants, issuers), seen: Seen::new() }
    }

    /// Whose token it is, at a moment in Unix seconds. `keys` gives the signing keys of a tenant of the issuers,
    /// by its id, if they have been fetched; it is called at most twice.
    pub fn check(
        &self,
        token: &str,
        now: u64,
        keys: impl Fn(&str) -> Option<Arc<SigningKeys>>,
    ) -> Result<Arc<Caller>, TokenError> {
        compact::size(token)?;
        let id = TokenId::of(token);
        if let Some(known) = self.seen.find(&id, now)
            && keys(known.tenant()).is_some_and(|keys| keys.revision() == known.revision)
        {
            return known.verdict();
        }
        self.verify(token, now, &keys, id)
    }

    /// Who sent a genuine token that does not permit what was asked, for the log: the token of a refusal whose
    /// [`TokenError::kind`] is [`Refused::Forbidden`]. Such a caller is no app's.
    pub fn forbidden(token: &str) -> Option<Caller> {
        walk::named(token)
    }

    fn verify(
        &self,
        token: &str,
        now: u64,
        keys: KeysOf<'_>,
        id: TokenId,
    ) -> Result<Arc<Caller>, TokenError> {
        let used = RefCell::new(None);
        let noting = |tenant: &str| {
            let keys = keys(tenant)?;
            used.replace(Some((Arc::from(tenant), keys.revision())));
            Some(keys)
        };
        let walked = walk(token, &self.rules, now, &noting, &mut Trail::UntilRefused);
        // A walk until the first refusal gives a caller or that refusal.
        let verdict = walked.and_then(|caller| caller.ok_or(TokenError::Malformed)).map(Arc::new);
        if let Some((tenant, revision)) = used.into_inner() {
            let outcome = match &verdict {
                Ok(caller) => Some(Outcome::Genuine(Arc::clone(caller))),
                Err(TokenError::BadSignature) => Some(Outcome::Forged(tenant)),
                Err(_) => None,
            };
            if let Some(outcome) = outcome {
                self.seen.put(id, Known { outcome, revision }, now);
            }
        }
        verdict
    }
}
