//! What is promised of `lookout`, in worlds that it was tuned in and in others: many seeds, other
//! distributions, and nothing thrown out when nothing is wrong.

use super::bars::{NAMES, runs, slow};
use firstlight::sim::{
    Burst, Cached, Fault, Figures, Kind, Scenario, Summary, Tail, Wander, Where,
};
use std::ops::Range;
use std::time::Duration;

const CACHED: Option<Cached> = Some(Cached { share: 0.4, factor: 0.3 });
const WANDER: Option<Wander> = Some(Wander { sigma: 0.3, memory: Duration::from_mins(10) });
const RUSHES: Option<Burst> =
    Some(Burst { factor: 2.5, share: 0.2, length: Duration::from_secs(30) });

fn world(rps: f64, headroom: f64, minutes: u64) -> Scenario {
    Scenario::healthy(NAMES, rps, headroom, Duration::from_mins(minutes))
}

fn lookout(scenario: &Scenario, seeds: Range<u64>) -> Summary {
    runs(scenario, "lookout", seeds)
}

fn false_exclusions(summary: &Summary) -> Vec<u64> {
    let wrong = summary.runs.iter().filter(|figures| figures.false_exclusions > 0);
    wrong.map(|figures| figures.seed).collect()
}

fn everywhere(kind: Kind, minutes: Range<u64>) -> Fault {
    let [from, to] = [minutes.start, minutes.end].map(Duration::from_mins);
    Fault { place: Where::Everywhere, kind, from, to }
}

#[test]
fn at_one_request_a_second_half_a_request_is_slow_in_an_event() {
    for headroom in [2.0, 30.0] {
        let summary = lookout(&world(1.0, headroom, 90).with_event("slow10").unwrap(), 1..65);
        let slow = slow(&summary);
        assert!(slow <= 0.5, "{slow} of {}", summary.mean(|f| f64::from(f.requests)));
    }
}

#[test]
fn at_ten_requests_a_second_and_regions_just_large_enough_twenty_are() {
    let summary = lookout(&world(10.0, 2.0, 90).with_event("slow10").unwrap(), 100..112);
    assert!(slow(&summary) <= 20.0, "{}", slow(&summary));
}

#[test]
fn in_a_tight_pool_nothing_melts_down_by_itself() {
    let summary = lookout(&world(10.0, 1.3, 90), 1..9);
    assert!(slow(&summary) <= 20.0, "{}", slow(&summary));
}

#[test]
fn a_region_that_answers_500_fails_no_client() {
    let scenario = world(1.0, 2.0, 90).with_event("errors").unwrap();
    let summary = lookout(&scenario, 1..17);
    assert!(summary.runs.iter().all(|figures| figures.requests > 1_000 && figures.errors == 0));
    let extra = summary.mean(|f| f64::from(f.extra_requests));
    assert!(extra > 100.0, "hardly anything was refused: {extra}");
}

#[test]
fn heavy_tails_throw_nothing_out() {
    let mut scenario = world(10.0, 2.0, 60);
    for region in &mut scenario.regions {
        (region.sigma, region.tail) = (0.7, Tail::HEAVY);
    }
    let summary = lookout(&scenario, 1..17);
    assert_eq!(false_exclusions(&summary), Vec::<u64>::new());
    assert!(slow(&summary) > 500.0, "the tail is no longer heavy");
}

#[test]
fn an_error_in_a_hundred_throws_nothing_out() {
    let mut scenario = world(10.0, 2.0, 60);
    scenario.faults = vec![everywhere(Kind::Errors { share: 0.01 }, 0..60)];
    let summary = lookout(&scenario, 1..9);
    assert_eq!(false_exclusions(&summary), Vec::<u64>::new());
    assert_eq!(summary.mean(|f| f64::from(f.errors)).to_bits(), 0.0_f64.to_bits());
}

/// Slow requests that the event adds to what the same world has anyway in the same minutes; the mean.
fn added(healthy: &Scenario, policy: &str, seeds: Range<u64>) -> f64 {
    let mut calm = healthy.clone();
    calm.faults = vec![everywhere(Kind::Slow { factor: 1.0, share: 1.0 }, 30..50)];
    let ill = healthy.with_event("slow10").unwrap();
    slow(&runs(&ill, policy, seeds.clone())) - slow(&runs(&calm, policy, seeds))
}

/// The event adds at most so much, though it adds much to those who take turns.
fn check_added(change: fn(&mut Scenario), [sparse_most, busy_most]: [f64; 2]) {
    let [mut sparse, mut busy] = [world(1.0, 2.0, 90), world(10.0, 2.0, 90)];
    change(&mut sparse);
    change(&mut busy);
    let (sparse_added, busy_added) =
        (added(&sparse, "lookout", 1..49), added(&busy, "lookout", 1..9));
    let turns = added(&sparse, "round_robin", 1..5);
    assert!(turns >= 200.0, "it no longer hurts round robin: {turns}");
    assert!(sparse_added <= sparse_most, "1 request/s: {sparse_added}");
    assert!(busy_added <= busy_most, "10 requests/s: {busy_added}");
}

#[test]
fn with_cache_hits() {
    let change = |scenario: &mut Scenario| {
        for region in &mut scenario.regions {
            region.cached = CACHED;
        }
    };
    check_added(change, [0.5, 20.0]);
}

#[test]
fn with_times_that_wander() {
    let change = |scenario: &mut Scenario| {
        for region in &mut scenario.regions {
            region.wander = WANDER;
        }
    };
    check_added(change, [0.5, 20.0]);
}

#[test]
fn with_heavy_tails() {
    let change = |scenario: &mut Scenario| {
        for region in &mut scenario.regions {
            (region.sigma, region.tail) = (0.7, Tail::HEAVY);
        }
    };
    check_added(change, [0.5, 20.0]);
}

/// Rushes of two and a half times the load, where there is room for them.
#[test]
fn with_rushes() {
    let change = |scenario: &mut Scenario| {
        scenario.arrivals.burst = RUSHES;
        for region in &mut scenario.regions {
            region.capacity_rps *= 2.5;
        }
    };
    check_added(change, [0.5, 20.0]);
}

/// So that the figures are looked at where nothing is wrong, too.
#[test]
fn hedges_stay_within_their_share() {
    for (rps, seeds) in [(1.0, 1..9), (10.0, 1..5)] {
        let summary = lookout(&world(rps, 2.0, 90), seeds);
        let share = summary.mean(|figures: &Figures| figures.extra_tokens_share);
        assert!(share <= 0.05, "{share} at {rps} requests/s");
        assert!(summary.mean(|f| f64::from(f.hedges)) > 10.0, "nothing was hedged");
    }
}
