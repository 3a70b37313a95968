//! Whatever is written twice is the same in both places. `FIRSTLIGHT_BLESS=1` rewrites what is generated.
#![expect(clippy::disallowed_methods, reason = "the one switch that rewrites documents")]

use crate::support::World;
use crate::tidy::{MAY_KNOW, PURE};
use firstlight::telemetry::METRICS;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// The part of the README between two marks is `expected`, or becomes it.
fn check_part(mark: &str, expected: &str) {
    let readme = read("README.md");
    let (begin, end) = (format!("<!-- {mark}:begin -->\n"), format!("<!-- {mark}:end -->"));
    let (before, rest) = readme.split_once(&begin).unwrap();
    let (part, after) = rest.split_once(&end).unwrap();
    if std::env::var("FIRSTLIGHT_BLESS").is_ok() {
        fs::write(path("README.md"), format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(part, expected, "README.md, {mark}: set FIRSTLIGHT_BLESS=1 to rewrite it");
    }
}

#[test]
fn the_readme_quotes_the_minimal_configuration_and_the_metric_table() {
    let minimal = read("conf/minimal.yaml");
    assert!(firstlight::config::check(&minimal).unwrap().warnings.is_empty());
    check_part("minimal", &format!("```yaml\n{minimal}```\n"));
    let row = |row: &firstlight::telemetry::MetricRow| {
        let labels: Vec<_> = row.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} |\n", row.name, labels.join(", "), row.help)
    };
    let rows: String = METRICS.iter().map(row).collect();
    check_part("metrics", &format!("| metric | labels | meaning |\n|---|---|---|\n{rows}"));
}

/// The rows in which `lookout` loses are among them: the second table is there for those.
#[test]
fn the_readme_quotes_the_comparison_of_policies() {
    let written = read("benches/POLICIES.md");
    let quoted = |heading: &str| {
        let (_, rest) = written.split_once(heading).unwrap();
        let (title, rest) = rest.split_once('\n').unwrap();
        let table = rest.split("\n## ").next().unwrap().trim();
        format!("{heading}{title}:\n\n{table}\n")
    };
    let sized = quoted("Each region sized for two thirds of the load");
    let tight = quoted("Two regions just carry the load");
    check_part("policies", &format!("{sized}\n{tight}"));
}

/// Every field of a real line is explained, and nothing is explained that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn the_readme_explains_every_field_of_the_access_log() {
    let world = World::plain().await;
    let answer = world.chat().await;
    let line = world.log_line(answer.request_id()).await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let readme = read("README.md");
    let (_, rest) = readme.split_once("```json\n").unwrap();
    let (example, rest) = rest.split_once("```").unwrap();
    let example: Value = serde_json::from_str(example).unwrap();
    assert_eq!(keys(&example), keys(&line), "the example line of the README");
    assert_eq!(keys(&example["attempts"][0]), keys(&line["attempts"][0]));
    let (table, _) = rest.split_once("Prompts, answers").unwrap();
    let explained = table.lines().filter_map(|row| row.strip_prefix("| `")?.split(" | ").next());
    let explained: BTreeSet<String> = explained
        .flat_map(|names| names.split(", ").map(|n| n.trim_matches('`').to_owned()))
        .collect();
    assert_eq!(explained, keys(&line), "the table of the README");
}

#[test]
fn the_architecture_names_every_module_and_stays_short() {
    let text = read("ARCHITECTURE.md");
    assert!(text.lines().count() <= 150, "four screens");
    let (above, below) = text.split_once("purity line").unwrap();
    let below = below.split("```").next().unwrap();
    for (module, _) in MAY_KNOW {
        assert!(text.contains(module), "{module} is missing");
        if PURE.contains(module) {
            assert!(below.contains(module), "{module} belongs below the purity line");
        } else {
            assert!(above.contains(module), "{module} belongs above the purity line");
        }
    }
}

#[test]
fn links_and_commands_of_the_readme_exist() {
    let readme = read("README.md");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.starts_with("http")) {
        assert!(path(link).exists(), "the README points at {link}");
    }
    for script in ["scripts/demo", "scripts/test"] {
        assert!(readme.contains(script) && path(script).exists(), "{script}");
    }
}
