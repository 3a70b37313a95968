//! More requests than there is room for: one app's flood, and what it leaves to the other and to the operator.

use crate::support::{Answer, KEY, PROBE_KEY, Setup, V1_CHAT, World, chat, wait_for};
use firstlight::mock::Fault;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Ten at a time: one is reserved for each of the two apps. The first backend never answers.
async fn world() -> World {
    let more = "limits: { concurrent: 10, body_mib: 1, buffered_mib: 1 }";
    let world = World::of(Setup { more, ..Setup::default() }).await;
    world.fault("a", Fault::FreezeBeforeHeaders);
    world
}

fn of(kibibytes: usize) -> Value {
    let mut body = chat();
    body["messages"][0]["content"] = "x".repeat(kibibytes << 10).into();
    body
}

/// Requests of the first app that wait.
async fn flood(world: &World, bodies: &[Value]) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (sent, body) in (1..).zip(bodies) {
        let request = world.request(V1_CHAT).json(body);
        tasks.spawn(async move { drop(request.send().await) });
        world.mock.wait_until("a", move |counters| counters.in_flight == sent).await.unwrap();
    }
    tasks
}

/// A request of the other app, to a backend that answers.
async fn other(world: &World, body: &Value) -> Answer {
    let request = world.client.post(world.url(V1_CHAT)).header("api-key", PROBE_KEY);
    let request = request.header("x-probe-target", "b").json(body);
    Answer::read(request.send().await.unwrap()).await
}

fn assert_overloaded(answer: &Answer) {
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "overloaded"));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=4).contains(&wait), "{wait}");
    assert_eq!(answer.attempts(), None);
}

async fn shed(world: &World, reason: &str) -> String {
    world.metric(&format!("firstlight_shed_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_apps_flood_leaves_room_for_the_other() {
    let world = world().await;
    let mut tasks = flood(&world, &vec![chat(); 9]).await;
    for _ in 0..5 {
        assert_overloaded(&world.post(V1_CHAT, &chat()).await);
        assert_eq!(other(&world, &chat()).await.status, 200);
    }
    assert_eq!((shed(&world, "concurrent").await, world.requests("b")), ("5".to_owned(), 5));

    // Both hold something: the one with more than its half is told so.
    world.fault("b", Fault::FreezeBeforeHeaders);
    let request = world.client.post(world.url(V1_CHAT)).header("api-key", PROBE_KEY);
    let request = request.header("x-probe-target", "b").json(&chat());
    tasks.spawn(async move { drop(request.send().await) });
    world.mock.wait_until("b", |counters| counters.in_flight == 1).await.unwrap();
    assert_overloaded(&world.post(V1_CHAT, &chat()).await);
    assert_eq!(shed(&world, "share").await, "1");

    tasks.shutdown().await;
    world.fault("a", Fault::None);
    let served = || async { (world.post(V1_CHAT, &chat()).await.status == 200).then_some(()) };
    wait_for("its places to be free", served).await;
}

/// A client that waits for leave to send its body gets the refusal instead of the leave.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_is_refused_before_its_body() {
    let world = world().await;
    let _tasks = flood(&world, &vec![chat(); 9]).await;
    let mut raw = TcpStream::connect(world.address()).await.unwrap();
    let head = format!(
        "POST {V1_CHAT} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: 500000\r\nexpect: 100-continue\r\n\r\n"
    );
    raw.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    raw.read_exact(&mut start).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&start), "HTTP/1.1 503");
    assert_eq!(world.proxy.live().memory().free(), 1024 - 9, "nothing was taken for the body");
}

/// They are on a listener of their own and take neither places nor memory.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health_are_served_when_nothing_else_is() {
    let world = world().await;
    let mut bodies = vec![of(110); 8];
    bodies.push(chat());
    let _tasks = flood(&world, &bodies).await;
    assert_overloaded(&world.post(V1_CHAT, &chat()).await);
    assert_overloaded(&other(&world, &of(200)).await);
    assert_eq!((shed(&world, "concurrent").await, shed(&world, "memory").await), one_each());
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(world.admin(path).await.0, 200, "{path}");
    }
    // What is within its reserve is served still, of places and of memory.
    assert_eq!(other(&world, &of(50)).await.status, 200);
}

fn one_each() -> (String, String) {
    ("1".to_owned(), "1".to_owned())
}
