//! Files with mistakes, and every line that is said about them.
//!
//! A part of a file is completed with good values for what it leaves out, so that the problems told are
//! those of the part. `hunter2` stands wherever somebody may put a secret, and must never be repeated.

use super::file;
use super::problems;

pub(super) fn wrong(part: &str, expected: &str) {
    told(&file(part), expected);
}

fn told(text: &str, expected: &str) {
    let told = problems(text).join("\n");
    assert_eq!(told, expected.trim(), "for the file\n{text}");
    assert!(!told.contains("hunter2"), "a secret was repeated");
}

#[test]
fn listeners_need_an_address_of_their_own_and_whole_tls() {
    wrong("listen: []", "1:9  listen: empty; write at least one `- address: HOST:PORT`");
    wrong(
        "listen: 0.0.0.0:80",
        "1:9  listen: text, not a list; write at least one `- address: HOST:PORT`",
    );
    wrong(
        "listen: [{ address: localhost }, { adress: 127.0.0.1:80 }]",
        r"
1:21  listen[0].address: not an address with a port; write an address and a port, such as 0.0.0.0:8443 or [::1]:8443
1:34  listen[1]: `address` is missing; write `address: 0.0.0.0:8443`
1:36  listen[1].adress: unknown key; did you mean `address`?
",
    );
    wrong(
        "listen: [{ address: 127.0.0.1:80, tls: { certificate: a.crt } }]",
        "1:35  listen[0].tls: `key` is missing; write `key: /etc/firstlight/tls.key`",
    );
    wrong(
        "listen: [{ address: 127.0.0.1:80 }, { address: 127.0.0.1:0 }, { address: 127.0.0.1:0 }, { address: 127.0.0.1:80 }]",
        "1:100  listen[3].address: the address of `listen[0].address`; give each listener a port of its own",
    );
    wrong(
        "listen: [{ address: 127.0.0.1:9090 }]",
        "1:1  admin.address: the address of `listen[0].address`; give each listener a port of its own",
    );
    wrong(
        r"listen: [{ address: 0.0.0.0:80, tls: { certificate: a, key: b } }]
admin: { address: 127.0.0.1:80 }",
        "2:19  admin.address: the address of `listen[0].address`; give each listener a port of its own",
    );
    wrong("admin: off", "1:8  admin: text, not a map; write a map with `address`, `socket`");
}

#[test]
fn endpoints_are_scheme_host_and_port() {
    wrong(
        r#"backends:
  a: { endpoint: east.example, auth: { api_key: { env: K } } }
  b: { endpoint: ftp://east.example, auth: { api_key: { env: K } } }
  c: { endpoint: https://east.example/openai, auth: { api_key: { env: K } } }
  d: { endpoint: https://user:hunter2@east.example, auth: { api_key: { env: K } } }
  e: { endpoint: https://east.example?x=hunter2, auth: { api_key: { env: K } } }
  f: { endpoint: https://east.example:0, auth: { api_key: { env: K } } }
  g: { endpoint: https://east.example:+44, auth: { api_key: { env: K } } }
  h: { endpoint: http://east.example, auth: { api_key: { env: K } } }
  i: { endpoint: https://169.254.169.254, auth: { api_key: { env: K } } }
  j: { endpoint: "https://[fe80::1]", auth: { api_key: { env: K } } }
  k: { endpoint: "https://[::ffff:169.254.169.254]", auth: { api_key: { env: K } } }
  l: { endpoint: https://0.0.0.0, auth: { api_key: { env: K } } }
  m: { endpoint: "https://[::]", auth: { api_key: { env: K } } }
  n: { endpoint: https://0x7f.1, auth: { api_key: { env: K } } }
  o: { endpoint: https://2130706433, auth: { api_key: { env: K } } }
  p: { endpoint: https://, auth: { api_key: { env: K } } }
  q: { endpoint: https://east..example, auth: { api_key: { env: K } } }"#,
        r"
2:18  backends.a.endpoint: not scheme://host; write `https://NAME.openai.azure.com`
3:18  backends.b.endpoint: neither https nor http; write `https://NAME.openai.azure.com`
4:18  backends.c.endpoint: something behind the host; write only scheme, host and port; Firstlight adds the path
5:18  backends.d.endpoint: user info in an endpoint; leave out everything up to the `@`; secrets belong in `auth`
6:18  backends.e.endpoint: something behind the host; write only scheme, host and port; Firstlight adds the path
7:18  backends.f.endpoint: not a port behind the host; write a number from 1 to 65535, or leave it out
8:18  backends.g.endpoint: not a port behind the host; write a number from 1 to 65535, or leave it out
9:18  backends.h.endpoint: plain http to a host that is not on loopback; write `https://`; the key must not travel in the clear
10:18  backends.i.endpoint: a link-local address; write the backend's own address; metadata services live here
11:18  backends.j.endpoint: a link-local address; write the backend's own address; metadata services live here
12:18  backends.k.endpoint: a link-local address; write the backend's own address; metadata services live here
13:18  backends.l.endpoint: an address that no single host has; write the backend's own address
14:18  backends.m.endpoint: an address that no single host has; write the backend's own address
15:18  backends.n.endpoint: neither a host name nor an address; write an address with four decimal numbers
16:18  backends.o.endpoint: neither a host name nor an address; write an address with four decimal numbers
17:18  backends.p.endpoint: not a host name; write `https://NAME.openai.azure.com`
18:18  backends.q.endpoint: not a host name; write `https://NAME.openai.azure.com`
",
    );
}

#[test]
fn loopback_is_not_mixed_with_the_network() {
    wrong(
        r"listen: [{ address: 0.0.0.0:80, tls: { certificate: a, key: b } }]
backends: { near: { endpoint: http://127.0.0.1:9001, auth: none } }
apps: { dev: { anonymous: true } }",
        r"
2:31  backends.near.endpoint: a loopback endpoint, while other machines reach `listen[0].address`; write an endpoint elsewhere, or listen on 127.0.0.1 only
2:60  backends.near.auth: allowed only on loopback, and `listen[0].address` is not; use keys, or put every listener and every endpoint on loopback
3:27  apps.dev.anonymous: allowed only on loopback, and `listen[0].address` is not; use keys, or put every listener and every endpoint on loopback
",
    );
    wrong(
        r"backends:
  near: { endpoint: http://localhost:9001, auth: none }
  far: { endpoint: https://east.example, auth: { api_key: { env: K } } }
apps: { dev: { anonymous: true } }",
        r"
2:50  backends.near.auth: allowed only on loopback, and `backends.far.endpoint` is not; use keys, or put every listener and every endpoint on loopback
4:27  apps.dev.anonymous: allowed only on loopback, and `backends.far.endpoint` is not; use keys, or put every listener and every endpoint on loopback
",
    );
    wrong(
        r#"listen: [{ address: 127.0.0.1:80 }]
backends: { near: { endpoint: "http://[::1]:9001", auth: none } }
apps: { dev: { anonymous: true }, test: { anonymous: true } }"#,
        "3:54  apps.test.anonymous: a second anonymous app beside `apps.dev`; keep one: nothing tells their requests apart",
    );
}

#[test]
fn secrets_have_a_source_and_are_never_repeated() {
    wrong(
        r"backends:
  a: { endpoint: https://a.example, auth: hunter2 }
  b: { endpoint: https://b.example, auth: { api_key: hunter2 } }
  c: { endpoint: https://c.example, auth: { hunter2 } }
  d: { endpoint: https://d.example, auth: { api_key: { hunter2 } } }
  e: { endpoint: https://e.example, auth: { api_key: { env: hunter2-hunter2 } } }
  f: { endpoint: https://f.example, auth: { api_key: { env: A, file: b } } }
  g: { endpoint: https://g.example, auth: { api_key: { credential: ../hunter2 } } }
  h: { endpoint: https://h.example, auth: { api_key: { file: } } }
  i: { endpoint: https://i.example, auth: {} }
  j: { endpoint: https://j.example, auth: { api_key: [hunter2] } }
  k: { endpoint: https://k.example, auth: { managed_identity: {}, api_key: { env: K } } }",
        r"
2:43  backends.a.auth: text that is no way to prove ourselves; write `managed_identity`, or a map with one of `managed_identity`, `workload_identity`, `client_secret`, `api_key`
3:54  backends.b.auth.api_key: a secret, or nothing, where its source belongs; put it elsewhere and write { env: NAME }, { file: /path } or { credential: name }
4:45  backends.c.auth: unknown key; write one of `api_key`, `managed_identity`, `workload_identity`, `client_secret`
5:54  backends.d.auth.api_key: not exactly one source of a secret; write { env: NAME }, { file: /path } or { credential: name }
6:61  backends.e.auth.api_key.env: not the name of an environment variable; write letters, digits and `_`, no digit first; the secret itself belongs in the variable
7:54  backends.f.auth.api_key: not exactly one source of a secret; write { env: NAME }, { file: /path } or { credential: name }
8:68  backends.g.auth.api_key.credential: not the name of a systemd credential; write the plain name from `LoadCredential=`, without a path
9:60  backends.h.auth.api_key.file: empty; write the path of a file that holds the key
10:37  backends.i.auth: not exactly one way to prove ourselves; write `managed_identity`, or a map with one of `managed_identity`, `workload_identity`, `client_secret`, `api_key`
11:54  backends.j.auth.api_key: a secret, or nothing, where its source belongs; put it elsewhere and write { env: NAME }, { file: /path } or { credential: name }
12:37  backends.k.auth: not exactly one way to prove ourselves; write `managed_identity`, or a map with one of `managed_identity`, `workload_identity`, `client_secret`, `api_key`
",
    );
}

#[test]
fn client_keys_are_hashes_that_belong_to_one_app() {
    wrong(
        r"apps:
  a: { api_keys: [{ sha256: hunter2, name: a }] }
  b: { api_keys: [hunter2, { hunter2 }, { key: hunter2 }] }
  c: { api_keys: hunter2 }
  d: { api_key: hunter2 }
  e: { api_keys: [{ sha256: 0000000000000000000000000000000000000000000000000000000000000000, name: a }] }
  f: { api_keys: [{ sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, name: a }] }
  g: { api_keys: [{ sha256: 090d1548c9d65f413a1a2c828a0bee3a7ae02d2137caf51e6029e6c3cb1f1fa4, name: a }] }
  h: { api_keys: [{ sha256: 090D1548C9D65F413A1A2C828A0BEE3A7AE02D2137CAF51E6029E6C3CB1F1FA4, name: a }] }
  i: { api_keys: [{ sha256: 1111111111111111111111111111111111111111111111111111111111111111, name: a }, { sha256: 2222222222222222222222222222222222222222222222222222222222222222, name: a }] }
  j: {}
  k: { api_keys: [] }
  l: { api_keys: [{ sha256: 0000000000000000000000000000000000000000000000000000000000000010, name: n16 },{ sha256: 0000000000000000000000000000000000000000000000000000000000000011, name: n17 },{ sha256: 0000000000000000000000000000000000000000000000000000000000000012, name: n18 },{ sha256: 0000000000000000000000000000000000000000000000000000000000000013, name: n19 },{ sha256: 0000000000000000000000000000000000000000000000000000000000000014, name: n20 },{ sha256: 0000000000000000000000000000000000000000000000000000000000000015, name: n21 },{ sha256: 0000000000000000000000000000000000000000000000000000000000000016, name: n22 },{ sha256: 0000000000000000000000000000000000000000000000000000000000000017, name: n23 },{ sha256: 0000000000000000000000000000000000000000000000000000000000000018, name: n24 }] }",
        r"
2:29  apps.a.api_keys[0].sha256: not a SHA-256: 64 hexadecimal digits; write what `firstlight key hash` prints for the key
3:19  apps.b.api_keys[0]: text, not a map; write a map with `sha256`, `name`, `expires`
3:28  apps.b.api_keys[1]: `name` is missing; write `name: NAME`
3:28  apps.b.api_keys[1]: `sha256` is missing; write `sha256: 64 hexadecimal digits`
3:30  apps.b.api_keys[1]: unknown key; write one of `sha256`, `name`, `expires`
3:41  apps.b.api_keys[2]: `name` is missing; write `name: NAME`
3:41  apps.b.api_keys[2]: `sha256` is missing; write `sha256: 64 hexadecimal digits`
3:43  apps.b.api_keys[2]: unknown key; write one of `sha256`, `name`, `expires`
4:18  apps.c.api_keys: text, not a list; write at least one `{ sha256: HASH, name: NAME }`
5:3  apps.d: no way to prove a request; write `api_keys: [{ sha256: HASH, name: NAME }]` or `entra: { tenant: GUID, audiences: [GUID] }`
5:8  apps.d.api_key: unknown key; did you mean `api_keys`?
6:29  apps.e.api_keys[0].sha256: zeros, which no key hashes to; write what `firstlight key hash` prints for the key
7:29  apps.f.api_keys[0].sha256: the SHA-256 of nothing: the key was empty when it was hashed; write what `firstlight key hash` prints for the key
9:29  apps.h.api_keys[0].sha256: the same key as `apps.g.api_keys[0].sha256`; give each app keys of its own: this one is ambiguous
10:106  apps.i.api_keys[1]: another key of this app has this name; give each key a name of its own
11:3  apps.j: no way to prove a request; write `api_keys: [{ sha256: HASH, name: NAME }]` or `entra: { tenant: GUID, audiences: [GUID] }`
12:18  apps.k.api_keys: empty; write at least one `{ sha256: HASH, name: NAME }`
13:18  apps.l.api_keys: more than 8 keys; remove those that nobody uses any more
",
    );
}

#[test]
fn names_point_somewhere() {
    wrong(
        r#"models:
  gpt: { backends: [eats] }
  mini: { backends: { east: mini/prod, mars: mini } }
  both: { backends: [east, east] }
  none: { backends: [] }
  "a b": {}
  gpt-5: { probe: chta }
apps:
  chat: { anonymous: false, models: [gtp, gpt, gpt], api_keys: [{ sha256: 090d1548c9d65f413a1a2c828a0bee3a7ae02d2137caf51e6029e6c3cb1f1fa4, name: a }] }"#,
        r"
2:21  models.gpt.backends[0]: no backend has this name; did you mean `east`?
3:29  models.mini.backends.east: not a deployment's name; write 1 to 64 letters, digits, `.`, `_` or `-`, as in the Azure portal
3:40  models.mini.backends.mars: no backend has this name; write `east`
4:28  models.both.backends[1]: this backend stands twice in the list; keep one of them
5:21  models.none.backends: empty; write `[NAME]` or `{ NAME: deployment }`
6:3  models.a b: not a name; write 1 to 64 letters, digits, `.`, `_` or `-`, the first one a letter or digit
7:19  models.gpt-5.probe: not a word that is known here; did you mean `chat`?
9:38  apps.chat.models[0]: no model has this name; did you mean `gpt`?
9:48  apps.chat.models[2]: this model stands twice in the list; keep one of them
",
    );
}

#[test]
fn unknown_keys_are_errors() {
    wrong(
        r"listne: []
routing: { ema_alpa: 0.3, detect: { trip_seconds: 8 } }
timeout: {}
frobnicate: 1",
        r"
1:1  listne: unknown key; did you mean `listen`?
2:12  routing.ema_alpa: unknown key; did you mean `ema_alpha`?
2:37  routing.detect.trip_seconds: unknown key; did you mean `trip_ms`?
3:1  timeout: unknown key; did you mean `timeouts`?
4:1  frobnicate: unknown key; write one of `listen`, `admin`, `threads`, `extra_paths`, `trusted_proxies`, `status_path`, `front_door_id`, `backends`, `models`, `apps`, `entra`, `caller`, `routing`, `retry`, `timeouts`, `limits`, `log`, `inject_usage`, `dns`, `drain_seconds`, 1 more
",
    );
    wrong(
        r"? [a]
: 1",
        "1:3  (file): a key that is not text; write `name: value`",
    );
}

#[test]
fn numbers_are_in_range_and_agree() {
    wrong(
        r#"routing:
  ema_alpha: 0
  score_ttl_seconds: .nan
  default_score_ms: .inf
  detect: { trip_ms: 1e999, strikes_to_trip: "2", strike_ttl_seconds: -1 }
  probe: { count: 2.5, interval_seconds: 99999999999999999999, max_tokens: 0 }
retry: { max_attempts: 11, budget_min: -1 }
limits: { body_mib: 18446744073709551615 }
log: { access: yes }
inject_usage: 1
threads: many
drain_seconds:"#,
        r"
2:14  routing.ema_alpha: out of range; write a number from 0.001 to 1 (share)
3:22  routing.score_ttl_seconds: out of range; write a number from 0.01 to 86400 (seconds)
4:21  routing.default_score_ms: out of range; write a number from 1 to 600000 (milliseconds)
5:22  routing.detect.trip_ms: out of range; write a number from 1 to 600000 (milliseconds)
5:46  routing.detect.strikes_to_trip: text in quotes, not a number; leave out the quotes: a number from 0.1 to 100 (strikes)
5:71  routing.detect.strike_ttl_seconds: out of range; write a number from 0.01 to 86400 (seconds)
6:19  routing.probe.count: out of range; write a whole number from 1 to 10 (probes)
6:42  routing.probe.interval_seconds: out of range; write a number from 0 to 86400 (seconds)
6:76  routing.probe.max_tokens: out of range; write a whole number from 1 to 100 (tokens)
7:24  retry.max_attempts: out of range; write a whole number from 1 to 10 (attempts)
7:40  retry.budget_min: out of range; write a whole number from 0 to 10000 (retries)
8:21  limits.body_mib: out of range; write a whole number from 1 to 1024 (MiB)
9:16  log.access: text, not true or false; write `true` or `false`, without quotes
10:15  inject_usage: a number, not true or false; write `true` or `false`, without quotes
11:10  threads: text, not a number; write a whole number from 0 to 1024 (worker threads)
12:14  drain_seconds: empty, not a number; write a number from 0 to 86400 (seconds)
",
    );
    wrong(
        "routing: { detect: { trip_ms: 1000 } }",
        "1:31  routing.detect.trip_ms: below `clear_ms`, which is 3000; write at least 3000, or a smaller `clear_ms`",
    );
    wrong(
        "routing: { detect: { clear_ms: 9000, strike_error: 3 }, limit: { default_seconds: 200 } }",
        r"
1:32  routing.detect.clear_ms: above `trip_ms`, which is 8000; write at most 8000
1:52  routing.detect.strike_error: above `strikes_to_trip`, which is 2; write at most 2
1:83  routing.limit.default_seconds: above `max_seconds`, which is 120; write at most 120
",
    );
    wrong(
        r"routing: [ema]
retry: 3",
        r"
1:10  routing: a list, not a map; write a map with `policy`, `candidates`, `inflight_slack`, `ema_alpha`, `score_ttl_seconds`, `default_score_ms`, `spill_share`, `affinity`, `detect`, `baseline`, `recover`, `probe`, `overflow`, `hedge`, `limit`
2:8  retry: a number, not a map; write a map with `max_attempts`, `budget_share`, `budget_min`, `hold_headers_seconds`, `repeatable_tools`
",
    );
    wrong(
        "routing: { detect: { trip_ms: 0, clear_ms: 9000 } }",
        "1:31  routing.detect.trip_ms: out of range; write a number from 1 to 600000 (milliseconds)",
    );
}

#[test]
fn numbers_of_one_policy_agree() {
    wrong(
        "routing: { detect: { late_mult_min: 3, late_mult_max: 2 }, recover: { probe_backoff_seconds: 90 } }",
        r"
1:37  routing.detect.late_mult_min: above `late_mult_start`, which is 2.2; write at most 2.2
1:55  routing.detect.late_mult_max: below `late_mult_start`, which is 2.2; write at least 2.2, or a smaller `late_mult_start`
1:94  routing.recover.probe_backoff_seconds: above `probe_backoff_max_seconds`, which is 30; write at most 30
",
    );
    wrong(
        "routing: { policy: lookot, recover: { probe_backoff_seconds: 0 } }",
        r"
1:20  routing.policy: not a word that is known here; did you mean `lookout`?
1:62  routing.recover.probe_backoff_seconds: nothing is left that brings a degraded target back; write a `flag_ttl_seconds` above 0, or let it be probed
",
    );
    wrong(
        "routing: { policy: ema, recover: { flag_ttl_seconds: 0 }, probe: { interval_seconds: 0 } }",
        r"
1:54  routing.recover.flag_ttl_seconds: nothing is left that brings a degraded target back; write a `flag_ttl_seconds` above 0, or let it be probed
",
    );
}

#[test]
fn the_routing_of_a_model_is_checked_in_its_place() {
    wrong(
        r"models:
  gpt: { routing: { hegde: {}, detect: { trip_ms: 1000, strike_eror: 1 } } }
  mini: { routing: { policy: ema, hedge: { enabled: yes }, detect: { clear_ms: 9000 } } }
  quiet: { probe: off, routing: { recover: { flag_ttl_seconds: 0 } } }
  alike: { routing: { recover: { ramp_seconds: 1 } } }
  list: { routing: [ema] }
routing: { detect: { clear_ms: 2000 }, limit: { max_seconds: 0 } }",
        r"
2:21  models.gpt.routing.hegde: unknown key; did you mean `hedge`?
2:51  models.gpt.routing.detect.trip_ms: below `clear_ms`, which is 2000; write at least 2000, or a smaller `clear_ms`
2:57  models.gpt.routing.detect.strike_eror: unknown key; did you mean `strike_error`?
3:53  models.mini.routing.hedge.enabled: text, not true or false; write `true` or `false`, without quotes
3:80  models.mini.routing.detect.clear_ms: above `trip_ms`, which is 8000; write at most 8000
4:64  models.quiet.routing.recover.flag_ttl_seconds: nothing is left that brings a degraded target back; write a `flag_ttl_seconds` above 0, or let it be probed
6:20  models.list.routing: a list, not a map; write a map with `policy`, `candidates`, `inflight_slack`, `ema_alpha`, `score_ttl_seconds`, `default_score_ms`, `spill_share`, `affinity`, `detect`, `baseline`, `recover`, `probe`, `overflow`, `hedge`, `limit`
7:62  routing.limit.max_seconds: out of range; write a number from 0.01 to 86400 (seconds)
",
    );
    wrong(
        r"models: { quiet: { probe: off } }
routing: { recover: { flag_ttl_seconds: 0 } }",
        r"
1:27  models.quiet.probe: nothing is left that brings a degraded target back; write a `flag_ttl_seconds` above 0, or let it be probed
",
    );
}

#[test]
fn text_that_is_not_yaml_tells_its_first_mistake() {
    told(
        "listen: [",
        "1:9  (file): a bracket that is not closed, or closed by another kind; close each `[` with `]` and each `{` with `}`",
    );
    told("a: b: c", "1:5  (file): a second `: ` in one line; quote text that holds `: `");
    told("a: *b", "1:4  (file): an alias without an anchor; quote text that begins with `*`");
    told(
        "a: !secret hunter2",
        "1:12  (file): a tag without a meaning here; quote text that begins with `!`",
    );
    told(
        r"a: 1
---
b: 2",
        "3:1  (file): a second document; write only one",
    );
    told(
        r#"key: "hunter2\q""#,
        "1:6  (file): an unknown escape in double quotes; write `\\\\` for a backslash, or use single quotes",
    );
}

#[test]
fn a_key_that_stands_twice_does_not_hide_the_rest() {
    wrong(
        r"threads: 1
threads: 2
retry: { max_attempts: 0 }",
        r"
2:1  (file): threads stands twice in one map; keep one of them
3:24  retry.max_attempts: out of range; write a whole number from 1 to 10 (attempts)
",
    );
}
