//! What a real process has learned outlives it: killed, stopped, or started on a damaged file.

use crate::support::{Home, Service};
use firstlight::mock::Behaviour;
use std::fs;

async fn home() -> Home {
    Home::new(Behaviour { ttft_median_ms: 20.0, ..Behaviour::instant() }).await
}

/// Asks until the usual time of the preferred backend is known. A drain saves, so that a crash now costs nothing.
async fn learn(service: &Service) -> f64 {
    loop {
        service.chat().await.assert_whole_stream();
        if let Some(base) = service.target("a").await["base_ms"].as_f64() {
            return base;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_s_knowledge_and_drains_are_found_again() {
    let home = home().await;
    let mut service = home.start().await;
    service.said("nothing was learned before: a cold start").await;
    let base = learn(&service).await;
    assert_eq!(service.told(&["backend", "drain", "b"]).await.0, 0);
    service.signal("KILL");
    assert_eq!(service.ended().await.code(), None);
    drop(service);

    let mut service = home.start().await;
    let line = service.said("starting with what was learned before").await;
    assert_eq!((line["targets"].as_u64(), line["drained"].as_u64()), (Some(2), Some(1)), "{line}");
    let found = service.target("a").await["base_ms"].as_f64().unwrap();
    assert!((found - base).abs() < base / 2.0, "{found} after {base}");
    assert_eq!(service.target("b").await["state"], "drained");
    // Stopped in order it saves by itself.
    assert_eq!(service.told(&["backend", "enable", "b"]).await.0, 0);
    service.signal("TERM");
    service.ended().await;
    drop(service);
    let service = home.start().await;
    assert_eq!(service.target("b").await["state"], "healthy");
    assert!(service.target("a").await["base_ms"].is_number());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_a_warning_and_a_cold_start() {
    let home = home().await;
    fs::write(home.path("state/learned.json"), "{ half of it").unwrap();
    let service = home.start().await;
    let line = service.said("starting with nothing learned").await;
    assert_eq!(line["level"], "WARN");
    let why = line["error"].as_str().unwrap();
    assert!(why.contains("it is damaged") && why.contains("learned.json.rejected"), "{why}");
    assert!(service.target("a").await["base_ms"].is_null());
    assert_eq!(service.chat().await.status, 200);
    assert_eq!(
        fs::read_to_string(home.path("state/learned.json.rejected")).unwrap(),
        "{ half of it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_cannot_be_kept_says_so_and_holds() {
    let home = home().await;
    let service = home.start().await;
    fs::remove_dir_all(home.path("state")).unwrap();
    let (code, printed) = service.told(&["backend", "drain", "b"]).await;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("not saved, the next process would not know"), "{printed}");
    assert_eq!(service.target("b").await["state"], "drained");
}
