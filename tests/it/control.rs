//! The admin socket of a real process: what operators order, and what nobody can do to it.

use crate::support::{Home, Service, wait_until};
use firstlight::mock::Behaviour;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use tokio::task::JoinSet;

async fn home() -> Home {
    Home::new(Behaviour::instant()).await
}

/// Says something to the socket, and gives the line that comes back.
fn converse(socket: &Path, said: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    // It may have answered and left before all was said.
    drop(stream.write_all(said));
    drop(stream.shutdown(std::net::Shutdown::Write));
    let mut answer = String::new();
    drop(BufReader::new(stream).read_line(&mut answer));
    answer
}

async fn says(service: &Service, arguments: &[&str], code: i32, says: &[&str]) {
    let (exit, printed) = service.told(arguments).await;
    assert_eq!(exit, code, "{arguments:?}: {printed}");
    for word in says {
        assert!(printed.contains(word), "{arguments:?}: {word} not in: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_look_and_act_by_the_command_line() {
    let home = home().await;
    let service = home.start().await;
    let mode = std::fs::metadata(home.path("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(service.chat().await.backend(), Some("a"));

    let status = service.status().await;
    assert_eq!(
        (status["pid"].as_u64(), status["generation"].as_u64()),
        (Some(service.pid().into()), Some(1))
    );
    assert_eq!(status["listening"][0], service.address().to_string());
    assert_eq!(
        (status["draining"].as_bool(), status["predecessor"].as_bool()),
        (Some(false), Some(false))
    );
    says(&service, &["status"], 0, &["serving on 127.0.0.1:", "gpt-4o  a        healthy"]).await;
    says(&service, &["diff"], 0, &["the file is what runs"]).await;

    home.configure(
        &home.yaml().replace("tier: 1", "tier: 3").replace("127.0.0.1:0 }", "127.0.0.2:0 }"),
    );
    let lines = [
        "~ backends.b.tier: 1 -> 3",
        "~ listen.0.address: 127.0.0.1:0 -> 127.0.0.2:0 (needs firstlight upgrade)",
    ];
    says(&service, &["diff"], 0, &lines).await;
    says(
        &service,
        &["reload", "--wait"],
        0,
        &["generation 2 is live; 1 changed", lines[0], lines[1]],
    )
    .await;
    let (code, printed) = service.told(&["reload", "--json"]).await;
    let data: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (code, data["generation"].as_u64(), data["changed"].as_array().unwrap().len()),
        (0, Some(3), 0)
    );

    home.configure(&home.yaml().replace("models:", "moodels:"));
    let refused = [
        "refused, the old configuration keeps serving",
        "firstlight.yaml:",
        "did you mean `models`",
    ];
    says(&service, &["reload"], 1, &refused).await;
    says(&service, &["diff"], 1, &refused[1..]).await;
    assert_eq!(service.status().await["generation"], 3);

    says(&service, &["backend", "drain", "a"], 0, &["a: no new requests; its streams finish"])
        .await;
    says(&service, &["status"], 0, &["gpt-4o  a        drained"]).await;
    assert_eq!(service.chat().await.backend(), Some("b"));
    says(&service, &["backend", "enable", "a"], 0, &["a: in use again"]).await;
    assert_eq!(service.chat().await.backend(), Some("a"));
    says(
        &service,
        &["backend", "drain", "x"],
        1,
        &["there is no backend \"x\"; name one of: a, b"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_said_to_it_it_answers_and_lives() {
    let home = home().await;
    let service = home.start().await;
    let socket = home.path("admin.sock");
    let silent = UnixStream::connect(&socket).unwrap();
    let mebibyte = vec![b'x'; 1 << 20];
    let deep = format!("{}\n", "[".repeat(10_000));
    let cases: [&[u8]; 7] = [
        b"\xff\xfe\x00garbage\n",
        b"\n",
        b"",
        b"{\"command\":\"explode\"}\n",
        b"{\"command\":\"drain\"}\n",
        &mebibyte,
        deep.as_bytes(),
    ];
    for said in cases {
        let answer = converse(&socket, said);
        // With so much that it never read the system may take the answer back.
        if !(said.len() > 100_000 && answer.is_empty()) {
            assert!(
                answer.contains("\"done\":false") && answer.contains("not understood"),
                "{answer}"
            );
        }
    }
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let socket = socket.clone();
        clients.spawn_blocking(move || converse(&socket, b"{\"command\":\"status\"}\n"));
    }
    for answer in clients.join_all().await {
        assert!(answer.contains("\"done\":true"), "{answer}");
    }
    assert_eq!(service.chat().await.status, 200);
    // The silent one is told in the end.
    let mut answer = String::new();
    let read = tokio::task::spawn_blocking(move || {
        BufReader::new(silent).read_line(&mut answer).unwrap();
        answer
    });
    assert!(read.await.unwrap().contains("no command came"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_process_s_socket_is_replaced_and_a_living_one_s_is_not() {
    let home = home().await;
    drop(UnixListener::bind(home.path("admin.sock")).unwrap());
    let service = home.start().await;
    let second = home.command(&[]).output().unwrap();
    let printed = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(3), "{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert!(printed.contains("admin.sock: another process answers there"), "{printed}");
    assert_eq!(service.status().await["pid"], service.pid(), "the first one's still");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_usual_directories_it_serves_with_a_warning() {
    let home = home().await;
    let yaml = home.yaml();
    let kept = |line: &&str| !line.starts_with("admin:") && !line.starts_with("state_directory:");
    let yaml = yaml.lines().filter(kept).collect::<Vec<_>>().join("\n");
    home.configure(&format!("{yaml}\nadmin: {{ address: 127.0.0.1:0 }}\n"));
    let service = home.start().await;
    assert_eq!(service.chat().await.status, 200);
    if Path::new("/run/firstlight").exists() || Path::new("/var/lib/firstlight").exists() {
        return;
    }
    let warned =
        |word: &str| service.log().iter().any(|line| line.contains("WARN") && line.contains(word));
    assert!(
        warned("no admin socket") && warned("what is learned is not kept"),
        "{:?}",
        service.log()
    );
    let (code, printed) = service.told(&["status"]).await;
    assert!(code == 3 && printed.contains("cannot reach a running firstlight"), "{printed}");
}

/// As a user of the group would: nobody else may even connect.
#[tokio::test(flavor = "multi_thread")]
async fn another_user_may_look_and_not_act() {
    let home = home().await;
    let service = home.start().await;
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups", "--regid=0"]);
        command
            .arg(home.path("firstlight"))
            .args(arguments)
            .arg("--socket")
            .arg(home.path("admin.sock"));
        command.output()
    };
    // Without root there is no other user to be; the pure test of the rule stays.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(home.path(""), open).unwrap();
    if rustix::process::geteuid().as_raw() != 0 || as_nobody(&["--version"]).is_err() {
        return;
    }
    let status = as_nobody(&["status"]).unwrap();
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    for order in [&["reload"][..], &["upgrade"], &["backend", "drain", "a"]] {
        let refused = as_nobody(order).unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(told, "firstlight: user 65534 may look, but not change anything; ask as root\n");
    }
    let status = service.status().await;
    assert_eq!(
        (status["generation"].as_u64(), status["pid"].as_u64()),
        (Some(1), Some(service.pid().into()))
    );
    assert_eq!(service.target("a").await["state"], "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_reloads_leave_no_file_open() {
    let home = home().await;
    let service = home.start().await;
    let socket = home.path("admin.sock");
    let yaml = home.yaml();
    let less: Vec<&str> = yaml.lines().filter(|line| !line.starts_with("  a: ")).collect();
    let less = less.join("\n");
    let mut before = 0;
    for (round, yaml) in [less, yaml].iter().cycle().take(50).enumerate() {
        home.configure(yaml);
        let answer = converse(&socket, b"{\"command\":\"reload\"}\n");
        assert!(answer.contains("\"done\":true"), "{answer}");
        assert_eq!(service.chat().await.status, 200);
        if round == 9 {
            before = service.open_files();
        }
    }
    // Connections may be kept for a while, a few more where the machine was slow and requests were raced; one file
    // for each reload would be forty.
    wait_until("hardly more open files than before", || service.open_files() < before + 15).await;
    assert_eq!(service.status().await["generation"], 51);
}
