//! Firstlight over real sockets, between a real client and the mock.

mod admin;
mod bodies;
mod cancel;
mod certificates;
mod doors;
mod drain;
mod ema;
mod entra;
mod entra_callers;
mod failover;
mod hedge;
mod hold;
mod hostile;
mod identity;
mod jwks;
mod limits;
mod log;
mod lookout;
mod overload;
mod refusals;
mod reload;
mod reload_keeps;
mod reload_refused;
mod streams;
mod tiers;
mod upstream_tls;
