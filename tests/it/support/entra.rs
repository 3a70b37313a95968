//! A fake Entra ID, and apps that take its tokens.

use super::{Answer, Home, Service, Setup, V1_CHAT, World, streamed_chat, wait_until};
use firstlight::mock::{Beside, Entra, EntraEndpoint, EntraSpec, Imds};
use serde_json::json;

impl World {
    /// A world whose apps take tokens of an Entra, as [`app`] writes them.
    pub(crate) async fn of_apps(apps: String, setup: Setup) -> Self {
        let beside = Beside { entra: Some(entra().await), imds: None };
        Self::of(Setup { beside, apps, ..setup }).await
    }

    /// The same with one app, `users`, once the signing keys are known.
    pub(crate) async fn of_users() -> Self {
        let world = Self::of_apps(app("users", ""), Setup::default()).await;
        world.keys_known().await;
        world
    }

    pub(crate) fn entra(&self) -> &Entra {
        self.mock.beside().entra.as_ref().unwrap()
    }

    pub(crate) fn imds(&self) -> &Imds {
        self.mock.beside().imds.as_ref().unwrap()
    }

    /// Waits until there are signing keys of all tenants.
    pub(crate) async fn keys_known(&self) {
        let live = self.proxy.live();
        wait_until("signing keys", || {
            live.snapshot().tenants.iter().all(|tenant| tenant.keys().is_some())
        })
        .await;
    }

    /// How often Entra was asked for its signing keys.
    pub(crate) fn fetches(&self) -> u64 {
        self.entra().counters(EntraEndpoint::Keys).requests
    }

    /// A streamed chat with a token, read to its end.
    pub(crate) async fn chat_with(&self, token: &str) -> Answer {
        let request = self.client.post(self.url(V1_CHAT)).bearer_auth(token);
        Answer::read(request.json(&streamed_chat()).send().await.unwrap()).await
    }
}

impl Home {
    /// A configuration whose app `users` takes tokens of an Entra, too.
    pub(crate) fn yaml_with(&self, entra: &Entra) -> String {
        let users = app("users", "");
        let apps = "apps: { tests: { api_keys: ";
        let yaml = self.yaml();
        let (before, tests) = yaml.split_once(apps).unwrap();
        let (keys, after) = tests.split_once(" } }\n").unwrap();
        let authority = entra.authority();
        format!(
            "{before}apps:\n{users}  tests:\n    api_keys: {keys}\n{after}entra: {{ authority: \"{authority}\" }}\n"
        )
    }
}

impl Service {
    /// A streamed chat with a token, read to its end.
    pub(crate) async fn chat_with(&self, token: &str) -> Answer {
        let request = self.client.post(format!("http://{}{V1_CHAT}", self.address()));
        Answer::read(request.bearer_auth(token).json(&streamed_chat()).send().await.unwrap()).await
    }
}

/// An Entra whose tokens have the role that apps ask for unless told otherwise.
pub(crate) async fn entra() -> Entra {
    let mut spec = EntraSpec::default();
    for api in &mut spec.apis {
        api.roles = vec!["LLM.Invoke".to_owned()];
    }
    Entra::start(spec).await.unwrap()
}

/// The YAML of an app that takes the tokens of [`entra`]; `more` is further YAML of its `entra`, behind a comma.
pub(crate) fn app(name: &str, more: &str) -> String {
    let (tenant, id, uri) = (EntraSpec::TENANT, EntraSpec::API, EntraSpec::API_URI);
    format!("  {name}:\n    entra: {{ tenant: {tenant}, audiences: [{id}, \"{uri}\"]{more} }}\n")
}

/// A good token of a key that nobody has.
pub(crate) fn made_up(entra: &Entra, kid: &str) -> String {
    entra.issue_with(json!({ "kid": kid }), json!({}))
}
