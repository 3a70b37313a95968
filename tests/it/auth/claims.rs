//! Issuer, tenant, audience, times, actor, roles and scopes.

use super::{Desk, changed, claimed};
use crate::support::tokens::{
    AUDIENCE, CLIENT, NOW, SIGNER, TENANT, delegated_claims, grant, header, issuer_of, keys_of,
    v1_claims, v2_claims, with,
};
use firstlight::auth::grant::Grant;
use firstlight::auth::signing_keys::SigningKeys;
use firstlight::auth::token_error::TokenError;
use firstlight::auth::verifier::Verifier;
use serde_json::{Value, json};
use std::sync::Arc;

const OTHER_TENANT: &str = "99999999-aaaa-4bbb-8ccc-000000000000";

#[track_caller]
fn refused(claims: &Value, why: TokenError) {
    assert_eq!(changed(claims), Err(why), "{claims}");
}

#[test]
fn the_issuer_is_compared_to_the_letter() {
    for issuer in [
        format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0"),
        format!("https://sts.windows.net/{OTHER_TENANT}/"),
        // v1 without its slash, v2 with one, another cloud, another case.
        format!("https://sts.windows.net/{TENANT}"),
        format!("https://login.microsoftonline.com/{TENANT}/v2.0/"),
        format!("https://login.microsoftonline.us/{TENANT}/v2.0"),
        format!("https://login.partner.microsoftonline.cn/{TENANT}/v2.0"),
        format!("https://login.microsoftonline.com/{}/v2.0", TENANT.to_uppercase()),
        format!("http://login.microsoftonline.com/{TENANT}/v2.0"),
        format!("https://login.microsoftonline.com.evil.example/{TENANT}/v2.0"),
        "https://login.microsoftonline.com/common/v2.0".to_owned(),
        String::new(),
    ] {
        refused(&json!({ "iss": issuer }), TokenError::UnknownIssuer);
    }
    for issuer in [json!(null), json!(7), json!([format!("https://sts.windows.net/{TENANT}/")])] {
        refused(&json!({ "iss": issuer }), TokenError::BadClaim("iss"));
    }
}

#[test]
fn another_cloud_is_taken_if_the_configuration_says_so() {
    let mut issuer = issuer_of(TENANT);
    issuer.v2 = format!("https://login.microsoftonline.us/{TENANT}/v2.0");
    let verifier = Verifier::new(vec![grant()], vec![issuer.clone()]);
    let claims = with(&v2_claims(), &json!({ "iss": issuer.v2 }));
    let check = |claims: &Value| {
        let token = SIGNER.sign(&header(), claims);
        verifier.check(&token, NOW, |_| Some(Arc::new(keys_of(&[&SIGNER])))).map(|_| ())
    };
    assert_eq!(check(&claims), Ok(()));
    assert_eq!(check(&v2_claims()), Err(TokenError::UnknownIssuer));
}

#[test]
fn version_and_issuer_do_not_mix() {
    refused(&json!({ "ver": "1.0" }), TokenError::WrongVersion);
    refused(&json!({ "ver": "2.1" }), TokenError::WrongVersion);
    refused(&json!({ "ver": null }), TokenError::BadClaim("ver"));
    refused(&json!({ "ver": 2.0 }), TokenError::BadClaim("ver"));
    let v1_issuer_in_v2 = json!({ "iss": format!("https://sts.windows.net/{TENANT}/") });
    refused(&v1_issuer_in_v2, TokenError::WrongVersion);
    let v2_in_v1 = with(&v1_claims(), &json!({ "ver": "2.0" }));
    assert_eq!(claimed(&v2_in_v1), Err(TokenError::WrongVersion));
}

#[test]
fn the_tenant_is_that_of_the_issuer() {
    refused(&json!({ "tid": OTHER_TENANT }), TokenError::WrongTenant);
    refused(&json!({ "tid": TENANT.to_uppercase() }), TokenError::WrongTenant);
    refused(&json!({ "tid": null }), TokenError::BadClaim("tid"));
    refused(&json!({ "tid": [TENANT] }), TokenError::BadClaim("tid"));
}

/// Keys of one tenant do not sign for another, even where both are configured.
#[test]
fn a_token_of_one_tenant_is_none_of_the_others() {
    let other = Grant { app: "other".into(), tenant: OTHER_TENANT.to_owned(), ..grant() };
    let issuers = vec![issuer_of(TENANT), issuer_of(OTHER_TENANT)];
    let verifier = Verifier::new(vec![grant(), other], issuers.clone());
    let keys = |tenant: &str| -> Option<Arc<SigningKeys>> {
        (tenant == TENANT).then(|| Arc::new(keys_of(&[&SIGNER])))
    };
    let claims =
        with(&v2_claims(), &json!({ "iss": issuer_of(OTHER_TENANT).v2, "tid": OTHER_TENANT }));
    let token = SIGNER.sign(&header(), &claims);
    let missing = TokenError::NoKeys { tenant: OTHER_TENANT.to_owned() };
    assert_eq!(verifier.check(&token, NOW, keys), Err(missing));
    let app = verifier.check(&token, NOW, |_| Some(Arc::new(keys_of(&[&SIGNER])))).unwrap();
    assert_eq!((&*app.app, &*app.tenant), ("other", OTHER_TENANT));

    let only_one = Verifier::new(vec![grant()], issuers);
    let found = only_one.check(&token, NOW, |_| Some(Arc::new(keys_of(&[&SIGNER]))));
    assert_eq!(found, Err(TokenError::UnknownTenant));
}

#[test]
fn an_audience_is_a_text_or_a_list_of_texts() {
    let uri = format!("api://{AUDIENCE}");
    for good in [json!(AUDIENCE), json!(uri), json!([AUDIENCE]), json!(["x", uri])] {
        assert!(changed(&json!({ "aud": good })).is_ok());
    }
    for wrong in [
        json!(""),
        json!(AUDIENCE.to_uppercase()),
        json!(format!("{AUDIENCE} ")),
        json!(format!("{AUDIENCE},x")),
        json!(format!("api://{AUDIENCE}/")),
        json!("https://graph.microsoft.com"),
        json!([]),
        json!(["x", "y"]),
    ] {
        refused(&json!({ "aud": wrong }), TokenError::WrongAudience);
    }
    for bad in [json!(7), json!(true), json!({ "a": AUDIENCE }), json!([AUDIENCE, 7]), json!(null)]
    {
        refused(&json!({ "aud": bad }), TokenError::BadClaim("aud"));
    }
}

#[test]
fn times_have_a_minute_of_skew() {
    let at = |now, claims: Value| {
        let desk = Desk { now, ..Desk::new() };
        desk.check(&SIGNER.sign(&header(), &with(&v2_claims(), &claims))).map(|_| ())
    };
    for (now, expected) in [
        (NOW, Ok(())),
        (NOW + 59, Ok(())),
        (NOW + 60, Err(TokenError::Expired)),
        (u64::MAX, Err(TokenError::Expired)),
    ] {
        assert_eq!(at(now, json!({ "exp": NOW })), expected, "{now}");
    }
    for (now, expected) in [
        (NOW, Ok(())),
        (NOW - 60, Ok(())),
        (NOW - 61, Err(TokenError::NotYetValid)),
        (0, Err(TokenError::NotYetValid)),
    ] {
        assert_eq!(at(now, json!({ "nbf": NOW })), expected, "{now}");
    }
    // RFC 7519 allows fractions, and no `nbf`.
    assert_eq!(at(NOW, json!({ "nbf": null, "iat": null })), Ok(()));
    assert_eq!(at(NOW, json!({ "nbf": 1_799_999_999.5, "exp": 1_800_000_100.5 })), Ok(()));
    assert_eq!(at(NOW, json!({ "exp": u64::MAX })), Ok(()));
}

/// CVE-2026-25537: a `nbf` of another type was taken for none.
#[test]
fn times_are_numbers() {
    for claim in ["exp", "nbf", "iat"] {
        for bad in [
            json!("1800003600"),
            json!(true),
            json!([NOW + 100]),
            json!({}),
            json!(-1),
            json!(1e300),
        ] {
            let claims = with(&v2_claims(), &json!({ claim: bad }));
            assert_eq!(claimed(&claims), Err(TokenError::BadClaim(claim)), "{claims}");
        }
        // `null` stands there, and is no number.
        let mut claims = v2_claims();
        claims[claim] = Value::Null;
        assert_eq!(claimed(&claims), Err(TokenError::BadClaim(claim)));
    }
    refused(&json!({ "exp": null }), TokenError::BadClaim("exp"));
}

#[test]
fn app_only_tokens_have_roles_and_delegated_ones_scopes() {
    let mut with_scope = grant();
    with_scope.scopes = vec!["llm.invoke".to_owned()];
    let (plain, scoped) = (Desk::new(), Desk::of(vec![with_scope]));
    let both = |claims: &Value| {
        let token = SIGNER.sign(&header(), claims);
        (plain.check(&token).map(|_| ()), scoped.check(&token).map(|_| ()))
    };
    let missing = || Err(TokenError::MissingRole);
    assert_eq!(both(&v2_claims()), (Ok(()), Ok(())));
    assert_eq!(both(&delegated_claims()), (missing(), Ok(())));
    // A user who was given the role.
    let user = with(&delegated_claims(), &json!({ "roles": ["LLM.Invoke"], "scp": "openid" }));
    assert_eq!(both(&user), (Ok(()), Ok(())));
    let other_scope = with(&delegated_claims(), &json!({ "scp": "openid llm.invoke2" }));
    assert_eq!(both(&other_scope), (missing(), missing()));
    // A role is no scope, and a scope no role.
    let swapped = with(&v2_claims(), &json!({ "roles": ["llm.invoke"], "scp": "LLM.Invoke" }));
    assert_eq!(both(&swapped), (missing(), missing()));
    let other_role = with(&v2_claims(), &json!({ "roles": ["LLM.Invoke2", "llm.invoke"] }));
    assert_eq!(both(&other_role), (missing(), missing()));
}

/// The most common real hole: Entra issues a token without roles to any app of the tenant.
#[test]
fn a_token_with_neither_roles_nor_scopes_is_refused() {
    for claims in [
        json!({ "roles": null }),
        json!({ "roles": [] }),
        json!({ "roles": null, "scp": "" }),
        json!({ "roles": [], "scp": "  " }),
    ] {
        refused(&claims, TokenError::NoPermission);
    }
    // An ID token: the audience is right, and so is everything else. A user's roles stand in it, too.
    for roles in [json!(null), json!(["LLM.Invoke"])] {
        let id = json!({ "roles": roles, "azp": null, "nonce": "n", "preferred_username": "a@b" });
        refused(&id, TokenError::BadClaim("azp"));
    }
}

#[test]
fn roles_and_scopes_have_one_type_each() {
    for bad in
        [json!("LLM.Invoke"), json!(["LLM.Invoke", 7]), json!({ "LLM.Invoke": true }), json!(1)]
    {
        refused(&json!({ "roles": bad }), TokenError::BadClaim("roles"));
    }
    for bad in [json!(["llm.invoke"]), json!(1), json!(true)] {
        refused(&json!({ "scp": bad }), TokenError::BadClaim("scp"));
    }
}

#[test]
fn the_client_leads_to_its_app() {
    let mut mine = grant();
    (mine.app, mine.clients) = ("mine".into(), vec![CLIENT.to_owned()]);
    let app = |grants: &[&Grant], claims: &Value| {
        let desk = Desk::of(grants.iter().copied().cloned().collect());
        desk.check(&SIGNER.sign(&header(), claims)).map(|caller| caller.app.as_ref().to_owned())
    };
    let other = with(&v2_claims(), &json!({ "azp": "x" }));
    let none = with(&v2_claims(), &json!({ "azp": null }));
    assert_eq!(app(&[&grant(), &mine], &v2_claims()).unwrap(), "mine");
    assert_eq!(app(&[&grant(), &mine], &v1_claims()).unwrap(), "mine");
    assert_eq!(app(&[&grant(), &mine], &other).unwrap(), "chat");
    assert_eq!(app(&[&mine], &other), Err(TokenError::ClientNotPermitted));
    assert_eq!(app(&[&mine], &none), Err(TokenError::BadClaim("azp")));
    // Each version has its own claim, and the other one counts for nothing.
    let swapped = with(&v2_claims(), &json!({ "azp": "x", "appid": CLIENT }));
    assert_eq!(app(&[&mine], &swapped), Err(TokenError::ClientNotPermitted));
    let swapped = with(&v1_claims(), &json!({ "appid": "x", "azp": CLIENT }));
    assert_eq!(app(&[&mine], &swapped), Err(TokenError::ClientNotPermitted));
    for bad in [json!(7), json!(""), json!("a b"), json!("a\u{0}"), json!("x".repeat(129))] {
        refused(&json!({ "azp": bad }), TokenError::BadClaim("azp"));
    }
}

#[test]
fn the_probe_role_is_a_right_beside_another() {
    let probe = |roles: &[&str]| changed(&json!({ "roles": roles })).map(|caller| caller.may_probe);
    assert_eq!(probe(&["LLM.Invoke"]), Ok(false));
    assert_eq!(probe(&["Probe.Execute", "LLM.Invoke"]), Ok(true));
    assert_eq!(probe(&["probe.execute", "LLM.Invoke"]), Ok(false));
    assert_eq!(probe(&["Probe.Execute"]), Err(TokenError::MissingRole));
    let scoped = json!({ "scp": "Probe.Execute", "roles": ["LLM.Invoke"] });
    assert!(!changed(&scoped).unwrap().may_probe);
}

/// These may be put into headers and logs.
#[test]
fn only_plain_names_are_handed_on() {
    let named = |claims: Value| {
        let caller = changed(&claims).unwrap();
        (caller.object_id.clone(), caller.subject.clone())
    };
    let long = "x".repeat(128);
    assert_eq!(named(json!({ "oid": long, "sub": "s" })), (Some(long), Some("s".to_owned())));
    for bad in [
        json!("a b"),
        json!("a\r\nX-Evil: 1"),
        json!("\u{e9}"),
        json!("a\u{0}b"),
        json!(""),
        json!("x".repeat(129)),
        json!(7),
        json!(["a"]),
        json!(null),
    ] {
        assert_eq!(named(json!({ "oid": bad, "sub": bad })), (None, None), "{bad}");
    }
}

/// Groups beyond 200 become a reference that would have to be fetched. Groups are not used, so it is not.
#[test]
fn an_overage_token_is_a_token() {
    let overage = json!({
        "_claim_names": { "groups": "src1" },
        "_claim_sources": { "src1": { "endpoint": "https://graph.windows.net/x/users/y/getMemberObjects" } },
        "hasgroups": true,
    });
    assert!(changed(&overage).is_ok());
    let groups: Vec<&str> = vec![TENANT; 199];
    assert!(changed(&json!({ "groups": groups })).is_ok());
}
