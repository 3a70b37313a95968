//! The row of the contract that is about 429: a rest, never a strike and never a latency.
//!
//! With a clock of the test's own, in `routing::ema`: `a_429_rests_doubles_and_never_strikes` (1, 2, 4 s up to the
//! cap, and anew after a good answer), `a_burst_of_429s_is_one_refusal`, `a_target_returns_from_its_rest_little_by_little`;
//! in `routing::limits` all that takes minutes: overloads, the trickle, sizes.

use super::{
    ALL, FIRST, OTHERS, V1_RESPONSES, asked_elsewhere, attempts, check_ours, check_rescued,
    check_strikes, ill, kept_response, now, probes, settled, view, world,
};
use crate::support::{Answer, PROBE_KEY, V1_CHAT, World, chat, streamed_chat, wait_until};
use firstlight::azure::error::ClientError;
use firstlight::mock::{Fault, Limit, RetryAfter};
use firstlight::routing::State;
use firstlight::time::Time;
use std::time::Duration;

fn limited(retry_after: RetryAfter) -> Fault {
    Fault::Status429 { retry_after, limit: Limit::default() }
}

fn seconds(seconds: u64) -> RetryAfter {
    RetryAfter::Seconds(seconds)
}

/// A rest that began between `begun` and now lasts from `least` to `most`.
fn check_rest(world: &World, region: &str, [least, most]: [Duration; 2], begun: Time) {
    let view = view(world, region);
    assert!(view.limited <= most, "{view:?}, {most:?}");
    assert!(view.limited + now(world).since(begun) >= least, "{view:?}, {least:?}");
}

fn check_not_held_against(world: &World, region: &str) {
    check_strikes(world, region, 0.0);
    let view = view(world, region);
    assert_eq!((view.state, view.base_ms), (State::Healthy, None), "{view:?}");
}

/// How long the first region rests after such an answer to one request, which another one makes good at once: a
/// second at most; and after the same answer to another request.
async fn check_form(form: RetryAfter, rest: [Duration; 2]) {
    let world = ill(limited(form)).await;
    let (begun, second) = (now(&world), Duration::from_secs(1));
    check_rescued(&world.chat().await);
    check_rest(&world, FIRST, rest.map(|rest| rest.min(second)), begun);
    check_not_held_against(&world, FIRST);
    assert_eq!(attempts(&world, FIRST).await, "limited 1", "{form:?}");
    let begun = now(&world);
    assert_eq!(named(&world).await.status, 429);
    // Where the first rest was over by then, the next is at least two seconds.
    let [least, most] = rest;
    check_rest(&world, FIRST, [least, most.max(second * 2)], begun);
    check_not_held_against(&world, FIRST);
    assert_eq!(asked_elsewhere(&world), 1);
    let changes = format!(
        "firstlight_target_changes_total{{backend=\"{FIRST}\",change=\"limited\",model=\"gpt-4o\"}}"
    );
    assert_eq!(world.metric(&changes).await, "2");
    assert_eq!(probes(&world, "limited").await, "0", "nobody looks whether it is true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_a_rest_of_what_it_asked_for() {
    use RetryAfter::{Both, Date, Millis, None, Seconds};
    let ms = Duration::from_millis;
    for (form, rest) in [
        (None, 10_000),
        (Seconds(0), 1_000),
        (Seconds(1), 1_000),
        (Seconds(37), 37_000),
        (Seconds(86_400), 120_000),
        (Millis(0), 1_000),
        (Millis(1_000), 1_000),
        (Millis(1_500), 1_500),
        (Millis(999_999), 120_000),
        (Both { seconds: 60, millis: 0 }, 60_000),
        (Both { seconds: 1, millis: 2_500 }, 2_500),
        (Date(86_400), 120_000),
    ] {
        check_form(form, [ms(rest), ms(rest)]).await;
    }
    // Dates are written in whole seconds.
    check_form(Date(40), [ms(38_000), ms(40_000)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_exceeded_it_is_a_limit() {
    for limit in [Limit::TokenRate, Limit::CallRate, Limit::PeakLoad, Limit::Provisioned] {
        let world = ill(Fault::Status429 { retry_after: seconds(30), limit }).await;
        for (path, question) in
            [(V1_CHAT, streamed_chat()), (V1_CHAT, chat()), (V1_RESPONSES, kept_response())]
        {
            let answer = world.post(path, &question).await;
            assert_eq!(answer.status, 200, "{limit:?}: {}", answer.text());
        }
        assert_eq!(asked_elsewhere(&world), 3);
        check_not_held_against(&world, FIRST);
        // Two have seen it, whatever the others were for.
        assert_eq!([named(&world).await.status, named(&world).await.status], [429; 2]);
        let from = view(&world, FIRST).limited_tokens.unwrap();
        assert_eq!(from > 0, limit == Limit::TokenRate, "{limit:?}: smaller ones may fit: {from}");
    }
}

/// A request that names the first region, which may rest or not.
async fn named(world: &World) -> Answer {
    let request = world.client.post(world.url(V1_CHAT)).header("api-key", PROBE_KEY);
    let request = request.header("x-probe-target", FIRST).json(&streamed_chat());
    Answer::read(request.send().await.unwrap()).await
}

/// A second is a second, though Azure's next 429 then costs two.
#[tokio::test(flavor = "multi_thread")]
async fn a_rest_of_a_second_ends_after_a_second_and_a_repeat_doubles_it() {
    let world = ill(limited(RetryAfter::Millis(1_000))).await;
    let begun = now(&world);
    check_rescued(&world.chat().await);
    wait_until("its return", || view(&world, FIRST).limited.is_zero()).await;
    assert!(now(&world).since(begun) >= Duration::from_secs(1));
    let (begun, two) = (now(&world), Duration::from_secs(2));
    let answer = named(&world).await;
    check_all_limited(&world, &answer, 2, begun);
    assert_eq!((answer.attempts(), asked_elsewhere(&world)), (Some(1), 1), "it named the one");
    check_rest(&world, FIRST, [two, two], begun);
    check_not_held_against(&world, FIRST);
    assert_eq!(attempts(&world, FIRST).await, "limited 2");
}

fn check_all_limited(world: &World, answer: &Answer, most: u64, begun: Time) {
    let told: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    let spread = (most / 4).max(1);
    assert!(
        told <= most + spread + 1 && told + now(world).since(begun).as_secs() + 1 >= most,
        "{told} of {most}"
    );
    let error = ClientError::AllLimited { retry_after: Duration::from_secs(told) };
    check_ours(answer, (429, "rate_limit_exceeded"), &error);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_target_is_limited_the_first_to_return_is_told() {
    let world = world().await;
    for (region, wait) in [(FIRST, 90), (OTHERS[0], 300), (OTHERS[1], 40)] {
        world.fault(region, limited(seconds(wait)));
    }
    let begun = now(&world);
    let answer = world.chat().await;
    check_all_limited(&world, &answer, 40, begun);
    assert_eq!(answer.attempts(), Some(3));
    let asked = || ALL.map(|region| world.requests(region));
    assert_eq!(asked(), [1, 1, 1]);
    let rest = || ALL.map(|region| view(&world, region).limited);
    let resting = rest().iter().filter(|rest| !rest.is_zero()).count();
    assert!(resting <= 1, "a request that is limited everywhere is its own suspect");
    assert_eq!(named(&world).await.status, 429);
    check_all_limited(&world, &world.chat().await, 40, begun);
    let least = [90, 120, 40].map(Duration::from_secs);
    assert!(
        rest().iter().zip(least).all(|(rest, all)| *rest + now(&world).since(begun) >= all),
        "two have seen it: {:?}",
        rest()
    );
    let before: u64 = asked().iter().sum();
    let answer = world.chat().await;
    check_all_limited(&world, &answer, 40, begun);
    let asked = asked().iter().sum::<u64>() - before;
    assert_eq!(answer.attempts(), (asked > 0).then_some(1), "by the trickle, if at all");
    settled(&world).await;
    for region in ALL {
        check_not_held_against(&world, region);
    }
}

/// What failed beside those that rest is not worth another try of this request: they are waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_beside_failures_is_a_limit() {
    let world = world().await;
    world.fault(FIRST, limited(seconds(30)));
    for region in OTHERS {
        world.fault(region, Fault::Status5xx { status: 500 });
    }
    let begun = now(&world);
    let answer = world.chat().await;
    check_all_limited(&world, &answer, 30, begun);
    assert_eq!(answer.attempts(), Some(3));
    assert_eq!(attempts(&world, OTHERS[0]).await, "server_error 1");
}
