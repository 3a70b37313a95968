//! Reads a request's body: bounded, and with the digest that the answer will tell the test about.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};

/// A body and its SHA-256 in hex.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) sha256: String,
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    TooLarge,
    BrokenOff,
}

/// As long as a body may be.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads a body to its end.
pub(super) async fn receive(mut body: Incoming) -> Result<Received, Unreadable> {
    let mut bytes = BytesMut::new();
    let mut digest = Sha256::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Unreadable::BrokenOff)?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(Unreadable::TooLarge);
        }
        digest.update(&data);
        bytes.extend_from_slice(&data);
    }
    Ok(Received { bytes: bytes.freeze(), sha256: hex::encode(digest.finalize()) })
}
