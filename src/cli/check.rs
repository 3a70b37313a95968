//! `firstlight check FILE`.

use crate::cli::Exit;
use crate::clock::Clock;
use crate::config::Problem;
use crate::live::Live;
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
    /// Do not open what the file points at: keys, certificates, authorities. They may be on another machine.
    #[arg(long)]
    text_only: bool,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    let file = options.config.as_ref().unwrap_or(&options.file);
    let text = crate::reload::read(file)?;
    let result = crate::config::check(&text);
    let unusable = match &result {
        Ok(checked) if !options.text_only => {
            Live::new(checked.config.clone(), Clock::start()).err().map(|error| error.to_string())
        }
        _ => None,
    };
    let ok = result.is_ok() && unusable.is_none();
    if options.json {
        let (problems, warnings) = match &result {
            Ok(checked) => (&[][..], &checked.warnings[..]),
            Err(problems) => (&problems[..], &[][..]),
        };
        let mut problems = as_json(problems);
        problems.extend(unusable.map(|wrong| serde_json::json!({ "wrong": wrong })));
        let warnings = as_json(warnings);
        let all = serde_json::json!({ "ok": ok, "problems": problems, "warnings": warnings });
        println!("{all:#}");
    } else if let Some(wrong) = unusable {
        println!("{}: {wrong}", file.display());
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
    Ok(if ok { Exit::Done } else { Exit::Problems })
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
