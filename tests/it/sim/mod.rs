//! The routing core on a virtual clock.
//!
//! `shadow`: 256 short runs of all kinds of failures, each watched by a model that knows what must hold
//! whatever happens. `bars`: what each kind of failure may cost at most, and that it still hurts round robin.
//! `promises`: the same in other worlds,
//! with many seeds, and that nothing is thrown out when nothing is wrong. `worlds`: what the hard worlds are.
//! `command`: `firstlight simulate`.
//!
//! `totals`: where nothing is streamed.
//!
//! A run that fails says its seed; `FIRSTLIGHT_SIM_SEED=17 cargo test --test it sim::shadow` runs that one alone.

mod affinity;
mod bars;
mod command;
mod hard;
mod limits;
mod promises;
mod shadow;
mod thinking;
mod totals;
mod worlds;
