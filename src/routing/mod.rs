//! Which backend serves the next request, and what was learned from the last.
//!
//! A [`Pool`] holds the targets of one model. [`Pool::pick`] chooses one and [`Pool::dispatch`] opens a
//! [`Lease`]; the lease ends exactly once, with what happened, and only that teaches the target anything:
//!
//! ```text
//!            strikes >= strikes_to_trip
//!  HEALTHY -----------------------------> DEGRADED
//!     ^                                      |
//!     +--------------------------------------+
//!       an answer or probe under clear_ms, or flag_ttl over
//! ```
//!
//! *Limited* (429, until a moment) and the [`Block`]s (drained, credential refused, deployment unknown)
//! stand beside that state. What holds whatever the settings:
//!
//! - Only a first content token of a 2xx answer feeds a score. A 429 or a 500 is not a fast answer.
//! - A rate limit is never a strike.
//! - Degraded targets are still used when there is nothing better; limited and blocked ones never are.
//!
//! Policies are settings of one engine. `ema`: the lowest moving average of time to first token among the
//! targets that are not degraded. `round_robin`: each in turn by weight, nothing is ever degraded: the
//! baseline that the other is compared with.
//!
//! Pure: no clock, no I/O, no logging. `now` and the random source are arguments; what an operator should
//! hear comes back as an [`Event`].

mod budget;
mod learned;
mod lease;
mod pick;
mod pool;
mod settings;
mod target;

pub use budget::RetryBudget;
pub use learned::{Cause, Change};
pub use lease::{Lease, Timing};
pub use pick::{NoTarget, Picked, Used, Why};
pub use pool::{Pool, ProbeOutcome, Switch, TargetSpec};
pub use settings::{Policy, Settings};
pub use target::{Block, Event, State, View};
