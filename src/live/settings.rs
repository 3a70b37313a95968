//! The engine's settings, from the configuration's.

use crate::config::checked;
use crate::routing::Affinity;
use crate::routing::Baseline;
use crate::routing::Bounds;
use crate::routing::Detect;
use crate::routing::Hedge;
use crate::routing::Limit;
use crate::routing::Mode;
use crate::routing::Overflow;
use crate::routing::Policy;
use crate::routing::Recover;
use crate::routing::Settings;

/// What the pool of a model with this `routing` runs with.
pub(crate) fn settings(routing: &checked::Routing) -> Settings {
    let checked::Routing { baseline, recover, overflow, hedge, limit, .. } = routing;
    let candidates = routing.candidates.and_then(|most| usize::try_from(most).ok());
    Settings {
        policy: match routing.policy {
            checked::Policy::Lookout => Policy::Lookout,
            checked::Policy::Ema => Policy::Ema,
            checked::Policy::RoundRobin => Policy::RoundRobin,
        },
        candidates: candidates.unwrap_or(usize::MAX),
        inflight_slack: routing.inflight_slack.unwrap_or(f64::INFINITY),
        ema_alpha: routing.ema_alpha,
        score_ttl: routing.score_ttl,
        default_score_ms: routing.default_score_ms,
        spill_share: routing.spill_share,
        affinity: Affinity {
            enabled: routing.affinity.enabled,
            max_cost_ratio: routing.affinity.max_cost_ratio,
        },
        detect: detect(routing),
        baseline: Baseline {
            tau: baseline.tau,
            min_samples: baseline.min_samples,
            cap_ratio: baseline.cap_ratio,
            warm_samples: baseline.warm_samples,
        },
        recover: Recover {
            flag_ttl: recover.flag_ttl,
            probe_backoff: recover.probe_backoff,
            probe_backoff_max: recover.probe_backoff_max,
            probe_oks: recover.probe_oks,
            clear_ratio: recover.clear_ratio,
            ramp: recover.ramp,
            flap_window: recover.flap_window,
        },
        overflow: Overflow { gain: overflow.gain, start: overflow.start, max: overflow.max },
        hedge: Hedge {
            enabled: hedge.enabled,
            budget_share: hedge.budget_share,
            burst: hedge.burst,
            burst_min_tokens: f64::from(hedge.burst_min_tokens),
            max_per_request: hedge.max_per_request,
            max_prompt_tokens: u64::from(hedge.max_prompt_tokens),
            non_stream_deadline: hedge.non_stream_deadline,
        },
        limit: Limit {
            default_wait: limit.default_wait,
            max_wait: limit.max_wait,
            ramp: limit.ramp,
            out_hold: limit.out_hold,
        },
    }
}

fn detect(routing: &checked::Routing) -> Detect {
    let detect = &routing.detect;
    Detect {
        mode: match detect.mode {
            checked::Mode::Relative => Mode::Relative,
            checked::Mode::Absolute => Mode::Absolute,
        },
        trip_ms: detect.trip_ms,
        clear_ms: detect.clear_ms,
        strikes_to_trip: detect.strikes_to_trip,
        strike_late: detect.strike_late,
        strike_trip: detect.strike_trip,
        strike_double: detect.strike_double,
        good_credit: detect.good_credit.unwrap_or(f64::INFINITY),
        good_ratio: detect.good_ratio,
        late_quantile: detect.late_quantile,
        late_mult: Bounds {
            min: detect.late_mult_min,
            start: detect.late_mult_start,
            max: detect.late_mult_max,
        },
        trip_factor: detect.trip_factor,
        strike_error: detect.strike_error,
        error_share: detect.error_share,
        strike_ttl: detect.strike_ttl,
        max_out_share: detect.max_out_share,
        rest_ratio_max: detect.rest_ratio_max.unwrap_or(f64::INFINITY),
        confirm_interval: routing.probe.confirm_interval,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defaults of the configuration and the presets of the engine are written twice: here they are one.
    #[test]
    fn a_file_that_names_only_a_policy_gives_the_engine_its_preset() {
        let of = |policy: &str| {
            let minimal = include_str!("../../conf/minimal.yaml");
            let checked = crate::config::check(&format!("{minimal}{policy}")).unwrap();
            assert_eq!(checked.warnings, []);
            let model = settings(&checked.config.models["gpt-4o"].routing);
            assert_eq!(model, settings(&checked.config.routing));
            model
        };
        assert_eq!(of(""), Settings::lookout());
        assert_eq!(of("routing: { policy: lookout }"), Settings::lookout());
        assert_eq!(of("routing: { policy: ema }"), Settings::ema());
        assert_eq!(of("routing: { policy: round_robin }"), Settings::round_robin());
    }
}
