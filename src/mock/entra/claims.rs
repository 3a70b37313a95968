//! What Entra's access tokens say, in both versions. Pure.

use crate::mock::entra::spec::TokenVersion;
use serde_json::{Map, Value, json};

/// Who a token is about, and for whom it is.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) tenant: String,
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) client: String,
    pub(super) object_id: String,
    /// How the client proved who it is: `1` with a secret, `2` with a certificate or an assertion.
    pub(super) proof: &'static str,
    pub(super) roles: Vec<String>,
}

/// When a token was issued, in Unix seconds, and for how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    pub(super) now: u64,
    pub(super) seconds: u64,
}

/// Entra's tokens are valid from this many seconds before their issue.
const BACKDATED_SECONDS: u64 = 300;

/// The claims of a token that a client got in its own name.
pub(super) fn claims(
    version: TokenVersion,
    subject: &Subject,
    validity: Validity,
    unique: &str,
) -> Value {
    let Subject { tenant, issuer, audience, client, object_id, proof, roles } = subject;
    let since = validity.now.saturating_sub(BACKDATED_SECONDS);
    let shared = json!({
        "aud": audience, "iss": issuer, "iat": since, "nbf": since,
        "exp": validity.now.saturating_add(validity.seconds),
        "aio": format!("k2BgY{unique}"), "oid": object_id, "rh": format!("1.{unique}"),
        "sub": object_id, "tid": tenant, "uti": unique, "ver": version.text(),
    });
    let own = match version {
        TokenVersion::V1 => json!({"appid": client, "appidacr": proof, "idp": issuer}),
        TokenVersion::V2 => json!({"azp": client, "azpacr": proof}),
    };
    let roles = if roles.is_empty() { json!({}) } else { json!({ "roles": roles }) };
    merged(merged(shared, own), roles)
}

/// `over` put over `claims`: what is null in it is taken away, and what is not an object replaces everything.
pub(super) fn merged(claims: Value, over: Value) -> Value {
    let (mut claims, over): (Map<_, _>, Map<_, _>) = match (claims, over) {
        (Value::Object(claims), Value::Object(over)) => (claims, over),
        (_, over) => return over,
    };
    for (name, value) in over {
        if value.is_null() {
            claims.remove(&name);
        } else {
            claims.insert(name, value);
        }
    }
    Value::Object(claims)
}

#[cfg(test)]
mod tests {
    use crate::mock::entra::claims::{Subject, Validity, claims, merged};
    use crate::mock::entra::spec::TokenVersion;
    use serde_json::{Value, json};

    fn names(version: TokenVersion, roles: &[&str]) -> String {
        let subject = Subject {
            tenant: "t".to_owned(),
            issuer: "i".to_owned(),
            audience: "a".to_owned(),
            client: "c".to_owned(),
            object_id: "o".to_owned(),
            proof: "1",
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        };
        let claims = claims(version, &subject, Validity { now: 1_000, seconds: 60 }, "u");
        assert_eq!((&claims["nbf"], &claims["exp"]), (&json!(700), &json!(1_060)));
        let mut names: Vec<_> = claims.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names.join(" ")
    }

    #[test]
    fn each_version_has_its_claims() {
        assert_eq!(
            names(TokenVersion::V1, &["r"]),
            "aio appid appidacr aud exp iat idp iss nbf oid rh roles sub tid uti ver"
        );
        assert_eq!(
            names(TokenVersion::V2, &[]),
            "aio aud azp azpacr exp iat iss nbf oid rh sub tid uti ver"
        );
    }

    #[test]
    fn claims_are_put_over_and_taken_away() {
        let over = |over: Value| merged(json!({"a": 1, "b": 2}), over);
        assert_eq!(over(json!({"a": null, "b": "x", "c": []})), json!({"b": "x", "c": []}));
        assert_eq!(over(json!([7])), json!([7]));
    }
}
