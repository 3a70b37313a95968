//! How the targets of a model are chosen: the checked form of `routing`.
//!
//! `None` stands where the file has a 0 that means "none" or "all".

use serde::Serialize;
use std::time::Duration;

/// How targets are chosen. Reasons for each number: `conf/firstlight.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Routing {
    /// The rule, and what the defaults were.
    pub policy: Policy,
    /// Targets that a choice compares; `None`: all.
    pub candidates: Option<u32>,
    /// In-flight attempts that double a target's cost; `None`: they do not count.
    pub inflight_slack: Option<f64>,
    /// Weight of a new first-token time in a score; above 0, at most 1.
    pub ema_alpha: f64,
    /// Relative: the time in which most of a score's distance to the base fades. Absolute: a score not
    /// refreshed for this long counts as the default score.
    pub score_ttl: Duration,
    /// The score of a target that nothing is known about, in milliseconds.
    pub default_score_ms: f64,
    /// A target with this share of its `max_in_flight` is passed over while another has room; above 0, at most 1.
    pub spill_share: f64,
    /// Requests that share a prompt cache.
    pub affinity: Affinity,
    /// When a target becomes degraded.
    pub detect: Detect,
    /// How what is normal is learned.
    pub baseline: Baseline,
    /// When a degraded target is healthy again.
    pub recover: Recover,
    /// Requests of our own.
    pub probe: Probe,
    /// What still goes to degraded targets when the rest is slow.
    pub overflow: Overflow,
    /// A second attempt that races a late first one.
    pub hedge: Hedge,
    /// What a 429 does.
    pub limit: RateLimit,
}

/// The rule that chooses a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Lowest expected wait; evidence is gathered while answers are outstanding. The default.
    Lookout,
    /// Lowest exponential moving average of time to first token among those that are not degraded.
    Ema,
    /// Each in turn, in proportion to weight; nothing is ever degraded. The baseline.
    RoundRobin,
}

/// Requests that share a prompt cache.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Affinity {
    /// Whether they are kept together.
    pub enabled: bool,
    /// As long as their target costs at most this many times the cheapest that was compared; at least 1.
    pub max_cost_ratio: f64,
}

/// What a first token is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// What is normal for the target and the prompt, while the answer is outstanding.
    Relative,
    /// `trip_ms` and `clear_ms`, when the answer has come.
    Absolute,
}

/// When a target becomes degraded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detect {
    /// What a first token is measured against.
    pub mode: Mode,
    /// A first token at or after this is slow, in milliseconds; relative: while too little is known.
    pub trip_ms: f64,
    /// A first token before this is good, in milliseconds; at most `trip_ms`.
    pub clear_ms: f64,
    /// Strikes that make a target degraded.
    pub strikes_to_trip: f64,
    /// Strikes when a first token is late on a target of which half of the attempts are late.
    pub strike_late: f64,
    /// Strikes at the trip time; absolute: for a slow answer.
    pub strike_trip: f64,
    /// Strikes at twice the trip time.
    pub strike_double: f64,
    /// Strikes that a good answer takes back; `None`: all.
    pub good_credit: Option<f64>,
    /// Relative: a first token under this many times the expected one is good.
    pub good_ratio: f64,
    /// The share of answers that are not late; above 0, below 1.
    pub late_quantile: f64,
    /// The late time in units of the expected first token, least; `late_mult_min <= start <= max`.
    pub late_mult_min: f64,
    /// The same at the start.
    pub late_mult_start: f64,
    /// The same, most.
    pub late_mult_max: f64,
    /// The trip time in units of the late time; at least 1.
    pub trip_factor: f64,
    /// Strikes for an error; 0 to `strikes_to_trip`.
    pub strike_error: f64,
    /// Errors are strikes only if they are at least this share of the last outcomes; 0: always.
    pub error_share: f64,
    /// Strikes older than this are void.
    pub strike_ttl: Duration,
    /// At most this share of the targets may be out; 0 to 1.
    pub max_out_share: f64,
    /// No trip while the others' score over base is above this; `None`: no such guard.
    pub rest_ratio_max: Option<f64>,
}

/// How what is normal is learned. Relative mode only.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// Time constant of a target's base.
    pub tau: Duration,
    /// A target with fewer samples is measured by the others.
    pub min_samples: u32,
    /// A base counts as at most this many times the others'.
    pub cap_ratio: f64,
    /// A model with fewer samples is measured by `trip_ms` and `clear_ms`.
    pub warm_samples: u32,
}

/// When a degraded target is healthy again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recover {
    /// Healthy again after this long, probe or not; `None`: only probes bring it back.
    pub flag_ttl: Option<Duration>,
    /// First pause between recovery probes; `None`: no such probes.
    pub probe_backoff: Option<Duration>,
    /// Longest pause between them; at least `probe_backoff`.
    pub probe_backoff_max: Duration,
    /// Good probes in a row that it takes.
    pub probe_oks: u32,
    /// A probe under this many times the expected first token is good.
    pub clear_ratio: f64,
    /// After which it has its full share again; zero: at once.
    pub ramp: Duration,
    /// A second trip within this time makes coming back harder.
    pub flap_window: Duration,
}

/// Requests of our own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// From one round of probes to the next; zero: no rounds.
    pub interval: Duration,
    /// Probes sent to every target in one round; 1 to 10.
    pub count: u32,
    /// How long a probe may take.
    pub timeout: Duration,
    /// Each round starts up to this share of the interval earlier or later; 0 to 0.5.
    pub jitter_share: f64,
    /// Most output tokens that a probe asks for; 1 to 100.
    pub max_tokens: u32,
    /// At most one confirm probe per target in this time; zero: none.
    pub confirm_interval: Duration,
}

/// Share of the requests that still go to a degraded target: `gain x (slowness of the pool - start)`, at
/// most `max`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overflow {
    /// Growth of the share; 0: none.
    pub gain: f64,
    /// The pool's median score over base from which on it grows.
    pub start: f64,
    /// Largest share; 0 to 1.
    pub max: f64,
}

/// When a late attempt is raced by a second one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hedge {
    /// Whether it is done at all.
    pub enabled: bool,
    /// Tokens that hedges may cost, as a share of the prompts' tokens.
    pub budget_share: f64,
    /// What the budget may save up, in time of accrual.
    pub burst: Duration,
    /// What it may save up in any case, and what it starts with: tokens.
    pub burst_min_tokens: u32,
    /// Hedges per request.
    pub max_per_request: u32,
    /// Longer prompts are not hedged: tokens.
    pub max_prompt_tokens: u32,
    /// Whether Responses that are stored only by default are hedged too.
    pub stored_responses: bool,
    /// When an answer that is not streamed counts as late while nothing better is known.
    pub non_stream_deadline: Duration,
}

/// What a 429 does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateLimit {
    /// How long a target rests after a 429 that names no time.
    pub default_wait: Duration,
    /// The longest that a target rests after one 429.
    pub max_wait: Duration,
    /// After its rest a target gets its full share back over this time.
    pub ramp: Duration,
    /// It counts as out for this long after its rest, when others are to be taken out.
    pub out_hold: Duration,
}
