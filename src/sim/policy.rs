//! The policies that can be compared, by name.

use crate::sim::balancer::Balancer;
use crate::sim::baseline::{LeastRequests, PeakEwma, Random, RoundRobin};
use crate::sim::engine::{Engine, Tuning};
use crate::sim::oracle::Oracle;
use crate::sim::plain::Plain;
use crate::sim::scenario::Scenario;

/// Name and meaning of each policy, in the order of the table.
pub const POLICIES: &[(&str, &str)] = &[
    ("round_robin", "each region in turn"),
    ("random", "any region"),
    ("least_requests", "the fewest open requests"),
    ("p2c", "the better of two by PeakEWMA x outstanding, as in Finagle, Linkerd and tower"),
    ("ema", "Firstlight's `policy: ema` with its defaults"),
    ("lookout", "Firstlight's default policy"),
    ("oracle", "knows which region is bad; does not hedge"),
];

/// A fresh balancer of that policy for one run; `None` if no policy has this name.
pub fn balancer(name: &str, scenario: &Scenario, seed: u64) -> Option<Box<dyn Balancer>> {
    let regions = scenario.regions.len();
    let engine = |tuning: Tuning| Box::new(Engine::new(&tuning, scenario, seed));
    Some(match name {
        "round_robin" => Box::new(Plain::new(RoundRobin::default(), scenario, seed)),
        "random" => Box::new(Plain::new(Random, scenario, seed)),
        "least_requests" => Box::new(Plain::new(LeastRequests::new(regions), scenario, seed)),
        "p2c" => Box::new(Plain::new(PeakEwma::new(regions), scenario, seed)),
        "ema" => engine(Tuning::ema()),
        "lookout" => engine(Tuning::lookout()),
        "oracle" => Box::new(Plain::new(Oracle::new(scenario, seed), scenario, seed)),
        _ => return None,
    })
}
