//! Upgrades with real processes: nothing is lost where they work, and nothing changes where they do not.

use crate::support::{
    Answer, Home, KEY, Service, V1_CHAT, running, signal, streamed_chat, wait_until,
};
use firstlight::clock::Clock;
use firstlight::mock::Behaviour;
use firstlight::time::Time;
use reqwest::Client;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::task::JoinSet;

async fn home(gap_ms: f64) -> Home {
    Home::new(Behaviour { gap_ms, ..Behaviour::instant() }).await
}

/// The process that is at the admin socket now.
async fn serving(service: &Service) -> u32 {
    service.status().await["pid"].as_u64().unwrap().try_into().unwrap()
}

/// An upgrade that works; the new process.
async fn upgrade(service: &Service) -> u32 {
    let old = serving(service).await;
    let (code, printed) = service.told(&["upgrade"]).await;
    assert_eq!(code, 0, "{printed}");
    let new = serving(service).await;
    assert_ne!(new, old);
    assert!(printed.starts_with(&format!("process {new} serves; ")), "{printed}");
    assert!(printed.trim_end().ends_with(&format!("finish in process {old}")), "{printed}");
    new
}

/// An upgrade that does not work, and changes nothing.
async fn refused(service: &Service, says: &[&str]) {
    let old = serving(service).await;
    let (code, printed) = service.told(&["upgrade"]).await;
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("upgrade failed, the old process keeps serving"), "{printed}");
    for word in says {
        assert!(printed.contains(word), "{word} not in: {printed}");
    }
    assert_eq!(serving(service).await, old);
    service.chat().await.assert_whole_stream();
}

/// A free address, which nobody holds any more.
fn free(ip: &str) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// Asks without a pause until it is told to stop: a new connection each time, or one that is kept.
async fn ask(client: impl Fn() -> Client, url: String, stop: Arc<AtomicBool>) -> usize {
    let mut answers = 0;
    while !stop.load(Relaxed) {
        let request = client().post(&url).header("api-key", KEY).json(&streamed_chat());
        Answer::read(request.send().await.unwrap()).await.assert_whole_stream();
        answers += 1;
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn three_upgrades_under_load_lose_nothing_and_know_what_was_known() {
    let home = home(5.0).await;
    home.mock
        .set_behaviour("a", Behaviour { ttft_median_ms: 20.0, gap_ms: 5.0, ..Behaviour::instant() })
        .unwrap();
    let mut service = home.start().await;
    let address = service.address();
    assert_eq!(service.told(&["backend", "drain", "b"]).await.0, 0);
    let stop = Arc::new(AtomicBool::new(false));
    let url = format!("http://{address}{V1_CHAT}");
    let mut load = JoinSet::new();
    for _ in 0..2 {
        let kept = crate::support::client(|b| b);
        load.spawn(ask(move || kept.clone(), url.clone(), Arc::clone(&stop)));
        load.spawn(ask(|| crate::support::client(|b| b), url.clone(), Arc::clone(&stop)));
    }
    while service.target("a").await["base_ms"].is_null() {
        assert_eq!(service.chat().await.status, 200);
    }
    let mut pids = vec![service.pid()];
    for _ in 0..3 {
        let known = service.target("a").await["base_ms"].as_f64().unwrap();
        pids.push(upgrade(&service).await);
        assert_eq!(service.address(), address);
        let base = service.target("a").await["base_ms"].as_f64().unwrap();
        assert!(base > known / 2.0 && base < known * 2.0, "{base} after {known}");
        assert_eq!(service.target("b").await["state"], "drained");
        service.chat().await.assert_whole_stream();
    }
    stop.store(true, Relaxed);
    let answers: usize = load.join_all().await.into_iter().sum();
    assert!(answers > 30, "{answers}");
    let last = pids.pop().unwrap();
    for pid in &pids[1..] {
        wait_until("the end of those before", || !running(*pid)).await;
    }
    assert_eq!(service.ended().await.code(), Some(0));
    assert!(running(last));
    signal(last, "TERM");
    wait_until("the end of the last", || !running(last)).await;
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_runs_across_and_the_new_process_waits_for_it() {
    let home = home(600.0).await;
    let mut service = home.start().await;
    let mut stream = service.stream().await;
    stream.next().await.unwrap();
    let new = upgrade(&service).await;
    let status = service.status().await;
    assert_eq!(
        (status["predecessor"].as_bool(), status["in_flight"].as_u64()),
        (Some(true), Some(0))
    );
    assert!(service.told(&["status"]).await.1.contains("the process before finishes its streams"));
    // The new one is told to stop: the old one's stream has its time all the same.
    signal(new, "TERM");
    service.said_times("draining", 2).await;
    wait_until("nobody listens", || TcpStream::connect(service.address()).is_err()).await;
    while stream.next().await.is_some() {
        assert!(running(new), "it waits for the one before");
    }
    stream.into_answer().assert_whole_stream();
    assert_eq!(service.ended().await.code(), Some(0));
    wait_until("the end of the new one", || !running(new)).await;
    service.said_times("stopped", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_work_is_refused_with_the_reason() {
    let home = home(0.0).await;
    let good = fs::read(home.path("firstlight")).unwrap();
    let service = home.start_with(&["--upgrade-seconds", "1"]).await;
    home.replace_program(b"#!/bin/sh\nexit 1\n");
    refused(&service, &["the new process ended before it served"]).await;
    home.replace_program(b"#!/bin/sh\necho hello\n");
    refused(&service, &["the new process ended before it served"]).await;
    home.replace_program(b"\x7fELF and nothing that makes sense");
    refused(&service, &["firstlight cannot be started: "]).await;
    home.replace_program(b"");
    refused(&service, &["the new process "]).await;
    // One that talks, but not as it should.
    home.replace_program(b"#!/bin/sh\necho '{\"hello\":1}' >&0\nexec sleep 1000\n");
    refused(&service, &["the new process cannot be started: "]).await;
    let pid = home.path("hanging.pid");
    home.replace_program(
        format!("#!/bin/sh\necho $$ > {}\nexec sleep 1000\n", pid.display()).as_bytes(),
    );
    let begun = Clock::start();
    refused(&service, &["did not serve within 1 s and was ended"]).await;
    assert!(begun.now().since(Time::ZERO) < Duration::from_secs(10));
    let hanging: u32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    wait_until("its end", || !running(hanging)).await;
    fs::remove_file(home.path("firstlight")).unwrap();
    refused(&service, &["cannot be started: "]).await;
    home.replace_program(&good);
    upgrade(&service).await;
    service.chat().await.assert_whole_stream();
}

/// Told to stop, there is no service any more: not the one that was about to be, either.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_stop_ends_the_process_that_is_being_started() {
    let home = home(0.0).await;
    let mut service = home.start().await;
    let file = home.path("hanging.pid");
    let script =
        format!("#!/bin/sh\necho $$ > {0}.new\nmv {0}.new {0}\nexec sleep 1000\n", file.display());
    home.replace_program(script.as_bytes());
    let asked = async {
        let (code, printed) = service.told(&["upgrade"]).await;
        assert_eq!(code, 1, "{printed}");
        assert!(printed.contains("this process was told to stop"), "{printed}");
    };
    let stopped = async {
        wait_until("the hanging process", || file.exists()).await;
        service.signal("TERM");
    };
    tokio::join!(asked, stopped);
    assert_eq!(service.ended().await.code(), Some(0));
    let hanging: u32 = fs::read_to_string(file).unwrap().trim().parse().unwrap();
    wait_until("its end", || !running(hanging)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_does_not_work_is_refused_with_its_problems() {
    let home = home(0.0).await;
    let service = home.start().await;
    home.configure(&home.yaml().replace("models:", "moodels:"));
    refused(&service, &["firstlight.yaml:", "did you mean `models`"]).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    home.configure(&home.yaml().replacen("127.0.0.1:0", &taken, 1));
    refused(&service, &["cannot listen on", &taken]).await;
    home.configure(&home.yaml().replacen("backend.key", "no.key", 1));
    refused(&service, &["backends.a.auth.api_key", "no.key"]).await;
    home.configure(&home.yaml());
    upgrade(&service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_process_binds_new_addresses_and_removed_ones_are_closed() {
    let home = home(300.0).await;
    let (first, second, third) = (free("127.0.0.1"), free("127.0.0.2"), free("127.0.0.3"));
    let listen = |all: [SocketAddr; 2]| {
        let [a, b] = all;
        let listen = format!("listen: [ {{ address: \"{a}\" }}, {{ address: \"{b}\" }} ]");
        home.yaml().replace("listen: [ { address: 127.0.0.1:0 } ]", &listen)
    };
    home.configure(&listen([first, second]));
    let mut service = home.start().await;
    let mut stream = service.stream().await;
    stream.next().await.unwrap();
    home.configure(&listen([second, third]));
    upgrade(&service).await;
    for address in [second, third] {
        TcpStream::connect(address).unwrap();
    }
    wait_until("the removed one is closed", || TcpStream::connect(first).is_err()).await;
    while stream.next().await.is_some() {}
    stream.into_answer().assert_whole_stream();
    assert_eq!(service.ended().await.code(), Some(0));
    service.chat().await.assert_whole_stream();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_upgrades_at_once_one_works_and_both_are_answered() {
    let home = home(0.0).await;
    let service = home.start().await;
    let (one, two) = tokio::join!(service.told(&["upgrade"]), service.told(&["upgrade"]));
    let mut codes = [one.0, two.0];
    codes.sort_unstable();
    // The second may come when the first is over, and is then another.
    assert!(codes == [0, 1] || codes == [0, 0], "{one:?} {two:?}");
    for (code, printed) in [&one, &two] {
        let refused = printed.contains("an upgrade is under way already")
            || printed.contains("another process has taken over");
        assert_eq!(*code == 1, refused, "{printed}");
    }
    assert_ne!(serving(&service).await, service.pid());
    service.chat().await.assert_whole_stream();
    upgrade(&service).await;
}

/// The old one has stopped accepting by then: its streams end well, and a manager starts a third.
#[tokio::test(flavor = "multi_thread")]
async fn the_new_process_killed_the_old_one_still_finishes() {
    let home = home(300.0).await;
    let mut service = home.start().await;
    assert_eq!(service.told(&["backend", "drain", "b"]).await.0, 0);
    let mut stream = service.stream().await;
    stream.next().await.unwrap();
    let new = upgrade(&service).await;
    signal(new, "KILL");
    wait_until("its end", || !running(new)).await;
    while stream.next().await.is_some() {}
    stream.into_answer().assert_whole_stream();
    assert_eq!(service.ended().await.code(), Some(0));
    drop(service);
    let third = home.start().await;
    assert_eq!(third.target("b").await["state"], "drained", "what the two knew is kept");
    third.chat().await.assert_whole_stream();
}
