//! The one integration-test binary.

mod azure;
mod config;
mod demo;
mod mock;
