//! Unit, package, manual and completions say what the code does.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// What `firstlight` prints; it must succeed.
fn firstlight(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_firstlight")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = firstlight(&["--help"]);
    let (_, rest) = help.split_once("Commands:\n").unwrap();
    let rows = rest.lines().take_while(|row| row.starts_with("  "));
    rows.filter(|row| !row.starts_with("   "))
        .map(|row| row.split_whitespace().next().unwrap().to_owned())
        .collect()
}

/// The last value of a key in a unit file.
fn setting(unit: &str, key: &str) -> String {
    let text = read(unit);
    let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.next_back().unwrap_or_else(|| panic!("{unit} has no {key}=")).to_owned()
}

fn seconds(key: &str) -> f64 {
    setting(SERVICE, key).parse().unwrap()
}

const SERVICE: &str = "systemd/firstlight.service";
const HERE: &str = "/etc/firstlight/firstlight.yaml";

/// The rows of `[package.metadata.deb]`.
fn deb() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(path(""))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"][0]["metadata"]["deb"].clone()
}

/// (source, target, mode) of every file of the package.
fn assets() -> Vec<(String, String, String)> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let deb = deb();
    let rows = deb["assets"].as_array().unwrap().iter();
    rows.map(|row| (word(&row[0]), word(&row[1]), word(&row[2]))).collect()
}

#[test]
fn a_stop_is_given_longer_than_the_default_drain() {
    let minimal = firstlight::config::check(&read("conf/minimal.yaml")).unwrap().config;
    assert!(seconds("TimeoutStopSec") > minimal.drain.as_secs_f64());
    assert!(seconds("TimeoutAbortSec") < seconds("WatchdogSec"));
}

#[test]
fn the_unit_runs_a_command_that_exists_on_the_file_that_everything_waits_for() {
    let start = setting(SERVICE, "ExecStart");
    let words: Vec<_> = start.split_whitespace().collect();
    assert_eq!(words[0], "/usr/bin/firstlight");
    let help = firstlight(&[words[1], "--help"]);
    for option in words.iter().filter(|word| word.starts_with("--")) {
        assert!(help.contains(option), "{start}: {option} is not in\n{help}");
    }
    assert_eq!(*words.last().unwrap(), HERE);
    for command in ["run", "check"] {
        assert!(firstlight(&[command, "--help"]).contains(&format!("[default: {HERE}]")));
    }
    assert_eq!(setting(SERVICE, "ConditionPathExists"), HERE);
    assert_eq!(setting("systemd/firstlight.path", "PathExists"), HERE);
    assert_eq!(setting("systemd/firstlight.path", "ConditionPathExists"), format!("!{HERE}"));
    assert_eq!(setting("systemd/firstlight.path", "Unit"), "firstlight-configured.target");
    assert_eq!(setting("systemd/firstlight-configured.target", "Wants"), "firstlight.service");
}

/// 1 and 2 are what `--help` documents as problems that a second start would meet again.
#[test]
fn the_unit_does_not_start_again_what_cannot_start() {
    let never: BTreeSet<_> =
        setting(SERVICE, "RestartPreventExitStatus").split(' ').map(str::to_owned).collect();
    assert_eq!(never, BTreeSet::from(["1".to_owned(), "2".to_owned()]));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "listen: 7\n").unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_firstlight"));
    let wrong = run.args(["run", "--config"]).arg(file.path()).output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
}

#[test]
fn the_group_of_the_unit_is_the_one_the_package_makes() {
    let group = setting(SERVICE, "Group");
    assert_ne!(setting(SERVICE, "User"), group, "systemd refuses a dynamic user of that name");
    assert!(read("packaging/postinst").contains(&format!("groupadd --system {group}\n")));
    assert!(read("packaging/postinst").contains(&format!("-o root -g {group} /etc/{group}/")));
    assert!(read("packaging/postrm").contains(&format!("groupdel {group} ")));
}

#[test]
fn every_file_of_the_package_exists_or_is_made_by_the_script() {
    let made = read("scripts/package");
    for (source, target, mode) in assets() {
        assert!(!target.starts_with('/') && ["644", "755"].contains(&mode.as_str()), "{source}");
        if let Some(part) = source.strip_prefix("target/release/deb/") {
            let name = part.split(['/', '*']).next().unwrap();
            assert!(made.contains(&format!("$parts/{name}")), "nothing makes {source}");
        } else if let Some(folder) = source.strip_suffix("*.conf") {
            assert!(fs::read_dir(path(folder)).unwrap().count() > 0, "{source}");
        } else if source != "target/release/firstlight" {
            assert!(path(&source).is_file(), "{source}");
        }
    }
}

#[test]
fn nothing_that_systemd_or_dpkg_reads_is_left_out_of_the_package() {
    let assets = assets();
    for entry in fs::read_dir(path("systemd")).unwrap().map(Result::unwrap) {
        let name = format!("systemd/{}", entry.file_name().to_str().unwrap());
        let is_asset = |name: &str| assets.iter().any(|(source, ..)| source.starts_with(name));
        assert!(is_asset(&name), "{name} is in no asset");
    }
    let deb = deb();
    for file in deb["conf-files"].as_array().unwrap() {
        let target = file.as_str().unwrap().trim_start_matches('/');
        assert!(assets.iter().any(|(_, to, _)| to == target), "{target} is no asset");
        assert_ne!(file, HERE, "the service waits for the operator's file");
    }
    for script in ["postinst", "prerm", "postrm"] {
        let file = path(deb["maintainer-scripts"].as_str().unwrap()).join(script);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o111, 0o111, "{script}");
    }
}

/// As it comes it is refused for the one thing only the operator can know, and tells where.
#[test]
fn the_starter_lacks_only_a_key_hash() {
    let starter = read("conf/starter.yaml");
    let problems = firstlight::config::check(&starter).unwrap_err();
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["apps.chat-ui.api_keys[0].sha256"]);
    let filled = starter.replace(&"0".repeat(64), &"5e".repeat(32));
    assert!(firstlight::config::check(&filled).unwrap().warnings.is_empty());
}

/// Roff writes a dash that is to be copied as `\-`.
fn plain(roff: &str) -> String {
    roff.replace("\\-", "-")
}

#[test]
fn the_manual_has_every_command_option_and_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    firstlight(&["man", folder.path().to_str().unwrap()]);
    let page = |name: &str| plain(&fs::read_to_string(folder.path().join(name)).unwrap());
    let program = page("firstlight.8");
    assert_eq!(program.trim_end(), plain(&firstlight(&["man"])).trim_end());
    for command in commands() {
        assert!(program.contains(&format!("firstlight-{command}(8)")), "{command}");
        let page = page(&format!("firstlight-{command}.8"));
        let help = firstlight(&[&command, "--help"]);
        for option in help.split_whitespace().filter(|word| word.starts_with("--")) {
            let option = option.trim_end_matches(|end: char| !end.is_alphanumeric());
            assert!(page.contains(option), "{option} is not in the page of {command}");
        }
    }
    let help = firstlight(&["--help"]);
    let (_, codes) = help.split_once("Exit codes: ").unwrap();
    let codes = codes.split_whitespace().filter(|word| word.parse::<u8>().is_ok());
    let (_, exit_status) = program.split_once(".SH \"EXIT STATUS\"").unwrap();
    let (exit_status, _) = exit_status.split_once(".SH").unwrap();
    let explained: Vec<_> =
        exit_status.lines().filter_map(|line| line.strip_prefix(".B ")).collect();
    assert_eq!(codes.collect::<Vec<_>>(), explained);
}

#[test]
fn each_shell_completes_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = firstlight(&["completions", shell]);
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
    }
    let mut other = Command::new(env!("CARGO_BIN_EXE_firstlight"));
    assert_eq!(other.args(["completions", "tcsh"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn check_takes_the_file_as_run_does() {
    let minimal = path("conf/minimal.yaml").display().to_string();
    let named = firstlight(&["check", "--text-only", "--config", &minimal]);
    assert_eq!(named, firstlight(&["check", "--text-only", &minimal]));
}
