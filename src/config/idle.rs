//! Keys of `routing` that mean nothing under the policy they are written for: their author meant something
//! by them, and gets a warning. One that is written as its default is no surprise.

use crate::config::checked::Mode;
use crate::config::checked::Policy;
use crate::config::checked::Routing;
use crate::config::keys;
use crate::config::layers::Layers;
use crate::config::problem::Problems;

/// What `round_robin` does look at; a group stands for all of its keys.
const IN_TURN: &[&str] = &[
    "routing.policy",
    "routing.probe.timeout_seconds",
    "routing.probe.max_tokens",
    "routing.hedge",
    "routing.limit",
];

/// And what finds the time and the target of a hedge.
const FOR_HEDGES: &[&str] = &[
    "routing.candidates",
    "routing.inflight_slack",
    "routing.ema_alpha",
    "routing.score_ttl_seconds",
    "routing.default_score_ms",
    "routing.detect.trip_ms",
    "routing.spill_share",
];

/// What only `detect.mode: relative` looks at.
const RELATIVE: &[&str] = &[
    "routing.detect.strike_late",
    "routing.detect.strike_double",
    "routing.detect.good_ratio",
    "routing.detect.late_quantile",
    "routing.detect.late_mult_min",
    "routing.detect.late_mult_start",
    "routing.detect.late_mult_max",
    "routing.detect.trip_factor",
    "routing.baseline",
    "routing.recover.probe_oks",
    "routing.recover.clear_ratio",
    "routing.probe.confirm_interval_seconds",
    "routing.overflow",
];

/// Warns about what is written in the own layer in vain.
pub(super) fn warn(layers: &Layers<'_>, routing: &Routing, problems: &mut Problems) {
    for key in keys::table().filter(|key| key.path().starts_with("routing.")) {
        let Some(why) = why_idle(key.path(), routing) else { continue };
        if let Some(spot) = layers.differs(key) {
            problems.warn(&spot, format!("without effect under {why}"), "leave it out");
        }
    }
}

fn why_idle(path: &str, routing: &Routing) -> Option<&'static str> {
    let is_in = |list: &[&str]| {
        list.iter().any(|known| {
            path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    if routing.policy == Policy::RoundRobin {
        let used = is_in(IN_TURN) || (routing.hedge.enabled && is_in(FOR_HEDGES));
        return (!used).then_some("`policy: round_robin`");
    }
    (routing.detect.mode == Mode::Absolute && is_in(RELATIVE)).then_some("`detect.mode: absolute`")
}
