//! Entra's error answers, each with its number. Pure.

use http::StatusCode;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// An error of Entra.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Aadsts {
    pub(super) status: StatusCode,
    /// The code of OAuth 2.0.
    error: &'static str,
    number: u32,
    message: String,
}

/// What tells one error answer from another.
pub(super) struct Trace {
    pub(super) base: String,
    pub(super) id: String,
    pub(super) correlation_id: String,
    /// The time since 1970.
    pub(super) unix: Duration,
}

impl Aadsts {
    /// No such tenant.
    pub(super) fn unknown_tenant(tenant: &str) -> Self {
        let message = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing \
             into the correct cloud."
        );
        bad("invalid_tenant", 90_002, &message)
    }

    /// A parameter of the form is missing.
    pub(super) fn missing(parameter: &str) -> Self {
        let message =
            format!("The request body must contain the following parameter: '{parameter}'.");
        bad("invalid_request", 900_144, &message)
    }

    /// Another grant than `client_credentials`.
    pub(super) fn unknown_grant(grant: &str) -> Self {
        let message = format!("The app requested an unsupported grant type '{grant}'.");
        bad("unsupported_grant_type", 70_003, &message)
    }

    /// No such client.
    pub(super) fn unknown_client(client: &str, tenant: &str) -> Self {
        let message = format!(
            "Application with identifier '{client}' was not found in the directory '{tenant}'."
        );
        bad("unauthorized_client", 700_016, &message)
    }

    /// Neither a secret nor an assertion.
    pub(super) fn no_proof() -> Self {
        denied(
            7_000_216,
            "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant \
             type.",
        )
    }

    /// Another secret than the client has.
    pub(super) fn wrong_secret(client: &str) -> Self {
        let message = format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
             value, not the client secret ID, for a secret added to app '{client}'."
        );
        denied(7_000_215, &message)
    }

    /// An assertion that no federated credential of the client fits.
    pub(super) fn wrong_assertion() -> Self {
        denied(
            700_213,
            "No matching federated identity record found for presented assertion subject. Check your federated \
             identity credential Subject, Audience and Issuer against the presented assertion.",
        )
    }

    /// An assertion of a type that is not known.
    pub(super) fn unknown_assertion_type() -> Self {
        bad(
            "invalid_request",
            900_023,
            "The 'client_assertion_type' must be \
             'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'.",
        )
    }

    /// A scope that does not end in `/.default`.
    pub(super) fn wrong_scope(scope: &str) -> Self {
        let message = format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value \
             with /.default suffixed to the resource identifier (application ID URI)."
        );
        bad("invalid_scope", 1_002_012, &message)
    }

    /// No such resource.
    pub(super) fn unknown_resource(resource: &str, tenant: &str) -> Self {
        let message = format!(
            "The resource principal named {resource} was not found in the tenant named {tenant}."
        );
        bad("invalid_resource", 500_011, &message)
    }

    /// An outage with this status.
    pub(super) fn transient(status: StatusCode) -> Self {
        let message = "A transient error has occurred. Please try again.".to_owned();
        Self { status, error: "temporarily_unavailable", number: 90_033, message }
    }

    pub(super) fn body(&self, trace: &Trace) -> Value {
        let Trace { base, id, correlation_id, unix } = trace;
        let moment = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + *unix);
        let timestamp = moment.to_string().replace('T', " ");
        let Self { error, number, message, .. } = self;
        json!({
            "error": error,
            "error_description": format!(
                "AADSTS{number}: {message} Trace ID: {id} Correlation ID: {correlation_id} \
                 Timestamp: {timestamp}"
            ),
            "error_codes": [number],
            "timestamp": timestamp,
            "trace_id": id,
            "correlation_id": correlation_id,
            "error_uri": format!("{base}/error?code={number}"),
        })
    }
}

fn bad(error: &'static str, number: u32, message: &str) -> Aadsts {
    Aadsts { status: StatusCode::BAD_REQUEST, error, number, message: message.to_owned() }
}

fn denied(number: u32, message: &str) -> Aadsts {
    let error = "invalid_client";
    Aadsts { status: StatusCode::UNAUTHORIZED, error, number, message: message.to_owned() }
}
