//! What can be wrong with a backend: the faults, and how they are switched on.
//!
//! A [`Fault`] is a kind of failure; an [`Injection`] is a fault with the share of requests that it strikes and
//! the time after which it heals by itself. A request meets the fault that was set when it arrived: switching
//! the fault off does not heal a request that is already frozen. In JSON:
//! `{"fault": {"slow": {"factor": 10}}, "share": 0.5, "for_seconds": 30}`, or `{"fault": "reset"}`.

use crate::rng::Rng;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A kind of failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// All is well.
    #[default]
    None,
    /// The first token takes `factor` times as long and `add_ms` longer. Headers and filter chunk do not.
    Slow {
        /// Multiplies the time to first token.
        #[serde(default = "one")]
        factor: f64,
        /// Is added to it afterwards.
        #[serde(default)]
        add_ms: f64,
    },
    /// As `Slow`, for every second request on average: one of two machines is ill.
    HalfSlow {
        /// Multiplies the time to first token.
        factor: f64,
    },
    /// The first token gets slower little by little, until it takes `factor` times as long.
    Drift {
        /// Multiplies the time to first token in the end.
        factor: f64,
        /// How long the way there takes.
        over_seconds: f64,
    },
    /// The request is read and nothing is ever answered.
    FreezeBeforeHeaders,
    /// 200 and headers, and nothing more.
    FreezeAfterHeaders,
    /// 200, headers and the prompt filter chunk, and nothing more.
    FreezeAfterFilter,
    /// As far as the role chunk, and nothing more.
    FreezeAfterRole,
    /// The first token is punctual; the others take `factor` times as long.
    SlowTokens {
        /// Multiplies the gap between tokens.
        factor: f64,
    },
    /// 429 in one of the forms that Azure has.
    #[serde(rename = "status_429")]
    Status429 {
        /// How the answer says when to come back.
        #[serde(default)]
        retry_after: RetryAfter,
        /// What the answer says was exceeded.
        #[serde(default)]
        limit: Limit,
    },
    /// An error of the service: 408, 500, 502, 503 or 504.
    #[serde(rename = "status_5xx")]
    Status5xx {
        /// The status code.
        status: u16,
    },
    /// A 429 or an error of the service, whose body does not come whole.
    HalfError {
        /// The status code.
        status: u16,
        /// What becomes of the body.
        body: HalfBody,
    },
    /// The connection is reset before any byte of an answer.
    Reset,
    /// The port does not accept connections; a request on a connection that is already open is reset.
    Refuse,
    /// The stream breaks off after so many tokens, without the end that the framing asks for.
    Truncate {
        /// How many tokens are sent first.
        after_tokens: u32,
    },
    /// 200 and the filter chunk, then an error event instead of content.
    #[serde(rename = "error_after_200")]
    ErrorAfter200,
    /// The same with the code `rate_limit_exceeded`.
    #[serde(rename = "error_after_200_rate_limit")]
    ErrorAfter200RateLimit,
    /// A stream that ends properly and has no content.
    EndBeforeContent,
    /// 401, as if the key were wrong.
    WrongKey,
    /// 401, as if the token were wrong.
    WrongToken,
    /// 403, as if a firewall rule of the resource refused the caller.
    Forbidden,
    /// 404 `DeploymentNotFound`.
    UnknownDeployment,
    /// Bytes that are not HTTP.
    Garbage,
}

/// What becomes of a body that does not come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HalfBody {
    /// It breaks off, and its connection with it.
    BreaksOff,
    /// It never comes.
    Stalls,
}

/// How a 429 says when to come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RetryAfter {
    /// Not at all.
    #[default]
    None,
    /// `Retry-After` in seconds.
    Seconds(u64),
    /// `retry-after-ms`.
    Millis(u64),
    /// `Retry-After` as a date, so many seconds ahead.
    Date(u64),
    /// Both headers, which need not agree.
    Both {
        /// For `Retry-After`.
        seconds: u64,
        /// For `retry-after-ms`.
        millis: u64,
    },
}

/// What a 429 says was exceeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The tokens per minute of the pricing tier.
    #[default]
    TokenRate,
    /// The calls per minute of the pricing tier.
    CallRate,
    /// The service as a whole is busy.
    PeakLoad,
    /// A provisioned deployment is used up.
    Provisioned,
}

/// A fault, the share of requests that it strikes, and how long it lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// What happens.
    pub fault: Fault,
    /// To which part of the requests, 0 to 1.
    #[serde(default = "one")]
    pub share: f64,
    /// After how long the backend heals by itself; without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<f64>,
}

impl Default for Injection {
    fn default() -> Self {
        Fault::None.into()
    }
}

impl From<Fault> for Injection {
    fn from(fault: Fault) -> Self {
        Self { fault, share: 1.0, for_seconds: None }
    }
}

impl Injection {
    /// Says what is wrong with the numbers, if anything is.
    pub fn check(&self) -> Result<(), String> {
        in_range("share", self.share, 1.0)?;
        in_range("for_seconds", self.for_seconds.unwrap_or(0.0), WEEK_SECONDS)?;
        match self.fault {
            Fault::Slow { factor, add_ms } => {
                in_range("factor", factor, FACTOR_MAX)?;
                in_range("add_ms", add_ms, 3_600_000.0)
            }
            Fault::HalfSlow { factor } | Fault::SlowTokens { factor } => {
                in_range("factor", factor, FACTOR_MAX)
            }
            Fault::Drift { factor, over_seconds } => {
                in_range("factor", factor, FACTOR_MAX)?;
                in_range("over_seconds", over_seconds, WEEK_SECONDS)
            }
            Fault::Status5xx { status } if !STATUSES.contains(&status) => {
                Err(format!("status is {status}; it must be one of {STATUSES:?}"))
            }
            Fault::HalfError { status, .. } if status != 429 && !STATUSES.contains(&status) => {
                Err(format!("status is {status}; it must be 429 or one of {STATUSES:?}"))
            }
            Fault::None
            | Fault::FreezeBeforeHeaders
            | Fault::FreezeAfterHeaders
            | Fault::FreezeAfterFilter
            | Fault::FreezeAfterRole
            | Fault::Status429 { .. }
            | Fault::Status5xx { .. }
            | Fault::HalfError { .. }
            | Fault::Reset
            | Fault::Refuse
            | Fault::Truncate { .. }
            | Fault::ErrorAfter200
            | Fault::ErrorAfter200RateLimit
            | Fault::EndBeforeContent
            | Fault::WrongKey
            | Fault::WrongToken
            | Fault::Forbidden
            | Fault::UnknownDeployment
            | Fault::Garbage => Ok(()),
        }
    }
}

/// An injection and the moment it was switched on.
#[derive(Clone, Debug)]
pub(super) struct Armed {
    pub(super) injection: Injection,
    pub(super) since: Time,
}

impl Armed {
    /// The fault that a request arriving at `now` meets.
    pub(super) fn strike(&self, now: Time, rng: &mut Rng) -> Fault {
        let half = matches!(self.injection.fault, Fault::HalfSlow { .. });
        let share = if half { self.injection.share / 2.0 } else { self.injection.share };
        let struck = self.active(now) && rng.unit() < share;
        if struck { self.injection.fault.clone() } else { Fault::None }
    }

    /// Whether the port is shut at `now`. A share of a shut port is a share of reset connections instead.
    pub(super) fn shuts_port(&self, now: Time) -> bool {
        self.injection.fault == Fault::Refuse && self.injection.share >= 1.0 && self.active(now)
    }

    /// When the fault heals by itself, if it does.
    pub(super) fn heals_at(&self) -> Option<Time> {
        let seconds = self.injection.for_seconds?;
        Some(self.since + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO))
    }

    fn active(&self, now: Time) -> bool {
        self.heals_at().is_none_or(|healed| now < healed)
    }
}

const FACTOR_MAX: f64 = 1_000_000.0;
const WEEK_SECONDS: f64 = 604_800.0;
const STATUSES: [u16; 5] = [408, 500, 502, 503, 504];

fn in_range(name: &str, value: f64, most: f64) -> Result<(), String> {
    if (0.0..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{name} is {value}; it must lie between 0 and {most}"))
    }
}

const fn one() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use crate::mock::fault::{Armed, Fault, Injection};
    use crate::rng::Rng;
    use crate::time::Time;
    use std::time::Duration;

    fn struck_of_1000(injection: Injection, now: Time) -> usize {
        let armed = Armed { injection, since: Time::ZERO };
        let mut rng = Rng::from_seed(7);
        (0..1_000).filter(|_| armed.strike(now, &mut rng) != Fault::None).count()
    }

    #[test]
    fn a_fault_strikes_its_share() {
        let now = Time::ZERO;
        assert_eq!(struck_of_1000(Fault::Reset.into(), now), 1_000);
        assert_eq!(struck_of_1000(Injection { share: 0.0, ..Fault::Reset.into() }, now), 0);
        let tenth = struck_of_1000(Injection { share: 0.1, ..Fault::Reset.into() }, now);
        assert!((70..130).contains(&tenth), "{tenth}");
        let half = struck_of_1000(Fault::HalfSlow { factor: 10.0 }.into(), now);
        assert!((450..550).contains(&half), "{half}");
    }

    #[test]
    fn a_fault_heals_when_its_time_is_over() {
        let brief = Injection { for_seconds: Some(2.0), ..Fault::Refuse.into() };
        assert_eq!(struck_of_1000(brief.clone(), Time::at(Duration::from_millis(1_999))), 1_000);
        assert_eq!(struck_of_1000(brief.clone(), Time::at(Duration::from_secs(2))), 0);
        let armed = Armed { injection: brief, since: Time::ZERO };
        assert!(
            armed.shuts_port(Time::ZERO) && !armed.shuts_port(Time::at(Duration::from_secs(2)))
        );
    }

    #[test]
    fn the_json_is_strict_and_its_numbers_are_checked() {
        let read = |text: &str| serde_json::from_str::<Injection>(text);
        let slow = read(r#"{"fault": {"slow": {"factor": 10}}, "share": 0.5, "for_seconds": 30}"#)
            .unwrap();
        let expected = Fault::Slow { factor: 10.0, add_ms: 0.0 };
        assert_eq!(slow, Injection { fault: expected, share: 0.5, for_seconds: Some(30.0) });
        assert_eq!(read(r#"{"fault": "reset"}"#).unwrap(), Fault::Reset.into());
        assert!(read(r#"{"fault": {"status_429": {"retry_after": {"millis": 1500}}}}"#).is_ok());
        assert!(read(r#"{"fault": {"slow": {"faktor": 10}}}"#).is_err());
        assert!(read(r#"{"fault": "reset", "shares": 1}"#).is_err());
        assert!(
            Injection::from(Fault::Status5xx { status: 200 })
                .check()
                .unwrap_err()
                .contains("status is 200")
        );
        assert!(
            Injection { share: 1.5, ..Fault::Reset.into() }.check().unwrap_err().contains("share")
        );
        assert!(Injection { share: f64::NAN, ..Fault::Reset.into() }.check().is_err());
    }
}
