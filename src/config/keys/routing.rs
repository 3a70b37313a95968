//! How targets are chosen, and what makes one degraded, limited and healthy again.

use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Real;
use crate::config::keys::Whole;
use crate::config::keys::Word;

pub(in crate::config) const POLICY: Word = Word {
    path: "routing.policy",
    default: "ema",
    words: &["ema", "round_robin"],
    about: "`ema`: the lowest average time to first token among the targets that are not degraded.\n\
            `round_robin`: each in turn by weight, and nothing is ever degraded; the baseline.",
};

pub(in crate::config) const EMA_ALPHA: Real = Real {
    path: "routing.ema_alpha",
    default: 0.3,
    least: 0.001,
    most: 1.0,
    unit: "share",
    about: "How much a new first-token time moves a score: at 0.3 five answers replace five sixths of the old one.",
};

pub(in crate::config) const SCORE_TTL: Real = Real {
    path: "routing.score_ttl_seconds",
    default: 600.0,
    least: 0.01,
    most: 86_400.0,
    unit: "seconds",
    about: "A score that old says nothing about now; the target then counts as default_score_ms.",
};

pub(in crate::config) const DEFAULT_SCORE: Real = Real {
    path: "routing.default_score_ms",
    default: 1000.0,
    least: 1.0,
    most: 600_000.0,
    unit: "milliseconds",
    about: "The score of a target that nothing is known about: a usual time, so that new targets get traffic.",
};

pub(in crate::config) const TRIP: Real = Real {
    path: "routing.detect.trip_ms",
    default: 8000.0,
    least: 1.0,
    most: 600_000.0,
    unit: "milliseconds",
    about: "A first token at or after this is a slow answer: one strike. Well above a healthy long prompt.",
};

pub(in crate::config) const CLEAR: Real = Real {
    path: "routing.detect.clear_ms",
    default: 3000.0,
    least: 1.0,
    most: 600_000.0,
    unit: "milliseconds",
    about: "A first token before this is a good answer and voids the strikes. At most trip_ms; an answer between\n\
            the two counts for neither side, so that a target does not flap.",
};

pub(in crate::config) const STRIKES_TO_TRIP: Real = Real {
    path: "routing.detect.strikes_to_trip",
    default: 2.0,
    least: 0.1,
    most: 100.0,
    unit: "strikes",
    about: "Two: one slow answer in a thousand is normal, two in a row are not.",
};

pub(in crate::config) const STRIKE_ERROR: Real = Real {
    path: "routing.detect.strike_error",
    default: 0.67,
    least: 0.0,
    most: 100.0,
    unit: "strikes",
    about: "Three errors trip, not two: one poisonous request that is retried must not take out every region.\n\
            At most strikes_to_trip; 0 ignores errors.",
};

pub(in crate::config) const STRIKE_TTL: Real = Real {
    path: "routing.detect.strike_ttl_seconds",
    default: 900.0,
    least: 0.01,
    most: 86_400.0,
    unit: "seconds",
    about: "Older strikes are void: two slow answers an hour apart are no trend.",
};

pub(in crate::config) const FLAG_TTL: Real = Real {
    path: "routing.recover.flag_ttl_seconds",
    default: 900.0,
    least: 0.01,
    most: 86_400.0,
    unit: "seconds",
    about: "Healthy again after this long even without a good probe: real traffic then decides.",
};

pub(in crate::config) const PROBE_INTERVAL: Real = Real {
    path: "routing.probe.interval_seconds",
    default: 900.0,
    least: 0.0,
    most: 86_400.0,
    unit: "seconds",
    about: "From one round to the next. 0 switches probes off.",
};

pub(in crate::config) const PROBE_COUNT: Whole = Whole {
    path: "routing.probe.count",
    default: 3,
    least: 1,
    most: 10,
    unit: "probes",
    about: "Per target and round. Any good one clears the target, so that one unlucky probe does not decide.",
};

pub(in crate::config) const PROBE_TIMEOUT: Real = Real {
    path: "routing.probe.timeout_seconds",
    default: 30.0,
    least: 0.01,
    most: 600.0,
    unit: "seconds",
    about: "How long a probe may take; longer than any first token worth waiting for.",
};

pub(in crate::config) const JITTER: Real = Real {
    path: "routing.probe.jitter_share",
    default: 0.1,
    least: 0.0,
    most: 0.5,
    unit: "share of the interval",
    about: "Each round starts up to this much earlier or later, so that many instances do not probe at once.",
};

pub(in crate::config) const PROBE_TOKENS: Whole = Whole {
    path: "routing.probe.max_tokens",
    default: 5,
    least: 1,
    most: 100,
    unit: "tokens",
    about: "Output tokens that a probe asks for: enough to see a first one.",
};

pub(in crate::config) const LIMIT_DEFAULT: Real = Real {
    path: "routing.limit.default_seconds",
    default: 10.0,
    least: 0.0,
    most: 3600.0,
    unit: "seconds",
    about: "How long a target rests after a 429 that names no time. At most max_seconds.",
};

pub(in crate::config) const LIMIT_MAX: Real = Real {
    path: "routing.limit.max_seconds",
    default: 120.0,
    least: 0.01,
    most: 86_400.0,
    unit: "seconds",
    about: "The longest rest after one 429, whatever it says.",
};

pub(in crate::config) const LIMIT_RAMP: Real = Real {
    path: "routing.limit.ramp_seconds",
    default: 10.0,
    least: 0.0,
    most: 3600.0,
    unit: "seconds",
    about: "After its rest a target gets its full share back over this time, or the next 429 comes at once.",
};

/// The rows of this part.
pub(super) const ROUTING: &[Key] = &[
    Key::Group(&Group { path: "routing", sample: "", about: "How targets are chosen." }),
    Key::Word(&POLICY),
    Key::Real(&EMA_ALPHA),
    Key::Real(&SCORE_TTL),
    Key::Real(&DEFAULT_SCORE),
    Key::Group(&Group {
        path: "routing.detect",
        sample: "",
        about: "When a target becomes degraded.",
    }),
    Key::Real(&TRIP),
    Key::Real(&CLEAR),
    Key::Real(&STRIKES_TO_TRIP),
    Key::Real(&STRIKE_ERROR),
    Key::Real(&STRIKE_TTL),
    Key::Group(&Group {
        path: "routing.recover",
        sample: "",
        about: "When a degraded target is healthy again.",
    }),
    Key::Real(&FLAG_TTL),
    Key::Group(&Group {
        path: "routing.probe",
        sample: "",
        about: "Small requests of Firstlight's own; they cost tokens.",
    }),
    Key::Real(&PROBE_INTERVAL),
    Key::Whole(&PROBE_COUNT),
    Key::Real(&PROBE_TIMEOUT),
    Key::Real(&JITTER),
    Key::Whole(&PROBE_TOKENS),
    Key::Group(&Group {
        path: "routing.limit",
        sample: "",
        about: "What a 429 does. It is never a strike: a full quota is not a slow region.",
    }),
    Key::Real(&LIMIT_DEFAULT),
    Key::Real(&LIMIT_MAX),
    Key::Real(&LIMIT_RAMP),
];
