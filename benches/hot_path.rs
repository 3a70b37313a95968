//! Placeholder until the benches are merged.
fn main() {}
