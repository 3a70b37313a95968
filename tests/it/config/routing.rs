//! `routing`: what the policy means, what the file changes for all, and what a model changes for itself.

use super::file;
use firstlight::config::check;
use firstlight::config::checked::Config;
use firstlight::config::checked::Policy;
use firstlight::config::checked::Routing;
use firstlight::config::dump;
use std::time::Duration;

fn config(part: &str) -> Config {
    let config = check(&file(part)).unwrap().config;
    assert_eq!(check(&dump(&config)).unwrap().config, config, "the dump of\n{part}");
    config
}

fn routing(part: &str) -> Routing {
    config(part).routing
}

fn warnings(part: &str) -> Vec<String> {
    check(&file(part)).unwrap().warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn lookout_is_the_default_and_each_policy_has_its_own() {
    let (lookout, ema) = (routing(""), routing("routing: { policy: ema }"));
    assert_eq!(lookout, routing("routing: { policy: lookout }"));
    assert_eq!((lookout.policy, lookout.candidates), (Policy::Lookout, Some(3)));
    assert_eq!((ema.policy, ema.candidates), (Policy::Ema, None));
    assert!(lookout.hedge.enabled && !ema.hedge.enabled);
    let round_robin = routing("routing: { policy: round_robin }");
    assert_eq!(round_robin, Routing { policy: Policy::RoundRobin, ..ema });
}

#[test]
fn zero_means_none_or_all() {
    let routing = routing(
        "routing:
  candidates: 0
  inflight_slack: 0
  detect: { good_credit: 0, rest_ratio_max: 0 }
  recover: { flag_ttl_seconds: 60, probe_backoff_seconds: 0 }",
    );
    assert_eq!((routing.candidates, routing.inflight_slack), (None, None));
    assert_eq!((routing.detect.good_credit, routing.detect.rest_ratio_max), (None, None));
    assert_eq!(routing.recover.flag_ttl, Some(Duration::from_mins(1)));
    assert_eq!(routing.recover.probe_backoff, None);
}

#[test]
fn the_time_to_the_first_token_is_the_models_or_that_of_all_or_of_the_policy() {
    const MODELS: &str = "
models:
  plain: {}
  classic: { routing: { policy: ema } }
  own: { first_token_seconds: 5, routing: { policy: ema } }";
    let check = |part: &str, seconds: [u64; 3]| {
        let models = config(&format!("{part}{MODELS}")).models;
        let found = ["plain", "classic", "own"].map(|name| models[name].first_token);
        assert_eq!(found, seconds.map(Duration::from_secs), "{part}");
    };
    check("", [240, 60, 5]);
    check("routing: { policy: ema }", [60, 60, 5]);
    check("timeouts: { first_token_seconds: 7 }", [7, 7, 5]);
}

#[test]
fn a_model_stands_on_the_file_unless_it_names_another_policy() {
    let config = config(
        "routing: { candidates: 2, detect: { trip_ms: 9000 } }
models:
  plain: {}
  same: { routing: { policy: lookout, detect: { clear_ms: 1000 } } }
  other: { routing: { policy: ema, hedge: { enabled: true } } }",
    );
    assert_eq!(config.models["plain"].routing, config.routing);
    let mut same = config.routing.clone();
    same.detect.clear_ms = 1000.0;
    assert_eq!(config.models["same"].routing, same);
    let alone = routing("routing: { policy: ema, hedge: { enabled: true } }");
    assert_eq!(config.models["other"].routing, alone);
}

#[test]
fn a_model_without_probes_gets_its_targets_back_by_time() {
    let models = "
models: { quiet: { probe: off }, usual: {} }";
    let back = |part: &str| {
        let models = config(&format!("{part}{models}")).models;
        ["quiet", "usual"].map(|name| models[name].routing.recover.flag_ttl)
    };
    assert_eq!(back(""), [Some(Duration::from_mins(15)), None]);
    let ten = Some(Duration::from_secs(10));
    assert_eq!(back("routing: { recover: { flag_ttl_seconds: 10 } }"), [ten, ten]);
}

#[test]
fn what_is_written_in_vain_is_warned_about() {
    let none: [&str; 0] = [];
    assert_eq!(
        warnings("routing: { policy: ema, overflow: { gain: 0 }, hedge: { enabled: true } }"),
        none
    );
    assert_eq!(
        warnings(
            "routing:
  policy: ema
  overflow: { gain: 0.1 }
  detect: { late_quantile: 0.9, strike_trip: 2 }
models:
  turns: { routing: { policy: round_robin, ema_alpha: 0.5, limit: { ramp_seconds: 1 } } }
  races: { routing: { policy: round_robin, ema_alpha: 0.5, hedge: { enabled: true } } }
  relative: { routing: { detect: { mode: relative, strike_late: 1 } } }"
        ),
        [
            "3:21  routing.overflow.gain: without effect under `detect.mode: absolute`; leave it out",
            "4:28  routing.detect.late_quantile: without effect under `detect.mode: absolute`; leave it out",
            "6:55  models.turns.routing.ema_alpha: without effect under `policy: round_robin`; leave it out",
        ]
    );
}
