//! The numbers of the engine, and the presets that make them a policy. Reasons and ranges:
//! `conf/firstlight.yaml`.

use std::time::Duration;

/// The name of a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The default: cost is expected wait, evidence is gathered while answers are outstanding.
    Lookout,
    /// Lowest moving average of time to first token among the targets that are not degraded.
    Ema,
    /// Each in turn in proportion to weight; never degrades anything.
    RoundRobin,
}

/// What one pool is run with.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The preset that the rest came from. `RoundRobin` takes turns; the others differ in numbers only.
    pub policy: Policy,
    /// How many targets a pick compares; at least 1.
    pub candidates: usize,
    /// In-flight attempts that double a target's cost; infinite: they do not count.
    pub inflight_slack: f64,
    /// Weight of a new sample in the score; above 0, at most 1.
    pub ema_alpha: f64,
    /// Relative: the score decays to the base with this time constant. Absolute: a score that was not
    /// refreshed for this long counts as `default_score_ms` again.
    pub score_ttl: Duration,
    /// Score of a target that nothing is known about.
    pub default_score_ms: f64,
    /// A target that has this share of the attempts that it may have is passed over while another has room;
    /// above 0, at most 1.
    pub spill_share: f64,
    /// What goes together.
    pub affinity: Affinity,
    /// What is evidence against a target.
    pub detect: Detect,
    /// What is normal.
    pub baseline: Baseline,
    /// The way back.
    pub recover: Recover,
    /// What still goes to degraded targets when the rest is slow.
    pub overflow: Overflow,
    /// A second attempt that races a late first one.
    pub hedge: Hedge,
    /// Rate limits.
    pub limit: Limit,
}

/// Requests that share a prompt cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Affinity {
    /// Whether they are kept together.
    pub enabled: bool,
    /// As long as their target costs at most this many times what was picked otherwise; at least 1.
    pub max_cost_ratio: f64,
}

/// What a first token is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The target's own history, the prompt's size and what the fleet does now; while it is outstanding.
    Relative,
    /// `trip_ms` and `clear_ms`, when it has come.
    Absolute,
}

/// When a target becomes degraded.
#[derive(Clone, Debug, PartialEq)]
pub struct Detect {
    /// What a first token is measured against.
    pub mode: Mode,
    /// Absolute, or while too little is known: a first token at or after this is slow.
    pub trip_ms: f64,
    /// Absolute, or while too little is known: a first token before this is good. At most `trip_ms`.
    pub clear_ms: f64,
    /// Strikes at which a target becomes degraded.
    pub strikes_to_trip: f64,
    /// Strikes when a first token is late on a target of which half of the attempts are late.
    pub strike_late: f64,
    /// Strikes at the trip time T; in absolute mode for a slow answer.
    pub strike_trip: f64,
    /// Strikes at 2 T.
    pub strike_double: f64,
    /// Strikes that a good answer takes back; infinite: all of them.
    pub good_credit: f64,
    /// Relative: a first token under this many times the expected one is good.
    pub good_ratio: f64,
    /// The share of answers that come before D.
    pub late_quantile: f64,
    /// D in units of the expected first token: least, at the start, most.
    pub late_mult: Bounds,
    /// T in units of D; at least 1.
    pub trip_factor: f64,
    /// Strikes for an error.
    pub strike_error: f64,
    /// An error is a strike only if at least this share of the last eight outcomes are errors, from at least
    /// two requests; 0: always.
    pub error_share: f64,
    /// Strikes older than this are void.
    pub strike_ttl: Duration,
    /// At most this share of the targets may be out.
    pub max_out_share: f64,
    /// No trip while the median of the others' score over base is above this; infinite: no such guard.
    pub rest_ratio_max: f64,
    /// At most one confirm probe per target in this time; zero: none.
    pub confirm_interval: Duration,
}

/// A number that adapts between two others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Least.
    pub min: f64,
    /// At the start.
    pub start: f64,
    /// Most.
    pub max: f64,
}

/// How what is normal is learned. Relative mode only.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// Time constant of the base after its first samples.
    pub tau: Duration,
    /// A target with fewer samples is measured by the fleet's base.
    pub min_samples: u32,
    /// A base counts as at most this many times the fleet's.
    pub cap_ratio: f64,
    /// A model with fewer samples is measured by `trip_ms` and `clear_ms`; a prompt size with fewer by its
    /// prior factor, and more patiently.
    pub warm_samples: u32,
}

/// When a degraded target is healthy again.
#[derive(Clone, Debug, PartialEq)]
pub struct Recover {
    /// Healthy again after this long, probe or not; `None`: only probes bring it back.
    pub flag_ttl: Option<Duration>,
    /// First pause between recovery probes, doubled after each that failed; `None`: no such probes.
    pub probe_backoff: Option<Duration>,
    /// Longest pause between them.
    pub probe_backoff_max: Duration,
    /// Good probes in a row that it takes, at the first outage.
    pub probe_oks: u32,
    /// A probe under this many times the expected first token is good.
    pub clear_ratio: f64,
    /// After which it has its full share again; zero: at once.
    pub ramp: Duration,
    /// A second trip within this time makes coming back harder.
    pub flap_window: Duration,
}

/// Share of the requests that go to a degraded target that still answers, when the pool is slow:
/// `gain x (pool_ratio - start)`, at most `max`.
#[derive(Clone, Debug, PartialEq)]
pub struct Overflow {
    /// Growth of the share; 0: none.
    pub gain: f64,
    /// Median score over base from which on it grows.
    pub start: f64,
    /// Largest share.
    pub max: f64,
}

/// When a late attempt is raced by a second one.
#[derive(Clone, Debug, PartialEq)]
pub struct Hedge {
    /// Whether it is done at all.
    pub enabled: bool,
    /// Tokens that hedges may cost, as a share of the prompts' tokens.
    pub budget_share: f64,
    /// What the budget may save up, in time of accrual.
    pub burst: Duration,
    /// What it may save up in any case, and what it starts with: tokens.
    pub burst_min_tokens: f64,
    /// Hedges per request.
    pub max_per_request: u32,
    /// Longer prompts are not hedged: tokens.
    pub max_prompt_tokens: u64,
    /// When an answer that is not streamed counts as late while nothing better is known.
    pub non_stream_deadline: Duration,
}

/// What a 429 does.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Rest after a 429 that names no time.
    pub default_wait: Duration,
    /// Longest rest after one 429.
    pub max_wait: Duration,
    /// After its rest a target gets its full share back over this time.
    pub ramp: Duration,
    /// For the guard of trips it counts as out for this long after its rest.
    pub out_hold: Duration,
}

impl Settings {
    /// The default policy.
    pub fn lookout() -> Self {
        Self {
            policy: Policy::Lookout,
            candidates: 3,
            inflight_slack: 4.0,
            ema_alpha: 0.3,
            score_ttl: Duration::from_mins(1),
            default_score_ms: 1000.0,
            spill_share: 0.9,
            affinity: Affinity { enabled: true, max_cost_ratio: 1.5 },
            detect: Detect {
                mode: Mode::Relative,
                trip_ms: 8000.0,
                clear_ms: 3000.0,
                strikes_to_trip: 2.0,
                strike_late: 0.4,
                strike_trip: 0.4,
                strike_double: 0.8,
                good_credit: 0.3,
                good_ratio: 1.5,
                late_quantile: 0.98,
                late_mult: Bounds { min: 1.6, start: 2.2, max: 4.0 },
                trip_factor: 1.5,
                strike_error: 1.0,
                error_share: 0.5,
                strike_ttl: Duration::from_mins(15),
                max_out_share: 0.5,
                rest_ratio_max: 1.25,
                confirm_interval: Duration::from_secs(10),
            },
            baseline: Baseline {
                tau: Duration::from_mins(30),
                min_samples: 5,
                cap_ratio: 3.0,
                warm_samples: 20,
            },
            recover: Recover {
                flag_ttl: None,
                probe_backoff: Some(Duration::from_secs(5)),
                probe_backoff_max: Duration::from_secs(30),
                probe_oks: 2,
                clear_ratio: 1.7,
                ramp: Duration::from_secs(30),
                flap_window: Duration::from_mins(15),
            },
            overflow: Overflow { gain: 0.1, start: 1.5, max: 0.3 },
            hedge: Hedge {
                enabled: true,
                budget_share: 0.05,
                burst: Duration::from_mins(10),
                burst_min_tokens: 20_000.0,
                max_per_request: 2,
                max_prompt_tokens: 32_000,
                non_stream_deadline: Duration::from_mins(2),
            },
            limit: Limit {
                default_wait: Duration::from_secs(10),
                max_wait: Duration::from_mins(2),
                ramp: Duration::from_secs(10),
                out_hold: Duration::from_secs(30),
            },
        }
    }

    /// The classic: lowest average, slow answers in a row, a flag with a time. Its published defaults, but an
    /// error is less than a strike (the published policy excludes on the first, which lets one poisonous
    /// request take out every region) and a 429 is not a fast answer.
    pub fn ema() -> Self {
        let base = Self::lookout();
        Self {
            policy: Policy::Ema,
            candidates: usize::MAX,
            inflight_slack: f64::INFINITY,
            score_ttl: Duration::from_mins(10),
            detect: Detect {
                mode: Mode::Absolute,
                strike_late: 0.0,
                strike_trip: 1.0,
                strike_double: 0.0,
                good_credit: f64::INFINITY,
                strike_error: 0.67,
                error_share: 0.0,
                max_out_share: 1.0,
                rest_ratio_max: f64::INFINITY,
                confirm_interval: Duration::ZERO,
                ..base.detect
            },
            recover: Recover {
                flag_ttl: Some(Duration::from_mins(15)),
                probe_backoff: None,
                ramp: Duration::ZERO,
                ..base.recover
            },
            overflow: Overflow { gain: 0.0, ..base.overflow },
            hedge: Hedge { enabled: false, ..base.hedge },
            affinity: Affinity { enabled: false, ..base.affinity },
            ..base
        }
    }

    /// The baseline that the others are compared with: turns by weight, nothing is ever degraded.
    pub fn round_robin() -> Self {
        Self { policy: Policy::RoundRobin, ..Self::ema() }
    }
}
