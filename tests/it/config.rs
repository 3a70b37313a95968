//! The configuration: good files, wrong files, the reference and the dump.

mod differences;
mod entra;
mod in_front;
mod listeners;
mod mistakes;
mod overload;
mod routing;
mod wrong_files;

use firstlight::config::Checked;
use firstlight::config::check;
use firstlight::config::checked::BackendAuth;
use firstlight::config::checked::Config;
use firstlight::config::checked::Policy;
use firstlight::config::checked::ProbeKind;
use firstlight::config::checked::SecretSource;
use firstlight::config::dump;
use firstlight::config::reference;
use firstlight::config::schema;
use proptest::prelude::*;
use sha2::Digest;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

const MINIMAL: &str = include_str!("../../conf/minimal.yaml");

#[test]
fn the_smallest_file_is_enough_and_gives_no_warning() {
    let Checked { config, warnings } = check(MINIMAL).unwrap();
    assert_eq!(warnings, []);
    assert!(config.backends.keys().eq(["eastus2", "westus3"]));
    assert!(config.models["gpt-4o"].backends.values().all(|deployment| deployment == "gpt-4o"));
    assert_eq!(config.models["gpt-4o"].backends.len(), 2);
    let hash = hex::encode(sha2::Sha256::digest("demo-key-change-me"));
    assert_eq!(config.apps["chat-ui"].api_keys[0].sha256, hash);
    assert_eq!(config.apps["chat-ui"].models, None);
}

const EVERYTHING: &str = r#"
listen:
  - address: 127.0.0.1:8443
    tls: { certificate: /etc/firstlight/tls.crt, key: /etc/firstlight/tls.key }
  - { address: "[::1]:0" }
admin: { address: none }
threads: 4
backends:
  east: { endpoint: "https://EAST.example:8443/", auth: { api_key: { env: EAST_KEY } } }
  six: { endpoint: "https://[2001:DB8::1]", tier: 0, auth: { api_key: { file: /run/key } } }
  ptu: { endpoint: https://10.0.0.4, ca: /ca.pem, weight: 3, auth: { api_key: { credential: ptu } } }
  local: { endpoint: "http://[::1]:9001", auth: { api_key: { env: _ } } }
models:
  gpt-4.1:
  mini: { backends: { east: mini_prod, ptu: mini.v2 }, first_token_seconds: 0.2 }
  text-embedding-3-large: { backends: [east] }
  old: { probe: off, routing: { policy: ema } }
  4: { backends: [six], probe: completions }
apps:
  chat: { api_keys: [{ sha256: 1111111111111111111111111111111111111111111111111111111111111111, name: 2026-11 }], models: [4], probe: true }
routing: { candidates: 0, detect: { trip_ms: 50.5, clear_ms: 50.5 }, probe: { interval_seconds: 7.5 } }
retry: { hold_headers_seconds: 1.5, repeatable_tools: [mcp, code_interpreter] }
timeouts: { first_token_seconds: 7.5 }
limits: { body_mib: 1 }
log: { access: false }
inject_usage: true
"#;

#[test]
fn backends_can_be_written_in_every_form() {
    let Checked { config, warnings } = check(EVERYTHING).unwrap();
    assert_eq!(warnings, []);
    let east = &config.backends["east"].endpoint;
    assert_eq!((east.tls, east.host.as_str(), east.port), (true, "east.example", 8443));
    let six = &config.backends["six"];
    assert_eq!((six.endpoint.host.as_str(), six.endpoint.port, six.tier), ("2001:db8::1", 443, 0));
    assert_eq!(six.auth, BackendAuth::ApiKey(SecretSource::File(PathBuf::from("/run/key"))));
    assert_eq!(config.apps["chat"].api_keys[0].sha256, "1".repeat(64));
    assert_eq!(check(&dump(&config)).unwrap().config, config);
}

#[test]
fn models_have_deployments_probes_and_times_of_their_own() {
    let models = check(EVERYTHING).unwrap().config.models;
    assert_eq!(models["gpt-4.1"].backends.len(), 4);
    assert_eq!(models["gpt-4.1"].first_token, Duration::from_millis(7500));
    assert_eq!(models["mini"].first_token, Duration::from_millis(200));
    assert_eq!(models["mini"].backends["ptu"], "mini.v2");
    assert_eq!(models["text-embedding-3-large"].probe, ProbeKind::Embeddings);
    assert_eq!(models["old"].probe, ProbeKind::Off);
    assert_eq!(models["4"].backends["six"], "4", "a name that looks like a number stays text");
}

#[test]
fn settings_can_be_changed() {
    let config = check(EVERYTHING).unwrap().config;
    assert_eq!(config.admin, None);
    assert_eq!(config.routing.policy, Policy::Lookout);
    assert_eq!(config.routing.probe.interval, Duration::from_millis(7500));
    assert_eq!(config.retry.hold_headers, Duration::from_millis(1500));
    assert_eq!(config.limits.body_bytes, 1 << 20);
    assert!(!config.log.access);
    assert!(config.inject_usage);
}

#[test]
fn an_anchor_is_written_once_and_meant_twice() {
    let text = file(
        "backends:\n  a: { endpoint: https://a.example, auth: &key { api_key: { env: KEY } } }\n  \
         b: { endpoint: https://b.example, auth: *key }\n",
    );
    let config = check(&text).unwrap().config;
    assert_eq!(config.backends["a"].auth, config.backends["b"].auth);
}

#[test]
fn a_file_that_works_but_surprises_is_warned_about() {
    let text = file(
        "listen: [{ address: 0.0.0.0:80 }]\nadmin: { address: 0.0.0.0:90 }\nbackends:\n  \
         a: { endpoint: https://a.example, weight: 2, auth: { api_key: { env: KEY } } }\n  \
         b: { endpoint: https://A.example:443/, auth: { api_key: { env: KEY } } }\nrouting: { policy: ema }\n",
    );
    let warnings: Vec<String> =
        check(&text).unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "1:10  listen[0]: clients' keys cross the network in the clear; add `tls`, or listen on loopback",
            "2:19  admin.address: anyone on the network can read metrics here; write 127.0.0.1:9090, or guard the port",
            "4:45  backends.a.weight: without effect: no model is routed by weight; leave it out, or use tiers",
            "5:3  backends.b: the same endpoint as `backends.a`; give each resource one entry, or its health is learned twice",
        ]
    );
}

/// `FIRSTLIGHT_BLESS=1 cargo test` writes the files anew.
#[test]
fn the_reference_and_the_schema_are_the_files_in_conf() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    for (name, text) in [("firstlight.yaml", reference()), ("schema.json", schema())] {
        let path = conf.join(name);
        if std::env::var_os("FIRSTLIGHT_BLESS").is_some_and(|bless| bless == "1") {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, text, "{name}: run with FIRSTLIGHT_BLESS=1");
    }
}

#[test]
fn the_reference_means_what_a_file_without_options_means() {
    let plain = r"
listen: [{ address: 0.0.0.0:8443, tls: { certificate: /etc/firstlight/tls.crt, key: /etc/firstlight/tls.key } }]
backends: { eastus2: { endpoint: https://my-aoai-eus2.openai.azure.com, auth: { api_key: { env: EUS2_KEY } } } }
models: { gpt-4o: {} }
apps:
  chat-ui:
    api_keys: [{ sha256: 090d1548c9d65f413a1a2c828a0bee3a7ae02d2137caf51e6029e6c3cb1f1fa4, name: 2026-11 }]
    entra:
      tenant: 00000000-0000-0000-0000-000000000001
      audiences: [33333333-3333-3333-3333-333333333333, api://33333333-3333-3333-3333-333333333333]
";
    let Checked { config, warnings } = check(&reference()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config, check(plain).unwrap().config);
}

/// Optional keys are comments in the reference: with the sign taken away they must be good too.
#[test]
fn what_the_reference_shows_as_a_comment_can_be_used() {
    for optional in [
        "ca: /",
        "models: [",
        "routing: {",
        "apps: [",
        "socket: /",
        "state_directory: /",
        "expires: 2",
        "scopes: [",
        "clients: [",
    ] {
        let text = reference().replace(&format!("# {optional}"), optional);
        assert_ne!(text, reference());
        assert_eq!(problems(&text), Vec::<String>::new());
    }
    for other in ["file: /", "credential: eastus2"] {
        let text =
            reference().replace("env: EUS2_KEY\n", "\n").replace(&format!("# {other}"), other);
        assert_eq!(problems(&text), Vec::<String>::new());
    }
    for other in ["managed_identity: {", "workload_identity: {", "client_secret: {"] {
        let (guid, key) = ("11111111-1111-1111-1111-111111111111", "      api_key:\n");
        let key_less =
            |text: &str| text.replacen(key, "", 1).replace("        env: EUS2_KEY\n", "");
        let text =
            key_less(&reference()).replace("TENANT", guid).replace("APP,", &format!("{guid},"));
        let text = text.replace(&format!("# {other}"), other);
        assert_eq!(problems(&text), Vec::<String>::new());
    }
}

/// Each `# unit, LEAST to MOST; default D.` in the reference is the range that the reader holds to.
#[test]
fn every_range_in_the_reference_is_the_readers() {
    let text = reference();
    let lines: Vec<&str> = text.lines().collect();
    let mut ranges = 0;
    for (number, line) in lines.iter().enumerate() {
        let Some((facts, default)) = line.split_once("; default ") else { continue };
        let Some((least, most)) = facts.split_once(" to ") else { continue };
        let least = least.rsplit(", ").next().unwrap();
        let key =
            number + lines[number..].iter().position(|line| !line.trim().starts_with('#')).unwrap();
        let (name, value) = lines[key].split_once(": ").unwrap();
        let (usual, _under_ema) = default.split_once(" (").unwrap_or((default, ""));
        assert_eq!(value, usual.trim_end_matches('.'), "{name}");
        let with = |value: &str| {
            let mut lines = lines.clone();
            let line = format!("{name}: {value}");
            lines[key] = &line;
            problems(&lines.join("\n"))
        };
        let range = format!(" from {least} to {most} (");
        for outside in
            [format!("{most}1"), "-0.001".to_owned(), ".nan".to_owned(), "1e999".to_owned()]
        {
            let told = with(&outside);
            assert_eq!(told.len(), 1, "{name}: {outside}: {told:?}");
            assert!(told[0].contains(": out of range; ") && told[0].contains(&range), "{told:?}");
        }
        for inside in [least, most] {
            let told = with(inside);
            assert!(!told.iter().any(|line| line.contains("out of range")), "{told:?}");
        }
        ranges += 1;
    }
    assert!(ranges > 70, "ranges found in the reference");
}

proptest! {
    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        answered(&text)?;
    }

    #[test]
    fn any_yaml_like_text_is_answered(words in prop::collection::vec(word(), 0..60)) {
        answered(&words.concat())?;
    }

    /// Pieces of the reference are lost, doubled and replaced.
    #[test]
    fn a_damaged_reference_is_answered(
        cuts in prop::collection::vec((0usize..20000, 0usize..60, word()), 1..6),
    ) {
        let mut text: Vec<char> = reference().chars().collect();
        for (start, length, word) in cuts {
            let start = start.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, word.chars());
        }
        answered(&text.into_iter().collect::<String>())?;
    }

    #[test]
    fn a_dump_reads_back_as_the_same(config in config()) {
        let text = dump(&config);
        let back = check(&text).map_err(|problems| TestCaseError::fail(format!("{problems:?}\n{text}")))?;
        prop_assert_eq!(back.config, config);
    }
}

/// Either a configuration that can be dumped and read back, or at least one problem, in order.
fn answered(text: &str) -> Result<(), TestCaseError> {
    match check(text) {
        Ok(Checked { config, .. }) => {
            let back = check(&dump(&config)).ok().map(|back| back.config);
            prop_assert_eq!(back, Some(config));
        }
        Err(problems) => {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| problem.line > 0 && problem.column > 0));
            let places = problems.iter().map(|problem| (problem.line, problem.column));
            prop_assert!(places.is_sorted());
        }
    }
    Ok(())
}

fn word() -> impl Strategy<Value = String> {
    let words = [
        "listen",
        "backends",
        "models",
        "apps",
        "routing",
        "api_keys",
        "address",
        "endpoint",
        "auth",
        ": ",
        "\n",
        "\n  ",
        "{ ",
        " }",
        "[",
        "]",
        ", ",
        "- ",
        "&a ",
        "*a",
        "<<: *a",
        "~",
        "null",
        "true",
        "1",
        "-1",
        "0.5",
        "1e999",
        ".nan",
        "0x10",
        "'",
        "\"",
        "#",
        "!!str ",
        "!x ",
        "|\n",
        "---\n",
        "é",
        "\u{feff}",
        "\0",
        "\t",
        "none",
        "https://x",
    ];
    prop::sample::select(words.to_vec()).prop_map(str::to_owned)
}

/// A good configuration with names and numbers that are awkward in YAML.
fn config() -> impl Strategy<Value = Config> {
    let awkward = vec!["null", "true", "1e3", "0x10", "010", "1.10", "y", "No", "2026-11-21"];
    let awkward = prop::sample::select(awkward).prop_map(str::to_owned);
    let name = prop_oneof!["[A-Za-z0-9][A-Za-z0-9._-]{0,63}", awkward];
    let seconds = (0.01f64..3600.0).prop_map(Duration::from_secs_f64);
    let path = "[ -~é]{1,20}".prop_filter("not blank", |path| !path.trim().is_empty());
    (name.clone(), name, seconds, path, 1.0f64..3000.0).prop_map(
        |(backend, model, wait, path, clear_ms)| {
            let mut config = check(MINIMAL)
                .map_or_else(|_| unreachable!("another test holds it"), |checked| checked.config);
            for one in config.backends.values_mut() {
                one.ca = Some(path.clone().into());
                one.auth = BackendAuth::ApiKey(SecretSource::File(path.clone().into()));
            }
            for one in config.models.values_mut() {
                one.backends = [(backend.clone(), model.clone())].into();
                one.first_token = wait;
                one.routing.policy = Policy::Ema;
                one.routing.recover.flag_ttl = Some(wait);
                one.routing.detect.rest_ratio_max = Some(clear_ms / 100.0);
                one.routing.candidates = None;
            }
            let backends = config.backends.into_values().take(1);
            config.backends = backends.map(|one| (backend.clone(), one)).collect();
            let models = config.models.into_values();
            config.models = models.map(|one| (model.clone(), one)).collect();
            config.timeouts.answer = wait;
            config.routing.detect.clear_ms = clear_ms;
            config
        },
    )
}

/// A part of a file, completed with what every file needs.
fn file(part: &str) -> String {
    const BLOCKS: [&str; 4] = [
        "listen: [{ address: 127.0.0.1:8080 }]\n",
        "backends: { east: { endpoint: https://east.example, auth: { api_key: { env: EAST } } } }\n",
        "models: { gpt: {} }\n",
        "apps: { chat: { api_keys: [{ sha256: 090d1548c9d65f413a1a2c828a0bee3a7ae02d2137caf51e6029e6c3cb1f1fa4, name: a }] } }\n",
    ];
    let key = |line: &str| line.split_once(':').map(|(key, _)| key.to_owned());
    let written = |block: &&str| part.lines().any(|line| key(line) == key(block));
    BLOCKS
        .into_iter()
        .filter(|block| !written(block))
        .fold(format!("{part}\n"), |text, block| text + block)
}

fn problems(text: &str) -> Vec<String> {
    check(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}
