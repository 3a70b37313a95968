//! What softens a slow pool: overflow, hedges, and rests after a 429.

use crate::config::keys::Flag;
use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Real;
use crate::config::keys::Usual;
use crate::config::keys::Whole;

pub(in crate::config) const OVERFLOW_GAIN: Real = Real {
    path: "routing.overflow.gain",
    default: Usual::by_policy(0.1, 0.0),
    least: 0.0,
    most: 10.0,
    unit: "share",
    about: "A tenth per unit that the pool is slower: enough to relieve it. 0: none.",
};

pub(in crate::config) const OVERFLOW_START: Real = Real {
    path: "routing.overflow.start",
    default: Usual::of(1.5),
    least: 1.0,
    most: 100.0,
    unit: "times the normal",
    about: "From this median of the pool on: half over normal is more than chance.",
};

pub(in crate::config) const OVERFLOW_MAX: Real = Real {
    path: "routing.overflow.max",
    default: Usual::of(0.3),
    least: 0.0,
    most: 1.0,
    unit: "share",
    about: "Never more: the degraded target is still the worse place.",
};

pub(in crate::config) const HEDGE: Flag = Flag {
    path: "routing.hedge.enabled",
    default: Usual::by_policy(true, false),
    about: "Whether it is done at all. Requests with side effects never are.",
};

pub(in crate::config) const HEDGE_SHARE: Real = Real {
    path: "routing.hedge.budget_share",
    default: Usual::of(0.05),
    least: 0.0,
    most: 1.0,
    unit: "share",
    about: "Of all prompt tokens, what hedges may cost. In an overload everything is late, and a hedge is load.",
};

pub(in crate::config) const HEDGE_BURST: Real = Real {
    path: "routing.hedge.burst_seconds",
    default: Usual::of(600.0),
    least: 0.0,
    most: 86_400.0,
    unit: "seconds",
    about: "What the budget may save up: ten minutes' worth races every request for half a minute.",
};

pub(in crate::config) const HEDGE_MIN: Whole = Whole {
    path: "routing.hedge.burst_min_tokens",
    default: Usual::of(20_000),
    least: 0,
    most: 100_000_000,
    unit: "tokens",
    about: "What it starts with and may save up in any case, so that a quiet service can hedge its first request.",
};

pub(in crate::config) const HEDGE_MOST: Whole = Whole {
    path: "routing.hedge.max_per_request",
    default: Usual::of(2),
    least: 0,
    most: 8,
    unit: "hedges",
    about: "One when the first token is late, one at twice the trip time: that one also to a degraded target, if no\n\
            other is left.",
};

pub(in crate::config) const HEDGE_PROMPT: Whole = Whole {
    path: "routing.hedge.max_prompt_tokens",
    default: Usual::of(32_000),
    least: 0,
    most: 10_000_000,
    unit: "tokens",
    about: "Longer prompts are not hedged: one would cost what dozens of usual ones do.",
};

pub(in crate::config) const STORED_RESPONSES: Flag = Flag {
    path: "routing.hedge.stored_responses",
    default: Usual::of(true),
    about: "Whether Responses without `store` in the body are raced too. Azure stores them by default: the loser's copy is\n\
            deleted, where its id was read before its connection was closed. Failed ones are retried in any case.",
};

pub(in crate::config) const NON_STREAM_DEADLINE: Real = Real {
    path: "routing.hedge.non_stream_deadline_seconds",
    default: Usual::of(120.0),
    least: 0.01,
    most: 3600.0,
    unit: "seconds",
    about: "An answer that is not streamed is late after this, while it is not known how long its model takes.",
};

pub(in crate::config) const LIMIT_DEFAULT: Real = Real {
    path: "routing.limit.default_seconds",
    default: Usual::of(10.0),
    least: 0.0,
    most: 3600.0,
    unit: "seconds",
    about: "The time that a 429 asks for that names none. At most max_seconds.",
};

pub(in crate::config) const LIMIT_MAX: Real = Real {
    path: "routing.limit.max_seconds",
    default: Usual::of(120.0),
    least: 0.01,
    most: 86_400.0,
    unit: "seconds",
    about: "The longest time that is believed, whatever a 429 asks for.",
};

pub(in crate::config) const LIMIT_RAMP: Real = Real {
    path: "routing.limit.ramp_seconds",
    default: Usual::of(10.0),
    least: 0.0,
    most: 3600.0,
    unit: "seconds",
    about: "After its rest a target gets its full share back over this time, or the next 429 comes at once.",
};

pub(in crate::config) const OUT_HOLD: Real = Real {
    path: "routing.limit.out_hold_seconds",
    default: Usual::of(30.0),
    least: 0.0,
    most: 3600.0,
    unit: "seconds",
    about: "For so long after its rest it counts as out when another is to be taken out: the next 429 may be near.",
};

/// The rows of this part.
pub(super) const HEDGING: &[Key] = &[
    Key::Group(&Group {
        path: "routing.overflow",
        sample: "",
        about: "The share of requests that goes to degraded targets that still answer, when the pool is slow: `gain` times what the\n\
                median of score over normal is above `start`. `relative` only.",
    }),
    Key::Real(&OVERFLOW_GAIN),
    Key::Real(&OVERFLOW_START),
    Key::Real(&OVERFLOW_MAX),
    Key::Group(&Group {
        path: "routing.hedge",
        sample: "",
        about: "A second attempt elsewhere when the first token is late: the first to come is used. Both are paid.",
    }),
    Key::Flag(&HEDGE),
    Key::Real(&HEDGE_SHARE),
    Key::Real(&HEDGE_BURST),
    Key::Whole(&HEDGE_MIN),
    Key::Whole(&HEDGE_MOST),
    Key::Whole(&HEDGE_PROMPT),
    Key::Flag(&STORED_RESPONSES),
    Key::Real(&NON_STREAM_DEADLINE),
    Key::Group(&Group {
        path: "routing.limit",
        sample: "",
        about: "What a 429 does. It is never a strike: a full quota is not a slow region. One is believed for a second, two of\n\
                different requests for the time that they ask; both for requests of their size and above where tokens are counted.",
    }),
    Key::Real(&LIMIT_DEFAULT),
    Key::Real(&LIMIT_MAX),
    Key::Real(&LIMIT_RAMP),
    Key::Real(&OUT_HOLD),
];
