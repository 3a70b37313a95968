//! What happens to one contender's fleet, and when the contender notices.
//!
//! The region that is broken is the one that served the most requests in the second before: no matter to those
//! that take turns, and the likely worst case for a policy that prefers one region. Only the likely one: `ema`
//! may just have moved on, and then it does not notice before its probes do. Hence several runs.

use crate::contender::Contender;
use crate::fleet::{REGIONS, Tally};
use crate::scenario::Scenario;
use firstlight::clock::Clock;
use firstlight::mock::Fault;
use firstlight::time::Time;
use std::time::Duration;

/// What there is to tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    /// How long after the trouble began the region was marked; `None`: it was not while it lasted.
    pub(crate) marked_after: Option<Duration>,
    /// Requests of clients that were sent to the region after that, while the trouble lasted.
    pub(crate) sent_after_mark: u64,
    /// How long after the trouble ended the region was given traffic again.
    pub(crate) back_after: Option<Duration>,
    /// How often a region was marked that had done nothing.
    pub(crate) false_marks: u64,
}

/// How exactly the moment of a marking is known.
const POLL: Duration = Duration::from_millis(20);

/// Breaks and heals a region at the scenario's times, and watches.
pub(crate) async fn play(
    contender: &Contender,
    scenario: &Scenario,
    clock: Clock,
) -> anyhow::Result<Story> {
    let mut story = Story::default();
    let mut bad = None;
    if scenario.fault != Fault::None {
        let region = busiest(contender, Time::at(scenario.calm), clock).await?;
        contender.fleet.set_fault(region, scenario.fault.clone())?;
        watch(contender, region, Time::at(scenario.heals()), clock, &mut story).await?;
        let returns = contender.returns(region);
        contender.fleet.set_fault(region, Fault::None)?;
        bad = Some(region);
        if story.marked_after.is_some() {
            let ends = Time::at(scenario.ends());
            story.back_after = back(contender, (region, returns), ends, clock).await;
        }
    }
    sleep_until(Time::at(scenario.ends()), clock).await;
    let good = REGIONS.iter().filter(|region| Some(**region) != bad);
    story.false_marks = good.map(|region| contender.markings(region)).sum();
    Ok(story)
}

/// The region with the most requests in the second before `end`.
async fn busiest(contender: &Contender, end: Time, clock: Clock) -> anyhow::Result<&'static str> {
    let begin = Time::at(end.since(Time::at(Duration::from_secs(1))));
    sleep_until(begin, clock).await;
    let before = contender.fleet.requests()?;
    sleep_until(end, clock).await;
    let after = contender.fleet.requests()?;
    let served = after.iter().zip(before).map(|(after, before)| after.saturating_sub(before));
    let most = REGIONS.into_iter().zip(served).max_by_key(|(_, served)| *served);
    Ok(most.map_or("", |(region, _)| region))
}

/// How long it takes from now until a region that healed is in use again.
async fn back(
    contender: &Contender,
    (region, returns): (&str, Option<u64>),
    ends: Time,
    clock: Clock,
) -> Option<Duration> {
    let healed = clock.now();
    while clock.now() < ends && contender.returns(region) == returns {
        tokio::time::sleep(POLL).await;
    }
    (contender.returns(region) > returns).then(|| clock.now().since(healed))
}

/// Watches a broken region until it heals.
async fn watch(
    contender: &Contender,
    region: &str,
    heals: Time,
    clock: Clock,
    story: &mut Story,
) -> anyhow::Result<()> {
    let (began, before) = (clock.now(), contender.markings(region));
    while clock.now() < heals && contender.markings(region) == before {
        tokio::time::sleep(POLL).await;
    }
    let now = clock.now();
    if now >= heals {
        return Ok(());
    }
    story.marked_after = Some(now.since(began));
    let mut tally: Tally = contender.fleet.open_tally(region)?;
    while clock.now() < heals {
        tokio::time::sleep(POLL.saturating_mul(10).min(heals.since(clock.now()))).await;
        contender.fleet.count(region, &mut tally)?;
    }
    story.sent_after_mark = tally.requests;
    Ok(())
}

async fn sleep_until(moment: Time, clock: Clock) {
    tokio::time::sleep(moment.since(clock.now())).await;
}
