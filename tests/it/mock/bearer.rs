//! Backends that take tokens, and how Entra and IMDS are steered beside them.

use crate::mock::{CHAT, asked, client};
use firstlight::mock::{
    BackendSpec, BearerSpec, Behaviour, Beside, Entra, EntraSpec, EntraStatus, Fault,
    IDENTITY_HELP, Imds, ImdsSpec, ImdsStatus, Mock,
};
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// A backend beside an Entra and an IMDS.
struct Cloud {
    entra: Entra,
    mock: Mock,
    client: Client,
}

impl Cloud {
    async fn of(api_key: Option<&str>) -> Self {
        let entra = Entra::start(EntraSpec::default()).await.unwrap();
        let imds = Imds::start(ImdsSpec::default(), entra.clone()).await.unwrap();
        let spec = BackendSpec {
            api_key: api_key.map(str::to_owned),
            bearer: Some(BearerSpec::default()),
            ..BackendSpec::local("a", Behaviour::instant())
        };
        let beside = Beside { entra: Some(entra.clone()), imds: Some(imds) };
        let control = Some(([127, 0, 0, 1], 0).into());
        let mock = Mock::start_beside(beside, vec![spec], control, 1).await.unwrap();
        Self { entra, mock, client: client(|builder| builder) }
    }

    async fn ask(&self, header: &str, value: &str) -> (u16, Value) {
        let url = format!("http://{}{CHAT}", self.mock.address("a").unwrap());
        let request = self.client.post(url).header(header, value).json(&asked());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn present(&self, claims: Value) -> u16 {
        let token = self.entra.issue(claims);
        self.ask("authorization", &format!("Bearer {token}")).await.0
    }

    async fn control(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.mock.control_address().unwrap());
        let response = self.client.request(method, url).json(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

const AUDIENCE: &str = "https://cognitiveservices.azure.com";

#[tokio::test]
async fn a_backend_takes_the_tokens_of_its_entra() {
    let cloud = Cloud::of(None).await;
    assert_eq!(cloud.present(json!({"aud": AUDIENCE})).await, 200);
    assert_eq!(cloud.present(json!({"aud": format!("{AUDIENCE}/"), "ver": "1.0"})).await, 200);
    assert_eq!(cloud.present(json!({"aud": "https://ai.azure.com"})).await, 200);
    assert_eq!(cloud.present(json!({"aud": "https://management.azure.com"})).await, 401);
    assert_eq!(cloud.present(json!({"aud": AUDIENCE, "exp": 1})).await, 401);
    assert_eq!(cloud.present(json!({"aud": AUDIENCE, "iss": "https://elsewhere/"})).await, 401);
    let (status, answer) = cloud.ask("authorization", "Bearer nonsense").await;
    assert_eq!((status, &answer["statusCode"]), (401, &json!(401)));
    assert!(answer["message"].as_str().unwrap().contains("Access token is missing, invalid"));
    let (status, answer) = cloud.ask("api-key", "key").await;
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("AuthenticationTypeDisabled")));

    let old = format!("Bearer {}", cloud.entra.issue(json!({"aud": AUDIENCE})));
    cloud.entra.rotate().await.unwrap();
    assert_eq!(cloud.ask("authorization", &old).await.0, 200);
    cloud.entra.retire_old();
    assert_eq!(cloud.ask("authorization", &old).await.0, 401);
}

#[tokio::test]
async fn a_key_beside_tokens_will_do_and_tokens_can_be_refused() {
    let cloud = Cloud::of(Some("key")).await;
    assert_eq!(cloud.ask("api-key", "key").await.0, 200);
    assert_eq!(cloud.ask("api-key", "other").await.0, 401);
    assert_eq!(cloud.present(json!({"aud": AUDIENCE})).await, 200);
    cloud.mock.set_fault("a", Fault::WrongToken).unwrap();
    let token = format!("Bearer {}", cloud.entra.issue(json!({"aud": AUDIENCE})));
    let (status, answer) = cloud.ask("authorization", &token).await;
    assert_eq!((status, &answer["statusCode"]), (401, &json!(401)));
}

#[tokio::test]
async fn tokens_need_an_entra() {
    let bearer = Some(BearerSpec::default());
    let spec = BackendSpec { bearer, ..BackendSpec::local("a", Behaviour::instant()) };
    let error = Mock::start(vec![spec], None, 1).await.unwrap_err();
    assert!(error.to_string().contains("bearer needs an Entra"), "{error}");
}

#[tokio::test]
async fn entra_is_steered_through_the_control_endpoint() {
    let cloud = Cloud::of(None).await;
    let order = json!({"claims": {"aud": AUDIENCE}, "header": {"typ": "at+jwt"}});
    let (_, answer) = cloud.control(Method::POST, "/entra/tokens", &order).await;
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(jsonwebtoken::decode_header(token).unwrap().typ.as_deref(), Some("at+jwt"));
    assert_eq!(cloud.ask("authorization", &format!("Bearer {token}")).await.0, 200);

    let keys = async |path: &str, body: Value| {
        let (_, shown) = cloud.control(Method::POST, path, &body).await;
        serde_json::from_value::<EntraStatus>(shown).unwrap().key_ids.len()
    };
    assert_eq!(keys("/entra/rotate", json!({})).await, 2);
    assert_eq!(keys("/entra/rotate", json!({"publish": false})).await, 2);
    assert_eq!(keys("/entra/publish", json!({})).await, 3);
    assert_eq!(keys("/entra/retire", json!({})).await, 1);

    let fault = json!({"endpoint": "token", "fault": {"status": 503}});
    let (_, shown) = cloud.control(Method::PUT, "/entra/fault", &fault).await;
    assert_eq!(
        shown["faults"],
        json!({"discovery": "none", "keys": "none", "token": {"status": 503}})
    );
    let (_, shown) = cloud.control(Method::PUT, "/entra/fault", &json!({"fault": "hang"})).await;
    assert_eq!(shown["faults"], json!({"discovery": "hang", "keys": "hang", "token": "hang"}));
    let (_, shown) = cloud.control(Method::DELETE, "/entra/fault", &json!({})).await;
    assert_eq!(shown["faults"]["keys"], "none");
    cloud.control(Method::PUT, "/entra/lifetime", &json!({"seconds": 60})).await;
    let (_, answer) = cloud.control(Method::POST, "/entra/tokens", &json!({})).await;
    let token = answer["access_token"].as_str().unwrap();
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(token).unwrap();
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 360);
}

#[tokio::test]
async fn imds_is_steered_through_the_control_endpoint() {
    let cloud = Cloud::of(None).await;
    let imds = cloud.mock.beside().imds.clone().unwrap();
    let query =
        format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={AUDIENCE}");
    let request = cloud.client.get(format!("{}{query}", imds.url())).header("metadata", "true");
    request.send().await.unwrap().bytes().await.unwrap();
    let (_, shown) = cloud.control(Method::PUT, "/imds/fault", &json!({"fault": "garbage"})).await;
    let shown: ImdsStatus = serde_json::from_value(shown).unwrap();
    assert_eq!((shown.address, shown.counters.requests), (imds.address(), 1));
    assert_eq!(shown.identities, [ImdsSpec::SYSTEM, ImdsSpec::ASSIGNED]);
    let (_, requests) = cloud.control(Method::GET, "/imds/requests", &json!({})).await;
    assert_eq!(requests[0]["path"], query);
    let (_, shown) = cloud.control(Method::DELETE, "/imds/fault", &json!({})).await;
    assert_eq!(shown["fault"], "none");
    cloud.control(Method::POST, "/reset", &json!({})).await;
    assert_eq!(imds.counters().requests, 0);
}

#[tokio::test]
async fn mistakes_are_told() {
    let cloud = Cloud::of(None).await;
    let check = async |method: Method, path: &str, body: Value, status: u16, problem: &str| {
        let (found, answer) = cloud.control(method, path, &body).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(found == status && message.contains(problem), "{path} {body}: {found} {message}");
    };
    let bad = |fault: Value| json!({"endpoint": "discovery", "fault": fault});
    check(Method::PUT, "/entra/fault", bad(json!("empty_keys")), 400, "keys only").await;
    check(Method::PUT, "/entra/fault", bad(json!("ill")), 400, "unknown variant `ill`").await;
    check(Method::PUT, "/imds/fault", json!({"fault": {"status": 200}}), 400, "status is 200")
        .await;
    check(Method::POST, "/entra/tokens", json!({"claim": {}}), 400, "unknown field `claim`").await;
    check(Method::GET, "/entra/nothing", json!({}), 404, "GET / tells what there is").await;
    check(Method::GET, "/imds/nothing", json!({}), 404, "GET / tells what there is").await;
    let help = cloud.client.get(format!("http://{}/", cloud.mock.control_address().unwrap()));
    let help = help.send().await.unwrap().text().await.unwrap();
    assert!(help.ends_with(IDENTITY_HELP));
}

#[tokio::test]
async fn without_entra_there_is_nothing_to_steer() {
    let stage = crate::mock::Stage::new(Behaviour::instant()).await;
    for (path, problem) in [("/entra", "there is no Entra"), ("/imds", "there is no IMDS")] {
        let response = stage.client.get(stage.control_url(path)).send().await.unwrap();
        assert_eq!(response.status(), 404);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"]["message"], problem);
    }
}
