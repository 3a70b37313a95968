//! The real executable, as its user meets it.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

fn firstlight(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firstlight")).args(arguments).output().unwrap()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn local(listen: &str) -> String {
    format!(
        "listen: [ {{ address: \"{listen}\" }} ]\nadmin: {{ address: 127.0.0.1:0 }}\n\
         backends: {{ a: {{ endpoint: \"http://127.0.0.1:9\", auth: none }} }}\nmodels: {{ gpt-4o: {{}} }}\n\
         apps: {{ dev: {{ anonymous: true }} }}\nrouting: {{ probe: {{ interval_seconds: 0 }} }}\n"
    )
}

/// Runs `firstlight` with a file; its exit code, and what it printed.
fn check(arguments: &[&str], text: &str, code: i32, says: &[&str]) {
    let file = file(text);
    let path = file.path().display().to_string();
    let output = firstlight(&[arguments, &[path.as_str()]].concat());
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).unwrap();
    assert_eq!(output.status.code(), Some(code), "{printed}");
    for word in says {
        assert!(printed.contains(word), "{word} not in: {printed}");
    }
}

#[test]
fn a_good_file_is_told_in_one_line() {
    check(&["check"], &local("127.0.0.1:0"), 0, &["ok: 1 backends, 1 models, 1 targets, 1 apps"]);
}

#[test]
fn every_problem_is_told_with_its_place() {
    let text =
        local("127.0.0.1:0").replace("gpt-4o: {}", "gpt-4o: { backend: [a] }") + "rooting: {}\n";
    check(
        &["check"],
        &text,
        1,
        &[".yaml:4:", "did you mean `backends`", ".yaml:7:1", "did you mean `routing`"],
    );
    check(&["run", "--config"], &text, 1, &[".yaml:4:", ".yaml:7:1"]);
}

#[test]
fn problems_come_as_json_too() {
    let file = file("listen: 7\n");
    let output = firstlight(&["check", "--json", &file.path().display().to_string()]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["problems"][0]["line"], 1);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn exit_codes_are_as_documented() {
    let help = firstlight(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(text.lines().count() <= 24 && text.contains("Exit codes"), "{text}");
    assert_eq!(firstlight(&["nonsense"]).status.code(), Some(2));
    assert_eq!(firstlight(&["check", "/no/such/file"]).status.code(), Some(3));
    let missing = local("127.0.0.1:0")
        .replace("auth: none", "auth: { api_key: { env: FIRSTLIGHT_NO_SUCH_KEY } }");
    check(
        &["run", "--config"],
        &missing,
        3,
        &["backends.a.auth.api_key", "FIRSTLIGHT_NO_SUCH_KEY is not set"],
    );
}

#[test]
fn what_is_no_file_of_text_is_told_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("latin1.yaml");
    std::fs::write(&text, b"listen: []\n# \xe9\n").unwrap();
    for (path, says) in [
        (directory.path(), "a directory; name the file in it"),
        (text.as_path(), "line 2 is not UTF-8; save the file as UTF-8"),
    ] {
        let path = path.display().to_string();
        for command in [&["check"][..], &["run", "--config"], &["config", "dump"]] {
            let output = firstlight(&[command, &[path.as_str()]].concat());
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(told, format!("firstlight: cannot read the configuration {path}: {says}\n"));
            assert_eq!(output.status.code(), Some(3));
        }
    }
}

#[test]
fn a_taken_port_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(
        &["run", "--config"],
        &local(&address),
        3,
        &["cannot listen on", &address, "free the port"],
    );
}

#[test]
fn the_dump_of_a_file_means_the_same() {
    let original = file(&local("127.0.0.1:0"));
    let dump = firstlight(&["config", "dump", &original.path().display().to_string()]);
    check(&["check"], &String::from_utf8(dump.stdout).unwrap(), 0, &["ok: 1 backends"]);
}

struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn it_starts_on_a_free_port_says_which_and_stops_on_sigterm() {
    let config = file(&local("127.0.0.1:0"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
    command.args(["run", "--config", &config.path().display().to_string()]);
    let mut started =
        Started(command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    let mut log = BufReader::new(started.0.stderr.take().unwrap()).lines();
    let mut address = |message: &str| {
        let line: Value = log
            .by_ref()
            .map(|l| serde_json::from_str(&l.unwrap()).unwrap())
            .find(|l: &Value| l["message"] == message)
            .unwrap();
        line["address"].as_str().unwrap().to_owned()
    };
    let (front, admin) = (address("listening"), address("admin listening"));
    assert!(
        std::net::TcpStream::connect(&front).is_ok()
            && std::net::TcpStream::connect(&admin).is_ok()
    );
    let id = started.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(started.0.wait().unwrap().code(), Some(0));
    assert!(log.any(|line| line.unwrap().contains("\"draining\"")));
}

#[test]
fn a_machine_without_certificate_authorities_is_told_so() {
    let config = file(&local("127.0.0.1:0"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
    command.args(["run", "--config", &config.path().display().to_string()]);
    let output = command
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{printed}");
    assert!(printed.contains("ca-certificates"), "{printed}");
}

#[test]
fn models_that_think_for_tens_of_minutes_want_time() {
    let short = ["may think for tens of minutes", "first_token_seconds: 1800"];
    for name in ["o3-pro", "gpt-5-pro", "o3-deep-research-2025-06-26"] {
        check(&["check"], &local("127.0.0.1:0").replace("gpt-4o", name), 0, &short);
    }
    let long = local("127.0.0.1:0").replace("gpt-4o: {}", "o3-pro: { first_token_seconds: 1800 }")
        + "timeouts: { answer_seconds: 1800 }\n";
    for text in [long, local("127.0.0.1:0").replace("gpt-4o", "professor")] {
        let file = file(&text);
        let output = firstlight(&["check", &file.path().display().to_string()]);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(!printed.contains("warning") && printed.contains("ok: 1 backends"), "{printed}");
    }
}

#[test]
fn a_time_out_below_what_the_model_takes_is_told() {
    let state = tempfile::tempdir().unwrap();
    let base = r#"{"base":{"ln_ms":11.0,"spread":1.0,"samples":100},"score":null,"state":"healthy","flag_left_ms":null,"limited_ms":0}"#;
    let norm = r#"{"sizes":{},"samples":100,"late_mult":2.0,"ln_total_ms":0.0,"totals":0}"#;
    let learned = format!(
        r#"{{"version":1,"saved_at_unix_seconds":1,"drained":[],"models":{{"gpt-4o":{{"norm":{norm},"targets":{{"a":{base}}}}}}}}}"#
    );
    std::fs::write(state.path().join("learned.json"), learned).unwrap();
    let text = |seconds: u32| {
        let model = format!("gpt-4o: {{ first_token_seconds: {seconds} }}");
        let state = state.path().display();
        local("127.0.0.1:0").replace("gpt-4o: {}", &model) + &format!("state_directory: {state}\n")
    };
    let told = "models.gpt-4o.first_token_seconds: 60 s is less than this model usually takes";
    check(&["check"], &text(60), 0, &["warning: ", told, "up to 119.7 s"]);
    let file = file(&text(150));
    let output = firstlight(&["check", &file.path().display().to_string()]);
    assert!(!String::from_utf8(output.stdout).unwrap().contains("warning"));
}
