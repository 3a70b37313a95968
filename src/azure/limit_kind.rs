//! What a 429 counts: tokens, so that a smaller request may fit, or anything else, which refuses every size.
//!
//! | said | counts | seen in |
//! |---|---|---|
//! | "… exceeded (the) token rate limit of/for your current … pricing tier" | tokens | Azure, classic and AI Services (dify#12709, dyad#1849) |
//! | "Rate limit of 50000 per 60s exceeded for UserByModelByMinute…Tokens" | tokens | Azure AI Foundry (everruns#3740) |
//! | "Rate limit reached / Request too large … on tokens per min (TPM): Limit …, Requested …"; `type: tokens` | tokens | OpenAI, v1 (climb#1) |
//! | "… exceeded call rate limit of your current … pricing tier"; "on requests per min (RPM)"; `type: requests` | requests | Azure; OpenAI |
//! | "The system is currently experiencing high demand … maximum usage size allowed during peak load" | load | Azure (Q&A 12567967) |
//! | `azure-openai-deployment-utilization` | load | provisioned throughput (PTU documentation) |
//! | nothing of these, `x-ratelimit-remaining-requests` at 0 or below | requests | openai-dotnet#838 |
//! | nothing of these, `x-ratelimit-remaining-tokens` below what the request counts as | tokens | openai-python#937 |
//! | nothing at all ("Rate limit is exceeded. Try again in 50 seconds.") | requests | graphrag-accelerator#129 |
//!
//! A remaining number of -1 means that it is not known.

use crate::azure::json::Cursor;
use crate::azure::json::Fault;
use crate::azure::json::Token;
use http::HeaderMap;

/// What a 429 counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitKind {
    /// Requests, or the load as a whole: every size is refused.
    #[default]
    EverySize,
    /// Tokens: a smaller request may fit.
    Tokens,
}

/// Judges a 429, or an error event that stands for one, to a request that counts as `tokens`. `said` is its body, or
/// what a stream has said so far.
pub fn limit_kind(headers: &HeaderMap, said: &[u8], tokens: u64) -> LimitKind {
    if headers.contains_key("azure-openai-deployment-utilization") {
        return LimitKind::EverySize;
    }
    let told = if said.trim_ascii_start().first() == Some(&b'{') {
        of_json(said)
    } else {
        said.split(|byte| *byte == b'\n')
            .rev()
            .find_map(|line| of_json(line.strip_prefix(b"data:")?))
    };
    told.unwrap_or_else(|| of_headers(headers, tokens))
}

fn of_headers(headers: &HeaderMap, tokens: u64) -> LimitKind {
    let remaining = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        value.trim().parse::<i64>().ok().filter(|left| *left != -1)
    };
    if remaining("x-ratelimit-remaining-requests").is_some_and(|left| left <= 0) {
        return LimitKind::EverySize;
    }
    match remaining("x-ratelimit-remaining-tokens").map(u64::try_from) {
        Some(Err(_)) => LimitKind::Tokens,
        Some(Ok(left)) if left < tokens => LimitKind::Tokens,
        Some(Ok(_)) | None => LimitKind::EverySize,
    }
}

/// What a JSON object says of it, if anything.
fn of_json(json: &[u8]) -> Option<LimitKind> {
    let mut told = None;
    // Half of an object may have said enough.
    let _read: Result<(), Fault> =
        Cursor::new(json.trim_ascii()).object(|cursor, key| member(&mut told, cursor, key));
    told
}

fn member(
    told: &mut Option<LimitKind>,
    cursor: &mut Cursor<'_>,
    key: Token<'_>,
) -> Result<(), Fault> {
    match (key.raw(), cursor.next_byte()) {
        (b"error" | b"last_error", Some(b'{')) => {
            cursor.object(|cursor, key| member(told, cursor, key))
        }
        // Only its error: a response repeats what was asked.
        (b"response", Some(b'{')) => cursor.object(|cursor, key| match key.raw() {
            b"error" => member(told, cursor, key),
            _ => cursor.skip_value(),
        }),
        (b"message", Some(b'"')) => {
            let text = cursor.string()?.text()?;
            *told = told.or_else(|| of_words(&text));
            Ok(())
        }
        (b"type", Some(b'"')) => {
            let kind = cursor.string()?.text()?;
            *told = match kind.as_ref() {
                "tokens" => Some(LimitKind::Tokens),
                "requests" => Some(LimitKind::EverySize),
                _ => *told,
            };
            Ok(())
        }
        _ => cursor.skip_value(),
    }
}

fn of_words(text: &str) -> Option<LimitKind> {
    const TOKENS: [&str; 3] = ["token rate limit", "tokens per min", "tokens per day"];
    const EVERY: [&str; 5] =
        ["call rate limit", "requests per min", "requests per day", "peak load", "high demand"];
    let text = text.to_ascii_lowercase();
    let counter = text.split_once("exceeded for ").map_or("", |(_, counter)| counter);
    if TOKENS.iter().any(|words| text.contains(words)) || counter.contains("tokens") {
        Some(LimitKind::Tokens)
    } else {
        EVERY.iter().any(|words| text.contains(words)).then_some(LimitKind::EverySize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LimitKind::{EverySize, Tokens};

    fn judged(headers: &[(&'static str, &str)], said: &str) -> LimitKind {
        let pairs =
            headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        limit_kind(&pairs.collect(), said.as_bytes(), 1_000)
    }

    fn message(text: &str) -> String {
        serde_json::json!({"error": {"code": "429", "message": text}}).to_string()
    }

    #[test]
    fn each_known_429_is_told() {
        let check =
            |text: &str, expected| assert_eq!(judged(&[], &message(text)), expected, "{text}");
        check(
            "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-02-01 have \
             exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 1 second.",
            Tokens,
        );
        check(
            "Your requests to gpt-5.1 for gpt-5.1 in East US 2 have exceeded the token rate limit for your current \
             AIServices S0 pricing tier.",
            Tokens,
        );
        check(
            "Rate limit of 50000 per 60s exceeded for UserByModelByMinuteUncachedInputTokens. Please wait.",
            Tokens,
        );
        check(
            "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 31538.",
            Tokens,
        );
        check("Rate limit of 10 per 60s exceeded for UserByModelByMinute.", EverySize);
        check(
            "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-02-01 have \
             exceeded call rate limit of your current OpenAI S0 pricing tier.",
            EverySize,
        );
        check("Rate limit reached for gpt-4o on requests per min (RPM): Limit 500.", EverySize);
        check(
            "The system is currently experiencing high demand and cannot process your request. Your request \
             exceeds the maximum usage size allowed during peak load.",
            EverySize,
        );
        check("Rate limit is exceeded. Try again in 50 seconds.", EverySize);
    }

    #[test]
    fn the_message_is_more_than_the_headers() {
        let none = [("x-ratelimit-remaining-tokens", "0")];
        assert_eq!(judged(&none, &message("have exceeded call rate limit of")), EverySize);
        assert_eq!(judged(&none, &message("Rate limit is exceeded.")), Tokens);
        let kind = r#"{"error":{"message":"Rate limit reached","type":"tokens"}}"#;
        assert_eq!(judged(&[], kind), Tokens);
    }

    #[test]
    fn headers_tell_where_nothing_else_does() {
        let check = |tokens: &str, requests: &str, expected| {
            let headers = [
                ("x-ratelimit-remaining-tokens", tokens),
                ("x-ratelimit-remaining-requests", requests),
            ];
            assert_eq!(judged(&headers, ""), expected, "{tokens} {requests}");
        };
        check("0", "50", Tokens);
        check("-7", "50", Tokens);
        check("999", "50", Tokens);
        check("1000", "50", EverySize);
        check("0", "0", EverySize);
        check("-1", "50", EverySize);
        check("many", "few", EverySize);
        assert_eq!(judged(&[], ""), EverySize);
        let utilization = [
            ("azure-openai-deployment-utilization", "104%"),
            ("x-ratelimit-remaining-tokens", "0"),
        ];
        assert_eq!(judged(&utilization, ""), EverySize);
    }

    #[test]
    fn an_event_tells_it_and_what_was_asked_does_not() {
        let created = r#"data: {"type":"response.created","response":{"error":null,"instructions":"token rate limit","message":"token rate limit"}}"#;
        assert_eq!(judged(&[], created), EverySize);
        let failed = r#"data: {"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"have exceeded token rate limit of"}}}"#;
        assert_eq!(judged(&[], &format!("event: x\n{created}\n\n{failed}\n\n")), Tokens);
        let error = r#"data: {"type":"error","code":"rate_limit_exceeded","message":"exceeded token rate limit"}"#;
        assert_eq!(judged(&[], &format!("{created}\r\n\r\n{error}\r\n\r\n")), Tokens);
    }
}
