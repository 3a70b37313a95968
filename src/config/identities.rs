//! What proves us to a backend: a key, an identity of ours, or nothing.

use crate::config::at::At;
use crate::config::checked::{BackendAuth, Credential, Entra, Identity};
use crate::config::keys;
use crate::config::loopback::Exposure;
use crate::config::names;
use crate::config::problem::Problems;
use crate::config::secrets;
use crate::config::section::Section;
use crate::config::tree::Value;

const FORMS: &str = "write `managed_identity`, or a map with one of `managed_identity`, `workload_identity`, \
                     `client_secret`, `api_key`";

/// Reads `backends.*.auth`; left out, it is the identity of this machine.
pub(super) fn auth(
    section: &Section<'_>,
    entra: &Entra,
    exposure: &mut Exposure,
    problems: &mut Problems,
) -> Option<BackendAuth> {
    let usual = || {
        BackendAuth::Identity(Identity {
            credential: Credential::SystemAssigned,
            scope: usual_scope(entra),
        })
    };
    let Some(at) = section.get("auth") else { return Some(usual()) };
    if matches!(at.value(), Value::Map(_)) {
        return of_map(at, entra, problems);
    }
    match at.text("managed_identity", problems)? {
        "none" => {
            exposure.trusting(&at.spot);
            Some(BackendAuth::None)
        }
        "managed_identity" => Some(usual()),
        // It may be the key itself: not repeated.
        _ => {
            problems.refuse(&at.spot, "text that is no way to prove ourselves", FORMS);
            None
        }
    }
}

fn of_map(at: &At<'_>, entra: &Entra, problems: &mut Problems) -> Option<BackendAuth> {
    let section = at.section("backends.*.auth", problems);
    let forms = ["managed_identity", "workload_identity", "client_secret", "api_key"];
    let written: Vec<_> =
        forms.iter().filter_map(|form| section.get(form).map(|at| (*form, at))).collect();
    let [(form, at)] = written.as_slice() else {
        // An unknown key is told already.
        if !written.is_empty()
            || at.entries("", &mut Problems::default()).is_none_or(|all| all.is_empty())
        {
            problems.refuse(&section.spot, "not exactly one way to prove ourselves", FORMS);
        }
        return None;
    };
    match *form {
        "api_key" => secrets::source(at, problems).map(BackendAuth::ApiKey),
        "managed_identity" => {
            identity(at, ("backends.*.auth.managed_identity", entra), managed, problems)
        }
        "workload_identity" => {
            identity(at, ("backends.*.auth.workload_identity", entra), workload, problems)
        }
        _ => identity(at, ("backends.*.auth.client_secret", entra), client_secret, problems),
    }
}

fn identity(
    at: &At<'_>,
    (pattern, entra): (&'static str, &Entra),
    read: impl Fn(&Section<'_>, &mut Problems) -> Option<Credential>,
    problems: &mut Problems,
) -> Option<BackendAuth> {
    let section = at.section(pattern, problems);
    let scope = scope(&section, entra, problems);
    let credential = read(&section, problems);
    Some(BackendAuth::Identity(Identity { credential: credential?, scope: scope? }))
}

fn managed(section: &Section<'_>, problems: &mut Problems) -> Option<Credential> {
    let ids = ["client_id", "object_id", "resource_id"];
    let written: Vec<_> = ids.iter().filter_map(|id| section.get(id).map(|at| (*id, at))).collect();
    let (id, at) = match written.as_slice() {
        [] => return Some(Credential::SystemAssigned),
        [one] => *one,
        [_, (_, second), ..] => {
            problems.refuse(&second.spot, "a second id of one identity", "keep one of them");
            return None;
        }
    };
    match id {
        "client_id" => names::guid(at, "the client id", problems).map(Credential::ClientId),
        "object_id" => names::guid(at, "the object id", problems).map(Credential::ObjectId),
        _ => resource_id(at, problems).map(Credential::ResourceId),
    }
}

fn resource_id(at: &At<'_>, problems: &mut Problems) -> Option<String> {
    let text = at.text("the identity's resource id", problems)?;
    let kind = "/providers/microsoft.managedidentity/userassignedidentities/";
    let plain = text.bytes().all(|b| b.is_ascii_graphic()) && text.len() <= 512;
    if plain && text.starts_with("/subscriptions/") && text.to_ascii_lowercase().contains(kind) {
        return Some(text.to_owned());
    }
    let instead = "write /subscriptions/ID/resourcegroups/NAME/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME";
    problems.refuse(&at.spot, "not the resource id of a user-assigned identity", instead);
    None
}

fn workload(section: &Section<'_>, problems: &mut Problems) -> Option<Credential> {
    let (tenant, client_id) = registration(section, problems);
    let file = section.require("token_file", "/path", problems);
    let token_file =
        file.and_then(|at| secrets::path(at, "the path of the file with the token", problems));
    Some(Credential::Workload { tenant: tenant?, client_id: client_id?, token_file: token_file? })
}

fn client_secret(section: &Section<'_>, problems: &mut Problems) -> Option<Credential> {
    let (tenant, client_id) = registration(section, problems);
    let secret = section.require("secret", "{ credential: NAME }", problems);
    let secret = secret.and_then(|at| secrets::source(at, problems));
    Some(Credential::Secret { tenant: tenant?, client_id: client_id?, secret: secret? })
}

fn registration(
    section: &Section<'_>,
    problems: &mut Problems,
) -> (Option<String>, Option<String>) {
    let mut id = |name: &str, what: &str| {
        section.require(name, "GUID", problems).and_then(|at| names::guid(at, what, problems))
    };
    (id("tenant", "the tenant's id"), id("client_id", "the client id"))
}

fn scope(section: &Section<'_>, entra: &Entra, problems: &mut Problems) -> Option<String> {
    let Some(at) = section.get("scope") else { return Some(usual_scope(entra)) };
    let text = at.text(keys::IDENTITY_SCOPE.shown, problems)?;
    let plain = text.bytes().all(|b| b.is_ascii_graphic()) && text.len() <= 256;
    if plain && text.contains("://") && text.ends_with("/.default") {
        return Some(text.to_owned());
    }
    problems.refuse(
        &at.spot,
        "not a scope that ends in `/.default`",
        format!("write {}, or leave it out", keys::IDENTITY_SCOPE.shown),
    );
    None
}

/// Each cloud has a resource of its own.
fn usual_scope(entra: &Entra) -> String {
    let scope = match entra.authority.host.as_str() {
        "login.microsoftonline.us" => "https://cognitiveservices.azure.us/.default",
        "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => {
            "https://cognitiveservices.azure.cn/.default"
        }
        _ => keys::IDENTITY_SCOPE.shown,
    };
    scope.to_owned()
}
