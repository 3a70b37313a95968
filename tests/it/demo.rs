//! The demo: its configuration, its verdict as a function of figures, and one real run of the executable.

use firstlight::demo::report::{Figures, Report, judge};
use firstlight::demo::table::table;
use firstlight::demo::world::CONFIGURATION;
use serde_json::Value;
use std::process::Command;

#[test]
fn the_configuration_is_a_good_file_as_it_stands() {
    let checked = firstlight::config::check(CONFIGURATION).unwrap();
    assert_eq!(checked.warnings, []);
}

/// Figures of Firstlight in a demo that went well.
fn good() -> Figures {
    Figures {
        requests: 1_200,
        slow: 14,
        ttft_p50_ms: 78.4,
        ttft_p95_ms: 118.0,
        ttft_p99_ms: 640.2,
        failed: 0,
        first_failure: None,
        bad_time_requests: 660,
        bad_time_slow: 14,
        sent_to_bad: 15,
        sent_after_mark: 0,
        marked_after_seconds: Some(0.84),
        back_after_seconds: Some(2.1),
        sent_after_return: 300,
    }
}

/// Figures of round robin in a demo that went well.
fn suffering() -> Figures {
    Figures {
        slow: 218,
        bad_time_slow: 218,
        sent_to_bad: 220,
        marked_after_seconds: None,
        back_after_seconds: None,
        sent_after_return: 0,
        ..good()
    }
}

fn check(firstlight: &Figures, round_robin: &Figures, expected: &[&str]) {
    assert_eq!(judge(firstlight, round_robin), expected);
}

#[test]
fn the_claim_holds_for_good_figures() {
    check(&good(), &suffering(), &[]);
    // A quarter is enough, and a probe may take the region back without a request.
    check(&Figures { slow: 54, sent_after_return: 0, ..good() }, &suffering(), &[]);
}

#[test]
fn each_part_of_the_claim_can_fail() {
    check(
        &Figures { slow: 0, ..good() },
        &Figures { bad_time_slow: 65, ..suffering() },
        &[
            "round robin did not suffer enough to compare with: 65 of the 660 requests while eastus2 was bad \
           were slow, less than 10 %",
        ],
    );
    check(
        &Figures { slow: 55, ..good() },
        &suffering(),
        &["firstlight had 55 slow requests, more than a quarter of round robin's 218"],
    );
    check(
        &Figures { sent_after_mark: 2, ..good() },
        &suffering(),
        &["firstlight sent 2 requests to eastus2 after marking it as degraded"],
    );
    check(
        &Figures { marked_after_seconds: None, back_after_seconds: None, ..good() },
        &suffering(),
        &["firstlight did not mark eastus2 as degraded while it was bad"],
    );
    check(
        &Figures { back_after_seconds: None, ..good() },
        &suffering(),
        &["eastus2 healed and firstlight did not take it back before the end"],
    );
    let failed = Some("status 503".to_owned());
    check(
        &Figures { failed: 1, first_failure: failed.clone(), ..good() },
        &Figures { failed: 3, first_failure: failed, ..suffering() },
        &[
            "1 requests failed through firstlight; the first: status 503",
            "3 requests failed through round robin; the first: status 503",
        ],
    );
}

#[test]
fn nothing_at_all_proves_nothing() {
    let nothing =
        Figures { requests: 0, slow: 0, bad_time_requests: 0, bad_time_slow: 0, ..good() };
    assert_eq!(judge(&nothing, &nothing).len(), 1);
}

#[test]
fn the_table_is_small_and_ends_with_the_verdict() {
    let held = table(&Report::new(60, 20, good(), suffering())).join("\n");
    let expected = "\
policy      requests  slow   p50   p95   p99 failed to eastus2  marked   back
                            first token, ms         while bad   after  after
firstlight      1200    14    78   118   640      0         15   0.8 s  2.1 s
round robin     1200   218    78   118   640      0        220       -      -

slow: first token after more than 400 ms, 4 times the healthy median of 100 ms
The claim held: 14 slow requests instead of 218, none lost.";
    assert_eq!(held, expected);
    assert!(held.lines().all(|line| line.len() < 80));
    let broken = table(&Report::new(60, 20, suffering(), suffering()));
    assert!(broken.iter().any(|line| line == "The claim did NOT hold:"), "{broken:?}");
}

/// The main job, end to end: the real executable, real sockets, a region that goes bad and heals.
#[test]
fn firstlight_spares_its_clients_a_region_that_is_slow_without_errors() {
    let demo = Command::new(env!("CARGO_BIN_EXE_firstlight"))
        .args(["demo", "--json", "--seconds", "20", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&demo.stdout);
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(report["claim"], serde_json::json!({ "held": true, "failures": [] }), "{told}");
    assert_eq!(demo.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&demo.stderr), "");

    let [firstlight, round_robin] = [&report["firstlight"], &report["round_robin"]];
    let count = |side: &Value, figure: &str| side[figure].as_u64().unwrap();
    assert_eq!(count(firstlight, "requests"), count(round_robin, "requests"), "the same traffic");
    for side in [firstlight, round_robin] {
        assert!((380..=401).contains(&count(side, "requests")), "20 requests/s for 20 s: {told}");
        assert!(count(side, "slow") >= count(side, "bad_time_slow"), "{told}");
        assert!(count(side, "bad_time_requests") < count(side, "requests"), "{told}");
        assert_eq!((count(side, "failed"), &side["first_failure"]), (0, &Value::Null), "{told}");
    }
    assert!(firstlight["marked_after_seconds"].as_f64().unwrap() < 5.0, "{told}");
    assert_eq!(round_robin["marked_after_seconds"], Value::Null);
    assert!(count(firstlight, "sent_to_bad") < count(round_robin, "sent_to_bad"), "{told}");
}
