//! A file that cannot be used changes nothing but what is told of it; and what has to wait for a new process.

use crate::support::{Pem, Setup, World};

/// The world as it is, after a reload was refused for the `count`th time.
async fn check_unchanged(world: &World, count: usize, what: &str) {
    assert_eq!(world.chat().await.backend(), Some("a"), "{what}");
    let count = count.to_string();
    for (series, value) in [
        ("firstlight_config_reloads_total{result=\"refused\"}", count.as_str()),
        ("firstlight_config_reloads_total{result=\"applied\"}", "0"),
        ("firstlight_config_last_reload_successful", "0"),
        ("firstlight_config_generation", "1"),
    ] {
        assert_eq!(world.metric(series).await, value, "{what}: {series}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_the_old_configuration_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Pem::of("localhost").write(folder.path());
    let world = World::plain().await;
    let yaml = world.yaml.as_str();
    let key = |source: &str| {
        let (_, rest) = yaml.split_once("api_key: { file:").unwrap();
        let (path, _) = rest.split_once(" }").unwrap();
        yaml.replacen(&format!("file:{path}"), source, 1)
    };
    let listen = "listen:\n  - address: 127.0.0.1:0\n";
    let cases = [
        (yaml.replace("gpt-4o: {}", "gpt-4o: { backend: [a] }"), "did you mean"),
        (yaml.replace("backends:\n", "backends: [\n"), "firstlight.yaml:"),
        (key("env: FIRSTLIGHT_NO_SUCH"), "FIRSTLIGHT_NO_SUCH is not set"),
        (key("file: /no/such/key"), "cannot read /no/such/key"),
        (yaml.replace(" tier: 0,", " tier: 0, ca: /no/such/ca,"), "/no/such/ca"),
    ];
    let mut count = 0;
    for (text, says) in &cases {
        assert_ne!(text, yaml);
        count += 1;
        let refused = world.reload(text).await.unwrap_err().to_string();
        assert!(refused.contains(says), "{says} is not in: {refused}");
        check_unchanged(&world, count, says).await;
    }
    std::fs::remove_file(world.file()).unwrap();
    let refused = world.reload_again().await.unwrap_err().to_string();
    assert!(refused.contains("cannot read the configuration"), "{refused}");
    check_unchanged(&world, 6, "no file").await;

    // Well again: TLS on a plain socket has to wait.
    let secure = yaml.replace(listen, &format!("{listen}    tls: {tls}\n"));
    let reloaded = world.reload(&secure).await.unwrap();
    assert!(reloaded.waiting.iter().all(|line| line.contains("(needs firstlight upgrade)")));
    assert_eq!(reloaded.waiting.len(), 2, "{:?}", reloaded.waiting);
    assert_eq!(world.metric("firstlight_config_last_reload_successful").await, "1");
    assert_eq!(world.chat().await.status, 200, "in the clear, as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_is_refused_and_the_good_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let pem = Pem::of("localhost");
    let tls = pem.write(folder.path());
    let listen = Some(format!("  - address: 127.0.0.1:0\n    tls: {tls}\n"));
    let world = World::of(Setup { listen, ..Setup::default() }).await;
    std::fs::write(folder.path().join("tls.key"), "nothing").unwrap();
    let refused = world.reload(&world.yaml).await.unwrap_err().to_string();
    assert!(refused.contains("holds no private key"), "{refused}");
    // The key of another certificate.
    let other = tempfile::tempdir().unwrap();
    Pem::of("localhost").write(other.path());
    std::fs::copy(other.path().join("tls.key"), folder.path().join("tls.key")).unwrap();
    let refused = world.reload_again().await.unwrap_err().to_string();
    assert!(refused.contains("cannot be used with the certificate"), "{refused}");
    let url = pem.url(world.address(), "/openai/v1/models");
    let answer = pem.client(world.address()).get(url).send().await.unwrap();
    assert_eq!(answer.status(), 401, "over the good certificate");
    assert_eq!(world.metric("firstlight_config_generation").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bound_to_the_process_waits_and_is_told_again() {
    let world = World::plain().await;
    let file = world
        .yaml
        .replacen("address: 127.0.0.1:0", "address: 127.0.0.2:0", 1)
        .replace("admin: { address: 127.0.0.1:0 }", "admin: { address: none }\nthreads: 3");
    let file = file + "log: { access: false }\nretry: { max_attempts: 2 }\n";
    let waiting = [
        "~ listen.0.address: 127.0.0.1:0 -> 127.0.0.2:0 (needs firstlight upgrade)",
        "~ admin.address: 127.0.0.1:0 -> none (needs firstlight upgrade)",
        "~ threads: 0 -> 3 (needs firstlight upgrade)",
        "~ log.access: true -> false (needs firstlight upgrade)",
    ];
    for generation in [2, 3] {
        let reloaded = world.reload(&file).await.unwrap();
        assert_eq!(
            (reloaded.generation, reloaded.waiting.as_slice()),
            (generation, &waiting.map(str::to_owned)[..])
        );
        let changed = if generation == 2 { vec!["~ retry.max_attempts: 5 -> 2"] } else { vec![] };
        assert_eq!(reloaded.changed, changed);
        assert_eq!(world.diff().await, waiting);
    }
    let answer = world.chat().await;
    assert_eq!(answer.status, 200, "on the address of the start");
    world.log_line(answer.request_id()).await;
    assert_eq!(world.admin("/healthz").await.0, 200);
}
