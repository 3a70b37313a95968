//! What a pool has learned, as plain values that outlive the process: a new one starts warm.
//!
//! How much of a record is used depends on its age. Up to ten minutes: all of it. A target that was degraded
//! is degraded still, and its recovery probe is due at once. Up to a day: what is normal (bases and norm), but
//! nothing of the moment. Older: nothing. Bases follow the time of day, and so a base is as good as one of
//! this hour yesterday, but what was normal last week may be another model version by now.
//!
//! A record is never trusted: a number that cannot be is ignored with what belongs to it. Counts need no other
//! bound than their type's: they saturate, and beyond some hundreds none weighs more. *Auth failed* and
//! *misconfigured* are not part of it, since our own probes find them again, nor are strikes, which are
//! evidence about requests that the new process did not see. *Drained* is kept beside the pools.

use crate::routing::guard::lower_median;
use crate::routing::health::State;
use crate::routing::pool::{Pool, Target};
use crate::routing::settings::{Mode, Settings};
use crate::routing::speed::{POSSIBLE_MS, Reading};
use crate::routing::target::{Known, TargetState};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Up to this age a record tells of the present.
const FRESH: Duration = Duration::from_mins(10);
/// A base of fewer samples does not tell what the model usually takes.
const SETTLED: u32 = 20;
/// Beyond this age it tells nothing.
const OUTDATED: Duration = Duration::from_hours(24);

/// What was learned of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearnedPool {
    /// What is normal whichever target answers.
    pub norm: LearnedNorm,
    /// Its targets by backend.
    pub targets: BTreeMap<String, LearnedTarget>,
}

/// What is normal for one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearnedNorm {
    /// By the least number of tokens, as the metrics name it.
    pub sizes: BTreeMap<String, LearnedSize>,
    /// Samples of all sizes.
    pub samples: u32,
    /// An answer is late after so many times the expected time.
    pub late_mult: f64,
    /// Logarithm of the usual milliseconds of a whole answer that is not streamed; meaningless without samples.
    pub ln_total_ms: f64,
    /// Samples of those.
    pub totals: u32,
    /// The same by what was asked for; files of former versions have none.
    #[serde(default)]
    pub classes: BTreeMap<String, LearnedTotal>,
}

/// How long whole responses of one class take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnedTotal {
    /// Logarithm of the usual milliseconds.
    pub ln_ms: f64,
    /// One is late after so many times the usual time.
    pub late_mult: f64,
    /// Samples that it was learned from.
    pub samples: u32,
}

/// How TTFT depends on one prompt size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnedSize {
    /// Logarithm of the factor on TTFT.
    pub ln_factor: f64,
    /// Samples that it was learned from.
    pub samples: u32,
}

/// What was learned of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearnedTarget {
    /// `None`: no sample.
    pub base: Option<LearnedBase>,
    /// `None`: no score.
    pub score: Option<LearnedScore>,
    /// Its state.
    pub state: State,
    /// How long its flag still lasts, milliseconds, if it is degraded for a time.
    pub flag_left_ms: Option<u64>,
    /// How much longer it rests after a 429, milliseconds.
    pub limited_ms: u64,
    /// From how many tokens on a request is kept away by that; 0: every one.
    #[serde(default)]
    pub limited_tokens: u64,
}

/// What is normal for one target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnedBase {
    /// Logarithm of the milliseconds to the first token of a reference prompt.
    pub ln_ms: f64,
    /// Average of sample over base.
    pub spread: f64,
    /// Samples that it was learned from.
    pub samples: u32,
}

/// A score and its age.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnedScore {
    /// Milliseconds, when it was last moved.
    pub ms: f64,
    /// How long ago that was, milliseconds.
    pub age_ms: u64,
}

/// What a new process starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recalled {
    /// How many targets something was known of.
    pub targets: usize,
    /// The positions of those that are degraded.
    pub degraded: Vec<usize>,
}

impl LearnedPool {
    /// After how long a first token is late on most of its targets: the middle of their times, with the usual margin.
    /// `None` while too few were seen.
    pub fn late(&self) -> Option<Duration> {
        let known = self.targets.values().filter_map(|target| target.base);
        let mut bases: Vec<f64> = known
            .filter(|base| base.samples >= SETTLED && POSSIBLE_MS.contains(&base.ln_ms.exp()))
            .map(|base| base.ln_ms.exp())
            .collect();
        let late_ms = lower_median(&mut bases)? * self.norm.late_mult;
        Duration::try_from_secs_f64(late_ms / 1000.0).ok()
    }
}

impl Pool {
    /// What it has learned so far.
    pub fn learned(&self, now: Time) -> LearnedPool {
        let targets = self.targets().iter();
        LearnedPool {
            norm: self.shared().with_norm(|norm| norm.learned()),
            targets: targets.map(|t| (t.spec.backend.clone(), of_target(&t.state, now))).collect(),
        }
    }

    /// Starts with what a former process had learned `age` ago. A target of which something was learned in this
    /// process already is left alone, and so is the norm.
    pub fn recall(&self, learned: &LearnedPool, age: Duration, now: Time) -> Recalled {
        if age > OUTDATED {
            return Recalled::default();
        }
        let settings = self.settings();
        self.shared().with_norm(|norm| {
            norm.recall(&learned.norm, settings.detect.late_mult);
            norm.check_invariants(&settings.detect);
        });
        let mut blank: Vec<(&Target, LearnedTarget)> = Vec::new();
        for target in self.targets() {
            let found = learned.targets.get(&target.spec.backend);
            let taken = |found: &&LearnedTarget| {
                target.state.change(|known| recall_base(known, found, now))
            };
            blank.extend(found.filter(taken).map(|found| (target, *found)));
        }
        // All bases first: a score without one of its own decays to the fleet's.
        self.look(now);
        if age <= FRESH {
            let unknown_ms = self.fleet().load().unknown_ms(settings);
            let moment = Moment { settings, unknown_ms, age, now };
            for (target, found) in &blank {
                target.state.change(|known| moment.recall(known, found));
            }
            // Some may rest.
            self.shared().trickle_at.store(0, Relaxed);
            self.look(now);
        }
        Recalled { targets: blank.len(), degraded: self.fleet().load().degraded.clone() }
    }
}

fn of_target(state: &TargetState, now: Time) -> LearnedTarget {
    state.with(|known| {
        let (limited_tokens, limited) = known.rest.longest(now);
        LearnedTarget {
            base: known.speed.learned(),
            score: known
                .speed
                .raw_score()
                .map(|(ms, at)| LearnedScore { ms, age_ms: whole_ms(now.since(at)) }),
            state: known.health.state,
            flag_left_ms: known.health.flag_left(now).map(whole_ms),
            limited_ms: whole_ms(limited),
            limited_tokens,
        }
    })
}

/// Takes the base of a target of which nothing was learned here; whether it is such a one.
fn recall_base(known: &mut Known, found: &LearnedTarget, now: Time) -> bool {
    if !is_blank(known) {
        return false;
    }
    if let Some(base) = &found.base {
        known.speed.recall(base, now);
    }
    true
}

fn is_blank(known: &Known) -> bool {
    known.speed.is_blank() && known.health.is_blank()
}

/// What a fresh record is read with.
struct Moment<'a> {
    settings: &'a Settings,
    /// What stands for a target that nothing is known about.
    unknown_ms: f64,
    age: Duration,
    now: Time,
}

impl Moment<'_> {
    /// State, rest and score.
    fn recall(&self, known: &mut Known, found: &LearnedTarget) {
        if known.speed.raw_score().is_some() || !known.health.is_blank() {
            // A request was quicker.
            return;
        }
        let flag_left = found.flag_left_ms.map(|ms| self.left(ms));
        known.health.resume(self.settings, (found.state, flag_left), self.now);
        let rest = (found.limited_tokens, self.left(found.limited_ms));
        known.rest.resume(&self.settings.limit, rest, self.now);
        let score = found.score.filter(|score| (0.0..=*POSSIBLE_MS.end()).contains(&score.ms));
        if let Some((ms, at)) = score.and_then(|score| self.score(known, score)) {
            known.speed.set_score(ms, at);
        }
    }

    /// The score, and the moment that it is dated.
    ///
    /// It was moved before this process's time began, and time knows no moment before that. One that decays is
    /// therefore applied as decayed as it is by now: decay has no memory, so that it goes on as if it had never
    /// stopped. One that steps (absolute mode) is dropped when its time is over; before, it is dated as early
    /// as can be, and may so count for longer, up to its time once more. Without it, all targets would look
    /// the same to a policy that takes the lowest score.
    fn score(&self, known: &Known, score: LearnedScore) -> Option<(f64, Time)> {
        let age = self.age.saturating_add(Duration::from_millis(score.age_ms));
        let kept =
            known.health.state == State::Degraded && self.settings.recover.flag_ttl.is_none();
        if kept {
            return Some((score.ms, self.now));
        }
        match self.settings.detect.mode {
            Mode::Absolute if age >= self.settings.score_ttl => None,
            Mode::Absolute => Some((score.ms, Time::at(self.now.since(Time::at(age))))),
            Mode::Relative => {
                let reading =
                    Reading { score: Some((score.ms, Time::ZERO)), ..known.reading(self.settings) };
                let decayed = reading.score_ms(self.settings, self.unknown_ms, Time::at(age));
                Some((decayed, self.now))
            }
        }
    }

    /// What is left of a time that had so many milliseconds left when the record was written.
    fn left(&self, ms: u64) -> Duration {
        Duration::from_millis(ms).saturating_sub(self.age)
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
