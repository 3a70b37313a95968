//! Raw backends that keep limits of their own, and what reaches them: a size that never fits, and a bucket of
//! requests that fills at an even rate.

use super::{ALL, setup};
use crate::support::{Answer, KEY, PROBE_KEY, V1_CHAT, World, chat};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const TOO_LARGE: &str = r#"{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 60 seconds."}}"#;
const TOO_MANY: &str = r#"{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 30 seconds."}}"#;
const GOOD: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;

/// Requests that a backend may serve.
struct Bucket {
    rate: f64,
    most: f64,
    level: f64,
    began: Instant,
    at: Instant,
    served: u32,
    refused: u32,
}

impl Bucket {
    fn new(rate: f64, most: f64) -> Self {
        let at = Instant::now();
        Self { rate, most, level: most, began: at, at, served: 0, refused: 0 }
    }

    fn take(&mut self, at: Instant) -> bool {
        self.level = self.most.min(self.level + self.rate * (at - self.at).as_secs_f64());
        self.at = at;
        let fits = self.level >= 1.0;
        self.level -= if fits { 1.0 } else { 0.0 };
        self.served += u32::from(fits);
        self.refused += u32::from(!fits);
        fits
    }

    /// What it could have served by then.
    fn possible(&self, at: Instant) -> f64 {
        self.most + self.rate * (at - self.began).as_secs_f64()
    }
}

/// A backend with a limit.
#[derive(Clone)]
struct Limited(Arc<Mutex<Bucket>>);

impl Limited {
    async fn listen(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(self.clone().serve(socket));
            }
        });
        address
    }

    async fn serve(self, mut socket: TcpStream) {
        let Some(body) = request(&mut socket).await else { return };
        let large = body["max_tokens"].as_u64() > Some(50_000);
        let (status, headers, said) = if large {
            self.0.lock().unwrap().refused += 1;
            ("429 Too Many Requests", "retry-after: 60\r\n", TOO_LARGE)
        } else if self.0.lock().unwrap().take(Instant::now()) {
            ("200 OK", "", GOOD)
        } else {
            ("429 Too Many Requests", "retry-after: 30\r\n", TOO_MANY)
        };
        let length = said.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\
             connection: close\r\n\r\n{said}"
        );
        socket.write_all(answer.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
    }
}

/// Reads one request; its body, unless the other side closed before.
async fn request(socket: &mut TcpStream) -> Option<Value> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            return Some(body);
        }
        if socket.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

/// A world of such backends, and a token limit for the app of [`KEY`].
async fn limited(rate: f64, most: f64, limits: &str) -> (World, [Limited; 3]) {
    let world = World::of(setup()).await;
    let mut yaml = world.yaml.clone();
    let backends = [(); 3].map(|()| Limited(Arc::new(Mutex::new(Bucket::new(rate, most)))));
    for (region, backend) in ALL.iter().zip(&backends) {
        let mock = format!("http://{}\", tier: 1", world.mock.address(region).unwrap());
        let mock = if yaml.contains(&mock) { mock } else { mock.replace("tier: 1", "tier: 0") };
        assert!(yaml.contains(&mock), "{yaml}");
        let raw = format!("http://{}\", tier: 1", backend.clone().listen().await);
        yaml = yaml.replace(&mock, &raw);
    }
    let models = "    models: [gpt-4o, text-embedding-3-large]\n";
    assert!(yaml.contains(models), "{yaml}");
    yaml = yaml.replace(models, &format!("{models}{limits}"));
    // A response takes a millisecond here: by chance one is late, and its race would be counted as a request.
    let probing = "routing: { probe: { interval_seconds: 0 } }";
    assert!(yaml.contains(probing), "{yaml}");
    let unraced = "routing: { probe: { interval_seconds: 0 }, hedge: { enabled: false } }";
    yaml = yaml.replace(probing, unraced);
    world.reload(&yaml).await.unwrap();
    (world, backends)
}

async fn ask(world: &World, key: &str, max_tokens: u64) -> Answer {
    let mut body = chat();
    body["max_tokens"] = json!(max_tokens);
    let request = world.client.post(world.url(V1_CHAT)).header("api-key", key);
    Answer::read(request.json(&body).send().await.unwrap()).await
}

fn counted(backends: &[Limited; 3]) -> (u32, u32) {
    let one = |backend: &Limited| {
        let bucket = backend.0.lock().unwrap();
        (bucket.served, bucket.refused)
    };
    backends.iter().map(one).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

async fn tokens_left(world: &World) -> i64 {
    let series = "firstlight_quota_remaining{app=\"tests\",what=\"tokens\"}";
    world.metric(series).await.parse().unwrap()
}

const TOKENS: &str = "    limits: { tokens_per_minute: 200000 }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fits_nowhere_refuses_nobody_else_and_is_charged() {
    let (world, backends) = limited(1e6, 1e6, TOKENS).await;
    let answer = ask(&world, KEY, 90_000).await;
    assert_eq!((answer.status, &*answer.error_code()), (429, "rate_limit_exceeded"));
    let told: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((59..=76).contains(&told), "{told}");
    assert_eq!(counted(&backends), (0, 3));
    world.log_line(answer.request_id()).await;
    let left = tokens_left(&world).await;
    assert!(left < 150_000, "it has its estimate from its app's limit: {left}");
    for n in 0..100 {
        let key = if n % 2 == 0 { KEY } else { PROBE_KEY };
        let answer = ask(&world, key, 100).await;
        assert_eq!((answer.status, answer.attempts()), (200, Some(1)), "{}", answer.text());
    }
    assert_eq!(counted(&backends), (100, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_anything_but_its_size_costs_nothing() {
    let (world, backends) = limited(0.0, 0.0, TOKENS).await;
    for _ in 0..3 {
        let answer = ask(&world, KEY, 40_000).await;
        assert_eq!(answer.status, 429);
        world.log_line(answer.request_id()).await;
    }
    assert_eq!(tokens_left(&world).await, 200_000);
    assert!(counted(&backends).1 >= 3);
}

/// Half as much again as they can serve: they serve most of what they can, though each 429 asks for half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn an_overload_is_served_as_far_as_the_backends_can() {
    let (world, backends) = limited(20.0, 5.0, "").await;
    let world = Arc::new(world);
    let mut pace = tokio::time::interval(Duration::from_secs(1) / 90);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..540 {
        pace.tick().await;
        let world = Arc::clone(&world);
        asked.spawn(async move { ask(&world, PROBE_KEY, 100).await.status });
    }
    let statuses = asked.join_all().await;
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    let (served, refused) = counted(&backends);
    let good = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(usize::try_from(served), Ok(good));
    let now = Instant::now();
    let possible = backends.iter().map(|backend| backend.0.lock().unwrap().possible(now));
    let possible: f64 = possible.sum();
    let share = f64::from(served) / possible;
    assert!(share >= 0.6, "{served} of {possible}, {refused} refused");
}
