//! `routing` in layers: what a model writes, over what the file writes for all, over what the policy means.
//!
//! A model that names another policy than the file stands on that policy alone: numbers that were chosen for
//! one are no choice for the other.

use crate::config::checked::Policy;
use crate::config::keys;
use crate::config::keys::Flag;
use crate::config::keys::Key;
use crate::config::keys::Real;
use crate::config::keys::Whole;
use crate::config::keys::Word;
use crate::config::problem::Place;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::section::Section;
use crate::config::section::to_duration;
use std::time::Duration;

/// A map of `routing`, with what stands in for what it leaves out.
pub(super) struct Layers<'a> {
    own: Section<'a>,
    /// What is wrong with it is noted where it is somebody's own.
    beneath: Option<Section<'a>>,
    pub(super) policy: Policy,
}

impl<'a> Layers<'a> {
    /// The file's `routing`.
    pub(super) fn of_file(file: &Section<'a>, problems: &mut Problems) -> Self {
        let own = file.inner("routing", problems);
        let policy = policy(&own, problems).unwrap_or(Policy::Lookout);
        Self { own, beneath: None, policy }
    }

    /// Nothing written.
    pub(super) fn empty(policy: Policy) -> Self {
        let spot = Spot { place: Place::START, path: String::new() };
        Self { own: Section::new(spot, Some(Vec::new())), beneath: None, policy }
    }

    /// A model's `routing`, over the file's.
    pub(super) fn of_model(&self, model: &Section<'a>, problems: &mut Problems) -> Self {
        let own = model.inner("routing", problems);
        let policy = policy(&own, problems).unwrap_or(self.policy);
        let beneath = (policy == self.policy).then(|| self.own.clone());
        Self { own, beneath, policy }
    }

    /// The map at `pattern`, layer by layer.
    pub(super) fn inner(&self, pattern: &'static str, problems: &mut Problems) -> Self {
        let beneath = self.beneath.as_ref();
        Self {
            own: self.own.inner(pattern, problems),
            beneath: beneath.map(|section| section.inner(pattern, &mut Problems::default())),
            policy: self.policy,
        }
    }

    pub(super) fn real(&self, key: &'static Real, problems: &mut Problems) -> f64 {
        let read =
            |section: &Section<'a>, problems: &mut Problems| section.written_real(key, problems);
        self.read(read, problems).unwrap_or_else(|| key.default.under(self.policy))
    }

    pub(super) fn seconds(&self, key: &'static Real, problems: &mut Problems) -> Duration {
        to_duration(self.real(key, problems))
    }

    pub(super) fn whole(&self, key: &'static Whole, problems: &mut Problems) -> u32 {
        let read =
            |section: &Section<'a>, problems: &mut Problems| section.written_whole(key, problems);
        self.read(read, problems).unwrap_or_else(|| key.default.under(self.policy))
    }

    pub(super) fn flag(&self, key: &'static Flag, problems: &mut Problems) -> bool {
        let read =
            |section: &Section<'a>, problems: &mut Problems| section.written_flag(key, problems);
        self.read(read, problems).unwrap_or_else(|| key.default.under(self.policy))
    }

    pub(super) fn word(&self, key: &'static Word, problems: &mut Problems) -> &'a str {
        let read = |section: &Section<'a>, problems: &mut Problems| section.word(key, problems);
        self.read(read, problems).unwrap_or_else(|| key.default.under(self.policy))
    }

    /// The highest layer in which it is written, and well.
    fn read<T>(
        &self,
        read: impl Fn(&Section<'a>, &mut Problems) -> Option<T>,
        problems: &mut Problems,
    ) -> Option<T> {
        let own = read(&self.own, problems);
        own.or_else(|| read(self.beneath.as_ref()?, &mut Problems::default()))
    }

    /// Where the own layer has the key, if it has.
    pub(super) fn spot_of(&self, path: &'static str) -> Option<&Spot> {
        self.own.spot_of(path)
    }

    /// Whether any layer has the key.
    pub(super) fn has(&self, path: &'static str) -> bool {
        self.layers().any(|section| section.spot_of(path).is_some())
    }

    /// Where the own layer has something else than the policy's default, if it has.
    pub(super) fn differs(&self, key: Key) -> Option<Spot> {
        let silent = &mut Problems::default();
        let (parent, _) = key.path().rsplit_once('.')?;
        let section =
            if parent == "routing" { self.own.clone() } else { self.own.inner(parent, silent) };
        let differs = match key {
            Key::Real(key) => {
                let usual = key.default.under(self.policy).to_bits();
                section.written_real(key, silent)?.to_bits() != usual
            }
            Key::Whole(key) => {
                section.written_whole(key, silent)? != key.default.under(self.policy)
            }
            Key::Flag(key) => section.written_flag(key, silent)? != key.default.under(self.policy),
            Key::Word(key) => section.word(key, silent)? != key.default.under(self.policy),
            Key::Group(_) | Key::Text(_) => false,
        };
        section.spot_of(key.path()).filter(|_| differs).cloned()
    }

    /// Notes a number above another that bounds it, at the one that is written here. Where neither is they are
    /// defaults, which agree, or another layer's, where it is noted.
    pub(super) fn at_most(
        &self,
        low: (&'static Real, f64),
        high: (&'static Real, f64),
        problems: &mut Problems,
    ) {
        if low.1 <= high.1 || self.misread(low.0) || self.misread(high.0) {
            return;
        }
        let (low_name, high_name) = (keys::name(low.0.path), keys::name(high.0.path));
        if let Some(spot) = self.spot_of(low.0.path) {
            let wrong = format!("above `{high_name}`, which is {}", high.1);
            problems.refuse(spot, wrong, format!("write at most {}", high.1));
        } else if let Some(spot) = self.spot_of(high.0.path) {
            let wrong = format!("below `{low_name}`, which is {}", low.1);
            let instead = format!("write at least {}, or a smaller `{low_name}`", low.1);
            problems.refuse(spot, wrong, instead);
        }
    }

    /// Whether a number is written that was noted as a problem: then it says nothing about others.
    fn misread(&self, key: &'static Real) -> bool {
        self.layers().any(|section| section.misread(key))
    }

    fn layers(&self) -> impl Iterator<Item = &Section<'a>> {
        [Some(&self.own), self.beneath.as_ref()].into_iter().flatten()
    }
}

fn policy(section: &Section<'_>, problems: &mut Problems) -> Option<Policy> {
    section.word(&keys::POLICY, problems).map(|word| match word {
        "ema" => Policy::Ema,
        "round_robin" => Policy::RoundRobin,
        _ => Policy::Lookout,
    })
}
