//! What happens to the regions: the scenarios, as data.
//!
//! Each one is a calm, a trouble of one region, and a time after it, while requests keep arriving. Times are a
//! tenth of real ones, so that a minute shows what takes ten in production: a healthy first token after
//! 100 ms, and each contender's thresholds scaled with it.

use anyhow::ensure;
use firstlight::mock::{Fault, Headers, Limit, RetryAfter};
use std::time::Duration;

/// Where half of the healthy answers have their first token.
pub(crate) const HEALTHY_MS: f64 = 100.0;

/// One story of three regions.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What happens, for readers of the table.
    pub(crate) title: &'static str,
    /// Whether headers and the filter's chunk leave long before the first token, as Azure's do.
    pub(crate) headers: Headers,
    /// What is wrong with one region; `Fault::None`: nothing ever.
    pub(crate) fault: Fault,
    /// How long all is well.
    pub(crate) calm: Duration,
    /// How long the trouble lasts.
    pub(crate) trouble: Duration,
    /// How long all is well again.
    pub(crate) after: Duration,
}

const SLOW: Fault = Fault::Slow { factor: 10.0, add_ms: 0.0 };
const LIMITED: Fault =
    Fault::Status429 { retry_after: RetryAfter::Seconds(2), limit: Limit::TokenRate };

/// All scenarios, every length multiplied by `scale`.
///
/// Where requests fail, the calm is longer: a retry budget looks back over a minute, and a proxy that has
/// only just begun would be judged for a budget that no proxy in production has.
pub(crate) fn all(scale: f64) -> anyhow::Result<Vec<Scenario>> {
    ensure!((0.01..=2.0).contains(&scale), "--seconds-scale must lie between 0.01 and 2");
    let scenario = |name, title, headers, fault, seconds: [u64; 3]| {
        let [calm, trouble, after] = seconds.map(|s| Duration::from_secs(s).mul_f64(scale));
        Scenario { name, title, headers, fault, calm, trouble, after }
    };
    Ok(vec![
        scenario("slow", "100 -> 1000 ms, filter chunk early", Headers::Early, SLOW, [15, 30, 45]),
        scenario("slow-late", "100 -> 1000 ms, headers late", Headers::Late, SLOW, [15, 30, 45]),
        scenario(
            "black-hole",
            "black hole",
            Headers::Early,
            Fault::FreezeBeforeHeaders,
            [40, 20, 15],
        ),
        scenario("429", "429, Retry-After 2 s", Headers::Early, LIMITED, [20, 10, 10]),
        scenario("5xx", "503", Headers::Early, Fault::Status5xx { status: 503 }, [30, 20, 10]),
        scenario("quiet", "nothing happens", Headers::Early, Fault::None, [60, 0, 0]),
    ])
}

impl Scenario {
    /// When the trouble ends.
    pub(crate) fn heals(&self) -> Duration {
        self.calm + self.trouble
    }

    /// When the last request arrives.
    pub(crate) fn ends(&self) -> Duration {
        self.heals() + self.after
    }

    /// The title with the length of the trouble.
    pub(crate) fn told(&self) -> String {
        match self.trouble.as_secs_f64() {
            0.0 => self.title.to_owned(),
            seconds => format!("{} for {seconds} s", self.title),
        }
    }
}
