//! Properties of what is read of usage, asked for it, and taken out again.

use super::{FILTER, ROLE, STOP, TOKEN, USAGE, cut, events_of, object};
use bytes::Bytes;
use firstlight::azure::edit::{Edit, apply};
use firstlight::azure::peek::peek;
use firstlight::azure::unasked::Unasked;
use firstlight::azure::usage::Collector;
use firstlight::azure::usage::Usage;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::sample::select;
use serde_json::Value;

pub(super) fn collect(chunks: &[&[u8]]) -> Option<Usage> {
    let mut collector = Collector::default();
    for chunk in chunks {
        collector.push(chunk);
    }
    collector.usage()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn usage_is_found_wherever_it_stands(
        object in object(), prompt in any::<Option<u64>>(), pretty in any::<bool>(), cuts in vec(any::<Index>(), 0..20),
    ) {
        let mut object = object;
        object["usage"] = serde_json::json!({ "prompt_tokens": prompt, "x": [{ "usage": {} }] });
        let text = if pretty { format!("{object:#}") } else { object.to_string() };
        let expected = Some(Usage { prompt, ..Usage::default() });
        prop_assert_eq!(collect(&[text.as_bytes()]), expected);
        prop_assert_eq!(collect(&cut(text.as_bytes(), &cuts)), expected);
    }

    #[test]
    fn no_usage_is_found_where_none_is(object in object()) {
        let mut object = object;
        object["usage"] = Value::Null;
        prop_assert_eq!(collect(&[object.to_string().as_bytes()]), None);
    }
}

// ---- Asking for it ----

/// Bodies of streamed requests that say something of their options, or nothing.
fn asks() -> impl Strategy<Value = String> {
    let options = select(
        &[
            "",
            r#""stream_options":{},"#,
            r#""stream_options": { "include_usage" : false },"#,
            r#""stream_options":{"include_obfuscation":true,"include_usage":null} ,"#,
            r#""stream_options":{"include_usage":true},"#,
            r#""stream_options":null,"#,
            r#""stream_options":{},"stream_options":{},"#,
            r#""stream_\u006fptions":{"x":1},"#,
        ][..],
    );
    (object(), options, any::<bool>(), "[ \n]{0,3}").prop_map(|(object, options, pretty, space)| {
        let mut object = object;
        for key in ["stream", "store", "background", "stream_options"] {
            object.as_object_mut().unwrap().remove(key);
        }
        object["model"] = Value::from("gpt-4o");
        let text = if pretty { format!("{object:#}") } else { object.to_string() };
        text.replacen('{', &format!("{space}{{{space}{options}\"stream\":true,"), 1)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Without what was written, a body is what it was; with it, it asks, and nothing else is different.
    #[test]
    fn a_body_is_made_to_ask_and_nothing_else_of_it_changes(body in asks(), deployment in "[a-z\"é]{1,9}") {
        let body = Bytes::from(body);
        let seen = peek(&body).unwrap();
        let Some(edit) = seen.usage_edit.clone() else {
            let twice = String::from_utf8_lossy(&body).contains("\"stream_options\":{},\"stream_options\"");
            let null = String::from_utf8_lossy(&body).contains("\"stream_options\":null");
            prop_assert!(seen.include_usage || twice || null);
            return Ok(());
        };
        let asked = Bytes::from(apply(&body, std::slice::from_ref(&edit)).concat());
        let old = body.slice(edit.span.clone());
        let back = Edit {
            span: edit.span.start..edit.span.start + edit.text.len(),
            text: String::from_utf8(old.to_vec()).unwrap().into(),
        };
        prop_assert_eq!(apply(&asked, &[back]).concat(), &body[..]);
        prop_assert!(peek(&asked).unwrap().include_usage);
        let mut expected: Value = serde_json::from_slice(&body).unwrap();
        expected["stream_options"]["include_usage"] = Value::from(true);
        prop_assert_eq!(&serde_json::from_slice::<Value>(&asked).unwrap(), &expected);
        let model = Edit::of_model(seen.model_span.unwrap(), &deployment);
        let both = apply(&body, &[model, edit]).concat();
        expected["model"] = Value::from(deployment);
        prop_assert_eq!(serde_json::from_slice::<Value>(&both).unwrap(), expected);
    }
}

// ---- Taking it out ----

fn pass(chunks: &[&[u8]]) -> Vec<u8> {
    let mut unasked = Unasked::default();
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend(unasked.pass(&Bytes::copy_from_slice(chunk)));
    }
    out.extend(unasked.finish());
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_the_usage_is_taken_out(
        events in vec(select(&[FILTER, ROLE, TOKEN, STOP, USAGE, "[DONE]"][..]), 0..9), cuts in vec(any::<Index>(), 0..20),
    ) {
        let text = events_of(events.iter().copied());
        let expected = events_of(events.iter().copied().filter(|event| *event != USAGE));
        let out = pass(&cut(text.as_bytes(), &cuts));
        prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_stream_is_passed_the_same_however_it_is_cut(bytes in super::stream(), cuts in vec(any::<Index>(), 0..30)) {
        let whole = pass(&[&bytes]);
        prop_assert_eq!(&pass(&cut(&bytes, &cuts)), &whole);
        prop_assert_eq!(pass(&bytes.chunks(1).collect::<Vec<_>>()), whole);
    }
}
