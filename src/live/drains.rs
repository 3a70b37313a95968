//! Backends that an operator took out of use: no new requests and no probes of ours, while streams that run
//! there finish. A request that names its backend (`X-Probe-Target`) still goes there, so that it can be tried
//! before it is put back.
//!
//! The set lives beside the snapshots and is applied to each of them, so that a drain outlives a reload and
//! holds for targets that come with one. A backend that is gone from the configuration stays in the set, should
//! it come back, and is not told of.

use crate::live::unproved::apply_tokens;
use crate::live::{Live, LiveModel, Snapshot};
use crate::routing::{Block, Switch};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// An operator named a backend that is not configured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no backend {name:?}; name one of: {configured}", configured = configured.join(", "))]
pub struct UnknownBackend {
    /// What was named.
    pub name: String,
    /// What is configured.
    pub configured: Vec<String>,
}

/// The names of the drained backends. Locked while a snapshot is swapped, so that no drain is lost between.
pub(super) type Drains = Mutex<BTreeSet<String>>;

impl Live {
    /// Takes a backend out of use for all models, or puts it back. Done at once; without effect if it is so
    /// already.
    pub fn drain_backend(&self, name: &str, drained: Switch) -> Result<(), UnknownBackend> {
        let mut drains = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.snapshot();
        if !snapshot.has_backend(name) {
            let configured = snapshot.backends().map(|b| b.name.to_string()).collect();
            return Err(UnknownBackend { name: name.to_owned(), configured });
        }
        match drained {
            Switch::On => drains.insert(name.to_owned()),
            Switch::Off => drains.remove(name),
        };
        apply_drains(&snapshot, &drains);
        Ok(())
    }

    /// The configured backends that are drained.
    pub fn drained(&self) -> BTreeSet<String> {
        let snapshot = self.snapshot();
        let drains = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        drains.iter().filter(|name| snapshot.has_backend(name)).cloned().collect()
    }

    /// Makes `next` the present snapshot, with the drains applied and the blocks of backends without a token.
    pub(super) fn swap_in(&self, next: Snapshot) {
        let drains = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        apply_drains(&next, &drains);
        apply_tokens(&next, self.clock().unix());
        self.snapshot.store(Arc::new(next));
    }

    /// Drains these too, configured or not.
    pub(super) fn drain_also(&self, names: &BTreeSet<String>) {
        let mut drains = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        drains.extend(names.iter().cloned());
        apply_drains(&self.snapshot(), &drains);
    }
}

/// Blocks the targets of the drained backends, and no others' for that reason.
pub(super) fn apply_drains(snapshot: &Snapshot, drained: &BTreeSet<String>) {
    for model in snapshot.models().chain([&snapshot.any_backend]) {
        apply_to(model, drained);
    }
}

fn apply_to(model: &LiveModel, drained: &BTreeSet<String>) {
    for (target, backend) in model.backends.iter().enumerate() {
        let switch = if drained.contains(&*backend.name) { Switch::On } else { Switch::Off };
        model.pool.set_block(target, Block::Drained, switch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config;
    use crate::config::checked::Config;
    use std::fmt::Write;

    fn config(backends: &[&str], models: &[&str]) -> Config {
        let mut text = String::from("listen: [ { address: 127.0.0.1:0 } ]\nbackends:\n");
        let key = "auth: none";
        for name in backends {
            writeln!(text, "  {name}: {{ endpoint: \"http://127.0.0.1:9\", {key} }}").unwrap();
        }
        text.push_str("apps: { everybody: { anonymous: true } }\nmodels:\n");
        for name in models {
            writeln!(text, "  {name}: {{}}").unwrap();
        }
        config::check(&text).unwrap().config
    }

    fn live(backends: &[&str]) -> Live {
        Live::new(config(backends, &["m"]), Clock::start()).unwrap()
    }

    /// The backends whose targets are drained, by model; the last is that of requests without a model.
    fn blocked(live: &Live) -> Vec<(String, Vec<String>)> {
        let snapshot = live.snapshot();
        let drained = |model: &Arc<LiveModel>| {
            let is = |target| model.pool.blocks(target).unwrap().has(Block::Drained);
            let names = model.backends.iter().enumerate().filter(|(t, _)| is(*t));
            (model.name.to_string(), names.map(|(_, b)| b.name.to_string()).collect())
        };
        snapshot.models().chain([&snapshot.any_backend]).map(drained).collect()
    }

    fn reload(live: &Live, next: Config) {
        let next = Snapshot::build(next, Some(&live.snapshot())).unwrap();
        live.swap_in(next);
    }

    fn all(models: &[&str], names: &[&str]) -> Vec<(String, Vec<String>)> {
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        models.iter().map(|&m| (m.to_owned(), names.clone())).collect()
    }

    #[test]
    fn a_drain_holds_for_all_models_and_reloads_until_it_is_taken_back() {
        let live = live(&["a", "b"]);
        live.drain_backend("a", Switch::On).unwrap();
        live.drain_backend("a", Switch::On).unwrap();
        assert_eq!(blocked(&live), all(&["m", "any"], &["a"]));
        reload(&live, config(&["a", "b", "c"], &["m", "new"]));
        assert_eq!(blocked(&live), all(&["m", "new", "any"], &["a"]), "targets that are new, too");
        assert_eq!(live.drained(), BTreeSet::from(["a".to_owned()]));
        live.drain_backend("a", Switch::Off).unwrap();
        assert_eq!(blocked(&live), all(&["m", "new", "any"], &[]));
        assert_eq!(live.drained(), BTreeSet::new());
    }

    #[test]
    fn a_backend_that_vanishes_is_not_told_of_and_is_drained_when_it_comes_back() {
        let live = live(&["a", "b"]);
        live.drain_backend("a", Switch::On).unwrap();
        reload(&live, config(&["b"], &["m"]));
        assert_eq!((live.drained(), blocked(&live)), (BTreeSet::new(), all(&["m", "any"], &[])));
        reload(&live, config(&["a", "b"], &["m"]));
        assert_eq!(blocked(&live), all(&["m", "any"], &["a"]));
    }

    #[test]
    fn an_unknown_backend_is_an_error_that_names_the_known_ones() {
        let live = live(&["a", "b"]);
        let error = live.drain_backend("A", Switch::On).unwrap_err();
        assert_eq!(error.to_string(), "there is no backend \"A\"; name one of: a, b");
        assert_eq!(live.drained(), BTreeSet::new());
    }
}
