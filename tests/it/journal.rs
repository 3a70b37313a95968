//! Which backend keeps what, across processes: the file of it.

use firstlight::clock::Clock;
use firstlight::journal::Journal;
use firstlight::live::Live;
use firstlight::owners::{Known, Owner};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const CONFIG: &str = "
listen: [{ address: 127.0.0.1:0 }]
admin: { address: none }
backends: { east: { endpoint: http://127.0.0.1:1, auth: none } }
models: { m: {} }
limits: { kept_ids: 100 }
apps: { chat: { anonymous: true } }
";

/// One process, as far as it matters here.
struct Process {
    live: Arc<Live>,
    journal: Journal,
}

impl Process {
    async fn start(directory: &Path) -> Self {
        let config = firstlight::config::check(CONFIG).unwrap().config;
        let live = Arc::new(Live::new(config, Clock::start()).unwrap());
        let journal = Journal::new(Arc::clone(&live), directory.to_owned());
        journal.restore().await;
        Self { live, journal }
    }

    fn now(&self) -> u64 {
        self.live.clock().unix().as_secs()
    }

    fn note(&self, id: &str) {
        let owner = Owner { app: "chat".into(), backend: "east".into() };
        self.live.kept().note(id, &owner, self.now(), |_| true);
    }

    fn knows(&self, id: &str) -> bool {
        self.live.kept().find(id, "chat", self.now()) == Known::Own("east".into())
    }
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let directory = TempDir::new().unwrap();
    let first = Process::start(directory.path()).await;
    first.note("resp_1");
    first.journal.round().await;
    first.note("resp_2");
    drop(first);
    let second = Process::start(directory.path()).await;
    assert!(second.knows("resp_1"));
    assert!(!second.knows("resp_2"), "it was never written: a crash within a second");
    assert_eq!(second.live.kept().find("resp_1", "other", second.now()), Known::Foreign);
}

#[tokio::test]
async fn two_processes_learn_from_each_other() {
    let directory = TempDir::new().unwrap();
    let old = Process::start(directory.path()).await;
    old.note("resp_1");
    old.journal.round().await;
    // Starting, it writes the file anew: the old one must not write into the file that was.
    let new = Process::start(directory.path()).await;
    old.note("resp_2");
    new.note("resp_3");
    for process in [&old, &new, &old, &new] {
        process.journal.round().await;
    }
    for id in ["resp_1", "resp_2", "resp_3"] {
        assert!(old.knows(id) && new.knows(id), "{id}");
    }
}

#[tokio::test]
async fn writing_anew_brings_nothing_back_in_the_place_of_what_is_in_use() {
    let directory = TempDir::new().unwrap();
    let process = Process::start(directory.path()).await;
    process.note("resp_in_use");
    for n in 0..12_500 {
        process.note(&format!("resp_{n}"));
        process.note("resp_in_use");
        if n % 500 == 499 {
            process.journal.round().await;
            assert!(process.knows("resp_in_use"), "after {n}");
            assert!(process.knows(&format!("resp_{}", n - 90)), "after {n}");
        }
    }
    let text = fs::read_to_string(directory.path().join("kept.jsonl")).unwrap();
    let lines = text.lines().count();
    assert!(lines < 10_000, "it was written anew: {lines} lines");
}

#[tokio::test]
async fn damage_costs_only_what_is_damaged() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("kept.jsonl");
    let first = Process::start(directory.path()).await;
    first.note("resp_1");
    first.journal.round().await;
    let mut damaged = fs::OpenOptions::new().append(true).open(&file).unwrap();
    damaged
        .write_all(b"\xff\xfe garbage\n{\"id\":\"x\"}\n{\"id\":\"resp_torn\",\"app\":\"ch")
        .unwrap();
    first.note("resp_2");
    first.journal.round().await;
    let second = Process::start(directory.path()).await;
    assert!(second.knows("resp_1") && second.knows("resp_2"));
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 2, "written anew, without what is damaged: {text}");
}

#[tokio::test]
async fn what_cannot_be_written_is_written_later() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("kept.jsonl");
    let first = Process::start(directory.path()).await;
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    first.note("resp_1");
    first.journal.round().await;
    assert!(first.knows("resp_1"), "it works on without a file");
    fs::remove_dir(&file).unwrap();
    first.journal.round().await;
    assert!(Process::start(directory.path()).await.knows("resp_1"));
}

#[tokio::test]
async fn a_file_that_others_may_read_is_not_made() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let first = Process::start(directory.path()).await;
    first.note("resp_1");
    first.journal.round().await;
    let mode = fs::metadata(directory.path().join("kept.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
}
