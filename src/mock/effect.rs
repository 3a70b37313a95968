//! What a fault means for one request. Pure: a fault and its age in, a decision out.

use crate::mock::behaviour::Pace;
use crate::mock::connection::Sabotage;
use crate::mock::fault::{Fault, HalfBody, Limit, RetryAfter};
use crate::mock::refusal::Refusal;
use crate::mock::script::{Ending, Mishap, Stage};
use std::time::Duration;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// It is answered at this pace, up to this ending.
    Answer(Pace, Ending),
    /// It is refused at once.
    Refuse(Box<Refusal>),
    /// It is refused at once, with a body that does not come whole.
    HalfRefuse(Box<Refusal>, HalfBody),
    /// It is never answered.
    Hang,
    /// Its connection is destroyed.
    Cut(Sabotage),
}

/// The effect of a fault that was switched on `age` ago. `unix` is the time since 1970.
pub(super) fn effect(fault: &Fault, age: Duration, unix: Duration) -> Effect {
    let refuse = |refusal| Effect::Refuse(Box::new(refusal));
    match *fault {
        Fault::None => Effect::Answer(Pace::USUAL, Ending::Whole),
        Fault::Slow { factor, add_ms } => {
            paced(Pace { ttft_factor: factor, ttft_add_ms: add_ms, ..Pace::USUAL })
        }
        Fault::HalfSlow { factor } => paced(Pace { ttft_factor: factor, ..Pace::USUAL }),
        Fault::Drift { factor, over_seconds } => {
            paced(Pace { ttft_factor: drifted(factor, over_seconds, age), ..Pace::USUAL })
        }
        Fault::SlowTokens { factor } => paced(Pace { gap_factor: factor, ..Pace::USUAL }),
        Fault::FreezeBeforeHeaders => Effect::Hang,
        Fault::FreezeAfterHeaders => ended(Ending::Hang(Stage::Headers)),
        Fault::FreezeAfterFilter => ended(Ending::Hang(Stage::Filter)),
        Fault::FreezeAfterRole => ended(Ending::Hang(Stage::Role)),
        Fault::Truncate { after_tokens } => ended(Ending::Truncated(after_tokens)),
        Fault::ErrorAfter200 => ended(Ending::Error(Mishap::Server)),
        Fault::ErrorAfter200RateLimit => ended(Ending::Error(Mishap::RateLimit)),
        Fault::EndBeforeContent => ended(Ending::Empty),
        Fault::Status429 { retry_after, limit } => {
            refuse(Refusal::rate_limited(retry_after, limit, unix))
        }
        Fault::Status5xx { status } => refuse(Refusal::failed(status)),
        Fault::HalfError { status, body } => {
            let refusal = match status {
                429 => Refusal::rate_limited(RetryAfter::None, Limit::TokenRate, unix),
                _ => Refusal::failed(status),
            };
            Effect::HalfRefuse(Box::new(refusal), body)
        }
        Fault::WrongKey => refuse(Refusal::wrong_key()),
        Fault::WrongToken => refuse(Refusal::wrong_token()),
        Fault::Forbidden => refuse(Refusal::forbidden()),
        Fault::UnknownDeployment => refuse(Refusal::unknown_deployment()),
        Fault::Reset | Fault::Refuse => Effect::Cut(Sabotage::Reset),
        Fault::Garbage => Effect::Cut(Sabotage::Garbage),
    }
}

/// A request that is not streamed has no events to end between: the same mishap as a plain refusal.
pub(super) fn mishap_refusal(mishap: Mishap, unix: Duration) -> Refusal {
    match mishap {
        Mishap::Server => Refusal::failed(500),
        Mishap::RateLimit => Refusal::rate_limited(RetryAfter::None, Limit::TokenRate, unix),
    }
}

fn paced(pace: Pace) -> Effect {
    Effect::Answer(pace, Ending::Whole)
}

fn ended(ending: Ending) -> Effect {
    Effect::Answer(Pace::USUAL, ending)
}

/// From 1 to `factor` in a straight line.
fn drifted(factor: f64, over_seconds: f64, age: Duration) -> f64 {
    let way = if over_seconds > 0.0 { (age.as_secs_f64() / over_seconds).min(1.0) } else { 1.0 };
    1.0 + (factor - 1.0) * way
}

#[cfg(test)]
mod tests {
    use crate::mock::behaviour::Pace;
    use crate::mock::effect::{Effect, effect};
    use crate::mock::fault::Fault;
    use crate::mock::script::Ending;
    use std::time::Duration;

    #[test]
    fn a_drift_goes_from_the_usual_to_its_factor_and_stays() {
        let fault = Fault::Drift { factor: 5.0, over_seconds: 100.0 };
        for (seconds, ttft_factor) in [(0, 1.0), (25, 2.0), (100, 5.0), (900, 5.0)] {
            let expected = Effect::Answer(Pace { ttft_factor, ..Pace::USUAL }, Ending::Whole);
            assert_eq!(effect(&fault, Duration::from_secs(seconds), Duration::ZERO), expected);
        }
    }
}
