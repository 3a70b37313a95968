//! Which headers cross, in each direction.
//!
//! Both directions are allow-lists: a header that nobody thought of stays on its own side. The framing of a
//! message (`content-length`, `transfer-encoding`, connections and upgrades) belongs to the HTTP
//! implementation on each side and is not judged here, except that an answer keeps its `content-length` and
//! `transfer-encoding`, because the server reads them to frame what it relays.
//!
//! Set by us on the way out, hence never taken from the client: `host`, the credential (`api-key` or
//! `authorization`; with both Azure's behaviour is undefined), `content-type` (two of them arrive as one
//! list, which some operations refuse) and `accept-encoding` (absent: what is compressed cannot be timed).

use http::HeaderName;

/// The content type of every request body that is sent on.
pub const UPSTREAM_CONTENT_TYPE: &str = "application/json";

/// Names the deployment that the image tool of a response uses: mapped as a model is.
pub const PAINTER_HEADER: &str = "x-ms-oai-image-generation-deployment";

/// Whether a client's header goes to the backend.
///
/// Dropped although known: `x-stainless-*` (the SDKs send eight or more, and Azure answers 431 to more than
/// ten custom headers); `x-ms-spillover-deployment` and `x-ms-oai-image-generation-deployment` (they name
/// another deployment, past the check of which models the app may use); `x-forwarded-*` and `cookie`
/// (nobody's business there).
pub fn forward_request(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "accept"
            | "user-agent"
            | "openai-beta"
            | "aoai-evals"
            | "x-ms-client-request-id"
            | "traceparent"
            | "tracestate"
    )
}

/// Whether a backend's header goes to the client.
///
/// Kept: what describes the body, what an SDK acts on (rate limits, retry times) and what support asks for
/// (ids, timings, the region). Dropped, among others: `set-cookie` (a session with one backend means nothing
/// at the next), `server`, `x-powered-by` and `x-aml-cluster` (what is behind us), `strict-transport-security`
/// and `alt-svc` (they speak for the backend's host, not ours), `location` (redirects are not followed, and
/// it names the host) and `x-request-id` (clients get ours).
pub fn forward_response(name: &HeaderName) -> bool {
    const PREFIXES: [&str; 6] =
        ["x-ratelimit-", "x-rate-limit-", "x-ms-", "azureml-", "ms-azureml-", "openai-"];
    let exact = matches!(
        name.as_str(),
        "content-type"
            | "content-length"
            | "transfer-encoding"
            | "content-encoding"
            | "content-language"
            | "cache-control"
            | "date"
            | "vary"
            | "x-content-type-options"
            | "x-accel-buffering"
            | "retry-after"
            | "retry-after-ms"
            | "apim-request-id"
            | "azure-openai-deployment-utilization"
            | "x-envoy-upstream-service-time"
    );
    exact || PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(forward: impl Fn(&HeaderName) -> bool, crosses: &[&str], stays: &[&str]) {
        let crossing = |name: &&&str| forward(&HeaderName::try_from(**name).unwrap());
        assert_eq!(
            crosses.iter().filter(|name| !crossing(name)).collect::<Vec<_>>(),
            Vec::<&&str>::new()
        );
        assert_eq!(stays.iter().filter(crossing).collect::<Vec<_>>(), Vec::<&&str>::new());
    }

    #[test]
    fn requests() {
        let crosses = [
            "Accept",
            "User-Agent",
            "OpenAI-Beta",
            "X-MS-Client-Request-Id",
            "traceparent",
            "tracestate",
        ];
        let credentials = [
            "authorization",
            "api-key",
            "x-api-key",
            "ocp-apim-subscription-key",
            "proxy-authorization",
        ];
        let ours = [
            "host",
            "content-type",
            "content-length",
            "accept-encoding",
            "expect",
            "x-probe-target",
        ];
        let others = [
            "cookie",
            "x-forwarded-for",
            "forwarded",
            "x-stainless-lang",
            "x-ms-spillover-deployment",
        ];
        let strange =
            ["api_key", "connection", "te", "upgrade", "x-ms-token", "x-request-id", "x-anything"];
        check(
            forward_request,
            &crosses,
            &[&credentials[..], &ours[..], &others[..], &strange[..]].concat(),
        );
    }

    #[test]
    fn responses() {
        let crosses = [
            "Content-Type",
            "Content-Length",
            "X-RateLimit-Remaining-Tokens",
            "x-rate-limit-reset-tokens",
            "Retry-After",
            "retry-after-ms",
            "apim-request-id",
            "azureml-model-session",
            "ms-azureml-model-error-reason",
            "openai-processing-ms",
            "x-ms-region",
            "x-ms-rai-invoked",
            "azure-openai-deployment-utilization",
        ];
        let identity = [
            "set-cookie",
            "server",
            "x-powered-by",
            "via",
            "x-aml-cluster",
            "location",
            "x-request-id",
        ];
        let host = [
            "strict-transport-security",
            "alt-svc",
            "access-control-allow-origin",
            "nel",
            "report-to",
        ];
        let hop = [
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "upgrade",
            "proxy-authenticate",
            "www-authenticate",
        ];
        check(forward_response, &crosses, &[&identity[..], &host[..], &hop[..]].concat());
    }
}
