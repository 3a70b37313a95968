//! What prompt-cache affinity brings and costs: the same conversations with it and without.

use super::bars::NAMES;
use firstlight::sim::{Conversations, Engine, Figures, Scenario, Summary, Tuning, run};
use std::time::Duration;

fn runs(scenario: &Scenario, tuning: &Tuning) -> Summary {
    let one = |seed| Figures::from(&run(scenario, seed, &mut Engine::new(tuning, scenario, seed)));
    let (scenario, policy) = (scenario.name.clone(), "lookout".to_owned());
    Summary { scenario, policy, runs: (1..5).map(one).collect() }
}

/// Three thousand conversations, each of which asks every five minutes.
#[test]
fn more_prompts_are_cached_and_no_more_requests_are_slow() {
    let healthy = Scenario {
        conversations: Some(Conversations {
            count: 3_000,
            remembered: Duration::from_secs(420),
            factor: 0.5,
        }),
        ..Scenario::healthy(NAMES, 10.0, 2.0, Duration::from_mins(60))
    };
    let with = Tuning::lookout();
    let mut without = with.clone();
    without.settings.affinity.enabled = false;
    for event in ["none", "slow10"] {
        let scenario = healthy.with_event(event).unwrap_or_else(|| healthy.clone());
        let (with, without) = (runs(&scenario, &with), runs(&scenario, &without));
        let cached = |of: &Summary| of.mean_of_most(|figures| figures.cached_share).unwrap();
        let slow = |of: &Summary| of.mean(|figures| f64::from(figures.slow4 + figures.errors));
        let told = format!(
            "{event}: cached {:.2} with, {:.2} without; slow {} with, {} without",
            cached(&with),
            cached(&without),
            slow(&with),
            slow(&without)
        );
        assert!(cached(&with) >= 1.4 * cached(&without), "{told}");
        assert!(slow(&with) <= slow(&without) + 5.0, "{told}");
        assert!(with.mean(|f| f.p50) < without.mean(|f| f.p50), "{told}");
    }
}
