//! The table of the ends of streams, event by event and cut at every byte.

use super::cut;
use firstlight::azure::ending::Ending;
use firstlight::azure::route::Operation;
use firstlight::azure::sse::{Scanner, StreamError};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use Ending::{Closed, Failed, Open, Unknown, Whole};

const ERROR: Ending = Failed(StreamError::Error);
const LIMITED: Ending = Failed(StreamError::RateLimited);

/// Events with how far the response has come after each.
type Story = Vec<(&'static str, Ending)>;

const ROLE: &str = r#"data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null,"index":0}]}"#;
const TOKEN: &str =
    r#"data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":null,"index":0}]}"#;
const STOP: &str = r#"data: {"choices":[{"delta":{},"finish_reason":"stop","index":0}]}"#;
const USAGE: &str = r#"data: {"choices":[],"usage":{"prompt_tokens":9}}"#;
const FILTER: &str = r#"data: {"choices":[],"prompt_filter_results":[]}"#;
const ANNOTATION: &str =
    r#"data: {"choices":[{"content_filter_offsets":{},"finish_reason":null,"index":0}]}"#;
const QUOTED: &str = r#"data: {"choices":[{"delta":{"content":"\"finish_reason\":\"stop\", [DONE], \"index\":7"},"finish_reason":null,"index":0}]}"#;
const DONE: &str = "data: [DONE]";
const FAULT: &str = r#"data: {"error":{"message":"m","type":"server_error","code":null}}"#;
const LIMIT: &str = r#"data: {"error":{"code":"429","message":"m"}}"#;

const SECOND: &str =
    r#"data: {"choices":[{"index":1,"delta":{"content":"Ho"},"finish_reason":null}]}"#;
const SECOND_STOP: &str = r#"data: {"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}"#;
const BOTH: &str = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{},"finish_reason":"stop"}]}"#;
const TOOL: &str = r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{"}}]},"finish_reason":null}]}"#;
const CALLED: &str = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#;

fn chats() -> Vec<Story> {
    vec![
        vec![
            (FILTER, Open),
            (ROLE, Open),
            (TOKEN, Open),
            (QUOTED, Open),
            (STOP, Whole),
            (ANNOTATION, Whole),
            (USAGE, Whole),
            (DONE, Closed),
        ],
        vec![(TOKEN, Open), (DONE, Closed), (FAULT, Closed)],
        vec![(ROLE, Open), (STOP, Whole), (DONE, Closed)],
        vec![(TOKEN, Open), (FAULT, ERROR), (DONE, ERROR)],
        vec![(ROLE, Open), (LIMIT, LIMITED), (TOKEN, LIMITED), (STOP, LIMITED)],
        vec![(TOKEN, Open), ("event: error\ndata: {}", ERROR)],
        // Two choices, the second of which begins late.
        vec![
            (ROLE, Open),
            (TOKEN, Open),
            (SECOND, Open),
            (STOP, Open),
            (SECOND, Open),
            (SECOND_STOP, Whole),
            (DONE, Closed),
        ],
        vec![(TOKEN, Open), (STOP, Whole), (SECOND, Open), (SECOND_STOP, Whole)],
        vec![(TOKEN, Open), (SECOND, Open), (BOTH, Whole)],
        // A second call is no second choice, but one that follows is.
        vec![(ROLE, Open), (TOOL, Open), (TOOL, Open), (CALLED, Whole)],
        vec![(TOKEN, Open), (TOOL, Open), (CALLED, Whole), (SECOND, Open), (SECOND_STOP, Whole)],
        vec![(": waiting", Unknown), ("data: {\"hello\":1}", Unknown), ("data: x", Unknown)],
    ]
}

fn responses() -> Vec<Story> {
    const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}";
    const DELTA: &str = r#"data: {"type":"response.output_text.delta","delta":"Hi"}"#;
    const ALIVE: &str = "event: keepalive\ndata: {\"type\":\"keepalive\"}";
    let end = |end| vec![(CREATED, Open), (ALIVE, Open), (DELTA, Open), end];
    vec![
        end((r#"data: {"type":"response.completed","response":{"error":null}}"#, Closed)),
        end((r#"data: {"type":"response.incomplete","response":{"error":null}}"#, Closed)),
        end(("event: response.cancelled\ndata: {}", Closed)),
        end((r#"data: {"type":"response.failed","response":{"error":{"code":"x"}}}"#, ERROR)),
        end((r#"data: {"type":"error","code":"rate_limit_exceeded","message":"m"}"#, LIMITED)),
        end((r#"data: {"type":"response.mcp_call.failed","item_id":"x"}"#, Open)),
        vec![(ALIVE, Unknown), (DELTA, Open)],
    ]
}

fn others() -> Vec<(Operation, Story)> {
    const STEP: &str = "event: thread.run.step.completed\ndata: {\"last_error\":null}";
    vec![
        (
            Operation::Resource,
            vec![
                ("event: thread.created\ndata: {\"id\":\"t\"}", Open),
                (STEP, Open),
                ("event: thread.run.completed\ndata: {\"id\":\"r\"}", Whole),
                ("event: done\ndata: [DONE]", Closed),
            ],
        ),
        (
            Operation::Resource,
            vec![("event: thread.run.requires_action\ndata: {\"id\":\"r\"}", Whole), (STEP, Whole)],
        ),
        (
            Operation::Resource,
            vec![
                (STEP, Open),
                (
                    "event: thread.run.failed\ndata: {\"last_error\":{\"code\":\"rate_limit_exceeded\"}}",
                    LIMITED,
                ),
            ],
        ),
        (
            Operation::Resource,
            vec![
                (r#"data: {"type":"agent.delta","delta":"Hi"}"#, Unknown),
                ("event: end\ndata: {}", Unknown),
            ],
        ),
        (
            Operation::Speech,
            vec![
                (r#"data: {"type":"speech.audio.delta","audio":"AAAA"}"#, Open),
                (r#"data: {"type":"speech.audio.done"}"#, Whole),
            ],
        ),
        (
            Operation::Transcriptions,
            vec![
                (r#"data: {"type":"transcript.text.segment","text":"Hi"}"#, Open),
                (r#"data: {"type":"transcript.text.done","text":"Hi"}"#, Whole),
                (DONE, Closed),
            ],
        ),
        (
            Operation::Images,
            vec![
                (r#"data: {"type":"image_generation.partial_image","b64_json":"A"}"#, Open),
                (r#"data: {"type":"image_generation.completed","b64_json":"A"}"#, Whole),
                (r#"data: {"type":"image_generation.partial_image","b64_json":"A"}"#, Open),
                (r#"data: {"type":"image_generation.completed","b64_json":"A"}"#, Whole),
            ],
        ),
        (
            Operation::Completions,
            vec![
                (r#"data: {"choices":[{"text":"Hi","index":0,"finish_reason":null}]}"#, Open),
                (r#"data: {"choices":[{"text":"","index":0,"finish_reason":"stop"}]}"#, Whole),
            ],
        ),
        (Operation::Completions, vec![(r#"data: {"choices":[{"text":"Hi"}]}"#, Open)]),
    ]
}

fn stories() -> Vec<(Operation, Story)> {
    let chats = chats().into_iter().map(|story| (Operation::ChatCompletions, story));
    let responses = responses().into_iter().map(|story| (Operation::Responses, story));
    // A response that is resumed is read by its id.
    let resumed = self::responses().into_iter().map(|story| (Operation::Resource, story));
    chats.chain(responses).chain(resumed).chain(others()).collect()
}

#[test]
fn each_event_says_how_far_its_response_has_come() {
    for (operation, story) in stories() {
        let mut scanner = Scanner::new(operation);
        for (event, expected) in &story {
            scanner.scan(format!("{event}\n\n").as_bytes());
            assert_eq!(scanner.ending(), *expected, "{event} in {story:?}");
        }
    }
}

/// A response is as far as its last whole event says, wherever its stream is cut, and however it came there.
#[test]
fn a_stream_that_is_cut_is_as_far_as_its_last_event() {
    for (operation, story) in stories() {
        let (mut text, mut ends) = (String::new(), vec![(0, Unknown)]);
        for (event, ending) in &story {
            text.extend([&**event, "\n\n"]);
            ends.push((text.len(), *ending));
        }
        let mut byte_by_byte = Scanner::new(operation);
        for (at, byte) in text.as_bytes().iter().enumerate() {
            let expected = ends.iter().rev().find(|(end, _)| *end <= at).unwrap().1;
            assert_eq!(byte_by_byte.ending(), expected, "{}", &text[..at]);
            let mut at_once = Scanner::new(operation);
            at_once.scan(&text.as_bytes()[..at]);
            assert_eq!(at_once.ending(), expected, "{}", &text[..at]);
            byte_by_byte.scan(&[*byte]);
        }
    }
}

#[test]
fn an_event_whose_line_was_not_ended_counts_at_the_end() {
    for (event, expected) in [(DONE, Closed), (STOP, Whole), (&STOP[..STOP.len() - 1], Open)] {
        let mut scanner = Scanner::new(Operation::ChatCompletions);
        scanner.scan(format!("{TOKEN}\n\n{event}").as_bytes());
        assert_eq!(scanner.ending(), Open);
        scanner.finish();
        assert_eq!(scanner.ending(), expected, "{event}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_end_does_not_depend_on_how_the_bytes_came(
        which in any::<Index>(), cuts in vec(any::<Index>(), 0..20), end in prop::sample::select(&["\n", "\r", "\r\n"][..]),
    ) {
        let stories = stories();
        let (operation, story) = which.get(&stories);
        let text: String = story.iter().map(|(event, _)| format!("{event}\n\n").replace('\n', end)).collect();
        let mut scanner = Scanner::new(*operation);
        for chunk in cut(text.as_bytes(), &cuts) {
            scanner.scan(chunk);
        }
        prop_assert_eq!(scanner.ending(), story.last().unwrap().1);
    }
}
