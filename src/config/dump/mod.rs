//! A configuration written as a file: `check(dump(c))` gives `c` again.
//!
//! Everything is written, defaults too, in the file's shape and units; but not a path that is the default, which
//! means less than the same path written. `timeouts.first_token_seconds` is
//! the one key that is not: it is the default of a model's own time, and each model is written with its. A model has a `routing` of its own
//! only where it differs.

mod entra;
mod entrance;
pub(super) mod routing;

use crate::config::checked::ApiKey;
use crate::config::checked::App;
use crate::config::checked::AppLimits;
use crate::config::checked::Backend;
use crate::config::checked::Config;
use crate::config::checked::Listener;
use crate::config::checked::ListenerTls;
use crate::config::checked::Model;
use crate::config::checked::Place;
use crate::config::checked::ProbeKind;
use crate::config::checked::SecretSource;
use crate::config::endpoint;
use crate::config::keys;
use crate::config::until;
use serde_yaml::Mapping;
use serde_yaml::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

type Entry = (&'static str, Value);

/// Writes a configuration as a file.
pub fn dump(config: &Config) -> String {
    // Plain maps, text and numbers can always be written.
    serde_yaml::to_string(&written(config)).unwrap_or_default()
}

/// The file as a tree.
pub(super) fn written(config: &Config) -> Value {
    let file = [
        ("listen", config.listen.iter().map(listener).collect()),
        ("admin", admin(config)),
        whole(keys::THREADS.path, config.threads),
        ("backends", named(&config.backends, backend)),
        ("models", named(&config.models, |one| model(one, config))),
        ("apps", named(&config.apps, app)),
        ("entra", entra::entra(&config.entra)),
        ("caller", entra::caller(&config.caller)),
        ("routing", routing::written(&config.routing)),
        ("retry", retry(config)),
        ("timeouts", entrance::timeouts(&config.timeouts)),
        ("limits", entrance::limits(&config.limits)),
        ("log", map([flag(keys::LOG_ACCESS.path, config.log.access)])),
        flag(keys::INJECT_USAGE.path, config.inject_usage),
        ("dns", map([seconds(keys::DNS_REFRESH.path, config.dns_refresh)])),
        seconds(keys::DRAIN.path, config.drain),
    ];
    let extra_paths = Some(&config.extra_paths).filter(|paths| !paths.is_empty());
    let extra_paths = extra_paths.map(|paths| (keys::name(keys::EXTRA_PATHS.path), list(paths)));
    let state_directory = place(keys::STATE_DIRECTORY.path, &config.state_directory);
    let in_front = entrance::in_front(&config.in_front);
    map(file.into_iter().chain(in_front).chain(extra_paths).chain(state_directory))
}

fn admin(config: &Config) -> Value {
    let address = ("address", config.admin.map_or_else(|| "none".into(), |at| text(&at)));
    map([address].into_iter().chain(place(keys::ADMIN_SOCKET.path, &config.admin_socket)))
}

/// Where the default stands nothing is written: a path that is written must work.
fn place(key: &'static str, place: &Place) -> Option<Entry> {
    let value = match place {
        Place::Usual(_) => return None,
        Place::Named(named) => path(named),
        Place::Off => "none".into(),
    };
    Some((keys::name(key), value))
}

pub(super) fn listener(listener: &Listener) -> Value {
    let tls = match listener.tls.as_slice() {
        [] => None,
        [one] => Some(("tls", certificate(one))),
        several => Some(("tls", several.iter().map(certificate).collect())),
    };
    let apps =
        listener.apps.as_ref().map(|apps| (keys::name(keys::LISTENER_APPS.path), list(apps)));
    map([("address", text(&listener.address))].into_iter().chain(tls).chain(apps))
}

pub(super) fn certificate(tls: &ListenerTls) -> Value {
    map([("certificate", pem(&tls.certificate)), ("key", pem(&tls.key))])
}

fn pem(source: &SecretSource) -> Value {
    match source {
        SecretSource::File(file) => path(file),
        SecretSource::Credential(_) | SecretSource::Env(_) => secret(source),
    }
}

fn backend(backend: &Backend) -> Value {
    let entries = [
        ("endpoint", endpoint::written(&backend.endpoint).into()),
        ("auth", entra::auth(&backend.auth)),
        (keys::name(keys::TIER.path), backend.tier.into()),
        (keys::name(keys::WEIGHT.path), backend.weight.into()),
        (keys::name(keys::MAX_IN_FLIGHT.path), backend.max_in_flight.unwrap_or_default().into()),
    ];
    map(entries.into_iter().chain(backend.ca.as_ref().map(|ca| ("ca", path(ca)))))
}

fn secret(source: &SecretSource) -> Value {
    match source {
        SecretSource::Env(name) => map([("env", name.as_str().into())]),
        SecretSource::File(file) => map([("file", path(file))]),
        SecretSource::Credential(name) => map([("credential", name.as_str().into())]),
    }
}

fn model(model: &Model, config: &Config) -> Value {
    let probe = match model.probe {
        ProbeKind::Chat => "chat",
        ProbeKind::Completions => "completions",
        ProbeKind::Embeddings => "embeddings",
        ProbeKind::Off => "off",
    };
    let entries = [
        ("backends", named(&model.backends, |deployment| deployment.as_str().into())),
        (keys::name(keys::MODEL_PROBE.path), probe.into()),
        seconds(keys::MODEL_FIRST_TOKEN.path, model.first_token),
    ];
    let own =
        (model.routing != config.routing).then(|| ("routing", routing::written(&model.routing)));
    map(entries.into_iter().chain(own))
}

fn app(app: &App) -> Value {
    let key = |key: &ApiKey| {
        let expires = key.expires.map(|over| ("expires", until::written(over).into()));
        let entries = [("sha256", key.sha256.as_str().into()), ("name", key.name.as_str().into())];
        map(entries.into_iter().chain(expires))
    };
    // An empty list would be a mistake in a file.
    let api_keys =
        (!app.api_keys.is_empty()).then(|| ("api_keys", app.api_keys.iter().map(key).collect()));
    let entra = app.entra.as_ref().map(|entra| ("entra", entra::app(entra)));
    let models = app.models.as_ref().map(|models| ("models", list(models)));
    let flags = [flag(keys::APP_PROBE.path, app.probe), flag(keys::ANONYMOUS.path, app.anonymous)];
    let limits = ("limits", app_limits(&app.limits));
    map(api_keys.into_iter().chain(entra).chain(models).chain([limits]).chain(flags))
}

fn app_limits(limits: &AppLimits) -> Value {
    let limit = |key: &'static keys::Whole, most: Option<u32>| {
        (keys::name(key.path), most.unwrap_or_default().into())
    };
    map([
        limit(&keys::APP_REQUESTS, limits.requests_per_minute),
        limit(&keys::APP_TOKENS, limits.tokens_per_minute),
        limit(&keys::APP_CONCURRENT, limits.concurrent),
    ])
}

fn retry(config: &Config) -> Value {
    let retry = &config.retry;
    let numbers = [
        (keys::name(keys::MAX_ATTEMPTS.path), retry.max_attempts.into()),
        real(keys::BUDGET_SHARE.path, retry.budget_share),
        (keys::name(keys::BUDGET_MIN.path), retry.budget_min.into()),
        seconds(keys::HOLD_HEADERS.path, retry.hold_headers),
    ];
    let tools = Some(&retry.repeatable_tools).filter(|tools| !tools.is_empty());
    let tools = tools.map(|tools| (keys::name(keys::REPEATABLE_TOOLS.path), list(tools)));
    map(numbers.into_iter().chain(tools))
}

fn map(entries: impl IntoIterator<Item = Entry>) -> Value {
    let entries = entries.into_iter().map(|(name, value)| (Value::from(name), value));
    Value::Mapping(entries.collect::<Mapping>())
}

fn named<T>(all: &BTreeMap<String, T>, write: impl Fn(&T) -> Value) -> Value {
    let entries = all.iter().map(|(name, one)| (Value::from(name.as_str()), write(one)));
    Value::Mapping(entries.collect::<Mapping>())
}

fn list(names: &[String]) -> Value {
    names.iter().map(|name| Value::from(name.as_str())).collect()
}

fn text(value: &impl ToString) -> Value {
    value.to_string().into()
}

fn path(path: &Path) -> Value {
    // It was text in the file, so nothing is lost.
    path.to_string_lossy().into_owned().into()
}

fn flag(path: &'static str, value: impl Into<Value>) -> Entry {
    (keys::name(path), value.into())
}

fn whole(path: &'static str, value: usize) -> Entry {
    (keys::name(path), u64::try_from(value).unwrap_or(u64::MAX).into())
}

fn seconds(path: &'static str, value: Duration) -> Entry {
    real(path, value.as_secs_f64())
}

/// Numbers without a fraction are written without one.
fn real(path: &'static str, value: f64) -> Entry {
    let written = value.to_string();
    (keys::name(path), written.parse::<u64>().map_or_else(|_| value.into(), Into::into))
}
