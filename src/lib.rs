//! Firstlight: a load balancer for Azure OpenAI that times the first token of every answer.
//!
//! Start with `ARCHITECTURE.md`, then [`routing`]. Modules above the purity line act (sockets, clocks,
//! files); those below decide, and take the time and the random source as arguments.

// Below the purity line: no async, clock, socket, file, environment, log.
pub mod auth;
pub mod azure;
pub mod config;
pub mod gate;
pub mod owners;
pub mod quota;
pub mod rng;
pub mod routing;
pub mod sim;
pub mod time;

// Above it.
pub mod admin;
pub mod cli;
pub mod clock;
pub mod control;
pub mod demo;
pub mod endpoints;
mod exchange;
mod fetching;
pub mod identity;
pub mod journal;
pub mod jwks;
pub mod keeper;
pub mod live;
pub mod mock;
pub mod notify;
pub mod preflight;
pub mod probing;
pub mod proxy;
pub mod reload;
pub mod secrets;
pub mod server;
pub mod state_file;
pub mod telemetry;
pub mod upgrade;
