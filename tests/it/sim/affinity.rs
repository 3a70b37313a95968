//! What prompt-cache affinity brings and costs: the same conversations with it and without.

use super::bars::NAMES;
use firstlight::sim::{Conversations, Engine, Figures, Scenario, Summary, Tuning, run};
use std::time::Duration;

fn runs(scenario: &Scenario, tuning: &Tuning) -> Summary {
    let one = |seed| Figures::from(&run(scenario, seed, &mut Engine::new(tuning, scenario, seed)));
    let (scenario, policy) = (scenario.name.clone(), "lookout".to_owned());
    Summary { scenario, policy, runs: (1..3).map(one).collect() }
}

/// Three thousand conversations, each of which asks every five minutes, and a region that becomes ten times slower.
fn world(medians: [u64; 3]) -> Scenario {
    let mut healthy = Scenario::healthy(NAMES, 10.0, 2.0, Duration::from_hours(1));
    for (region, median) in healthy.regions.iter_mut().zip(medians) {
        region.median = Duration::from_millis(median);
    }
    let remembered = Duration::from_mins(7);
    healthy.conversations = Some(Conversations { count: 3_000, remembered, factor: 0.5 });
    healthy.with_event("slow10").unwrap()
}

/// `gain`: at least so many times as many prompts are cached. Where one region is much slower, most requests go to
/// one of the others anyway.
fn check(medians: [u64; 3], gain: f64) {
    let scenario = world(medians);
    let with = Tuning::lookout();
    let mut without = with.clone();
    without.settings.affinity.enabled = false;
    let (with, without) = (runs(&scenario, &with), runs(&scenario, &without));
    let cached = |of: &Summary| of.mean_of_most(|figures| figures.cached_share).unwrap();
    let slow = |of: &Summary| of.mean(|figures| f64::from(figures.slow4 + figures.errors));
    let told = format!(
        "cached {:.2} with, {:.2} without; slow {} with, {} without",
        cached(&with),
        cached(&without),
        slow(&with),
        slow(&without)
    );
    assert!(cached(&with) >= gain * cached(&without), "{told}");
    assert!(slow(&with) <= slow(&without) + 5.0, "{told}");
    assert!(with.mean(|f| f.p50) < without.mean(|f| f.p50), "{told}");
}

#[test]
fn more_prompts_are_cached_and_no_more_requests_are_slow() {
    check([1_200, 1_300, 1_400], 1.3);
}

#[test]
fn also_where_regions_differ_widely() {
    check([1_000, 1_400, 1_800], 1.1);
}
