//! Where a client may put its credential when it opens a conversation.
//!
//! Browsers can set no header on a WebSocket. So their SDKs put the key into the query (`api-key`, or
//! `Authorization` with `Bearer`), which Azure takes here and nowhere else, or into a subprotocol. All places are
//! gathered as the headers that they stand for, and judged as such: two different ones are one too many.

use crate::azure::realtime::handshake::protocols;
use crate::azure::realtime::query::pairs;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The beginning of the subprotocol that holds a key: OpenAI's SDK for browsers makes it.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";

const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// The credentials of a request, as the headers `api-key` and `authorization`.
pub fn gather(query: &str, headers: &HeaderMap) -> HeaderMap {
    let mut found = HeaderMap::with_capacity(2);
    for name in [API_KEY, AUTHORIZATION] {
        for value in headers.get_all(&name) {
            add(&mut found, &name, value.clone());
        }
    }
    for (key, value) in pairs(query) {
        for name in [API_KEY, AUTHORIZATION] {
            if key.eq_ignore_ascii_case(name.as_str()) {
                add(&mut found, &name, secret(&value));
            }
        }
    }
    for key in protocols(headers).filter_map(|name| name.strip_prefix(KEY_PROTOCOL)) {
        // A key or a token: told apart as behind `Bearer`.
        add(&mut found, &AUTHORIZATION, secret(&format!("Bearer {key}")));
    }
    found
}

/// The same text twice is one credential; empty, it is none.
fn add(found: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    if !value.is_empty() && found.get_all(name).iter().all(|other| *other != value) {
        found.append(name.clone(), value);
    }
}

/// Nobody prints it. What no header can hold is a credential that belongs to nobody.
fn secret(text: &str) -> HeaderValue {
    let value = HeaderValue::from_str(text);
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static("unreadable"));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, pairs: &[(&'static str, &str)], expected: &[(&str, &str)]) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let found = gather(query, &headers);
        let found: Vec<_> =
            found.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(found, expected, "{query} {pairs:?}");
    }

    #[test]
    fn every_place_is_looked_at() {
        let bearer = ("authorization", "Bearer k");
        check("", &[], &[]);
        check("model=m&api-key=", &[("cookie", "api-key=k")], &[]);
        check("model=m", &[("api-key", "k")], &[("api-key", "k")]);
        check("api-key=k%2Bl", &[], &[("api-key", "k+l")]);
        check("API-KEY=k", &[], &[("api-key", "k")]);
        check("Authorization=Bearer+k", &[], &[bearer]);
        check("authorization=Bearer%20k", &[], &[bearer]);
        let protocol = "sec-websocket-protocol";
        check("", &[(protocol, "realtime, openai-insecure-api-key.k")], &[bearer]);
        check("", &[(protocol, "openai-insecure-api-key.k"), (protocol, "x")], &[bearer]);
    }

    #[test]
    fn the_same_one_twice_is_one_and_two_stay_two() {
        check("api-key=k", &[("api-key", "k")], &[("api-key", "k")]);
        check("api-key=l", &[("api-key", "k")], &[("api-key", "k"), ("api-key", "l")]);
        check("api-key=k&api-key=l", &[], &[("api-key", "k"), ("api-key", "l")]);
        let protocol = ("sec-websocket-protocol", "openai-insecure-api-key.k");
        check("api-key=k", &[protocol], &[("api-key", "k"), ("authorization", "Bearer k")]);
    }

    #[test]
    fn what_cannot_be_read_is_not_nothing() {
        check("api-key=k%0d%0ax", &[], &[("api-key", "unreadable")]);
        assert!(!format!("{:?}", gather("api-key=hidden", &HeaderMap::new())).contains("hidden"));
    }
}
