//! Models: which backends have them, and under which deployment name.

use crate::config::at::At;
use crate::config::backends::Backends;
use crate::config::checked::Model;
use crate::config::checked::Policy;
use crate::config::checked::ProbeKind;
use crate::config::keys;
use crate::config::layers::Layers;
use crate::config::names;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::routing;
use crate::config::section::Section;
use crate::config::section::to_duration;
use crate::config::tree::Value;
use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

/// A time-out below this is short for a model that thinks for tens of minutes.
const LONG_SECONDS: f64 = 900.0;

/// The models that could be read, and the names of all that are written.
#[derive(Debug, Default)]
pub(super) struct Models<'a> {
    pub(super) all: BTreeMap<String, Model>,
    pub(super) names: Vec<&'a str>,
}

/// What stands elsewhere in the file for models that say nothing of their own.
pub(super) struct Common<'a, 'b> {
    pub(super) routing: &'b Layers<'a>,
    pub(super) timeouts: &'b Section<'a>,
}

/// Reads `models`.
pub(super) fn read<'a>(
    file: &Section<'a>,
    backends: &Backends<'_>,
    common: &Common<'a, '_>,
    problems: &mut Problems,
) -> Models<'a> {
    const WHAT: &str = "{ gpt-4o: {} }";
    let mut models = Models::default();
    let written = file.require("models", WHAT, problems).map(|at| at.named(WHAT, problems));
    for (name, at) in written.unwrap_or_default() {
        models.names.push(name);
        let checked = names::check(name, &at.key_spot(), problems);
        let section = at.section("models.*", problems);
        let backends = match section.get("backends") {
            Some(at) => deployments(at, name, backends, problems),
            None => backends.all.keys().map(|backend| (backend.clone(), name.to_owned())).collect(),
        };
        let probe = section.word(&keys::MODEL_PROBE, problems);
        let probe = probe.map_or_else(|| usual_probe(name), probe_kind);
        let layers = common.routing.of_model(&section, problems);
        let spot = section.spot_of(keys::MODEL_PROBE.path);
        let routing = routing::of_model(&layers, (probe, spot), problems);
        let first_token = first_token(common, &section, routing.policy, problems);
        let model = Model { backends, probe, first_token, routing };
        warn_of_short_times(name, &model, (&at.key_spot(), common.timeouts), problems);
        models.all.extend(checked.map(|name| (name, model)));
    }
    models
}

/// Warns where a model thinks for tens of minutes, by its name or that of a deployment, and is not given them.
fn warn_of_short_times(
    name: &str,
    model: &Model,
    (spot, timeouts): (&Spot, &Section<'_>),
    problems: &mut Problems,
) {
    let mut names = iter::once(name).chain(model.backends.values().map(String::as_str));
    let Some(slow) = names.find(|name| thinks_long(name)) else { return };
    let written = timeouts.written_real(&keys::ANSWER, &mut Problems::default());
    let answer = written.unwrap_or_else(|| keys::ANSWER.default.plain());
    let first_token = model.first_token.as_secs_f64();
    if first_token < LONG_SECONDS || answer < LONG_SECONDS {
        problems.warn(
            spot,
            format!(
                "`{slow}` may think for tens of minutes; its first token is waited for {first_token} s, a response \
                 that is not streamed {answer} s"
            ),
            "write first_token_seconds: 1800 here and timeouts.answer_seconds: 1800",
        );
    }
}

/// Deep research and the models that are called pro.
fn thinks_long(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("deep-research") || name.split(['-', '_', '.']).any(|part| part == "pro")
}

impl Model {
    /// Whether the time to its first token is the default of its policy. One that is written as its default is the
    /// default.
    pub fn is_first_token_usual(&self) -> bool {
        self.first_token == to_duration(keys::FIRST_TOKEN.default.under(self.routing.policy))
    }
}

/// A model's own time to the first token, or that of all, or that of its policy.
fn first_token(
    common: &Common<'_, '_>,
    model: &Section<'_>,
    policy: Policy,
    problems: &mut Problems,
) -> Duration {
    let own = model.written_real(&keys::MODEL_FIRST_TOKEN, problems);
    // What is wrong with it is noted already.
    let of_all = || common.timeouts.written_real(&keys::FIRST_TOKEN, &mut Problems::default());
    to_duration(own.or_else(of_all).unwrap_or_else(|| keys::FIRST_TOKEN.default.under(policy)))
}

/// `[eastus2]` or `{ eastus2: deployment }`.
fn deployments(
    at: &At<'_>,
    model: &str,
    backends: &Backends<'_>,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    const WHAT: &str = "`[NAME]` or `{ NAME: deployment }`";
    let mut found = BTreeMap::new();
    if matches!(at.value(), Value::List(_)) {
        for item in at.items(WHAT, problems) {
            let Some(name) = item.text("the name of a backend", problems) else { continue };
            known(name, &item.spot, backends, problems);
            if found.insert(name.to_owned(), model.to_owned()).is_some() {
                problems.refuse(
                    &item.spot,
                    "this backend stands twice in the list",
                    "keep one of them",
                );
            }
        }
        return found;
    }
    for (name, deployment) in at.named(WHAT, problems) {
        known(name, &deployment.key_spot(), backends, problems);
        let Some(text) = deployment.text("the deployment's name on this backend", problems) else {
            continue;
        };
        if !names::is_deployment(text) {
            problems.refuse(
                &deployment.spot,
                "not a deployment's name",
                "write 1 to 64 letters, digits, `.`, `_` or `-`, as in the Azure portal",
            );
        }
        found.insert(name.to_owned(), text.to_owned());
    }
    found
}

fn known(name: &str, spot: &Spot, backends: &Backends<'_>, problems: &mut Problems) {
    if !backends.names.contains(&name) {
        problems.refuse(
            spot,
            "no backend has this name",
            names::did_you_mean(name, &backends.names),
        );
    }
}

fn usual_probe(model: &str) -> ProbeKind {
    if model.contains("embedding") { ProbeKind::Embeddings } else { ProbeKind::Chat }
}

fn probe_kind(word: &str) -> ProbeKind {
    match word {
        "completions" => ProbeKind::Completions,
        "embeddings" => ProbeKind::Embeddings,
        "off" => ProbeKind::Off,
        _ => ProbeKind::Chat,
    }
}
