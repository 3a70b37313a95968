//! `firstlight check FILE`.

use crate::cli::Exit;
use crate::config::Problem;
use clap::Args;
use std::path::Path;
use std::path::PathBuf;

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The configuration file.
    #[arg(value_name = "FILE", default_value = "/etc/firstlight/firstlight.yaml")]
    file: PathBuf,
    /// The same, written as `firstlight run` has it.
    #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    use anyhow::Context as _;
    let file = options.config.as_ref().unwrap_or(&options.file);
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let result = crate::config::check(&text);
    if options.json {
        let (problems, warnings) = match &result {
            Ok(checked) => (&[][..], &checked.warnings[..]),
            Err(problems) => (&problems[..], &[][..]),
        };
        let all = serde_json::json!({ "ok": result.is_ok(), "problems": as_json(problems),
            "warnings": as_json(warnings) });
        println!("{all:#}");
    } else {
        match &result {
            Ok(checked) => {
                print_all(file, "warning: ", &checked.warnings);
                let config = &checked.config;
                let targets: usize = config.models.values().map(|m| m.backends.len()).sum();
                println!(
                    "{}: ok: {} backends, {} models, {targets} targets, {} apps",
                    file.display(),
                    config.backends.len(),
                    config.models.len(),
                    config.apps.len()
                );
            }
            Err(problems) => print_all(file, "", problems),
        }
    }
    Ok(if result.is_ok() { Exit::Done } else { Exit::Problems })
}

fn print_all(file: &Path, word: &str, problems: &[Problem]) {
    for problem in problems {
        println!("{}:{word}{problem}", file.display());
    }
}

fn as_json(problems: &[Problem]) -> Vec<serde_json::Value> {
    let one = |p: &Problem| {
        serde_json::json!({ "line": p.line, "column": p.column, "path": p.path, "wrong": p.wrong,
            "instead": p.instead })
    };
    problems.iter().map(one).collect()
}
