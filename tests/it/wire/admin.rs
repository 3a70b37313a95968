//! The admin listener: health, readiness, metrics; and who may ask.

use crate::support::{World, streamed_chat};
use firstlight::telemetry::METRICS;

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_served_and_nothing_else() {
    let world = World::plain().await;
    crate::support::wait_until("ready", || !world.proxy.addresses().is_empty()).await;
    assert_eq!(world.admin("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(world.admin("/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(world.admin("/secrets").await.0, 404);
    let (status, text) = world.admin("/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("firstlight_build_info{version="));
    let post =
        world.client.post(format!("http://{}/metrics", world.proxy.admin_address().unwrap()));
    assert_eq!(post.send().await.unwrap().status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_host_name_is_refused() {
    let world = World::plain().await;
    let url = format!("http://{}/metrics", world.proxy.admin_address().unwrap());
    let rebound = world.client.get(url).header("host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_listener_serves_no_admin_path() {
    let world = World::plain().await;
    for path in ["/metrics", "/healthz", "/readyz"] {
        let answer = world.post(path, &streamed_chat()).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (404, "unknown_path"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_a_busy_proxy_is_in_the_table() {
    let world = World::plain().await;
    world.chat().await.assert_whole_stream();
    let (_, text) = world.admin("/metrics").await;
    let served = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in served {
        assert!(METRICS.iter().any(|row| row.name == name), "{name} is not in the table");
    }
    for name in
        ["firstlight_ttft_seconds", "firstlight_client_ttft_seconds", "firstlight_picks_total"]
    {
        assert!(text.contains(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_drains_it_is_not_ready_and_streams_finish() {
    let setup = crate::support::Setup {
        behaviour: firstlight::mock::Behaviour {
            gap_ms: 50.0,
            ..firstlight::mock::Behaviour::instant()
        },
        ..crate::support::Setup::default()
    };
    let world = World::of(setup).await;
    let request = world.request(crate::support::V1_CHAT).json(&streamed_chat()).send();
    let response = request.await.unwrap();
    let drained = async {
        let drain = world.proxy.drain(std::time::Duration::from_secs(20));
        let (left, ready) = tokio::join!(drain, world.admin("/readyz"));
        assert_eq!((left, ready), (0, (503, "draining\n".to_owned())));
    };
    let (answer, ()) = tokio::join!(crate::support::Answer::read(response), drained);
    answer.assert_whole_stream();
    // The client kept its connection, and is told to close it.
    let kept = world.request(crate::support::V1_CHAT).json(&streamed_chat()).send().await.unwrap();
    assert_eq!(kept.headers()["connection"], "close");
    crate::support::Answer::read(kept).await.assert_whole_stream();
    let late = world.request(crate::support::V1_CHAT).json(&streamed_chat()).send().await;
    assert!(late.is_err(), "nothing new is accepted");
}
