//! What all apps take from: the rule itself, and what comes of it whatever they do.

use firstlight::quota::{Held, Scarce, Seen, Shares, judge};
use proptest::prelude::*;
use std::sync::Arc;

fn name(app: usize) -> Arc<str> {
    format!("app-{app}").into()
}

const SEEN: Seen = Seen { limit: 100, total: 0, own: 0, active: 2, reserve: 10, unclaimed: 10 };

#[test]
fn four_fifths_are_anybodys_and_the_rest_is_shared() {
    let check = |seen: Seen, units: u64, expected: Result<(), Scarce>| {
        assert_eq!(judge(&seen, units), expected, "{seen:?}, {units}");
    };
    check(Seen { total: 79, own: 79, ..SEEN }, 1, Ok(()));
    check(Seen { total: 80, own: 80, ..SEEN }, 1, Err(Scarce::Share));
    check(Seen { total: 80, own: 0, ..SEEN }, 10, Ok(()));
    check(Seen { total: 99, own: 9, ..SEEN }, 1, Ok(()));
    // Beyond the reserve: as far as the others' reserves are not touched.
    check(Seen { total: 89, own: 10, unclaimed: 0, ..SEEN }, 1, Ok(()));
    check(Seen { total: 90, own: 10, ..SEEN }, 1, Err(Scarce::Everything));
    check(Seen { total: 99, own: 49, unclaimed: 0, ..SEEN }, 1, Ok(()));
    check(Seen { total: 99, own: 50, unclaimed: 0, ..SEEN }, 1, Err(Scarce::Share));
    check(Seen { total: 100, own: 0, ..SEEN }, 1, Err(Scarce::Everything));
    // What is alone passes if it fits.
    check(SEEN, 100, Ok(()));
    check(SEEN, 101, Err(Scarce::Share));
    check(Seen { total: 1, own: 1, ..SEEN }, 99, Err(Scarce::Share));
    check(Seen { total: u64::MAX, own: 7, ..SEEN }, u64::MAX, Err(Scarce::Share));
}

/// What each app holds.
struct World {
    shares: Arc<Shares>,
    limit: u64,
    held: Vec<Vec<Held>>,
}

impl World {
    fn new(limit: u64, apps: usize) -> Self {
        let held = (0..apps).map(|_| Vec::new()).collect();
        Self { shares: Arc::new(Shares::new(limit, apps)), limit, held }
    }

    fn own(&self, app: usize) -> u64 {
        self.held[app].iter().map(Held::units).sum()
    }

    fn total(&self) -> u64 {
        (0..self.held.len()).map(|app| self.own(app)).sum()
    }

    fn take(&mut self, app: usize, units: u64) -> Result<(), Scarce> {
        self.held[app].push(self.shares.take(&name(app), units)?);
        Ok(())
    }

    fn fair_share(&self, asking: usize) -> u64 {
        let holds = |app: &usize| *app == asking || self.own(*app) > 0;
        let active = (0..self.held.len()).filter(holds).count();
        self.limit / u64::try_from(active).unwrap()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize, u64),
    Grow(usize, u64),
    GiveBack(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..4_usize, 1..8_u64).prop_map(|(app, units)| Step::Take(app, units)),
        1 => (0..4_usize, 1..8_u64).prop_map(|(app, units)| Step::Grow(app, units)),
        2 => (0..4_usize, 0..50_usize).prop_map(|(app, which)| Step::GiveBack(app, which)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Never more than the limit; never a refusal within the reserve; and whoever has more than its fair share
    /// is refused before anybody who has less.
    #[test]
    fn whatever_apps_do_the_rules_hold(
        limit in 40..300_u64,
        steps in proptest::collection::vec(step(), 1..400),
    ) {
        let mut world = World::new(limit, 4);
        let reserve = limit / 20;
        for step in steps {
            let (app, units) = match step {
                Step::GiveBack(app, which) => {
                    let held = &mut world.held[app];
                    drop((which < held.len()).then(|| held.swap_remove(which)));
                    continue;
                }
                Step::Grow(app, units) if !world.held[app].is_empty() => {
                    let before = world.own(app);
                    let held = &mut world.held[app][0];
                    let grown = held.grow(held.units() + units);
                    prop_assert_eq!(world.own(app), before + if grown.is_ok() { units } else { 0 });
                    (app, units)
                }
                Step::Take(app, units) | Step::Grow(app, units) => {
                    let before = world.own(app);
                    let refused = world.take(app, units);
                    let within = before + units <= reserve;
                    prop_assert!(refused.is_ok() || !within, "refused within its reserve");
                    (app, units)
                }
            };
            prop_assert!(world.total() <= limit);
            prop_assert_eq!(world.shares.free(), limit - world.total());
            // If this one would be refused with less than its share, so would be all that have more than theirs.
            let less = world.own(app) + units <= world.fair_share(app);
            if less && world.shares.take(&name(app), units).is_err() {
                for other in 0..4 {
                    if world.own(other) > world.fair_share(other) {
                        prop_assert!(world.shares.take(&name(other), units).is_err());
                    }
                }
            }
        }
        world.held.clear();
        prop_assert_eq!(world.shares.free(), limit);
    }
}

/// One floods, another comes later and wants as much: as answers end, both come to hold the same.
#[test]
fn two_floods_come_to_hold_the_same() {
    let mut world = World::new(100, 2);
    while world.take(0, 1).is_ok() {}
    assert_eq!(world.own(0), 90, "alone it has all but the reserved part");
    while world.take(1, 1).is_ok() {}
    assert_eq!(world.own(1), 10);
    for _ in 0..200 {
        // Both end in turn, and the one that floods is faster to ask again.
        for app in [0, 1] {
            world.held[app].pop();
            while world.take(0, 1).is_ok() {}
            while world.take(1, 1).is_ok() {}
        }
    }
    assert_eq!((world.own(0), world.own(1)), (50, 50));
}

#[test]
fn a_smaller_limit_is_kept_as_soon_as_enough_is_given_back() {
    let mut world = World::new(100, 1);
    while world.take(0, 1).is_ok() {}
    assert_eq!(world.own(0), 100, "one app alone has everything");
    world.shares.change(50, 2);
    assert_eq!(world.shares.free(), 0);
    world.held[0].truncate(45);
    assert_eq!(world.take(0, 1), Err(Scarce::Everything), "five are reserved for the other");
    assert!(world.shares.take(&name(1), 5).is_ok());
    world.held[0].truncate(39);
    assert_eq!(world.take(0, 1), Ok(()));
    world.shares.change(1_000, 2);
    assert_eq!(world.shares.free(), 960);
}
