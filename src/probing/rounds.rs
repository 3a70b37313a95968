//! Rounds of probes to every target of a model, where its configuration sets an interval (`ema` does): a
//! region without traffic is known all the same.

use crate::config::checked::{Policy, ProbeKind};
use crate::live::LiveModel;
use crate::probing::{Prober, TICK};
use crate::time::Time;
use futures_util::StreamExt;
use futures_util::stream;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Probes of one round that run at the same time.
const PARALLEL: usize = 16;

impl Prober {
    /// Starts each model's rounds when they are due, for ever.
    pub(super) async fn rounds(&self) {
        self.wait_for_addresses().await;
        let mut due: BTreeMap<Arc<str>, Time> = BTreeMap::new();
        let mut running = FuturesUnordered::new();
        loop {
            let now = self.live.clock().now();
            let snapshot = self.live.snapshot();
            due.retain(|_, at| *at > now);
            let starts =
                |model: &&Arc<LiveModel>| has_rounds(model) && !due.contains_key(&model.name);
            let starting: Vec<Arc<LiveModel>> = snapshot.models().filter(starts).cloned().collect();
            for model in starting {
                due.insert(Arc::clone(&model.name), now + self.pause(&model));
                running.push(self.round(model));
            }
            tokio::select! {
                () = sleep(TICK) => {}
                Some(()) = running.next(), if !running.is_empty() => {}
            }
        }
    }

    /// One round over the targets of a model.
    async fn round(&self, model: Arc<LiveModel>) {
        let count = model.routing.probe.count;
        let model = &model;
        let probes = |target| async move {
            for _ in 0..count {
                self.probe_unless_limited(model, target).await;
            }
        };
        stream::iter(0..model.backends.len()).for_each_concurrent(PARALLEL, probes).await;
    }

    /// A target that rests after a 429 is left alone.
    async fn probe_unless_limited(&self, model: &LiveModel, target: usize) {
        if model.pool.rest(target, 0, self.live.clock().now()).is_none() {
            self.probe(model, target).await;
        }
    }

    /// The first round comes right at the start, but not before the names are resolved (or seem not to be).
    async fn wait_for_addresses(&self) {
        for _ in 0..50 {
            if self.live.snapshot().backends().all(|b| !b.addresses().is_empty()) {
                return;
            }
            sleep(TICK / 5).await;
        }
    }

    /// From one round to the next: the interval, a little shorter or longer, so that many instances do not
    /// probe in step.
    fn pause(&self, model: &LiveModel) -> Duration {
        let probe = &model.routing.probe;
        let spread = probe.jitter_share * (2.0 * self.live.rng().unit() - 1.0);
        probe.interval.mul_f64(1.0 + spread)
    }
}

fn has_rounds(model: &LiveModel) -> bool {
    let routing = &model.routing;
    model.probe != ProbeKind::Off
        && routing.policy != Policy::RoundRobin
        && !routing.probe.interval.is_zero()
}
