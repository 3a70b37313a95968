//! The report as text: a small table and the verdict, within 80 columns. Pure.

use crate::demo::report::Figures;
use crate::demo::report::Report;

/// The lines of the report.
pub fn table(report: &Report) -> Vec<String> {
    let mut lines = vec![
        "policy      requests  slow   p50   p95   p99 failed to eastus2  marked   back".to_owned(),
        "                            first token, ms         while bad   after  after".to_owned(),
        row("firstlight", &report.firstlight),
        row("round robin", &report.round_robin),
        String::new(),
        format!(
            "slow: first token after more than {:.0} ms, 4 times the healthy median of {:.0} ms",
            report.slow_over_ms, report.healthy_median_ms
        ),
    ];
    if report.claim.held {
        lines.push(format!(
            "The claim held: {} slow requests instead of {}, none lost.",
            report.firstlight.slow, report.round_robin.slow
        ));
    } else {
        lines.push("The claim did NOT hold:".to_owned());
        lines.extend(report.claim.failures.iter().map(|failure| format!("- {failure}")));
    }
    lines
}

fn row(policy: &str, figures: &Figures) -> String {
    format!(
        "{policy:<11} {:>8} {:>5} {:>5.0} {:>5.0} {:>5.0} {:>6} {:>10} {:>7} {:>6}",
        figures.requests,
        figures.slow,
        figures.ttft_p50_ms,
        figures.ttft_p95_ms,
        figures.ttft_p99_ms,
        figures.failed,
        figures.sent_to_bad,
        seconds(figures.marked_after_seconds),
        seconds(figures.back_after_seconds),
    )
}

fn seconds(time: Option<f64>) -> String {
    time.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"))
}
