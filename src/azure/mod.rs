//! What Azure OpenAI means on the wire, as functions of bytes.
//!
//! Everything that a proxy must know about the protocol and nothing about the proxy: which paths exist
//! ([`route`]), what a request body asks for ([`peek`]) and how it is changed in places ([`edit`]), whether it may be sent twice ([`repeat`], [`tools`]; [`stored`] finds the copy to delete), when
//! a stream has said its first word ([`sse`]), whether its response is whole ([`ending`]), how fast it goes on ([`stall`]), what it cost ([`usage`], which some clients did not ask for: [`unasked`]), what
//! an answer says about the backend that gave it ([`status`], [`limit`]), which headers may cross
//! ([`headers`]), what a WebSocket says ([`realtime`]) and how our own refusals read ([`error`]), inside a stream as
//! well ([`in_stream`]).
//!
//! Nothing here knows a backend, a score or a clock: time is an argument, and every function gives the same
//! answer for the same bytes however the network cut them.

mod affinity;
mod codes;
mod count;
pub mod edit;
mod effort;
mod encrypted;
pub mod ending;
pub mod error;
mod event;
pub mod form;
pub mod headers;
pub mod ids;
pub mod in_stream;
mod json;
mod kind;
pub mod limit;
pub mod limit_kind;
mod lines;
pub mod listing;
mod message;
pub mod multipart;
mod operation;
mod over_limit;
pub mod overload;
mod path;
pub mod peek;
mod query;
pub mod realtime;
pub mod repeat;
pub mod route;
mod route_error;
mod size;
pub mod sse;
pub mod stall;
pub mod status;
pub mod stored;
mod stream_options;
mod surface;
pub mod tools;
mod typed;
pub mod unasked;
pub mod usage;
