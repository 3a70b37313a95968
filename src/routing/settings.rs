//! The numbers of the engine. Reasons and ranges: `conf/firstlight.yaml`.

use std::time::Duration;

/// The rule that chooses a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Lowest moving average of time to first token among the targets that are not degraded.
    Ema,
    /// Each in turn in proportion to weight; never degrades anything.
    RoundRobin,
}

/// What one pool is run with.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The rule that chooses.
    pub policy: Policy,
    /// Weight of a new sample in the score; above 0, at most 1.
    pub ema_alpha: f64,
    /// A score that was not refreshed for this long counts as `default_score_ms` again.
    pub score_ttl: Duration,
    /// Score of a target that nothing is known about.
    pub default_score_ms: f64,
    /// A first token at or after this is a slow answer: one strike.
    pub trip_ms: f64,
    /// A first token before this is a good answer: all strikes are forgiven. At most `trip_ms`.
    pub clear_ms: f64,
    /// Strikes at which a target becomes degraded.
    pub strikes_to_trip: f64,
    /// Strikes for an error. Below 1, so that one poisonous request cannot take a region out.
    pub strike_error: f64,
    /// Strikes older than this are void.
    pub strike_ttl: Duration,
    /// A degraded target is healthy again after this long, probe or not.
    pub flag_ttl: Duration,
    /// Rest after a 429 that names no time.
    pub limit_default: Duration,
    /// Longest rest after one 429.
    pub limit_max: Duration,
    /// After its rest a target gets its full share back over this time.
    pub limit_ramp: Duration,
}

impl Default for Settings {
    /// The published defaults of the `ema` policy.
    fn default() -> Self {
        Self {
            policy: Policy::Ema,
            ema_alpha: 0.3,
            score_ttl: Duration::from_mins(10),
            default_score_ms: 1000.0,
            trip_ms: 8000.0,
            clear_ms: 3000.0,
            strikes_to_trip: 2.0,
            strike_error: 0.67,
            strike_ttl: Duration::from_mins(15),
            flag_ttl: Duration::from_mins(15),
            limit_default: Duration::from_secs(10),
            limit_max: Duration::from_mins(2),
            limit_ramp: Duration::from_secs(10),
        }
    }
}
