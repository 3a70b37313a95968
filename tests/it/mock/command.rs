//! `firstlight mock` with a fake Entra and a fake IMDS beside its backends.

use crate::mock::client;
use firstlight::mock::EntraStatus;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

const OTHER_TENANT: &str = "b3f1c2d4-0a9b-4e8d-9c7f-6a5b4c3d2e1f";

/// A running `firstlight mock`, which ends with the test.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
        let mut child = command.arg("mock").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const ARGUMENTS: [&str; 6] =
    ["--backend", "a=127.0.0.1:0,bearer=true", "--entra", "127.0.0.1:0", "--imds", "127.0.0.1:0"];

#[tokio::test]
async fn it_says_in_json_where_everything_is() {
    let mut running =
        Running::start(&[&ARGUMENTS[..], &["--json", "--tenant", OTHER_TENANT]].concat());
    let addresses: Value = serde_json::from_str(&running.line()).unwrap();
    let url =
        |place: &str| format!("http://{}", addresses.pointer(place).unwrap().as_str().unwrap());
    let client = client(|builder| builder);
    let shown = client.get(url("/control") + "/entra").send().await.unwrap();
    let shown: EntraStatus = shown.json().await.unwrap();
    assert_eq!((shown.authority, shown.tenants), (url("/entra"), vec![OTHER_TENANT.to_owned()]));

    let query =
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://ai.azure.com";
    let asked = client.get(url("/imds") + query).header("metadata", "true");
    let token: Value = asked.send().await.unwrap().json().await.unwrap();
    let ask = client.post(url("/backends/a") + crate::mock::V1_CHAT);
    let ask = ask.json(&json!({"model": "m", "messages": []}));
    let answer = ask.bearer_auth(token["access_token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[test]
fn it_says_in_words_where_everything_is() {
    let mut running = Running::start(&ARGUMENTS);
    for name in ["a", "entra", "imds", "control"] {
        let line = running.line();
        assert!(line.starts_with(&format!("{name}: http://127.0.0.1:")), "{line}");
    }
    let steered = |line: &String| line.contains("/entra/tokens") && line.contains("127.0.0.1:");
    assert!(std::iter::repeat_with(|| running.line()).any(|line| steered(&line)));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let check = |arguments: &[&str], problem: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
        let output = command.arg("mock").args(arguments).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(problem), "{arguments:?}: {told}");
    };
    check(&["--imds", "127.0.0.1:0"], "--entra <ADDRESS>");
    check(&["--entra", "0.0.0.0:0"], "loopback");
    check(&["--entra", "127.0.0.1:0", "--tenant", "contoso.com"], "no GUID");
    check(&["--backend", "a=127.0.0.1:0,bearer=true"], "bearer needs an Entra");
}
