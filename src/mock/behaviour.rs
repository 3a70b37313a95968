//! How a backend behaves when it is well: how long it takes and how much it says.
//!
//! An answer's time to first token is lognormal: `median * exp(sigma * normal)`. Headers and the prompt filter
//! chunk have an *earlier time of their own*, as Azure's have, so that whoever mistakes them for the first
//! token is found out. A fault may stretch these times ([`Pace`]); nothing here reads a clock or sleeps.

use crate::rng::Rng;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a backend does when no fault is set. Every field may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Half of the answers have their first token earlier than this.
    pub ttft_median_ms: f64,
    /// The spread of the first token's time; 0 makes every answer take the median.
    pub ttft_sigma: f64,
    /// When headers and the prompt filter chunk leave; never later than the first token.
    pub header_ms: f64,
    /// Whether headers leave at `header_ms` or only with the role chunk.
    pub headers: Headers,
    /// How long before the first token the role chunk leaves.
    pub role_lead_ms: f64,
    /// The time between two tokens.
    pub gap_ms: f64,
    /// How many tokens of content an answer has, unless the request allows fewer.
    pub tokens: u32,
    /// The part of the prompt that is reported as read from the prompt cache, 0 to 1.
    pub cached_share: f64,
    /// How many reasoning tokens the usage reports beside the content.
    pub reasoning_tokens: u32,
    /// Deployments whose names start so refuse `max_tokens`, as reasoning models do.
    pub max_tokens_refused_by: Vec<String>,
}

/// When response headers leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Headers {
    /// At `header_ms`, long before the first token.
    #[default]
    Early,
    /// With the role chunk.
    Late,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            ttft_median_ms: 300.0,
            ttft_sigma: 0.25,
            header_ms: 60.0,
            headers: Headers::Early,
            role_lead_ms: 0.0,
            gap_ms: 10.0,
            tokens: 20,
            cached_share: 0.0,
            reasoning_tokens: 0,
            max_tokens_refused_by: ["o1", "o3", "o4", "gpt-5"].map(str::to_owned).to_vec(),
        }
    }
}

impl Behaviour {
    /// Answers of five tokens that take no time: for tests of what is said, not of when.
    pub fn instant() -> Self {
        Self {
            ttft_median_ms: 0.0,
            ttft_sigma: 0.0,
            header_ms: 0.0,
            gap_ms: 0.0,
            tokens: 5,
            ..Self::default()
        }
    }

    /// Says what is wrong with the numbers, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let times = [
            ("ttft_median_ms", self.ttft_median_ms),
            ("header_ms", self.header_ms),
            ("role_lead_ms", self.role_lead_ms),
            ("gap_ms", self.gap_ms),
        ];
        for (name, value) in times {
            if !(0.0..=HOUR_MS).contains(&value) {
                return Err(format!("{name} is {value}; it must lie between 0 and {HOUR_MS}"));
            }
        }
        if !(0.0..=5.0).contains(&self.ttft_sigma) {
            return Err(format!("ttft_sigma is {}; it must lie between 0 and 5", self.ttft_sigma));
        }
        if !(0.0..=1.0).contains(&self.cached_share) {
            return Err(format!(
                "cached_share is {}; it must lie between 0 and 1",
                self.cached_share
            ));
        }
        if self.tokens > TOKENS_MAX || self.reasoning_tokens > TOKENS_MAX {
            return Err(format!("tokens and reasoning_tokens must be at most {TOKENS_MAX}"));
        }
        Ok(())
    }

    /// These settings with those of `patch`, a JSON object of some of the fields, put over them.
    pub fn patched(
        &self,
        patch: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Self, String> {
        let mut fields = serde_json::to_value(self).map_err(|error| error.to_string())?;
        if let Some(object) = fields.as_object_mut() {
            object.extend(patch);
        }
        let patched: Self = serde_json::from_value(fields).map_err(|error| error.to_string())?;
        patched.check()?;
        Ok(patched)
    }

    /// Draws the times of one answer.
    pub(super) fn timing(&self, pace: Pace, rng: &mut Rng) -> Timing {
        let drawn = rng.lognormal(self.ttft_median_ms, self.ttft_sigma);
        let first = millis(drawn * pace.ttft_factor + pace.ttft_add_ms);
        let role = first.saturating_sub(millis(self.role_lead_ms));
        let headers = match self.headers {
            Headers::Early => millis(self.header_ms).min(role),
            Headers::Late => role,
        };
        Timing { headers, role, first, gap: millis(self.gap_ms * pace.gap_factor) }
    }
}

/// How a fault stretches an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub(super) ttft_factor: f64,
    pub(super) ttft_add_ms: f64,
    pub(super) gap_factor: f64,
}

impl Pace {
    /// Stretches nothing.
    pub(super) const USUAL: Self = Self { ttft_factor: 1.0, ttft_add_ms: 0.0, gap_factor: 1.0 };
}

/// When the parts of one answer leave, counted from the arrival of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    pub(super) headers: Duration,
    pub(super) role: Duration,
    pub(super) first: Duration,
    pub(super) gap: Duration,
}

impl Timing {
    /// When token `index` leaves, the first one being 0.
    pub(super) fn token(&self, index: u32) -> Duration {
        self.first.saturating_add(self.gap.saturating_mul(index))
    }
}

const HOUR_MS: f64 = 3_600_000.0;
const TOKENS_MAX: u32 = 1_000_000;

/// A duration of so many milliseconds, kept within an hour whatever a fault's factor made of it.
fn millis(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.clamp(0.0, HOUR_MS) / 1_000.0).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use crate::mock::behaviour::{Behaviour, Headers, Pace};
    use crate::rng::Rng;
    use serde_json::json;
    use std::time::Duration;

    fn steady() -> Behaviour {
        Behaviour {
            ttft_median_ms: 200.0,
            ttft_sigma: 0.0,
            header_ms: 30.0,
            ..Behaviour::default()
        }
    }

    #[test]
    fn headers_leave_early_or_with_the_role_chunk() {
        let mut rng = Rng::from_seed(1);
        let early = steady().timing(Pace::USUAL, &mut rng);
        assert_eq!(
            (early.headers, early.first),
            (Duration::from_millis(30), Duration::from_millis(200))
        );
        let late = Behaviour { headers: Headers::Late, role_lead_ms: 50.0, ..steady() };
        let late = late.timing(Pace::USUAL, &mut rng);
        assert_eq!(
            (late.headers, late.role),
            (Duration::from_millis(150), Duration::from_millis(150))
        );
    }

    #[test]
    fn headers_never_leave_after_the_first_token() {
        let timing =
            Behaviour { header_ms: 900.0, ..steady() }.timing(Pace::USUAL, &mut Rng::from_seed(1));
        assert_eq!(timing.headers, timing.first);
    }

    #[test]
    fn a_fault_stretches_the_first_token_and_not_the_headers() {
        let slow = Pace { ttft_factor: 10.0, ttft_add_ms: 500.0, gap_factor: 3.0 };
        let timing = steady().timing(slow, &mut Rng::from_seed(1));
        assert_eq!(timing.headers, Duration::from_millis(30));
        assert_eq!(timing.first, Duration::from_millis(2_500));
        assert_eq!(timing.token(2), Duration::from_millis(2_560));
    }

    #[test]
    fn a_patch_changes_what_it_names_and_refuses_what_it_does_not_know() {
        let patch = |value: serde_json::Value| value.as_object().cloned().unwrap();
        let patched = steady().patched(patch(json!({"gap_ms": 7.0}))).unwrap();
        assert_eq!(patched, Behaviour { gap_ms: 7.0, ..steady() });
        assert!(
            steady()
                .patched(patch(json!({"gap": 7.0})))
                .unwrap_err()
                .contains("unknown field `gap`")
        );
        assert!(
            steady().patched(patch(json!({"gap_ms": -1.0}))).unwrap_err().contains("gap_ms is -1")
        );
    }
}
