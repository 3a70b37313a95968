//! `inspect` says of a token what the verifier does with it, and why.

use crate::support::tokens::{
    AUDIENCE, CLIENT, NOW, OTHER_SIGNER, SIGNER, TENANT, delegated_claims, encode, grant, header,
    issuer_of, keys_of, v1_claims, v2_claims, with,
};
use firstlight::auth::grant::Grant;
use firstlight::auth::inspect::{Step, Verdict, inspect};
use firstlight::auth::signing_keys::SigningKeys;
use firstlight::auth::token_error::TokenError;
use firstlight::auth::verifier::Verifier;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

static KEYS: LazyLock<Arc<SigningKeys>> = LazyLock::new(|| Arc::new(keys_of(&[&SIGNER])));

fn grants() -> Vec<Grant> {
    let mut mine = grant();
    (mine.app, mine.clients) = ("mine".into(), vec![CLIENT.to_owned()]);
    mine.scopes = vec!["llm.invoke".to_owned()];
    vec![grant(), mine]
}

fn steps(token: &str, keys: Option<&Arc<SigningKeys>>) -> Vec<Step> {
    inspect(token, &grants(), &[issuer_of(TENANT)], &|_| keys.cloned(), NOW)
}

fn first_refusal(steps: &[Step]) -> Option<TokenError> {
    steps.iter().find_map(|step| match &step.verdict {
        Verdict::Refused(why) => Some(why.clone()),
        Verdict::Ok | Verdict::Unknown => None,
    })
}

fn step<'s>(steps: &'s [Step], what: &str) -> &'s Step {
    steps.iter().find(|step| step.what == what).unwrap()
}

#[test]
fn a_good_token_fulfils_every_check() {
    let steps = steps(&SIGNER.sign(&header(), &v2_claims()), Some(&KEYS));
    assert_eq!(steps.len(), 20);
    for step in &steps {
        assert!(step.verdict == Verdict::Ok && step.advice.is_empty(), "{step:?}");
    }
    assert_eq!(step(&steps, "app").found, "mine");
    assert_eq!(step(&steps, "end").found, "exp 1800003600 = 2027-01-15T09:00:00Z, in 1h");
    assert_eq!(step(&steps, "audience").found, format!("aud \"{AUDIENCE}\""));
}

#[test]
fn it_goes_on_after_a_refusal() {
    let claims = json!({ "exp": NOW - 100, "aud": "api://other", "roles": ["Other"] });
    let token = OTHER_SIGNER.sign(&header(), &with(&v2_claims(), &claims));
    let steps = steps(&token, Some(&KEYS));
    let refused: Vec<(&str, &str)> = steps
        .iter()
        .filter_map(|step| match &step.verdict {
            Verdict::Refused(why) => Some((step.what, why.reason())),
            Verdict::Ok | Verdict::Unknown => None,
        })
        .collect();
    let expected =
        [("end", "expired"), ("audience", "wrong_audience"), ("signature", "bad_signature")];
    assert_eq!(refused, expected);
    assert_eq!(step(&steps, "app").verdict, Verdict::Unknown);
    let advice = &step(&steps, "audience").advice;
    assert!(advice.contains(AUDIENCE) && advice.contains(&format!("api://{AUDIENCE}")), "{advice}");
    assert!(step(&steps, "end").found.contains("1m 40s ago"));
}

#[test]
fn without_keys_the_signature_is_unknown_and_the_rest_is_told() {
    let steps = steps(&OTHER_SIGNER.sign(&header(), &v2_claims()), None);
    assert_eq!(first_refusal(&steps), None);
    let unknown: Vec<&str> =
        steps.iter().filter(|s| s.verdict == Verdict::Unknown).map(|s| s.what).collect();
    assert_eq!(unknown, ["signing key", "signature"]);
    assert_eq!(step(&steps, "app").found, "mine");
}

#[test]
fn a_role_that_lacks_is_named() {
    let claims = with(&v2_claims(), &json!({ "roles": ["Other"] }));
    let steps = steps(&SIGNER.sign(&header(), &claims), Some(&KEYS));
    let app = step(&steps, "app");
    assert_eq!(app.verdict, Verdict::Refused(TokenError::MissingRole));
    assert!(app.advice.contains("LLM.Invoke") && app.advice.contains("llm.invoke"), "{app:?}");
}

#[test]
fn what_is_shown_is_short_and_plain_and_never_the_signature() {
    let nasty = "\u{1b}]0;title\u{7}\r\n\u{9b}".repeat(200);
    let claims = with(&v2_claims(), &json!({ "aud": nasty, "iss": nasty }));
    let token = SIGNER.sign(&header(), &claims);
    let all = format!("{:?}", steps(&token, Some(&KEYS)));
    assert!(!all.contains(token.rsplit_once('.').unwrap().1));
    for step in steps(&token, Some(&KEYS)) {
        assert!(step.found.chars().count() <= 310 && !step.found.contains(char::is_control));
        assert!(!step.advice.contains(char::is_control));
    }
}

#[test]
fn every_refusal_says_what_to_do() {
    for change in changes() {
        for step in steps(&change.token(), Some(&KEYS)) {
            assert_eq!(step.advice.is_empty(), step.verdict == Verdict::Ok, "{step:?}");
        }
    }
}

/// One thing that is other than in a good token.
#[derive(Clone, Debug)]
enum Change {
    Header(Value),
    Claims(Value),
    Whole(Value),
    HeaderText(&'static str),
    ClaimsText(&'static str),
    Token(&'static str),
    Signer,
}

/// Everything that the rules speak of.
fn changes() -> Vec<Change> {
    let header = [
        json!({ "alg": "none" }),
        json!({ "alg": "HS256" }),
        json!({ "typ": "JWE" }),
        json!({ "typ": null }),
        json!({ "kid": null }),
        json!({ "kid": "key-2" }),
        json!({ "kid": "a\u{0}" }),
        json!({ "jku": "x" }),
        json!({ "crit": [] }),
        json!({ "b64": false }),
        json!({ "nonce": "n" }),
        json!({ "p": "x".repeat(1_100) }),
    ];
    let claims = [
        json!({ "iss": "x" }),
        json!({ "iss": 7 }),
        json!({ "iss": issuer_of(TENANT).v1 }),
        json!({ "ver": "1.0" }),
        json!({ "tid": "x" }),
        json!({ "exp": NOW - 60 }),
        json!({ "exp": NOW - 59 }),
        json!({ "exp": "9999999999" }),
        json!({ "exp": null }),
        json!({ "nbf": NOW + 61 }),
        json!({ "nbf": NOW + 60 }),
        json!({ "nbf": "0" }),
        json!({ "iat": [] }),
        json!({ "aud": "x" }),
        json!({ "aud": ["x", AUDIENCE] }),
        json!({ "aud": 7 }),
        json!({ "azp": null }),
        json!({ "azp": "x" }),
        json!({ "azp": 7 }),
        json!({ "roles": null }),
        json!({ "roles": ["Other"] }),
        json!({ "roles": "LLM.Invoke" }),
        json!({ "scp": "llm.invoke" }),
        json!({ "scp": "other" }),
        json!({ "scp": [] }),
        json!({ "roles": ["Probe.Execute"] }),
        json!({ "roles": ["LLM.Invoke", "Probe.Execute"] }),
        json!({ "oid": 7, "sub": "a b" }),
        json!({ "hasgroups": true }),
        json!({ "p": "x".repeat(12_000) }),
    ];
    header
        .into_iter()
        .map(Change::Header)
        .chain(claims.into_iter().map(Change::Claims))
        .chain([v1_claims(), delegated_claims()].map(Change::Whole))
        .chain(["7", "{", r#"{"kid":"a","kid":"b"}"#].map(Change::HeaderText))
        .chain(["[]", "{", r#"{"aud":"a","aud":"b"}"#, "{}"].map(Change::ClaimsText))
        .chain(["", "x", "a.b.c.d.e", "..", "eyJ.é.x"].map(Change::Token))
        .chain([Change::Signer])
        .collect()
}

impl Change {
    fn token(&self) -> String {
        made(std::slice::from_ref(self))
    }
}

/// A good token with some changes.
fn made(changes: &[Change]) -> String {
    let (mut head, mut claims) = (header(), v2_claims());
    let (mut head_text, mut claims_text, mut whole) = (None, None, None);
    let mut signer = &*SIGNER;
    for change in changes {
        match change {
            Change::Header(members) => head = with(&head, members),
            Change::Claims(members) => claims = with(&claims, members),
            Change::Whole(all) => claims = all.clone(),
            Change::HeaderText(text) => head_text = Some(*text),
            Change::ClaimsText(text) => claims_text = Some(*text),
            Change::Token(text) => whole = Some(*text),
            Change::Signer => signer = &OTHER_SIGNER,
        }
    }
    let (head, claims) = (head.to_string(), claims.to_string());
    let signed = signer.sign_texts(head_text.unwrap_or(&head), claims_text.unwrap_or(&claims));
    whole.map_or(signed, str::to_owned)
}

/// The verifier and `inspect` are of one mind: a token is taken if no step is refused, and else for the reason of
/// the first that is.
fn agree(token: &str, now: u64) -> Result<(), TestCaseError> {
    let issuers = vec![issuer_of(TENANT)];
    let verifier = Verifier::new(grants(), issuers.clone());
    let verdict = verifier.check(token, now, |_| Some(Arc::clone(&KEYS)));
    let again = verifier.check(token, now, |_| Some(Arc::clone(&KEYS)));
    prop_assert_eq!(&verdict, &again);
    let steps = inspect(token, &grants(), &issuers, &|_| Some(Arc::clone(&KEYS)), now);
    let reason = first_refusal(&steps);
    prop_assert_eq!(verdict.as_ref().err(), reason.as_ref());
    let all_fulfilled = steps.iter().all(|step| step.verdict == Verdict::Ok);
    prop_assert_eq!(verdict.is_ok(), all_fulfilled);
    if let Ok(caller) = verdict {
        prop_assert!(steps.last().unwrap().found.starts_with(&*caller.app));
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_verifier_and_inspect_agree_on_changed_tokens(
        changes in prop::collection::vec(prop::sample::select(changes()), 0..4),
        now in prop::sample::select(vec![0, NOW - 3600, NOW - 60, NOW, NOW + 59, NOW + 3659, NOW + 3660, u64::MAX]),
    ) {
        agree(&made(&changes), now)?;
    }

    #[test]
    fn they_agree_on_damaged_tokens(place in 0_usize..900, byte in 0_u8..128, cut in any::<bool>()) {
        static GOOD: LazyLock<String> = LazyLock::new(|| SIGNER.sign(&header(), &v2_claims()));
        let mut token = GOOD.clone().into_bytes();
        let place = place % token.len();
        if cut { token.truncate(place) } else { token[place] = byte }
        agree(&String::from_utf8(token).unwrap(), NOW)?;
    }

    #[test]
    fn they_agree_on_any_parts(header in any::<String>(), claims in any::<String>(), signature in any::<Vec<u8>>()) {
        agree(&format!("{}.{}.{}", encode(&header), encode(&claims), encode(&signature)), NOW)?;
        agree(&SIGNER.sign_texts(&header, &claims), NOW)?;
        agree(&header, NOW)?;
    }
}
