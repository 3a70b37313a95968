//! What the control endpoint says about itself.

/// What `GET /` of the control endpoint says about the backends.
pub const HELP: &str = r#"The control endpoint of a mock Azure OpenAI. ADDRESS is where you found this text.

  curl ADDRESS/backends                          every backend: address, behaviour, fault, counters
  curl ADDRESS/backends/NAME/requests            its last 64 requests, with their headers
  curl -X PUT ADDRESS/backends/NAME/fault -d '{"fault": {"slow": {"factor": 10}}, "share": 0.5, "for_seconds": 30}'
  curl -X DELETE ADDRESS/backends/NAME/fault     all is well again
  curl -X PUT ADDRESS/backends/NAME/behaviour -d '{"ttft_median_ms": 200, "headers": "late"}'
  curl -X POST ADDRESS/reset                     forget the counters and requests of all backends

Faults ("share" and "for_seconds" may stand beside each):
  {"fault": {"slow": {"factor": 10, "add_ms": 0}}}         {"fault": {"half_slow": {"factor": 10}}}
  {"fault": {"drift": {"factor": 10, "over_seconds": 60}}} {"fault": {"slow_tokens": {"factor": 20}}}
  {"fault": "freeze_before_headers"}  {"fault": "freeze_after_headers"}
  {"fault": "freeze_after_filter"}    {"fault": "freeze_after_role"}
  {"fault": {"status_429": {"retry_after": {"seconds": 5}, "limit": "token_rate"}}}
      retry_after: "none", {"seconds": 5}, {"millis": 1500}, {"date": 20}, {"both": {"seconds": 1, "millis": 0}}
      limit: "token_rate", "call_rate", "peak_load", "provisioned"
  {"fault": {"status_5xx": {"status": 503}}}               500, 502, 503, 504 or 408
  {"fault": "reset"}  {"fault": "refuse"}  {"fault": "garbage"}  {"fault": {"truncate": {"after_tokens": 3}}}
  {"fault": "error_after_200"}  {"fault": "error_after_200_rate_limit"}  {"fault": "end_before_content"}
  {"fault": "wrong_key"}  {"fault": "forbidden"}  {"fault": "unknown_deployment"}  {"fault": "none"}
"#;

/// What it says besides when there is an Entra.
pub const IDENTITY_HELP: &str = r#"
The fake Entra and the fake IMDS beside the backends:

  curl ADDRESS/entra                             address, ids, faults, counters
  curl ADDRESS/entra/requests                    the last 64 requests of each endpoint
  curl -X POST ADDRESS/entra/tokens -d '{"claims": {"roles": ["LLM.Invoke"], "azp": null}, "header": {"kid": "x"}}'
                                                 a token with these claims; what is null is taken away
  curl -X POST ADDRESS/entra/rotate              a new key signs; -d '{"publish": false}' keeps it secret for now
  curl -X POST ADDRESS/entra/publish             every key is published
  curl -X POST ADDRESS/entra/retire              the old keys are gone
  curl -X PUT ADDRESS/entra/fault -d '{"endpoint": "keys", "fault": "hang"}'
  curl -X DELETE ADDRESS/entra/fault             all is well again
  curl -X PUT ADDRESS/entra/lifetime -d '{"seconds": 60}'
  curl ADDRESS/imds                              address, ids, fault, counters
  curl ADDRESS/imds/requests                     its last 64 requests
  curl -X PUT ADDRESS/imds/fault -d '{"fault": {"status": 410}}'
  curl -X DELETE ADDRESS/imds/fault              all is well again
  curl -X PUT ADDRESS/imds/lifetime -d '{"seconds": 60}'

Endpoints of Entra are "discovery", "keys" and "token"; without an "endpoint" a fault is everywhere. Faults of both:
  "none"  "down"  "hang"  "garbage"  {"slow_ms": 500}  {"status": 503}
Of Entra alone: "huge"  "wrong_issuer"  "empty_keys" (at "keys")
"#;
