//! How a 429 of an app's own limits reads: words and headers as Azure has them.
//!
//! Azure counts its windows in whole seconds, and so do the headers here. The code and the type are those of
//! OpenAI. What tells it from Azure's own 429: the message speaks of the application.

use crate::quota::{Over, PerMinute, What};

/// The header names for one limit per minute.
struct Names {
    limit: &'static str,
    remaining: &'static str,
    reset: &'static str,
    renewal: &'static str,
}

const REQUESTS: Names = Names {
    limit: "x-ratelimit-limit-requests",
    remaining: "x-ratelimit-remaining-requests",
    reset: "x-ratelimit-reset-requests",
    renewal: "x-ratelimit-renewalperiod-requests",
};

const TOKENS: Names = Names {
    limit: "x-ratelimit-limit-tokens",
    remaining: "x-ratelimit-remaining-tokens",
    reset: "x-ratelimit-reset-tokens",
    renewal: "x-ratelimit-renewalperiod-tokens",
};

/// What is left of the app's limits, as headers.
pub(super) fn headers(over: &Over) -> impl Iterator<Item = (&'static str, u64)> {
    let limits = [(REQUESTS, over.room.requests), (TOKENS, over.room.tokens)];
    limits.into_iter().filter_map(|(names, room)| Some((names, room?))).flat_map(of_limit)
}

fn of_limit((names, room): (Names, PerMinute)) -> [(&'static str, u64); 4] {
    [
        (names.limit, room.limit.into()),
        (names.remaining, room.remaining.into()),
        (names.reset, u64::try_from(room.reset.as_nanos().div_ceil(1_000_000_000)).unwrap_or(0)),
        (names.renewal, 60),
    ]
}

/// `error.type`, as OpenAI has it.
pub(super) const fn kind(over: &Over) -> &'static str {
    match over.what {
        What::Requests => "requests",
        What::Tokens => "tokens",
        What::Concurrent => "concurrent_requests",
    }
}

/// The code for our own log: there it must not look like a limit of Azure's.
pub(super) const fn log_code(over: &Over) -> &'static str {
    match over.what {
        What::Requests => "over_requests",
        What::Tokens => "over_tokens",
        What::Concurrent => "over_concurrent",
    }
}

/// The message. Clients that read the wait from Azure's words find it here.
pub(super) fn message(over: &Over, seconds: u64) -> String {
    let per_minute = |room: Option<PerMinute>| room.map_or(0, |room| room.limit);
    let limit = match over.what {
        What::Requests => {
            let limit = per_minute(over.room.requests);
            format!("call rate limit of {limit} requests per minute")
        }
        What::Tokens => {
            let limit = per_minute(over.room.tokens);
            format!("token rate limit of {limit} tokens per minute")
        }
        What::Concurrent => {
            let limit = over.room.concurrent.map_or(0, |(limit, _)| limit);
            format!("limit of {limit} requests at a time")
        }
    };
    let unit = if seconds == 1 { "second" } else { "seconds" };
    let advice = too_large(over).unwrap_or_default();
    format!(
        "Requests of this application have exceeded its {limit}. Please retry after {seconds} {unit}.{advice}"
    )
}

/// A request that asks for more than there ever is waits until nothing else is used: it should ask for less.
fn too_large(over: &Over) -> Option<String> {
    let limit = over.room.tokens.filter(|_| over.what == What::Tokens)?.limit;
    let asked = over.asked;
    (asked > limit.into()).then(|| {
        format!(
            " This request counts as {asked} tokens, more than the limit of a whole minute; lower its max_tokens."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::error::ClientError;
    use crate::quota::Room;
    use std::time::Duration;

    fn over(what: What, asked: u64) -> Over {
        let per_minute = |limit, remaining| {
            Some(PerMinute { limit, remaining, reset: Duration::from_millis(24_001) })
        };
        let room = Room {
            requests: per_minute(60, 7),
            tokens: per_minute(1_000, 0),
            concurrent: Some((2, 0)),
        };
        Over { what, retry_after: Duration::from_micros(900_100), asked, room }
    }

    #[test]
    fn the_words_say_whose_limit_it_is() {
        let check = |over: Over, expected: &str| {
            let error = ClientError::OverLimit(over);
            let body: serde_json::Value = serde_json::from_slice(&error.body()).unwrap();
            assert_eq!(body["error"]["message"], expected);
            assert_eq!(body["error"]["code"], "rate_limit_exceeded");
            assert_eq!(body["error"]["type"], kind(&over));
            assert_eq!(error.retry_after_ms(), Some(901));
        };
        check(
            over(What::Requests, 0),
            "Requests of this application have exceeded its call rate limit of 60 requests per minute. \
             Please retry after 1 second.",
        );
        check(
            over(What::Tokens, 1_000),
            "Requests of this application have exceeded its token rate limit of 1000 tokens per minute. \
             Please retry after 1 second.",
        );
        check(
            over(What::Tokens, 1_001),
            "Requests of this application have exceeded its token rate limit of 1000 tokens per minute. \
             Please retry after 1 second. This request counts as 1001 tokens, more than the limit of a whole \
             minute; lower its max_tokens.",
        );
        check(
            over(What::Concurrent, 0),
            "Requests of this application have exceeded its limit of 2 requests at a time. Please retry after \
             1 second.",
        );
        assert!(message(&over(What::Requests, 0), 2).ends_with("retry after 2 seconds."));
    }

    #[test]
    fn the_headers_are_those_of_azure() {
        let found: Vec<_> = headers(&over(What::Requests, 0)).collect();
        let expected = [
            ("x-ratelimit-limit-requests", 60),
            ("x-ratelimit-remaining-requests", 7),
            ("x-ratelimit-reset-requests", 25),
            ("x-ratelimit-renewalperiod-requests", 60),
            ("x-ratelimit-limit-tokens", 1_000),
            ("x-ratelimit-remaining-tokens", 0),
            ("x-ratelimit-reset-tokens", 25),
            ("x-ratelimit-renewalperiod-tokens", 60),
        ];
        assert_eq!(found, expected);
        let none = Over { room: Room::default(), ..over(What::Concurrent, 0) };
        assert_eq!(headers(&none).count(), 0);
    }
}
