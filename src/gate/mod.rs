//! The gate: whether the head of a request can be read in one way only. It is asked before anything else.
//!
//! Pingora reads leniently (bare line feeds, two lengths, a length beside chunks), and whoever sits before or
//! behind it may read such a head in another way: that is how one request becomes two. So the bytes are judged
//! here, as they came, and what a strict reader would not take is refused with its connection; so are the chunks of
//! a body. What a path may hold is `azure::route`'s to say; here it is only what Pingora would hide from it (a space,
//! a fragment).
//!
//! Pure: bytes in, a verdict out.

mod chunks;
mod client;
mod fields;
mod frames;
mod head;
mod malformed;
mod trace;

pub use chunks::Chunks;
pub use client::client;
pub use fields::judge_h2;
pub use frames::{Frames, Opening, opening};
pub use head::{Head, HeadLimits};
pub use malformed::Malformed;
pub use trace::trace_id;
