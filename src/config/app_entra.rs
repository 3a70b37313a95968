//! Tokens that prove a request comes from an app.
//!
//! Two apps that the same token would prove are refused here, where both places can be named. What only a token
//! tells (it has roles of two apps) is decided when it comes: an app that names the client goes first, then the
//! first by name.

use crate::config::at::At;
use crate::config::checked::AppEntra;
use crate::config::keys;
use crate::config::names;
use crate::config::problem::{Problems, Spot};
use crate::config::section::Section;

/// Longest audience, role or scope.
const WORD_BYTES_MAX: usize = 256;

/// What was read of the apps before: each with the path where it stands.
pub(super) type Others = Vec<(String, AppEntra)>;

/// Reads `apps.*.entra`, if it is written.
pub(super) fn read(
    app: &Section<'_>,
    others: &mut Others,
    problems: &mut Problems,
) -> Option<AppEntra> {
    let at = app.get("entra")?;
    let section = at.section("apps.*.entra", problems);
    let tenant = section.require("tenant", "GUID", problems);
    let tenant = tenant.and_then(|at| names::guid(at, "the tenant's id", problems));
    let audiences = section.require("audiences", "[GUID, api://GUID]", problems);
    let audiences = audiences.map(|at| words(at, "GUID or api://GUID", problems));
    let list = |key: &'static keys::Text, problems: &mut Problems| match section
        .get(keys::name(key.path))
    {
        Some(at) => words(at, key.shown, problems),
        None => vec![key.shown.trim_matches(['[', ']']).to_owned()],
    };
    let (roles, probe_roles) =
        (list(&keys::ENTRA_ROLES, problems), list(&keys::ENTRA_PROBE_ROLES, problems));
    let scopes = section.get("scopes").map(|at| words(at, "a scope", problems)).unwrap_or_default();
    let clients = section.get("clients").map(|at| {
        let items = at.items("client ids, or leave it out", problems);
        items.iter().filter_map(|at| names::guid(at, "a client id", problems)).collect()
    });
    let clients = clients.unwrap_or_default();
    let entra =
        AppEntra { tenant: tenant?, audiences: audiences?, roles, probe_roles, scopes, clients };
    refuse_twin(&entra, &section.spot, others, problems);
    others.push((section.spot.path.clone(), entra.clone()));
    Some(entra)
}

/// Notes another app that the same token would prove.
fn refuse_twin(one: &AppEntra, spot: &Spot, others: &Others, problems: &mut Problems) {
    let twin = others.iter().find(|(_, other)| {
        let clients = if one.clients.is_empty() || other.clients.is_empty() {
            one.clients.is_empty() && other.clients.is_empty()
        } else {
            meet(&one.clients, &other.clients)
        };
        let granted = meet(&one.roles, &other.roles) || meet(&one.scopes, &other.scopes);
        one.tenant == other.tenant && meet(&one.audiences, &other.audiences) && clients && granted
    });
    if let Some((path, _)) = twin {
        let wrong = format!("the same tokens as `{path}`");
        problems.refuse(spot, wrong, "give each app `clients`, `roles` or `audiences` of its own");
    }
}

fn meet(one: &[String], other: &[String]) -> bool {
    one.iter().any(|word| other.contains(word))
}

/// A list of words as tokens have them.
fn words(at: &At<'_>, what: &str, problems: &mut Problems) -> Vec<String> {
    let mut words = Vec::new();
    for item in at.items(what, problems) {
        let Some(word) = item.text(what, problems) else { continue };
        if word.len() > WORD_BYTES_MAX || !word.bytes().all(|b| b.is_ascii_graphic()) {
            problems.refuse(
                &item.spot,
                "white space or other letters than ASCII",
                format!("write {what}"),
            );
        } else if words.iter().any(|other| other == word) {
            problems.refuse(&item.spot, "it stands twice in the list", "keep one of them");
        }
        words.push(word.to_owned());
    }
    words
}
