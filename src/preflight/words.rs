//! The words for what is found: what is wrong, and what to do. Nothing that a server said is repeated.

use super::Look;
use crate::exchange::Outcome;
use crate::live::LiveBackend;
use crate::probing::Asked;
use pingora_core::{Error, ErrorType};
use std::time::Duration;

/// What proves us.
pub(super) enum Proof {
    Nothing,
    /// A key, and where it is read from.
    Key(String),
    /// A token, and whose.
    Token(String),
}

/// The request could not be built: the address or the token is gone since a moment ago.
pub(super) fn not_sent() -> Look {
    Look::bad("not sent", "its address or its token is gone meanwhile: try again")
}

pub(super) fn found(addresses: usize) -> Look {
    Look::good(if addresses == 1 {
        "1 address".to_owned()
    } else {
        format!("{addresses} addresses")
    })
}

pub(super) fn not_found(host: &str) -> Look {
    Look::bad(
        "not found",
        format!(
            "{host} has no address here that may be used: correct the endpoint; with a private endpoint, link its DNS \
             zone (privatelink.openai.azure.com) to this network"
        ),
    )
}

pub(super) fn no_resolver(host: &str) -> Look {
    Look::bad(
        "no answer",
        format!("nobody says in time where {host} is: check this machine's resolver"),
    )
}

pub(super) fn connected(took: Duration, backend: &LiveBackend) -> Look {
    let plain = if backend.tls_name().is_some() { "" } else { ", plain" };
    Look::good(format!("{} ms{plain}", took.as_millis()))
}

pub(super) fn connect_timed_out(backend: &LiveBackend) -> Look {
    let (host, port) = &backend.authority;
    Look::bad(
        "no connection in time",
        format!("let this machine connect to {host}:{port}: firewall, route, private endpoint"),
    )
}

pub(super) fn not_connected(error: &Error, backend: &LiveBackend) -> Look {
    let (host, port) = &backend.authority;
    let is = |kinds: &[ErrorType]| kinds.contains(error.etype());
    if is(&[ErrorType::ConnectTimedout, ErrorType::TLSHandshakeTimedout]) {
        return connect_timed_out(backend);
    }
    if is(&[ErrorType::ConnectRefused]) {
        let advice =
            format!("nothing listens at {host}:{port}: correct the endpoint, or open the port");
        return Look::bad("refused", advice);
    }
    if is(&[ErrorType::TLSHandshakeFailure, ErrorType::InvalidCert]) {
        return not_trusted(&error.to_string(), backend);
    }
    Look::bad("no connection", format!("this machine has no way to {host}:{port}"))
}

/// The handshake failed; the library tells only in its text why.
fn not_trusted(told: &str, backend: &LiveBackend) -> Look {
    let ((host, port), name) = (&backend.authority, &backend.name);
    let says = |part: &str| told.contains(part);
    if says("UnknownIssuer") {
        let advice = format!(
            "nobody trusted signed the certificate: name the authority in backends.{name}.ca, or ask whose it is"
        );
        return Look::bad("certificate: unknown issuer", advice);
    }
    if says("not valid for name") || says("NotValidForName") {
        return Look::bad(
            "certificate: wrong name",
            format!("it is not {host}'s: correct the endpoint"),
        );
    }
    if says("expired") || says("Expired") {
        let advice = "have it renewed, or correct the clock of this machine";
        return Look::bad("certificate: expired", advice);
    }
    if says("certificate") {
        return Look::bad(
            "certificate: refused",
            format!("correct the endpoint or backends.{name}.ca"),
        );
    }
    Look::bad(
        "no TLS",
        format!("{host}:{port} speaks no TLS that is understood: correct the endpoint"),
    )
}

pub(super) fn no_token(identity: &str, why: Option<String>) -> Look {
    let late = || format!("none for {identity} in time; is the identity assigned to this machine?");
    Look::bad("no token", why.unwrap_or_else(late))
}

pub(super) fn keys(count: usize) -> Look {
    let plural = if count == 1 { "" } else { "s" };
    Look::good(format!("{count} signing key{plural}"))
}

pub(super) fn no_keys(why: Option<String>) -> Look {
    let late = || "they did not come in time; check DNS, firewall and entra.authority".to_owned();
    Look::bad("no signing keys", why.unwrap_or_else(late))
}

pub(super) fn unused() -> Look {
    Look::skipped("not asked").noting("no model uses it")
}

pub(super) fn not_asked(model: &str) -> Look {
    Look::skipped("not asked")
        .noting(format!("models.{model}.probe is off: nobody knows how to ask"))
}

/// What an answer, or none within `step`, comes to.
pub(super) fn answer(asked: &Asked, proof: &Proof, deployment: &str, step: Duration) -> Look {
    let status = asked.status();
    match asked.outcome {
        Outcome::Ok => Look::good(asked.first_token().map_or_else(
            || format!("{status}, no token"),
            |time| format!("{status}, {} ms", time.as_millis()),
        )),
        Outcome::Limited => Look::good(format!("{status}, limited"))
            .noting("it answers; its quota is used up just now"),
        Outcome::Unauthorised => Look::bad(format!("HTTP {status}"), refused(status, proof)),
        Outcome::DeploymentMissing => Look::bad(
            format!("HTTP {status}"),
            format!("there is no deployment {deployment}: correct its name, or deploy the model"),
        ),
        Outcome::TimedOut => Look::bad(
            format!("none in {} s", step.as_secs_f64()),
            "it took the request and does not answer: try again; look at the resource in the portal",
        ),
        Outcome::Passed if status == 404 => Look::bad(
            "HTTP 404",
            format!(
                "nothing is there: check the endpoint and the name of the deployment {deployment}"
            ),
        ),
        Outcome::Passed | Outcome::Refused | Outcome::Conflict | Outcome::NotHere => Look::bad(
            format!("HTTP {status}"),
            "it refuses the prompt of a probe: set `probe` of the model to what it is asked for",
        ),
        Outcome::Connect | Outcome::Reset | Outcome::UploadStalled => {
            Look::bad("broke off", "the connection broke: try again; what is between cuts it?")
        }
        Outcome::ServerError if status > 0 => Look::bad(
            format!("HTTP {status}"),
            "it fails: try again; look at the resource's health",
        ),
        Outcome::Malformed => Look::bad(
            format!("HTTP {status}, no JSON"),
            "it is not the API that answers: correct the endpoint, or what stands in front of it",
        ),
        Outcome::ServerError
        | Outcome::ErrorEvent
        | Outcome::EmptyStream
        | Outcome::BrokenOff
        | Outcome::ClientAbort
        | Outcome::Lost => Look::bad(
            "no content",
            "it ended without a token: try again; look at the resource's health",
        ),
    }
}

/// What to do where our credential was refused.
fn refused(status: u16, proof: &Proof) -> String {
    match (proof, status) {
        (Proof::Nothing, _) => "it wants a credential: set `auth` of the backend".to_owned(),
        (Proof::Key(place), 401) => {
            format!("the key is wrong, or of another resource: put this one's into {place}")
        }
        (Proof::Key(place), _) => format!(
            "keys may be switched off there (use an identity), its network rules keep this machine out, or {place} \
             holds another's key"
        ),
        (Proof::Token(identity), _) => format!(
            "give {identity} the role 'Cognitive Services OpenAI User' on the resource (it takes some minutes), or let \
             this machine through its network rules"
        ),
    }
}
