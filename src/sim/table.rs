//! The comparison as text: a row a policy, means over the seeds, within 100 columns.

use crate::sim::figures::Summary;

/// The two lines above the rows.
pub fn heading() -> [String; 2] {
    [
        "policy         slow>4x slow>2x   p50   p95   p99  errors   false    off   back   extra  extra"
            .to_owned(),
        "                               first token, s            exclus.  after  after    reqs tokens"
            .to_owned(),
    ]
}

/// One policy's row.
pub fn row(summary: &Summary) -> String {
    let mean = |figure: fn(&crate::sim::Figures) -> f64| summary.mean(figure);
    format!(
        "{:<14} {:>7} {:>7} {:>5.1} {:>5.1} {:>5.1} {:>7} {:>7} {:>6} {:>6} {:>7} {:>6}",
        summary.policy,
        count(mean(|f| f64::from(f.slow4))),
        count(mean(|f| f64::from(f.slow2))),
        mean(|f| f.p50),
        mean(|f| f.p95),
        mean(|f| f.p99),
        count(mean(|f| f64::from(f.errors))),
        count(mean(|f| f64::from(f.false_exclusions))),
        seconds(summary.mean_of_most(|f| f.off_seconds)),
        seconds(summary.mean_of_most(|f| f.back_seconds)),
        count(mean(|f| f64::from(f.extra_requests))),
        format!("{:.1}%", mean(|f| f.extra_tokens_share) * 100.0),
    )
}

/// A mean count: whole when it is large.
fn count(mean: f64) -> String {
    if mean > 0.0 && mean < 99.95 { format!("{mean:.1}") } else { format!("{mean:.0}") }
}

fn seconds(time: Option<f64>) -> String {
    time.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.0} s"))
}
