//! Which backend serves the next request, and what was learned from the last.
//!
//! A [`Pool`] holds the targets of one model. A request has its [`Attempts`]: they pick a target and
//! [`Pool::dispatch`] opens a [`Lease`]; the lease has deadlines (D, T, 2 T) and ends exactly once, with what
//! happened, and only that teaches the target anything:
//!
//! ```text
//!            strikes >= 2, guards hold                 2 + trips good probes in a row (at most 6)
//!  HEALTHY ----------------------------> DEGRADED ---------------------------------------> RECOVERING
//!     ^                                     ^                                                 |   |
//!     |                                     +------------- strikes >= 1, guards hold ---------+   |
//!     +--------------------------- tick: ramp over -----------------------------------------------+
//! ```
//!
//! *Limited* (429, until a moment) and the [`Block`]s (drained, credential refused, deployment unknown)
//! stand beside that state. What holds whatever the settings:
//!
//! - Only a first content token of a 2xx answer feeds a score, or a wait for one that says it is too low; in absolute
//!   mode a whole response does, too. A 429 or a 500 is not a fast answer.
//! - A rate limit is never a strike. It closes a target for what it refused and for what is larger, never for what is
//!   smaller.
//! - Degraded targets are still used when there is nothing better; blocked ones never are, and limited ones only by
//!   a trickle of requests that could go elsewhere.
//!
//! Policies are [`Settings`] of one engine. `lookout`, the default: cost is the expected wait, an answer that
//! is outstanding too long is evidence now, and it is raced by another attempt. `ema`: the lowest moving
//! average of TTFT, judged when answers come. `round_robin`: each in turn by weight, nothing is ever
//! degraded: the baseline that the others are compared with.
//!
//! From the top: [`attempts`](Attempts) what one request may do, `pick` the choice, `affinity` what goes together, `seats` who has room, `lease` and `probe` the
//! slots, `patience` when a wait is over, `rescue` who races a late one, `outcome` and `trip` what they teach, `whole` what responses do that are not
//! streamed; `health`, `strikes` and `errors` the state, `guard` what holds a trip back, `unserved` what a target costs that serves nothing,
//! `speed`, `norm` and `totals`, `fleet` and `expected` what is fast, normal, general and due; `hedge`, `budget` and
//! `rest`, `served_rate`, `throttle` and `trickle` what may be spent and must be waited for; [`learned`](LearnedPool) what outlives the process.
//!
//! Pure: no clock, no I/O, no logging. `now` and the random source are arguments; what an operator should
//! hear comes back as an [`Event`].

mod affinity;
mod attempts;
mod budget;
mod errors;
mod expected;
mod fleet;
mod guard;
mod health;
mod hedge;
mod learned;
mod lease;
mod norm;
mod outcome;
mod patience;
mod pick;
mod picked;
mod pool;
mod probe;
mod rescue;
mod rest;
mod seats;
mod served_rate;
mod settings;
mod size;
mod speed;
mod strikes;
mod target;
mod throttle;
mod totals;
mod trickle;
mod trip;
mod turns;
mod unserved;
mod used;
mod view;
mod waiting;
mod whole;

pub use attempts::{
    Attempts, Bound, Denied, Failed, Limits, Next, NoHedge, Repeat, pause_before_again,
};
pub use budget::RetryBudget;
pub use errors::Backing;
pub use guard::TripBlocked;
pub use health::{Cause, Change, State};
pub use learned::{
    LearnedBase, LearnedNorm, LearnedPool, LearnedScore, LearnedSize, LearnedTarget, LearnedTotal,
    Recalled,
};
pub use lease::{Ask, Ended, Lease, Overdue, Passed, Timing};
pub use outcome::Event;
pub use patience::TimeLimit;
pub use picked::{NoTarget, Picked, Why};
pub use pool::{Pool, Switch, TargetSpec};
pub use probe::{ProbeLease, ProbeOutcome, ProbeOverdue};
pub use rescue::Urgency;
pub use rest::{Counts, Refusal};
pub use seats::Seat;
pub use settings::{
    Affinity, Baseline, Bounds, Detect, Hedge, Limit, Mode, Overflow, Policy, Recover, Settings,
};
pub use size::Size;
pub use target::{Block, Blocks};
pub use totals::{Class, Kind};
pub use used::Used;
pub use view::{PoolView, View};
