//! Rows of the contract in which the backend failed, and the one in which we did.

use super::canned::{Canned, GOOD, answer};
use super::{
    ALL, FIRST, OTHERS, V1_RESPONSES, all_ill, asked_elsewhere, attempts, check_ours,
    check_rescued, check_strikes, ill, kept_response, no_token, nothing_left, response, set_ill,
    settled, view, world,
};
use crate::support::{Setup, V1_CHAT, World, chat, wait_until};
use firstlight::mock::{
    Beside, Entra, EntraSpec, Fault, Imds, ImdsFault, ImdsSpec, Limit, RetryAfter,
};
use firstlight::routing::State;
use serde_json::{Value, json};

/// Another backend's response to each; two of them ask for a probe, and when that fails, too, the target is out.
async fn check_error(world: &World, outcome: &str) {
    check_rescued(&world.chat().await);
    assert!(!view(world, FIRST).failing);
    check_rescued(&world.chat().await);
    wait_until("the probe has failed", || view(world, FIRST).state == State::Degraded).await;
    let found = view(world, FIRST);
    assert_eq!((found.failing, found.base_ms), (true, None), "{found:?}");
    assert!(found.limited.is_zero() && !found.blocks.any(), "{found:?}");
    assert_eq!(attempts(world, FIRST).await, format!("{outcome} 2"));
    assert_eq!(asked_elsewhere(world), 2);
}

/// Nobody can serve it, nor a probe: our own 503.
async fn check_error_everywhere(world: &World, outcome: &str) {
    for _ in 0..3 {
        let answer = world.chat().await;
        check_ours(&answer, (503, "no_backend_available"), &nothing_left());
        assert_eq!(answer.attempts(), Some(3));
    }
    settled(world).await;
    for region in ALL {
        assert_eq!(attempts(world, region).await, format!("{outcome} 3"));
        let found = view(world, region);
        assert!(found.base_ms.is_none() && found.limited.is_zero(), "{found:?}");
        assert!(!found.blocks.any() && found.in_flight == 0, "{found:?}");
    }
}

/// What every region fails at, while probes are served, is its own suspect: also copies of it at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_everywhere_is_its_own_suspect() {
    let poison = answer("500 Internal Server Error", "", r#"{"error":{"message":"no"}}"#);
    let canned = Canned::new(poison).but_to_probes(GOOD);
    let world = canned.everywhere().await;
    for _ in 0..3 {
        let all = futures_util::future::join_all((0..3).map(|_| world.chat())).await;
        assert!(all.iter().all(|answer| answer.status == 503));
    }
    settled(&world).await;
    for region in ALL {
        let found = view(&world, region);
        assert_eq!(found.state, State::Healthy, "{region}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_service_goes_elsewhere() {
    for status in [408, 500, 502, 503, 504] {
        let fault = Fault::Status5xx { status };
        check_error(&ill(fault.clone()).await, "server_error").await;
        check_error_everywhere(&all_ill(fault).await, "server_error").await;
    }
    // A 503 that says when to come back is a failure all the same.
    for (status, headers) in
        [("499 Client Closed Request", ""), ("503 Busy", "retry-after: 60\r\n")]
    {
        let canned = Canned::new(answer(status, headers, r#"{"error":{"message":"northeu"}}"#));
        check_error(&canned.first().await, "server_error").await;
        check_error_everywhere(&canned.everywhere().await, "server_error").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fails_goes_elsewhere() {
    for (fault, outcome) in
        [(Fault::Refuse, "connect"), (Fault::Reset, "reset"), (Fault::Garbage, "reset")]
    {
        check_error(&ill(fault.clone()).await, outcome).await;
        check_error_everywhere(&all_ill(fault).await, outcome).await;
    }
    check_error(&without_tls(&[FIRST]).await, "connect").await;
    check_error_everywhere(&without_tls(&ALL).await, "connect").await;
}

/// A world in which a TLS handshake with these fails: they speak none.
async fn without_tls(regions: &[&str]) -> World {
    let world = world().await;
    let mut yaml = world.yaml.clone();
    for region in regions {
        let address = world.mock.address(region).unwrap();
        yaml = yaml.replace(&format!("http://{address}\""), &format!("https://{address}\""));
    }
    assert_ne!(yaml, world.yaml);
    world.reload(&yaml).await.unwrap();
    world
}

/// A name that was never resolved is no target yet: it is passed over, which the log tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_knows_is_passed_over() {
    let regions = OTHERS.to_vec();
    let setup = Setup { regions, first_preferred: false, nowhere: Some(FIRST), ..Setup::default() };
    let world = World::of(setup).await;
    let preferred = world.yaml.replace(".invalid\", tier: 1", ".invalid\", tier: 0");
    assert_ne!(preferred, world.yaml);
    world.reload(&preferred).await.unwrap();
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_ne!(answer.backend(), Some(FIRST));
    let line = world.log_line(answer.request_id()).await;
    let tried = &line["attempts"][0];
    assert_eq!((&tried["backend"], &tried["outcome"]), (&FIRST.into(), &"connect".into()));
    assert_eq!(asked_elsewhere(&world), 1);
    for region in OTHERS {
        set_ill(&world, &[region], Fault::Refuse).await;
    }
    let answer = world.chat().await;
    check_ours(&answer, (503, "no_backend_available"), &nothing_left());
}

/// Questions that leave something behind.
fn kept() -> [(&'static str, Value); 3] {
    let (mut stored, mut background) = (chat(), kept_response());
    stored["store"] = json!(true);
    background["background"] = json!(true);
    [(V1_CHAT, stored), (V1_RESPONSES, kept_response()), (V1_RESPONSES, background)]
}

/// The backend did nothing: another one is asked.
async fn check_untouched(fault: Fault, (path, question): (&str, &Value)) {
    let world = ill(fault.clone()).await;
    let answer = world.post(path, question).await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(2)), "{fault:?}");
    assert_eq!(asked_elsewhere(&world), 1);
}

/// The backend may have done it: the client must decide, and a probe tells whose fault it was.
async fn check_touched(fault: Fault, outcome: &str, (path, question): (&str, &Value)) {
    let world = ill(fault.clone()).await;
    let answer = world.post(path, question).await;
    check_ours(&answer, (503, "no_backend_available"), &nothing_left());
    assert_eq!((answer.attempts(), asked_elsewhere(&world)), (Some(1), 0), "{fault:?}");
    // It fails once at most there: the next avoids what has just failed.
    let next = world.post(path, question).await;
    assert_eq!((next.status, next.attempts()), (200, Some(1)), "{fault:?}");
    assert_eq!(attempts(&world, FIRST).await, format!("{outcome} 1"));
    wait_until("the probe has failed", || view(&world, FIRST).state == State::Degraded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_something_behind_is_sent_twice_only_if_nobody_worked_on_it() {
    let limited = Fault::Status429 { retry_after: RetryAfter::None, limit: Limit::default() };
    for (path, question) in kept() {
        let asked = (path, &question);
        for fault in [Fault::Refuse, limited.clone(), Fault::WrongKey, Fault::UnknownDeployment] {
            check_untouched(fault, asked).await;
        }
        for status in [408, 500, 503] {
            check_touched(Fault::Status5xx { status }, "server_error", asked).await;
        }
        check_touched(Fault::Reset, "reset", asked).await;
    }
    // Nothing of this one is kept.
    let world = ill(Fault::Status5xx { status: 500 }).await;
    let answer = world.post(V1_RESPONSES, &response()).await;
    assert_eq!((answer.status, answer.attempts()), (200, Some(2)), "{}", answer.text());
}

/// No request is blamed on a backend that never saw it.
#[tokio::test(flavor = "multi_thread")]
async fn our_own_failures_name_our_own_causes() {
    check_quota().await;
    check_no_token().await;
}

async fn check_quota() {
    let world = world().await;
    let models = "    models: [gpt-4o, text-embedding-3-large]\n";
    let limits = format!("{models}    limits: {{ requests_per_minute: 1 }}\n");
    world.reload(&world.yaml.replace(models, &limits)).await.unwrap();
    world.chat().await.assert_whole_stream();
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.error_code().as_str()), (429, "rate_limit_exceeded"));
    assert!(answer.text().contains("of this application"), "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    super::check_nobody_is_named(&answer);
    assert_eq!((answer.attempts(), world.requests(FIRST)), (None, 1));
    assert_eq!(attempts(&world, FIRST).await, "ok 1");
    assert!(view(&world, FIRST).limited.is_zero());
}

async fn check_no_token() {
    let entra = Entra::start(EntraSpec::default()).await.unwrap();
    let imds = Imds::start(ImdsSpec::default(), entra.clone()).await.unwrap();
    imds.set_fault(ImdsFault::Status(400)).unwrap();
    let beside = Beside { entra: Some(entra), imds: Some(imds) };
    let identities = vec![(FIRST, "managed_identity".to_owned())];
    let setup = Setup { regions: vec![FIRST], identities, beside, ..Setup::default() };
    let world = World::of(setup).await;
    let answer = world.chat().await;
    check_ours(&answer, (503, "no_token"), &no_token());
    assert_eq!((answer.attempts(), world.requests(FIRST)), (None, 0));
    assert_eq!(attempts(&world, FIRST).await, "");
    check_strikes(&world, FIRST, 0.0);
    let labels = format!("backend=\"{FIRST}\",model=\"gpt-4o\",reason=\"no_token\"");
    assert_eq!(world.metric(&format!("firstlight_target_blocked{{{labels}}}")).await, "1");
    // A configuration that is refused changes nothing for those who ask.
    assert!(world.reload("models: nonsense").await.is_err());
    check_ours(&world.chat().await, (503, "no_token"), &no_token());
}
