//! What was learned, kept in a file: saved, found again by the next process, and never a reason not to start.

use firstlight::clock::Clock;
use firstlight::config;
use firstlight::keeper::Keeper;
use firstlight::live::Live;
use firstlight::routing::{Ask, Backing, Block, State, Switch, Timing, View};
use firstlight::telemetry::{AccessLog, Metrics, Telemetry};
use pingora_core::services::background::BackgroundService;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

const CONFIG: &str = "
listen: [ { address: 127.0.0.1:0 } ]
backends:
  a: { endpoint: \"http://127.0.0.1:9\", auth: none }
  b: { endpoint: \"http://127.0.0.1:9\", auth: none }
models: { gpt-4o: {} }
apps: { everybody: { anonymous: true } }
";

/// What a process has of it.
struct Process {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    keeper: Keeper,
}

impl Process {
    fn starts(directory: &Path) -> Self {
        let checked = config::check(CONFIG).unwrap();
        let live = Arc::new(Live::new(checked.config, Clock::start()).unwrap());
        let telemetry = Telemetry::new(Metrics::new().unwrap(), AccessLog::memory().0);
        let telemetry = Arc::new(telemetry);
        let keeper = Keeper::new(Arc::clone(&live), Arc::clone(&telemetry), directory.to_owned());
        keeper.restore();
        Self { live, telemetry, keeper }
    }

    /// Answers after so many milliseconds, on a clock that is ahead of this one.
    fn learns(&self, target: usize, ms: u64, answers: u64) {
        let snapshot = self.live.snapshot();
        let pool = &snapshot.model("gpt-4o").unwrap().pool;
        for request in 0..answers {
            let timing = Timing::FirstToken;
            let ask = Ask { request, timing, prompt_tokens: 700, tokens: 700, ..Ask::default() };
            let sent = self.live.clock().now();
            let lease = pool.dispatch(target, ask, sent).unwrap();
            lease.first_token(sent + Duration::from_millis(ms));
        }
    }

    /// Errors enough for a degradation.
    fn degrades(&self, target: usize) {
        let snapshot = self.live.snapshot();
        let pool = &snapshot.model("gpt-4o").unwrap().pool;
        for request in 0..9 {
            let timing = Timing::FirstToken;
            let ask = Ask { request, timing, prompt_tokens: 700, tokens: 700, ..Ask::default() };
            let now = self.live.clock().now();
            pool.dispatch(target, ask, now).unwrap().failed(Backing::Elsewhere, now);
        }
        assert_eq!(self.state(target), State::Degraded);
    }

    fn view(&self, target: usize) -> View {
        let now = self.live.clock().now();
        self.live.snapshot().model("gpt-4o").unwrap().pool.view(target, now).unwrap()
    }

    fn state(&self, target: usize) -> State {
        self.view(target).state
    }

    fn is_drained(&self, target: usize) -> bool {
        let snapshot = self.live.snapshot();
        snapshot.model("gpt-4o").unwrap().pool.blocks(target).unwrap().has(Block::Drained)
    }

    fn scrape(&self, series: &str) -> Option<String> {
        let metrics = &self.telemetry.metrics;
        let text = metrics.scrape(&self.live.snapshot(), self.live.clock().now()).unwrap();
        let text = String::from_utf8(text).unwrap();
        text.lines().find_map(|l| l.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
    }

    fn saves(&self, result: &str) -> u64 {
        self.telemetry.metrics.state_saves.with_label_values(&[result]).get()
    }

    fn saved_at(&self) -> u64 {
        u64::try_from(self.telemetry.metrics.state_saved.get()).unwrap()
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn the_next_process_starts_warm() {
    let directory = directory();
    let first = Process::starts(directory.path());
    first.learns(0, 800, 30);
    first.learns(1, 1200, 30);
    first.degrades(0);
    first.live.drain_backend("b", Switch::On).unwrap();
    let before = first.live.clock().unix().as_secs();
    first.keeper.save_now().await.unwrap();
    assert_eq!((first.saves("ok"), first.saves("failed")), (1, 0));
    assert!((before..before + 60).contains(&first.saved_at()));

    let second = Process::starts(directory.path());
    assert_eq!((second.state(0), second.state(1)), (State::Degraded, State::Healthy));
    assert!((second.view(0).base_ms.unwrap() - 800.0).abs() < 1.0);
    assert!((second.view(1).base_ms.unwrap() - 1200.0).abs() < 1.0);
    assert_eq!((second.is_drained(0), second.is_drained(1)), (false, true));
    assert_eq!(second.live.drained(), BTreeSet::from(["b".to_owned()]));
    assert_eq!(second.saved_at(), 0, "it has not saved itself");
    let gauge = second.scrape("firstlight_target_degraded{backend=\"a\",model=\"gpt-4o\"}");
    assert_eq!(gauge, Some("1".to_owned()));
}

#[tokio::test]
async fn without_a_file_it_starts_cold() {
    let directory = directory();
    let process = Process::starts(directory.path());
    assert_eq!((process.state(0), process.view(0).base_ms), (State::Healthy, None));
}

#[tokio::test]
async fn a_corrupt_file_is_kept_aside_and_the_next_save_is_good() {
    let directory = directory();
    std::fs::write(directory.path().join("learned.json"), "{\"version\": 1, \"s").unwrap();
    let process = Process::starts(directory.path());
    assert_eq!((process.state(0), process.view(0).base_ms), (State::Healthy, None));
    assert!(directory.path().join("learned.json.rejected").exists());
    process.learns(0, 800, 30);
    process.keeper.save_now().await.unwrap();
    assert!(Process::starts(directory.path()).view(0).base_ms.is_some());
}

#[tokio::test]
async fn a_save_that_fails_is_counted_and_the_next_one_may_work() {
    let parent = directory();
    let directory = parent.path().join("later");
    let process = Process::starts(&directory);
    process.keeper.save_now().await.unwrap_err();
    process.keeper.save_now().await.unwrap_err();
    assert_eq!((process.saves("ok"), process.saves("failed"), process.saved_at()), (0, 2, 0));
    std::fs::create_dir(&directory).unwrap();
    process.keeper.save_now().await.unwrap();
    assert_eq!((process.saves("ok"), process.saves("failed")), (1, 2));
    assert!(process.saved_at() > 0);
}

#[tokio::test]
async fn who_hands_over_does_not_overwrite_what_the_next_one_saves() {
    let directory = directory();
    let old = Process::starts(directory.path());
    old.keeper.hand_over().await.unwrap();
    let new = Process::starts(directory.path());
    new.live.drain_backend("a", Switch::On).unwrap();
    new.keeper.save_now().await.unwrap();
    old.keeper.save_now().await.unwrap();
    old.keeper.hand_over().await.unwrap();
    assert_eq!(old.saves("ok"), 1);
    assert!(Process::starts(directory.path()).is_drained(0));
}

#[tokio::test]
async fn the_service_saves_again_and_again_and_when_it_stops() {
    let directory = directory();
    let mut process = Process::starts(directory.path());
    process.keeper = process.keeper.every(Duration::from_millis(1));
    let process = Arc::new(process);
    let (stop, stopped) = watch::channel(false);
    let running = Arc::clone(&process);
    let service = tokio::spawn(async move { running.keeper.start(stopped).await });
    crate::support::wait_until("two saves", || process.saves("ok") >= 2).await;
    stop.send(true).unwrap();
    service.await.unwrap();

    let process = Arc::new(Process::starts(directory.path()));
    let running = Arc::clone(&process);
    let (stop, stopped) = watch::channel(false);
    let service = tokio::spawn(async move { running.keeper.start(stopped).await });
    process.live.drain_backend("a", Switch::On).unwrap();
    stop.send(true).unwrap();
    service.await.unwrap();
    assert_eq!(process.saves("ok"), 1, "once, as it stopped");
    assert!(Process::starts(directory.path()).is_drained(0));
}
