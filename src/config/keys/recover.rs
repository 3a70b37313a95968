//! The way back, and our own probes.

use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Real;
use crate::config::keys::Usual;
use crate::config::keys::Whole;

pub(in crate::config) const FLAG_TTL: Real = Real {
    path: "routing.recover.flag_ttl_seconds",
    default: Usual::by_policy(0.0, 900.0),
    least: 0.0,
    most: 86_400.0,
    unit: "seconds",
    about: "Healthy again after this long even without a good probe: real traffic then decides. 0: only probes bring it\n\
            back. A model with `probe: off` has 900 where nothing is written.",
};

pub(in crate::config) const BACKOFF: Real = Real {
    path: "routing.recover.probe_backoff_seconds",
    default: Usual::by_policy(5.0, 0.0),
    least: 0.0,
    most: 3600.0,
    unit: "seconds",
    about: "First pause between probes of a degraded target, doubled after each that failed. 0: no such probes.",
};

pub(in crate::config) const BACKOFF_MAX: Real = Real {
    path: "routing.recover.probe_backoff_max_seconds",
    default: Usual::of(30.0),
    least: 0.01,
    most: 86_400.0,
    unit: "seconds",
    about: "Longest pause between them: what has healed is back in less than a minute.",
};

pub(in crate::config) const PROBE_OKS: Whole = Whole {
    path: "routing.recover.probe_oks",
    default: Usual::of(2),
    least: 1,
    most: 6,
    unit: "probes",
    about: "Good ones in a row that it takes: one can be luck. One more for each time that it failed again soon.",
};

pub(in crate::config) const CLEAR_RATIO: Real = Real {
    path: "routing.recover.clear_ratio",
    default: Usual::of(1.7),
    least: 1.0,
    most: 100.0,
    unit: "times the expected",
    about: "A probe under this is good: a little more than for an answer, as probes are few and their spread is wide.",
};

pub(in crate::config) const RECOVER_RAMP: Real = Real {
    path: "routing.recover.ramp_seconds",
    default: Usual::by_policy(30.0, 0.0),
    least: 0.0,
    most: 3600.0,
    unit: "seconds",
    about: "After which it has its full share again: everybody at once can make it slow again. 0: at once.",
};

pub(in crate::config) const FLAP_WINDOW: Real = Real {
    path: "routing.recover.flap_window_seconds",
    default: Usual::of(900.0),
    least: 0.0,
    most: 86_400.0,
    unit: "seconds",
    about: "A second outage within this time makes the way back longer.",
};

pub(in crate::config) const PROBE_INTERVAL: Real = Real {
    path: "routing.probe.interval_seconds",
    default: Usual::by_policy(0.0, 900.0),
    least: 0.0,
    most: 86_400.0,
    unit: "seconds",
    about: "From one round over all targets to the next; 0: no rounds. `lookout` probes where there is a reason to.",
};

pub(in crate::config) const PROBE_COUNT: Whole = Whole {
    path: "routing.probe.count",
    default: Usual::of(3),
    least: 1,
    most: 10,
    unit: "probes",
    about: "Per target and round. Any good one clears the target, so that one unlucky probe does not decide.",
};

pub(in crate::config) const PROBE_TIMEOUT: Real = Real {
    path: "routing.probe.timeout_seconds",
    default: Usual::of(30.0),
    least: 0.01,
    most: 600.0,
    unit: "seconds",
    about: "How long a probe may take; longer than any first token worth waiting for.",
};

pub(in crate::config) const JITTER: Real = Real {
    path: "routing.probe.jitter_share",
    default: Usual::of(0.1),
    least: 0.0,
    most: 0.5,
    unit: "share of the interval",
    about: "Each round starts up to this much earlier or later, so that many instances do not probe at once.",
};

pub(in crate::config) const PROBE_TOKENS: Whole = Whole {
    path: "routing.probe.max_tokens",
    default: Usual::of(5),
    least: 1,
    most: 100,
    unit: "tokens",
    about: "Output tokens that a probe asks for: enough to see a first one.",
};

pub(in crate::config) const CONFIRM_INTERVAL: Real = Real {
    path: "routing.probe.confirm_interval_seconds",
    default: Usual::by_policy(10.0, 0.0),
    least: 0.0,
    most: 3600.0,
    unit: "seconds",
    about: "A target whose requests are late gets at most one probe in this time, which tells a slow target from slow\n\
            requests. 0: none.",
};

/// The rows of this part.
pub(super) const RECOVER: &[Key] = &[
    Key::Group(&Group {
        path: "routing.recover",
        sample: "",
        about: "When a degraded target is healthy again.",
    }),
    Key::Real(&FLAG_TTL),
    Key::Real(&BACKOFF),
    Key::Real(&BACKOFF_MAX),
    Key::Whole(&PROBE_OKS),
    Key::Real(&CLEAR_RATIO),
    Key::Real(&RECOVER_RAMP),
    Key::Real(&FLAP_WINDOW),
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
    Key::Real(&CONFIRM_INTERVAL),
];
