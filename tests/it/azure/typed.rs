//! Properties of streams whose events say their type, above all of responses: their first event repeats what was asked, and
//! may be larger than anything that is kept.

use super::{allocations, cut, watch_of};
use firstlight::azure::route::Operation;
use firstlight::azure::sse::{Scanner, Seen, StreamError};
use firstlight::azure::usage::Usage;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::sample::select;

const DELTA: &str = r#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","delta":"Grüße \"usage\":{} 😀","obfuscation":"aB"}"#;
const EMPTY: &str =
    r#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","delta":""}"#;
const ITEM: &str =
    r#"{"type":"response.output_item.added","item":{"type":"message","content":[]}}"#;
const LIMITED: &str = r#"{"type":"error","code":"rate_limit_exceeded","message":"Please retry after 10 seconds.","param":null,"sequence_number":2}"#;

/// One event; with a name as the service sends it, or without.
#[expect(clippy::fn_params_excessive_bools, reason = "with its name or without")]
fn event(data: &str, named: bool) -> String {
    let kind = data.split('"').nth(3).unwrap_or_default();
    if named { format!("event: {kind}\ndata: {data}\n\n") } else { format!("data: {data}\n\n") }
}

/// An event about the whole response, with instructions of so many bytes.
fn about(kind: &str, instructions: usize, usage: &str) -> String {
    let instructions = "be kind, ".repeat(instructions / 9);
    format!(
        r#"{{"type":"response.{kind}","sequence_number":0,"response":{{"id":"resp_1","error":null,"instructions":"{instructions}","tools":[{{"parameters":{{"usage":{{"type":"object"}}}}}}],"usage":{usage},"user":null}}}}"#
    )
}

const TOLD: &str = r#"{"input_tokens":36,"input_tokens_details":{"cached_tokens":5},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":7}}"#;

fn told() -> Usage {
    Usage {
        prompt: Some(36),
        completion: Some(87),
        cached: Some(5),
        reasoning: Some(7),
        audio: None,
    }
}

/// Sizes of what is repeated, from nothing to several times what is kept.
const SIZES: [usize; 6] = [0, 16 << 10, (64 << 10) - 200, 64 << 10, 65_700, 300 << 10];

fn watch(text: &str) -> (Seen, Option<usize>, Option<Usage>, bool) {
    watch_of(Operation::Responses, &[text.as_bytes()])
}

#[test]
fn a_created_event_is_no_token_however_large() {
    for size in SIZES {
        for named in [true, false] {
            let text = event(&about("created", size, "null"), named)
                + &event(&about("in_progress", size, "null"), named)
                + &event(ITEM, named);
            assert_eq!(watch(&text), (Seen::default(), None, None, false), "{size}");
            // In the order that some write it in.
            let swapped = text.replace(r#""type":"response.created","#, "");
            assert!(!watch(&swapped).0.first_token, "{size}");
            let lines = text.replace(",\"", ",\ndata: \"");
            assert!(!watch(&lines).0.first_token, "{size}");
        }
    }
}

#[test]
fn a_response_is_understood_and_its_usage_found_however_large() {
    for size in SIZES {
        for named in [true, false] {
            let before = event(&about("created", size, "null"), named) + &event(EMPTY, named);
            let token = event(DELTA, named);
            let last = event(&about("completed", size, TOLD), named);
            let text = format!("{before}{token}{token}{last}");
            let (seen, first_token_end, usage, finished) = watch(&text);
            assert_eq!((seen.content_events, seen.error, seen.done), (2, None, true), "{size}");
            assert_eq!(first_token_end, Some(before.len() + token.len()));
            assert_eq!((usage, finished), (Some(told()), true), "{size}");
        }
    }
}

#[test]
fn a_rate_limit_inside_of_a_stream_is_one() {
    for size in SIZES {
        let created = event(&about("created", size, "null"), true);
        let failed = about("failed", size, "null")
            .replace(r#""error":null"#, r#""error":{"code":"rate_limit_exceeded","message":"m"}"#);
        for last in [LIMITED, &failed] {
            let seen = watch(&(created.clone() + &event(last, true))).0;
            let expected = (false, Some(StreamError::RateLimited));
            assert_eq!((seen.first_token, seen.error), expected, "{size}");
        }
    }
}

#[test]
fn pictures_and_speech_tell_their_usage() {
    let picture = format!(
        r#"{{"type":"image_generation.completed","b64_json":"{}","usage":{TOLD}}}"#,
        "A".repeat(3 << 20)
    );
    let speech = r#"{"type":"speech.audio.delta","audio":"AAAA"}"#;
    let spoken = format!(r#"{{"type":"speech.audio.done","usage":{TOLD}}}"#);
    let text = format!(r#"{{"type":"transcript.text.done","text":"Hi","usage":{TOLD}}}"#);
    for (operation, events) in [
        (Operation::Images, vec![picture.as_str()]),
        (Operation::Speech, vec![speech, &spoken]),
        (Operation::Transcriptions, vec![&text]),
    ] {
        let stream: String = events.iter().map(|data| event(data, false)).collect();
        let chunks: Vec<&[u8]> = stream.as_bytes().chunks(4_096).collect();
        let (seen, _, usage, _) = watch_of(operation, &chunks);
        assert!(seen.first_token && seen.error.is_none(), "{operation:?}");
        assert_eq!(usage, Some(told()), "{operation:?}");
    }
}

#[test]
fn a_run_of_an_assistant_tells_its_usage() {
    let delta = r#"{"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"Hi"}}]}}"#;
    let run = r#"{"id":"run_1","object":"thread.run","usage":{"prompt_tokens":36,"completion_tokens":87}}"#;
    let text = format!(
        "event: thread.created\ndata: {{\"id\":\"t\"}}\n\nevent: thread.message.delta\ndata: {delta}\n\nevent: thread.run.completed\ndata: {run}\n\nevent: done\ndata: [DONE]\n\n"
    );
    let (seen, _, usage, _) = watch_of(Operation::Resource, &[text.as_bytes()]);
    assert_eq!((seen.content_events, seen.done), (1, true));
    assert_eq!(usage.unwrap().completion, Some(87));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_typed_stream_means_the_same_however_it_is_cut(
        events in vec((0..6_usize, select(&SIZES[..4]), any::<bool>()), 0..5), cuts in vec(any::<Index>(), 0..12),
        mark in any::<bool>(), end in select(&["\n", "\r", "\r\n"][..]),
    ) {
        let text: String = events.iter().map(|(which, size, named)| match which {
            0 => event(&about("created", *size, "null"), *named),
            1 => event(&about("completed", *size, TOLD), *named),
            2 => event(DELTA, *named),
            3 => event(LIMITED, *named),
            4 => event(ITEM, *named),
            _ => event(EMPTY, *named),
        }).collect();
        let text = (if mark { "\u{feff}" } else { "" }).to_owned() + &text.replace('\n', end);
        let whole = watch(&text);
        let cut_up = cut(text.as_bytes(), &cuts);
        prop_assert_eq!(watch_of(Operation::Responses, &cut_up), whole);
        let small: Vec<&[u8]> = text.as_bytes().chunks(13).collect();
        prop_assert_eq!(watch_of(Operation::Responses, &small), whole);
    }
}

#[test]
fn a_relayed_chunk_of_a_response_costs_no_allocation() {
    let text: String = [ITEM, DELTA, EMPTY, DELTA].map(|data| event(data, true)).concat();
    let mut scanner = Scanner::new(Operation::Responses);
    text.as_bytes().chunks(7).for_each(|chunk| assert!(!scanner.scan(chunk).done));
    let before = allocations::of_this_thread();
    for size in [1, 7, 64, 1_000, text.len()] {
        for chunk in text.as_bytes().chunks(size) {
            assert!(scanner.scan(chunk).first_token);
        }
    }
    assert_eq!(allocations::of_this_thread() - before, 0);
}
