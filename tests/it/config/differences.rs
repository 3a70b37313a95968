//! What a reload would change, told key by key.

use super::config;
use super::file;
use firstlight::config::Difference;
use firstlight::config::Takes;
use firstlight::config::adopt;
use firstlight::config::check;
use firstlight::config::checked::{Config, Listener, ListenerTls, Place, SecretSource};
use firstlight::config::diff;
use firstlight::config::reference;
use proptest::prelude::*;
use std::mem::swap;

fn read(part: &str) -> Config {
    check(&file(part)).map_err(|problems| format!("{problems:?}\n{part}")).unwrap().config
}

fn told(running: &str, new: &str) -> Vec<String> {
    diff(&read(running), &read(new)).iter().map(ToString::to_string).collect()
}

#[test]
fn one_line_for_each_key() {
    let east = "east: { endpoint: https://east.example, auth: { api_key: { env: EAST } } }";
    let running = format!(
        "backends:\n  {east}\n  old: {{ endpoint: https://old.example, auth: {{ api_key: {{ file: /old }} }} }}"
    );
    let new = format!(
        "backends:\n  {}\n  new: {{ endpoint: https://new.example, ca: /ca, auth: {{ api_key: {{ credential: new }} }} }}\n\
         models: {{ gpt: {{ backends: [east] }} }}\nlimits: {{ body_mib: 30 }}\n",
        east.replace("auth", "weight: 7, auth")
    );
    let models = "models: { gpt: { backends: [east, old] } }";
    assert_eq!(
        told(&format!("{running}\n{models}"), &new),
        [
            "~ backends.east.weight: 1 -> 7",
            "- backends.old.endpoint: https://old.example:443",
            "- backends.old.auth.api_key.file: /old",
            "- backends.old.tier: 1",
            "- backends.old.weight: 1",
            "- backends.old.max_in_flight: 0",
            "+ backends.new.endpoint: https://new.example:443",
            "+ backends.new.auth.api_key.credential: new",
            "+ backends.new.tier: 1",
            "+ backends.new.weight: 1",
            "+ backends.new.max_in_flight: 0",
            "+ backends.new.ca: /ca",
            "- models.gpt.backends.old: gpt",
            "~ limits.body_mib: 32 -> 30",
        ]
    );
}

#[test]
fn what_a_process_reads_once_takes_an_upgrade() {
    assert_eq!(
        told(
            "threads: 1\nstate_directory: /srv",
            "threads: 2\nadmin: { address: none, socket: none }\nlog: { access: false }\ninject_usage: true\ndrain_seconds: 5",
        ),
        [
            "~ admin.address: 127.0.0.1:9090 -> none (needs firstlight upgrade)",
            "+ admin.socket: none (needs firstlight upgrade)",
            "~ threads: 1 -> 2 (needs firstlight upgrade)",
            "~ log.access: true -> false (needs firstlight upgrade)",
            "~ inject_usage: false -> true",
            "~ drain_seconds: 300 -> 5",
            "- state_directory: /srv (needs firstlight upgrade)",
        ]
    );
}

#[test]
fn listeners_go_by_their_address() {
    let a = "{ address: 127.0.0.1:1, apps: [chat] }";
    let b = "{ address: 127.0.0.1:2, tls: { certificate: /b.crt, key: /b.key } }";
    let listen = |all: &[&str]| format!("listen: [{}]", all.join(", "));
    assert_eq!(told(&listen(&[a, b]), &listen(&[b, a])), [""; 0]);
    assert_eq!(
        told(&listen(&[a, b]), &listen(&[b])),
        [
            "- listen.0.address: 127.0.0.1:1 (needs firstlight upgrade)",
            "- listen.0.apps: [chat] (needs firstlight upgrade)",
        ]
    );
    assert_eq!(
        told(&listen(&[a, b]), &listen(&[a, &b.replace(":2", ":3")])),
        ["~ listen.1.address: 127.0.0.1:2 -> 127.0.0.1:3 (needs firstlight upgrade)"]
    );
    assert_eq!(
        told(&listen(&[a, b]), &listen(&["{ address: 127.0.0.1:3 }", a, b])),
        ["+ listen.0.address: 127.0.0.1:3 (needs firstlight upgrade)"]
    );
}

#[test]
fn certificates_and_apps_of_a_listener_take_a_reload_and_tls_itself_does_not() {
    let listen = |rest: &str| format!("listen: [{{ address: 127.0.0.1:1{rest} }}]");
    let one = listen(", tls: { certificate: /a.crt, key: /a.key }");
    assert_eq!(
        told(&one, &listen(", tls: { certificate: /b.crt, key: { credential: a } }, apps: [chat]")),
        [
            "~ listen.0.tls.certificate: /a.crt -> /b.crt",
            "- listen.0.tls.key: /a.key",
            "+ listen.0.tls.key.credential: a",
            "+ listen.0.apps: [chat]",
        ]
    );
    assert_eq!(
        told(
            &one,
            &listen(
                ", tls: [{ certificate: /a.crt, key: /a.key }, { certificate: /b.crt, key: /b.key }]"
            )
        ),
        ["+ listen.0.tls.1.certificate: /b.crt", "+ listen.0.tls.1.key: /b.key"]
    );
    assert_eq!(
        told(&one, &listen("")),
        [
            "- listen.0.tls.certificate: /a.crt (needs firstlight upgrade)",
            "- listen.0.tls.key: /a.key (needs firstlight upgrade)",
        ]
    );
}

#[test]
fn a_hash_is_never_told_whole() {
    let (a, b) = ("a".repeat(64), format!("{}b", "a".repeat(63)));
    let app = |keys: &str| format!("apps: {{ chat: {{ api_keys: [{keys}] }} }}");
    let key = |hash: &str, name: &str| format!("{{ sha256: {hash}, name: {name} }}");
    let old = app(&key(&a, "old"));
    assert_eq!(
        told(&old, &app(&key(&b, "old"))),
        ["~ apps.chat.api_keys.old: aaaaaaaa -> aaaaaaaa"]
    );
    assert_eq!(
        told(&old, &app(&format!("{}, {}", key(&"1".repeat(64), "new"), key(&a, "old")))),
        ["+ apps.chat.api_keys.new: 11111111"]
    );
}

#[test]
fn the_order_of_names_means_nothing() {
    let with = |models: &str| {
        format!(
            "models: {{ a: {{}}, b: {{}} }}\napps: {{ chat: {{ api_keys: [{{ sha256: {}, name: a }}], models: {models} }} }}",
            "1".repeat(64)
        )
    };
    assert_eq!(told(&with("[a, b]"), &with("[b, a]")), [""; 0]);
    assert_eq!(told(&with("[a, b]"), &with("[b]")), ["~ apps.chat.models: [a, b] -> [b]"]);
}

/// A model inherits: what is changed for all is told once, and a model's own is told as its own.
#[test]
fn a_model_has_only_the_routing_of_its_own() {
    let with = |own: &str, all: &str| {
        format!(
            "models: {{ a: {{ routing: {{ {own} }} }}, b: {{ probe: off }} }}\nrouting: {{ {all} }}"
        )
    };
    let own = "hedge: { enabled: false }";
    assert_eq!(
        told(&with(own, "candidates: 2"), &with(own, "candidates: 4")),
        ["~ routing.candidates: 2 -> 4"]
    );
    assert_eq!(told(&with("", ""), &with(own, "")), ["+ models.a.routing.hedge.enabled: false"]);
    assert_eq!(
        told(&with("", ""), &with("policy: ema, ema_alpha: 0.5", "")),
        [
            "~ models.a.first_token_seconds: 240 -> 60",
            "+ models.a.routing.policy: ema",
            "+ models.a.routing.ema_alpha: 0.5",
        ]
    );
}

/// Every number, flag and word of the reference, changed by itself.
#[test]
fn each_change_of_a_key_is_told_once_and_nothing_else_is() {
    let text = reference();
    let running = check(&text).unwrap().config;
    let lines: Vec<&str> = text.lines().collect();
    let mut path: Vec<&str> = Vec::new();
    let (mut told, mut refused) = (0, 0);
    for (number, line) in lines.iter().enumerate() {
        let entry = line.trim_start().trim_start_matches("- ");
        let Some((name, value)) = entry.split_once(':').filter(|_| !entry.starts_with('#')) else {
            continue;
        };
        path.truncate((line.len() - line.trim_start().len()) / 2);
        path.push(name);
        let facts = lines[..number].iter().rev().take_while(|line| line.trim().starts_with('#'));
        let facts = facts.last().unwrap_or(&"").trim();
        let other = match facts.split_once("; default ") {
            Some(("# true or false", _)) => {
                if value == " true" {
                    "false"
                } else {
                    "true"
                }
            }
            Some((range, _)) => range.split_once(" to ").map_or("", |(_, most)| most),
            None => continue,
        };
        if other.is_empty() || path == ["timeouts", "first_token_seconds"] {
            continue;
        }
        let changed = format!("{}: {other}", line.split_once(':').unwrap().0);
        let mut lines = lines.clone();
        lines[number] = &changed;
        let Ok(checked) = check(&lines.join("\n")) else {
            refused += 1;
            continue;
        };
        let found = diff(&running, &checked.config);
        let [one] = found.as_slice() else { panic!("{path:?}: {found:?}") };
        assert_eq!(
            (one.path.as_str(), one.after.as_deref()),
            (path.join(".").as_str(), Some(other))
        );
        assert_eq!(one.before.as_deref(), Some(value.trim()));
        told += 1;
    }
    assert!(told > 60 && refused < 10, "{told} told, {refused} that do not go with the others");
}

/// Listeners on few addresses, one of which several may have, with and without TLS and apps of their own.
fn listeners() -> impl Strategy<Value = Vec<Listener>> {
    let pem = |name: &str| SecretSource::File(name.into());
    let tls = move |name: String| ListenerTls { certificate: pem(&name), key: pem("key") };
    let tls = prop::collection::vec("[ab]".prop_map(tls), 0..3);
    let apps = prop::option::of(prop::collection::vec("[xy]", 0..2));
    let address = prop::sample::select(vec!["127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:2"]);
    let one = (address, tls, apps).prop_map(|(address, tls, apps)| Listener {
        address: address.parse().unwrap(),
        tls,
        apps,
    });
    prop::collection::vec(one, 1..4)
}

/// As `config`, and anything else that a process is bound to.
fn bound() -> impl Strategy<Value = Config> {
    let admin = prop::option::of((1u16..4).prop_map(|port| ([127, 0, 0, 9], port).into()));
    let place = || {
        let paths = ["/a", "/b"].map(|path| Place::Named(path.into()));
        prop::sample::select([paths.as_slice(), &[Place::Off]].concat())
    };
    let rest = (admin, place(), place(), 0usize..3, any::<bool>());
    (config(), listeners(), rest).prop_map(|(config, listen, rest)| {
        let (admin, admin_socket, state_directory, threads, access) = rest;
        let mut log = config.log.clone();
        log.access = access;
        Config { listen, admin, admin_socket, state_directory, threads, log, ..config }
    })
}

/// A file that trusts this machine listens on it alone; a process that reloads it may not.
#[test]
fn a_reload_does_not_join_open_listeners_with_a_file_that_trusts_this_machine() {
    let of = |text: &str| check(text).unwrap().config;
    let running = of(&file("listen: [{ address: 0.0.0.0:80, tls: { certificate: a, key: b } }]"));
    let near = "listen: [{ address: 127.0.0.1:8080 }]\nentra: { authority: http://127.0.0.1:9 }";
    let refused = adopt(&running, of(&file(near))).unwrap_err();
    assert!(refused.starts_with("entra.authority: a loopback endpoint, while"), "{refused}");
    assert!(refused.ends_with("use `firstlight upgrade`, which takes over all of the file"));
}

/// Who may use an address holds at once, though how it speaks has to wait.
#[test]
fn the_apps_of_a_listener_are_taken_over_whatever_else_waits() {
    let of = |listen: &str| check(&file(&format!("listen: [{{ address: 127.0.0.1:80{listen} }}]")));
    let (plain, secure) = (of(""), of(", tls: { certificate: a, key: b }, apps: [chat]"));
    let adopted = adopt(&plain.unwrap().config, secure.unwrap().config).unwrap();
    assert_eq!(adopted.listen[0].tls, []);
    assert_eq!(adopted.listen[0].apps, Some(vec!["chat".to_owned()]));
}

proptest! {
    /// What a reload takes over and what it leaves waiting, together, is all that is different.
    #[test]
    fn a_reload_takes_what_it_can_and_leaves_the_rest(running in bound(), file in bound()) {
        // What must not stand together is refused: another test has that.
        let Ok(adopted) = adopt(&running, file.clone()) else { return Ok(()) };
        let (done, waiting) = (diff(&running, &adopted), diff(&adopted, &file));
        prop_assert!(done.iter().all(|one| one.takes == Takes::Reload), "{:?}", done);
        prop_assert!(waiting.iter().all(|one| one.takes == Takes::Upgrade), "{:?}", waiting);
        prop_assert_eq!(adopt(&adopted, file), Ok(adopted), "once more changes nothing");
        prop_assert_eq!(adopt(&running, running.clone()), Ok(running));
    }

    #[test]
    fn nothing_is_different_from_itself(config in config()) {
        prop_assert_eq!(diff(&config, &config), []);
    }

    /// The way back is the way there, and what is told is all there is.
    #[test]
    fn there_and_back_tell_the_same(a in config(), b in config()) {
        let there = diff(&a, &b);
        prop_assert_eq!(there.is_empty(), a == b);
        let mut back = diff(&b, &a);
        for one in &mut back {
            swap(&mut one.before, &mut one.after);
        }
        let key = |one: &Difference| (one.path.clone(), one.before.clone());
        let mut sorted = there.clone();
        sorted.sort_by_key(key);
        back.sort_by_key(key);
        prop_assert_eq!(&sorted, &back);
        let mut paths: Vec<_> = there.iter().map(|one| (&one.path, one.before.is_some(), one.after.is_some())).collect();
        let count = paths.len();
        paths.sort();
        paths.dedup();
        prop_assert_eq!(paths.len(), count);
        prop_assert!(there.iter().all(|one| one.takes == Takes::Reload));
    }
}
