//! What each failure of a backend comes to. The first region is ill, so it is always met first.

use crate::support::{Setup, V1_CHAT, World, chat, streamed_chat};
use firstlight::mock::{Fault, HalfBody, Limit, RetryAfter};

/// A fault on the first region, and how the attempt there is told in the log.
async fn check_rescued(fault: Fault, outcome: &str) {
    let more = "timeouts: { first_token_seconds: 0.3, answer_seconds: 0.3 }";
    let world = World::of(Setup { more, ..Setup::default() }).await;
    world.fault("a", fault.clone());
    if fault == Fault::Refuse {
        world.mock.wait_until("a", |c| !c.listening).await.unwrap();
    }
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_eq!(answer.attempts(), Some(2), "{fault:?}");
    assert_ne!(answer.backend(), Some("a"));
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(line["attempts"][0]["backend"], "a");
    assert_eq!(line["attempts"][0]["outcome"], outcome, "{line}");
    assert_eq!(line["attempts"][1]["outcome"], "ok");
    assert_eq!(line["term"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_before_the_first_content_goes_elsewhere() {
    let limited = |retry_after| Fault::Status429 { retry_after, limit: Limit::default() };
    for (fault, outcome) in [
        (Fault::Refuse, "connect"),
        (Fault::Reset, "reset"),
        (Fault::Garbage, "reset"),
        (Fault::Status5xx { status: 500 }, "server_error"),
        (Fault::Status5xx { status: 503 }, "server_error"),
        (Fault::Status5xx { status: 408 }, "server_error"),
        (limited(RetryAfter::Seconds(5)), "limited"),
        (limited(RetryAfter::None), "limited"),
        (Fault::FreezeBeforeHeaders, "timed_out"),
        (Fault::FreezeAfterHeaders, "timed_out"),
        (Fault::FreezeAfterFilter, "timed_out"),
        (Fault::FreezeAfterRole, "timed_out"),
        (Fault::ErrorAfter200, "error_event"),
        (Fault::ErrorAfter200RateLimit, "limited"),
        (Fault::EndBeforeContent, "empty_stream"),
        (Fault::Truncate { after_tokens: 0 }, "reset"),
        (Fault::WrongKey, "unauthorised"),
        (Fault::Forbidden, "unauthorised"),
        (Fault::UnknownDeployment, "deployment_missing"),
    ] {
        check_rescued(fault, outcome).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_judged_by_its_status_whatever_becomes_of_its_body() {
    for body in [HalfBody::BreaksOff, HalfBody::Stalls] {
        for (status, outcome) in [(429, "limited"), (503, "server_error")] {
            let world = World::plain().await;
            world.fault("a", Fault::HalfError { status, body });
            let answer = world.chat().await;
            answer.assert_whole_stream();
            let line = world.log_line(answer.request_id()).await;
            let attempt = &line["attempts"][0];
            assert_eq!((&attempt["backend"], &attempt["outcome"]), (&"a".into(), &outcome.into()));
            assert_eq!(attempt["status"], status);
            let ms = attempt["ms"].as_f64().unwrap();
            assert!(ms < 5_000.0, "{ms} ms, of the minutes that a first token may take");
            let live = world.proxy.live();
            let model = live.snapshot().model("gpt-4o").cloned().unwrap();
            let view = model.pool.view(0, live.clock().now()).unwrap();
            assert_eq!(view.limited.is_zero(), status != 429, "only a limit asks for rest");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_answers_are_rescued_too() {
    for fault in [Fault::Reset, Fault::Status5xx { status: 502 }, Fault::FreezeBeforeHeaders] {
        let more = "timeouts: { answer_seconds: 0.3 }";
        let world = World::of(Setup { more, ..Setup::default() }).await;
        world.fault("a", fault);
        let answer = world.post(V1_CHAT, &chat()).await;
        assert_eq!((answer.status, answer.attempts()), (200, Some(2)));
        assert_eq!(answer.json()["usage"]["completion_tokens"], 5);
    }
}

/// The same fault everywhere: what the client gets in the end.
async fn check_all_ill(fault: Fault, status: u16, code: &str, attempts: u32) -> World {
    let world = World::plain().await;
    for region in ["a", "b", "c"] {
        world.fault(region, fault.clone());
    }
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{fault:?}");
    assert_eq!(answer.attempts(), Some(attempts));
    let ours = matches!(status, 429 | 502 | 503);
    assert_eq!(
        answer.header("connection") == Some("close"),
        ours,
        "it is closed and the client is told"
    );
    if matches!(status, 429 | 503) {
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    }
    for region in ["a", "b", "c"] {
        assert!(!answer.text().contains(&format!("\"{region}\"")), "{}", answer.text());
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn when_everything_fails_the_answer_is_ours_and_names_nobody() {
    check_all_ill(Fault::Status5xx { status: 500 }, 503, "no_backend_available", 3).await;
    check_all_ill(Fault::Reset, 503, "no_backend_available", 3).await;
    check_all_ill(Fault::WrongKey, 502, "upstream_auth", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_limited_the_client_is_told_when_to_come_back() {
    let fault = Fault::Status429 { retry_after: RetryAfter::Seconds(7), limit: Limit::default() };
    let world = check_all_ill(fault, 429, "rate_limit_exceeded", 3).await;
    let answer = world.chat().await;
    assert_eq!(answer.status, 429);
    let header = |name: &str| answer.header(name).unwrap().parse::<u64>().unwrap();
    let wait = header("retry-after-ms");
    assert_eq!(wait.div_ceil(1000), header("retry-after"));
    let line = world.log_line(answer.request_id()).await;
    assert_eq!(
        (line["retry_after_ms"].as_u64(), line["term"].as_str()),
        (Some(wait), Some("failed")),
        "{line}"
    );
    // What it asked for, and a quarter at most, so that not all come back at once.
    assert!((1..=9_000).contains(&wait), "{wait}");
    assert!(!world.is_degraded("gpt-4o", "a"), "a rate limit is no strike");
    assert_eq!(world.admin("/readyz").await.0, 200, "a limit ends by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_contract_passes_on_is_passed_on_unchanged() {
    let world = check_all_ill(Fault::UnknownDeployment, 404, "DeploymentNotFound", 3).await;
    drop(world);
    let world = World::plain().await;
    for region in ["a", "b", "c"] {
        world.fault(region, Fault::ErrorAfter200);
    }
    let answer = world.chat().await;
    assert_eq!(answer.status, 200, "the event as it was received");
    assert!(answer.text().contains("\"error\""), "{}", answer.text());
    assert_eq!(answer.attempts(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_and_the_retry_budget_bound_the_retries() {
    let more = "retry: { max_attempts: 2, budget_share: 0, budget_min: 1 }";
    let world = World::of(Setup { more, ..Setup::default() }).await;
    for region in ["a", "b", "c"] {
        world.fault(region, Fault::Status5xx { status: 500 });
    }
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.attempts()), (503, Some(2)), "two attempts at most");
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.attempts()), (503, Some(1)), "the budget of one is spent");
    let metrics = world.admin("/metrics").await.1;
    assert!(
        metrics.contains("firstlight_retry_budget_exhausted_total{model=\"gpt-4o\"} 1"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_poisonous_request_takes_no_region_out() {
    // Every region answers 500 to it; ten times over, with good traffic between.
    let world = World::plain().await;
    for _ in 0..10 {
        for region in ["a", "b", "c"] {
            world.fault(region, Fault::Status5xx { status: 500 });
        }
        assert_eq!(world.chat().await.status, 503);
        for region in ["a", "b", "c"] {
            world.fault(region, Fault::None);
        }
        world.chat().await.assert_whole_stream();
    }
    for region in ["a", "b", "c"] {
        assert!(!world.is_degraded("gpt-4o", region), "{region}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_answers_500_is_left_and_no_client_sees_it() {
    let world = World::plain().await;
    world.fault("a", Fault::Status5xx { status: 500 });
    for _ in 0..40 {
        world.chat().await.assert_whole_stream();
    }
    assert!(world.is_degraded("gpt-4o", "a"));
    assert!(world.requests("a") <= 3, "two errors, and a probe's: then it is out");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_is_stuck_in_a_black_hole_is_rescued() {
    // More than the retry budget of a proxy that has just started.
    let more = "timeouts: { first_token_seconds: 0.5 }
routing: { policy: ema, probe: { interval_seconds: 0 } }";
    let world = World::of(Setup { more, ..Setup::default() }).await;
    world.fault("a", Fault::FreezeBeforeHeaders);
    let all = futures_util::future::join_all((0..40).map(|_| world.chat())).await;
    for answer in all {
        answer.assert_whole_stream();
        assert_eq!(answer.attempts(), Some(2));
    }
    assert_eq!(world.requests("a"), 40, "all of them were stuck");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_backend_closed_while_idle_costs_nothing() {
    // Two requests leave two kept connections; the backend restarts its port between.
    let world = World::of(Setup { regions: vec!["a"], ..Setup::default() }).await;
    world.chat().await.assert_whole_stream();
    world.fault("a", Fault::Refuse);
    world.mock.wait_until("a", |c| !c.listening).await.unwrap();
    let answer = world.post(V1_CHAT, &streamed_chat()).await;
    assert_eq!(answer.status, 503);
    world.fault("a", Fault::None);
    world.mock.wait_until("a", |c| c.listening).await.unwrap();
    world.chat().await.assert_whole_stream();
}
