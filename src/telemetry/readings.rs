//! Readings of the routing core, taken when somebody looks.

use crate::live::{LiveModel, Snapshot};
use crate::quota::{Room, What};
use crate::routing::{Block, PoolView, Size, State, View};
use crate::telemetry::metrics::Metrics;
use crate::time::Time;
use prometheus::GaugeVec;
use std::collections::BTreeMap;

/// A state and its word.
const STATES: [(State, &str); 3] =
    [(State::Healthy, "healthy"), (State::Degraded, "degraded"), (State::Recovering, "recovering")];

impl Metrics {
    /// Brings everything up to date that is read and not counted.
    pub(super) fn read(&self, snapshot: &Snapshot, now: Time) {
        self.config_generation.set(i64::try_from(snapshot.generation).unwrap_or(i64::MAX));
        for (listener, certificate) in snapshot.all_certificates() {
            let labels = [&*listener.to_string(), certificate.name()];
            self.certificate_expires.with_label_values(&labels).set(certificate.expires);
        }
        for (app, settings) in &snapshot.config.apps {
            for (key, ends) in settings.api_keys.iter().filter_map(|key| Some((key, key.expires?)))
            {
                let gauge = self.key_expires.with_label_values(&[app.as_str(), &key.name]);
                gauge.set(i64::try_from(ends).unwrap_or(i64::MAX));
            }
        }
        for (app, quota) in snapshot.quotas() {
            self.read_quota(app, &quota.room(now));
        }
        for (slot, expires) in snapshot.tokens().filter_map(|slot| Some((slot, slot.expires()?))) {
            let gauge = self.identity_expiry.with_label_values(&[slot.name()]);
            gauge.set(i64::try_from(expires).unwrap_or(i64::MAX));
        }
        let mut suspects: BTreeMap<&str, i64> = BTreeMap::new();
        for model in snapshot.models() {
            self.read_pool(&model.name, &model.pool.overview(now));
            let views =
                (0..model.backends.len()).filter_map(|t| Some((t, model.pool.view(t, now)?)));
            for (backend, (target, view)) in model.backends.iter().zip(views) {
                self.read_target(model, (target, &backend.name), &view);
                *suspects.entry(&backend.name).or_default() += i64::from(is_suspect(&view));
            }
        }
        for (backend, models) in suspects {
            self.suspect_models.with_label_values(&[backend]).set(models);
        }
    }

    fn read_quota(&self, app: &str, room: &Room) {
        let left = [
            (What::Requests, room.requests.map(|limit| limit.remaining)),
            (What::Tokens, room.tokens.map(|limit| limit.remaining)),
            (What::Concurrent, room.concurrent.map(|(_, left)| left)),
        ];
        for (what, left) in left {
            if let Some(left) = left {
                let gauge = self.quota_remaining.with_label_values(&[app, what.as_str()]);
                gauge.set(i64::from(left));
            }
        }
    }

    fn read_target(&self, model: &LiveModel, (target, backend): (usize, &str), view: &View) {
        let labels = [&*model.name, backend];
        let degraded = view.state == State::Degraded;
        self.target_degraded.with_label_values(&labels).set(i64::from(degraded));
        for (state, word) in STATES {
            let gauge = self.target_state.with_label_values(&[labels[0], labels[1], word]);
            gauge.set(i64::from(view.state == state));
        }
        for block in Block::ALL {
            let gauge =
                self.target_blocked.with_label_values(&[labels[0], labels[1], block.as_str()]);
            gauge.set(i64::from(view.blocks.has(block)));
        }
        self.target_score.with_label_values(&labels).set(view.score_ms);
        set_or_remove(&self.target_base, &labels, view.base_ms);
        let expected = model.pool.expected_ms(target, Size::REFERENCE);
        set_or_remove(&self.target_expected, &labels, expected);
        self.target_strikes.with_label_values(&labels).set(view.strikes);
        self.target_in_flight.with_label_values(&labels).set(i64::from(view.in_flight));
        self.target_seats.with_label_values(&labels).set(i64::from(view.seats));
        self.target_late.with_label_values(&labels).set(i64::from(view.late));
        self.target_limited.with_label_values(&labels).set(view.limited.as_secs_f64());
        let tokens =
            view.limited_tokens.map(|tokens| f64::from(u32::try_from(tokens).unwrap_or(u32::MAX)));
        set_or_remove(&self.target_limited_tokens, &labels, tokens);
        set_or_remove(&self.target_served_rate, &labels, view.served_rate);
    }

    fn read_pool(&self, model: &str, view: &PoolView) {
        self.pool_late_mult.with_label_values(&[model]).set(view.late_mult);
        set_or_remove(&self.pool_now, &[model], view.fleet_now_ms);
        set_or_remove(&self.pool_base, &[model], view.fleet_base_ms);
        self.pool_ratio.with_label_values(&[model]).set(view.pool_ratio);
        self.pool_overflow.with_label_values(&[model]).set(view.overflow);
        self.pool_all_slow.with_label_values(&[model]).set(i64::from(view.all_slow));
        let (left, spent) = view.hedge_tokens;
        self.hedge_tokens_left.with_label_values(&[model]).set(left);
        let counted = self.hedge_tokens_spent.with_label_values(&[model]);
        counted.inc_by((spent - counted.get()).max(0.0));
        let counts = [
            (self.trips_blocked.with_label_values(&[model, "rest"]), view.trips_blocked.0),
            (self.trips_blocked.with_label_values(&[model, "max_out"]), view.trips_blocked.1),
            (self.rebased.with_label_values(&[model]), view.rebased),
        ];
        for (counter, count) in counts {
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }
}

/// Degraded, or at least half of what waits there is late.
fn is_suspect(view: &View) -> bool {
    let late = view.in_flight > 0 && view.late.saturating_mul(2) >= view.in_flight;
    late || view.state == State::Degraded
}

fn set_or_remove(gauge: &GaugeVec, labels: &[&str], value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(labels).set(value),
        // There may be nothing to remove.
        None => drop(gauge.remove_label_values(labels)),
    }
}
