//! What keeps a real process from starting is one line, an exit code and nothing else; `firstlight check` says
//! most of it before.

use crate::support::{Home, Pem};
use firstlight::mock::Behaviour;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

async fn home() -> Home {
    Home::new(Behaviour::instant()).await
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// It does not start with that file: one line with all these words, and nothing left behind.
fn check_start(home: &Home, yaml: &str, says: &[&str]) {
    assert_ne!(yaml, home.yaml(), "{says:?}");
    home.configure(yaml);
    // Its access log is a file that the test makes.
    let mut command = home.command(&[]);
    let before = names(&home.path(""));
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert!(printed.starts_with("firstlight: "), "{printed}");
    for word in says {
        assert!(printed.contains(word), "{word} not in: {printed}");
    }
    assert_eq!(names(&home.path("")), before);
    assert_eq!(names(&home.path("state")), [""; 0]);
}

fn with_tls(home: &Home, tls: &str) -> String {
    home.yaml().replacen(
        "address: 127.0.0.1:0 }",
        &format!("address: 127.0.0.1:0, tls: {tls} }}"),
        1,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_keeps_it_from_starting_is_one_line() {
    let home = home().await;
    let yaml = home.yaml();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let free = ["cannot listen on", taken.as_str(), "free the port"];
    check_start(&home, &yaml.replacen("127.0.0.1:0", &taken, 1), &free);
    let admin = format!("admin: {{ address: {taken},");
    check_start(&home, &yaml.replace("admin: { address: 127.0.0.1:0,", &admin), &free);

    let missing = home.path("none").display().to_string();
    let key = home.path("backend.key").display().to_string();
    let words = ["backends.a.auth.api_key", "cannot read", missing.as_str()];
    check_start(&home, &yaml.replacen(&key, &missing, 1), &words);

    let folder = tempfile::tempdir().unwrap();
    let tls = Pem::of("localhost").write(folder.path());
    fs::write(folder.path().join("tls.crt"), "nothing").unwrap();
    check_start(&home, &with_tls(&home, &tls), &["127.0.0.1:0", "tls.crt", "holds no certificate"]);

    let socket = home.path("admin.sock").display().to_string();
    let nowhere = home.path("none/admin.sock").display().to_string();
    let words = ["admin.socket: cannot listen on", nowhere.as_str(), "name another"];
    check_start(&home, &yaml.replace(&socket, &nowhere), &words);
    // A file that is no socket is not ours to replace.
    check_start(&home, &yaml.replace(&socket, &key), &["admin.socket", "a file that is no socket"]);
    assert!(fs::metadata(&key).unwrap().len() > 0);

    let state = home.path("state").display().to_string();
    let words = ["state_directory: ", missing.as_str(), "must exist"];
    check_start(&home, &yaml.replace(&state, &missing), &words);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_long_a_socket_path_is_a_problem_of_the_file() {
    let home = home().await;
    let socket = home.path("admin.sock").display().to_string();
    home.configure(&home.yaml().replace(&socket, &format!("/{}", "x".repeat(107))));
    let output = home.command(&[]).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), printed.lines().count()), (Some(1), 1), "{printed}");
    assert!(printed.contains("admin.socket: longer than the 107 bytes"), "{printed}");
}

/// `firstlight check` and what it prints, whole and as JSON.
fn check(home: &Home, more: &[&str]) -> (i32, String, Value) {
    let run = |format: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
        command.arg("check").arg(home.path("firstlight.yaml")).args(more).args(format);
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let ((code, text), (same, json)) = (run(&[]), run(&["--json"]));
    assert_eq!(code, same);
    (code, text, serde_json::from_str(&json).unwrap())
}

/// The file's text is good, and what it points at is not.
fn check_pointing(home: &Home, yaml: &str, says: &str) {
    home.configure(yaml);
    let (code, text, json) = check(home, &[]);
    assert_eq!((code, text.lines().count(), json["ok"].as_bool()), (1, 1, Some(false)), "{text}");
    assert!(text.contains("firstlight.yaml: ") && text.contains(says), "{says} not in: {text}");
    let problems = json["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{json}");
    assert!(problems[0]["wrong"].as_str().unwrap().contains(says), "{json}");

    let (code, text, json) = check(home, &["--text-only"]);
    assert!(text.contains("ok: 2 backends, 1 models, 2 targets, 1 apps"), "{text}");
    assert_eq!(
        (code, json["ok"].as_bool(), json["problems"].as_array().unwrap().len()),
        (0, Some(true), 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_opens_what_the_file_points_at_unless_it_is_told_not_to() {
    let home = home().await;
    let (code, text, json) = check(&home, &[]);
    assert_eq!((code, json["ok"].as_bool()), (0, Some(true)), "{text}");
    let key = format!("file: {}", home.path("backend.key").display());
    let yaml = home.yaml();
    let pointing = |to: &str| yaml.replacen(&key, to, 1);
    check_pointing(&home, &pointing("env: FIRSTLIGHT_NO_SUCH"), "FIRSTLIGHT_NO_SUCH is not set");
    check_pointing(&home, &pointing("file: /no/such/key"), "cannot read /no/such/key");
    let folder = tempfile::tempdir().unwrap();
    let tls = Pem::of("localhost").write(folder.path());
    fs::write(folder.path().join("tls.key"), "nothing").unwrap();
    check_pointing(&home, &with_tls(&home, &tls), "holds no private key");
    check_pointing(&home, &yaml.replace(" tier: 0,", " tier: 0, ca: /no/such/ca,"), "/no/such/ca");
    assert!(!home.path("admin.sock").exists(), "it only looks");
}
