//! What is counted in one run.
//!
//! Slow requests and percentiles are those of requests that arrived in the window of the faults (the whole
//! run when there are none). A request whose client left counts as slow, with the time it waited, and as an
//! error. A request that was refused counts as an error only. The time of a response that is not streamed is its
//! total, held against the healthy total of a response of its length. A request that no region would ever serve
//! counts as hopeless, and as nothing else.

use crate::routing::{Change, Event};
use crate::sim::balancer::Purpose;
use crate::sim::demand::{Demand, Origin};
use crate::sim::scenario::Scenario;
use crate::sim::seconds;
use crate::sim::traffic::Traffic;
use crate::sim::world::World;
use crate::time::Time;

/// An exclusion of a region that was faulty until so recently is no false one: old answers still come in.
const HEALED_SECONDS: f64 = 60.0;
/// Output tokens of a probe.
const PROBE_TOKENS_OUT: f64 = 1.0;

/// A request whose client waits.
#[derive(Clone, Debug)]
pub(super) struct Patient {
    pub(super) arrived: Time,
    pub(super) demand: Demand,
    /// The regions that it was sent to, a bit each.
    pub(super) regions: u64,
}

/// The counts of one run.
#[derive(Clone, Debug)]
pub struct Tally {
    scenario: Scenario,
    window: (f64, f64),
    traffic: Vec<Traffic>,
    /// The times to first token in the window, in seconds.
    pub times: Vec<f64>,
    /// Requests in the window.
    pub requests: u32,
    /// Requests in the whole run.
    pub requests_in_all: u32,
    /// Over 2 times the healthy median of their prompt, in the window.
    pub slow2: u32,
    /// Over 4 times, in the window.
    pub slow4: u32,
    /// Over 4 times, outside the window.
    pub slow4_outside: u32,
    /// Refused, or left without an answer, in the whole run.
    pub errors: u32,
    /// Served, of those that arrived in the window.
    pub good: u32,
    /// Refused or left, and could have been served, of those that arrived in the window.
    pub refused: u32,
    /// Left without a response, in the whole run.
    pub unanswered: u32,
    /// Requests that failed and that no region would have served, in the whole run.
    pub hopeless: u32,
    /// Exclusions of regions.
    pub exclusions: u32,
    /// Those of regions without a fault.
    pub false_exclusions: u32,
    /// The first exclusion of a faulty region after its fault began, by region, in seconds since the start.
    marked: Vec<Option<f64>>,
    /// Hedges.
    pub hedges: u32,
    /// Requests whose hedge was first.
    pub hedges_won: u32,
    /// Retries.
    pub retries: u32,
    /// Probes.
    pub probes: u32,
    /// Tokens of all that was sent beyond each request's first attempt.
    pub extra_tokens: f64,
    /// Prompt tokens of all requests.
    pub prompt_tokens: f64,
    /// Prompts that were cached where they were sent, and all that were sent, where there are conversations.
    pub cached: (u32, u32),
}

impl Tally {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let (from, to) = scenario.window();
        let regions = scenario.regions.len();
        Self {
            scenario: scenario.clone(),
            window: (from.as_secs_f64(), to.as_secs_f64()),
            traffic: vec![Traffic::default(); regions],
            times: Vec::new(),
            requests: 0,
            requests_in_all: 0,
            slow2: 0,
            slow4: 0,
            slow4_outside: 0,
            errors: 0,
            good: 0,
            refused: 0,
            unanswered: 0,
            hopeless: 0,
            exclusions: 0,
            false_exclusions: 0,
            marked: vec![None; regions],
            hedges: 0,
            hedges_won: 0,
            retries: 0,
            probes: 0,
            extra_tokens: 0.0,
            prompt_tokens: 0.0,
            cached: (0, 0),
        }
    }

    pub(super) fn arrived(&mut self, patient: &Patient) {
        self.requests_in_all += 1;
        self.requests += u32::from(self.is_in_window(patient.arrived));
        self.prompt_tokens += patient.demand.prompt_tokens;
    }

    pub(super) fn answered(&mut self, patient: &Patient, now: Time, by: Purpose) {
        self.hedges_won += u32::from(by == Purpose::Hedge);
        self.good += u32::from(self.is_in_window(patient.arrived));
        self.waited(patient, now);
    }

    pub(super) fn left(&mut self, patient: &Patient, now: Time) {
        if self.failed(patient) {
            self.unanswered += 1;
            self.waited(patient, now);
        }
    }

    pub(super) fn refused(&mut self, patient: &Patient) {
        self.failed(patient);
    }

    /// Whether it could have been served.
    fn failed(&mut self, patient: &Patient) -> bool {
        let demand = &patient.demand;
        let hopeless = demand.origin == Origin::Poison || self.scenario.is_too_large(demand);
        self.hopeless += u32::from(hopeless);
        self.errors += u32::from(!hopeless);
        self.refused += u32::from(!hopeless && self.is_in_window(patient.arrived));
        !hopeless
    }

    fn waited(&mut self, patient: &Patient, now: Time) {
        let time = now.since(patient.arrived).as_secs_f64();
        let ratio = time / self.scenario.healthy_seconds(&patient.demand);
        if self.is_in_window(patient.arrived) {
            self.times.push(time);
            self.slow2 += u32::from(ratio > 2.0);
            self.slow4 += u32::from(ratio > 4.0);
        } else {
            self.slow4_outside += u32::from(ratio > 4.0);
        }
    }

    /// Good responses a second, of requests that arrived in the window.
    pub fn good_rps(&self) -> f64 {
        f64::from(self.good) / (self.window.1 - self.window.0).max(1e-9)
    }

    fn is_in_window(&self, at: Time) -> bool {
        (self.window.0..self.window.1).contains(&seconds(at))
    }

    pub(super) fn sent(&mut self, purpose: Purpose, (region, tokens): (usize, f64), now: Time) {
        match purpose {
            Purpose::First => {
                if let Some(traffic) = self.traffic.get_mut(region) {
                    traffic.sent(seconds(now));
                }
                return;
            }
            Purpose::Retry => self.retries += 1,
            Purpose::Hedge => self.hedges += 1,
            Purpose::Probe => {
                self.probes += 1;
                self.extra_tokens += PROBE_TOKENS_OUT;
            }
        }
        self.extra_tokens += tokens;
    }

    /// The balancer told its operator something.
    pub(super) fn noted(&mut self, event: Event, now: Time, world: &World) {
        let Change::Degraded(_) = event.change else { return };
        self.exclusions += 1;
        if !world.was_bad(event.target, seconds(now), HEALED_SECONDS) {
            self.false_exclusions += 1;
        } else if let Some(marked @ None) = self.marked.get_mut(event.target) {
            *marked = Some(seconds(now));
        }
    }

    /// Requests, hedges and retries beyond each request's first attempt, and probes.
    pub fn extra_requests(&self) -> u32 {
        self.hedges + self.retries + self.probes
    }

    /// Seconds until the first faulty region was excluded, or got no more traffic; `None`: neither.
    pub fn off_seconds(&self, seed: u64) -> Option<f64> {
        let (region, fault) = self.first_fault(seed)?;
        let marked = self.marked.get(region).copied().flatten().map(|at| at - fault.0);
        let quiet = self.traffic.get(region)?.off(fault);
        [marked, quiet].into_iter().flatten().min_by(f64::total_cmp)
    }

    /// Seconds from its fault's end until it had its traffic back; `None`: not in this run.
    pub fn back_seconds(&self, seed: u64) -> Option<f64> {
        let (region, fault) = self.first_fault(seed)?;
        self.traffic.get(region)?.back(fault)
    }

    /// The first fault of a single region: where, from when and to when.
    fn first_fault(&self, seed: u64) -> Option<(usize, (f64, f64))> {
        let names: Vec<&str> = self.scenario.regions.iter().map(|r| r.name.as_str()).collect();
        let fault = self.scenario.faults.iter().min_by_key(|fault| fault.from)?;
        let mut places = (0..names.len()).filter(|region| fault.is_in(*region, &names, seed));
        let region = places.next()?;
        let alone = places.next().is_none() || names.len() == 1;
        alone.then_some((region, (fault.from.as_secs_f64(), fault.to.as_secs_f64())))
    }
}
