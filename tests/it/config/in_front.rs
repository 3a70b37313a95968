//! What stands in front, and what connections and heads may cost.

use super::file;
use super::problems;
use firstlight::config::Checked;
use firstlight::config::check;
use firstlight::config::checked::Config;
use firstlight::config::checked::InFront;
use firstlight::config::dump;
use std::time::Duration;

fn read(part: &str) -> Checked {
    let checked = check(&file(part)).unwrap();
    assert_eq!(check(&dump(&checked.config)).unwrap().config, checked.config);
    checked
}

fn config(part: &str) -> Config {
    let Checked { config, warnings } = read(part);
    assert_eq!(warnings, []);
    config
}

#[test]
fn nobody_is_trusted_by_default() {
    assert_eq!(config("").in_front, InFront::default());
    assert!(!InFront::default().trusts("127.0.0.1".parse().unwrap()));
}

#[test]
fn networks_and_single_addresses_are_trusted() {
    let front = config("trusted_proxies: [10.1.2.3/16, 192.0.2.1, '2001:db8::/32']").in_front;
    let trusts = |address: &str| front.trusts(address.parse().unwrap());
    for address in ["10.1.255.1", "192.0.2.1", "2001:db8:1::1", "::ffff:10.1.0.1"] {
        assert!(trusts(address), "{address}");
    }
    for address in ["10.2.0.1", "192.0.2.2", "2001:db9::1"] {
        assert!(!trusts(address), "{address}");
    }
    let warnings = read("trusted_proxies: [0.0.0.0/0]").warnings;
    assert!(warnings[0].to_string().contains("everybody is trusted"), "{warnings:?}");
}

#[test]
fn limits_and_times_of_connections() {
    let usual = config("");
    let limits = &usual.limits;
    assert_eq!((limits.header_bytes, limits.headers, limits.h2_streams), (32_768, 100, 100));
    assert_eq!((limits.connections, limits.connections_per_ip), (20_000, 1000));
    assert_eq!(usual.timeouts.header, Duration::from_secs(10));
    let other = config(
        "timeouts: { header_seconds: 3, keep_alive_seconds: 4, body_grace_seconds: 5 }\n\
         limits: { body_rate_bytes_per_second: 0, header_bytes: 1024, headers: 10, h2_streams: 1, connections: 1, connections_per_ip: 2 }",
    );
    assert_eq!(
        (other.timeouts.header, other.timeouts.keep_alive),
        (Duration::from_secs(3), Duration::from_secs(4))
    );
    assert_eq!((other.timeouts.body_grace, other.limits.body_rate), (Duration::from_secs(5), 0));
    assert_eq!((other.limits.connections, other.limits.connections_per_ip), (1, 2));
}

#[test]
fn a_status_path_and_a_front_door() {
    let front = config("status_path: /status-0123456789abcdef\nfront_door_id: 0123ABCD-0000-0000-0000-00000000000A").in_front;
    assert_eq!(front.status_path.as_deref(), Some("/status-0123456789abcdef"));
    assert_eq!(front.front_door_id.as_deref(), Some("0123abcd-0000-0000-0000-00000000000a"));
}

#[test]
fn mistakes_are_told() {
    let wrong = |part: &str| problems(&file(part)).join("\n");
    let told = wrong(
        "trusted_proxies: [10.0.0.0/33, private, 10.0.0]\nstatus_path: /openai/v1/models\nfront_door_id: mine",
    );
    let expected = "\
1:19  trusted_proxies[0]: not a network; write an address and the length of its prefix, such as 10.1.0.0/16
1:32  trusted_proxies[1]: not a network; write an address and the length of its prefix, such as 10.1.0.0/16
1:41  trusted_proxies[2]: not a network; write an address and the length of its prefix, such as 10.1.0.0/16
2:14  status_path: a path of the API; write a path of 8 to 128 letters, digits, `/`, `-`, `.` and `_`, such as /status-0123456789abcdef
3:16  front_door_id: not the id of a Front Door; write the Front Door ID of its overview page in the Azure portal";
    assert_eq!(told, expected);
    for path in [
        "status",
        "/short",
        "/status/../x",
        "/status//x",
        "/status/",
        "/status?a=bcdef",
        "/status-é",
    ] {
        assert!(wrong(&format!("status_path: {path}")).contains("not a plain path"), "{path}");
    }
    assert!(wrong("trusted_proxies: 10.0.0.0/8").contains("text, not a list"));
}
