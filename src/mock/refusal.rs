//! Azure's error answers: status, headers and body as the service words them. Pure.

use crate::mock::fault::{Limit, RetryAfter};
use http::StatusCode;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Value,
}

impl Refusal {
    /// No or another key than the resource has.
    pub(super) fn wrong_key() -> Self {
        coded(
            StatusCode::UNAUTHORIZED,
            "401",
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid \
             key for an active subscription and use a correct regional API endpoint for your resource.",
        )
    }

    /// No token, or one that the resource does not take. It is the one error with a body of this form.
    pub(super) fn wrong_token() -> Self {
        let message = "Unauthorized. Access token is missing, invalid, audience is incorrect \
                       (https://cognitiveservices.azure.com), or have expired.";
        let body = json!({"statusCode": 401, "message": message});
        Self { status: StatusCode::UNAUTHORIZED, headers: Vec::new(), body }
    }

    /// A key for a resource that takes tokens only.
    pub(super) fn keys_disabled() -> Self {
        coded(
            StatusCode::FORBIDDEN,
            "AuthenticationTypeDisabled",
            "Key based authentication is disabled for this resource.",
        )
    }

    /// The resource's firewall does not let the caller in.
    pub(super) fn forbidden() -> Self {
        coded(StatusCode::FORBIDDEN, "403", "Access denied due to Virtual Network/Firewall rules.")
    }

    /// A path that does not exist, or one without its `api-version`.
    pub(super) fn no_resource() -> Self {
        coded(StatusCode::NOT_FOUND, "404", "Resource not found")
    }

    /// A path that speaks WebSocket, asked for in plain HTTP.
    pub(super) fn upgrade_required() -> Self {
        coded(StatusCode::UPGRADE_REQUIRED, "426", "A WebSocket handshake was expected.")
    }

    /// The resource has no such deployment.
    pub(super) fn unknown_deployment() -> Self {
        coded(
            StatusCode::NOT_FOUND,
            "DeploymentNotFound",
            "The API deployment for this resource does not exist. If you created the deployment within the last \
             5 minutes, please wait a moment and try again.",
        )
    }

    /// A body that is not the JSON object that is asked for.
    pub(super) fn bad_json(detail: &str) -> Self {
        invalid(
            &format!("We could not parse the JSON body of your request. ({detail})"),
            &Value::Null,
            &Value::Null,
        )
    }

    /// A required parameter is missing.
    pub(super) fn missing(parameter: &str) -> Self {
        let message = format!("Missing required parameter: '{parameter}'.");
        invalid(&message, &json!(parameter), &json!("missing_required_parameter"))
    }

    /// A parameter has a value that is not allowed.
    pub(super) fn invalid_value(parameter: &str, message: &str) -> Self {
        invalid(message, &json!(parameter), &json!("invalid_value"))
    }

    /// `max_tokens` for a reasoning model.
    pub(super) fn max_tokens() -> Self {
        invalid(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' \
             instead.",
            &json!("max_tokens"),
            &json!("unsupported_parameter"),
        )
    }

    /// The content filter refuses the prompt.
    pub(super) fn content_filter() -> Self {
        let filtered = json!({
            "hate": {"filtered": false, "severity": "safe"},
            "jailbreak": {"detected": false, "filtered": false},
            "self_harm": {"filtered": false, "severity": "safe"},
            "sexual": {"filtered": false, "severity": "safe"},
            "violence": {"filtered": true, "severity": "medium"},
        });
        let body = json!({"error": {
            "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management \
                        policy. Please modify your prompt and retry.",
            "type": Value::Null,
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
            "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": filtered},
        }});
        Self { status: StatusCode::BAD_REQUEST, headers: Vec::new(), body }
    }

    /// A body beyond what is read.
    pub(super) fn too_large() -> Self {
        coded(StatusCode::PAYLOAD_TOO_LARGE, "413", "The request body is too large.")
    }

    /// A limit was exceeded. `unix` is the time since 1970, which one form of `Retry-After` needs.
    pub(super) fn rate_limited(retry_after: RetryAfter, limit: Limit, unix: Duration) -> Self {
        let seconds = |seconds: u64| ("retry-after", seconds.to_string());
        let millis = |millis: u64| ("retry-after-ms", millis.to_string());
        let mut headers = match retry_after {
            RetryAfter::None => Vec::new(),
            RetryAfter::Seconds(after) => vec![seconds(after)],
            RetryAfter::Millis(after) => vec![millis(after)],
            RetryAfter::Date(after) => vec![("retry-after", date(unix, after))],
            RetryAfter::Both { seconds: after, millis: after_ms } => {
                vec![seconds(after), millis(after_ms)]
            }
        };
        if limit == Limit::Provisioned {
            headers.push(("azure-openai-deployment-utilization", "100%".to_owned()));
        }
        let body = json!({"error": {"code": "429", "message": exceeded(limit)}});
        Self { status: StatusCode::TOO_MANY_REQUESTS, headers, body }
    }

    /// The service failed with this status; 500 for one that no failure has.
    pub(super) fn failed(status: u16) -> Self {
        let (status, message) = match status {
            408 => (StatusCode::REQUEST_TIMEOUT, "The operation was timeout."),
            502 => (StatusCode::BAD_GATEWAY, "Bad gateway."),
            503 => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The server is currently overloaded. Please retry later.",
            ),
            504 => (StatusCode::GATEWAY_TIMEOUT, "The request timed out."),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The server had an error while processing your request. Sorry about that!",
            ),
        };
        let body = json!({"error": {
            "message": message, "type": "server_error", "param": Value::Null, "code": Value::Null,
        }});
        Self { status, headers: Vec::new(), body }
    }
}

fn coded(status: StatusCode, code: &str, message: &str) -> Refusal {
    Refusal {
        status,
        headers: Vec::new(),
        body: json!({"error": {"code": code, "message": message}}),
    }
}

fn invalid(message: &str, parameter: &Value, code: &Value) -> Refusal {
    let body = json!({"error": {
        "message": message, "type": "invalid_request_error", "param": parameter, "code": code,
    }});
    Refusal { status: StatusCode::BAD_REQUEST, headers: Vec::new(), body }
}

fn exceeded(limit: Limit) -> &'static str {
    match limit {
        Limit::TokenRate => {
            "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded token rate limit \
             of your current OpenAI S0 pricing tier. Please retry after 1 second."
        }
        Limit::CallRate => {
            "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded call rate limit \
             of your current OpenAI S0 pricing tier. Please retry after 1 second."
        }
        Limit::PeakLoad => {
            "The system is currently experiencing high demand and cannot process your request. Your request exceeds \
             the maximum usage size allowed during peak load."
        }
        Limit::Provisioned => {
            "The provisioned deployment is at full capacity. Please retry after the time in the retry-after-ms header."
        }
    }
}

/// The longest that a date lies ahead: beyond it a date is no test of anything.
const DATE_SECONDS_MAX: u64 = 10 * 365 * 24 * 3_600;

fn date(unix: Duration, ahead_seconds: u64) -> String {
    let ahead = Duration::from_secs(ahead_seconds.min(DATE_SECONDS_MAX));
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + unix + ahead)
}

#[cfg(test)]
mod tests {
    use crate::mock::fault::{Limit, RetryAfter};
    use crate::mock::refusal::Refusal;
    use std::time::Duration;

    #[test]
    fn each_form_of_retry_after_has_its_headers() {
        let check = |form: RetryAfter, expected: &[(&str, &str)]| {
            let refusal = Refusal::rate_limited(form, Limit::TokenRate, Duration::ZERO);
            let found: Vec<_> =
                refusal.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(found, expected);
        };
        check(RetryAfter::None, &[]);
        check(RetryAfter::Seconds(3), &[("retry-after", "3")]);
        check(RetryAfter::Millis(1_500), &[("retry-after-ms", "1500")]);
        check(RetryAfter::Date(61), &[("retry-after", "Thu, 01 Jan 1970 00:01:01 GMT")]);
        check(
            RetryAfter::Both { seconds: 1, millis: 0 },
            &[("retry-after", "1"), ("retry-after-ms", "0")],
        );
    }
}
