//! `firstlight token`: why a token of Entra ID is taken or refused. It asks nobody over the network.

use crate::auth::inspect::{Step, Verdict, inspect};
use crate::auth::issuer::Issuer;
use crate::auth::signing_keys::SigningKeys;
use crate::cli::Exit;
use crate::cli::say;
use crate::cli::stdin;
use crate::clock::Clock;
use crate::live::{grants, issuers};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Judge a token from standard input by every check; exit code 1 if it is refused.
    Inspect {
        /// The configuration file.
        #[arg(long, short, value_name = "FILE", default_value = "/etc/firstlight/firstlight.yaml")]
        config: PathBuf,
        /// The key set document (JWKS) of the token's tenant; without it the signature is not judged.
        #[arg(long, value_name = "FILE")]
        jwks: Option<PathBuf>,
        /// Print every check as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    let What::Inspect { config, jwks, json } = &options.what;
    let Some(checked) = crate::cli::load(config)? else { return Ok(Exit::Problems) };
    let document = jwks.as_deref().map(read).transpose()?;
    let text = stdin("the token")?;
    let text = String::from_utf8_lossy(&text);
    let token = text.trim_ascii();
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim_ascii();

    let (grants, issuers) = (grants(&checked.config), issuers(&checked.config));
    let bad_keys = RefCell::new(None);
    let keys = |tenant: &str| match keys_of(tenant, &issuers, document.as_deref()?) {
        Ok(keys) => Some(Arc::new(keys)),
        Err(why) => {
            bad_keys.replace(Some(why));
            None
        }
    };
    let now = Clock::start().unix().as_secs();
    let steps = inspect(token, &grants, &issuers, &keys, now);
    if let (Some(why), Some(jwks)) = (bad_keys.into_inner(), jwks) {
        return Err(why.context(format!("cannot use {}", jwks.display())));
    }
    if *json {
        print_json(&steps)?;
    } else {
        print(&steps)?;
    }
    Ok(if is_refused(&steps) { Exit::Problems } else { Exit::Done })
}

fn read(jwks: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(jwks).with_context(|| format!("cannot read {}", jwks.display()))
}

fn keys_of(tenant: &str, issuers: &[Issuer], document: &[u8]) -> anyhow::Result<SigningKeys> {
    let issuer = issuers.iter().find(|issuer| issuer.tenant == tenant);
    let issuer = issuer.with_context(|| format!("no app is of the tenant {tenant}"))?;
    Ok(SigningKeys::parse(document, issuer)?)
}

fn print(steps: &[Step]) -> anyhow::Result<()> {
    for step in steps {
        say(format_args!("{:<8} {:<18} {}", word(&step.verdict), step.what, step.found))?;
        if !step.advice.is_empty() {
            say(format_args!("{:<8} {:<18} -> {}", "", "", step.advice))?;
        }
    }
    say(format_args!("\n{}", conclusion(steps)))
}

fn is_refused(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step.verdict, Verdict::Refused(_)))
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Refused(_) => "REFUSED",
        Verdict::Unknown => "unknown",
    }
}

/// What a client would be told.
fn conclusion(steps: &[Step]) -> String {
    let mut refusals = steps.iter().filter_map(|step| match &step.verdict {
        Verdict::Refused(why) => Some(why),
        Verdict::Ok | Verdict::Unknown => None,
    });
    let app = steps.last().map_or("none", |step| &step.found);
    let judged = steps.iter().all(|step| step.verdict == Verdict::Ok);
    match refusals.next() {
        Some(why) => format!("refused: {} ({})", why.description(), why.reason()),
        None if judged => format!("accepted, for the app {app}"),
        None => format!(
            "accepted, for the app {app}, if the signature is right: give --jwks FILE to judge it"
        ),
    }
}

fn print_json(steps: &[Step]) -> anyhow::Result<()> {
    let one = |step: &Step| {
        let reason = match &step.verdict {
            Verdict::Refused(why) => Some(why.reason()),
            Verdict::Ok | Verdict::Unknown => None,
        };
        let verdict = word(&step.verdict).to_ascii_lowercase();
        serde_json::json!({ "what": step.what, "found": step.found, "verdict": verdict, "reason": reason,
            "advice": step.advice })
    };
    let all: Vec<_> = steps.iter().map(one).collect();
    // Without keys nobody knows: that is neither.
    let judged = steps.iter().all(|step| step.verdict == Verdict::Ok);
    let accepted = if is_refused(steps) { Some(false) } else { judged.then_some(true) };
    let json = serde_json::json!({ "accepted": accepted, "steps": all });
    say(format_args!("{json:#}"))
}
