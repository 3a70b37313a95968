//! How targets are chosen: reads `routing`, the file's or a model's, and holds the relations between its
//! numbers.

use crate::config::checked::Affinity;
use crate::config::checked::Baseline;
use crate::config::checked::Detect;
use crate::config::checked::Hedge;
use crate::config::checked::Mode;
use crate::config::checked::Overflow;
use crate::config::checked::Policy;
use crate::config::checked::Probe;
use crate::config::checked::ProbeKind;
use crate::config::checked::RateLimit;
use crate::config::checked::Recover;
use crate::config::checked::Routing;
use crate::config::idle;
use crate::config::keys;
use crate::config::layers::Layers;
use crate::config::problem::Problems;
use crate::config::problem::Spot;
use crate::config::section::to_duration;
use std::time::Duration;

/// Reads the file's `routing`.
pub(super) fn of_file(layers: &Layers<'_>, problems: &mut Problems) -> Routing {
    let recover = layers.inner("routing.recover", problems);
    let routing = read(layers, &recover, problems);
    returns(layers, &recover, (&routing, None), problems);
    routing
}

/// What a policy comes to where nothing is written.
pub(super) fn usual(policy: Policy) -> Routing {
    let (layers, silent) = (Layers::empty(policy), &mut Problems::default());
    read(&layers, &layers.inner("routing.recover", silent), silent)
}

/// Reads the `routing` of a model, whose probes are of this kind; `spot` is where that is written.
pub(super) fn of_model(
    layers: &Layers<'_>,
    (probe, spot): (ProbeKind, Option<&Spot>),
    problems: &mut Problems,
) -> Routing {
    let recover = layers.inner("routing.recover", problems);
    let mut routing = read(layers, &recover, problems);
    let probed = probe != ProbeKind::Off;
    if !probed && !recover.has(keys::FLAG_TTL.path) {
        routing = unprobed(&routing);
    }
    returns(layers, &recover, (&routing, spot.filter(|_| !probed)), problems);
    routing
}

/// The same for targets that nobody probes: without probes nothing but time brings one back.
pub(crate) fn unprobed(routing: &Routing) -> Routing {
    let mut routing = routing.clone();
    let some_time = || to_duration(keys::FLAG_TTL.default.under(Policy::Ema));
    routing.recover.flag_ttl.get_or_insert_with(some_time);
    routing
}

/// Whether the weights of backends mean nothing to it.
pub(super) fn ignores_weights(routing: &Routing) -> bool {
    routing.policy != Policy::RoundRobin && routing.detect.mode == Mode::Absolute
}

fn read(layers: &Layers<'_>, recover: &Layers<'_>, problems: &mut Problems) -> Routing {
    let routing = Routing {
        policy: layers.policy,
        candidates: Some(layers.whole(&keys::CANDIDATES, problems)).filter(|most| *most > 0),
        inflight_slack: positive(layers.real(&keys::INFLIGHT_SLACK, problems)),
        ema_alpha: layers.real(&keys::EMA_ALPHA, problems),
        score_ttl: layers.seconds(&keys::SCORE_TTL, problems),
        default_score_ms: layers.real(&keys::DEFAULT_SCORE, problems),
        spill_share: layers.real(&keys::SPILL_SHARE, problems),
        affinity: affinity(layers, problems),
        detect: detect(layers, problems),
        baseline: baseline(layers, problems),
        recover: read_recover(recover, problems),
        probe: probe(layers, problems),
        overflow: overflow(layers, problems),
        hedge: hedge(layers, problems),
        limit: limit(layers, problems),
    };
    idle::warn(layers, &routing, problems);
    routing
}

fn affinity(routing: &Layers<'_>, problems: &mut Problems) -> Affinity {
    let section = routing.inner("routing.affinity", problems);
    Affinity {
        enabled: section.flag(&keys::AFFINITY, problems),
        max_cost_ratio: section.real(&keys::AFFINITY_RATIO, problems),
    }
}

fn detect(routing: &Layers<'_>, problems: &mut Problems) -> Detect {
    let section = routing.inner("routing.detect", problems);
    let detect = Detect {
        mode: match section.word(&keys::MODE, problems) {
            "absolute" => Mode::Absolute,
            _ => Mode::Relative,
        },
        trip_ms: section.real(&keys::TRIP, problems),
        clear_ms: section.real(&keys::CLEAR, problems),
        strikes_to_trip: section.real(&keys::STRIKES_TO_TRIP, problems),
        strike_late: section.real(&keys::STRIKE_LATE, problems),
        strike_trip: section.real(&keys::STRIKE_TRIP, problems),
        strike_double: section.real(&keys::STRIKE_DOUBLE, problems),
        good_credit: positive(section.real(&keys::GOOD_CREDIT, problems)),
        good_ratio: section.real(&keys::GOOD_RATIO, problems),
        late_quantile: section.real(&keys::LATE_QUANTILE, problems),
        late_mult_min: section.real(&keys::LATE_MULT_MIN, problems),
        late_mult_start: section.real(&keys::LATE_MULT_START, problems),
        late_mult_max: section.real(&keys::LATE_MULT_MAX, problems),
        trip_factor: section.real(&keys::TRIP_FACTOR, problems),
        strike_error: section.real(&keys::STRIKE_ERROR, problems),
        error_share: section.real(&keys::ERROR_SHARE, problems),
        strike_ttl: section.seconds(&keys::STRIKE_TTL, problems),
        max_out_share: section.real(&keys::MAX_OUT, problems),
        rest_ratio_max: positive(section.real(&keys::REST_RATIO, problems)),
    };
    section.at_most((&keys::CLEAR, detect.clear_ms), (&keys::TRIP, detect.trip_ms), problems);
    let most = (&keys::STRIKES_TO_TRIP, detect.strikes_to_trip);
    section.at_most((&keys::STRIKE_ERROR, detect.strike_error), most, problems);
    let start = (&keys::LATE_MULT_START, detect.late_mult_start);
    section.at_most((&keys::LATE_MULT_MIN, detect.late_mult_min), start, problems);
    section.at_most(start, (&keys::LATE_MULT_MAX, detect.late_mult_max), problems);
    detect
}

fn baseline(routing: &Layers<'_>, problems: &mut Problems) -> Baseline {
    let section = routing.inner("routing.baseline", problems);
    Baseline {
        tau: section.seconds(&keys::TAU, problems),
        min_samples: section.whole(&keys::MIN_SAMPLES, problems),
        cap_ratio: section.real(&keys::CAP_RATIO, problems),
        warm_samples: section.whole(&keys::WARM_SAMPLES, problems),
    }
}

fn read_recover(section: &Layers<'_>, problems: &mut Problems) -> Recover {
    let first = section.real(&keys::BACKOFF, problems);
    let longest = section.real(&keys::BACKOFF_MAX, problems);
    section.at_most((&keys::BACKOFF, first), (&keys::BACKOFF_MAX, longest), problems);
    Recover {
        flag_ttl: some(section.seconds(&keys::FLAG_TTL, problems)),
        probe_backoff: some(to_duration(first)),
        probe_backoff_max: to_duration(longest),
        probe_oks: section.whole(&keys::PROBE_OKS, problems),
        clear_ratio: section.real(&keys::CLEAR_RATIO, problems),
        ramp: section.seconds(&keys::RECOVER_RAMP, problems),
        flap_window: section.seconds(&keys::FLAP_WINDOW, problems),
    }
}

/// Notes that nothing brings a degraded target back, where that comes from. `unprobed` is where the probes of a
/// model are switched off.
fn returns(
    layers: &Layers<'_>,
    recover: &Layers<'_>,
    (routing, unprobed): (&Routing, Option<&Spot>),
    problems: &mut Problems,
) {
    let Recover { flag_ttl, probe_backoff, .. } = &routing.recover;
    let probes = probe_backoff.is_some() || !routing.probe.interval.is_zero();
    let comes_back = flag_ttl.is_some() || (probes && unprobed.is_none());
    if comes_back || routing.policy == Policy::RoundRobin {
        return;
    }
    let probe = layers.inner("routing.probe", &mut Problems::default());
    let written = recover.spot_of(keys::FLAG_TTL.path);
    let written = written.or_else(|| recover.spot_of(keys::BACKOFF.path));
    let written = written.or_else(|| probe.spot_of(keys::PROBE_INTERVAL.path)).or(unprobed);
    // Nothing of it is written here: it is another layer's, where it is noted.
    let Some(spot) = written else { return };
    problems.refuse(
        spot,
        "nothing is left that brings a degraded target back",
        "write a `flag_ttl_seconds` above 0, or let it be probed",
    );
}

fn probe(routing: &Layers<'_>, problems: &mut Problems) -> Probe {
    let section = routing.inner("routing.probe", problems);
    Probe {
        interval: section.seconds(&keys::PROBE_INTERVAL, problems),
        count: section.whole(&keys::PROBE_COUNT, problems),
        timeout: section.seconds(&keys::PROBE_TIMEOUT, problems),
        jitter_share: section.real(&keys::JITTER, problems),
        max_tokens: section.whole(&keys::PROBE_TOKENS, problems),
        confirm_interval: section.seconds(&keys::CONFIRM_INTERVAL, problems),
    }
}

fn overflow(routing: &Layers<'_>, problems: &mut Problems) -> Overflow {
    let section = routing.inner("routing.overflow", problems);
    Overflow {
        gain: section.real(&keys::OVERFLOW_GAIN, problems),
        start: section.real(&keys::OVERFLOW_START, problems),
        max: section.real(&keys::OVERFLOW_MAX, problems),
    }
}

fn hedge(routing: &Layers<'_>, problems: &mut Problems) -> Hedge {
    let section = routing.inner("routing.hedge", problems);
    Hedge {
        enabled: section.flag(&keys::HEDGE, problems),
        budget_share: section.real(&keys::HEDGE_SHARE, problems),
        burst: section.seconds(&keys::HEDGE_BURST, problems),
        burst_min_tokens: section.whole(&keys::HEDGE_MIN, problems),
        max_per_request: section.whole(&keys::HEDGE_MOST, problems),
        max_prompt_tokens: section.whole(&keys::HEDGE_PROMPT, problems),
        stored_responses: section.flag(&keys::STORED_RESPONSES, problems),
        non_stream_deadline: section.seconds(&keys::NON_STREAM_DEADLINE, problems),
    }
}

fn limit(routing: &Layers<'_>, problems: &mut Problems) -> RateLimit {
    let section = routing.inner("routing.limit", problems);
    let limit = RateLimit {
        default_wait: section.seconds(&keys::LIMIT_DEFAULT, problems),
        max_wait: section.seconds(&keys::LIMIT_MAX, problems),
        ramp: section.seconds(&keys::LIMIT_RAMP, problems),
        out_hold: section.seconds(&keys::OUT_HOLD, problems),
    };
    let most = (&keys::LIMIT_MAX, limit.max_wait.as_secs_f64());
    section.at_most((&keys::LIMIT_DEFAULT, limit.default_wait.as_secs_f64()), most, problems);
    limit
}

/// 0 stands for none.
fn some(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// 0 stands for none, or for all.
fn positive(number: f64) -> Option<f64> {
    (number > 0.0).then_some(number)
}
