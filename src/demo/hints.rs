//! What to try while the demo goes on serving: lines to copy. Pure.

use crate::demo::scenario::BAD_REGION;
use crate::demo::world::KEY;
use crate::demo::world::MODEL;
use std::net::SocketAddr;

/// Where the demo can be reached.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The proxy.
    pub proxy: SocketAddr,
    /// Its admin listener.
    pub admin: Option<SocketAddr>,
    /// The control endpoint of the mock regions.
    pub control: Option<SocketAddr>,
}

/// Says how to ask the proxy, make a region bad by hand, and look into it.
pub fn hints(addresses: Addresses) -> Vec<String> {
    let parts = [
        Some(asking(addresses.proxy)),
        addresses.control.map(breaking),
        addresses.admin.map(looking),
    ];
    parts.iter().flatten().flat_map(|part| part.lines().map(str::to_owned)).collect()
}

fn asking(proxy: SocketAddr) -> String {
    format!(
        r#"
Firstlight goes on serving at http://{proxy} until Ctrl-C. Ask it:
  curl -iN http://{proxy}/openai/v1/chat/completions \
    -H 'api-key: {KEY}' -H 'content-type: application/json' \
    -d '{{"model":"{MODEL}","stream":true,
         "messages":[{{"role":"user","content":"Hi"}}]}}'
From Python, one of:
  openai.OpenAI(api_key="{KEY}",
                base_url="http://{proxy}/openai/v1")
  openai.AzureOpenAI(api_key="{KEY}", api_version="2024-10-21",
                     azure_endpoint="http://{proxy}")"#
    )
}

fn breaking(control: SocketAddr) -> String {
    format!(
        r#"Make {BAD_REGION} bad by hand (probes notice within seconds), and heal it:
  curl -X PUT http://{control}/backends/{BAD_REGION}/fault \
    -d '{{"fault":{{"slow":{{"factor":10}}}}}}'
  curl -X DELETE http://{control}/backends/{BAD_REGION}/fault"#
    )
}

fn looking(admin: SocketAddr) -> String {
    format!("Look into it: curl -s http://{admin}/metrics | grep target_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_told_in_lines_that_fit() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (proxy, admin, control) = (at(48080), Some(at(49090)), Some(at(40001)));
        let lines = hints(Addresses { proxy, admin, control });
        let text = lines.join("\n");
        assert!(["48080", "49090", "40001"].iter().all(|port| text.contains(port)), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() < 80), "{text}");
        assert!(lines.len() <= 16, "{text}");
    }
}
