//! The mock Azure service over real sockets: what it answers (`surfaces`, `responses`, `realtime`), what it
//! keeps (`kept`), how it fails (`faults`), how it is steered and looked into (`control`), and the `entra` and
//! `imds` whose tokens it takes (`bearer`); and all of it as a `command`. Nothing here asserts a time: tests
//! wait for a state.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed helper is a failed test, and its panic says where"
)]

mod bearer;
mod command;
mod control;
mod entra;
mod faults;
mod imds;
mod kept;
mod realtime;
mod responses;
mod surfaces;

use firstlight::mock::{BackendSpec, Behaviour, Fault, Mock};
use reqwest::{Client, ClientBuilder, Response};
use serde_json::{Value, json};

const CHAT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
const V1_CHAT: &str = "/openai/v1/chat/completions";

/// One backend and a client to ask it with.
struct Stage {
    mock: Mock,
    client: Client,
}

impl Stage {
    async fn new(behaviour: Behaviour) -> Self {
        Self::of(BackendSpec::local("a", behaviour)).await
    }

    async fn of(spec: BackendSpec) -> Self {
        let control = Some(([127, 0, 0, 1], 0).into());
        let mock = Mock::start(vec![spec], control, 1).await.unwrap();
        Self { mock, client: client(|builder| builder) }
    }

    async fn failing(fault: Fault) -> Self {
        let stage = Self::new(Behaviour::instant()).await;
        stage.mock.set_fault("a", fault).unwrap();
        stage
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.mock.address("a").unwrap())
    }

    fn control_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.mock.control_address().unwrap())
    }

    async fn try_post(&self, path: &str, body: &Value) -> reqwest::Result<Response> {
        self.client.post(self.url(path)).json(body).send().await
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        self.try_post(path, body).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    async fn get_json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    async fn get_text(&self, path: &str) -> String {
        self.get(path).await.text().await.unwrap()
    }

    async fn chat_stream(&self) -> Response {
        self.post(CHAT, &streamed()).await
    }
}

fn client(configure: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    // No test here speaks TLS, but a client is not built without its parts.
    pingora_core::tls::install_default_crypto_provider();
    configure(Client::builder().tls_certs_only([])).build().unwrap()
}

fn asked() -> Value {
    json!({"messages": [{"role": "user", "content": "Say hi"}]})
}

fn streamed() -> Value {
    with(&asked(), &json!({"stream": true}))
}

fn with(body: &Value, fields: &Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// The events of a stream, each without its `data: `. The framing must be exact.
fn events(text: &str) -> Vec<&str> {
    let whole = text.strip_suffix("\n\n").unwrap_or_else(|| panic!("unfinished event in {text:?}"));
    whole.split("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect()
}

/// The events of a stream that names them. The framing must be exact.
fn named_events(text: &str) -> Vec<(String, Value)> {
    let whole = text.strip_suffix("\n\n").unwrap_or_else(|| panic!("unfinished event in {text:?}"));
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let data = data.strip_prefix("data: ").unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        (name, serde_json::from_str(data).unwrap_or_default())
    };
    whole.split("\n\n").map(event).collect()
}

/// A stream in one line: what each event is.
fn told(text: &str) -> String {
    events(text).into_iter().map(kind).collect::<Vec<_>>().join(" ")
}

fn kind(event: &str) -> String {
    if event == "[DONE]" {
        return "done".to_owned();
    }
    let event: Value = serde_json::from_str(event).unwrap();
    let choice = &event["choices"][0];
    let delta = &choice["delta"];
    if event.get("prompt_filter_results").is_some() {
        "filter".to_owned()
    } else if let Some(code) = event.pointer("/error/type") {
        format!("error:{}", code.as_str().unwrap())
    } else if event["usage"].is_object() {
        "usage".to_owned()
    } else if let Some(reason) = choice["finish_reason"].as_str() {
        format!("finish:{reason}")
    } else if delta.get("role").is_some() {
        "role".to_owned()
    } else if let Some(arguments) = delta.pointer("/tool_calls/0/function/arguments") {
        format!("call:{}", arguments.as_str().unwrap().trim())
    } else {
        let text = choice["text"].as_str().or_else(|| delta["content"].as_str());
        text.unwrap().trim().to_owned()
    }
}
