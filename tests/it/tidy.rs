//! Checks of the source itself: who may know whom, what is pure, how long files are, banned words.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Module: the modules it may name. The drawing of ARCHITECTURE.md, in code; a test compares the two.
pub(crate) const MAY_KNOW: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("rng", &[]),
    ("auth", &[]),
    ("routing", &["time", "rng"]),
    ("quota", &["time"]),
    ("owners", &[]),
    ("azure", &["quota", "rng"]),
    ("config", &[]),
    ("gate", &[]),
    ("sim", &["config", "rng", "routing", "time"]),
    ("clock", &["time"]),
    ("secrets", &["config"]),
    ("live", &["auth", "clock", "config", "owners", "quota", "rng", "routing", "secrets", "time"]),
    ("telemetry", &["live", "quota", "routing", "time"]),
    ("exchange", &["azure", "clock", "quota", "time"]),
    (
        "proxy",
        &[
            "auth",
            "azure",
            "clock",
            "config",
            "exchange",
            "gate",
            "live",
            "owners",
            "quota",
            "rng",
            "routing",
            "telemetry",
            "time",
        ],
    ),
    (
        "probing",
        &[
            "azure",
            "config",
            "exchange",
            "identity",
            "live",
            "proxy",
            "routing",
            "telemetry",
            "time",
        ],
    ),
    (
        "preflight",
        &[
            "clock",
            "config",
            "endpoints",
            "exchange",
            "identity",
            "jwks",
            "live",
            "probing",
            "secrets",
            "telemetry",
        ],
    ),
    ("fetching", &["time"]),
    ("identity", &["config", "fetching", "live", "secrets", "telemetry", "time"]),
    ("jwks", &["auth", "fetching", "live", "state_file", "telemetry", "time"]),
    ("endpoints", &["live", "telemetry"]),
    ("state_file", &["live"]),
    ("journal", &["live", "owners", "state_file"]),
    ("keeper", &["live", "state_file", "telemetry"]),
    ("admin", &["live", "telemetry"]),
    ("notify", &[]),
    ("upgrade", &[]),
    ("reload", &["config", "endpoints", "identity", "jwks", "live", "telemetry"]),
    ("control", &["keeper", "live", "reload", "routing", "telemetry", "time"]),
    ("mock", &["clock", "rng", "time"]),
    ("demo", &["azure", "clock", "config", "mock", "routing", "server", "telemetry", "time"]),
    (
        "cli",
        &[
            "auth",
            "clock",
            "config",
            "control",
            "demo",
            "live",
            "mock",
            "preflight",
            "reload",
            "server",
            "sim",
            "state_file",
            "telemetry",
            "upgrade",
        ],
    ),
];

/// The composition root, which knows everything.
const ROOTS: &[&str] = &["lib", "main", "server"];

/// Modules that must run in a simulator: no clock, no I/O, no runtime, no log.
pub(crate) const PURE: &[&str] =
    &["time", "rng", "auth", "routing", "quota", "owners", "azure", "config", "gate", "sim"];
const NOT_IN_PURE: &[&str] = &[
    "tokio",
    "pingora",
    "reqwest",
    "std::net::Tcp",
    "std::fs",
    "std::env",
    "std::thread",
    "Instant",
    "SystemTime",
    "async fn",
    ".await",
    "tracing::",
    "log::",
    "prometheus",
    "println!",
];

/// Words that must not be committed: marks of unfinished work, spelled so that this file passes.
const BANNED: &[&str] =
    &[concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO"), concat!("shared", "/routing")];

const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

fn all(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(&root().join(folder), &mut found);
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn module_of(path: &Path) -> String {
    let first = path.strip_prefix(root().join("src")).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// Code without comments and without what follows the tests' mark.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    lines.map(|(n, line)| (n + 1, line.split("//").next().unwrap()))
}

/// The modules of the crate that a file names, with the lines.
fn names_in(text: &str) -> Vec<(usize, String)> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let in_line = |(n, line): (usize, &str)| {
        line.split("crate::").skip(1).map(|rest| (n, word(rest))).collect::<Vec<_>>()
    };
    code(text).flat_map(in_line).collect()
}

#[test]
fn modules_know_only_what_the_drawing_says() {
    let allowed: BTreeMap<_, _> = MAY_KNOW.iter().copied().collect();
    let mut problems = Vec::new();
    for (path, text) in all("src") {
        let module = module_of(&path);
        if ROOTS.contains(&module.as_str()) {
            continue;
        }
        let Some(known) = allowed.get(module.as_str()) else {
            problems.push(format!("{}: `{module}` is missing from MAY_KNOW", path.display()));
            continue;
        };
        for (n, name) in names_in(&text) {
            if name != module && !known.contains(&name.as_str()) {
                problems.push(format!("{}:{n}: `{module}` may not know `{name}`", path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn what_decides_does_not_act() {
    let mut problems = Vec::new();
    for (path, text) in all("src") {
        if !PURE.contains(&module_of(&path).as_str()) {
            continue;
        }
        for (n, line) in code(&text) {
            for word in NOT_IN_PURE.iter().filter(|word| line.contains(**word)) {
                problems.push(format!("{}:{n}: `{word}` below the purity line", path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn the_drawing_has_no_module_that_is_gone() {
    let modules: Vec<String> = all("src").iter().map(|(path, _)| module_of(path)).collect();
    for (module, known) in MAY_KNOW {
        assert!(modules.iter().any(|m| m == module), "{module} is in MAY_KNOW and not in src");
        for name in *known {
            let used = all("src").iter().any(|(path, text)| {
                module_of(path) == *module
                    && code(text).any(|(_, line)| line.contains(&format!("crate::{name}")))
            });
            assert!(used, "{module} does not use {name}: take it out of MAY_KNOW");
        }
    }
}

#[test]
fn files_are_short_and_open_with_their_idea() {
    let mut problems = Vec::new();
    for (path, text) in all("src").into_iter().chain(all("tests")).chain(all("benches")) {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            problems.push(format!("{}: {lines} lines, at most {LINES_MAX}", path.display()));
        }
        if !text.starts_with("//!") {
            problems.push(format!("{}: does not open with `//!` and its idea", path.display()));
        }
        for word in BANNED.iter().filter(|word| text.contains(**word)) {
            problems.push(format!("{}: holds {word}", path.display()));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
