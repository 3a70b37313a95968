//! What happened lately at each target: the times of its last answers and its last change. For people who look.

use crate::time::Time;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Answers that are remembered.
const ANSWERS: usize = 200;

/// What happened lately at one target.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// Times to first token.
    pub ttft: Times,
    /// Prompt and completion tokens that its answers reported since the process started.
    pub tokens: u64,
    /// The last change and when it was.
    pub event: Option<(String, Time)>,
    /// Since when it is degraded, if it is.
    pub(super) out_since: Option<Time>,
}

/// By model and backend.
#[derive(Debug, Default)]
pub(super) struct ByTarget(Mutex<BTreeMap<Arc<str>, ByBackend>>);

type ByBackend = BTreeMap<Arc<str>, Recent>;

impl ByTarget {
    /// What is remembered of a target.
    pub(super) fn get(&self, model: &str, backend: &str) -> Recent {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(model).and_then(|targets| targets.get(backend)).cloned().unwrap_or_default()
    }

    /// Changes what is remembered.
    pub(super) fn change<R>(
        &self,
        (model, backend): (&Arc<str>, &Arc<str>),
        change: impl FnOnce(&mut Recent) -> R,
    ) -> R {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Names are copied only when they are new.
        if let Some(recent) = all.get_mut(model).and_then(|targets| targets.get_mut(backend)) {
            return change(recent);
        }
        let targets = all.entry(Arc::clone(model)).or_default();
        change(targets.entry(Arc::clone(backend)).or_default())
    }

    /// Forgets what is not asked to be kept.
    pub(super) fn retain(&self, keep: impl Fn(&str, &str) -> bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (model, targets) in all.iter_mut() {
            targets.retain(|backend, _| keep(model, backend));
        }
        all.retain(|_, targets| !targets.is_empty());
    }
}

/// The last times, in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Times(VecDeque<f64>);

impl Times {
    /// Remembers one more, and forgets the oldest beyond the last 200.
    pub fn add(&mut self, ms: f64) {
        if self.0.len() == ANSWERS {
            self.0.pop_front();
        }
        self.0.push_back(ms);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The median and the 95th of a hundred; `None` without any.
    pub fn quantiles(&self) -> Option<(f64, f64)> {
        let mut sorted: Vec<f64> = self.0.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |percent: usize| sorted.get(last * percent / 100).copied();
        at(50).zip(at(95))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answers_count() {
        let mut times = Times::default();
        assert_eq!(times.quantiles(), None);
        for _ in 0..500 {
            times.add(9_000.0);
        }
        for n in 0..200_u32 {
            times.add(f64::from(n));
        }
        let (p50, p95) = times.quantiles().unwrap();
        assert!((98.0..101.0).contains(&p50) && (187.0..191.0).contains(&p95), "{p50} {p95}");
        assert_eq!(times.len(), 200);
    }
}
