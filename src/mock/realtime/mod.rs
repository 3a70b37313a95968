//! Realtime: the WebSocket at `/openai/realtime` and `/openai/v1/realtime`.
//!
//! The handshake is answered like any request, so that faults strike it. What is said after it is a
//! [`Session`], which the connection's own task runs once HTTP is done with the socket.

mod events;
mod session;

pub(super) use session::Session;

use crate::mock::backend::Backend;
use crate::mock::body::AnswerBody;
use crate::mock::refusal::Refusal;
use crate::mock::route::query_value;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The protocol that browsers name, with a key behind it.
const PROTOCOL: &str = "realtime";

/// Sees that the handshake is one, from somebody who may, for a model that is deployed. Gives the model.
pub(super) fn admitted(
    backend: &Backend,
    parts: &Parts,
    model: Option<String>,
) -> Result<String, Refusal> {
    backend.admit(&with_key_of_query(parts))?;
    let model = model.ok_or_else(|| Refusal::missing("model"))?;
    if !backend.deploys(&model) {
        return Err(Refusal::unknown_deployment());
    }
    let named = |name, value: &str| {
        parts
            .headers
            .get(name)
            .is_some_and(|sent| sent.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    let asked = named(header::UPGRADE, "websocket") && named(header::SEC_WEBSOCKET_VERSION, "13");
    if !asked || !parts.headers.contains_key(header::SEC_WEBSOCKET_KEY) {
        return Err(Refusal::upgrade_required());
    }
    Ok(model)
}

/// A browser cannot set headers: Azure takes the key from the query too.
fn with_key_of_query(parts: &Parts) -> HeaderMap {
    let mut headers = parts.headers.clone();
    let key = query_value(&parts.uri, "api-key").and_then(|key| HeaderValue::from_str(&key).ok());
    if let (Some(key), false) = (key, headers.contains_key("api-key")) {
        headers.insert("api-key", key);
    }
    headers
}

/// The answer to a handshake.
pub(super) fn switching(parts: &Parts) -> Response<AnswerBody> {
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let key = parts.headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.unwrap_or_default())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    let protocols =
        parts.headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|it| it.to_str().ok());
    if protocols.is_some_and(|it| it.split(',').any(|protocol| protocol.trim() == PROTOCOL)) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    response
}
