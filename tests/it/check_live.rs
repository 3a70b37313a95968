//! `firstlight check --live`: what is well, what is not, and what to do, with mocks.

use crate::support::{BACKEND_KEY, KEY, Pem, Setup, World, hash};
use firstlight::clock::Clock;
use firstlight::config;
use firstlight::mock::{
    BackendSpec, BearerSpec, Behaviour, Beside, Entra, EntraFault, EntraSpec, Fault, Imds,
    ImdsFault, ImdsSpec, Limit, Mock, RetryAfter,
};
use firstlight::preflight::{Preflight, Report, TargetRow};
use firstlight::telemetry::{AccessLog, Metrics, Telemetry};
use serde_json::Value;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// What no test waits for.
const LONG: Duration = Duration::from_secs(15);
/// Within which whatever never comes is given up.
const SHORT: Duration = Duration::from_secs(1);

/// Mock regions, and a folder for keys and the configuration.
struct Desk {
    mock: Mock,
    folder: TempDir,
}

impl Desk {
    /// `key` takes the key, `managed` and `secret` take tokens.
    async fn new() -> Self {
        let entra = Entra::start(EntraSpec::default()).await.unwrap();
        let imds = Imds::start(ImdsSpec::default(), entra.clone()).await.unwrap();
        let beside = Beside { entra: Some(entra), imds: Some(imds) };
        let specs = ["key", "managed", "secret"].map(|name| {
            let mut spec = BackendSpec::local(name, Behaviour::instant());
            match name {
                "key" => spec.api_key = Some(BACKEND_KEY.to_owned()),
                _ => spec.bearer = Some(BearerSpec::default()),
            }
            spec.deployments = Some(vec!["gpt-4o".to_owned(), "o3-mini".to_owned()]);
            spec
        });
        let mock = Mock::start_beside(beside, specs.to_vec(), None, 1).await.unwrap();
        let desk = Self { mock, folder: tempfile::tempdir().unwrap() };
        desk.file("key", BACKEND_KEY);
        desk.file("secret", EntraSpec::SECRET);
        desk
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn endpoint(&self, backend: &str) -> String {
        format!("http://{}", self.mock.address(backend).unwrap())
    }

    fn auth(&self, kind: &str) -> String {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        match kind {
            "key" => format!("{{ api_key: {{ file: \"{}\" }} }}", path("key")),
            "managed" => "managed_identity".to_owned(),
            _ => format!(
                "{{ client_secret: {{ tenant: {}, client_id: {}, secret: {{ file: \"{}\" }} }} }}",
                EntraSpec::TENANT,
                EntraSpec::CLIENT,
                path("secret")
            ),
        }
    }

    /// A configuration of all three, with these models and an app for tokens of the tenant.
    fn yaml(&self, models: &str) -> String {
        let backend = |name: &str| {
            format!(
                "  {name}: {{ endpoint: \"{}\", auth: {} }}\n",
                self.endpoint(name),
                self.auth(name)
            )
        };
        self.of(&["key", "managed", "secret"].map(backend).concat(), models)
    }

    fn of(&self, backends: &str, models: &str) -> String {
        let beside = self.mock.beside();
        let (entra, imds) = (beside.entra.as_ref().unwrap(), beside.imds.as_ref().unwrap());
        let state = self.folder.path().join("state");
        std::fs::create_dir_all(&state).unwrap();
        format!(
            "listen: [ {{ address: \"127.0.0.1:0\" }} ]\nadmin: {{ address: 127.0.0.1:0 }}\n\
             state_directory: {}\nbackends:\n{backends}models:\n{models}apps:\n  dev:\n    \
             api_keys: [ {{ sha256: {}, name: k }} ]\n    entra: {{ tenant: {}, audiences: [ \"{}\" ] }}\n\
             entra: {{ authority: \"{}\", imds: \"{}\" }}\n",
            state.display(),
            hash(KEY),
            EntraSpec::TENANT,
            EntraSpec::API,
            entra.authority(),
            imds.url(),
        )
    }

    /// A configuration with one backend of another endpoint, with the key.
    fn one(&self, endpoint: &str, more: &str) -> String {
        let backend =
            format!("  one: {{ endpoint: \"{endpoint}\", auth: {}{more} }}\n", self.auth("key"));
        self.of(&backend, "  gpt-4o: {}\n")
    }

    /// Runs the real executable; its exit code and all that it printed.
    fn firstlight(&self, yaml: &str, more: &[&str]) -> (Option<i32>, String) {
        let file = self.file("firstlight.yaml", yaml);
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
        let output = command.args(["check", "--live", &file]).args(more).output().unwrap();
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        for secret in [BACKEND_KEY, EntraSpec::SECRET, KEY, "eyJ", "Bearer"] {
            assert!(!printed.contains(secret), "{secret} in {printed}");
        }
        (output.status.code(), printed)
    }
}

async fn look(yaml: &str, step: Duration) -> Report {
    let config =
        config::check(yaml).unwrap_or_else(|problems| panic!("{problems:?}\n{yaml}")).config;
    let telemetry = Arc::new(Telemetry::new(Metrics::new().unwrap(), AccessLog::off()));
    Preflight::new(config, telemetry, step).unwrap().run().await
}

/// The target of a backend, and its advice.
fn of<'a>(report: &'a Report, backend: &str) -> (&'a TargetRow, &'a str) {
    let row = report.targets.iter().find(|row| row.backend == backend).unwrap();
    (row, row.advice().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_with_a_key_a_managed_identity_and_a_client_secret() {
    let desk = Desk::new().await;
    // A port that is taken: nothing is listened on.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let models = "  gpt-4o: {}\n  o3-mini: {}\n  strange: { probe: off }\n";
    let yaml = desk.yaml(models).replacen("127.0.0.1:0", &taken, 1);
    let (code, said) = desk.firstlight(&yaml, &[]);
    assert_eq!(code, Some(0), "{said}");
    let tenant = format!("tenant {}: 1 signing key\n", EntraSpec::TENANT);
    for part in
        ["backend  model", "what to do", "token", "key", "200, ", "nothing is wrong", &tenant]
    {
        assert!(said.contains(part), "{part} not in: {said}");
    }
    assert_eq!(said.matches("models.strange.probe is off").count(), 3, "{said}");
    for backend in ["key", "managed", "secret"] {
        // One for each of two models; `o3-mini` refused the older name of the limit first.
        assert_eq!(desk.mock.counters(backend).unwrap().requests, 3, "{backend}");
        let sent = desk.mock.last_request(backend).unwrap().unwrap();
        assert!(sent.header("user-agent").unwrap().starts_with("firstlight-probe/"));
    }
    let state = std::fs::read_dir(desk.folder.path().join("state")).unwrap();
    assert_eq!(state.count(), 0, "the state directory is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_the_same() {
    let desk = Desk::new().await;
    desk.mock.set_fault("secret", Fault::Status5xx { status: 500 }).unwrap();
    let (code, said) = desk.firstlight(&desk.yaml("  gpt-4o: {}\n"), &["--json"]);
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &json["ok"], &json["problems"]),
        (Some(3), &false.into(), &Value::Array(vec![]))
    );
    let row = |backend: &str| {
        json["targets"].as_array().unwrap().iter().find(|row| row["backend"] == backend).unwrap()
    };
    let key = row("key");
    for (path, expected) in [("ok", true), ("dns/ok", true), ("tls/ok", true), ("answer/ok", true)]
    {
        assert_eq!(key.pointer(&format!("/{path}")), Some(&expected.into()), "{path}: {key}");
    }
    assert_eq!(
        (&key["model"], &key["status"], &key["deployment"]),
        (&"gpt-4o".into(), &200.into(), &"gpt-4o".into())
    );
    assert!(key["first_token_ms"].as_f64().is_some() && key["what_to_do"].is_null(), "{key}");
    let ill = row("secret");
    assert_eq!((&ill["ok"], &ill["status"]), (&false.into(), &500.into()));
    assert_eq!(ill["answer"]["told"], "HTTP 500");
    assert_eq!(
        (&json["tenants"][0]["tenant"], &json["tenants"][0]["ok"]),
        (&EntraSpec::TENANT.into(), &true.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_problems_is_not_looked_at() {
    let desk = Desk::new().await;
    let (code, said) = desk.firstlight("listen: 7\n", &[]);
    assert!(code == Some(1) && !said.contains("what to do"), "{said}");
    assert_eq!(desk.firstlight(&desk.yaml("  gpt-4o: {}\n"), &["--text-only"]).0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_credential_and_a_missing_deployment_are_told() {
    let desk = Desk::new().await;
    desk.file("key", "another-key");
    let yaml = desk.yaml("  gpt-4o: {}\n  gone: { backends: { managed: not-there } }\n");
    let (code, said) = desk.firstlight(&yaml, &[]);
    assert!(code == Some(3) && said.contains("2 of 4 lines"), "{said}");
    assert!(!said.contains("another-key"), "{said}");
    assert!(said.contains("HTTP 401") && said.contains("put this one's into"), "{said}");
    assert!(said.contains("HTTP 404") && said.contains("no deployment not-there"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_wants_a_role() {
    let desk = Desk::new().await;
    let auth = desk.auth("key");
    let backend = |name: &str, auth: &str| {
        format!("  {name}: {{ endpoint: \"{}\", auth: {auth} }}\n", desk.endpoint(name))
    };
    // The backends take tokens of the usual scope only.
    let scoped = "{ managed_identity: { scope: \"https://other.example/.default\" } }";
    let yaml = desk.of(&(backend("key", &auth) + &backend("managed", scoped)), "  gpt-4o: {}\n");
    let report = look(&yaml, LONG).await;
    let (row, advice) = of(&report, "managed");
    assert_eq!((row.status, row.answer.told.as_str()), (Some(401), "HTTP 401"), "{report:?}");
    assert!(advice.contains("'Cognitive Services OpenAI User'"), "{advice}");
    assert!(of(&report, "key").0.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_an_answer() {
    let desk = Desk::new().await;
    let (retry_after, limit) = (RetryAfter::default(), Limit::default());
    desk.mock.set_fault("key", Fault::Status429 { retry_after, limit }).unwrap();
    let (code, said) = desk.firstlight(&desk.yaml("  gpt-4o: {}\n"), &[]);
    assert!(code == Some(0) && said.contains("429, limited") && said.contains("quota"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_hangs_is_given_up_within_its_bound() {
    let desk = Desk::new().await;
    desk.mock.set_fault("key", Fault::FreezeBeforeHeaders).unwrap();
    desk.mock.set_fault("secret", Fault::FreezeAfterFilter).unwrap();
    let clock = Clock::start();
    let begun = clock.now();
    let report = look(&desk.yaml("  gpt-4o: {}\n"), SHORT).await;
    let took = clock.now().since(begun);
    assert!(took < LONG, "{took:?}");
    for (backend, status) in [("key", None), ("secret", Some(200))] {
        let row = of(&report, backend).0;
        assert_eq!((row.answer.told.as_str(), row.status), ("none in 1 s", status), "{backend}");
    }
    assert!(of(&report, "managed").0.is_ok() && !report.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_or_a_port_that_is_not_there_is_told() {
    let desk = Desk::new().await;
    let report = look(&desk.one("https://nowhere.invalid", ""), LONG).await;
    let (row, advice) = of(&report, "one");
    assert_eq!((row.dns.told.as_str(), row.tls.told.as_str()), ("not found", "-"));
    assert!(
        row.answer.good.is_none() && advice.contains("privatelink.openai.azure.com"),
        "{advice}"
    );

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let report = look(&desk.one(&format!("http://{free}"), ""), LONG).await;
    let (row, advice) = of(&report, "one");
    assert_eq!((row.tls.told.as_str(), row.answer.told.as_str()), ("refused", "-"));
    assert!(advice.contains(&free.to_string()), "{advice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_told_apart() {
    let desk = Desk::new().await;
    let plain = desk.endpoint("key").replace("http:", "https:");
    let report = look(&desk.one(&plain, ""), LONG).await;
    let (row, advice) = of(&report, "one");
    assert_eq!(row.tls.told, "no TLS", "{row:?}");
    assert!(advice.contains("correct the endpoint"), "{advice}");

    for (name, trusted, told) in [
        ("localhost", true, None),
        ("localhost", false, Some("certificate: unknown issuer")),
        ("elsewhere.example", true, Some("certificate: wrong name")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        Pem::of(name).write(folder.path());
        let file = |name: &str| folder.path().join(name).display().to_string();
        let tls = Some((file("tls.crt"), file("tls.key")));
        let back = World::of(Setup { tls, ..Setup::default() }).await;
        desk.file("key", KEY);
        let ca = if trusted { format!(", ca: \"{}\"", file("tls.crt")) } else { String::new() };
        let endpoint = format!("https://localhost:{}", back.address().port());
        let report = look(&desk.one(&endpoint, &ca), LONG).await;
        let row = of(&report, "one").0;
        assert_eq!(told.is_none(), row.is_ok(), "{row:?}");
        assert_eq!(row.dns.told, "1 address");
        if let Some(told) = told {
            assert_eq!((row.tls.told.as_str(), row.status), (told, None));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_and_no_signing_keys_are_told() {
    let desk = Desk::new().await;
    let Beside { entra: Some(entra), imds: Some(imds) } = desk.mock.beside() else {
        panic!("both are there")
    };
    let yaml = desk.yaml("  gpt-4o: {}\n");
    imds.set_fault(ImdsFault::Status(400)).unwrap();
    let report = look(&yaml, SHORT).await;
    let (row, advice) = of(&report, "managed");
    assert_eq!((row.credential.told.as_str(), row.answer.told.as_str()), ("no token", "-"));
    assert!(advice.contains("no such identity (HTTP 400)"), "{advice}");
    assert!(of(&report, "secret").0.is_ok() && report.tenants[0].keys.is_good());

    imds.set_fault(ImdsFault::Down).unwrap();
    entra.set_fault_everywhere(EntraFault::Down).unwrap();
    let report = look(&yaml, SHORT).await;
    for (backend, place) in [("managed", imds.url()), ("secret", entra.authority().to_owned())] {
        let (row, advice) = of(&report, backend);
        assert_eq!(row.credential.told, "no token");
        assert!(advice.contains(&place) && advice.contains("cannot be reached"), "{advice}");
    }
    assert_eq!(
        desk.mock.counters("managed").unwrap().requests,
        0,
        "nothing is sent without a token"
    );
    assert!(of(&report, "key").0.is_ok() && !report.is_ok());
    let lines = report.table();
    let line = lines.iter().find(|line| line.starts_with("tenant ")).unwrap();
    assert!(line.contains("no signing keys: ") && line.contains("no connection"), "{line}");
}
