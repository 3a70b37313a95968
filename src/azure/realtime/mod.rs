//! Realtime conversations: a WebSocket between a client and one deployment.
//!
//! What is decided about them without a socket: whether a request may be upgraded and which answer completes that
//! ([`handshake`]), where a client may put its credential ([`credentials`]), what its query says ([`query`]), where
//! frames begin and end in the bytes that pass ([`frames`]), and what a conversation cost ([`cost`]).
//!
//! Frames are passed on as they are. No extension is ever agreed on, so nothing in them is compressed.

pub mod cost;
pub mod credentials;
pub mod frames;
pub mod handshake;
pub mod query;
