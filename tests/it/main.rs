//! The one integration-test binary.

mod azure;
mod config;
mod mock;
