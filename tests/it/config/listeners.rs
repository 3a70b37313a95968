//! Listeners with several certificates and apps of their own; the socket and the directory of the process.

use super::file;
use super::problems;
use firstlight::config::Checked;
use firstlight::config::check;
use firstlight::config::checked::Config;
use firstlight::config::checked::ListenerTls;
use firstlight::config::checked::Place;
use firstlight::config::checked::SecretSource;
use firstlight::config::dump;
use std::path::Path;
use std::time::Duration;

/// A good part without a warning, that a dump keeps.
fn good(part: &str) -> Config {
    let text = file(part);
    let Checked { config, warnings } = check(&text).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(check(&dump(&config)).unwrap().config, config, "{}", dump(&config));
    config
}

fn pem(path: &str) -> SecretSource {
    SecretSource::File(path.into())
}

#[test]
fn a_listener_has_one_certificate_or_several() {
    let config = good(
        r"listen:
  - address: 0.0.0.0:8443
    tls:
      - { certificate: /a.crt, key: { credential: a.key } }
      - { certificate: { file: /b.crt }, key: { file: /b.key } }
  - { address: 0.0.0.0:8444, tls: { certificate: { credential: c.crt }, key: c.key } }
  - { address: 127.0.0.1:8080 }",
    );
    let credential = |name: &str| SecretSource::Credential(name.to_owned());
    let tls = |certificate, key| ListenerTls { certificate, key };
    assert_eq!(
        config.listen[0].tls,
        [tls(pem("/a.crt"), credential("a.key")), tls(pem("/b.crt"), pem("/b.key"))]
    );
    assert_eq!(config.listen[1].tls, [tls(credential("c.crt"), pem("c.key"))]);
    assert_eq!(config.listen[2].tls, []);
}

#[test]
fn a_listener_may_be_for_some_apps_only() {
    let config = good("listen: [{ address: 127.0.0.1:1, apps: [chat] }, { address: 127.0.0.1:2 }]");
    assert_eq!(config.listen[0].apps.as_deref(), Some(&["chat".to_owned()][..]));
    assert_eq!(config.listen[1].apps, None);
}

#[test]
fn wrong_certificates_and_apps_are_told_and_never_repeated() {
    let told = problems(&file(
        r#"listen:
  - { address: 0.0.0.0:81, tls: [] }
  - { address: 0.0.0.0:82, tls: [/a.crt] }
  - { address: 0.0.0.0:83, tls: [{ certificate: /a.crt }] }
  - { address: 0.0.0.0:84, tls: { certificate: { env: hunter2 }, key: { hunter2 } } }
  - { address: 0.0.0.0:85, tls: { certificate: { credential: ../hunter2 }, key: "-----BEGIN\nhunter2" } }
  - { address: 127.0.0.1:86, apps: [chta, chat, chat] }
  - { address: 127.0.0.1:87, apps: [] }
  - { address: 127.0.0.1:88, apps: chat }"#,
    ));
    let expected = r"
2:33  listen[0].tls: empty; write at least one `- { certificate: PATH, key: PATH }`
3:34  listen[1].tls[0]: text, not a map; write a map with `certificate`, `key`
4:34  listen[2].tls[0]: `key` is missing; write `key: /etc/firstlight/tls.key`
5:48  listen[3].tls.certificate: not exactly one source of a PEM text; write the path of a PEM file, or { credential: NAME }
5:71  listen[3].tls.key: not exactly one source of a PEM text; write the path of a PEM file, or { credential: NAME }
6:62  listen[4].tls.certificate.credential: not the name of a systemd credential; write the plain name from `LoadCredential=`, without a path
6:81  listen[4].tls.key: a path with control characters; write the path of a PEM file, or { credential: NAME }
7:37  listen[5].apps[0]: no app has this name; did you mean `chat`?
7:49  listen[5].apps[2]: this app stands twice in the list; keep one of them
8:36  listen[6].apps: empty; write apps, or leave it out to allow all of them
9:36  listen[7].apps: text, not a list; write apps, or leave it out to allow all of them
";
    assert_eq!(told.join("\n"), expected.trim());
    assert!(!told.join("").contains("hunter2"), "a secret was repeated");
}

#[test]
fn paths_of_its_own_are_the_usual_ones_or_named_or_off() {
    let usual = good("");
    assert_eq!(usual.admin_socket, Place::Usual("/run/firstlight/admin.sock".into()));
    assert_eq!(usual.state_directory, Place::Usual("/var/lib/firstlight".into()));
    assert_eq!(usual.state_directory.path(), Some(Path::new("/var/lib/firstlight")));
    assert_eq!(usual.drain, Duration::from_mins(5));
    let named = good("admin: { socket: /run/firstlight/admin.sock }\nstate_directory: /srv/none");
    assert_eq!(named.admin_socket, Place::Named("/run/firstlight/admin.sock".into()));
    assert_eq!(named.state_directory, Place::Named("/srv/none".into()));
    let off = good("admin: { address: none, socket: none }\nstate_directory: none");
    assert_eq!((&off.admin_socket, &off.state_directory), (&Place::Off, &Place::Off));
    assert_eq!(off.admin_socket.path(), None);
}

#[test]
fn paths_of_its_own_are_absolute() {
    let long = |bytes: usize| format!("/run/{}", "a".repeat(bytes - 5));
    let wrong = |part: &str| problems(&file(part)).join("\n");
    assert_eq!(
        wrong("admin: { socket: run/admin.sock }\nstate_directory: ~"),
        "1:18  admin.socket: not an absolute path; write an absolute path such as /run/firstlight/admin.sock, or `none`\n\
         2:18  state_directory: empty; write an absolute path such as /var/lib/firstlight, or `none`"
    );
    assert_eq!(
        wrong(&format!("admin: {{ socket: {} }}", long(108))),
        "1:18  admin.socket: longer than the 107 bytes of a unix socket's path; write a shorter one"
    );
    assert_eq!(
        wrong("admin: { socket: /run/firstlight/ }\nstate_directory: var"),
        "1:18  admin.socket: a directory; write the path of the socket in it\n\
         2:18  state_directory: not an absolute path; write an absolute path such as /var/lib/firstlight, or `none`"
    );
    good(&format!("admin: {{ socket: {} }}", long(107)));
}
