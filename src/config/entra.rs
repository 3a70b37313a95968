//! Where Entra ID is. Without a word in the file it is Microsoft's for the whole world.

use crate::config::at::At;
use crate::config::checked::{Endpoint, Entra};
use crate::config::endpoint;
use crate::config::keys;
use crate::config::loopback::Exposure;
use crate::config::problem::Problems;
use crate::config::section::Section;

/// Reads `entra`.
pub(super) fn read(file: &Section<'_>, exposure: &mut Exposure, problems: &mut Problems) -> Entra {
    let section = file.inner("entra", problems);
    let mut at = |key: &'static keys::Text, parse: Parse, problems: &mut Problems| {
        section
            .get(keys::name(key.path))
            .and_then(|at| read_one(at, (key, parse), exposure, problems))
    };
    let authority = at(&keys::AUTHORITY, endpoint::parse, problems);
    let authority = authority.unwrap_or_else(|| public(keys::AUTHORITY.shown));
    let sts = at(&keys::STS, endpoint::parse, problems).unwrap_or_else(|| usual_sts(&authority));
    let imds = section.get(keys::name(keys::IMDS.path));
    // Not told to `exposure`: agents that stand in for it listen on loopback.
    let imds = imds.and_then(|at| parsed(at, (&keys::IMDS, endpoint::parse_near), problems));
    let imds = imds.unwrap_or_else(|| public(keys::IMDS.shown));
    Entra { authority, sts, imds }
}

type Parse = fn(&str) -> Result<Endpoint, (&'static str, &'static str)>;

fn read_one(
    at: &At<'_>,
    how: (&'static keys::Text, Parse),
    exposure: &mut Exposure,
    problems: &mut Problems,
) -> Option<Endpoint> {
    let endpoint = parsed(at, how, problems)?;
    // Whoever may listen there could sign tokens.
    if endpoint::is_loopback(&endpoint) {
        exposure.endpoint(&endpoint, &at.spot);
    }
    Some(endpoint)
}

fn parsed(
    at: &At<'_>,
    (key, parse): (&'static keys::Text, Parse),
    problems: &mut Problems,
) -> Option<Endpoint> {
    let text = at.text(key.shown, problems)?;
    parse(text).map_err(|(wrong, instead)| problems.refuse(&at.spot, wrong, instead)).ok()
}

fn usual_sts(authority: &Endpoint) -> Endpoint {
    match authority.host.as_str() {
        "login.microsoftonline.com" | "login.microsoftonline.us" => public(keys::STS.shown),
        "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => {
            public("https://sts.chinacloudapi.cn")
        }
        _ => authority.clone(),
    }
}

/// One of the addresses that stand in this program.
fn public(url: &str) -> Endpoint {
    let near = Endpoint { tls: false, host: String::new(), port: 0 };
    endpoint::parse_near(url).or_else(|_| endpoint::parse(url)).unwrap_or(near)
}
