//! Every key of the file, described once.
//!
//! The readers take ranges and defaults from here, the check for unknown keys takes the names, and
//! `conf/firstlight.yaml` is this table written out; so none of the three can say something else than the
//! others. A path uses `*` for a name that the operator chooses and for an item of a list.

mod apps;
mod backends;
mod detect;
mod entra;
mod entrance;
mod entries;
mod hedge;
mod models;
mod recover;
mod routing;
mod steps;

pub(super) use self::apps::*;
pub(super) use self::backends::*;
pub(super) use self::detect::*;
pub(super) use self::entra::*;
pub(super) use self::entrance::*;
pub(super) use self::entries::*;
pub(super) use self::hedge::*;
pub(super) use self::models::*;
pub(super) use self::recover::*;
pub(super) use self::routing::*;
pub(super) use self::steps::*;

use crate::config::checked::Policy;

/// What a key is if it is not written.
pub(super) struct Usual<T> {
    lookout: T,
    ema: T,
}

impl<T: Copy> Usual<T> {
    const fn of(value: T) -> Self {
        Self { lookout: value, ema: value }
    }

    const fn by_policy(lookout: T, ema: T) -> Self {
        Self { lookout, ema }
    }

    /// `round_robin` has what `ema` has.
    pub(super) const fn under(&self, policy: Policy) -> T {
        match policy {
            Policy::Lookout => self.lookout,
            Policy::Ema | Policy::RoundRobin => self.ema,
        }
    }

    /// In a file that names no policy.
    pub(super) const fn plain(&self) -> T {
        self.under(Policy::Lookout)
    }
}

/// A number that may have a fraction.
pub(super) struct Real {
    pub(super) path: &'static str,
    pub(super) default: Usual<f64>,
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) unit: &'static str,
    pub(super) about: &'static str,
}

/// A whole number.
pub(super) struct Whole {
    pub(super) path: &'static str,
    pub(super) default: Usual<u32>,
    pub(super) least: u32,
    pub(super) most: u32,
    pub(super) unit: &'static str,
    pub(super) about: &'static str,
}

/// True or false.
pub(super) struct Flag {
    pub(super) path: &'static str,
    pub(super) default: Usual<bool>,
    pub(super) about: &'static str,
}

/// One word of a few.
pub(super) struct Word {
    pub(super) path: &'static str,
    pub(super) default: Usual<&'static str>,
    pub(super) words: &'static [&'static str],
    pub(super) about: &'static str,
}

/// Text, or a short list or map.
pub(super) struct Text {
    pub(super) path: &'static str,
    /// What the reference shows.
    pub(super) shown: &'static str,
    pub(super) need: Need,
    pub(super) about: &'static str,
}

/// What happens to a [`Text`] that is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The file is refused.
    Required,
    /// What the reference shows is the default.
    Default,
    /// Another of its kind stands for it, and the reference shows this one.
    OneOf,
    /// Nothing; the reference shows it as a comment.
    Optional,
}

/// A map or a list.
pub(super) struct Group {
    pub(super) path: &'static str,
    /// What stands for a last `*` in the reference: a name, or `-` for an item of a list.
    pub(super) sample: &'static str,
    pub(super) about: &'static str,
}

/// One row of the table.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Group(&'static Group),
    Text(&'static Text),
    Word(&'static Word),
    Flag(&'static Flag),
    Real(&'static Real),
    Whole(&'static Whole),
}

impl Key {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Group(key) => key.path,
            Self::Text(key) => key.path,
            Self::Word(key) => key.path,
            Self::Flag(key) => key.path,
            Self::Real(key) => key.path,
            Self::Whole(key) => key.path,
        }
    }
}

/// The last part of a path: what is written in the file.
pub(super) fn name(path: &'static str) -> &'static str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The names that may stand in the map at `parent`; `""` is the file itself.
pub(super) fn allowed(parent: &str) -> Vec<&'static str> {
    table().filter_map(|key| child(key.path(), parent)).collect()
}

fn child(path: &'static str, parent: &str) -> Option<&'static str> {
    let rest =
        if parent.is_empty() { path } else { path.strip_prefix(parent)?.strip_prefix('.')? };
    (!rest.contains('.')).then_some(rest)
}

/// Whether some map has a key of this name.
pub(super) fn is_known(word: &str) -> bool {
    table().any(|key| name(key.path()) == word)
}

/// Every key, in the order of the reference.
pub(super) fn table() -> impl Iterator<Item = Key> {
    let routing = ROUTING.iter().chain(DETECT).chain(RECOVER).chain(HEDGING);
    let parts = [ENTRIES, IN_FRONT, BACKENDS, MODELS, APPS, ENTRA];
    parts.into_iter().flatten().chain(routing).chain(STEPS).copied()
}
