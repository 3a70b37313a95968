//! A configuration as a tree in which what means the same is the same.

use crate::config::checked::ApiKey;
use crate::config::checked::App;
use crate::config::checked::Config;
use crate::config::checked::Listener;
use crate::config::checked::Model;
use crate::config::checked::ProbeKind;
use crate::config::dump;
use crate::config::routing;
use crate::config::until;
use serde_yaml::Mapping;
use serde_yaml::Value;

/// A listener in both configurations, or in one.
pub(super) struct Pair<'a> {
    /// Its place in the file; in what runs, where the file has none.
    pub(super) index: usize,
    pub(super) before: Option<&'a Listener>,
    pub(super) after: Option<&'a Listener>,
}

/// The listeners side by side. Those with one address belong together, wherever they stand; of the rest those in
/// one place, whose address was changed. (Of several with port 0 the first goes with the first.)
pub(super) fn listeners<'a>(running: &'a Config, file: &'a Config) -> Vec<Pair<'a>> {
    let mut left: Vec<_> = running.listen.iter().enumerate().collect();
    let mut take = |wanted: &dyn Fn(usize, &Listener) -> bool| {
        let at = left.iter().position(|(index, one)| wanted(*index, one))?;
        Some(left.remove(at).1)
    };
    let pair = |(index, after)| Pair { index, before: None, after: Some(after) };
    let mut pairs: Vec<Pair<'a>> = file.listen.iter().enumerate().map(pair).collect();
    for pair in &mut pairs {
        let address = pair.after.map(|one| one.address);
        pair.before = take(&|_, one| Some(one.address) == address);
    }
    for pair in pairs.iter_mut().filter(|pair| pair.before.is_none()) {
        pair.before = take(&|index, _| index == pair.index);
    }
    let gone = left.into_iter();
    pairs.extend(gone.map(|(index, one)| Pair { index, before: Some(one), after: None }));
    pairs
}

impl Pair<'_> {
    /// Both as trees. Where either has several certificates those have numbers.
    pub(super) fn written(&self) -> (Option<Value>, Option<Value>) {
        let both = [self.before, self.after].into_iter().flatten();
        let most = both.map(|one| one.tls.len()).max().unwrap_or_default();
        let written = |one| if most > 1 { numbered(one) } else { listener(one) };
        (self.before.map(written), self.after.map(written))
    }

    /// Whether there is the same socket for both.
    pub(super) fn shares_socket(&self) -> bool {
        let socket = |one: &Listener| (one.address, one.tls.is_empty());
        self.before.map(socket) == self.after.map(socket)
    }
}

fn listener(listener: &Listener) -> Value {
    let mut written = dump::listener(listener);
    written.get_mut("apps").map(sort).unwrap_or_default();
    written
}

fn numbered(one: &Listener) -> Value {
    let mut written = listener(one);
    let tls = one.tls.iter().enumerate();
    let tls: Mapping = tls.map(|(n, tls)| (n.to_string().into(), dump::certificate(tls))).collect();
    if let Some(written) = written.as_mapping_mut().filter(|_| !tls.is_empty()) {
        written.insert("tls".into(), Value::Mapping(tls));
    }
    written
}

/// Everything but the listeners.
pub(super) fn others(config: &Config) -> Value {
    let mut file = dump::written(config);
    if let Some(file) = file.as_mapping_mut() {
        file.shift_remove("listen");
    }
    for (name, model) in &config.models {
        if let Some(written) = entry(&mut file, "models", name) {
            written.shift_remove("routing");
            let own = own_routing(model, config).map(|own| ("routing".into(), own));
            written.extend(own);
        }
    }
    for (name, app) in &config.apps {
        if let Some(written) = entry(&mut file, "apps", name) {
            if !app.api_keys.is_empty() {
                written.insert("api_keys".into(), keys(app));
            }
            written.get_mut("models").map(sort).unwrap_or_default();
            for list in ["audiences", "roles", "probe_roles", "scopes", "clients"] {
                let list = written.get_mut("entra").and_then(|entra| entra.get_mut(list));
                list.map(sort).unwrap_or_default();
            }
        }
    }
    file
}

fn entry<'a>(file: &'a mut Value, group: &str, name: &str) -> Option<&'a mut Mapping> {
    file.get_mut(group)?.get_mut(name)?.as_mapping_mut()
}

/// Each hash by the name of its key, which no other key of the app has, and when it is over.
fn keys(app: &App) -> Value {
    let hash = |key: &ApiKey| (key.name.as_str().into(), key.sha256.as_str().into());
    let expires = |key: &ApiKey| {
        let over = until::written(key.expires?);
        Some((format!("{} (expires)", key.name).into(), over.into()))
    };
    let keys = app.api_keys.iter();
    Value::Mapping(keys.flat_map(|key| [Some(hash(key)), expires(key)]).flatten().collect())
}

/// What a model's routing has of its own, over what it would be with none: the file's, or with another policy
/// that policy's defaults.
fn own_routing(model: &Model, config: &Config) -> Option<Value> {
    let mut beneath = if model.routing.policy == config.routing.policy {
        config.routing.clone()
    } else {
        routing::usual(model.routing.policy)
    };
    if model.probe == ProbeKind::Off {
        beneath = routing::unprobed(&beneath);
    }
    let policy = config.routing.policy;
    let mut beneath = dump::routing::written(&beneath);
    if model.routing.policy != policy
        && let Some(beneath) = beneath.as_mapping_mut()
    {
        beneath.shift_remove("policy");
    }
    without(&dump::routing::written(&model.routing), &beneath)
}

/// What is in a tree and not the same beneath it.
fn without(tree: &Value, beneath: &Value) -> Option<Value> {
    let Value::Mapping(entries) = tree else {
        return (tree != beneath).then(|| tree.clone());
    };
    let nothing = Value::Null;
    let left = entries.iter().filter_map(|(key, value)| {
        Some((key.clone(), without(value, beneath.get(key).unwrap_or(&nothing))?))
    });
    let left: Mapping = left.collect();
    (!left.is_empty()).then_some(Value::Mapping(left))
}

/// The order of a list of names means nothing.
fn sort(list: &mut Value) {
    if let Value::Sequence(names) = list {
        names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
}
