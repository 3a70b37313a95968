//! The one table of metric names. `README.md` quotes it and a test compares the two.

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct MetricRow {
    /// Its name in the scrape.
    pub name: &'static str,
    /// What it tells, with its unit.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

macro_rules! rows {
    ($($konst:ident = $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $konst: MetricRow = MetricRow { name: $name, help: $help, labels: &[$($label),*] };)*
        /// Every metric that a scrape may hold.
        pub const METRICS: &[MetricRow] = &[$($konst),*];
    };
}

rows! {
    REQUESTS = "firstlight_requests_total" ["app", "route", "code"]
        "Client requests by status code sent.";
    REQUESTS_IN_FLIGHT = "firstlight_requests_in_flight" []
        "Client requests that are not finished.";
    CLIENT_TTFT = "firstlight_client_ttft_seconds" ["model"]
        "From a request's arrival to its first content chunk sent: what users felt, retries included.";
    CLIENT_ABORTS = "firstlight_client_aborts_total" ["phase"]
        "Clients that left early: before or after the first content.";
    AUTH_FAILURES = "firstlight_auth_failures_total" ["reason"]
        "Requests refused for their credential.";
    ATTEMPTS = "firstlight_attempts_total" ["model", "backend", "outcome"]
        "Upstream attempts by how they ended.";
    PICKS = "firstlight_picks_total" ["model", "backend", "why"]
        "Choices of a target by reason.";
    TTFT = "firstlight_ttft_seconds" ["model", "backend"]
        "From an attempt's dispatch to its first content token: what feeds the routing.";
    FIRST_BYTE = "firstlight_first_byte_seconds" ["model", "backend"]
        "From an attempt's dispatch to its response header.";
    RETRIES = "firstlight_retries_total" ["model", "reason"]
        "Attempts repeated on another target, by how the one before ended.";
    RETRY_BUDGET_EXHAUSTED = "firstlight_retry_budget_exhausted_total" ["model"]
        "Retries that the budget did not allow.";
    TOKENS = "firstlight_tokens_total" ["app", "model", "backend", "type"]
        "Tokens as reported by the answers: prompt, completion, cached, reasoning.";
    TARGET_DEGRADED = "firstlight_target_degraded" ["model", "backend"]
        "1 while a target is degraded.";
    TARGET_BLOCKED = "firstlight_target_blocked" ["model", "backend"]
        "1 while a target is drained, refuses our credential or lacks the deployment.";
    TARGET_SCORE = "firstlight_target_score_ms" ["model", "backend"]
        "Moving average of time to first token, milliseconds.";
    TARGET_STRIKES = "firstlight_target_strikes" ["model", "backend"]
        "Strikes held against a target.";
    TARGET_IN_FLIGHT = "firstlight_target_in_flight" ["model", "backend"]
        "Attempts that wait for their first token.";
    TARGET_LIMITED = "firstlight_target_limited_seconds" ["model", "backend"]
        "How much longer a target rests after a 429.";
    TARGET_CHANGES = "firstlight_target_changes_total" ["model", "backend", "change"]
        "Changes of state: degraded_slow, degraded_errors, recovered, limited.";
    PROBES = "firstlight_probes_total" ["model", "backend", "outcome"]
        "Probes of our own by outcome.";
    PROBE_TTFT = "firstlight_probe_ttft_seconds" ["model", "backend"]
        "Time to first token of probes.";
    RESOLVE_FAILURES = "firstlight_resolve_failures_total" ["backend"]
        "Failed look-ups of a backend's host name.";
    ACCESS_LOG_DROPPED = "firstlight_access_log_dropped_total" []
        "Access-log lines dropped because the reader was too slow.";
    CONFIG_GENERATION = "firstlight_config_generation" []
        "Which configuration of this process is live, from 1.";
    BUILD_INFO = "firstlight_build_info" ["version"]
        "Always 1; the label tells the version.";
}
