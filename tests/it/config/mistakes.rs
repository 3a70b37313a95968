//! Mistakes that people make: each is told in one line that says where it is, what it is and what to write.

use super::problems;
use firstlight::clock::Clock;
use firstlight::config::check;
use firstlight::live::Live;

const GOOD: &str = "\
listen:
  - address: 127.0.0.1:8080
backends:
  east:
    endpoint: https://east.example
    auth: { api_key: { env: EAST } }
models:
  gpt: {}
apps:
  chat:
    api_keys:
      - { sha256: 090d1548c9d65f413a1a2c828a0bee3a7ae02d2137caf51e6029e6c3cb1f1fa4, name: a }
";

/// The line that is told when `right` is written as `wrong`.
fn instead_of(right: &str, wrong: &str) -> String {
    assert_eq!(GOOD.matches(right).count(), 1, "{right}");
    only(&GOOD.replace(right, wrong))
}

/// The line that is told when this stands at the end.
fn with(line: &str) -> String {
    only(&format!("{GOOD}{line}\n"))
}

fn only(text: &str) -> String {
    let told = problems(text);
    assert_eq!(told.len(), 1, "{told:?} for\n{text}");
    assert!(!told[0].contains("hunter2"), "a secret was repeated");
    told[0].clone()
}

#[test]
fn tabs() {
    const TAB: &str = "(file): a tab in the indentation; write spaces instead";
    let endpoint = "    endpoint: https://east.example\n    auth";
    let tabs = "\tendpoint: https://east.example\n\tauth";
    assert_eq!(instead_of(endpoint, tabs), format!("5:1  {TAB}"));
    assert_eq!(instead_of("    auth:", "  \tauth:"), format!("6:3  {TAB}"));
    assert_eq!(instead_of("  gpt:", "\tgpt:"), format!("8:1  {TAB}"));
}

#[test]
fn tools_that_are_no_types() {
    let at = "retry.repeatable_tools";
    let told = |list: &str| with(&format!("retry: {{ repeatable_tools: {list} }}"));
    let odd = format!(
        "13:29  {at}[0]: not the type of a tool; write types as requests name them, such as `mcp`, or `all`"
    );
    assert_eq!(told("[MCP]"), odd);
    assert_eq!(told("[\"*\"]"), odd);
    let twice = format!("13:34  {at}[1]: it stands twice in the list; keep one of them");
    assert_eq!(told("[mcp, mcp]"), twice);
    assert_eq!(told("[]"), format!("13:28  {at}: empty; write [mcp]"));
    assert_eq!(told("mcp"), format!("13:28  {at}: text, not a list; write [mcp]"));
}

#[test]
fn too_little_indentation() {
    let inner = "    endpoint: https://east.example\n    auth:";
    assert_eq!(
        instead_of(inner, "  endpoint: https://east.example\n  auth:"),
        "5:3  endpoint: beside `east`, not in it; indent it, and what follows it, by two spaces more"
    );
    assert_eq!(
        instead_of(
            "  east:\n    endpoint: https://east.example\n    auth",
            "east:\n  endpoint: https://east.example\n  auth"
        ),
        "4:1  east: beside `backends`, not in it; indent it, and what follows it, by two spaces more"
    );
    assert_eq!(
        with("routing:\ndetect: { trip_ms: 9000 }\nema_alpha: 0.2"),
        "14:1  detect: beside `routing`, not in it; indent it, and what follows it, by two spaces more"
    );
    assert_eq!(
        instead_of("    auth:", "   auth:"),
        "6:4  (file): an indentation that no line above has; start it in the column of the other keys of its map"
    );
}

/// Names are the operator's: an empty entry beside others is no mistake.
#[test]
fn names_that_look_like_keys_stay_names() {
    let models = "models:\n  gpt:\n  probe: { probe: chat }\n  chat:\n  routing:\n";
    let config = check(&GOOD.replace("models:\n  gpt: {}\n", models)).unwrap().config;
    assert!(config.models.keys().eq(["chat", "gpt", "probe", "routing"]));
}

#[test]
fn too_much_indentation() {
    const DEEP: &str = "(file): deeper than the line above, which has a value already; start it in the column of the other keys of its map";
    assert_eq!(instead_of("    auth:", "      auth:"), format!("6:7  {DEEP}"));
    assert_eq!(with("routing:\n  policy: ema\n   candidates: 2"), format!("15:4  {DEEP}"));
    assert_eq!(instead_of("  gpt: {}", "  gpt: {}\n    mini: {}"), format!("9:5  {DEEP}"));
}

#[test]
fn colons_and_dashes() {
    const COLON: &str = "write `key: value`, with a space behind the colon";
    let file = format!("(file): no `: ` behind the key; {COLON}");
    assert_eq!(instead_of("models:", "models"), format!("7:1  {file}"));
    assert_eq!(instead_of("endpoint:", "endpoint"), format!("5:5  {file}"));
    assert_eq!(instead_of("endpoint: ", "endpoint:"), format!("5:5  {file}"));
    assert_eq!(instead_of("  east:", "  east"), format!("4:3  {file}"));
    assert_eq!(with("drain_seconds:5"), format!("13:1  {file}"));
    assert_eq!(with("log:\n  access true"), format!("14:3  log: no `: ` behind `access`; {COLON}"));
    assert_eq!(
        instead_of("address:", "address"),
        format!("2:5  listen[0]: no `: ` behind `address`; {COLON}")
    );
    assert_eq!(
        instead_of("https://east.example", "https://east.example: 443"),
        "5:35  (file): a second `: ` in one line; quote text that holds `: `"
    );
}

#[test]
fn quotes_and_brackets() {
    const QUOTE: &str = "(file): a quote that is not closed; close it in its line";
    const BRACKET: &str = "(file): a bracket that is not closed, or closed by another kind; close each `[` with `]` and each `{` with `}`";
    assert_eq!(instead_of("https://east", "\"https://east"), format!("5:15  {QUOTE}"));
    assert_eq!(instead_of("127.0.0.1:8080", "'127.0.0.1:8080"), format!("2:14  {QUOTE}"));
    assert_eq!(instead_of("{ env: EAST } }", "{ env: EAST }"), format!("6:11  {BRACKET}"));
    assert_eq!(instead_of("gpt: {}", "gpt: { backends: [east }"), format!("8:20  {BRACKET}"));
    assert_eq!(
        instead_of("gpt: {}", "gpt: { backends: * }"),
        "8:20  (file): `*` or `&` without a name; quote text that begins with one of them"
    );
    assert_eq!(
        instead_of("gpt: {}", "@gpt: {}"),
        "8:3  (file): a character that text may not begin with; quote the text"
    );
}

#[test]
fn names_that_are_not_there_or_twice() {
    assert_eq!(
        with("threads: 1\nthreads: 2"),
        "14:1  (file): threads stands twice in one map; keep one of them"
    );
    assert_eq!(
        instead_of("gpt: {}", "gpt: { backends: [eats] }"),
        "8:21  models.gpt.backends[0]: no backend has this name; did you mean `east`?"
    );
}

#[test]
fn numbers_and_flags() {
    assert_eq!(
        with("drain_seconds: -5"),
        "13:16  drain_seconds: out of range; write a number from 0 to 86400 (seconds)"
    );
    assert_eq!(
        with("routing: { ema_alpha: 1.5 }"),
        "13:23  routing.ema_alpha: out of range; write a number from 0.001 to 1 (share)"
    );
    assert_eq!(
        with("routing: { detect: { trip_ms: 5000, clear_ms: 6000 } }"),
        "13:47  routing.detect.clear_ms: above `trip_ms`, which is 5000; write at most 5000"
    );
    for word in ["yes", "on", "\"true\"", "1"] {
        let kind = if word == "1" { "a number" } else { "text" };
        assert_eq!(
            with(&format!("log: {{ access: {word} }}")),
            format!(
                "13:16  log.access: {kind}, not true or false; write `true` or `false`, without quotes"
            )
        );
    }
    assert_eq!(
        with("threads: \"4\""),
        "13:10  threads: text in quotes, not a number; leave out the quotes: a whole number from 0 to 1024 (worker threads)"
    );
}

#[test]
fn lists_and_maps() {
    assert_eq!(
        instead_of("  east:", "  - east:"),
        "4:3  backends: a list, not a map; write { NAME: { endpoint: https://NAME.openai.azure.com } }"
    );
    assert_eq!(
        instead_of("  gpt: {}", "  - gpt"),
        "8:3  models: a list, not a map; write { gpt-4o: {} }"
    );
    assert_eq!(
        instead_of("  - address", "  address"),
        "2:3  listen: a map, not a list; write at least one `- address: HOST:PORT`"
    );
}

#[test]
fn addresses_and_secrets() {
    for address in ["127.0.0.1", "0.0.0.0", ":8080", "8080", "localhost:8080"] {
        assert_eq!(
            instead_of("127.0.0.1:8080", address),
            "2:14  listen[0].address: not an address with a port; write an address and a port, such as 0.0.0.0:8443 or [::1]:8443"
        );
    }
    assert_eq!(
        instead_of("{ env: EAST }", "\"sk-hunter2\""),
        "6:22  backends.east.auth.api_key: a secret, or nothing, where its source belongs; put it elsewhere and write { env: NAME }, { file: /path } or { credential: name }"
    );
    assert_eq!(
        instead_of("https://east.example", "https://east.example/openai/v1"),
        "5:15  backends.east.endpoint: something behind the host; write only scheme, host and port; Firstlight adds the path"
    );
    assert_eq!(
        instead_of("https://", "http://"),
        "5:15  backends.east.endpoint: plain http to a host that is not on loopback; write `https://`; the key must not travel in the clear"
    );
}

#[test]
fn an_empty_file() {
    for empty in ["", "\n\n  \n", "# nothing yet\n", "---\n"] {
        assert_eq!(
            only(empty),
            "1:1  (file): empty; write `listen`, `backends`, `models` and `apps`"
        );
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_no_mistakes() {
    let config = check(GOOD).unwrap().config;
    let windows = GOOD.replace('\n', "\r\n");
    for text in [windows.clone(), format!("\u{feff}{GOOD}"), format!("\u{feff}{windows}")] {
        assert_eq!(check(&text).unwrap().config, config);
    }
    assert_eq!(
        only(&windows.replace("gpt: {}", "gpt: { prope: off }")),
        "8:10  models.gpt.prope: unknown key; did you mean `probe`?"
    );
}

/// What a file points at is looked for on starting.
#[test]
fn secrets_that_are_not_there() {
    let start = |source: &str| {
        let config = check(&GOOD.replace("{ env: EAST }", source)).unwrap().config;
        Live::new(config, Clock::start()).err().unwrap().to_string()
    };
    assert_eq!(
        start("{ env: FIRSTLIGHT_NO_SUCH_KEY }"),
        "backends.east.auth.api_key: environment variable FIRSTLIGHT_NO_SUCH_KEY is not set; set it for the service, or use { file: PATH }"
    );
    assert_eq!(
        start("{ file: /no/such/file }"),
        "backends.east.auth.api_key: cannot read /no/such/file: No such file or directory (os error 2); put the text there and let the service's user read it"
    );
    let empty = tempfile::NamedTempFile::new().unwrap();
    let path = empty.path().display();
    assert_eq!(
        start(&format!("{{ file: {path} }}")),
        format!("backends.east.auth.api_key: {path} is empty; put the key there")
    );
}
