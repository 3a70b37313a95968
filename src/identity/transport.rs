//! How `azure_identity` reaches those who give tokens: over our own client, and nowhere but where the configuration
//! says.
//!
//! The library knows the metadata service by a constant and wants `https` of an authority. So it is told stand-ins,
//! and the request goes to the configured giver in their place: a loopback address in tests, a sovereign cloud. A
//! request for any other place is refused. That can happen: the library obeys `IDENTITY_ENDPOINT` and `MSI_ENDPOINT`
//! of the environment (App Service, Arc), which would decide in the place of our configuration. `AZURE_AUTHORITY_HOST`,
//! `AZURE_CLIENT_ID` and their like are not read, since everything they name is told; `IDENTITY_HEADER` alone would
//! add a header, which is not among those that cross.

use super::trouble::Trouble;
use crate::fetching::{self, Unread};
use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Method, Request};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the library takes for the metadata service: a constant of its.
pub(super) const IMDS: &str = "http://169.254.169.254";
/// What the library takes for the authority.
pub(super) const AUTHORITY: &str = "https://authority.invalid";

/// The largest answer that is read, in bytes. A token has a few thousand.
const LARGEST: usize = 64 * 1024;
/// The metadata service is on the machine itself.
const IMDS_CONNECT: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(5);
/// One request, its answer read.
const REQUEST: Duration = Duration::from_secs(15);
/// Headers of the library's requests that cross.
const HEADERS: [&str; 4] = ["accept", "content-type", "metadata", "user-agent"];

type Result<T> = azure_core::Result<T>;

/// The last thing that went wrong. A success counts as [`Trouble::Garbage`]: it is asked for only where no token came
/// of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<Option<Trouble>>>);

impl Seen {
    pub(super) fn last(&self) -> Option<Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: Trouble) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
    }
}

/// The library's way to one giver.
#[derive(Debug)]
pub(super) struct Transport {
    client: reqwest::Client,
    stand_in: &'static str,
    /// Where its requests go: `scheme://host[:port]`.
    giver: String,
    seen: Seen,
}

impl Transport {
    /// To whom `stand_in` stands for.
    pub(super) fn new(stand_in: &'static str, giver: String, seen: Seen) -> reqwest::Result<Self> {
        let connect = if stand_in == IMDS { IMDS_CONNECT } else { CONNECT };
        let client = fetching::client(&giver, connect, REQUEST)?;
        Ok(Self { client, stand_in, giver, seen })
    }

    async fn send(&self, request: &Request) -> std::result::Result<AsyncRawResponse, Trouble> {
        let url = self.url(request).ok_or(Trouble::Environment)?;
        // It asks in no other way.
        let post = request.method() == Method::Post;
        let mut sent = if post { self.client.post(url) } else { self.client.get(url) };
        for (name, value) in request.headers().iter() {
            if HEADERS.contains(&name.as_str()) {
                sent = sent.header(name.as_str(), value.as_str());
            }
        }
        if let Body::Bytes(body) = request.body() {
            sent = sent.body(body.clone());
        }
        let answer = sent.send().await.map_err(|error| trouble(&error))?;
        let (status, mut headers) = (answer.status(), Headers::new());
        // All that the library looks at: when to come back.
        if let Some(value) = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()) {
            headers.insert("retry-after", value.to_owned());
        }
        let body = fetching::read(answer, LARGEST).await.map_err(|unread| match unread {
            Unread::TooLong => Trouble::Garbage,
            Unread::Broken(error) => trouble(&error),
        })?;
        self.seen.note(if status.is_success() {
            Trouble::Garbage
        } else {
            Trouble::Status(status.as_u16(), numbers(&body))
        });
        Ok(AsyncRawResponse::from_bytes(status.as_u16().into(), headers, body))
    }

    /// Where a request of the library goes.
    fn url(&self, request: &Request) -> Option<String> {
        let rest = request.url().as_str().strip_prefix(self.stand_in)?;
        rest.starts_with('/').then(|| format!("{}{rest}", self.giver))
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse> {
        self.send(request).await.map_err(|trouble| {
            // The library tries again after the first kind, as it should.
            let again = matches!(trouble, Trouble::Unreachable | Trouble::TimedOut);
            let kind = if again { ErrorKind::Io } else { ErrorKind::Other };
            self.seen.note(trouble);
            Error::with_message(kind, "no answer")
        })
    }
}

fn trouble(error: &reqwest::Error) -> Trouble {
    if error.is_timeout() && !error.is_connect() { Trouble::TimedOut } else { Trouble::Unreachable }
}

/// The error numbers of Entra's answer.
fn numbers(body: &[u8]) -> Vec<u32> {
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    let numbers = told.get("error_codes").and_then(Value::as_array);
    let numbers = numbers.into_iter().flatten().filter_map(Value::as_u64);
    numbers.filter_map(|number| u32::try_from(number).ok()).take(4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::http::Url;

    fn place(stand_in: &'static str, giver: &str, asked: &str) -> Option<String> {
        let transport = Transport::new(stand_in, giver.to_owned(), Seen::default()).unwrap();
        transport.url(&Request::new(Url::parse(asked).unwrap(), Method::Get))
    }

    #[test]
    fn requests_go_where_the_configuration_says_and_nowhere_else() {
        let giver = "http://127.0.0.1:9";
        let imds = "http://169.254.169.254/metadata/identity/oauth2/token?a=b";
        let told = place(IMDS, giver, imds);
        assert_eq!(told.as_deref(), Some("http://127.0.0.1:9/metadata/identity/oauth2/token?a=b"));
        assert_eq!(place(IMDS, IMDS, imds).as_deref(), Some(imds));
        let elsewhere = [
            "http://127.0.0.1:8/msi/token",
            "http://169.254.169.254.example/x",
            "http://169.254.169.2541/",
        ];
        for asked in elsewhere {
            if Url::parse(asked).is_ok() {
                assert_eq!(place(IMDS, giver, asked), None, "{asked}");
            }
        }
        let entra = format!("{AUTHORITY}/t/oauth2/v2.0/token");
        assert_eq!(
            place(AUTHORITY, giver, &entra).as_deref(),
            Some("http://127.0.0.1:9/t/oauth2/v2.0/token")
        );
        assert_eq!(place(AUTHORITY, giver, "https://login.microsoftonline.com/t/x"), None);
    }

    #[test]
    fn only_numbers_are_read_of_an_error() {
        let body = br#"{"error":"x","error_codes":[7000215,-1,"9",99999999999],"error_description":"canary"}"#;
        assert_eq!(numbers(body), [7_000_215]);
        assert_eq!(numbers(b"<html>"), [0_u32; 0]);
    }
}
