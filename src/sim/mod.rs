//! A synthetic Azure on a virtual clock: regions, load and faults, and any balancer driven through them.
//!
//! ```text
//!  Scenario (built in, or read by `file`) + seed ──> World ── answers of regions ──┐
//!                                                      ^                            v
//!                                   Tally <── run ── orders <── Balancer <── facts ─┘
//! ```
//!
//! A [`Balancer`] hears facts and gives orders, nothing else: the routing core (`engine`), the policies it is
//! compared with (`baseline`) and the one that knows the truth (`oracle`) are driven by the same loop, through
//! the same requests, with the same luck: how long region R takes for request N is drawn from (seed, N, R).
//!
//! What it is not: measured Azure. Times to first token are lognormal, capacity is a fluid queue ([`Queue`]).
//! Relations between policies carry over; absolute figures do not.
//!
//! Pure: the same scenario and seed give the same run, bit for bit.

mod arrival;
mod balancer;
mod baseline;
mod bucket;
mod demand;
mod engine;
mod event;
mod fault;
mod figures;
mod file;
mod oracle;
mod plain;
mod policy;
mod prober;
mod queue;
mod run;
mod scenario;
mod table;
mod tally;
mod traffic;
mod world;

pub use balancer::{Balancer, Fact, Order, Outcome, Profile, Purpose, Quota, RateLimited};
pub use engine::{Engine, Tuning};
pub use event::{EVENTS, Event, Group};
pub use fault::{Fault, Kind, Where};
pub use figures::{Figures, Summary};
pub use file::read;
pub use policy::{POLICIES, balancer};
pub use queue::Queue;
pub use run::{Run, run};
pub use scenario::{
    Arrivals, Burst, Cached, Conversations, Freedom, Outputs, Prompts, RateLimit, Region, Scenario,
    Tail, Wander,
};
pub use table::{heading, row};
pub use tally::Tally;

use crate::time::Time;
use std::time::Duration;

/// A moment in seconds since the start.
fn seconds(at: Time) -> f64 {
    at.since(Time::ZERO).as_secs_f64()
}

/// Seconds as a duration; what is not one (negative, not a number) is none.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// A count as a float. No run counts further than 32 bits.
fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
