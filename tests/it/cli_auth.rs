//! `firstlight key` and `firstlight token`, as their user meets them.

use crate::support::tokens::{
    AUDIENCE, OTHER_SIGNER, SIGNER, TENANT, header, v1_claims, v2_claims, with,
};
use firstlight::auth::key_text::{KeyForm, key_form};
use firstlight::clock::Clock;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs `firstlight` with a text on its standard input.
fn firstlight(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn texts(output: Output) -> (String, String) {
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn sha256(key: &str) -> String {
    hex::encode(Sha256::digest(key))
}

#[test]
fn a_new_key_comes_with_the_line_to_paste() {
    let (out, told) = texts(firstlight(&["key", "new", "--name", "2026-11"], ""));
    let (key, line) = out.trim_end().split_once('\n').unwrap();
    assert_eq!(key_form(key), KeyForm::Ours);
    assert_eq!(line, format!("- {{ name: \"2026-11\", sha256: {} }}", sha256(key)));
    assert!(told.contains("api_keys"), "{told}");

    // The line is configuration, and no key is made twice.
    let yaml = format!(
        "listen: [ {{ address: \"127.0.0.1:0\" }} ]\nbackends: {{ a: {{ endpoint: \"http://127.0.0.1:9\", auth: none }} }}\n\
         models: {{ gpt-4o: {{}} }}\napps:\n  dev:\n    api_keys:\n      {line}\n"
    );
    assert!(firstlight::config::check(&yaml).is_ok());
    let (json, _) = texts(firstlight(&["key", "new", "--json"], ""));
    let json: Value = serde_json::from_str(&json).unwrap();
    let other = json["key"].as_str().unwrap();
    assert!(other != key && json["sha256"] == sha256(other), "{json}");
}

#[test]
fn a_key_is_hashed_as_a_header_is_read() {
    let (key, _) = texts(firstlight(&["key", "new"], ""));
    let key = key.lines().next().unwrap();
    for input in [key.to_owned(), format!("{key}\n"), format!(" {key}\r\n")] {
        let (hash, told) = texts(firstlight(&["key", "hash"], &input));
        assert_eq!((hash.trim_end(), &*told), (&*sha256(key), ""));
    }
    let foreign = texts(firstlight(&["key", "hash"], "my own"));
    assert_eq!(foreign, (sha256("my own") + "\n", String::new()));
    let damaged = key.strip_suffix(|_: char| true).unwrap();
    let (hash, told) = texts(firstlight(&["key", "hash"], damaged));
    assert!(hash.trim_end() == sha256(damaged) && told.contains("checksum is wrong"), "{told}");
    let (json, _) = texts(firstlight(&["key", "hash", "--json"], damaged));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json, json!({ "sha256": sha256(damaged), "checksum": "wrong" }));
}

#[test]
fn what_is_no_key_is_told() {
    for (input, says) in [
        ("", "no key on standard input"),
        (" \n", "no key on standard input"),
        ("one\ntwo\n", "more than one line"),
        (&*"k".repeat(513), "at most 512"),
    ] {
        let output = firstlight(&["key", "hash"], input);
        assert_eq!(output.status.code(), Some(1));
        let (out, told) = texts(output);
        assert!(out.is_empty() && told.contains(says), "{told}");
    }
    assert_eq!(firstlight(&["key", "hash", "a-key"], "").status.code(), Some(2));
    assert_eq!(firstlight(&["key"], "").status.code(), Some(2));
}

/// A configuration with one app, a key set, and a moment that is now.
struct Desk {
    folder: tempfile::TempDir,
    now: u64,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!(
            "listen: [ {{ address: \"127.0.0.1:0\" }} ]\nbackends: {{ a: {{ endpoint: \"http://127.0.0.1:9\", auth: none }} }}\n\
             models: {{ gpt-4o: {{}} }}\napps:\n  chat:\n    entra:\n      tenant: {TENANT}\n\
             \x20     audiences: [ {AUDIENCE}, \"api://{AUDIENCE}\" ]\n"
        );
        std::fs::write(folder.path().join("firstlight.yaml"), yaml).unwrap();
        let keys = json!({ "keys": [SIGNER.jwk()] }).to_string();
        std::fs::write(folder.path().join("keys.json"), keys).unwrap();
        Self { folder, now: Clock::start().unix().as_secs() }
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    fn claims(&self, claims: &Value, members: &Value) -> Value {
        let times = json!({ "iat": self.now, "nbf": self.now, "exp": self.now + 3600 });
        with(&with(claims, &times), members)
    }

    /// Exit code, and what is printed.
    fn inspect(&self, token: &str, more: &[&str]) -> (Option<i32>, String) {
        let config = self.path("firstlight.yaml");
        let arguments = [&["token", "inspect", "--config", &*config], more].concat();
        let output = firstlight(&arguments, token);
        let code = output.status.code();
        let (out, told) = texts(output);
        (code, out + &told)
    }
}

#[test]
fn a_good_token_is_accepted_step_by_step() {
    let desk = Desk::new();
    let keys = desk.path("keys.json");
    for claims in [v2_claims(), v1_claims()] {
        let token = SIGNER.sign(&header(), &desk.claims(&claims, &json!({})));
        for input in [token.clone(), format!("{token}\n"), format!("Bearer {token}\n")] {
            let (code, said) = desk.inspect(&input, &["--jwks", &keys]);
            assert_eq!(code, Some(0), "{said}");
            assert!(said.ends_with("accepted, for the app chat\n"), "{said}");
            assert!(!said.contains(token.rsplit_once('.').unwrap().1));
        }
        let (code, said) = desk.inspect(&token, &[]);
        assert!(code == Some(0) && said.contains("if the signature is right"), "{said}");
        for (more, expected) in
            [(&["--json"][..], json!(null)), (&["--json", "--jwks", &keys], json!(true))]
        {
            let said = desk.inspect(&token, more).1;
            assert_eq!(
                serde_json::from_str::<Value>(&said).unwrap()["accepted"],
                expected,
                "{said}"
            );
        }
    }
}

#[test]
fn a_bad_token_is_refused_with_advice() {
    let desk = Desk::new();
    let keys = desk.path("keys.json");
    let claims = desk.claims(&v2_claims(), &json!({ "aud": "api://other", "roles": ["Other"] }));
    let token = OTHER_SIGNER.sign(&header(), &claims);
    let (code, said) = desk.inspect(&token, &["--jwks", &keys]);
    assert_eq!(code, Some(1), "{said}");
    for line in ["REFUSED  audience", "-> accepted: ", "REFUSED  signature", "ok       issuer"] {
        assert!(said.contains(line), "{line} not in: {said}");
    }
    assert!(
        said.ends_with("refused: the token is for another audience (wrong_audience)\n"),
        "{said}"
    );
    let (code, said) = desk.inspect(&token, &["--jwks", &keys, "--json"]);
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &json["accepted"]), (Some(1), &json!(false)));
    let steps = json["steps"].as_array().unwrap();
    let audience = steps.iter().find(|step| step["what"] == "audience").unwrap();
    assert_eq!(
        (&audience["verdict"], &audience["reason"]),
        (&json!("refused"), &json!("wrong_audience"))
    );
    for garbage in ["", "x", &"eyJ".repeat(100_000)] {
        assert_eq!(desk.inspect(garbage, &["--jwks", &keys]).0, Some(1));
    }
}

#[test]
fn files_that_cannot_be_used_are_told() {
    let desk = Desk::new();
    let token = SIGNER.sign(&header(), &desk.claims(&v2_claims(), &json!({})));
    let config = desk.path("firstlight.yaml");
    for (file, says) in [("missing", "cannot read"), ("firstlight.yaml", "not a key set")] {
        let (code, said) = desk.inspect(&token, &["--jwks", &desk.path(file)]);
        assert!(code == Some(3) && said.contains(says) && said.contains(file), "{said}");
    }
    std::fs::write(config, "listen: 7\n").unwrap();
    assert_eq!(desk.inspect(&token, &[]).0, Some(1));
    assert_eq!(firstlight(&["token", "inspect", &token], "").status.code(), Some(2));
}
