//! Secrets that are planted wherever Firstlight has some, and are then looked for wherever it says something, with
//! its log at its most talkative.

mod search;

use crate::support::entra::app;
use crate::support::{Answer, Home, Service, V1_CHAT, hash};
use firstlight::mock::{
    BackendSpec, BearerSpec, Behaviour, Beside, Entra, EntraEndpoint, EntraFault, EntraSpec, Fault,
    Imds, ImdsFault, ImdsSpec, Mock,
};
use reqwest::RequestBuilder;
use search::{files, leaks};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const KEY: &str = "ck/9Zq+client-key=7d1f0b64e2a85c39";
const STRANGERS_KEY: &str = "sk/4Xw+stranger-key=0c96e81d5ba7f243";
const BACKEND_KEY: &str = "bk/2Lm+backend-key=e85a3d90c1b7462f";
const CLIENT_SECRET: &str = "cs~8Vr+client-secret=1f4b7ac0d9e36582";
const WRONG_SECRET: &str = "ws~5Tn+wrong-secret=9a0d3c7be6f21485";
const CLAIM: &str = "cl/6Hd+claim=3b8e52f7a0c9d146";
const PROMPT: &str = "pr/1Jk+prompt=a7c4e09f2d5b8361";
const QUERY: &str = "qu.3Gs-query-key-5e1c9b7d20f8a463";
/// What the mock answers with, as it stands in an event.
const ANSWER: &str = "w2 w3 w4";

const BACKENDS: [&str; 3] = ["key", "managed", "secret"];

/// Everything that runs, and all that was said so far: what said it, and its words.
struct Stage {
    home: Home,
    mock: Mock,
    service: Service,
    said: Vec<(String, String)>,
    /// Tokens that were shown to Firstlight, or that it has fetched.
    tokens: Vec<String>,
}

async fn mock() -> Mock {
    let mut spec = EntraSpec { lifetime: Duration::from_secs(38), ..EntraSpec::default() };
    spec.apis.iter_mut().for_each(|api| api.roles = vec!["LLM.Invoke".to_owned()]);
    spec.clients.iter_mut().for_each(|client| client.secret = Some(CLIENT_SECRET.to_owned()));
    let entra = Entra::start(spec).await.unwrap();
    let imds = ImdsSpec { lifetime: Duration::from_secs(38), ..ImdsSpec::default() };
    let imds = Imds::start(imds, entra.clone()).await.unwrap();
    let specs = BACKENDS.map(|name| {
        let mut spec = BackendSpec::local(name, Behaviour::instant());
        match name {
            "key" => spec.api_key = Some(BACKEND_KEY.to_owned()),
            _ => spec.bearer = Some(BearerSpec::default()),
        }
        spec
    });
    let beside = Beside { entra: Some(entra), imds: Some(imds) };
    Mock::start_beside(beside, specs.into(), None, 1).await.unwrap()
}

fn yaml(home: &Home, mock: &Mock) -> String {
    let file = |name: &str| home.path(name).display().to_string();
    let beside = mock.beside();
    let (entra, imds) = (beside.entra.as_ref().unwrap(), beside.imds.as_ref().unwrap());
    let (tenant, client) = (EntraSpec::TENANT, EntraSpec::CLIENT);
    let secret = format!(
        "{{ client_secret: {{ tenant: {tenant}, client_id: {client}, secret: {{ file: {} }} }} }}",
        file("client.secret")
    );
    let auths = [
        format!("{{ api_key: {{ file: {} }} }}", file("backend.key")),
        "managed_identity".into(),
        secret,
    ];
    let backends = BACKENDS.iter().zip(auths).map(|(name, auth)| {
        let address = mock.address(name).unwrap();
        format!("  {name}: {{ endpoint: \"http://{address}\", auth: {auth} }}\n")
    });
    format!(
        "listen: [ {{ address: 127.0.0.1:0 }} ]\n\
         admin: {{ address: 127.0.0.1:0, socket: {} }}\nstate_directory: {}\nbackends:\n{}\
         models: {{ gpt-4o: {{}} }}\napps:\n{}  tests:\n    probe: true\n    api_keys: [ {{ sha256: {}, name: k }} ]\n\
         entra: {{ authority: \"{}\", imds: \"{}\" }}\ncaller: {{ headers: true, id: oid }}\n\
         routing: {{ probe: {{ interval_seconds: 0 }} }}\ndrain_seconds: 5\n",
        file("admin.sock"),
        file("state"),
        backends.collect::<String>(),
        app("users", ""),
        hash(KEY),
        entra.authority(),
        imds.url(),
    )
}

fn body() -> Value {
    json!({"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": PROMPT}]})
}

impl Stage {
    async fn set() -> Self {
        let (home, mock) = (Home::new(Behaviour::instant()).await, mock().await);
        fs::write(home.path("backend.key"), BACKEND_KEY).unwrap();
        fs::write(home.path("client.secret"), CLIENT_SECRET).unwrap();
        home.configure(&yaml(&home, &mock));
        // The filters of an operator who wants to see everything.
        let all = "trace,pingora_core=trace,pingora_core::protocols=trace,pingora_proxy=trace,azure_core::http=trace,\
                   azure_identity::client_secret_credential=trace,typespec_client_core::http=trace,hyper=trace";
        let service = home.start_with(&["--log-level", all]).await;
        Self { home, mock, service, said: Vec::new(), tokens: Vec::new() }
    }

    fn entra(&self) -> &Entra {
        self.mock.beside().entra.as_ref().unwrap()
    }

    fn imds(&self) -> &Imds {
        self.mock.beside().imds.as_ref().unwrap()
    }

    fn token(&mut self, header: Value, claims: Value) -> String {
        let mut claims = claims;
        if claims.get("exp").is_none() {
            claims["exp"] = json!(4_000_000_000_u64);
        }
        claims["note"] = json!(CLAIM);
        let token = self.entra().issue_with(header, claims);
        self.tokens.push(token.clone());
        token
    }

    fn post(&self) -> RequestBuilder {
        self.service.client.post(format!("http://{}{V1_CHAT}", self.service.address()))
    }

    /// Sends a request and keeps an answer that is no success.
    async fn ask(&mut self, request: RequestBuilder) -> u16 {
        let Ok(response) = request.send().await else { return 0 };
        let answer = Answer::read(response).await;
        let headers = format!("{:?}", answer.headers);
        if answer.status == 200 {
            self.said.push(("headers of an answer".to_owned(), headers));
        } else {
            let text = String::from_utf8_lossy(&answer.body);
            self.said.push((format!("a {}", answer.status), format!("{headers}\n{text}")));
        }
        answer.status
    }

    /// Asks until it is served: an identity's token may be under way, and backends may rest from their faults.
    async fn serves(&mut self, request: impl Fn(&Self) -> RequestBuilder) {
        let patience = Instant::now() + Duration::from_secs(20);
        while self.ask(request(self)).await != 200 {
            assert!(Instant::now() < patience, "{:?}", self.said.last());
        }
    }

    async fn to(&mut self, backend: &str) -> u16 {
        let request = self.post().header("api-key", KEY).header("x-probe-target", backend);
        self.ask(request.json(&body())).await
    }

    /// Bytes that need be no HTTP, and what comes back.
    async fn raw(&mut self, text: &str) {
        let mut socket = TcpStream::connect(self.service.address()).await.unwrap();
        drop(socket.write_all(text.as_bytes()).await);
        drop(socket.shutdown().await);
        let mut seen = Vec::new();
        drop(socket.read_to_end(&mut seen).await);
        self.said.push(("raw".to_owned(), String::from_utf8_lossy(&seen).into_owned()));
    }

    /// What the command line says to these arguments.
    async fn tell(&mut self, arguments: &[&str]) -> i32 {
        let (code, printed) = self.service.told(arguments).await;
        self.said.push((format!("{arguments:?}"), printed));
        code
    }

    /// What a command says that asks no service.
    async fn tell_alone(&mut self, arguments: &[&str]) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_firstlight"));
        command.args(arguments).arg(self.home.path("firstlight.yaml"));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let printed = [output.stdout, output.stderr].concat();
        self.said.push((format!("{arguments:?}"), String::from_utf8(printed).unwrap()));
    }

    async fn look(&mut self) {
        let admin = self.service.lines("admin listening").pop().unwrap();
        for path in ["/metrics", "/healthz", "/readyz", "/", "/status", "/nothing"] {
            let url = format!("http://{}{path}", admin["address"].as_str().unwrap());
            if let Ok(response) = self.service.client.get(url).send().await {
                let headers = format!("{:?}", response.headers());
                let text = headers + &response.text().await.unwrap();
                self.said.push((path.to_owned(), text));
            }
        }
        let live: [&[&str]; 3] = [&["status", "--json"], &["status"], &["diff"]];
        for arguments in live {
            self.tell(arguments).await;
        }
        let alone: [&[&str]; 2] = [&["config", "dump"], &["check"]];
        for arguments in alone {
            self.tell_alone(arguments).await;
        }
    }
}

async fn good_requests(stage: &mut Stage) {
    let token = stage.token(json!({}), json!({}));
    for _ in 0..3 {
        for backend in BACKENDS {
            let there = |stage: &Stage| {
                let request = stage.post().header("api-key", KEY);
                request.header("x-probe-target", backend).json(&body())
            };
            stage.serves(there).await;
        }
        stage.serves(|stage| stage.post().bearer_auth(&token).json(&body())).await;
        stage.serves(|stage| stage.post().bearer_auth(KEY).json(&body())).await;
    }
    let models = format!("http://{}/openai/v1/models", stage.service.address());
    let models = stage.service.client.get(models).bearer_auth(&token);
    assert_eq!(stage.ask(models).await, 200);
    for backend in ["managed", "secret"] {
        let sent = stage.mock.last_request(backend).unwrap().unwrap();
        let bearer = sent.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
        stage.tokens.push(bearer.to_owned());
    }
}

async fn refused_credentials(stage: &mut Stage) {
    let good = stage.token(json!({}), json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let turned: String = signature.chars().rev().collect();
    let forged = format!("{signed}.{turned}");
    stage.tokens.push(forged.clone());
    let bad = [
        (json!({}), json!({ "exp": 1_000_000_000 })),
        (json!({}), json!({ "roles": ["Other"] })),
        (json!({}), json!({ "roles": null })),
        (json!({}), json!({ "aud": CLAIM })),
        (json!({}), json!({ "iss": format!("https://{CLAIM}") })),
        (json!({}), json!({ "nbf": CLAIM })),
        (json!({}), json!({ "padding": "x".repeat(20 * 1024) })),
        (json!({ "kid": CLAIM }), json!({})),
        (json!({ "alg": "none" }), json!({})),
        (json!({ "jku": format!("https://{CLAIM}") }), json!({})),
        (json!({ "typ": CLAIM }), json!({})),
    ];
    let mut bearers: Vec<String> =
        bad.into_iter().map(|(header, claims)| stage.token(header, claims)).collect();
    bearers.extend([forged, STRANGERS_KEY.to_owned(), format!("{KEY}x"), signed.to_owned()]);
    for bearer in bearers {
        let status = stage.ask(stage.post().bearer_auth(&bearer).json(&body())).await;
        assert!(status == 401 || status == 403, "{status}");
    }
    let twice = stage.post().header("api-key", KEY).header("api-key", STRANGERS_KEY);
    assert_eq!(stage.ask(twice.json(&body())).await, 400);
    let basic = stage.post().basic_auth(KEY, Some(STRANGERS_KEY)).json(&body());
    assert_eq!(stage.ask(basic).await, 400);
    let elsewhere = ["cookie", "proxy-authorization", "ocp-apim-subscription-key", "x-api-key"];
    let hidden = elsewhere.iter().fold(stage.post(), |request, name| request.header(*name, KEY));
    assert_eq!(stage.ask(hidden.json(&body())).await, 401);
    for name in ["api-key", "subscription-key", "key", "access_token", "anything"] {
        let url = format!("http://{}{V1_CHAT}?{name}={QUERY}", stage.service.address());
        stage.ask(stage.service.client.post(url).header("api-key", KEY).json(&body())).await;
    }
}

async fn refused_requests(stage: &mut Stage) {
    let url = |stage: &Stage, path: &str| format!("http://{}{path}", stage.service.address());
    let texts = [
        format!("{{\"model\": \"gpt-4o\", \"messages\": {PROMPT}"),
        format!("{{\"model\": \"gpt-4o\", \"model\": \"gpt-4o\", \"messages\": \"{PROMPT}\"}}"),
        format!("{{\"model\": 7, \"messages\": \"{PROMPT}\"}}"),
        format!("{{\"messages\": \"{PROMPT}\"}}"),
        format!("{{\"model\": \"none\", \"messages\": \"{PROMPT}\"}}"),
        PROMPT.to_owned(),
    ];
    for text in texts {
        let request =
            stage.post().header("api-key", KEY).header("content-type", "application/json");
        assert!((400..500).contains(&stage.ask(request.body(text)).await));
    }
    let kind =
        stage.post().header("api-key", KEY).header("content-type", "text/plain").body(PROMPT);
    assert_eq!(stage.ask(kind).await, 415);
    let get = stage.service.client.put(url(stage, V1_CHAT)).header("api-key", KEY);
    assert_eq!(stage.ask(get).await, 405);
    let path = stage.service.client.post(url(stage, "/nothing")).header("api-key", KEY);
    assert_eq!(stage.ask(path).await, 404);
    let token = stage.token(json!({}), json!({}));
    let secrets = format!("api-key: {KEY}\r\nauthorization: Bearer {token}\r\n");
    let line = format!("POST {V1_CHAT}");
    for text in [
        format!("{line} HTTP/1.1\r\nhost: x\r\n{secrets}bad header\r\n\r\n{PROMPT}"),
        format!("{line} HTTP/1.1\r\nhost: x\r\n{secrets}x: \x01\r\n\r\n{PROMPT}"),
        format!("{line} HTTP/9.9\r\nhost: x\r\n{secrets}\r\n{PROMPT}"),
        format!("{line}\x01 HTTP/1.1\r\nhost: x\r\n{secrets}\r\n{PROMPT}"),
        format!("{line} HTTP/1.1\r\nhost: x\r\n{secrets}content-length: 999\r\n\r\n{PROMPT}"),
        format!("{line} HTTP/1.1\r\nhost: x\r\n{secrets}content-length: {PROMPT}\r\n\r\n{PROMPT}"),
        format!(
            "{line} HTTP/1.1\r\nhost: x\r\n{secrets}transfer-encoding: chunked\r\n\r\n{PROMPT}\r\n"
        ),
        format!("{line} HTTP/1.1\r\nhost: x\r\n{secrets}{}\r\n", "x-y: z\r\n".repeat(400)),
        format!("{line} HTTP/1.1\r\nhost: x\r\n{secrets}x: {}\r\n\r\n", "y".repeat(2 << 20)),
        format!("{line} HTTP/1.1\r\nhost: x\r\n{secrets}"),
        format!("CONNECT {KEY} HTTP/1.1\r\nhost: x\r\n{secrets}\r\n"),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{secrets}{PROMPT}"),
        format!("\x16\x03\x01{secrets}{PROMPT}"),
    ] {
        stage.raw(&text).await;
    }
}

async fn upstream_failures(stage: &mut Stage) {
    let faults = [
        Fault::Status5xx { status: 500 },
        Fault::Forbidden,
        Fault::UnknownDeployment,
        Fault::Reset,
        Fault::Refuse,
        Fault::Truncate { after_tokens: 3 },
        Fault::ErrorAfter200,
        Fault::EndBeforeContent,
        Fault::Garbage,
        Fault::WrongKey,
        Fault::WrongToken,
    ];
    for fault in faults {
        for backend in BACKENDS {
            stage.mock.set_fault(backend, fault.clone()).unwrap();
            stage.to(backend).await;
            let plain = stage.post().header("api-key", KEY).json(&body());
            stage.ask(plain).await;
            stage.mock.set_fault(backend, Fault::None).unwrap();
        }
    }
    // A client that leaves.
    for backend in BACKENDS {
        stage.mock.set_fault(backend, Fault::FreezeAfterRole).unwrap();
        let request = stage.post().header("api-key", KEY).json(&body()).send();
        drop(tokio::time::timeout(Duration::from_millis(50), request).await);
        stage.mock.set_fault(backend, Fault::None).unwrap();
    }
}

/// Tokens of our own that cannot be renewed, and signing keys that cannot be fetched.
async fn outages(stage: &mut Stage) {
    stage.entra().rotate().await.unwrap();
    fs::write(stage.home.path("client.secret"), WRONG_SECRET).unwrap();
    for (imds, entra) in [
        (ImdsFault::Status(400), EntraFault::None),
        (ImdsFault::Garbage, EntraFault::Garbage),
        (ImdsFault::Down, EntraFault::WrongIssuer),
    ] {
        stage.imds().set_fault(imds).unwrap();
        stage.entra().set_fault_everywhere(entra).unwrap();
        let (imds, entra) = (stage.imds().counters(), stage.entra().counters(EntraEndpoint::Token));
        let unknown = stage.token(json!({ "kid": "another" }), json!({}));
        assert_eq!(stage.ask(stage.post().bearer_auth(&unknown).json(&body())).await, 401);
        for backend in BACKENDS {
            stage.to(backend).await;
        }
        stage.imds().wait_until(|now| now.requests > imds.requests).await.unwrap();
        let asked = |now: &firstlight::mock::Counters| now.requests > entra.requests;
        stage.entra().wait_until(EntraEndpoint::Token, asked).await.unwrap();
    }
    fs::write(stage.home.path("client.secret"), CLIENT_SECRET).unwrap();
    stage.imds().set_fault(ImdsFault::None).unwrap();
    stage.entra().set_fault_everywhere(EntraFault::None).unwrap();
}

/// Files of operators who write secrets where none belong, each of which is refused.
async fn mistaken_files(stage: &mut Stage) {
    let good = yaml(&stage.home, &stage.mock);
    let file = format!("{{ file: {} }}", stage.home.path("backend.key").display());
    let bad = [
        good.replace(&file, BACKEND_KEY),
        good.replace(&file, &format!("{{ value: {BACKEND_KEY} }}")),
        good.replace(&format!("{{ api_key: {file} }}"), &format!("\"{BACKEND_KEY}\"")),
        good.replace(&hash(KEY), KEY),
        good.replace(
            "entra: { authority: \"http://",
            &format!("entra: {{ authority: \"http://u:{CLIENT_SECRET}@"),
        ),
        good.replace("{ endpoint: \"http://", &format!("{{ endpoint: \"http://u:{BACKEND_KEY}@")),
        good.replace("auth: managed_identity", &format!("auth: {{ bearer: {CLIENT_SECRET} }}")),
        format!("{good}\n  broken: [ {BACKEND_KEY}\n"),
    ];
    for text in bad {
        assert_ne!(text, good);
        stage.home.configure(&text);
        assert_ne!(stage.tell(&["reload"]).await, 0);
        stage.look().await;
    }
    // Secrets that are read from a file or the environment, and cannot be used.
    for wrong in [format!("{BACKEND_KEY}\nand more"), format!("{BACKEND_KEY}\x01"), String::new()] {
        fs::write(stage.home.path("backend.key"), wrong).unwrap();
        stage.home.configure(&good);
        stage.tell(&["reload"]).await;
        stage.tell_alone(&["check"]).await;
    }
    fs::write(stage.home.path("backend.key"), BACKEND_KEY).unwrap();
    stage.home.configure(&good.replace("drain_seconds: 5", "drain_seconds: 4"));
    stage.tell(&["diff"]).await;
    assert_eq!(stage.tell(&["reload"]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_said() {
    let mut stage = Stage::set().await;
    good_requests(&mut stage).await;
    refused_credentials(&mut stage).await;
    refused_requests(&mut stage).await;
    upstream_failures(&mut stage).await;
    outages(&mut stage).await;
    stage.look().await;
    mistaken_files(&mut stage).await;
    assert_eq!(stage.tell(&["upgrade"]).await, 0);
    good_requests(&mut stage).await;
    stage.service.ended().await;
    stage.look().await;

    let Stage { home, service, mut said, tokens, .. } = stage;
    let log = service.log();
    said.push(("the service log".to_owned(), log.join("\n")));
    said.extend(files(&home.path("state")));
    let access = fs::read_to_string(home.path("access.log")).unwrap();
    said.push(("the access log".to_owned(), access.clone()));
    // It was looked where there is something to be found.
    for library in ["hyper", "reqwest"] {
        let talks = |line: &String| line.contains("\"TRACE\"") || line.contains("\"DEBUG\"");
        let tells = log.iter().any(|line| talks(line) && line.contains(library));
        assert!(tells, "{library} tells everything");
    }
    let pingora = log.iter().find(|line| line.contains("pingora") && line.contains("\"TRACE\""));
    assert_eq!(pingora, None);
    assert!(access.lines().count() > 50 && access.contains("\"auth\":\"jwt\""));
    assert!(said.iter().any(|(what, _)| what.ends_with("learned.json")));
    assert!(said.iter().any(|(what, _)| what.contains("signing-keys-")));

    let mut secrets: Vec<String> = [
        KEY,
        STRANGERS_KEY,
        BACKEND_KEY,
        CLIENT_SECRET,
        WRONG_SECRET,
        CLAIM,
        PROMPT,
        QUERY,
        ANSWER,
    ]
    .map(str::to_owned)
    .into();
    let parts = tokens.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 16);
    secrets.extend(parts.map(str::to_owned));
    let found = leaks(&said, &secrets);
    let some: Vec<&str> = found.iter().take(20).map(String::as_str).collect();
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), some.join("\n"));
}
