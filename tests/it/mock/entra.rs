//! The fake Entra over its socket: its documents, its tokens, how keys rotate, and how it fails.

use crate::mock::client;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use firstlight::mock::{
    Entra, EntraApi, EntraEndpoint, EntraFault, EntraSpec, Outcome, TokenVersion,
};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::time::Duration;

const OTHER_TENANT: &str = "b3f1c2d4-0a9b-4e8d-9c7f-6a5b4c3d2e1f";

/// A fake Entra with two tenants and an API of each version, and a client to ask it with.
struct Office {
    entra: Entra,
    client: Client,
}

impl Office {
    async fn open() -> Self {
        let mut spec = EntraSpec::default();
        spec.tenants.push(OTHER_TENANT.to_owned());
        spec.apis.push(EntraApi {
            id: "v1-api".to_owned(),
            uri: "api://v1-api".to_owned(),
            version: TokenVersion::V1,
            roles: Vec::new(),
        });
        spec.clients[0].federated_tokens = Some(vec!["fits".to_owned()]);
        Self { entra: Entra::start(spec).await.unwrap(), client: client(|builder| builder) }
    }

    async fn get(&self, path: &str) -> reqwest::Result<Response> {
        self.client.get(format!("{}{path}", self.entra.authority())).send().await
    }

    async fn document(&self, path: &str) -> Value {
        self.get(path).await.unwrap().json().await.unwrap()
    }

    /// Follows the discovery document to the keys, and checks a token with the one that it names.
    async fn checked(&self, token: &str, audience: &str) -> Result<Value, String> {
        let discovery = self.document(&format!("/{}/v2.0{WELL_KNOWN}", EntraSpec::TENANT)).await;
        let keys = self.client.get(discovery["jwks_uri"].as_str().unwrap()).send().await.unwrap();
        let keys: JwkSet = keys.json().await.unwrap();
        let kid = decode_header(token).unwrap().kid.unwrap();
        let key = keys.find(&kid).ok_or("unknown key")?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[audience]);
        validation.validate_nbf = true;
        let decoded = decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation);
        decoded.map(|token| token.claims).map_err(|error| error.to_string())
    }

    async fn ask(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}/{}{path}", self.entra.authority(), EntraSpec::TENANT);
        let body: String =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let response = self.client.post(url).body(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The token endpoint's answer to the usual form, changed by `changes`; an empty text takes a field away.
    async fn token(&self, changes: &[(&str, &str)]) -> (u16, Value) {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", EntraSpec::CLIENT),
            ("client_secret", EntraSpec::SECRET),
            ("scope", SCOPE),
        ];
        for (name, value) in changes {
            form.retain(|(known, _)| known != name);
            form.push((name, value));
        }
        self.ask("/oauth2/v2.0/token", &form).await
    }
}

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
const SCOPE: &str = "api://c2d4e6f8-1a3b-4c5d-8e7f-9a0b1c2d3e4f/.default";

fn claims(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode_claims(token).unwrap()
}

#[tokio::test]
async fn the_discovery_documents_say_where_everything_is() {
    let office = Office::open().await;
    let base = office.entra.authority();
    for (tenant, version, prefix, issuer) in [
        (
            EntraSpec::TENANT,
            TokenVersion::V2,
            "/v2.0",
            format!("{base}/{}/v2.0", EntraSpec::TENANT),
        ),
        (OTHER_TENANT, TokenVersion::V1, "", format!("{base}/{OTHER_TENANT}/")),
    ] {
        let response = office.get(&format!("/{tenant}{prefix}{WELL_KNOWN}")).await.unwrap();
        assert_eq!(response.headers()["cache-control"], "max-age=86400, private");
        let document: Value = response.json().await.unwrap();
        assert_eq!(document["issuer"], issuer);
        assert_eq!(office.entra.issuer(tenant, version), issuer);
        assert_eq!(document["token_endpoint"], format!("{base}/{tenant}/oauth2{prefix}/token"));
        assert_eq!(document["jwks_uri"], format!("{base}/{tenant}/discovery{prefix}/keys"));
        assert_eq!(document["id_token_signing_alg_values_supported"], json!(["RS256"]));
    }
    let upper = format!("/{}/v2.0{WELL_KNOWN}", OTHER_TENANT.to_uppercase());
    assert_eq!(office.get(&upper).await.unwrap().status(), 200);
    let unknown = office.get(&format!("/common/v2.0{WELL_KNOWN}")).await.unwrap();
    assert_eq!(unknown.status(), 400);
    let unknown: Value = unknown.json().await.unwrap();
    assert_eq!(
        (&unknown["error"], &unknown["error_codes"][0]),
        (&json!("invalid_tenant"), &json!(90_002))
    );
    assert_eq!(office.get("/").await.unwrap().status(), 404);
}

#[tokio::test]
async fn the_keys_are_a_web_key_set() {
    let office = Office::open().await;
    let set = office.document(&format!("/{OTHER_TENANT}/discovery/v2.0/keys")).await;
    assert_eq!(set, office.entra.key_set(OTHER_TENANT));
    let key = &set["keys"][0];
    assert_eq!(
        (&key["kty"], &key["use"], &key["e"]),
        (&json!("RSA"), &json!("sig"), &json!("AQAB"))
    );
    assert_eq!(key["kid"], office.entra.key_ids()[0]);
    assert_eq!(key["issuer"], office.entra.issuer(OTHER_TENANT, TokenVersion::V2));
    // 2048 bits in base64.
    assert_eq!(key["n"].as_str().unwrap().len(), 342);
    let first = office.document(&format!("/{OTHER_TENANT}/discovery/keys")).await;
    assert_eq!((&first["keys"][0]["n"], first["keys"][0].get("issuer")), (&key["n"], None));
}

#[tokio::test]
async fn tokens_of_both_versions_are_valid() {
    let office = Office::open().await;
    let second = office.checked(&office.entra.issue(json!({})), EntraSpec::API).await.unwrap();
    assert_eq!(second["iss"], office.entra.issuer(EntraSpec::TENANT, TokenVersion::V2));
    assert_eq!((&second["ver"], &second["azp"]), (&json!("2.0"), &json!(EntraSpec::CLIENT)));
    assert_eq!(
        (&second["roles"], &second["tid"]),
        (&json!([EntraSpec::ROLE]), &json!(EntraSpec::TENANT))
    );
    assert_eq!(
        (&second["oid"], &second["sub"]),
        (&json!(EntraSpec::OBJECT), &json!(EntraSpec::OBJECT))
    );

    let order = json!({"ver": "1.0", "tid": OTHER_TENANT, "roles": null, "scp": "a b"});
    let first = office.checked(&office.entra.issue(order), EntraSpec::API_URI).await.unwrap();
    assert_eq!(first["iss"], office.entra.issuer(OTHER_TENANT, TokenVersion::V1));
    assert_eq!((&first["appid"], &first["idp"]), (&json!(EntraSpec::CLIENT), &first["iss"]));
    assert_eq!((first.get("roles"), &first["scp"], first.get("azp")), (None, &json!("a b"), None));
}

/// A part of a token that is JSON.
fn read(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn odd_tokens_are_made_as_they_are_ordered() {
    let office = Office::open().await;
    let odd =
        office.entra.issue_with(json!({"kid": null, "alg": "none", "crit": ["x"]}), json!("text"));
    let parts: Vec<Value> = odd.split('.').take(2).map(read).collect();
    let kid = &office.entra.key_ids()[0];
    let header = json!({"typ": "JWT", "alg": "none", "crit": ["x"], "x5t": kid});
    assert_eq!(parts, [header, json!("text")]);
    let expired = office.entra.issue(json!({"exp": 1}));
    let refused = office.checked(&expired, EntraSpec::API).await.unwrap_err();
    assert_eq!(refused, "ExpiredSignature");
    let raw = office.entra.sign(r#"{"alg":"RS256"}"#, r#"{"aud":"a","aud":"b"}"#);
    assert_eq!(raw.split('.').nth(1).unwrap(), "eyJhdWQiOiJhIiwiYXVkIjoiYiJ9");
}

#[tokio::test]
async fn keys_rotate() {
    let office = Office::open().await;
    let check = async |token: &str| office.checked(token, EntraSpec::API).await.map(drop);
    let old = office.entra.issue(json!({}));
    let first = office.entra.key_ids();
    let second = office.entra.rotate().await.unwrap();
    let new = office.entra.issue(json!({}));
    assert_eq!(decode_header(&new).unwrap().kid.as_ref(), Some(&second));
    assert_eq!(office.entra.key_ids(), [first[0].clone(), second.clone()]);
    assert_eq!((check(&old).await, check(&new).await), (Ok(()), Ok(())));

    office.entra.retire_old();
    assert_eq!((check(&old).await, check(&new).await), (Err("unknown key".to_owned()), Ok(())));

    let third = office.entra.rotate_ahead().await.unwrap();
    let early = office.entra.issue(json!({}));
    assert_eq!(office.entra.key_ids(), std::slice::from_ref(&second));
    assert_eq!(check(&early).await, Err("unknown key".to_owned()));
    office.entra.publish();
    assert_eq!(office.entra.key_ids(), [second, third]);
    assert_eq!(check(&early).await, Ok(()));

    // A key id that belongs to another key.
    let forged = office.entra.issue_with(json!({"kid": office.entra.key_ids()[0]}), json!({}));
    assert_eq!(check(&forged).await, Err("InvalidSignature".to_owned()));
}

#[tokio::test]
async fn a_client_gets_a_token_for_what_it_asks() {
    let office = Office::open().await;
    let (status, answer) = office.token(&[]).await;
    assert_eq!((status, &answer["token_type"]), (200, &json!("Bearer")));
    assert_eq!(answer["expires_in"], 3_599);
    let token = answer["access_token"].as_str().unwrap();
    let own = office.checked(token, EntraSpec::API).await.unwrap();
    assert_eq!((&own["azpacr"], &own["roles"]), (&json!("1"), &json!([EntraSpec::ROLE])));

    // Which version a token has, the API says; a service of Azure takes the first.
    let check = async |scope: &str, version: &str, audience: &str| {
        let (_, answer) = office.token(&[("scope", scope)]).await;
        let claims = claims(answer["access_token"].as_str().unwrap());
        assert_eq!(
            (&claims["ver"], &claims["aud"]),
            (&json!(version), &json!(audience)),
            "{scope}"
        );
    };
    check("api://v1-api/.default", "1.0", "api://v1-api").await;
    check("https://ai.azure.com/.default", "1.0", "https://ai.azure.com").await;

    let bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let assertion =
        [("client_secret", ""), ("client_assertion", "fits"), ("client_assertion_type", bearer)];
    let (_, answer) = office.token(&assertion).await;
    assert_eq!(claims(answer["access_token"].as_str().unwrap())["azpacr"], "2");

    office.entra.set_lifetime(Duration::from_mins(1));
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", EntraSpec::CLIENT),
        ("client_secret", EntraSpec::SECRET),
        ("resource", EntraSpec::API),
    ];
    let (_, answer) = office.ask("/oauth2/token", &form).await;
    let exp = &claims(answer["access_token"].as_str().unwrap())["exp"];
    assert_eq!(
        (&answer["expires_in"], &answer["expires_on"]),
        (&json!("59"), &json!(exp.to_string()))
    );
}

#[tokio::test]
async fn a_secret_may_stand_in_the_authorization() {
    let office = Office::open().await;
    let url = format!("{}/{}/oauth2/v2.0/token", office.entra.authority(), EntraSpec::TENANT);
    let ask = async |secret: &str| {
        let body = format!("grant_type=client_credentials&scope={SCOPE}");
        let request = office.client.post(&url).basic_auth(EntraSpec::CLIENT, Some(secret));
        request.body(body).send().await.unwrap().status().as_u16()
    };
    assert_eq!((ask(EntraSpec::SECRET).await, ask("other").await), (200, 401));
}

#[tokio::test]
async fn refusals_have_entras_form_and_number() {
    let office = Office::open().await;
    let check = async |changes: &[(&str, &str)], status: u16, error: &str, number: u32| {
        let (found, answer) = office.token(changes).await;
        assert_eq!((found, &answer["error"]), (status, &json!(error)), "{changes:?}: {answer}");
        assert_eq!(answer["error_codes"], json!([number]));
        let told = answer["error_description"].as_str().unwrap();
        assert!(told.starts_with(&format!("AADSTS{number}: ")), "{told}");
        for field in ["timestamp", "trace_id", "correlation_id", "error_uri"] {
            assert!(answer[field].is_string(), "{field}");
        }
    };
    check(&[("client_secret", "wrong")], 401, "invalid_client", 7_000_215).await;
    check(&[("client_secret", "")], 401, "invalid_client", 7_000_216).await;
    check(&[("client_id", "nobody")], 400, "unauthorized_client", 700_016).await;
    check(&[("grant_type", "password")], 400, "unsupported_grant_type", 70_003).await;
    check(&[("grant_type", "")], 400, "invalid_request", 900_144).await;
    check(&[("scope", EntraSpec::API_URI)], 400, "invalid_scope", 1_002_012).await;
    check(&[("scope", "api://other/.default")], 400, "invalid_resource", 500_011).await;
    check(&[("client_assertion", "x")], 400, "invalid_request", 900_144).await;
    let bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let assertion = [("client_assertion", "misfit"), ("client_assertion_type", bearer)];
    check(&assertion, 401, "invalid_client", 700_213).await;
    assert_eq!(office.entra.counters(EntraEndpoint::Token).rejected, 9);
}

#[tokio::test]
async fn each_endpoint_fails_for_itself() {
    let office = Office::open().await;
    let path = format!("/{}/discovery/v2.0/keys", EntraSpec::TENANT);
    let fault = |fault: EntraFault| office.entra.set_fault(EntraEndpoint::Keys, fault).unwrap();

    fault(EntraFault::Down);
    let reset = office.get(&path).await.unwrap_err();
    assert!(reset.is_request() && !reset.is_timeout(), "{reset:?}");
    fault(EntraFault::Status(503));
    let response = office.get(&path).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.json::<Value>().await.unwrap()["error"], "temporarily_unavailable");
    fault(EntraFault::Garbage);
    let garbage = office.get(&path).await.unwrap().bytes().await.unwrap();
    assert!(serde_json::from_slice::<Value>(&garbage).is_err());
    fault(EntraFault::Huge);
    let huge = office.get(&path).await.unwrap().bytes().await.unwrap();
    let document: Value = serde_json::from_slice(&huge).unwrap();
    assert!(huge.len() > 4_000_000 && document["keys"].as_array().unwrap().len() == 1);
    fault(EntraFault::EmptyKeys);
    assert_eq!(office.document(&path).await, json!({"keys": []}));
    fault(EntraFault::WrongIssuer);
    let own = office.entra.issuer(EntraSpec::TENANT, TokenVersion::V2);
    assert_ne!(office.document(&path).await["keys"][0]["issuer"], own);
    fault(EntraFault::None);
    assert_eq!(office.document(&path).await["keys"][0]["issuer"], own);

    let counters = office.entra.counters(EntraEndpoint::Keys);
    assert_eq!((counters.requests, counters.faulted, counters.completed), (7, 6, 1));
    assert_eq!(office.entra.requests(EntraEndpoint::Keys)[0].path, path);
    assert_eq!(office.entra.counters(EntraEndpoint::Discovery).requests, 0);
    assert_eq!(office.token(&[]).await.0, 200);
    office.entra.reset();
    assert_eq!(office.entra.counters(EntraEndpoint::Keys).requests, 0);
}

#[tokio::test]
async fn a_wrong_issuer_is_in_the_discovery_and_in_tokens_too() {
    let office = Office::open().await;
    office.entra.set_fault_everywhere(EntraFault::WrongIssuer).unwrap();
    let own = office.entra.issuer(EntraSpec::TENANT, TokenVersion::V2);
    let document = office.document(&format!("/{}/v2.0{WELL_KNOWN}", EntraSpec::TENANT)).await;
    assert_ne!(document["issuer"], own);
    let (_, answer) = office.token(&[]).await;
    assert_ne!(claims(answer["access_token"].as_str().unwrap())["iss"], own);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_left() {
    let office = Office::open().await;
    let url = format!("{}/{}/discovery/keys", office.entra.authority(), EntraSpec::TENANT);
    for fault in [EntraFault::Hang, EntraFault::Slow(Duration::from_hours(1))] {
        office.entra.reset();
        office.entra.set_fault(EntraEndpoint::Keys, fault).unwrap();
        let waiting = tokio::spawn(office.client.get(&url).send());
        let at = EntraEndpoint::Keys;
        office.entra.wait_until(at, |counters| counters.in_flight == 1).await.unwrap();
        waiting.abort();
        office.entra.wait_until(at, |counters| counters.cancelled_by_client == 1).await.unwrap();
        let recorded = office.entra.requests(at).pop().unwrap();
        assert_eq!(recorded.outcome, Some(Outcome::CancelledByClient));
    }
    office
        .entra
        .set_fault(EntraEndpoint::Keys, EntraFault::Slow(Duration::from_millis(1)))
        .unwrap();
    assert_eq!(
        office.get(&format!("/{}/discovery/keys", EntraSpec::TENANT)).await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let check = async |spec: EntraSpec, problem: &str| {
        let error = Entra::start(spec).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(problem), "{error}");
    };
    check(EntraSpec { listen: ([0, 0, 0, 0], 0).into(), ..EntraSpec::default() }, "loopback").await;
    check(EntraSpec { tenants: vec!["x".to_owned()], ..EntraSpec::default() }, "no GUID").await;
    let office = Office::open().await;
    let refused = office.entra.set_fault_everywhere(EntraFault::EmptyKeys).unwrap_err();
    assert!(refused.to_string().contains("endpoint keys only"));
    let address = office.entra.address();
    drop(office);
    let refused = async || match tokio::net::TcpStream::connect(address).await {
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    };
    while !refused().await {
        tokio::task::yield_now().await;
    }
}
