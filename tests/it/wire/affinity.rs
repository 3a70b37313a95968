//! Prompt-cache affinity over the wire: what the backends say was cached.

use crate::support::{Setup, V1_CHAT, World};
use serde_json::{Value, json};

const CONVERSATIONS: usize = 30;
const TURNS: usize = 4;

#[expect(clippy::fn_params_excessive_bools, reason = "with a key of its own or without")]
fn turn(conversation: usize, turn: usize, named: bool) -> Value {
    let prompt = format!("{conversation} {}", "once upon a time ".repeat(400));
    let mut body = json!({"model": "gpt-4o", "messages": [
        {"role": "system", "content": prompt},
        {"role": "user", "content": format!("turn {turn}")},
    ]});
    if named {
        body["prompt_cache_key"] = json!(format!("conversation-{conversation}"));
    }
    body
}

/// The share of the turns whose prompt was cached where it was sent, and the backends that served any.
#[expect(clippy::fn_params_excessive_bools, reason = "with a key of its own or without")]
async fn cached(affinity: &'static str, named: bool) -> (f64, usize) {
    let setup = Setup { first_preferred: false, more: affinity, ..Setup::default() };
    let world = World::of(setup).await;
    let (mut hits, mut all) = (0, 0);
    for n in 0..TURNS {
        for conversation in 0..CONVERSATIONS {
            let answer = world.post(V1_CHAT, &turn(conversation, n, named)).await;
            assert_eq!(answer.status, 200);
            let usage = &answer.json()["usage"];
            let tokens = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
            hits += u32::from(tokens >= 1_024);
            all += 1;
        }
    }
    let served = ["a", "b", "c"].into_iter().filter(|region| world.requests(region) > 0).count();
    (f64::from(hits) / f64::from(all), served)
}

const ON: &str = "routing: { probe: { interval_seconds: 0 } }";
const OFF: &str = "routing: { probe: { interval_seconds: 0 }, affinity: { enabled: false } }";

/// Each conversation's first turn is cached nowhere; all others can be. Scattered over three backends a turn
/// finds its conversation there with 1/3, 5/9 and 19/27: with that first one four in ten.
#[tokio::test(flavor = "multi_thread")]
async fn conversations_stay_where_they_are_cached() {
    for named in [true, false] {
        let ((with, served), (without, _)) = (cached(ON, named).await, cached(OFF, named).await);
        assert!(with >= 0.7, "{with}, of 0.75 that can be");
        assert!(without < 0.55, "{without}");
        assert_eq!(served, 3, "not all in one place");
    }
}
