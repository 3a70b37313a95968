//! Configuration: a YAML file in, checked values or every problem at once out. Pure: reads no file, no
//! environment and no clock.
//!
//! There are two stages. `tree` reads the file into nodes that know their places (`syntax` says what is not YAML,
//! `levels` moves what is not indented enough). The readers (`listen`,
//! `backends`, `models`, `apps`, `entra`, `callers`, `routing`, `settings`, `places`, `in_front`) walk the nodes, note each problem with its place and what to
//! write instead, and go on; `loopback` asks what no single part can know. Only a file without a problem
//! becomes a [`Config`], in which nothing is left to check.
//!
//! What a key is called, its defaults and its range stand once, in `keys`; [`reference()`] writes that
//! table out as `conf/firstlight.yaml`, [`schema()`] as a JSON Schema, and [`dump()`] writes a [`Config`] as a file that means the same.
//! [`diff()`] tells what a reload would change.

pub mod checked;

mod adopt;
mod app_entra;
mod apps;
mod at;
mod backends;
mod callers;
mod diff;
mod dump;
mod endpoint;
mod entra;
mod extra_paths;
mod fields;
mod identities;
mod idle;
mod in_front;
mod keys;
mod layers;
mod levels;
mod listen;
mod loopback;
mod models;
mod names;
mod places;
mod problem;
mod reference;
mod routing;
mod schema;
mod secrets;
mod section;
mod settings;
mod syntax;
mod tree;
mod until;

pub use crate::config::adopt::adopt;
pub use crate::config::diff::Difference;
pub use crate::config::diff::Takes;
pub use crate::config::diff::diff;
pub use crate::config::dump::dump;
pub use crate::config::fields::{Fields, read_fields};
pub use crate::config::problem::Problem;
pub use crate::config::reference::reference;
pub(crate) use crate::config::routing::unprobed;
pub use crate::config::schema::schema;

use crate::config::at::At;
use crate::config::checked::Config;
use crate::config::layers::Layers;
use crate::config::loopback::Exposure;
use crate::config::models::Common;
use crate::config::problem::Place;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::section::Section;
use crate::config::tree::Value;

/// A file that can be used.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it says.
    pub config: Config,
    /// What its author may want to know, sorted by place.
    pub warnings: Vec<Problem>,
}

/// Checks the text of a file. Gives every problem at once, sorted by place; only text that is not YAML
/// gives no more than its first mistake, and of several keys that stand twice the first is told.
pub fn check(text: &str) -> Result<Checked, Vec<Problem>> {
    let mut problems = Problems::default();
    let config = tree::parse(text, &mut problems).and_then(|mut root| {
        if matches!(root.value, Value::Null) {
            let spot = Spot { place: Place::START, path: String::new() };
            problems.refuse(&spot, "empty", "write `listen`, `backends`, `models` and `apps`");
            return None;
        }
        levels::repair(&mut root, "", &mut problems);
        let file = At::root(&root).section("", &mut problems);
        Some(read(&file, &mut problems))
    });
    let warnings = problems.settle()?;
    config.map(|config| Checked { config, warnings }).ok_or_else(Vec::new)
}

/// Reads the whole file. Where a problem was noted the value is a stand-in that nobody gets to see.
fn read(file: &Section<'_>, problems: &mut Problems) -> Config {
    let mut exposure = Exposure::default();
    let timeouts = file.inner("timeouts", problems);
    timeouts.written_real(&keys::FIRST_TOKEN, problems);
    let layers = Layers::of_file(file, problems);
    let routing = routing::of_file(&layers, problems);

    let entra = entra::read(file, &mut exposure, problems);
    let backends = backends::read(file, &entra, &mut exposure, problems);
    let common = Common { routing: &layers, timeouts: &timeouts };
    let models = models::read(file, &backends, &common, problems);
    let apps = apps::read(file, &models, &mut exposure, problems);
    let (listen, admin) = listen::read(file, &apps, &mut exposure, problems);
    exposure.check(problems);

    if models.all.values().all(|model| routing::ignores_weights(&model.routing)) {
        backends.warn_of_weights(problems);
    }
    Config {
        listen,
        admin,
        admin_socket: places::admin_socket(file, problems),
        in_front: in_front::read(file, problems),
        threads: usize::try_from(file.whole(&keys::THREADS, problems)).unwrap_or_default(),
        backends: backends.all,
        models: models.all,
        apps: apps.all,
        entra,
        caller: callers::read(file, problems),
        routing,
        retry: settings::retry(file, problems),
        timeouts: settings::timeouts(&timeouts, problems),
        limits: settings::limits(file, problems),
        log: settings::log(file, problems),
        inject_usage: file.flag(&keys::INJECT_USAGE, problems),
        dns_refresh: file.inner("dns", problems).seconds(&keys::DNS_REFRESH, problems),
        drain: file.seconds(&keys::DRAIN, problems),
        state_directory: places::state_directory(file, problems),
        extra_paths: extra_paths::read(file, problems),
    }
}
