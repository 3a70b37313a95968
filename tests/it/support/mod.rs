//! A whole world for one test: mock regions, Firstlight in front, a client that checks every answer.
//!
//! Ports are free ones, nothing is shared between tests, and nothing here sleeps: tests wait for states.

mod answer;
pub(crate) mod entra;
mod pem;
mod service;
pub(crate) mod tokens;

pub(crate) use answer::{Answer, Streamed, content_of};
pub(crate) use pem::Pem;
pub(crate) use service::{Home, Service, running, signal};

use firstlight::config;
use firstlight::config::Problem;
use firstlight::mock::{BackendSpec, BearerSpec, Behaviour, Beside, Fault, Mock};
use firstlight::reload::{Refused, Reloaded, Reloader};
use firstlight::routing::State;
use firstlight::server::{Firstlight, Running};
use firstlight::telemetry::AccessLog;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::fmt::Write;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// The key of the app that tests speak for, and of one that may probe.
pub(crate) const KEY: &str = "test-key";
pub(crate) const PROBE_KEY: &str = "probe-key";
/// What the backends expect; no client ever sends it.
pub(crate) const BACKEND_KEY: &str = "backend-key";

pub(crate) const V1_CHAT: &str = "/openai/v1/chat/completions";

/// What a world is made of. Every field has a plain default.
pub(crate) struct Setup {
    /// Region names; the first is in tier 0 if `first_preferred`, so that a test knows where a request goes.
    pub(crate) regions: Vec<&'static str>,
    pub(crate) first_preferred: bool,
    pub(crate) behaviour: Behaviour,
    /// The name of a further backend, which no resolver knows.
    pub(crate) nowhere: Option<&'static str>,
    /// An Entra and an IMDS for backends that take tokens.
    pub(crate) beside: Beside,
    /// The YAML of `auth` of those: the others take the key.
    pub(crate) identities: Vec<(&'static str, String)>,
    /// YAML of further apps.
    pub(crate) apps: String,
    /// Further top-level YAML.
    pub(crate) more: &'static str,
    /// YAML below `models:`; by default `gpt-4o: {}` and what the tests need beside it.
    pub(crate) models: &'static str,
    /// YAML below `listen:` in the place of one listener.
    pub(crate) listen: Option<String>,
    /// The TLS files of the one listener.
    pub(crate) tls: Option<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            regions: vec!["a", "b", "c"],
            first_preferred: true,
            behaviour: Behaviour::instant(),
            nowhere: None,
            beside: Beside::default(),
            identities: Vec::new(),
            apps: String::new(),
            more: "",
            models: "  gpt-4o: {}\n  other: {}\n  text-embedding-3-large: {}\n",
            listen: None,
            tls: None,
        }
    }
}

impl Setup {
    fn identity(&self, region: &str) -> Option<&str> {
        self.identities.iter().find(|(name, _)| *name == region).map(|(_, auth)| auth.as_str())
    }
}

/// A running world.
pub(crate) struct World {
    pub(crate) mock: Mock,
    pub(crate) proxy: Running,
    pub(crate) client: Client,
    /// The configuration that it was started with.
    pub(crate) yaml: String,
    reloader: Reloader,
    /// The configuration file, and the backends' key.
    folder: TempDir,
    log: Arc<Mutex<Vec<u8>>>,
}

impl World {
    pub(crate) async fn plain() -> Self {
        Self::of(Setup::default()).await
    }

    pub(crate) async fn of(setup: Setup) -> Self {
        let specs = setup.regions.iter().map(|name| {
            let mut spec = BackendSpec::local(name, setup.behaviour.clone());
            match setup.identity(name) {
                Some(_) => spec.bearer = Some(BearerSpec::default()),
                None => spec.api_key = Some(BACKEND_KEY.to_owned()),
            }
            spec
        });
        let beside = setup.beside.clone();
        let mock = Mock::start_beside(beside, specs.collect(), None, 1).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("backend.key");
        std::fs::write(&key_file, BACKEND_KEY).unwrap();
        let yaml = yaml(&setup, &mock, &key_file.display().to_string());
        let told = |problems: Vec<Problem>| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}\n{yaml}", problems.join("\n"))
        };
        let checked = config::check(&yaml).unwrap_or_else(told);
        let (access_log, log) = AccessLog::memory();
        let proxy = Firstlight::bind(checked.config, access_log).unwrap().spawn();
        let (live, telemetry) = (Arc::clone(proxy.live()), Arc::clone(proxy.telemetry()));
        let reloader = Reloader::new(live, telemetry, folder.path().join("firstlight.yaml"));
        Self { mock, proxy, client: client(|builder| builder), yaml, reloader, folder, log }
    }

    /// The configuration file that a reload reads.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("firstlight.yaml")
    }

    /// Writes the configuration file, and reloads it.
    pub(crate) async fn reload(&self, yaml: &str) -> Result<Reloaded, Refused> {
        std::fs::write(self.file(), yaml).unwrap();
        self.reload_again().await
    }

    /// Reloads the file as it is.
    pub(crate) async fn reload_again(&self) -> Result<Reloaded, Refused> {
        self.reloader.reload().await
    }

    /// What the file says that is not live.
    pub(crate) async fn diff(&self) -> Vec<String> {
        self.reloader.diff().await.unwrap()
    }

    /// The configuration that it was started with, less a backend.
    pub(crate) fn without(&self, backend: &str) -> String {
        let line = format!("  {backend}: {{ endpoint:");
        assert!(self.yaml.contains(&line), "{}", self.yaml);
        self.yaml
            .lines()
            .filter(|l| !l.starts_with(&line))
            .fold(String::new(), |all, l| all + l + "\n")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.addresses()[0]
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub(crate) fn request(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path)).header("api-key", KEY)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::read(self.request(path).json(body).send().await.unwrap()).await
    }

    /// A streamed chat, read to its end.
    pub(crate) async fn chat(&self) -> Answer {
        self.post(V1_CHAT, &streamed_chat()).await
    }

    pub(crate) async fn admin(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.proxy.admin_address().unwrap());
        let response = self.client.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The access log so far.
    pub(crate) fn log_text(&self) -> String {
        String::from_utf8(self.log.lock().unwrap().clone()).unwrap()
    }

    /// The line of one request, waited for: it is written after the answer.
    pub(crate) async fn log_line(&self, request_id: &str) -> Value {
        wait_for("the request's log line", || async {
            let text = self.log_text();
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines.into_iter().find(|line| line["request_id"] == request_id)
        })
        .await
    }

    pub(crate) fn fault(&self, region: &str, fault: Fault) {
        self.mock.set_fault(region, fault).unwrap();
    }

    /// The value of a metric, by its name and labels as they stand in the scrape; "0" where it is absent.
    pub(crate) async fn metric(&self, series: &str) -> String {
        let text = self.admin("/metrics").await.1;
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.unwrap_or("0").to_owned()
    }

    pub(crate) fn requests(&self, region: &str) -> u64 {
        self.mock.counters(region).unwrap().requests
    }

    pub(crate) fn is_degraded(&self, model: &str, region: &str) -> bool {
        self.state(model, region) == State::Degraded
    }

    pub(crate) fn state(&self, model: &str, region: &str) -> State {
        let live = self.proxy.live();
        let snapshot = live.snapshot();
        let model = snapshot.model(model).unwrap();
        let target = model.pool.position(region).unwrap();
        model.pool.view(target, live.clock().now()).unwrap().state
    }
}

fn yaml(setup: &Setup, mock: &Mock, key_file: &str) -> String {
    let listen = setup.listen.as_deref().unwrap_or("  - address: 127.0.0.1:0\n");
    let mut text = format!("listen:\n{listen}");
    if let Some((certificate, key)) = &setup.tls {
        writeln!(text, "    tls: {{ certificate: {certificate}, key: {key} }}").unwrap();
    }
    text.push_str("admin: { address: 127.0.0.1:0 }\nbackends:\n");
    for (index, region) in setup.regions.iter().enumerate() {
        let tier = u8::from(index > 0 || !setup.first_preferred);
        let address = mock.address(region).unwrap();
        let key = || format!("{{ api_key: {{ file: \"{key_file}\" }} }}");
        let auth = setup.identity(region).map_or_else(key, str::to_owned);
        writeln!(
            text,
            "  {region}: {{ endpoint: \"http://{address}\", tier: {tier}, auth: {auth} }}"
        )
        .unwrap();
    }
    if let Some(name) = setup.nowhere {
        writeln!(
            text,
            "  {name}: {{ endpoint: \"https://{name}.invalid\", tier: 1, auth: {{ api_key: {{ file: \"{key_file}\" }} }} }}"
        )
        .unwrap();
    }
    write!(
        text,
        "models:\n{}apps:\n  tests:\n    api_keys: [ {{ sha256: {}, name: k1 }} ]\n    models: [gpt-4o, text-embedding-3-large]\n  \
         operator:\n    api_keys: [ {{ sha256: {}, name: k2 }} ]\n    probe: true\n{}{}\n",
        setup.models,
        hash(KEY),
        hash(PROBE_KEY),
        setup.apps,
        setup.more,
    )
    .unwrap();
    if let Beside { entra: Some(entra), imds } = &setup.beside {
        let imds = imds.as_ref().map(|imds| format!(", imds: \"{}\"", imds.url()));
        let (authority, imds) = (entra.authority(), imds.unwrap_or_default());
        writeln!(text, "entra: {{ authority: \"{authority}\"{imds} }}").unwrap();
    }
    if !setup.more.contains("routing:") {
        // Probes would count at the mock.
        text.push_str("routing: { probe: { interval_seconds: 0 } }\n");
    }
    text
}

/// What the configuration holds of a client's key.
pub(crate) fn hash(key: &str) -> String {
    hex::encode(<sha2::Sha256 as sha2::Digest>::digest(key))
}

/// A client without TLS trust: every world is on loopback.
pub(crate) fn client(
    configure: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Client {
    pingora_core::tls::install_default_crypto_provider();
    configure(Client::builder().tls_certs_only([]).no_proxy()).build().unwrap()
}

pub(crate) fn chat() -> Value {
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Say hi"}]})
}

pub(crate) fn streamed_chat() -> Value {
    json!({"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "Say hi"}]})
}

/// Polls until there is something, and panics after twenty seconds without it.
pub(crate) async fn wait_for<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < patience, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As [`wait_for`], for a condition.
pub(crate) async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || std::future::ready(holds().then_some(()))).await;
}
