//! What Firstlight adds to every request and every chunk, one function at a time.
//!
//! ```text
//! cargo bench --bench hot_path              # all figures
//! cargo bench --bench hot_path -- pick      # one group
//! cargo test  --bench hot_path              # each function once, to see that it still runs
//! ```
//!
//! Groups, in the order of a request: `keys` and `token` (who asks), `peek` (what for), `pick` (choosing a target) and
//! `lease` (the whole of what routing does for one attempt), `observe` (what one first token teaches),
//! `stream` (each chunk on its way back). Each function says what its figure means, and its bar if there is
//! one. Figures of different machines, or of one machine on different days, say little beside each other;
//! that is why a body peek stands beside `serde_json` and two threads beside one.
//!
//! Not measured here: sockets, and everything that Pingora does. That is the `wire` bench's part.
#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up must stop: a figure of nothing would look good"
)]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use firstlight::auth::keys::{KeyRing, ListedKey};
use firstlight::auth::verifier::Verifier;
use firstlight::azure::peek::peek;
use firstlight::azure::route::Operation;
use firstlight::azure::sse::Scanner;
use firstlight::clock::Clock;
use firstlight::rng::Rng;
use firstlight::routing::{Ask, Lease, Policy, Pool, RetryBudget, Settings, TargetSpec, Used};
use firstlight::time::Time;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Duration;

#[path = "../tests/it/support/tokens.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod tokens;

use tokens::SIGNER;

/// The allocator of the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A pair, a service on every continent, and far more than anybody has.
const POOL_SIZES: [usize; 3] = [3, 50, 1000];

/// When everything happens, unless time has to pass: late enough for scores to have been learned before.
const NOW: Time = Time::from_nanos(60_000_000_000);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    keys(&mut criterion);
    token(&mut criterion);
    peeks(&mut criterion);
    picks(&mut criterion);
    leases(&mut criterion);
    observe(&mut criterion);
    streams(&mut criterion);
    criterion.final_summary();
}

/// Finding whose key a request has. Nearly all of it is one SHA-256; every entry is compared, so the place of
/// the key in the list must not matter.
fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keys");
    for count in [3_usize, 100] {
        let hashes: Vec<(String, String)> =
            (0..count).map(|n| (format!("app-{n}"), hex::encode(Sha256::digest(key(n))))).collect();
        let listed = hashes.iter().map(|(app, sha256)| ListedKey {
            app,
            name: "2026-11",
            sha256,
            expires: None,
        });
        let ring = KeyRing::new(listed).unwrap();
        for (which, presented) in
            [("first", key(0)), ("last", key(count - 1)), ("none", key(count))]
        {
            group.bench_function(BenchmarkId::new(which, count), |b| {
                b.iter(|| ring.find(black_box(presented.as_bytes()), 0).is_ok());
            });
        }
    }
    group.finish();
}

fn key(n: usize) -> String {
    format!("{n:043}")
}

/// Verifying an access token of Entra ID, of the size that they have. `cached` is nearly every request, and all
/// of it is one SHA-256 of the token; bar: 2 us. `uncached` is the first request with a token, and most of it is
/// the RSA signature; bar: 100 us.
fn token(criterion: &mut Criterion) {
    let token = SIGNER.sign(&tokens::header(), &tokens::with(&tokens::v2_claims(), &padding()));
    let keys = Arc::new(tokens::keys_of(&[&SIGNER]));
    let verifier = || Verifier::new(vec![tokens::grant()], vec![tokens::issuer_of(tokens::TENANT)]);
    let check = |verifier: &Verifier, token: &str| {
        verifier.check(token, tokens::NOW, |_| Some(Arc::clone(&keys))).is_ok()
    };
    let mut group = criterion.benchmark_group("token");
    let warm = verifier();
    assert!(check(&warm, &token));
    group.bench_function("cached", |b| b.iter(|| check(&warm, black_box(&token))));
    group.bench_function("uncached", |b| {
        b.iter_batched_ref(verifier, |cold| check(cold, black_box(&token)), BatchSize::SmallInput);
    });
    group.finish();
}

/// What makes a token of 1.5 KB: Entra's have some claims more than are needed here.
fn padding() -> serde_json::Value {
    serde_json::json!({ "aio": "x".repeat(400) })
}

/// Reading what routing needs out of a request body, beside the plainest `serde_json` that finds the same.
/// Ours checks more (UTF-8 first, members that stand twice) and also estimates the prompt. `plain` is English
/// text; in `escaped` six of sixteen characters are escapes, as source code has them, and Chinese from a client
/// that writes ASCII only.
fn peeks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peek");
    for (size, bytes) in [("2 KB", 2_000), ("100 KB", 100_000), ("1 MB", 1_000_000)] {
        let plain = body("The quick brown fox jumps over the lazy dog. ", bytes);
        let escaped = body(r#"if a == \"\u6f22\u5b57\" {\n\t"#, bytes);
        for (kind, body) in [("plain", plain), ("escaped", escaped)] {
            group.throughput(Throughput::Bytes(u64::try_from(body.len()).unwrap_or(u64::MAX)));
            group.bench_function(BenchmarkId::new(format!("ours {kind}"), size), |b| {
                b.iter(|| peek(black_box(&body)).is_ok_and(|peek| peek.stream));
            });
            group.bench_function(BenchmarkId::new(format!("serde_json {kind}"), size), |b| {
                b.iter(|| with_serde(black_box(&body)));
            });
        }
    }
    group.finish();
}

/// A chat request of about `bytes` bytes; the text is JSON already.
fn body(text: &str, bytes: usize) -> Vec<u8> {
    let prompt = text.repeat(bytes / text.len());
    let body = format!(
        r#"{{"messages":[{{"role":"system","content":"Be brief."}},{{"role":"user","content":"{prompt}"}}],"model":"gpt-4o","stream":true,"stream_options":{{"include_usage":true}},"temperature":0.2}}"#
    );
    body.into_bytes()
}

fn with_serde(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Plain<'a> {
        #[serde(borrow)]
        model: Option<Cow<'a, str>>,
        stream: Option<bool>,
        store: Option<bool>,
        stream_options: Option<Options>,
    }
    #[derive(Deserialize)]
    struct Options {
        include_usage: Option<bool>,
    }
    serde_json::from_slice::<Plain<'_>>(body).is_ok_and(|plain| {
        let usage = plain.stream_options.and_then(|options| options.include_usage);
        black_box((&plain.model, plain.store, usage));
        plain.stream == Some(true)
    })
}

const POLICIES: [Policy; 3] = [Policy::Lookout, Policy::Ema, Policy::RoundRobin];

/// Choosing one target, nothing else, while a second thread does the same. Bar: `lookout` below 200 ns at 3
/// and at 1,000 targets. `ema` looks at every target, so it grows with the pool; `round_robin` does too, under
/// a lock.
fn picks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for policy in POLICIES {
        for (size, threads) in POOL_SIZES.into_iter().flat_map(|size| [(size, 1), (size, 2)]) {
            let pool = pool(policy, size);
            let name = format!("{} {threads} threads", word(policy));
            let pick = |rng: &mut Rng| {
                black_box(pool.pick(&Used::default(), black_box(NOW), rng).is_ok());
            };
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter_custom(|iterations| contend(pick, threads, iterations));
            });
        }
    }
    group.finish();
}

/// All that routing does for one attempt: pick, dispatch, first token. With two threads the figure is what
/// each of them waits for one cycle while the other does the same on the same pool.
fn leases(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lease");
    for policy in POLICIES {
        for (size, threads) in POOL_SIZES.into_iter().flat_map(|size| [(size, 1), (size, 2)]) {
            let pool = pool(policy, size);
            let name = format!("{} {threads} threads", word(policy));
            let one = |rng: &mut Rng| cycle(&pool, rng);
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter_custom(|iterations| contend(one, threads, iterations));
            });
        }
    }
    group.finish();
}

/// Runs `iterations` of something on this thread, and as many on a second one if two are wanted; the slower
/// one's time.
fn contend(act: impl Fn(&mut Rng) + Sync, threads: usize, iterations: u64) -> Duration {
    let (clock, start) = (Clock::start(), Barrier::new(threads));
    let run = |seed| {
        let mut rng = Rng::from_seed(seed);
        start.wait();
        let began = clock.now();
        for _ in 0..iterations {
            act(&mut rng);
        }
        clock.now().since(began)
    };
    std::thread::scope(|scope| {
        let other = (threads > 1).then(|| scope.spawn(|| run(1)));
        let own = run(0);
        other.map_or(own, |thread| own.max(thread.join().unwrap()))
    })
}

fn ask() -> Ask {
    Ask { request: 1, prompt_tokens: 700, tokens: 700, ..Ask::default() }
}

fn cycle(pool: &Arc<Pool>, rng: &mut Rng) {
    let picked = pool.pick(&Used::default(), NOW, rng).unwrap();
    let lease = pool.dispatch(picked.target, ask(), NOW).unwrap();
    black_box(lease.first_token(NOW + ttft(rng)));
}

/// What one first token costs: the score, the strikes, and the mirrors that picks read.
fn observe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("observe");
    let pool = pool(Policy::Lookout, 3);
    let mut rng = Rng::from_seed(1);
    group.bench_function("first_token", |b| {
        let dispatched = || {
            let lease = pool.dispatch(0, ask(), NOW).unwrap();
            (lease, NOW + ttft(&mut rng))
        };
        let taught = |(lease, at): (Lease, Time)| lease.first_token(at);
        b.iter_batched(dispatched, taught, BatchSize::SmallInput);
    });
    group.finish();
}

/// A pool that has learned: each target has a score of its own.
fn pool(policy: Policy, size: usize) -> Arc<Pool> {
    let settings = match policy {
        Policy::Lookout => Settings::lookout(),
        Policy::Ema => Settings::ema(),
        Policy::RoundRobin => Settings::round_robin(),
    };
    let spec = |n| TargetSpec {
        backend: format!("backend-{n}"),
        deployment: "gpt-4o".to_owned(),
        tier: 1,
        weight: 1,
        max_in_flight: None,
    };
    let specs = (0..size).map(spec).collect();
    let pool = Arc::new(Pool::new(settings, specs, RetryBudget::new(0.1, 10), None));
    let mut rng = Rng::from_seed(2);
    for target in (0..size).chain(0..60.min(size * 20)).map(|n| n % size) {
        let lease = pool.dispatch(target, ask(), Time::ZERO).unwrap();
        assert_eq!(lease.first_token(Time::ZERO + ttft(&mut rng)), None, "a healthy answer");
    }
    pool.tick(NOW);
    pool
}

/// A healthy time to first token, drawn in next to no time: this is part of what is measured.
fn ttft(rng: &mut Rng) -> Duration {
    Duration::from_nanos(900_000_000 + rng.bits() % 200_000_000)
}

fn word(policy: Policy) -> &'static str {
    match policy {
        Policy::Lookout => "lookout",
        Policy::Ema => "ema",
        Policy::RoundRobin => "round_robin",
    }
}

/// Watching a stream pass. `before the first token` is the whole beginning of a stream with a new scanner:
/// the filter's, the role's and the first content chunk, each read as JSON. `content chunk` is what every
/// later chunk costs, without an allocation; `usage chunk` comes once, at the end. Bar, for the proxy as a
/// whole: at most 15 % on top of Pingora's 33 us per chunk, of which this is one part.
fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream");
    group.bench_function("before the first token", |b| {
        let beginning = |mut scanner: Scanner| {
            scanner.scan(black_box(FILTER));
            scanner.scan(black_box(ROLE));
            (scanner.scan(black_box(CONTENT)).first_token, scanner)
        };
        b.iter_batched(
            || Scanner::new(Operation::ChatCompletions),
            beginning,
            BatchSize::SmallInput,
        );
    });
    for (name, chunk) in [("content chunk", CONTENT), ("usage chunk", USAGE)] {
        let mut scanner = Scanner::new(Operation::ChatCompletions);
        scanner.scan(CONTENT);
        group.bench_function(name, |b| b.iter(|| scanner.scan(black_box(chunk)).done));
    }
    group.finish();
}

/// Events as Azure sends them, each in a chunk of its own.
const FILTER: &[u8] = br#"data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":false,"detected":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}}]}

"#;
const ROLE: &[u8] = br#"data: {"choices":[{"content_filter_results":{},"delta":{"content":"","refusal":null,"role":"assistant"},"finish_reason":null,"index":0,"logprobs":null}],"created":1763700000,"id":"chatcmpl-CeGkbcXk2W0v3QWk9mQ1T0p7bXh2P","model":"gpt-4o-2024-11-20","object":"chat.completion.chunk","system_fingerprint":"fp_b705f0c291"}

"#;
const CONTENT: &[u8] = br#"data: {"choices":[{"content_filter_results":{},"delta":{"content":" light"},"finish_reason":null,"index":0,"logprobs":null}],"created":1763700000,"id":"chatcmpl-CeGkbcXk2W0v3QWk9mQ1T0p7bXh2P","model":"gpt-4o-2024-11-20","object":"chat.completion.chunk","system_fingerprint":"fp_b705f0c291","usage":null}

"#;
const USAGE: &[u8] = br#"data: {"choices":[],"created":1763700000,"id":"chatcmpl-CeGkbcXk2W0v3QWk9mQ1T0p7bXh2P","model":"gpt-4o-2024-11-20","object":"chat.completion.chunk","system_fingerprint":"fp_b705f0c291","usage":{"completion_tokens":120,"completion_tokens_details":{"accepted_prediction_tokens":0,"audio_tokens":0,"reasoning_tokens":0,"rejected_prediction_tokens":0},"prompt_tokens":1500,"prompt_tokens_details":{"audio_tokens":0,"cached_tokens":1024},"total_tokens":1620}}

"#;
