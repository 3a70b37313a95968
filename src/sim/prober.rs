//! The engine's probes: one at a time to a target that is out, one to confirm a suspicion, and `ema`'s rounds.

use crate::routing::{Pool, ProbeLease, ProbeOutcome};
use crate::sim::balancer::{Order, Outcome, Purpose};
use crate::sim::engine::{Tuning, note};
use crate::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Sends probes and hears of them.
pub(super) struct Prober {
    open: BTreeMap<u64, Probe>,
    rounds: Option<(Duration, u32)>,
    next_round: Time,
    timeout: Duration,
}

struct Probe {
    lease: ProbeLease,
    target: usize,
    sent: Time,
}

impl Prober {
    pub(super) fn new(tuning: &Tuning) -> Self {
        let first = tuning.rounds.map_or(Duration::ZERO, |(interval, _)| interval);
        Self {
            open: BTreeMap::new(),
            rounds: tuning.rounds,
            next_round: Time::at(first),
            timeout: tuning.probe_timeout,
        }
    }

    /// Sends what is due.
    pub(super) fn tick(
        &mut self,
        pool: &Arc<Pool>,
        next_attempt: &mut u64,
        now: Time,
        orders: &mut Vec<Order>,
    ) {
        for target in pool.probes_due(now) {
            if !self.open.values().any(|probe| probe.target == target) {
                self.send((pool, target), next_attempt, now, orders);
            }
        }
        let Some((interval, count)) = self.rounds.filter(|_| now >= self.next_round) else {
            return;
        };
        self.next_round = now + interval;
        for target in (0..pool.len()).flat_map(|target| (0..count).map(move |_| target)) {
            self.send((pool, target), next_attempt, now, orders);
        }
    }

    /// Sends a probe to a target.
    pub(super) fn send(
        &mut self,
        (pool, target): (&Arc<Pool>, usize),
        next_attempt: &mut u64,
        now: Time,
        orders: &mut Vec<Order>,
    ) {
        let Some(lease) = pool.start_probe(target, now) else { return };
        let attempt = *next_attempt;
        *next_attempt += 1;
        orders.push(Order::Send { attempt, request: 0, region: target, purpose: Purpose::Probe });
        let probe = Probe { lease, target, sent: now };
        self.arm(attempt, &probe, orders);
        self.open.insert(attempt, probe);
    }

    fn arm(&self, attempt: u64, probe: &Probe, orders: &mut Vec<Order>) {
        let time_out = probe.sent + self.timeout;
        let at = probe.lease.next_deadline().map_or(time_out, |due| due.min(time_out));
        orders.push(Order::Wake { attempt, at });
    }

    /// A deadline of a probe has passed.
    pub(super) fn due(&mut self, attempt: u64, now: Time, orders: &mut Vec<Order>) {
        let Some(mut probe) = self.open.remove(&attempt) else { return };
        let overdue = probe.lease.overdue(now);
        note(overdue.event, orders);
        if overdue.give_up || now >= probe.sent + self.timeout {
            orders.push(Order::Drop { attempt });
            note(probe.lease.ended(ProbeOutcome::TimedOut, now), orders);
        } else {
            self.arm(attempt, &probe, orders);
            self.open.insert(attempt, probe);
        }
    }

    /// A probe was answered.
    pub(super) fn heard(
        &mut self,
        attempt: u64,
        outcome: Outcome,
        now: Time,
        orders: &mut Vec<Order>,
    ) {
        let Some(Probe { lease, sent, .. }) = self.open.remove(&attempt) else { return };
        let found = match outcome {
            Outcome::FirstToken => ProbeOutcome::FirstToken(now.since(sent)),
            Outcome::Failed | Outcome::Unreachable => ProbeOutcome::Failed,
            Outcome::Refused(_) => ProbeOutcome::Refused,
            Outcome::Whole | Outcome::Unusable => ProbeOutcome::Answered,
            Outcome::Limited(limited) => ProbeOutcome::Limited(limited.retry_after),
        };
        note(lease.ended(found, now), orders);
    }
}
