//! The checked configuration: what the rest of the program sees.
//!
//! Every value here has passed its checks: no `Option` that means "use the default", no name that points
//! nowhere, no address that does not parse. Maps are ordered, so that two dumps of one file are equal.

mod entra;
mod entrance;
mod routing;

pub use self::entra::AppEntra;
pub use self::entra::CallerHeaders;
pub use self::entra::CallerId;
pub use self::entra::Credential;
pub use self::entra::Entra;
pub use self::entra::Identity;
pub use self::entrance::InFront;
pub use self::entrance::Limits;
pub use self::routing::Affinity;
pub use self::routing::Baseline;
pub use self::routing::Detect;
pub use self::routing::Hedge;
pub use self::routing::Mode;
pub use self::routing::Overflow;
pub use self::routing::Policy;
pub use self::routing::Probe;
pub use self::routing::RateLimit;
pub use self::routing::Recover;
pub use self::routing::Routing;

use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration of one Firstlight process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Where clients connect; at least one.
    pub listen: Vec<Listener>,
    /// Where metrics and health are served; `None` switches the admin listener off.
    pub admin: Option<SocketAddr>,
    /// The unix socket on which an operator gives orders.
    pub admin_socket: Place,
    /// What stands in front.
    pub in_front: InFront,
    /// Worker threads of the proxy; 0 in the file means one per core and stays 0 here.
    pub threads: usize,
    /// Azure OpenAI resources by name; at least one.
    pub backends: BTreeMap<String, Backend>,
    /// Models by the name that clients ask for; at least one.
    pub models: BTreeMap<String, Model>,
    /// Client applications by name; at least one.
    pub apps: BTreeMap<String, App>,
    /// Where Entra ID is.
    pub entra: Entra,
    /// What backends are told of callers.
    pub caller: CallerHeaders,
    /// How targets are chosen where a model says nothing else.
    pub routing: Routing,
    /// When a failed request is tried again.
    pub retry: Retry,
    /// How long each step of a request may take.
    pub timeouts: Timeouts,
    /// What a request and a connection may cost.
    pub limits: Limits,
    /// What is written to standard output.
    pub log: Log,
    /// Whether streams whose clients do not ask for their usage are made to tell it.
    pub inject_usage: bool,
    /// How often host names are resolved again.
    pub dns_refresh: Duration,
    /// How long a stopping process lets streams finish.
    pub drain: Duration,
    /// What is kept from one process to the next.
    pub state_directory: Place,
    /// First parts of paths that are passed on beside those that are known.
    pub extra_paths: Vec<String>,
}

/// A path of Firstlight's own on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The default: used where its directory exists, done without elsewhere.
    Usual(PathBuf),
    /// Named by the operator, absolute: it must work.
    Named(PathBuf),
    /// Switched off.
    Off,
}

impl Place {
    /// Where it is, unless it is switched off.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Usual(path) | Self::Named(path) => Some(path),
            Self::Off => None,
        }
    }
}

/// One address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// The address to bind; port 0 lets the system choose and the log tells which.
    pub address: SocketAddr,
    /// Certificates, chosen by the name that a client asks for; the first where none matches. Empty: plain
    /// HTTP/1.1, and h2 with prior knowledge.
    pub tls: Vec<ListenerTls>,
    /// The apps that may use it; `None` means all of them.
    pub apps: Option<Vec<String>>,
}

/// A certificate of a listener. Neither part comes from the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerTls {
    /// PEM text with the certificate chain, leaf first.
    pub certificate: SecretSource,
    /// PEM text with the private key.
    pub key: SecretSource,
}

/// One Azure OpenAI resource in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// Where it is.
    pub endpoint: Endpoint,
    /// What Firstlight proves itself with there.
    pub auth: BackendAuth,
    /// Lower tiers are used first; default 1.
    pub tier: u32,
    /// Share of the traffic under `lookout` and `round_robin`; 1 to 1000, default 1.
    pub weight: u32,
    /// Requests at a time to each deployment there; `None` is no limit.
    pub max_in_flight: Option<u32>,
    /// PEM file with the authorities that may sign this backend's certificate, instead of the system's.
    pub ca: Option<PathBuf>,
}

/// Scheme, host and port of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// True for `https`.
    pub tls: bool,
    /// Host name or address literal, lower case, without brackets.
    pub host: String,
    /// Port; 443 or 80 where the file names none.
    pub port: u16,
}

impl Endpoint {
    /// `scheme://host[:port]`, as URLs and issuers have it: without the port that is usual.
    pub fn origin(&self) -> String {
        let Self { tls, host, port } = self;
        let (scheme, usual) = if *tls { ("https", 443) } else { ("http", 80) };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let port = if *port == usual { String::new() } else { format!(":{port}") };
        format!("{scheme}://{host}{port}")
    }
}

/// How Firstlight authenticates to a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendAuth {
    /// The resource's key, sent as `api-key`.
    ApiKey(SecretSource),
    /// A token of an identity of ours, sent as `Authorization: Bearer`.
    Identity(Identity),
    /// Nothing is sent; only where every listener and endpoint is on loopback.
    None,
}

/// Where a secret comes from. The secret itself is never part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// An environment variable of the process.
    Env(String),
    /// A file, read whole, surrounding white space removed.
    File(PathBuf),
    /// A systemd credential: a file name below `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// One model name and where it is deployed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// Backend name to deployment name; at least one.
    pub backends: BTreeMap<String, String>,
    /// What a probe of this model sends.
    pub probe: ProbeKind,
    /// How long an attempt of this model may take to its first content token.
    pub first_token: Duration,
    /// How its targets are chosen.
    pub routing: Routing,
}

/// What kind of request a probe sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// A streamed chat completion of a few tokens; the default.
    Chat,
    /// A streamed legacy completion.
    Completions,
    /// An embedding; the default for models with `embedding` in their name.
    Embeddings,
    /// Never probe this model.
    Off,
}

/// One client application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct App {
    /// Keys that prove a request comes from this app.
    pub api_keys: Vec<ApiKey>,
    /// Tokens that prove it. Without any, and without keys, the app is `anonymous`.
    pub entra: Option<AppEntra>,
    /// How much it may use.
    pub limits: AppLimits,
    /// Models it may use; `None` means all of them.
    pub models: Option<Vec<String>>,
    /// Whether it may send `X-Probe-Target`.
    pub probe: bool,
    /// Whether requests without any key belong to it; only where every listener and endpoint is on loopback.
    pub anonymous: bool,
}

impl App {
    /// Whether it may use the model of that name, if there is one.
    pub fn may_use(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|one| one == model))
    }
}

/// The hash of one client key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    /// SHA-256 of the key, as 64 hexadecimal digits, lower case.
    pub sha256: String,
    /// What the operator calls it; written to the access log.
    pub name: String,
    /// From when on it is no good, in seconds since 1970; `None`: it does not expire.
    pub expires: Option<u64>,
}

/// How much an app may use of this instance; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AppLimits {
    /// Requests in a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute, of prompts and answers.
    pub tokens_per_minute: Option<u32>,
    /// Requests at a time.
    pub concurrent: Option<u32>,
}

/// When a failed request is tried again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Retry {
    /// Attempts in all, the first included; 1 to 10.
    pub max_attempts: u32,
    /// Retries allowed as a share of the requests of the last 60 s; 0 to 1.
    pub budget_share: f64,
    /// Retries allowed in 60 s however few the requests.
    pub budget_min: u32,
    /// How long the header of a stream waits for the first token, so that the status can still change.
    pub hold_headers: Duration,
    /// Types of tools with side effects that may be used twice all the same; `all` stands for every type.
    pub repeatable_tools: Vec<String>,
}

/// How long each step may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// TCP and TLS connect to a backend.
    pub connect: Duration,
    /// The whole of an answer that is not streamed, to its first body byte.
    pub answer: Duration,
    /// Silence between two chunks of an answer.
    pub idle: Duration,
    /// Silence while a client sends its body.
    pub body_idle: Duration,
    /// The whole of a client's body.
    pub body_total: Duration,
    /// A realtime session without a byte in either direction.
    pub realtime_idle: Duration,
    /// The longest realtime session.
    pub realtime_total: Duration,
    /// After which a client's body must have come at its least rate.
    pub body_grace: Duration,
    /// The whole of a request's head; also a TLS handshake.
    pub header: Duration,
    /// Silence between two requests of an HTTP/1.1 connection.
    pub keep_alive: Duration,
}

/// What is written to standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Log {
    /// Whether each request gets its JSON line.
    pub access: bool,
}
