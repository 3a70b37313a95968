//! Apps: who may send requests, and for which models.
//!
//! A key must belong to one app. The same hash in two places would make it a matter of order who pays for
//! a request, so it is refused here, where both places can be named.

use crate::config::app_entra;
use crate::config::at::At;
use crate::config::checked::ApiKey;
use crate::config::checked::App;
use crate::config::checked::AppLimits;
use crate::config::keys;
use crate::config::loopback::Exposure;
use crate::config::models::Models;
use crate::config::names;
use crate::config::problem::Problems;
use crate::config::secrets;
use crate::config::section::Section;
use crate::config::until;
use std::collections::BTreeMap;

/// Enough to change keys without a gap, few enough to compare with each request's.
const KEYS_MAX: usize = 8;

/// The apps that could be read, and the names of all that are written.
#[derive(Debug, Default)]
pub(super) struct Apps<'a> {
    pub(super) all: BTreeMap<String, App>,
    pub(super) names: Vec<&'a str>,
}

/// What one app must know of the others.
#[derive(Debug, Default)]
struct Others {
    /// Each hash and the path where it stands.
    hashes: BTreeMap<String, String>,
    entra: app_entra::Others,
    anonymous: Option<String>,
}

/// Reads `apps`.
pub(super) fn read<'a>(
    file: &Section<'a>,
    models: &Models<'_>,
    exposure: &mut Exposure,
    problems: &mut Problems,
) -> Apps<'a> {
    const WHAT: &str = "{ NAME: { api_keys: [{ sha256: HASH, name: NAME }] } }";
    let mut apps = Apps::default();
    let mut others = Others::default();
    let written = file.require("apps", WHAT, problems).map(|at| at.named(WHAT, problems));
    for (name, at) in written.unwrap_or_default() {
        apps.names.push(name);
        let name = names::check(name, &at.key_spot(), problems);
        let section = at.section("apps.*", problems);
        let app = App {
            api_keys: api_keys(&section, &mut others, problems),
            entra: app_entra::read(&section, &mut others.entra, problems),
            limits: limits(&section, problems),
            models: section.get("models").map(|at| {
                names::known(at, &names::Known { one: "model", names: &models.names }, problems)
            }),
            probe: section.flag(&keys::APP_PROBE, problems),
            anonymous: anonymous(&section, &mut others, exposure, problems),
        };
        if section.lacks("api_keys") && section.lacks("entra") && !app.anonymous {
            problems.refuse(
                &section.spot,
                "no way to prove a request",
                "write `api_keys: [{ sha256: HASH, name: NAME }]` or `entra: { tenant: GUID, audiences: [GUID] }`",
            );
        }
        apps.all.extend(name.map(|name| (name, app)));
    }
    apps
}

fn limits(app: &Section<'_>, problems: &mut Problems) -> AppLimits {
    let section = app.inner("apps.*.limits", problems);
    let mut limit = |key| Some(section.whole(key, problems)).filter(|&most| most > 0);
    AppLimits {
        requests_per_minute: limit(&keys::APP_REQUESTS),
        tokens_per_minute: limit(&keys::APP_TOKENS),
        concurrent: limit(&keys::APP_CONCURRENT),
    }
}

fn anonymous(
    section: &Section<'_>,
    others: &mut Others,
    exposure: &mut Exposure,
    problems: &mut Problems,
) -> bool {
    let anonymous = section.flag(&keys::ANONYMOUS, problems);
    if let Some(spot) = section.spot_of(keys::ANONYMOUS.path).filter(|_| anonymous) {
        exposure.trusting(spot);
        if let Some(other) = &others.anonymous {
            let wrong = format!("a second anonymous app beside `{other}`");
            problems.refuse(spot, wrong, "keep one: nothing tells their requests apart");
        }
        others.anonymous.get_or_insert_with(|| section.spot.path.clone());
    }
    anonymous
}

fn api_keys(section: &Section<'_>, others: &mut Others, problems: &mut Problems) -> Vec<ApiKey> {
    const WHAT: &str = "at least one `{ sha256: HASH, name: NAME }`";
    let Some(list) = section.get("api_keys") else { return Vec::new() };
    let items = list.items(WHAT, problems);
    if items.len() > KEYS_MAX {
        problems.refuse(&list.spot, "more than 8 keys", "remove those that nobody uses any more");
    }
    let mut keys: Vec<ApiKey> = Vec::new();
    for at in items {
        let Some(key) = api_key(&at, others, problems) else { continue };
        if keys.iter().any(|other| other.name == key.name) {
            problems.refuse(
                &at.spot,
                "another key of this app has this name",
                "give each key a name of its own",
            );
        }
        keys.push(key);
    }
    keys
}

fn api_key(at: &At<'_>, others: &mut Others, problems: &mut Problems) -> Option<ApiKey> {
    let section = at.section("apps.*.api_keys.*", problems);
    let hash = section.require("sha256", "64 hexadecimal digits", problems).and_then(|at| {
        let hash = secrets::hash(at, problems)?;
        if let Some(other) = others.hashes.get(&hash) {
            let wrong = format!("the same key as `{other}`");
            problems.refuse(
                &at.spot,
                wrong,
                "give each app keys of its own: this one is ambiguous",
            );
        }
        others.hashes.entry(hash.clone()).or_insert_with(|| at.spot.path.clone());
        Some(hash)
    });
    let name = section.require("name", "NAME", problems).and_then(|at| {
        let name = at.text("what you call this key", problems)?;
        names::check(name, &at.spot, problems)
    });
    // One that cannot be read must not be taken for none.
    let expires = match section.get("expires") {
        Some(at) => Some(until::read(at, problems)?),
        None => None,
    };
    Some(ApiKey { sha256: hash?, name: name?, expires })
}
