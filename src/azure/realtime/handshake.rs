//! Whether a request may become a WebSocket, and which answer of a backend completes that (RFC 6455, section 4).
//!
//! Both are judged strictly: what one end takes for frames and the other for requests is how requests are
//! smuggled. So only a request without any doubt is upgraded, and only an answer that proves that the backend
//! meant this very request.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

/// What the accept value is made with (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a key before base64.
const KEY_BYTES: usize = 16;

/// What a client asks for, as far as it crosses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `Sec-WebSocket-Key`: any number, used once.
    pub key: HeaderValue,
    /// The subprotocols that cross, in the client's order.
    pub protocols: Vec<String>,
}

/// Why a request for a conversation is not upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It came by another version than HTTP/1.1.
    #[error("not HTTP/1.1")]
    NotHttp11,
    /// It does not ask for an upgrade.
    #[error("no upgrade asked for")]
    NotAsked,
    /// It asks for another version of the protocol.
    #[error("not version 13")]
    WrongVersion,
    /// It cannot be trusted to be one.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Reads what a client asks for.
pub fn offer(version: Version, headers: &HeaderMap) -> Result<Offer, OfferError> {
    if version != Version::HTTP_11 {
        return Err(OfferError::NotHttp11);
    }
    if !headers.contains_key(UPGRADE) {
        return Err(OfferError::NotAsked);
    }
    if !is_websocket(headers) {
        return Err(OfferError::Malformed("Upgrade must be exactly `websocket`"));
    }
    if !names_upgrade(headers) {
        return Err(OfferError::Malformed("Connection must name `Upgrade`"));
    }
    let empty = headers.get_all(CONTENT_LENGTH).iter().all(|length| length == "0");
    if headers.contains_key(TRANSFER_ENCODING) || !empty {
        return Err(OfferError::Malformed("the request must have no body"));
    }
    if only(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(OfferError::WrongVersion);
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let key = key.ok_or(OfferError::Malformed("Sec-WebSocket-Key must be 16 bytes in base64"))?;
    let protocols = protocols(headers).filter(|name| crosses(name)).map(str::to_owned);
    Ok(Offer { key: key.clone(), protocols: protocols.collect() })
}

/// Judges the header of a 101: the subprotocol that was chosen, or what is wrong.
pub fn accepted<'a>(
    offer: &Offer,
    headers: &'a HeaderMap,
) -> Result<Option<&'a HeaderValue>, &'static str> {
    if !is_websocket(headers) || !names_upgrade(headers) {
        return Err("it does not say that it upgrades to a WebSocket");
    }
    if only(headers, &SEC_WEBSOCKET_ACCEPT).is_none_or(|value| value != accept(&offer.key).as_str())
    {
        return Err("its Sec-WebSocket-Accept does not belong to this request");
    }
    if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err("it chose an extension that was not offered");
    }
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    let offered = |chosen: &&HeaderValue| offer.protocols.iter().any(|name| **chosen == **name);
    let chosen = only(headers, &SEC_WEBSOCKET_PROTOCOL).filter(offered);
    chosen.map(Some).ok_or("it chose a subprotocol that was not offered")
}

/// The value of `Sec-WebSocket-Accept` that belongs to a key.
pub fn accept(key: &HeaderValue) -> String {
    let text = [key.as_bytes(), GUID].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// The subprotocols that a client names, in its order.
pub(super) fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let texts = all.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty())
}

/// Whether a subprotocol goes to the backend: the one of Realtime, and those that switch a beta on. Those that
/// name an organisation or a project of OpenAI's say nothing to Azure.
fn crosses(name: &str) -> bool {
    name == "realtime" || name.starts_with("openai-beta.")
}

fn is_websocket(headers: &HeaderMap) -> bool {
    only(headers, &UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter();
    let mut names = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

fn is_key(value: &HeaderValue) -> bool {
    STANDARD.decode(value.as_bytes()).is_ok_and(|bytes| bytes.len() == KEY_BYTES)
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { None } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKS: [(&str, &str); 4] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn headers<'a>(pairs: impl IntoIterator<Item = &'a (&'static str, &'a str)>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    /// The request of the RFC with other headers: those that are named twice replace, an empty one removes.
    fn asking(more: &[(&'static str, &str)]) -> Result<Offer, OfferError> {
        let kept = ASKS.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        let more = more.iter().filter(|(_, value)| !value.is_empty());
        offer(Version::HTTP_11, &headers(kept.chain(more)))
    }

    #[test]
    fn what_asks_for_a_websocket_is_read() {
        let protocols = [
            ("sec-websocket-protocol", "realtime, openai-insecure-api-key.secret"),
            ("sec-websocket-protocol", "openai-beta.realtime-v1,openai-organization.o, graphql-ws"),
        ];
        let offer = asking(&protocols).unwrap();
        assert_eq!(offer.key, "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(offer.protocols, ["realtime", "openai-beta.realtime-v1"]);
        assert_eq!(asking(&[("content-length", "0")]).unwrap().protocols, [""; 0]);
    }

    #[test]
    fn anything_else_is_refused() {
        let check = |more: &[(&'static str, &str)], expected: Result<(), OfferError>| {
            let refused = asking(more).map(|_| ());
            match (refused, expected) {
                (Err(OfferError::Malformed(_)), Err(OfferError::Malformed(""))) => {}
                (found, expected) => assert_eq!(found, expected, "{more:?}"),
            }
        };
        let malformed = Err(OfferError::Malformed(""));
        check(&[("upgrade", "")], Err(OfferError::NotAsked));
        for upgrade in ["h2c", "websocket, h2c", "web socket", "websocket/13"] {
            check(&[("upgrade", upgrade)], malformed);
        }
        check(&[("upgrade", "websocket"), ("upgrade", "websocket")], malformed);
        check(&[("connection", "")], malformed);
        check(&[("connection", "keep-alive")], malformed);
        check(&[("connection", "upgraded")], malformed);
        check(&[("content-length", "1")], malformed);
        check(&[("content-length", "0"), ("content-length", "7")], malformed);
        check(&[("transfer-encoding", "chunked")], malformed);
        check(&[("sec-websocket-key", "")], malformed);
        check(&[("sec-websocket-key", "dGhlIHNhbXBsZQ==")], malformed);
        check(&[("sec-websocket-key", "not base64 at all!!!!!!!")], malformed);
        for version in ["", "8", "13, 8"] {
            check(&[("sec-websocket-version", version)], Err(OfferError::WrongVersion));
        }
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(offer(version, &headers(&ASKS)), Err(OfferError::NotHttp11));
        }
    }

    #[test]
    fn only_the_answer_to_this_request_completes_it() {
        const TELLS: [(&str, &str); 3] = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ];
        let offered = asking(&[("sec-websocket-protocol", "realtime")]).unwrap();
        let check = |more: &[(&'static str, &str)]| {
            let kept = TELLS.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
            let headers = headers(kept.chain(more.iter().filter(|(_, value)| !value.is_empty())));
            accepted(&offered, &headers).map(|name| name.map(|n| n.to_str().unwrap().to_owned()))
        };
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&[("sec-websocket-protocol", "realtime")]), Ok(Some("realtime".into())));
        for wrong in [
            ("upgrade", ""),
            ("upgrade", "h2c"),
            ("connection", "close"),
            ("sec-websocket-accept", ""),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOp="),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("sec-websocket-protocol", "other"),
        ] {
            assert!(check(&[wrong]).is_err(), "{wrong:?}");
        }
    }
}
