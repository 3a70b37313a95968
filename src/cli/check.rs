//! `firstlight check FILE`, and with `--live` a look at everything that it points at.

use crate::cli::Exit;
use crate::clock::Clock;
use crate::config::Problem;
use crate::config::checked::Config;
use crate::live::Live;
use crate::preflight::{Preflight, Report, STEP};
use crate::state_file;
use crate::telemetry::{AccessLog, Metrics, Telemetry};
use clap::Args;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// Options of the command.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "the switches of a command line")]
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
    /// Then look up every backend, connect, fetch tokens and keys, and ask each target for a token.
    #[arg(long, conflicts_with = "text_only")]
    live: bool,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    let file = options.config.as_ref().unwrap_or(&options.file);
    let text = crate::reload::read(file)?;
    let mut result = crate::config::check(&text);
    if let (Ok(checked), false) = (&mut result, options.text_only) {
        let learned = short_by_experience(&checked.config);
        checked.warnings.extend(learned);
    }
    let unusable = match &result {
        Ok(checked) if !options.text_only => {
            Live::new(checked.config.clone(), Clock::start()).err().map(|error| error.to_string())
        }
        _ => None,
    };
    let ok = result.is_ok() && unusable.is_none();
    let report = match &result {
        Ok(checked) if ok && options.live => Some(look(checked.config.clone())?),
        _ => None,
    };
    let answered = report.as_ref().is_none_or(Report::is_ok);
    if options.json {
        let (problems, warnings) = match &result {
            Ok(checked) => (&[][..], &checked.warnings[..]),
            Err(problems) => (&problems[..], &[][..]),
        };
        let mut problems = as_json(problems);
        problems.extend(unusable.map(|wrong| serde_json::json!({ "wrong": wrong })));
        let warnings = as_json(warnings);
        let mut all =
            serde_json::json!({ "ok": ok && answered, "problems": problems, "warnings": warnings });
        if let (Some(report), Some(all)) = (report, all.as_object_mut()) {
            let (targets, tenants) = report.json();
            all.extend([("targets".to_owned(), targets), ("tenants".to_owned(), tenants)]);
        }
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
                report.iter().flat_map(Report::table).for_each(|line| println!("{line}"));
            }
            Err(problems) => print_all(file, "", problems),
        }
    }
    Ok(match (ok, answered) {
        (false, _) => Exit::Problems,
        (true, false) => Exit::Unreached,
        (true, true) => Exit::Done,
    })
}

/// Warns of time-outs that the operator wrote below what the model usually takes, as far as a process saved that.
fn short_by_experience(config: &Config) -> Vec<Problem> {
    let directory = config.state_directory.path();
    let learned = directory.and_then(|path| state_file::peek(path, Clock::start().unix()));
    let late = |name: &str| learned.as_ref()?.models.get(name)?.late();
    let mut found = Vec::new();
    for (name, model) in &config.models {
        let Some(late) = late(name).filter(|late| *late > model.first_token) else { continue };
        if !model.is_first_token_usual() {
            let (written, usual) = (model.first_token.as_secs_f64(), late.as_secs_f64());
            found.push(Problem {
                line: 1,
                column: 1,
                path: format!("models.{name}.first_token_seconds"),
                wrong: format!(
                    "{written} s is less than this model usually takes: up to {usual:.1} s, as the state file says"
                ),
                instead: "write more, or leave it out: the default grows with what is learned".to_owned(),
            });
        }
    }
    found
}

/// Looks at everything that a configuration points at.
fn look(config: Config) -> anyhow::Result<Report> {
    crate::server::check_authorities()?;
    let telemetry = Arc::new(Telemetry::new(Metrics::new()?, AccessLog::off()));
    let runtime = crate::cli::runtime(0)?;
    let report =
        runtime.block_on(async { Ok(Preflight::new(config, telemetry, STEP)?.run().await) });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    report
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
