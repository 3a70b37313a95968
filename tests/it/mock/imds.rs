//! The fake IMDS over its socket: who gets a token, who does not, and how it fails.

use crate::mock::client;
use firstlight::mock::{Entra, EntraSpec, Imds, ImdsFault, ImdsSpec};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::time::Duration;

const RESOURCE: &str = "https://cognitiveservices.azure.com";

/// A machine with a metadata service, and a client on it.
struct Machine {
    entra: Entra,
    imds: Imds,
    client: Client,
}

impl Machine {
    async fn boot() -> Self {
        let entra = Entra::start(EntraSpec::default()).await.unwrap();
        let imds = Imds::start(ImdsSpec::default(), entra.clone()).await.unwrap();
        Self { entra, imds, client: client(|builder| builder) }
    }

    fn request(&self, query: &str) -> RequestBuilder {
        let url = format!("{}/metadata/identity/oauth2/token?{query}", self.imds.url());
        self.client.get(url)
    }

    async fn ask(&self, query: &str) -> (u16, Value) {
        let request = self.request(&format!("api-version=2018-02-01&resource={RESOURCE}{query}"));
        answered(request.header("Metadata", "true")).await
    }
}

async fn answered(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn an_identity_gets_a_token_with_numbers_as_texts() {
    let machine = Machine::boot().await;
    let (status, answer) = machine.ask("").await;
    assert_eq!((status, &answer["client_id"]), (200, &json!(ImdsSpec::SYSTEM)));
    assert_eq!((&answer["expires_in"], &answer["token_type"]), (&json!("86399"), &json!("Bearer")));
    assert_eq!(answer["resource"], RESOURCE);
    let token = answer["access_token"].as_str().unwrap();
    assert!(machine.entra.accepts(token, &[RESOURCE.to_owned()]));
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(token).unwrap();
    assert_eq!(answer["expires_on"], claims["exp"].to_string());
    assert_eq!((&claims["aud"], &claims["ver"]), (&json!(RESOURCE), &json!("1.0")));
    assert_eq!((&claims["appid"], &claims["appidacr"]), (&json!(ImdsSpec::SYSTEM), &json!("2")));

    machine.imds.set_lifetime(Duration::from_mins(5));
    let (_, answer) = machine.ask(&format!("&mi_res_id={}", ImdsSpec::ASSIGNED_RESOURCE)).await;
    assert_eq!(
        (&answer["client_id"], &answer["expires_in"]),
        (&json!(ImdsSpec::ASSIGNED), &json!("299"))
    );
    let seen = machine.imds.wait_until(|counters| counters.completed == 2).await.unwrap();
    assert_eq!(seen.requests, 2);
    assert_eq!(machine.imds.requests()[0].header("metadata"), Some("true"));
}

#[tokio::test]
async fn who_asks_wrongly_gets_nothing() {
    let machine = Machine::boot().await;
    let good = format!("api-version=2019-08-01&resource={RESOURCE}");
    let check = async |request: RequestBuilder, status: u16, error: &str, told: &str| {
        let (found, answer) = answered(request).await;
        assert_eq!((found, &answer["error"]), (status, &json!(error)), "{answer}");
        assert!(answer["error_description"].as_str().unwrap().contains(told), "{answer}");
    };
    let plain = machine.request(&good);
    check(plain, 400, "bad_request_102", "Required metadata header not specified").await;
    let forwarded =
        machine.request(&good).header("metadata", "true").header("x-forwarded-for", "10.0.0.1");
    check(forwarded, 400, "bad_request_102", "X-Forwarded-For").await;
    let stranger =
        machine.request(&format!("{good}&client_id=stranger")).header("metadata", "true");
    check(stranger, 400, "invalid_request", "Identity not found").await;
    for (query, told) in [("resource=r", "api-version"), ("api-version=2018-02-01", "'resource'")] {
        let request = machine.request(query).header("metadata", "true");
        check(request, 400, "invalid_request", told).await;
    }
    let elsewhere = machine.client.get(format!("{}/metadata/instance", machine.imds.url()));
    check(elsewhere.header("metadata", "true"), 404, "not_found", "").await;
    assert_eq!(machine.imds.counters().rejected, 6);
}

#[tokio::test]
async fn it_fails_as_it_is_told() {
    let machine = Machine::boot().await;
    for status in [404, 410, 429, 500, 503] {
        machine.imds.set_fault(ImdsFault::Status(status)).unwrap();
        let (found, answer) = machine.ask("").await;
        assert!(found == status && answer["error"].is_string(), "{found} {answer}");
    }
    machine.imds.set_fault(ImdsFault::Garbage).unwrap();
    let query = format!("api-version=2018-02-01&resource={RESOURCE}");
    let request = || machine.request(&query).header("metadata", "true");
    assert!(request().send().await.unwrap().json::<Value>().await.is_err());
    machine.imds.set_fault(ImdsFault::Down).unwrap();
    assert!(request().send().await.unwrap_err().is_request());
    machine.imds.set_fault(ImdsFault::Slow(Duration::from_millis(1))).unwrap();
    assert_eq!(machine.ask("").await.0, 200);

    machine.imds.set_fault(ImdsFault::Hang).unwrap();
    let waiting = tokio::spawn(request().send());
    machine.imds.wait_until(|counters| counters.in_flight == 1).await.unwrap();
    waiting.abort();
    machine.imds.wait_until(|counters| counters.cancelled_by_client == 1).await.unwrap();
    assert!(machine.imds.set_fault(ImdsFault::Status(200)).is_err());
    assert_eq!(machine.imds.fault(), ImdsFault::Hang);
    let seen = machine.imds.counters();
    assert_eq!((seen.faulted, seen.completed), (7, 1));
}
