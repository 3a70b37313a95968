//! A configuration written as a file: `check(dump(c))` gives `c` again.
//!
//! Everything is written, defaults too, in the file's shape and units. `timeouts.first_token_seconds` is
//! the one key that is not: it is the default of a model's own time, and each model is written with its.

use crate::config::checked::ApiKey;
use crate::config::checked::App;
use crate::config::checked::Backend;
use crate::config::checked::BackendAuth;
use crate::config::checked::Config;
use crate::config::checked::Listener;
use crate::config::checked::Model;
use crate::config::checked::Policy;
use crate::config::checked::ProbeKind;
use crate::config::checked::Routing;
use crate::config::checked::SecretSource;
use crate::config::endpoint;
use crate::config::keys;
use crate::config::settings;
use serde_yaml::Mapping;
use serde_yaml::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

type Entry = (&'static str, Value);

/// Writes a configuration as a file.
pub fn dump(config: &Config) -> String {
    let file = map([
        ("listen", config.listen.iter().map(listener).collect()),
        ("admin", map([("address", config.admin.map_or_else(|| "none".into(), |at| text(&at)))])),
        whole(keys::THREADS.path, config.threads),
        ("backends", named(&config.backends, backend)),
        ("models", named(&config.models, model)),
        ("apps", named(&config.apps, app)),
        ("routing", routing(&config.routing)),
        ("retry", retry(config)),
        ("timeouts", timeouts(config)),
        ("limits", limits(config)),
        ("log", map([flag(keys::LOG_ACCESS.path, config.log.access)])),
        ("dns", map([seconds(keys::DNS_REFRESH.path, config.dns_refresh)])),
        seconds(keys::DRAIN.path, config.drain),
    ]);
    // Plain maps, text and numbers can always be written.
    serde_yaml::to_string(&file).unwrap_or_default()
}

fn listener(listener: &Listener) -> Value {
    let tls = listener.tls.as_ref().map(|tls| {
        let files = map([("certificate", path(&tls.certificate)), ("key", path(&tls.key))]);
        ("tls", files)
    });
    map([("address", text(&listener.address))].into_iter().chain(tls))
}

fn backend(backend: &Backend) -> Value {
    let auth = match &backend.auth {
        BackendAuth::None => "none".into(),
        BackendAuth::ApiKey(source) => map([("api_key", secret(source))]),
    };
    let entries = [
        ("endpoint", endpoint::written(&backend.endpoint).into()),
        ("auth", auth),
        (keys::name(keys::TIER.path), backend.tier.into()),
        (keys::name(keys::WEIGHT.path), backend.weight.into()),
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

fn model(model: &Model) -> Value {
    let probe = match model.probe {
        ProbeKind::Chat => "chat",
        ProbeKind::Completions => "completions",
        ProbeKind::Embeddings => "embeddings",
        ProbeKind::Off => "off",
    };
    map([
        ("backends", named(&model.backends, |deployment| deployment.as_str().into())),
        (keys::name(keys::MODEL_PROBE.path), probe.into()),
        seconds(keys::MODEL_FIRST_TOKEN.path, model.first_token),
    ])
}

fn app(app: &App) -> Value {
    let key = |key: &ApiKey| {
        map([("sha256", key.sha256.as_str().into()), ("name", key.name.as_str().into())])
    };
    // An empty list would be a mistake in a file.
    let api_keys =
        (!app.api_keys.is_empty()).then(|| ("api_keys", app.api_keys.iter().map(key).collect()));
    let models = app
        .models
        .as_ref()
        .map(|models| ("models", models.iter().map(|m| Value::from(m.as_str())).collect()));
    let flags = [flag(keys::APP_PROBE.path, app.probe), flag(keys::ANONYMOUS.path, app.anonymous)];
    map(api_keys.into_iter().chain(models).chain(flags))
}

fn routing(routing: &Routing) -> Value {
    let policy = match routing.policy {
        Policy::Lookout => "lookout",
        Policy::Ema => "ema",
        Policy::RoundRobin => "round_robin",
    };
    let Routing { detect, probe, limit, .. } = routing;
    let detect = map([
        real(keys::TRIP.path, detect.trip_ms),
        real(keys::CLEAR.path, detect.clear_ms),
        real(keys::STRIKES_TO_TRIP.path, detect.strikes_to_trip),
        real(keys::STRIKE_ERROR.path, detect.strike_error),
        seconds(keys::STRIKE_TTL.path, detect.strike_ttl),
    ]);
    let probe = map([
        seconds(keys::PROBE_INTERVAL.path, probe.interval),
        (keys::name(keys::PROBE_COUNT.path), probe.count.into()),
        seconds(keys::PROBE_TIMEOUT.path, probe.timeout),
        real(keys::JITTER.path, probe.jitter_share),
        (keys::name(keys::PROBE_TOKENS.path), probe.max_tokens.into()),
    ]);
    let limit = map([
        seconds(keys::LIMIT_DEFAULT.path, limit.default_wait),
        seconds(keys::LIMIT_MAX.path, limit.max_wait),
        seconds(keys::LIMIT_RAMP.path, limit.ramp),
    ]);
    map([
        (keys::name(keys::POLICY.path), policy.into()),
        real(keys::EMA_ALPHA.path, routing.ema_alpha),
        seconds(keys::SCORE_TTL.path, routing.score_ttl),
        real(keys::DEFAULT_SCORE.path, routing.default_score_ms),
        ("detect", detect),
        ("recover", map([seconds(keys::FLAG_TTL.path, routing.flag_ttl)])),
        ("probe", probe),
        ("limit", limit),
    ])
}

fn retry(config: &Config) -> Value {
    let retry = &config.retry;
    map([
        (keys::name(keys::MAX_ATTEMPTS.path), retry.max_attempts.into()),
        real(keys::BUDGET_SHARE.path, retry.budget_share),
        (keys::name(keys::BUDGET_MIN.path), retry.budget_min.into()),
    ])
}

fn timeouts(config: &Config) -> Value {
    let timeouts = &config.timeouts;
    map([
        seconds(keys::CONNECT.path, timeouts.connect),
        seconds(keys::ANSWER.path, timeouts.answer),
        seconds(keys::IDLE.path, timeouts.idle),
        seconds(keys::BODY_IDLE.path, timeouts.body_idle),
        seconds(keys::BODY_TOTAL.path, timeouts.body_total),
    ])
}

fn map(entries: impl IntoIterator<Item = Entry>) -> Value {
    let entries = entries.into_iter().map(|(name, value)| (Value::from(name), value));
    Value::Mapping(entries.collect::<Mapping>())
}

fn named<T>(all: &BTreeMap<String, T>, write: impl Fn(&T) -> Value) -> Value {
    let entries = all.iter().map(|(name, one)| (Value::from(name.as_str()), write(one)));
    Value::Mapping(entries.collect::<Mapping>())
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

fn limits(config: &Config) -> Value {
    map([
        whole(keys::BODY.path, settings::mebibytes(config.limits.body_bytes)),
        whole(keys::BUFFERED.path, settings::mebibytes(config.limits.buffered_bytes)),
    ])
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
