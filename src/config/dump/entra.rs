//! What has to do with Entra ID, written as a file has it.

use super::{Entry, flag, list, map, path, secret, text};
use crate::config::checked::{
    AppEntra, BackendAuth, CallerHeaders, CallerId, Credential, Entra, Identity,
};
use crate::config::keys;
use serde_yaml::Value;

pub(super) fn auth(auth: &BackendAuth) -> Value {
    match auth {
        BackendAuth::None => "none".into(),
        BackendAuth::ApiKey(source) => map([("api_key", secret(source))]),
        BackendAuth::Identity(identity) => map([credential(identity)]),
    }
}

fn credential(Identity { credential, scope }: &Identity) -> Entry {
    let managed = |id: Option<Entry>| ("managed_identity", id.into_iter().collect());
    let (form, entries): (_, Vec<Entry>) = match credential {
        Credential::SystemAssigned => managed(None),
        Credential::ClientId(id) => managed(Some(("client_id", text(id)))),
        Credential::ObjectId(id) => managed(Some(("object_id", text(id)))),
        Credential::ResourceId(id) => managed(Some(("resource_id", text(id)))),
        Credential::Workload { tenant, client_id, token_file } => {
            let file = ("token_file", path(token_file));
            (
                "workload_identity",
                vec![("tenant", text(tenant)), ("client_id", text(client_id)), file],
            )
        }
        Credential::Secret { tenant, client_id, secret: source } => {
            let source = ("secret", secret(source));
            (
                "client_secret",
                vec![("tenant", text(tenant)), ("client_id", text(client_id)), source],
            )
        }
    };
    (form, map(entries.into_iter().chain([("scope", text(scope))])))
}

pub(super) fn app(app: &AppEntra) -> Value {
    // An empty list would be a mistake in a file.
    let some = |name, words: &[String]| (!words.is_empty()).then(|| (name, list(words)));
    let entries = [
        ("tenant", text(&app.tenant)),
        ("audiences", list(&app.audiences)),
        (keys::name(keys::ENTRA_ROLES.path), list(&app.roles)),
        (keys::name(keys::ENTRA_PROBE_ROLES.path), list(&app.probe_roles)),
    ];
    let more = [some("scopes", &app.scopes), some("clients", &app.clients)];
    map(entries.into_iter().chain(more.into_iter().flatten()))
}

pub(super) fn entra(entra: &Entra) -> Value {
    let at = |key: &'static keys::Text, value: String| (keys::name(key.path), value.into());
    map([
        at(&keys::AUTHORITY, entra.authority.origin()),
        at(&keys::STS, entra.sts.origin()),
        at(&keys::IMDS, entra.imds.origin()),
    ])
}

pub(super) fn caller(caller: &CallerHeaders) -> Value {
    let id = match caller.id {
        CallerId::Off => "off",
        CallerId::Oid => "oid",
        CallerId::Sub => "sub",
    };
    map([
        flag(keys::CALLER_HEADERS.path, caller.all),
        (keys::name(keys::CALLER_ID.path), id.into()),
        (keys::name(keys::CALLER_ID_HEADER.path), text(&caller.id_header)),
    ])
}
