//! The result of a choice: a target and the reason, or why there is none.

use std::time::Duration;

/// Why this target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It had the lowest cost.
    Cost,
    /// Drawn by weight.
    Weight,
    /// It has the prompt cache of such requests.
    Affinity,
    /// The pool is slow: a share of the requests tries a degraded target that still answers.
    Overflow,
    /// Nothing is in use, or everything is suspect: the lowest cost of all.
    Panic,
    /// It was its turn.
    RoundRobin,
    /// Nothing else is left, and its first attempt there did nothing: the same target once more.
    Again,
    /// It races a late attempt.
    Hedge,
    /// It races a stuck attempt, and is no healthy target: none was left.
    Rescue,
    /// The client named it, and may; or what the request names is there.
    Asked,
    /// Other things of its app are there.
    Home,
    /// It rests after a 429: one of the few that try whether it still must.
    Trickle,
}

impl Why {
    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Weight => "weight",
            Self::Affinity => "affinity",
            Self::Overflow => "overflow",
            Self::Panic => "panic",
            Self::RoundRobin => "round_robin",
            Self::Again => "again",
            Self::Hedge => "hedge",
            Self::Rescue => "rescue",
            Self::Asked => "asked",
            Self::Home => "home",
            Self::Trickle => "trickle",
        }
    }
}

/// A choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    /// Position in the pool.
    pub target: usize,
    /// The reason.
    pub why: Why,
}

/// Why there is no choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTarget {
    /// Every target that could be tried rests after a 429, or has no place in its pace; the first is free again
    /// after this long.
    AllLimited(Duration),
    /// A target could be tried, but has as many attempts as it may have, and so have all like it.
    AllFull,
    /// Every target was used by this request already.
    AllUsed,
    /// Every target is drained, misconfigured or has no good credential.
    AllBlocked,
}
