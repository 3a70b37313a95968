//! Properties of the Azure modules: they agree with `serde_json` about what a body says, they give the same
//! answer however the network cuts an answer, they never panic, and a relayed chunk costs no allocation.

use firstlight::azure::edit::{Edit, apply};
use firstlight::azure::limit::retry_after;
use firstlight::azure::peek::PeekError;
use firstlight::azure::peek::peek;
use firstlight::azure::route::Operation;
use firstlight::azure::route::route;
use firstlight::azure::sse::Scanner;
use firstlight::azure::sse::Seen;
use firstlight::azure::status::error_code;
use firstlight::azure::usage::Usage;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::sample::select;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::time::Duration;

mod ending;
mod in_stream;
mod realtime;
mod typed;
mod usage;

// ---- The body peek ----

/// The members that may stand in a body once.
const DECIDING: [&str; 5] = ["model", "stream", "store", "background", "tools"];

/// Small documents in which the members that decide are common.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        select(&[0.5, -2.5e-7, 1e300, 1e21][..]).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    vec((key(), json()), 0..6).prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn key() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 17] = [
        "model",
        "stream",
        "store",
        "background",
        "tools",
        "type",
        "conversation",
        "reasoning",
        "reasoning_effort",
        "effort",
        "max_tokens",
        "n",
        "stream_options",
        "include_usage",
        "usage",
        "messages",
        "prompt_tokens",
    ];
    prop_oneof![select(&KNOWN[..]).prop_map(str::to_owned), text()]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z\"\\\\\n\t{}\\[\\]:,/é😀]{0,20}",
        "[a-z ]{30,90}",
        select(&["usage", "high"][..]).prop_map(str::to_owned)
    ]
}

/// A document with some bytes replaced, inserted or removed, by what matters in JSON.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let byte = select(&b"{}[]\",:\\u0d8e+-.tfn \n\x00\x1f\xff\xc3"[..]);
    let damage = vec((any::<Index>(), byte, 0..3_u8), 0..3);
    (object(), any::<bool>(), damage).prop_map(|(object, pretty, damage)| {
        let text = if pretty { format!("{object:#}") } else { object.to_string() };
        let mut bytes = text.into_bytes();
        for (at, byte, kind) in damage {
            let at = at.index(bytes.len() + 1);
            match kind {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes.splice(at..=at, [byte]).for_each(drop),
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        bytes
    })
}

/// What the peek must say about a body that `serde_json` has read whole.
fn check_against(body: &Value, found: &firstlight::azure::peek::Peek<'_>) {
    assert_eq!(body["model"].as_str(), found.model.as_deref());
    assert_eq!(body["stream"].as_bool().unwrap_or(false), found.stream);
    assert_eq!(body["store"].as_bool(), found.store);
    assert_eq!(body["background"].as_bool(), found.background);
    assert_eq!(!body["conversation"].is_null(), found.conversation);
    let tools = &body["tools"];
    let none = tools.is_null() || tools.as_array().is_some_and(Vec::is_empty);
    assert!(none || !found.tools.may_repeat(&[]), "no type here is known to be harmless: {tools}");
    let hidden = ["prompt", "agent", "agent_reference"].iter().any(|key| body[key].is_object());
    assert_eq!(none && !hidden, found.tools.may_repeat(&[]), "{body}");
    let limits = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
    let limit = limits.iter().filter_map(|key| body[key].as_u64()).max();
    // A member that stands there twice counts with its largest value, here with its last.
    assert!(found.max_tokens >= limit);
    let efforts = [&body["reasoning_effort"], &body["reasoning"]["effort"]];
    let labels = efforts.into_iter().filter_map(Value::as_str);
    let labels: Vec<_> = labels.map(|word| if word == "high" { word } else { "other" }).collect();
    assert_eq!(labels.is_empty(), found.effort.is_none());
    assert!(found.effort.is_none_or(|effort| labels.contains(&effort.label())));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What we take, every strict reader takes; what we refuse as JSON, no strict reader takes.
    #[test]
    fn bodies_are_taken_as_serde_json_takes_them(bytes in damaged()) {
        let value = serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object);
        match peek(&bytes) {
            Ok(found) => {
                prop_assert!(std::str::from_utf8(&bytes).is_ok());
                prop_assert!(serde_json::from_slice::<IgnoredAny>(&bytes).is_ok());
                if let Some(value) = value {
                    check_against(&value, &found);
                }
            }
            Err(PeekError::BadJson { offset, .. }) => {
                prop_assert_eq!(value, None);
                prop_assert!(offset <= bytes.len());
            }
            Err(PeekError::WrongType { key, .. }) => {
                let is_right = |value: &Value| match key {
                    "model" => value.is_string(),
                    "background" => value.is_boolean() || value.is_string(),
                    _ => value.is_boolean(),
                };
                // A later member of the same name may have the right type; then it is given twice.
                let single = String::from_utf8_lossy(&bytes).matches(key).count() == 1;
                prop_assert!(!single || value.is_none_or(|value| !is_right(&value[key])));
            }
            Err(PeekError::Duplicate(_)) => {}
        }
    }

    #[test]
    fn a_second_member_that_decides_is_always_refused(
        object in object(), key in select(&DECIDING[..]), first in any::<bool>(),
    ) {
        let value = if key == "model" { Value::from("m") } else { Value::from(true) };
        let mut members = object;
        members[key] = value.clone();
        for other in DECIDING {
            if other != key { members[other] = Value::Null; }
        }
        let (escaped, rest) = key.split_at(1);
        let escaped = format!("\"\\u{:04x}{rest}\":{value}", u32::from(escaped.as_bytes()[0]));
        let text = members.to_string();
        let inner = text.trim_start_matches('{').strip_suffix('}').unwrap();
        let body = if first { format!("{{{escaped},{inner}}}") } else { format!("{{{inner},{escaped}}}") };
        prop_assert_eq!(peek(body.as_bytes()).err(), Some(PeekError::Duplicate(key)));
    }

    #[test]
    fn only_the_model_changes(object in object(), old in text(), new in text()) {
        let mut object = object;
        for key in DECIDING { object[key] = Value::Null; }
        object["model"] = Value::from(old);
        let body = bytes::Bytes::from(object.to_string());
        let edit = Edit::of_model(peek(&body).unwrap().model_span.unwrap(), &new);
        let changed = apply(&body, &[edit]).concat();
        object["model"] = Value::from(new);
        prop_assert_eq!(serde_json::from_slice::<Value>(&changed).unwrap(), object);
    }
}

// ---- Streams ----

const FILTER: &str = r#"{"choices":[],"created":0,"id":"","prompt_filter_results":[{"content_filter_results":{"hate":{"filtered":false}}}]}"#;
const ROLE: &str = r#"{"choices":[{"delta":{"content":"","refusal":null,"role":"assistant"},"finish_reason":null}],"usage":null}"#;
const TOKEN: &str = r#"{"choices":[{"delta":{"content":"Grüße \"usage\":{} 😀"},"finish_reason":null}],"obfuscation":"aB","usage":null}"#;
const STOP: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop","index":0}],"usage":null}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"completion_tokens":7,"prompt_tokens":11,"prompt_tokens_details":{"cached_tokens":3}}}"#;
const LIMITED: &str = r#"{"error":{"code":"429","message":"Please retry after 10 seconds."}}"#;
const PIECES: [&str; 18] = [
    FILTER,
    ROLE,
    TOKEN,
    STOP,
    USAGE,
    LIMITED,
    "[DONE]",
    "\u{feff}",
    "data",
    ":",
    " ",
    "event: error",
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    "\r\n\r\n",
    ": keep-alive",
];

/// Streams as Azure sends them, and streams made of the same pieces in any order.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let event = select(&[FILTER, ROLE, TOKEN, STOP, USAGE, LIMITED, "[DONE]"][..]);
    let end = select(&["\n", "\r", "\r\n"][..]);
    let regular = (vec(event, 0..8), end, any::<bool>()).prop_map(|(events, end, mark)| {
        let lines = events.iter().map(|data| {
            format!("data: {}{end}{end}", data.replace(",\"", &format!(",{end}data:\"")))
        });
        (if mark { "\u{feff}" } else { "" }).to_owned() + &lines.collect::<String>()
    });
    let wild = vec(select(&PIECES[..]), 0..40).prop_map(|pieces| pieces.concat());
    prop_oneof![regular, wild].prop_map(String::into_bytes)
}

/// A stream with one event for each of `data`.
fn events_of<'a>(data: impl IntoIterator<Item = &'a str>) -> String {
    data.into_iter().flat_map(|data| ["data: ", data, "\n\n"]).collect()
}

/// The bytes in pieces; empty pieces are possible too.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    let piece = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
    places.iter().zip(places.iter().skip(1)).map(|(from, to)| piece(*from, *to)).collect()
}

/// All that a scanner tells about a stream, with the end of the first token's event counted from its start.
fn watch(chunks: &[&[u8]]) -> (Seen, Option<usize>, Option<Usage>, bool) {
    watch_of(Operation::ChatCompletions, chunks)
}

fn watch_of(operation: Operation, chunks: &[&[u8]]) -> (Seen, Option<usize>, Option<Usage>, bool) {
    let mut scanner = Scanner::new(operation);
    let mut before = 0;
    let mut first_token_end = None;
    for chunk in chunks {
        let seen = scanner.scan(chunk);
        first_token_end = first_token_end.or_else(|| seen.first_token_end.map(|end| before + end));
        before += chunk.len();
    }
    (scanner.finish(), first_token_end, scanner.usage(), scanner.finished())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_means_the_same_however_it_is_cut(bytes in stream(), cuts in vec(any::<Index>(), 0..30)) {
        let whole = watch(&[&bytes]);
        prop_assert_eq!(watch(&cut(&bytes, &cuts)), whole);
        prop_assert_eq!(watch(&bytes.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn a_regular_stream_is_understood(
        before in vec(select(&[FILTER, ROLE][..]), 0..4), tokens in 1..5_usize, cuts in vec(any::<Index>(), 0..9),
    ) {
        let events = before.iter().copied().chain(std::iter::repeat_n(TOKEN, tokens)).chain([STOP, USAGE, "[DONE]"]);
        let text = events_of(events);
        let (seen, first_token_end, usage, _) = watch(&cut(text.as_bytes(), &cuts));
        prop_assert!(seen.first_token && seen.done && seen.error.is_none());
        prop_assert_eq!(usize::try_from(seen.content_events), Ok(tokens));
        prop_assert_eq!(first_token_end, text.find(TOKEN).map(|at| at + TOKEN.len() + 2));
        let expected = Usage { prompt: Some(11), completion: Some(7), cached: Some(3), reasoning: None, audio: None };
        prop_assert_eq!(usage, Some(expected));
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..300), cuts in vec(any::<Index>(), 0..9)) {
        prop_assert_eq!(watch(&cut(&bytes, &cuts)), watch(&[&bytes]));
        prop_assert_eq!(usage::collect(&cut(&bytes, &cuts)), usage::collect(&[&bytes]));
        let _code = error_code(&bytes);
        let _peek = peek(&bytes);
    }
}

// ---- Targets and waits ----

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What goes upstream is plain, and means the same to a second proxy of our kind.
    #[test]
    fn a_target_that_is_served_is_rebuilt_plainly(
        deployment in "[A-Za-z0-9._%-]{1,12}", operation in "(chat/)?completions|embeddings|x", query in "[a-z0-9=&%?/-]{0,20}",
    ) {
        let target = format!("/openai/deployments/{deployment}/{operation}?api-version=2024-10-21&{query}");
        if let Ok(found) = route(&Method::POST, &target, &[]) {
            let upstream = found.upstream_path_and_query("on-backend");
            prop_assert!(upstream.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/?=-._".contains(&byte)));
            let again = route(&Method::POST, &upstream, &[]).unwrap();
            prop_assert_eq!((again.operation, again.query), (found.operation, found.query));
        }
    }

    #[test]
    fn any_target_is_survived(target in "[/a-z.%0-9#?&=\\\\é -]{0,40}|\\PC{0,40}") {
        let _route = route(&Method::POST, &target, &[]);
    }

    #[test]
    fn a_wait_is_at_most_a_day(seconds in "[0-9.eE+-]{0,25}|\\PC{0,10}", now in any::<u64>()) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&seconds) {
            headers.insert("retry-after", value.clone());
            headers.insert("retry-after-ms", value);
        }
        prop_assert!(retry_after(&headers, now).is_none_or(|wait| wait <= Duration::from_hours(24)));
    }
}

// ---- Cost ----

#[test]
fn a_relayed_chunk_costs_no_allocation() {
    let text = events_of([ROLE, TOKEN, STOP, TOKEN]);
    let mut scanner = Scanner::new(Operation::ChatCompletions);
    // The buffers grow to the size of an event once.
    text.as_bytes().chunks(7).for_each(|chunk| assert!(!scanner.scan(chunk).done));
    let before = allocations::of_this_thread();
    for size in [1, 7, 64, 1_000, text.len()] {
        for chunk in text.as_bytes().chunks(size) {
            assert!(scanner.scan(chunk).first_token);
        }
    }
    assert_eq!(allocations::of_this_thread() - before, 0);
}

#[test]
fn waiting_for_the_first_token_costs_no_allocation() {
    let text = events_of([FILTER, ROLE, STOP]);
    let mut scanner = Scanner::new(Operation::ChatCompletions);
    text.as_bytes().chunks(7).for_each(|chunk| assert!(!scanner.scan(chunk).first_token));
    let before = allocations::of_this_thread();
    text.as_bytes().chunks(7).for_each(|chunk| assert!(!scanner.scan(chunk).first_token));
    assert_eq!(allocations::of_this_thread() - before, 0);
}

#[test]
fn a_peek_costs_no_allocation() {
    let body = br#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"store":false,
        "background":false,"reasoning_effort":"low","reasoning":{"effort":"high"},"max_tokens":800,"n":2,
        "messages":[{"content":[{"type":"text","text":"Hi \n"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]}"#;
    let before = allocations::of_this_thread();
    assert!(peek(body).is_ok());
    assert_eq!(allocations::of_this_thread() - before, 0);
}

/// Counts the allocations of each thread of this test binary.
mod allocations {
    use std::alloc::GlobalAlloc;
    use std::alloc::Layout;
    use std::alloc::System;
    use std::cell::Cell;

    thread_local! {
        // Without a destructor, so that it can be counted in while a thread ends.
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }

    #[global_allocator]
    static COUNTING: Counting = Counting;

    struct Counting;

    pub(super) fn of_this_thread() -> u64 {
        COUNT.get()
    }

    #[expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one only counts")]
    // SAFETY: every call goes to the system's allocator unchanged; growing goes through `alloc` by default.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            COUNT.set(COUNT.get() + 1);
            // SAFETY: the caller's promises are passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: the pointer came from the same allocator, with this layout.
            unsafe { System.dealloc(pointer, layout) }
        }
    }
}
