//! `firstlight simulate`, as its user meets it.

use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
    command.arg("simulate").args(arguments).output().unwrap()
}

/// Runs the command; its exit code, and words that it printed.
fn check(arguments: &[&str], code: i32, says: &[&str]) {
    let output = simulate(arguments);
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{printed}");
    for word in says {
        assert!(printed.contains(word), "{word} not in:\n{printed}");
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

const SHORT: &[&str] = &["--minutes", "9", "--seeds", "2", "--rps", "4"];
const OWN: &str = "listen: [ { address: \"127.0.0.1:0\" } ]\n\
    backends:\n  one: { endpoint: \"http://127.0.0.1:9\", auth: none }\n  \
    two: { endpoint: \"http://127.0.0.1:9\", auth: none, tier: 2 }\n\
    models: { gpt-4o: {}, gpt-5: {} }\napps: { dev: { anonymous: true } }\n";

#[test]
fn the_help_fits_a_screen() {
    let help = String::from_utf8(simulate(&["--help"]).stdout).unwrap();
    assert!(help.lines().count() <= 40, "{} lines:\n{help}", help.lines().count());
}

#[test]
fn a_table_with_the_seeds_and_every_policy() {
    let rows = [
        "seeds 1 to 2",
        "round_robin ",
        "random ",
        "least_requests ",
        "p2c ",
        "ema ",
        "lookout ",
        "oracle ",
    ];
    check(SHORT, 0, &rows);
    check(
        &[SHORT, &["--event", "all", "--policy", "lookout"]].concat(),
        0,
        &["blackhole:", "none:"],
    );
}

#[test]
fn the_same_seed_prints_the_same() {
    let arguments = [SHORT, &["--json", "--policy", "lookout", "--event", "half"]].concat();
    let (one, other) = (simulate(&arguments).stdout, simulate(&arguments).stdout);
    assert_eq!(one, other);
    let json: Value = serde_json::from_slice(&one).unwrap();
    assert_eq!(json["results"][0]["scenario"], "half");
    assert_eq!(json["results"][0]["runs"][1]["seed"], 2);
}

#[test]
fn an_operators_own_file_becomes_a_policy_and_its_backends_regions() {
    let own = file(OWN);
    let path = own.path().display().to_string();
    let arguments = [SHORT, &["--config", &path]].concat();
    check(&arguments, 3, &["--model", "gpt-4o, gpt-5"]);
    let arguments = [&arguments[..], &["--model", "gpt-5"]].concat();
    check(&arguments, 0, &["configured ", "2 regions"]);
    check(&[SHORT, &["--policy", "configured"]].concat(), 3, &["--config FILE"]);
}

#[test]
fn a_scenario_of_ones_own_and_every_problem_in_it() {
    let good = file(
        "name: half a day in one\nminutes: 9\narrivals: { rps: 4 }\nregions: { one: {}, two: { sigma: 0.7 } }\n\
         faults: [ { region: two, kind: silent, share: 0.2, from_minute: 3, to_minute: 5 } ]\n",
    );
    let path = good.path().display().to_string();
    check(&["--scenario", &path, "--seeds", "1"], 0, &["half a day in one", "lookout "]);
    let own = file(&OWN.replace(", gpt-5: {}", "").replace("  two:", "  three:"));
    let own = own.path().display().to_string();
    check(&["--scenario", &path, "--config", &own], 1, &["regions.two", "one, three"]);

    let bad = file(
        "minute: 9\nfaults: [ { region: all, kind: slower, from_minute: 3, to_minute: 5 } ]\n",
    );
    let path = bad.path().display().to_string();
    let says = [".yaml:1:1", "did you mean `minutes`", ".yaml:2:32", "did you mean `slow`"];
    check(&["--scenario", &path], 1, &says);
    check(&["--scenario", &path, "--rps", "3"], 2, &["cannot be used with"]);
    check(&["--scenario", "/no/such/file"], 3, &["cannot read the scenario"]);
    check(&["--event", "nonsense"], 2, &["slow10"]);
}

/// `firstlight simulate | head -1`: who has seen enough closes the pipe.
#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
    command.args(["simulate", "--event", "all"]).args(SHORT);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
