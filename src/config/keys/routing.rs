//! How targets are chosen.

use crate::config::keys::Flag;
use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Real;
use crate::config::keys::Usual;
use crate::config::keys::Whole;
use crate::config::keys::Word;

pub(in crate::config) const POLICY: Word = Word {
    path: "routing.policy",
    default: Usual::of("lookout"),
    words: &["lookout", "ema", "round_robin"],
    about: "`lookout`: the shortest expected wait; what is late counts while it is still outstanding.\n\
            `ema`: the lowest average time to first token among the targets that are not degraded.\n\
            `round_robin`: each in turn by weight, and nothing is ever degraded; the baseline.\n\
            Every default below is that of `lookout`. Where `ema` has another it is named, and `round_robin` has it too.",
};

pub(in crate::config) const CANDIDATES: Whole = Whole {
    path: "routing.candidates",
    default: Usual::by_policy(3, 0),
    least: 0,
    most: 8,
    unit: "targets",
    about: "How many a choice compares, drawn at random; 0: all. With all of them every instance runs to the same one.",
};

pub(in crate::config) const INFLIGHT_SLACK: Real = Real {
    path: "routing.inflight_slack",
    default: Usual::by_policy(4.0, 0.0),
    least: 0.0,
    most: 1000.0,
    unit: "attempts",
    about: "So many that wait for a first token double a target's cost: the lowest score alone overloads the target that\n\
            has it. 0: they do not count.",
};

pub(in crate::config) const EMA_ALPHA: Real = Real {
    path: "routing.ema_alpha",
    default: Usual::of(0.3),
    least: 0.001,
    most: 1.0,
    unit: "share",
    about: "How much a new first-token time moves a score: at 0.3 five answers replace five sixths of the old one.",
};

pub(in crate::config) const SCORE_TTL: Real = Real {
    path: "routing.score_ttl_seconds",
    default: Usual::by_policy(60.0, 600.0),
    least: 0.01,
    most: 86_400.0,
    unit: "seconds",
    about: "An unused score fades to the target's normal, by two thirds in this time, so that the target is tried again.\n\
            `detect.mode: absolute`: a score that old counts as default_score_ms.",
};

pub(in crate::config) const DEFAULT_SCORE: Real = Real {
    path: "routing.default_score_ms",
    default: Usual::of(1000.0),
    least: 1.0,
    most: 600_000.0,
    unit: "milliseconds",
    about: "The score of a target that nothing is known about: a usual time, so that new targets get traffic.",
};

pub(in crate::config) const SPILL_SHARE: Real = Real {
    path: "routing.spill_share",
    default: Usual::of(0.9),
    least: 0.01,
    most: 1.0,
    unit: "share",
    about: "A target with this share of its `max_in_flight` is passed over while another has room, of its tier or of a\n\
            higher one; then the last places are used, too.",
};

pub(in crate::config) const AFFINITY: Flag = Flag {
    path: "routing.affinity.enabled",
    default: Usual::by_policy(true, false),
    about: "Requests with the same `prompt_cache_key`, else `user`, else the same first 4 KiB of a prompt, prefer the same\n\
            target: each region has a cache of its own. Instances agree on which. `ema`: false.",
};

pub(in crate::config) const AFFINITY_RATIO: Real = Real {
    path: "routing.affinity.max_cost_ratio",
    default: Usual::of(1.5),
    least: 1.0,
    most: 100.0,
    unit: "times",
    about: "As long as it costs at most this many times the cheapest that was compared. A hit saves about so much.",
};

/// The rows of this part.
pub(super) const ROUTING: &[Key] = &[
    Key::Group(&Group { path: "routing", sample: "", about: "How targets are chosen." }),
    Key::Word(&POLICY),
    Key::Whole(&CANDIDATES),
    Key::Real(&INFLIGHT_SLACK),
    Key::Real(&EMA_ALPHA),
    Key::Real(&SCORE_TTL),
    Key::Real(&DEFAULT_SCORE),
    Key::Real(&SPILL_SHARE),
    Key::Group(&Group {
        path: "routing.affinity",
        sample: "",
        about: "Requests that share a prompt cache, which answers sooner and costs less.",
    }),
    Key::Flag(&AFFINITY),
    Key::Real(&AFFINITY_RATIO),
];
