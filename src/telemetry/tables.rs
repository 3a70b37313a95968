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
    REALTIME_SESSIONS = "firstlight_realtime_sessions" ["model", "backend"]
        "Realtime sessions that are open.";
    REQUESTS_MALFORMED = "firstlight_requests_malformed_total" ["reason"]
        "Requests refused for their head, before anything else: a head that could be read in two ways, is too large or too late.";
    CONNECTIONS = "firstlight_connections" ["state"]
        "Connections of clients by what they do: opening, request, idle, h2.";
    CONNECTIONS_REFUSED = "firstlight_connections_refused_total" ["reason"]
        "Connections closed at once: over limits.connections or connections_per_ip, or whose TLS handshake failed or took too long.";
    CLIENT_TTFT = "firstlight_client_ttft_seconds" ["model"]
        "From a request's arrival to its first content chunk sent: what users felt, retries included.";
    CLIENT_ABORTS = "firstlight_client_aborts_total" ["phase"]
        "Clients that left early: before or after the first content.";
    AUTH_FAILURES = "firstlight_auth_failures_total" ["reason"]
        "Requests refused for their credential.";
    QUOTA_REFUSED = "firstlight_quota_refused_total" ["app", "what"]
        "Requests refused for a limit of their app: requests, tokens (both by the minute) or concurrent.";
    QUOTA_REMAINING = "firstlight_quota_remaining" ["app", "what"]
        "What is left of each limit that an app has.";
    SHED = "firstlight_shed_total" ["reason"]
        "Requests refused with 503 for want of room: concurrent (limits.concurrent), share (its app has its fair share of that), memory (limits.buffered_mib), targets (max_in_flight of all).";
    ATTEMPTS = "firstlight_attempts_total" ["model", "backend", "outcome"]
        "Upstream attempts by how they ended. One that fails after its first content is counted as ok and then as broken_off (or limited), too.";
    PICKS = "firstlight_picks_total" ["model", "backend", "why"]
        "Choices of a target by reason.";
    TTFT = "firstlight_ttft_seconds" ["model", "backend", "size"]
        "From the end of an attempt's upload to its first content token: what feeds the routing. By the prompt's tokens: from 0, 256, 512, 1k up to 64k.";
    TTFT_BY_EFFORT = "firstlight_ttft_by_effort_seconds" ["model", "effort"]
        "The same by the reasoning effort that the request names, if it does.";
    FIRST_BYTE = "firstlight_first_byte_seconds" ["model", "backend"]
        "From the end of an attempt's upload to its response header.";
    RETRIES = "firstlight_retries_total" ["model", "reason"]
        "Attempts repeated on another target, by how the one before ended.";
    RETRY_BUDGET_EXHAUSTED = "firstlight_retry_budget_exhausted_total" ["model"]
        "Retries that the budget did not allow.";
    HEDGES = "firstlight_hedges_total" ["model", "result"]
        "Attempts that race a late one: sent, and of those won (they answered) or lost; denied_ and why, where a late attempt was not raced (degraded: only degraded targets are left, which race what is stuck at 2 T).";
    HEDGE_LEAD = "firstlight_hedge_saved_seconds" ["model"]
        "When a hedge wins: how much longer the beaten attempt had already waited than the winner took. At least so much slower was the beaten backend; what the client would have waited for it is not known.";
    HEDGE_TOKENS_LEFT = "firstlight_hedge_tokens_left" ["model"]
        "Prompt tokens that hedges may still spend.";
    HEDGE_TOKENS_SPENT = "firstlight_hedge_tokens_spent_total" ["model"]
        "Prompt tokens that hedges have spent.";
    STORED_COPIES = "firstlight_stored_copies_total" ["model", "backend", "result"]
        "Second copies of responses that Azure stores by default, which a hedge or a retry left at a backend: deleted, missing (the backend does not have it), failed (not deleted), skipped (too many deletions pending), unseen (its id was not read in time, so that it may still be stored).";
    STREAM_GAP = "firstlight_stream_gap_seconds" ["model", "backend"]
        "The longest time between two bursts of content of a stream. Measured, not acted on.";
    STREAM_RATE = "firstlight_stream_tokens_per_second" ["model", "backend"]
        "Content events a second behind the first burst of a stream. Measured, not acted on.";
    TOKENS = "firstlight_tokens_total" ["app", "model", "backend", "type"]
        "Tokens as reported by the answers: prompt, completion, cached, reasoning.";
    TOKENS_ESTIMATED = "firstlight_tokens_estimated_total" ["app", "model", "backend", "type"]
        "Tokens of answers that report none: prompt, by its length; completion, by the events of a stream.";
    TARGET_DEGRADED = "firstlight_target_degraded" ["model", "backend"]
        "1 while a target is degraded.";
    TARGET_STATE = "firstlight_target_state" ["model", "backend", "state"]
        "1 for the state that a target is in: healthy, degraded, recovering; 0 for the others.";
    TARGET_OUT = "firstlight_target_out_seconds_total" ["model", "backend"]
        "Time that a target spent degraded, added when it is over.";
    TARGET_BLOCKED = "firstlight_target_blocked" ["model", "backend", "reason"]
        "1 while a target is out of use for that reason: drained (by an operator), auth_failed (it refuses our credential), misconfigured (it lacks the deployment), no_token (we have none for it); else 0.";
    TARGET_SCORE = "firstlight_target_score_ms" ["model", "backend"]
        "Moving average of time to first token, milliseconds, for a prompt of 512 to 1023 tokens.";
    TARGET_BASE = "firstlight_target_base_ms" ["model", "backend"]
        "The same when all is well; absent while unknown.";
    TARGET_EXPECTED = "firstlight_target_expected_ms" ["model", "backend"]
        "What a first token is expected to take now, milliseconds, for such a prompt; absent while unknown.";
    TARGET_STRIKES = "firstlight_target_strikes" ["model", "backend"]
        "Strikes held against a target.";
    TARGET_IN_FLIGHT = "firstlight_target_in_flight" ["model", "backend"]
        "Attempts that wait for their first token.";
    TARGET_SEATS = "firstlight_target_under_way" ["model", "backend"]
        "Attempts under way, to the end of their answers: what max_in_flight limits.";
    TARGET_LATE = "firstlight_target_late" ["model", "backend"]
        "Those of them that are late.";
    TARGET_LIMITED = "firstlight_target_limited_seconds" ["model", "backend"]
        "How much longer a target rests after a 429: for requests of how many tokens, firstlight_target_limited_tokens tells.";
    TARGET_LIMITED_TOKENS = "firstlight_target_limited_tokens" ["model", "backend"]
        "Requests of at least so many tokens are kept away from a target that rests after a 429, 0 for all of them; absent while it does not rest.";
    TARGET_SERVED_RATE = "firstlight_target_served_rate" ["model", "backend"]
        "Requests in a second that a target is given at most since it answered 429; absent while it is given any number.";
    TARGET_CHANGES = "firstlight_target_changes_total" ["model", "backend", "change"]
        "Changes of state: degraded_slow, degraded_errors, recovering, recovered, limited.";
    SUSPECT_MODELS = "firstlight_backend_suspect_models" ["backend"]
        "Models whose target on this backend is degraded or suspect (half of what waits there is late). All of them: it is the region.";
    POOL_LATE_MULT = "firstlight_pool_late_mult" ["model"]
        "An attempt is late after so many times the expected first token.";
    POOL_NOW = "firstlight_pool_now_ms" ["model"]
        "Lower median of the targets' scores; absent while unknown.";
    POOL_BASE = "firstlight_pool_base_ms" ["model"]
        "Lower median of their bases; absent while unknown.";
    POOL_RATIO = "firstlight_pool_ratio" ["model"]
        "Lower median of score over base: 1 is normal.";
    POOL_OVERFLOW = "firstlight_pool_overflow_share" ["model"]
        "Share of the requests that go to a degraded target since the pool is slow.";
    POOL_ALL_SLOW = "firstlight_pool_all_slow" ["model"]
        "1 while the pool is slow and no target is degraded: routing cannot help.";
    TRIPS_BLOCKED = "firstlight_trips_blocked_total" ["model", "by"]
        "Degradations held back: rest (the others are no better), max_out (too many are out).";
    REBASED = "firstlight_rebased_total" ["model"]
        "How often a slow time was learned as the new normal.";
    PROBES = "firstlight_probes_total" ["model", "backend", "outcome"]
        "Probes of our own by outcome.";
    PROBE_SECONDS = "firstlight_probe_seconds" ["model", "backend", "ok"]
        "How long probes took: true, to the first token; false, until they failed or were given up.";
    RESOLVE_FAILURES = "firstlight_resolve_failures_total" ["backend"]
        "Failed look-ups of a backend's host name.";
    ACCESS_LOG_DROPPED = "firstlight_access_log_dropped_total" []
        "Access-log lines dropped because the reader was too slow.";
    CONFIG_GENERATION = "firstlight_config_generation" []
        "Which configuration of this process is live, from 1.";
    CONFIG_RELOADS = "firstlight_config_reloads_total" ["result"]
        "Reloads of the configuration: applied or refused.";
    CONFIG_LAST_RELOAD_SUCCESSFUL = "firstlight_config_last_reload_successful" []
        "1 if the last reload was applied, or there was none; 0 if it was refused and an older configuration serves.";
    CONFIG_LOADED = "firstlight_config_loaded_timestamp_seconds" []
        "When the live configuration was loaded, in seconds since 1970.";
    CERTIFICATE_EXPIRES = "firstlight_certificate_expires_timestamp_seconds" ["listener", "name"]
        "When a listener's certificate ends, in seconds since 1970.";
    KEY_EXPIRES = "firstlight_key_expires_timestamp_seconds" ["app", "key"]
        "When an app's key ends, in seconds since 1970; absent where it does not.";
    JWKS_FETCHES = "firstlight_jwks_fetches_total" ["tenant", "result"]
        "Fetches of a tenant's signing keys: ok, failed.";
    JWKS_AGE = "firstlight_jwks_age_seconds" ["tenant"]
        "How long ago a tenant's signing keys were fetched; absent while there are none. They are fetched every hour and kept if that fails.";
    IDENTITY_EXPIRY = "firstlight_identity_token_expiry_timestamp_seconds" ["identity"]
        "When the token of an identity of ours ends, in seconds since 1970; absent without a token.";
    IDENTITY_REFRESHES = "firstlight_identity_refresh_total" ["identity", "result"]
        "Fetches of such tokens: ok, failed.";
    STATE_SAVES = "firstlight_state_saves_total" ["result"]
        "Saves of what was learned, for the next process: ok, failed.";
    STATE_SAVED = "firstlight_state_saved_timestamp_seconds" []
        "Unix time of the last such save that succeeded; 0 while there was none.";
    KEPT_IDS = "firstlight_kept_ids" []
        "Ids of responses, files, threads and the like whose backend is known.";
    BUILD_INFO = "firstlight_build_info" ["version"]
        "Always 1; the label tells the version.";
}
