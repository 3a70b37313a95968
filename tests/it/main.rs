//! The one integration-test binary.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a failed helper is a failed test, and its panic says where"
)]
#![expect(clippy::fn_params_excessive_bools, reason = "a case of a test is often a flag")]

mod auth;
mod azure;
mod canary;
mod check_live;
mod cli;
mod cli_auth;
mod config;
mod control;
mod demo;
mod docs;
mod gate;
mod journal;
mod jwks_kept;
mod keeper;
mod kept;
mod life;
mod mock;
mod package;
mod quota;
mod routing;
mod shares;
mod sim;
mod start;
mod support;
mod tidy;
mod upgrade;
mod wire;
