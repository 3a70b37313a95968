//! What Azure OpenAI means on the wire, as functions of bytes.
//!
//! Everything that a proxy must know about the protocol and nothing about the proxy: which paths exist
//! ([`route`]), what a request body asks for ([`peek`]), whether it may be asked for twice ([`repeat`]), when
//! a stream has said its first word ([`sse`]), how fast it goes on ([`stall`]), what it cost ([`usage`]), what
//! an answer says about the backend that gave it ([`status`], [`limit`]), which headers may cross
//! ([`headers`]) and how our own refusals read ([`error`]), inside a stream as well ([`in_stream`]).
//!
//! Nothing here knows a backend, a score or a clock: time is an argument, and every function gives the same
//! answer for the same bytes however the network cut them.

mod affinity;
pub mod error;
mod event;
pub mod headers;
pub mod in_stream;
mod json;
pub mod limit;
mod message;
mod over_limit;
pub mod overload;
pub mod peek;
pub mod repeat;
pub mod route;
mod size;
pub mod sse;
pub mod stall;
pub mod status;
pub mod usage;
