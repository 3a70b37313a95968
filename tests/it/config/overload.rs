//! Seats, shares and places: the keys for what happens when there is too much.

use super::{file, problems};
use firstlight::config::check;
use firstlight::config::checked::Config;
use firstlight::config::dump;

fn config(part: &str) -> Config {
    let config = check(&file(part)).unwrap().config;
    assert_eq!(check(&dump(&config)).unwrap().config, config, "the dump of\n{part}");
    config
}

const BACKENDS: &str = "backends:
  ptu: { endpoint: https://ptu.example, tier: 0, max_in_flight: 40, auth: { api_key: { env: KEY } } }
  payg: { endpoint: https://payg.example, auth: { api_key: { env: KEY } } }
  open: { endpoint: https://open.example, max_in_flight: 0, auth: { api_key: { env: KEY } } }";

#[test]
fn a_backend_has_seats_or_none_are_counted() {
    let backends = config(BACKENDS).backends;
    let seats = ["ptu", "payg", "open"].map(|name| backends[name].max_in_flight);
    assert_eq!(seats, [Some(40), None, None]);
}

#[test]
fn the_share_at_which_it_spills_is_the_files_or_a_models() {
    let of = |part: &str| {
        let config = config(part);
        (config.routing.spill_share, config.models["gpt"].routing.spill_share)
    };
    let check = |part: &str, expected: (f64, f64)| {
        let found = of(part);
        assert!((found.0 - expected.0).abs() + (found.1 - expected.1).abs() < 1e-9, "{found:?}");
    };
    check("", (0.9, 0.9));
    check("routing: { spill_share: 0.5 }", (0.5, 0.5));
    check("models: { gpt: { routing: { spill_share: 1 } } }", (0.9, 1.0));
    let told = problems(&file("routing: { spill_share: 0 }"));
    assert_eq!(
        told,
        ["1:25  routing.spill_share: out of range; write a number from 0.01 to 1 (share)"]
    );
}

#[test]
fn there_is_a_limit_of_requests_at_a_time() {
    assert_eq!(config("").limits.concurrent, 10_000);
    assert_eq!(config("limits: { concurrent: 7 }").limits.concurrent, 7);
    let told = problems(&file("limits: { concurrent: 0 }"));
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("limits.concurrent: out of range"), "{told:?}");
}

#[test]
fn requests_that_share_a_cache_stay_together_but_under_ema() {
    let of = |part: &str| {
        let affinity = config(part).routing.affinity;
        (affinity.enabled, affinity.max_cost_ratio.to_string())
    };
    let check = |part: &str, enabled: bool, ratio: &str| {
        assert_eq!(of(part), (enabled, ratio.to_owned()), "{part}");
    };
    check("", true, "1.5");
    check("routing: { policy: ema }", false, "1.5");
    check("routing: { affinity: { enabled: false, max_cost_ratio: 3 } }", false, "3");
    let told = problems(&file("routing: { affinity: { max_cost_ratio: 0.9 } }"));
    assert!(told[0].contains("max_cost_ratio: out of range"), "{told:?}");
}
