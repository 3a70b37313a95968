//! One fetch of a tenant's signing keys: the discovery document, then the key set that it names.
//!
//! Both come from the configured authority and nowhere else: no redirect is followed, and a key set on another host
//! is refused. Answers are read up to a limit. What is told of a failure holds nothing of the answer.

use crate::auth::signing_keys::{DOCUMENT_BYTES_MAX, SigningKeys};
use crate::fetching::{self, Unread};
use crate::live::Tenant;
use bytes::Bytes;
use http::HeaderMap;
use reqwest::Client;
use serde::Deserialize;
use std::error::Error;
use std::time::Duration;
use tokio::task::spawn_blocking;

const CONNECT: Duration = Duration::from_secs(5);
/// One answer, read whole.
const ANSWER: Duration = Duration::from_secs(10);
const DISCOVERY_BYTES_MAX: usize = 64 * 1024;

/// What came of a good fetch.
pub(super) struct Fetched {
    /// The key set as it came.
    pub(super) document: Bytes,
    pub(super) keys: SigningKeys,
    /// How long it may be used, as its answer says.
    pub(super) max_age: Option<Duration>,
}

/// All that counts of a discovery document.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Fetches; what went wrong is told in one line, with what to do.
pub(super) async fn fetch(tenant: &Tenant) -> Result<Fetched, String> {
    let authority = tenant.authority.clone();
    // Reads the machine's authorities.
    let made = spawn_blocking(move || fetching::client(&authority, CONNECT, ANSWER)).await;
    let no_client = |error: &dyn Error| format!("no HTTP client: {error}");
    let client = made.map_err(|error| no_client(&error))?.map_err(|error| no_client(&error))?;
    let place =
        format!("{}/{}/v2.0/.well-known/openid-configuration", tenant.authority, tenant.id());
    let (discovery, _) = get(&client, (&place, &place), DISCOVERY_BYTES_MAX).await?;
    let discovery: Discovery = serde_json::from_slice(&discovery)
        .map_err(|_| format!("{place}: no discovery document; check entra.authority"))?;
    if discovery.issuer != tenant.issuer.v2 {
        return Err(format!(
            "{place}: it is of another issuer than {}; check entra.authority and the tenant's id",
            tenant.issuer.v2
        ));
    }
    let at_home = discovery.jwks_uri.strip_prefix(&tenant.authority);
    if !at_home.is_some_and(|path| path.starts_with('/')) {
        return Err(format!("{place}: it names a key set on another host; check entra.authority"));
    }
    // Not shown as it came: it may be anything.
    let keys_at = (discovery.jwks_uri.as_str(), format!("the key set of {place}"));
    let (document, headers) = get(&client, (keys_at.0, &keys_at.1), DOCUMENT_BYTES_MAX).await?;
    let keys = SigningKeys::parse(&document, &tenant.issuer)
        .map_err(|bad| format!("{}: {bad}; the keys before stay", keys_at.1))?;
    Ok(Fetched { document, keys, max_age: max_age(&headers) })
}

/// What stands at `url`, which is called `place` in what is told.
async fn get(
    client: &Client,
    (url, place): (&str, &str),
    most: usize,
) -> Result<(Bytes, HeaderMap), String> {
    let unreachable = |error: reqwest::Error| {
        let how = if error.is_timeout() { "no answer in time" } else { "no connection" };
        format!("{place}: {how}; check DNS, firewall and proxy")
    };
    let mut answer = client.get(url).send().await.map_err(unreachable)?;
    if answer.status() != http::StatusCode::OK {
        return Err(format!(
            "{place}: status {}; check entra.authority and the tenant's id",
            answer.status().as_u16()
        ));
    }
    let headers = std::mem::take(answer.headers_mut());
    let body = fetching::read(answer, most).await.map_err(|unread| match unread {
        Unread::TooLong => {
            format!("{place}: an answer of more than {most} bytes; check entra.authority")
        }
        Unread::Broken(error) => unreachable(error),
    })?;
    Ok((body, headers))
}

/// `max-age` of `Cache-Control`.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(http::header::CACHE_CONTROL)?.to_str().ok()?;
    let mut ages = directives.split(',').filter_map(|one| {
        let (name, seconds) = one.trim().split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| seconds.parse().ok())?
    });
    ages.next().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_age_is_read() {
        let age = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::CACHE_CONTROL, text.parse().unwrap());
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(age("max-age=86400, private"), Some(86_400));
        assert_eq!(age("private,Max-Age=5"), Some(5));
        assert_eq!(age("no-store"), None);
        assert_eq!(age("max-age=soon"), None);
    }
}
