//! `policy: ema`: fixed times, judged when answers come, a flag with a time.

use super::{Bench, changed, spec};
use firstlight::routing::{
    Ask, Block, Cause, Change, Class, Event, Kind, Limit, NoTarget, Pool, ProbeOutcome,
    RetryBudget, Settings, State, Switch, Timing, Used, Why,
};
use std::time::Duration;

fn three() -> Bench {
    Bench::three(Settings::ema())
}

#[test]
fn the_score_is_the_moving_average_and_the_lowest_wins() {
    let mut bench = three();
    bench.answer(0, 2000);
    assert!((bench.score(0) - 1300.0).abs() < 1e-6, "0.3 x 2000 + 0.7 x 1000");
    bench.answer(1, 500);
    assert!((bench.score(1) - 850.0).abs() < 1e-6);
    bench.answer(2, 900);
    assert_eq!(bench.picked(), Ok((1, Why::Cost)));
}

#[test]
fn a_score_that_nobody_refreshes_counts_as_the_default_after_its_time() {
    let mut bench = three();
    bench.answer(0, 5000);
    bench.pass(599.0);
    assert!(bench.score(0) > 2000.0);
    bench.pass(2.0);
    assert!((bench.score(0) - 1000.0).abs() < 1e-6);
}

#[test]
fn two_slow_answers_in_a_row_degrade_and_a_good_one_between_forgives() {
    let mut bench = three();
    assert_eq!(bench.answer(0, 8000), None);
    bench.answer(0, 2999);
    assert_eq!(bench.answer(0, 9000), None, "the good answer took the first strike back");
    assert_eq!(bench.answer(0, 8000), changed(0, Change::Degraded(Cause::Slow)));
    assert_eq!(bench.state(0), State::Degraded);
}

#[test]
fn an_answer_between_clear_and_trip_neither_counts_nor_forgives() {
    let mut bench = three();
    bench.answer(0, 8000);
    bench.answer(0, 5000);
    assert_eq!(bench.answer(0, 8000), changed(0, Change::Degraded(Cause::Slow)));
}

#[test]
fn three_errors_degrade_and_teach_no_latency() {
    let mut bench = three();
    let before = bench.score(0);
    assert_eq!((bench.fail(0), bench.fail(0)), (None, None));
    assert!((bench.score(0) - before).abs() < f64::EPSILON, "an error is not a fast answer");
    assert_eq!(bench.fail(0), changed(0, Change::Degraded(Cause::Errors)));
}

#[test]
fn strikes_grow_old() {
    let mut bench = three();
    bench.answer(0, 8000);
    bench.pass(901.0);
    assert_eq!(bench.answer(0, 8000), None, "the first strike is void");
    assert_eq!(bench.answer(0, 8000), changed(0, Change::Degraded(Cause::Slow)));
}

#[test]
fn a_good_answer_that_is_not_streamed_forgives_errors_and_nothing_else() {
    let mut bench = three();
    bench.fail(0);
    bench.fail(0);
    let lease = bench.pool.dispatch(0, bench.ask(Timing::Untimed, 700), bench.now).unwrap();
    assert_eq!(bench.view(0).in_flight, 0, "it waits for no first token");
    lease.answered(bench.now);
    assert_eq!((bench.fail(0), bench.fail(0)), (None, None));
    assert!((bench.score(0) - 1000.0).abs() < 1e-6);
}

/// A whole response on `target` that takes this long, of a class with so many tokens.
fn whole(bench: &mut Bench, (target, max_tokens): (usize, u64), seconds: f64) -> Option<Event> {
    let class = Class::of(Kind::Chat, Some(max_tokens), 1);
    let ask = Ask { class, ..bench.ask(Timing::Untimed, 700) };
    let lease = bench.pool.dispatch(target, ask, bench.now)?;
    bench.pass(seconds);
    lease.answered(bench.now)
}

/// Three targets whose short responses take half a second, and whose long ones take 20.
fn three_with_totals() -> Bench {
    let mut bench = three();
    for n in 0..90 {
        let found = [whole(&mut bench, (n % 3, 16), 0.5), whole(&mut bench, (n % 3, 4096), 20.0)];
        assert_eq!(found, [None; 2], "what is usual is no sign of a bad region, however long");
    }
    bench
}

#[test]
fn whole_responses_are_timed_and_the_usual_one_of_each_class_is_the_default_score() {
    let mut bench = three_with_totals();
    assert!((0..3).all(|target| (bench.score(target) - 1000.0).abs() < 1.0));
    whole(&mut bench, (0, 4096), 40.0);
    assert!((bench.score(0) - 1300.0).abs() < 2.0, "twice as long: 0.3 x 2000 + 0.7 x 1000");
    assert!(bench.picked().unwrap().0 != 0, "the lowest score wins");
    whole(&mut bench, (1, 16), 1.0);
    assert!((bench.score(1) - 1300.0).abs() < 2.0, "the same for a short one");
}

#[test]
fn a_region_whose_whole_responses_are_slow_is_left_after_two() {
    for (max_tokens, seconds) in [(16, 5.0), (4096, 200.0)] {
        let mut bench = three_with_totals();
        assert_eq!(whole(&mut bench, (0, max_tokens), seconds), None);
        let second = whole(&mut bench, (0, max_tokens), seconds);
        assert_eq!(second, changed(0, Change::Degraded(Cause::Slow)), "{max_tokens}");
    }
    let mut bench = three_with_totals();
    whole(&mut bench, (0, 16), 5.0);
    whole(&mut bench, (0, 16), 0.5);
    assert_eq!(whole(&mut bench, (0, 16), 5.0), None, "a good one forgives");
}

#[test]
fn a_time_out_of_a_whole_response_is_slow() {
    let mut bench = three_with_totals();
    let time_out = |bench: &mut Bench| {
        let lease = bench.pool.dispatch(0, bench.ask(Timing::Untimed, 700), bench.now).unwrap();
        bench.pass(60.0);
        lease.timed_out(bench.now)
    };
    assert_eq!(time_out(&mut bench), None);
    assert_eq!(time_out(&mut bench), changed(0, Change::Degraded(Cause::Slow)));
}

#[test]
fn the_first_responses_of_a_class_are_no_strikes() {
    let mut bench = three();
    whole(&mut bench, (0, 16), 0.5);
    for _ in 0..10 {
        assert_eq!(whole(&mut bench, (0, 16), 60.0), None);
    }
    assert!(bench.score(0) > 1000.0, "but they count in the score");
}

#[test]
fn what_is_timed_is_the_header() {
    let mut bench = three_with_totals();
    let class = Class::of(Kind::Chat, Some(16), 1);
    let ask = Ask { class, ..bench.ask(Timing::Untimed, 700) };
    let mut lease = bench.pool.dispatch(0, ask, bench.now).unwrap();
    bench.pass(1.0);
    lease.header_came(bench.now);
    bench.pass(60.0);
    lease.answered(bench.now);
    assert!((bench.score(0) - 1300.0).abs() < 2.0, "{}", bench.score(0));
}

#[test]
fn a_request_that_failed_everywhere_is_forgiven() {
    let mut bench = three();
    for _ in 0..20 {
        for target in 0..3 {
            assert_eq!(bench.fail(target), None);
        }
        for target in 0..3 {
            assert_eq!(bench.pool.forgive_error(target, 0, bench.now), None);
        }
    }
}

#[test]
fn copies_of_such_a_request_at_the_same_time_take_no_region_out() {
    let mut bench = three();
    assert_eq!([bench.fail(0), bench.fail(0)], [None, None]);
    assert_eq!(bench.fail(0), changed(0, Change::Degraded(Cause::Errors)));
    assert_eq!(bench.pool.forgive_error(0, 0, bench.now), changed(0, Change::Recovered));
    assert_eq!(bench.state(0), State::Healthy);
    // But what slow answers were part of stays.
    bench.answer(0, 9000);
    assert_eq!(bench.answer(0, 9000), changed(0, Change::Degraded(Cause::Slow)));
    assert_eq!(bench.pool.forgive_error(0, 0, bench.now), None);
    assert_eq!(bench.state(0), State::Degraded);
}

#[test]
fn degradation_ends_with_its_time_a_good_answer_or_a_good_probe() {
    let degraded = || {
        let mut bench = three();
        bench.answer(0, 9000);
        bench.answer(0, 9000);
        bench
    };
    let mut bench = degraded();
    bench.pass(899.0);
    assert_eq!((bench.state(0), bench.pool.tick(bench.now)), (State::Degraded, vec![]));
    bench.pass(1.0);
    assert_eq!(bench.state(0), State::Healthy);
    assert_eq!(bench.pool.tick(bench.now), vec![Event { target: 0, change: Change::Recovered }]);
    assert_eq!(bench.pool.tick(bench.now), vec![], "told once");

    let mut bench = degraded();
    assert_eq!(bench.answer(0, 1000), changed(0, Change::Recovered));
    assert!((bench.score(0) - 1000.0).abs() < 1e-6, "the score of the bad time is gone");

    let bench = degraded();
    let probe = ProbeOutcome::FirstToken(Duration::from_millis(700));
    assert_eq!(bench.probe(0, probe), changed(0, Change::Recovered));
    let bench = degraded();
    let probe = ProbeOutcome::FirstToken(Duration::from_secs(3));
    assert_eq!(bench.probe(0, probe), None, "not under clear_ms");
    assert_eq!(bench.state(0), State::Degraded);
}

#[test]
fn slow_answers_sent_before_a_recovery_are_old_news() {
    let mut bench = three();
    bench.answer(0, 9000);
    bench.answer(0, 9000);
    let (one, two) = (bench.lease(0), bench.lease(0));
    bench.pass(5.0);
    bench.answer(0, 500);
    bench.pass(10.0);
    assert_eq!((one.first_token(bench.now), two.first_token(bench.now)), (None, None));
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn a_time_out_is_a_slow_answer_and_a_client_that_leaves_is_no_strike() {
    let mut bench = three();
    let leases = [bench.lease(0), bench.lease(0)];
    let others = [bench.lease(1), bench.lease(1), bench.lease(1)];
    bench.pass(60.0);
    let events = leases.map(|lease| lease.timed_out(bench.now));
    assert_eq!(events, [None, changed(0, Change::Degraded(Cause::Slow))]);
    assert_eq!(others.map(|lease| lease.cancelled(bench.now)), [None; 3]);
    assert_eq!(bench.state(1), State::Healthy);
    assert!(bench.score(1) > 8000.0, "its wait is a lower bound: {}", bench.score(1));
    let young = bench.lease(2);
    bench.pass(1.0);
    young.cancelled(bench.now);
    assert!((bench.score(2) - 1000.0).abs() < 1e-6, "a young one says nothing");
}

#[test]
fn degraded_targets_are_used_when_nothing_better_is_left() {
    let mut bench = three();
    for target in 0..3 {
        bench.answer(target, 9000);
        bench.answer(target, 9000 + 500 * u64::try_from(target).unwrap());
    }
    assert_eq!(bench.picked(), Ok((0, Why::Panic)));
    bench.lease(0).limited(Some(Duration::from_secs(30)), bench.now);
    assert_eq!(bench.picked(), Ok((1, Why::Panic)), "limited ones never are");
}

#[test]
fn a_429_rests_doubles_and_never_strikes() {
    let mut bench = three();
    let mut rest = |asked: Option<u64>| {
        let event = bench.lease(0).limited(asked.map(Duration::from_millis), bench.now);
        // The next one is sent after the rest.
        bench.pass(130.0);
        match event {
            Some(Event { change: Change::Limited(wait), .. }) => wait.as_millis(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        [rest(Some(0)), rest(Some(0)), rest(Some(0))],
        [1000, 2000, 4000],
        "at least 1 s, doubling"
    );
    assert_eq!(rest(None), 10_000, "none given: ten seconds");
    assert_eq!(rest(Some(86_400_000)), 120_000, "at most two minutes");
    assert_eq!(bench.view(0).strikes.to_bits(), 0.0_f64.to_bits());
    bench.answer(0, 100);
    let event = bench.lease(0).limited(Some(Duration::ZERO), bench.now);
    assert_eq!(
        event,
        changed(0, Change::Limited(Duration::from_secs(1))),
        "a success between starts anew"
    );
}

#[test]
fn a_burst_of_429s_is_one_refusal() {
    let mut bench = three();
    let leases: Vec<_> = (0..8).map(|_| bench.lease(0)).collect();
    bench.pass(0.2);
    for lease in leases {
        let event = lease.limited(Some(Duration::from_secs(1)), bench.now);
        assert_eq!(event, changed(0, Change::Limited(Duration::from_secs(1))));
    }
}

#[test]
fn a_rest_shorter_than_a_second_may_be_configured() {
    let short = Duration::from_millis(500);
    let settings = Settings {
        limit: Limit { default_wait: short, max_wait: short, ..Settings::ema().limit },
        ..Settings::ema()
    };
    let bench = Bench::of(settings, vec![spec("a", 1, 1)]);
    assert_eq!(bench.lease(0).limited(None, bench.now), changed(0, Change::Limited(short)));
}

#[test]
fn streams_that_break_off_degrade_though_each_had_its_first_token() {
    let mut bench = three();
    for last in [None, None, changed(0, Change::Degraded(Cause::Errors))] {
        bench.answer(0, 500);
        assert_eq!(bench.pool.broke_off(0, 1, bench.now), last);
    }
    let mut bench = three();
    for _ in 0..10 {
        bench.answer(0, 500);
        bench.pool.broke_off(0, 1, bench.now);
        bench.pool.completed(0);
    }
    assert_eq!(bench.state(0), State::Healthy, "one that comes to its end forgives");
}

#[test]
fn a_probe_without_a_first_token_unblocks_and_teaches_no_latency() {
    let mut bench = three();
    bench.answer(0, 9000);
    bench.answer(0, 9000);
    bench.probe(0, ProbeOutcome::AuthFailed);
    let before = bench.score(0);
    assert_eq!(bench.probe(0, ProbeOutcome::Answered), None);
    let view = bench.view(0);
    assert_eq!((view.blocks.any(), view.state), (false, State::Degraded));
    assert_eq!(view.score_ms.to_bits(), before.to_bits());
}

#[test]
fn a_request_that_has_no_room_for_more_targets_is_told() {
    let mut used = Used::default();
    let added = (0..20).filter(|&target| used.add(target)).count();
    assert_eq!(added, 12);
}

#[test]
fn when_all_are_limited_the_first_to_return_is_told() {
    let mut bench = three();
    for (target, seconds) in [(0, 20), (1, 5), (2, 60)] {
        // The word of one request is believed for a second.
        bench.lease(target).limited(Some(Duration::from_secs(seconds)), bench.now);
        assert_eq!(bench.view(target).limited, Duration::from_secs(1));
        bench.lease(target).limited(Some(Duration::from_secs(seconds)), bench.now);
    }
    assert_eq!(bench.picked(), Err(NoTarget::AllLimited(Duration::from_secs(5))));
    assert!(!bench.pool.can_pick(&Used::default(), bench.now));
    bench.pass(5.0);
    for resting in [0, 2] {
        assert_eq!(bench.picked(), Ok((resting, Why::Trickle)), "it is due to be tried");
    }
    assert_eq!(bench.picked(), Ok((1, Why::Cost)), "thinned, but the only one");
}

#[test]
fn a_target_returns_from_its_rest_little_by_little() {
    let mut bench = three();
    for t in 0..3 {
        bench.answer(t, if t == 0 { 100 } else { 900 });
    }
    for _ in 0..2 {
        bench.lease(0).limited(Some(Duration::from_secs(5)), bench.now);
    }
    bench.pass(5.0);
    let share = |bench: &mut Bench| (0..1000).filter(|_| bench.picked().unwrap().0 == 0).count();
    let at_once = share(&mut bench);
    bench.pass(5.0);
    let half_way = share(&mut bench);
    bench.pass(5.0);
    assert_eq!(share(&mut bench), 1000);
    assert!((50..150).contains(&at_once) && (450..650).contains(&half_way), "{at_once} {half_way}");
}

#[test]
fn lower_tiers_come_first_and_blocked_ones_never() {
    let mut bench = Bench::of(Settings::ema(), vec![spec("paid", 0, 1), spec("a", 1, 1)]);
    for _ in 0..5 {
        bench.answer(0, 2500);
    }
    assert_eq!(bench.picked(), Ok((0, Why::Cost)), "the tier counts before the score");
    bench.pool.set_block(0, Block::Drained, Switch::On);
    assert_eq!(bench.picked(), Ok((1, Why::Cost)));
    bench.probe(1, ProbeOutcome::AuthFailed);
    assert_eq!(bench.picked(), Err(NoTarget::AllBlocked));
    assert!(!bench.pool.is_ready());
    bench.probe(1, ProbeOutcome::FirstToken(Duration::from_millis(9)));
    assert_eq!(bench.picked(), Ok((1, Why::Cost)), "a probe that succeeds takes it out again");
}

#[test]
fn a_request_never_meets_a_target_twice() {
    let mut bench = three();
    let mut used = Used::default();
    for _ in 0..3 {
        let picked = bench.pool.pick(&used, bench.now, &mut bench.rng).unwrap();
        assert!(!used.contains(picked.target));
        assert!(used.add(picked.target));
    }
    assert_eq!(bench.pool.pick(&used, bench.now, &mut bench.rng), Err(NoTarget::AllUsed));
}

#[test]
fn round_robin_takes_turns_by_weight() {
    let settings = Settings::round_robin();
    let mut bench = Bench::of(settings, vec![spec("a", 1, 5), spec("b", 1, 1), spec("c", 1, 1)]);
    let turns: Vec<usize> = (0..7).map(|_| bench.picked().unwrap().0).collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0], "interleaved, not in runs");
    for _ in 0..9 {
        bench.answer(0, 60_000);
    }
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn equal_scores_share_the_start() {
    let mut bench = three();
    let mut leases = Vec::new();
    for _ in 0..9 {
        let (target, _) = bench.picked().unwrap();
        leases.push(bench.lease(target));
    }
    for target in 0..3 {
        assert_eq!(bench.view(target).in_flight, 3);
    }
}

#[test]
fn a_new_configuration_keeps_what_was_learned_by_name() {
    let mut bench = three();
    bench.answer(1, 9000);
    bench.answer(1, 9000);
    let specs = vec![spec("new", 1, 1), spec("b", 2, 1)];
    let next = Pool::new(Settings::ema(), specs, RetryBudget::new(0.1, 10), Some(&bench.pool));
    assert_eq!(next.view(1, bench.now).unwrap().state, State::Degraded);
    assert_eq!(next.view(0, bench.now).unwrap().state, State::Healthy);
}
