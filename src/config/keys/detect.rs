//! What is normal, and what makes a target degraded.

use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Real;
use crate::config::keys::Usual;
use crate::config::keys::Whole;
use crate::config::keys::Word;

pub(in crate::config) const MODE: Word = Word {
    path: "routing.detect.mode",
    default: Usual::by_policy("relative", "absolute"),
    words: &["relative", "absolute"],
    about: "`relative`: against what is normal for the target, the prompt's size and the pool, while it is outstanding.\n\
            `absolute`: against trip_ms and clear_ms, when it has come.",
};

pub(in crate::config) const TRIP: Real = Real {
    path: "routing.detect.trip_ms",
    default: Usual::of(8000.0),
    least: 1.0,
    most: 600_000.0,
    unit: "milliseconds",
    about: "A first token at or after this is slow: well above a healthy long prompt. `relative` looks at it only while\n\
            too little is known of a model.",
};

pub(in crate::config) const CLEAR: Real = Real {
    path: "routing.detect.clear_ms",
    default: Usual::of(3000.0),
    least: 1.0,
    most: 600_000.0,
    unit: "milliseconds",
    about: "A first token before this is good. At most trip_ms; an answer between the two counts for neither side, so\n\
            that a target does not flap.",
};

pub(in crate::config) const STRIKES_TO_TRIP: Real = Real {
    path: "routing.detect.strikes_to_trip",
    default: Usual::of(2.0),
    least: 0.1,
    most: 100.0,
    unit: "strikes",
    about: "Two: one slow answer in a thousand is normal, two in a row are not. Half as many while it comes back.",
};

pub(in crate::config) const STRIKE_LATE: Real = Real {
    path: "routing.detect.strike_late",
    default: Usual::by_policy(0.4, 0.0),
    least: 0.0,
    most: 100.0,
    unit: "strikes",
    about: "When a first token is late, and half of the target's attempts are: one late among many says nothing.",
};

pub(in crate::config) const STRIKE_TRIP: Real = Real {
    path: "routing.detect.strike_trip",
    default: Usual::by_policy(0.4, 1.0),
    least: 0.0,
    most: 100.0,
    unit: "strikes",
    about: "When it is past the trip time, too. `absolute`: for a slow answer, so that two trip.",
};

pub(in crate::config) const STRIKE_DOUBLE: Real = Real {
    path: "routing.detect.strike_double",
    default: Usual::by_policy(0.8, 0.0),
    least: 0.0,
    most: 100.0,
    unit: "strikes",
    about: "Past twice the trip time. One request that hangs comes to 1.6 with all three, and it takes a second one to trip.",
};

pub(in crate::config) const GOOD_CREDIT: Real = Real {
    path: "routing.detect.good_credit",
    default: Usual::by_policy(0.3, 0.0),
    least: 0.0,
    most: 100.0,
    unit: "strikes",
    about: "What a good answer takes back; 0: all of them. Little, or a target that hangs now and then never trips.",
};

pub(in crate::config) const GOOD_RATIO: Real = Real {
    path: "routing.detect.good_ratio",
    default: Usual::of(1.5),
    least: 1.0,
    most: 100.0,
    unit: "times the expected",
    about: "A first token under this is good; one above it takes no strikes back.",
};

pub(in crate::config) const LATE_QUANTILE: Real = Real {
    path: "routing.detect.late_quantile",
    default: Usual::of(0.98),
    least: 0.5,
    most: 0.999,
    unit: "share",
    about: "Answers that are in time. What is late adapts to it, so that a wide spread alone makes no more late ones.",
};

pub(in crate::config) const LATE_MULT_MIN: Real = Real {
    path: "routing.detect.late_mult_min",
    default: Usual::of(1.6),
    least: 1.0,
    most: 100.0,
    unit: "times the expected",
    about: "The least that is late: a steady model must not trip over small things.",
};

pub(in crate::config) const LATE_MULT_START: Real = Real {
    path: "routing.detect.late_mult_start",
    default: Usual::of(2.2),
    least: 1.0,
    most: 100.0,
    unit: "times the expected",
    about: "What is late before that is learned: about 2 % of a usual spread.",
};

pub(in crate::config) const LATE_MULT_MAX: Real = Real {
    path: "routing.detect.late_mult_max",
    default: Usual::of(4.0),
    least: 1.0,
    most: 100.0,
    unit: "times the expected",
    about: "The most: four times slower is slow, however wide the spread.",
};

pub(in crate::config) const TRIP_FACTOR: Real = Real {
    path: "routing.detect.trip_factor",
    default: Usual::of(1.5),
    least: 1.0,
    most: 10.0,
    unit: "times the late time",
    about: "Which is the trip time: what is later than that is hardly chance.",
};

pub(in crate::config) const STRIKE_ERROR: Real = Real {
    path: "routing.detect.strike_error",
    default: Usual::by_policy(1.0, 0.67),
    least: 0.0,
    most: 100.0,
    unit: "strikes",
    about: "At most strikes_to_trip; 0 ignores errors. One poisonous request that is retried must not take out every\n\
            region: `lookout` has error_share for that, under `ema` three errors trip, not two.",
};

pub(in crate::config) const ERROR_SHARE: Real = Real {
    path: "routing.detect.error_share",
    default: Usual::by_policy(0.5, 0.0),
    least: 0.0,
    most: 1.0,
    unit: "share",
    about: "Errors are strikes only if they are so many of the last eight outcomes, from two requests; 0: always. Retries\n\
            cope with fewer.",
};

pub(in crate::config) const STRIKE_TTL: Real = Real {
    path: "routing.detect.strike_ttl_seconds",
    default: Usual::of(900.0),
    least: 0.01,
    most: 86_400.0,
    unit: "seconds",
    about: "Older strikes are void: two slow answers an hour apart are no trend.",
};

pub(in crate::config) const MAX_OUT: Real = Real {
    path: "routing.detect.max_out_share",
    default: Usual::by_policy(0.5, 1.0),
    least: 0.0,
    most: 1.0,
    unit: "share",
    about: "Targets that may be out at once; one in any case. The others must carry their load.",
};

pub(in crate::config) const REST_RATIO: Real = Real {
    path: "routing.detect.rest_ratio_max",
    default: Usual::by_policy(1.25, 0.0),
    least: 0.0,
    most: 100.0,
    unit: "times the normal",
    about: "No trip while the others are slower than this: then it is not this one's fault, and there is nowhere to go.\n\
            0: no such guard.",
};

pub(in crate::config) const TAU: Real = Real {
    path: "routing.baseline.tau_seconds",
    default: Usual::of(1800.0),
    least: 1.0,
    most: 604_800.0,
    unit: "seconds",
    about: "How slowly it is learned: a short average learns an overload as normal within seconds.",
};

pub(in crate::config) const MIN_SAMPLES: Whole = Whole {
    path: "routing.baseline.min_samples",
    default: Usual::of(5),
    least: 1,
    most: 1000,
    unit: "answers",
    about: "A target with fewer is measured by the others.",
};

pub(in crate::config) const CAP_RATIO: Real = Real {
    path: "routing.baseline.cap_ratio",
    default: Usual::of(3.0),
    least: 1.0,
    most: 100.0,
    unit: "times the others",
    about: "A target's normal counts as no more: one that always was slow is slow all the same.",
};

pub(in crate::config) const WARM_SAMPLES: Whole = Whole {
    path: "routing.baseline.warm_samples",
    default: Usual::of(20),
    least: 1,
    most: 10_000,
    unit: "answers",
    about: "A model with fewer is measured by trip_ms and clear_ms; a prompt size with fewer by what its length usually\n\
            means, and more patiently.",
};

/// The rows of this part.
pub(super) const DETECT: &[Key] = &[
    Key::Group(&Group {
        path: "routing.detect",
        sample: "",
        about: "When a target becomes degraded. A first token is late at some multiple of the expected time, which is learned,\n\
                and past the trip time at trip_factor times that.",
    }),
    Key::Word(&MODE),
    Key::Real(&TRIP),
    Key::Real(&CLEAR),
    Key::Real(&STRIKES_TO_TRIP),
    Key::Real(&STRIKE_LATE),
    Key::Real(&STRIKE_TRIP),
    Key::Real(&STRIKE_DOUBLE),
    Key::Real(&GOOD_CREDIT),
    Key::Real(&GOOD_RATIO),
    Key::Real(&LATE_QUANTILE),
    Key::Real(&LATE_MULT_MIN),
    Key::Real(&LATE_MULT_START),
    Key::Real(&LATE_MULT_MAX),
    Key::Real(&TRIP_FACTOR),
    Key::Real(&STRIKE_ERROR),
    Key::Real(&ERROR_SHARE),
    Key::Real(&STRIKE_TTL),
    Key::Real(&MAX_OUT),
    Key::Real(&REST_RATIO),
    Key::Group(&Group {
        path: "routing.baseline",
        sample: "",
        about: "What is normal for a target and for a prompt's size, learned from answers in time; `relative` only.",
    }),
    Key::Real(&TAU),
    Key::Whole(&MIN_SAMPLES),
    Key::Real(&CAP_RATIO),
    Key::Whole(&WARM_SAMPLES),
];
