//! Rows of the contract in which the backend said 200, and the one in which nobody waits for it any more.

use super::{
    FIRST, OTHERS, V1_RESPONSES, all_ill, asked_elsewhere, attempts, check_nobody_is_named,
    check_nothing_learned, check_ours, check_rescued, check_strikes, ill, kept_response, now,
    response, set_ill, settled, setup, view, world,
};
use crate::support::{
    Answer, Setup, Streamed, V1_CHAT, World, chat, content_of, streamed_chat, wait_until,
};
use firstlight::azure::error::ClientError;
use firstlight::mock::{Behaviour, Fault};
use firstlight::routing::State;
use firstlight::time::Time;
use serde_json::Value;
use std::time::Duration;

async fn timed(world: &World, region: &str) -> String {
    let labels = format!("backend=\"{region}\",model=\"gpt-4o\",size=\"0\"");
    world.metric(&format!("firstlight_ttft_seconds_count{{{labels}}}")).await
}

/// It feeds the time to first token, the only thing that does; the client sees the stream.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_content_token_is_timed() {
    let world = world().await;
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_eq!((answer.backend(), answer.attempts()), (Some(FIRST), Some(1)));
    assert_eq!((attempts(&world, FIRST).await.as_str(), asked_elsewhere(&world)), ("ok 1", 0));
    assert_eq!(timed(&world, FIRST).await, "1");
    check_strikes(&world, FIRST, 0.0);
    assert!(view(&world, FIRST).base_ms.is_some());
    check_nothing_learned(&world, OTHERS[0]);
    // An answer that is not streamed has no first token.
    assert_eq!(world.post(V1_CHAT, &chat()).await.status, 200);
    assert_eq!(timed(&world, FIRST).await, "1");
}

/// Another backend's response and no latency; two of them ask for a probe, and when that fails, too, the target is out.
async fn check_no_content(fault: Fault, outcome: &str) {
    let world = ill(fault.clone()).await;
    check_rescued(&world.chat().await);
    assert!(!view(&world, FIRST).failing);
    let answer = world.post(V1_RESPONSES, &response()).await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(2)), "{fault:?}");
    assert!(answer.complete && answer.text().contains("response.completed"), "{}", answer.text());
    wait_until("the probe has failed", || view(&world, FIRST).state == State::Degraded).await;
    assert_eq!(view(&world, FIRST).base_ms, None, "{fault:?}");
    assert_eq!(attempts(&world, FIRST).await, format!("{outcome} 2"));
    assert_eq!(asked_elsewhere(&world), 2);
}

/// Everywhere: the client sees what was received.
async fn check_no_content_anywhere(fault: Fault, outcome: &str) -> Answer {
    let world = all_ill(fault).await;
    for _ in 0..2 {
        world.chat().await;
    }
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(3)), "{}", answer.text());
    assert!(attempts(&world, FIRST).await.starts_with(outcome));
    settled(&world).await;
    // The probes failed as well, so the target may be out; of its speed nothing is known.
    let found = view(&world, FIRST);
    assert!(found.base_ms.is_none() && found.limited.is_zero() && !found.blocks.any(), "{found:?}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_content_is_an_error_and_goes_elsewhere() {
    check_no_content(Fault::EndBeforeContent, "empty_stream").await;
    check_no_content(Fault::ErrorAfter200, "error_event").await;
    check_no_content(Fault::Truncate { after_tokens: 0 }, "reset").await;

    let answer = check_no_content_anywhere(Fault::ErrorAfter200, "error_event").await;
    let event = answer.text().split_once("data: {\"error\":").unwrap().1;
    assert!(event.starts_with("{\"message\":\"The server had an error"), "{event}");
    assert!(event.trim_end().ends_with("\"type\":\"server_error\",\"param\":null,\"code\":null}}"));
    assert!(answer.complete && !answer.text().contains("[DONE]"));

    // Of an empty stream nothing is worth passing on.
    let world = all_ill(Fault::EndBeforeContent).await;
    for _ in 0..3 {
        let answer = world.chat().await;
        let error = ClientError::UpstreamMalformed;
        check_ours(&answer, (502, "upstream_malformed"), &error);
        assert!(answer.attempts() >= Some(2));
    }
    assert!(attempts(&world, FIRST).await.starts_with("empty_stream "));

    let answer = check_no_content_anywhere(Fault::Truncate { after_tokens: 0 }, "reset").await;
    check_cut(&answer, "");
}

/// A rest instead of a strike: a second, by the word of one request.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_told_inside_a_stream_is_a_limit() {
    // Also what is kept: a refusal is no work. It is how Responses tell of a limit, with a header that warns of it.
    let requests =
        [(V1_CHAT, streamed_chat()), (V1_RESPONSES, response()), (V1_RESPONSES, kept_response())];
    for (path, body) in requests {
        let world = ill(Fault::ErrorAfter200RateLimit).await;
        let begun = now(&world);
        let answer = world.post(path, &body).await;
        assert_eq!((answer.status, answer.attempts()), (200, Some(2)), "{}", answer.text());
        assert!(answer.complete && !answer.text().contains("rate_limit"), "{}", answer.text());
        check_limited(&world, Duration::from_secs(1), begun);
        assert_eq!(attempts(&world, FIRST).await, "limited 1");
        assert_eq!(asked_elsewhere(&world), 1);
    }
}

/// What is kept may have been worked on when another failure is told inside its stream: it is not sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_told_inside_a_stream_that_is_kept_is_passed_on() {
    let world = ill(Fault::ErrorAfter200).await;
    let answer = world.post(V1_RESPONSES, &kept_response()).await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(1)), "{}", answer.text());
    assert!(answer.complete && answer.text().contains("event: response.failed"), "as received");
    assert_eq!(asked_elsewhere(&world), 0);
    assert_eq!(attempts(&world, FIRST).await, "error_event 1");
}

/// Where it can be tried nowhere else, it is passed on, and the target rests all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_told_inside_the_only_stream_is_passed_on() {
    let world = World::of(Setup { regions: vec![FIRST], ..setup() }).await;
    set_ill(&world, &[FIRST], Fault::ErrorAfter200RateLimit).await;
    let begun = now(&world);
    let answer = world.post(V1_RESPONSES, &kept_response()).await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(1)));
    assert!(answer.complete && answer.text().contains("event: response.failed"), "as received");
    assert_eq!(answer.header("retry-after"), Some("3"));
    settled(&world).await;
    check_limited(&world, Duration::from_secs(1), begun);
    assert_eq!(attempts(&world, FIRST).await, "limited 1");
}

fn check_limited(world: &World, rest: Duration, begun: Time) {
    let view = view(world, FIRST);
    assert!(view.limited <= rest, "{view:?}");
    assert!(view.limited + now(world).since(begun) >= rest, "{view:?}");
    assert_eq!((view.state, view.base_ms), (State::Healthy, None));
    check_strikes(world, FIRST, 0.0);
}

/// One final event that says so, in the three ways that clients read, and an end that is none.
fn check_cut(answer: &Answer, content: &str) {
    assert_eq!(answer.status, 200);
    assert!(!answer.complete, "it looks complete: {}", answer.text());
    assert_eq!(content_of(answer.text()), content);
    assert_eq!(answer.text().matches("event: error\n").count(), 1, "{}", answer.text());
    assert!(!answer.text().contains("[DONE]"));
    let event = answer.text().split_once("event: error\ndata: ").unwrap().1;
    let event: Value = serde_json::from_str(event.strip_suffix("\n\n").unwrap()).unwrap();
    assert_eq!((&event["code"], &event["type"]), (&"upstream_abort".into(), &"error".into()));
    assert_eq!(event["error"]["code"], "upstream_abort");
    for region in super::ALL {
        assert!(!event.to_string().contains(region), "{event}");
    }
}

/// A strike from the second request on, whatever was timed before; never another backend.
#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_after_content_is_told_and_never_spliced() {
    let world = ill(Fault::Truncate { after_tokens: 2 }).await;
    for (run, strikes) in [(1, 0.0), (2, 1.0)] {
        let answer = world.chat().await;
        check_cut(&answer, "w0 w1 ");
        assert_eq!((answer.backend(), answer.attempts()), (Some(FIRST), Some(1)));
        check_strikes(&world, FIRST, strikes);
        let counted = format!("broken_off {run}, ok {run}");
        assert_eq!(attempts(&world, FIRST).await, counted, "it had begun well");
    }
    let answer = world.post(V1_RESPONSES, &response()).await;
    check_cut(&answer, "");
    assert!(answer.text().contains("response.output_text.delta"), "{}", answer.text());
    assert_eq!(view(&world, FIRST).state, State::Degraded, "the third one is too many");
}

/// Nobody is left to answer: nothing is learned, and nothing goes on that costs tokens.
async fn check_hung_up(fault: Fault, body: Value) {
    let world = ill(fault).await;
    let waiting = tokio::spawn(world.request(V1_CHAT).json(&body).send());
    world.mock.wait_until(FIRST, |c| c.in_flight == 1).await.unwrap();
    waiting.abort();
    let counters = world.mock.wait_until(FIRST, |c| c.cancelled_by_client == 1).await.unwrap();
    assert_eq!((counters.requests, counters.in_flight, asked_elsewhere(&world)), (1, 0, 0));
    settled(&world).await;
    check_nothing_learned(&world, FIRST);
    assert_eq!(attempts(&world, FIRST).await, "client_abort 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_teaches_nothing() {
    check_hung_up(Fault::FreezeBeforeHeaders, streamed_chat()).await;
    check_hung_up(Fault::FreezeAfterRole, streamed_chat()).await;
    check_hung_up(Fault::FreezeBeforeHeaders, chat()).await;

    // In the middle of a stream, its first token an hour before the second.
    let behaviour = Behaviour { gap_ms: 3_600_000.0, ..Behaviour::instant() };
    let world = World::of(Setup { behaviour, ..setup() }).await;
    let response = world.request(V1_CHAT).json(&streamed_chat()).send().await.unwrap();
    let mut stream = Streamed::of(response);
    assert!(stream.next().await.is_some());
    drop(stream);
    world.mock.wait_until(FIRST, |c| c.cancelled_by_client == 1).await.unwrap();
    settled(&world).await;
    check_strikes(&world, FIRST, 0.0);
    assert_eq!(attempts(&world, FIRST).await, "ok 1", "its first token was good");
    assert_eq!(asked_elsewhere(&world), 0);
}

/// Even then no header of ours names anybody: who answered stands in its own header.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_answered_names_nobody() {
    let more = "timeouts: { first_token_seconds: 0.4 }\nretry: { hold_headers_seconds: 0.1 }";
    let world = World::of(Setup { more, ..setup() }).await;
    set_ill(&world, &super::ALL, Fault::FreezeBeforeHeaders).await;
    let answer = world.chat().await;
    assert!(answer.complete && answer.text().contains("no_backend_available"), "{}", answer.text());
    check_nobody_is_named(&answer);
}
