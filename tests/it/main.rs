//! The one integration-test binary.

mod mock;
