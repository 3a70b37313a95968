//! `routing`, the file's or a model's, as it stands in a file.

use crate::config::checked::Affinity;
use crate::config::checked::Baseline;
use crate::config::checked::Detect;
use crate::config::checked::Hedge;
use crate::config::checked::Mode;
use crate::config::checked::Overflow;
use crate::config::checked::Policy;
use crate::config::checked::Probe;
use crate::config::checked::RateLimit;
use crate::config::checked::Recover;
use crate::config::checked::Routing;
use crate::config::dump::Entry;
use crate::config::dump::flag;
use crate::config::dump::map;
use crate::config::dump::real;
use crate::config::dump::seconds;
use crate::config::keys;
use serde_yaml::Value;

/// Every key of it.
pub(in crate::config) fn written(routing: &Routing) -> Value {
    let policy = match routing.policy {
        Policy::Lookout => "lookout",
        Policy::Ema => "ema",
        Policy::RoundRobin => "round_robin",
    };
    map([
        word(keys::POLICY.path, policy),
        count(keys::CANDIDATES.path, routing.candidates.unwrap_or_default()),
        real(keys::INFLIGHT_SLACK.path, routing.inflight_slack.unwrap_or_default()),
        real(keys::EMA_ALPHA.path, routing.ema_alpha),
        seconds(keys::SCORE_TTL.path, routing.score_ttl),
        real(keys::DEFAULT_SCORE.path, routing.default_score_ms),
        real(keys::SPILL_SHARE.path, routing.spill_share),
        ("affinity", affinity(&routing.affinity)),
        ("detect", detect(&routing.detect)),
        ("baseline", baseline(&routing.baseline)),
        ("recover", recover(&routing.recover)),
        ("probe", probe(&routing.probe)),
        ("overflow", overflow(&routing.overflow)),
        ("hedge", hedge(&routing.hedge)),
        ("limit", limit(&routing.limit)),
    ])
}

fn affinity(affinity: &Affinity) -> Value {
    map([
        flag(keys::AFFINITY.path, affinity.enabled),
        real(keys::AFFINITY_RATIO.path, affinity.max_cost_ratio),
    ])
}

fn detect(detect: &Detect) -> Value {
    let mode = match detect.mode {
        Mode::Relative => "relative",
        Mode::Absolute => "absolute",
    };
    map([
        word(keys::MODE.path, mode),
        real(keys::TRIP.path, detect.trip_ms),
        real(keys::CLEAR.path, detect.clear_ms),
        real(keys::STRIKES_TO_TRIP.path, detect.strikes_to_trip),
        real(keys::STRIKE_LATE.path, detect.strike_late),
        real(keys::STRIKE_TRIP.path, detect.strike_trip),
        real(keys::STRIKE_DOUBLE.path, detect.strike_double),
        real(keys::GOOD_CREDIT.path, detect.good_credit.unwrap_or_default()),
        real(keys::GOOD_RATIO.path, detect.good_ratio),
        real(keys::LATE_QUANTILE.path, detect.late_quantile),
        real(keys::LATE_MULT_MIN.path, detect.late_mult_min),
        real(keys::LATE_MULT_START.path, detect.late_mult_start),
        real(keys::LATE_MULT_MAX.path, detect.late_mult_max),
        real(keys::TRIP_FACTOR.path, detect.trip_factor),
        real(keys::STRIKE_ERROR.path, detect.strike_error),
        real(keys::ERROR_SHARE.path, detect.error_share),
        seconds(keys::STRIKE_TTL.path, detect.strike_ttl),
        real(keys::MAX_OUT.path, detect.max_out_share),
        real(keys::REST_RATIO.path, detect.rest_ratio_max.unwrap_or_default()),
    ])
}

fn baseline(baseline: &Baseline) -> Value {
    map([
        seconds(keys::TAU.path, baseline.tau),
        count(keys::MIN_SAMPLES.path, baseline.min_samples),
        real(keys::CAP_RATIO.path, baseline.cap_ratio),
        count(keys::WARM_SAMPLES.path, baseline.warm_samples),
    ])
}

fn recover(recover: &Recover) -> Value {
    map([
        seconds(keys::FLAG_TTL.path, recover.flag_ttl.unwrap_or_default()),
        seconds(keys::BACKOFF.path, recover.probe_backoff.unwrap_or_default()),
        seconds(keys::BACKOFF_MAX.path, recover.probe_backoff_max),
        count(keys::PROBE_OKS.path, recover.probe_oks),
        real(keys::CLEAR_RATIO.path, recover.clear_ratio),
        seconds(keys::RECOVER_RAMP.path, recover.ramp),
        seconds(keys::FLAP_WINDOW.path, recover.flap_window),
    ])
}

fn probe(probe: &Probe) -> Value {
    map([
        seconds(keys::PROBE_INTERVAL.path, probe.interval),
        count(keys::PROBE_COUNT.path, probe.count),
        seconds(keys::PROBE_TIMEOUT.path, probe.timeout),
        real(keys::JITTER.path, probe.jitter_share),
        count(keys::PROBE_TOKENS.path, probe.max_tokens),
        seconds(keys::CONFIRM_INTERVAL.path, probe.confirm_interval),
    ])
}

fn overflow(overflow: &Overflow) -> Value {
    map([
        real(keys::OVERFLOW_GAIN.path, overflow.gain),
        real(keys::OVERFLOW_START.path, overflow.start),
        real(keys::OVERFLOW_MAX.path, overflow.max),
    ])
}

fn hedge(hedge: &Hedge) -> Value {
    map([
        flag(keys::HEDGE.path, hedge.enabled),
        real(keys::HEDGE_SHARE.path, hedge.budget_share),
        seconds(keys::HEDGE_BURST.path, hedge.burst),
        count(keys::HEDGE_MIN.path, hedge.burst_min_tokens),
        count(keys::HEDGE_MOST.path, hedge.max_per_request),
        count(keys::HEDGE_PROMPT.path, hedge.max_prompt_tokens),
        flag(keys::STORED_RESPONSES.path, hedge.stored_responses),
        seconds(keys::NON_STREAM_DEADLINE.path, hedge.non_stream_deadline),
    ])
}

fn limit(limit: &RateLimit) -> Value {
    map([
        seconds(keys::LIMIT_DEFAULT.path, limit.default_wait),
        seconds(keys::LIMIT_MAX.path, limit.max_wait),
        seconds(keys::LIMIT_RAMP.path, limit.ramp),
        seconds(keys::OUT_HOLD.path, limit.out_hold),
    ])
}

fn word(path: &'static str, word: &str) -> Entry {
    (keys::name(path), word.into())
}

fn count(path: &'static str, value: u32) -> Entry {
    (keys::name(path), value.into())
}
