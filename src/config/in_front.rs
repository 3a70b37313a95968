//! What stands in front of Firstlight: whom to believe, and what it asks to know whether we are well.

use crate::config::at::At;
use crate::config::checked::InFront;
use crate::config::keys;
use crate::config::keys::Text;
use crate::config::problem::Problems;
use crate::config::section::Section;
use ipnet::IpNet;
use std::net::IpAddr;

const NETWORKS: &str = "networks, such as [10.1.0.0/16, 2001:db8::/32]";
const STATUS: &str =
    "a path of 8 to 128 letters, digits, `/`, `-`, `.` and `_`, such as /status-0123456789abcdef";
/// Paths of the API, which none of ours may hide.
const API: [&str; 2] = ["/openai", "/v1"];

/// Reads the keys of what stands in front.
pub(super) fn read(file: &Section<'_>, problems: &mut Problems) -> InFront {
    InFront {
        trusted_proxies: at(file, &keys::TRUSTED_PROXIES)
            .map(|at| networks(at, problems))
            .unwrap_or_default(),
        status_path: at(file, &keys::STATUS_PATH).and_then(|at| status_path(at, problems)),
        front_door_id: at(file, &keys::FRONT_DOOR_ID).and_then(|at| front_door_id(at, problems)),
    }
}

fn at<'a, 'b>(file: &'b Section<'a>, key: &'static Text) -> Option<&'b At<'a>> {
    file.get(keys::name(key.path))
}

fn networks(at: &At<'_>, problems: &mut Problems) -> Vec<IpNet> {
    let items = at.items(NETWORKS, problems);
    items.iter().filter_map(|item| network(item, problems)).collect()
}

fn network(at: &At<'_>, problems: &mut Problems) -> Option<IpNet> {
    let text = at.text("a network, such as 10.1.0.0/16", problems)?;
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let Some(network) = text.parse().ok().or_else(address) else {
        let instead = "write an address and the length of its prefix, such as 10.1.0.0/16";
        problems.refuse(&at.spot, "not a network", instead);
        return None;
    };
    if network.prefix_len() == 0 {
        let instead = "write the network of your proxies";
        problems.warn(&at.spot, "everybody is trusted: any client may claim any address", instead);
    }
    Some(network.trunc())
}

fn status_path(at: &At<'_>, problems: &mut Problems) -> Option<String> {
    let text = at.text(STATUS, problems)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'.' | b'_');
    let plain =
        text.starts_with('/') && (8..=128).contains(&text.len()) && text.bytes().all(allowed);
    // What could be read in two ways never gets past the gate.
    let odd = text.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
    if !plain || odd {
        problems.refuse(&at.spot, "not a plain path", format!("write {STATUS}"));
        return None;
    }
    let hides =
        |api: &str| text.strip_prefix(api).is_some_and(|r| r.is_empty() || r.starts_with('/'));
    if API.into_iter().any(hides) {
        problems.refuse(&at.spot, "a path of the API", format!("write {STATUS}"));
        return None;
    }
    Some(text.to_owned())
}

fn front_door_id(at: &At<'_>, problems: &mut Problems) -> Option<String> {
    let text = at.text("the id of your Front Door", problems)?;
    let parts: Vec<&str> = text.split('-').collect();
    let lengths = parts.iter().map(|part| part.len());
    let hex = parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()));
    if !hex || !lengths.eq([8, 4, 4, 4, 12]) {
        let instead = "write the Front Door ID of its overview page in the Azure portal";
        problems.refuse(&at.spot, "not the id of a Front Door", instead);
        return None;
    }
    Some(text.to_ascii_lowercase())
}
