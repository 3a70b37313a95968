//! What a balancer hears, and what it may order: the whole contract between a policy and the simulator.
//!
//! An *attempt* is one copy of a request (or a probe) on one region, under a number that the balancer gives
//! it. Every attempt ends in one of three ways: its outcome is heard, the balancer drops it, or it is silent
//! for ever and the client leaves.

use crate::routing::Event;
use crate::time::Time;
use std::time::Duration;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fact {
    /// A client sent a request.
    Arrived {
        /// Its number.
        request: u64,
        /// Its properties.
        profile: Profile,
    },
    /// A region answered an attempt.
    Heard {
        /// Which.
        attempt: u64,
        /// What.
        outcome: Outcome,
    },
    /// It is the moment that was asked for with [`Order::Wake`].
    Due {
        /// For which attempt.
        attempt: u64,
    },
    /// The client would wait no longer.
    Left {
        /// Its request.
        request: u64,
    },
    /// An answer that began has come to its end.
    Ended {
        /// Of which attempt.
        attempt: u64,
    },
    /// It is the moment that was asked for with [`Order::Remind`].
    Reminded {
        /// Of which request.
        request: u64,
    },
    /// Half a second has passed.
    Tick,
}

/// The properties of a request that a proxy can know when it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The size of its prompt.
    pub prompt_tokens: u64,
    /// The most output tokens that it allows.
    pub max_tokens: u64,
    /// Whether its response is streamed; otherwise the client waits for the whole response.
    pub streamed: bool,
    /// The number of the app that sent it.
    pub app: u32,
    /// Its conversation, where requests belong to any.
    pub conversation: Option<u64>,
    /// The only region that can serve it; `None`: any region can.
    pub bound: Option<usize>,
    /// Whether it may be sent again after an attempt that may have done work.
    pub repeatable: bool,
}

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The first token of a stream.
    FirstToken,
    /// The whole of a good response that is not streamed.
    Whole,
    /// A 5xx, or a connection that broke before any content.
    Failed,
    /// No connection: the region did no work.
    Unreachable,
    /// A 429.
    Limited(RateLimited),
    /// Another 4xx, with its status: as far as a proxy can tell, the client's own mistake.
    Refused(u16),
    /// A 200 without content.
    Unusable,
}

/// The part of a 429 that a proxy can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimited {
    /// Its Retry-After.
    pub retry_after: Option<Duration>,
    /// The quota that is exhausted, by its message or its `x-ratelimit-remaining-...` headers.
    pub of: Quota,
}

/// The quota that a 429 names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Tokens: a smaller request may still fit.
    Tokens,
    /// Requests: the size does not matter.
    Requests,
    /// None is named.
    Unknown,
}

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The first attempt of a request.
    First,
    /// After another attempt of it failed.
    Retry,
    /// While another one is open.
    Hedge,
    /// No client's: to learn how a region does.
    Probe,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// Send an attempt.
    Send {
        /// A number that no other attempt has.
        attempt: u64,
        /// Whose it is; not looked at for a probe.
        request: u64,
        /// Where to.
        region: usize,
        /// What for.
        purpose: Purpose,
    },
    /// Say [`Fact::Due`] at that moment, if the attempt is still open.
    Wake {
        /// For which attempt.
        attempt: u64,
        /// When.
        at: Time,
    },
    /// Say [`Fact::Reminded`] at that moment, if the request still waits.
    Remind {
        /// Of which request.
        request: u64,
        /// When.
        at: Time,
    },
    /// Close the attempt's connection.
    Drop {
        /// Which.
        attempt: u64,
    },
    /// Give the client an error: the balancer's own, or the last response as it is.
    Refuse {
        /// Which request.
        request: u64,
    },
    /// For the operator.
    Note(Event),
}

/// A balancer under test.
pub trait Balancer {
    /// Something happened at `now`: append what follows to `orders`.
    fn hear(&mut self, fact: Fact, now: Time, orders: &mut Vec<Order>);
}
