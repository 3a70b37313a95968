//! A 4xx of an attempt that is not the first: kept aside while another may still serve the request.
//!
//! The first region is asked first and waits; what is late after 200 ms is hedged.

use super::canned::{Canned, GOOD, answer};
use super::{ALL, FIRST, OTHERS, attempts, settled, setup};
use crate::support::{Answer, Setup, V1_CHAT, World, chat, content_of, streamed_chat, wait_for};
use firstlight::mock::Fault;
use serde_json::Value;

const HEDGED: &str = "  gpt-4o:
    probe: off
    routing: { detect: { trip_ms: 200, clear_ms: 150 } }
  other: {}
  text-embedding-3-large: {}
";

fn refusal(status: &str, code: &str) -> String {
    let body = format!(r#"{{"error":{{"message":"No.","code":"{code}"}}}}"#);
    answer(status, "", &body)
}

/// Two regions: the first answers when it is released.
async fn two(first: &Canned, second: Option<&Canned>) -> World {
    let setup = Setup { regions: vec![FIRST, OTHERS[0]], models: HEDGED, ..setup() };
    let second = second.map(|canned| (OTHERS[0], canned));
    let regions: Vec<_> = [(FIRST, first)].into_iter().chain(second).collect();
    Canned::world(setup, &regions).await
}

/// Sends a request, releases the first region once the second was heard, and gives the response.
async fn ask(world: &World, first: &Canned, body: &Value) -> Answer {
    let asking = tokio::spawn(world.request(V1_CHAT).json(body).send());
    wait_for("the hedge's refusal", || async {
        attempts(world, OTHERS[0]).await.contains("refused").then_some(())
    })
    .await;
    first.release();
    Answer::read(asking.await.unwrap().unwrap()).await
}

async fn hedges(world: &World, result: &str) -> String {
    let series = format!("firstlight_hedges_total{{model=\"gpt-4o\",result=\"{result}\"}}");
    world.metric(&series).await
}

const REFUSALS: [(&str, &str); 5] = [
    ("400 Bad Request", "unsupported_parameter"),
    ("400 Bad Request", "invalid_encrypted_content"),
    ("404 Not Found", "404"),
    ("410 Gone", "gone"),
    ("422 Unprocessable Entity", "422"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_hedges_refusal_waits_for_a_primary_that_is_still_good() {
    for (status, code) in REFUSALS {
        let first = Canned::new(GOOD.to_owned()).held();
        let second = Canned::new(refusal(status, code));
        let world = two(&first, Some(&second)).await;
        let answer = ask(&world, &first, &streamed_chat()).await;
        assert_eq!((answer.status, content_of(answer.text())), (200, "w0 ".to_owned()), "{code}");
        assert_eq!((answer.backend(), answer.attempts()), (Some(FIRST), Some(2)));
        assert_eq!(attempts(&world, OTHERS[0]).await, "refused 1");
        assert_eq!(
            (hedges(&world, "won").await, hedges(&world, "lost").await),
            ("0".into(), "1".into())
        );
        settled(&world).await;
    }
}

/// The same for a response that is not streamed, and for a primary that fails in the end.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_used_if_nothing_better_comes() {
    for (status, code) in REFUSALS {
        let failing =
            ["", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 500 No\r\n\r\n"];
        for failure in failing {
            let first = Canned::new(failure.to_owned()).held();
            let world = two(&first, Some(&Canned::new(refusal(status, code)))).await;
            let answer = ask(&world, &first, &streamed_chat()).await;
            assert!(status.starts_with(&answer.status.to_string()), "{}", answer.text());
            assert_eq!((answer.error_code().as_str(), answer.complete), (code, true));
            assert_eq!(answer.backend(), Some(OTHERS[0]));
            // What is about the request ends it; else the first is tried once more.
            assert!(matches!(answer.attempts(), Some(2 | 3)), "{:?}", answer.attempts());
            let line = world.log_line(answer.request_id()).await;
            assert_eq!(line["attempts"][1]["outcome"], "passed", "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_primary_is_told_with_its_time_where_the_refusal_is_of_the_resource() {
    let limited = answer("429 Too Many", "retry-after: 7\r\n", "{}");
    for (status, code) in REFUSALS {
        let first = Canned::new(limited.clone()).held();
        let world = two(&first, Some(&Canned::new(refusal(status, code)))).await;
        check_after_limit(&ask(&world, &first, &streamed_chat()).await, status, code);
        // One after the other, in three regions.
        let (first, others) = (Canned::new(limited.clone()), Canned::new(refusal(status, code)));
        let regions = [(ALL[0], &first), (ALL[1], &others), (ALL[2], &others)];
        let world = Canned::world(setup(), &regions).await;
        check_after_limit(&world.post(V1_CHAT, &chat()).await, status, code);
        assert_eq!((first.asked(), others.asked()), (1, 2));
    }
}

fn check_after_limit(answer: &Answer, status: &str, code: &str) {
    if matches!(code, "invalid_encrypted_content" | "404" | "gone") {
        assert_eq!((answer.status, answer.error_code().as_str()), (429, "rate_limit_exceeded"));
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=7).contains(&wait), "{wait}");
    } else {
        assert!(status.starts_with(&answer.status.to_string()), "{}", answer.text());
        assert_eq!(answer.error_code(), code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_limit_a_refusal_is_not_the_last_word() {
    let first = Canned::new(answer("429 Too Many", "retry-after: 7\r\n", "{}"));
    let second = Canned::new(refusal("400 Bad Request", "no"));
    // The third one is in the last tier: it is asked last.
    let world = Canned::world(setup(), &[(FIRST, &first), (OTHERS[0], &second)]).await;
    let yaml = std::fs::read_to_string(world.file()).unwrap();
    let third = format!("{}\", tier: ", world.mock.address(OTHERS[1]).unwrap());
    let last = yaml.replace(&format!("{third}1"), &format!("{third}2"));
    assert_ne!(last, yaml);
    world.reload(&last).await.unwrap();
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_eq!((answer.backend(), answer.attempts()), (Some(OTHERS[1]), Some(3)));
    assert_eq!((first.asked(), second.asked()), (1, 1));
    assert_eq!(attempts(&world, OTHERS[0]).await, "refused 1");
}

/// The first attempt's own 4xx is about the request: it is told at once, with the hedge open.
#[tokio::test(flavor = "multi_thread")]
async fn the_primarys_own_mistake_ends_the_race() {
    let first = Canned::new(refusal("400 Bad Request", "unsupported_parameter")).held();
    let world = two(&first, None).await;
    world.fault(OTHERS[0], Fault::FreezeBeforeHeaders);
    let asking = tokio::spawn(world.request(V1_CHAT).json(&streamed_chat()).send());
    world.mock.wait_until(OTHERS[0], |c| c.in_flight == 1).await.unwrap();
    first.release();
    let answer = Answer::read(asking.await.unwrap().unwrap()).await;
    assert_eq!((answer.status, answer.backend()), (400, Some(FIRST)));
    world.mock.wait_until(OTHERS[0], |c| c.cancelled_by_client == 1).await.unwrap();
    assert_eq!(attempts(&world, FIRST).await, "passed 1");
}
