//! Firstlight over real sockets, between a real client and the mock.

mod admin;
mod bodies;
mod cancel;
mod ema;
mod failover;
mod hostile;
mod log;
mod refusals;
mod streams;
