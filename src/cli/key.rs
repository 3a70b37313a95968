//! `firstlight key`: API keys of apps. The configuration holds only their hashes.

use crate::auth::credential::KEY_BYTES_MAX;
use crate::auth::key_text::{KeyForm, key_form, key_text};
use crate::cli::Exit;
use crate::cli::say;
use crate::cli::stdin;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use sha2::{Digest as _, Sha256};

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a key. It is printed this once and kept nowhere; its hash goes into the configuration.
    New(New),
    /// Hash a key that is read from standard input; an argument would be seen by other users.
    Hash(Hash),
}

#[derive(Debug, Args)]
struct New {
    /// What you call the key.
    #[arg(long, value_name = "NAME", default_value = "new")]
    name: String,
    /// Print key and hash as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Hash {
    /// Print the hash as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    match &options.what {
        What::New(options) => new(options),
        What::Hash(options) => hash(options),
    }
}

fn new(options: &New) -> anyhow::Result<Exit> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).ok().context("the system gives no random bytes")?;
    let key = key_text(random);
    let (name, sha256) = (&options.name, sha256(key.as_bytes()));
    if options.json {
        let json = serde_json::json!({ "key": key, "name": name, "sha256": sha256 });
        say(format_args!("{json:#}"))?;
    } else {
        say(&key)?;
        eprintln!("\nThe key, which is shown this once. Below `api_keys` of the app:\n");
        // A name may be any text: JSON is YAML that means the same.
        let name = serde_json::json!(name);
        say(format_args!("- {{ name: {name}, sha256: {sha256} }}"))?;
    }
    Ok(Exit::Done)
}

fn hash(options: &Hash) -> anyhow::Result<Exit> {
    let text = stdin("the key")?;
    // As a header is read: white space around it does not count.
    let key = text.trim_ascii();
    if let Some(wrong) = unusable(key) {
        eprintln!("firstlight: {wrong}");
        return Ok(Exit::Problems);
    }
    let form = std::str::from_utf8(key).map_or(KeyForm::Foreign, key_form);
    if form == KeyForm::Damaged {
        eprintln!(
            "warning: it begins as a key of `firstlight key new`, but its checksum is wrong: mistyped, or cut off?"
        );
    }
    let sha256 = sha256(key);
    if options.json {
        let checksum = match form {
            KeyForm::Ours => "right",
            KeyForm::Damaged => "wrong",
            KeyForm::Foreign => "none",
        };
        let json = serde_json::json!({ "sha256": sha256, "checksum": checksum });
        say(format_args!("{json:#}"))?;
    } else {
        say(sha256)?;
    }
    Ok(Exit::Done)
}

/// Why no client could send it.
fn unusable(key: &[u8]) -> Option<String> {
    if key.is_empty() {
        Some(
            "there is no key on standard input; write it there, as `firstlight key hash < FILE`"
                .to_owned(),
        )
    } else if key.len() > KEY_BYTES_MAX {
        Some(format!("the key has {} bytes, at most {KEY_BYTES_MAX} are accepted", key.len()))
    } else if key.contains(&b'\n') {
        Some("there is more than one line on standard input; give one key".to_owned())
    } else {
        None
    }
}

fn sha256(key: &[u8]) -> String {
    hex::encode(Sha256::digest(key))
}
