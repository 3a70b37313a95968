//! Reads a request for a token, and decides whose it is. Pure.

use crate::mock::imds::spec::{ImdsSpec, ManagedIdentity};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A token that is to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish<'a> {
    pub(super) identity: &'a ManagedIdentity,
    /// What the token is for.
    pub(super) resource: String,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    error: &'static str,
    description: &'static str,
}

const PATH: &str = "/metadata/identity/oauth2/token";
const VERSIONS: [&str; 2] = ["2018-02-01", "2019-08-01"];

/// How a request can name an identity.
const NAMES: [&str; 4] = ["client_id", "object_id", "msi_res_id", "mi_res_id"];

impl Refused {
    /// A fault's answer.
    pub(super) fn failed(status: StatusCode) -> Self {
        let (error, description) = match status.as_u16() {
            404 => ("not_found", "The IMDS endpoint is updating"),
            410 => ("gone", "IMDS is going through updates"),
            429 => ("too_many_requests", "IMDS Throttle limit reached"),
            400..500 => ("invalid_request", "Bad request"),
            _ => ("unknown", "Failed to retrieve token from the Active directory."),
        };
        Self { status, error, description }
    }

    pub(super) fn body(&self) -> Value {
        json!({"error": self.error, "error_description": self.description})
    }
}

fn bad(error: &'static str, description: &'static str) -> Refused {
    Refused { status: StatusCode::BAD_REQUEST, error, description }
}

/// What a request comes to on a machine with these identities.
pub(super) fn wish<'a>(spec: &'a ImdsSpec, parts: &Parts) -> Result<Wish<'a>, Refused> {
    admitted(&parts.headers)?;
    if parts.uri.path() != PATH {
        let (error, description) = ("not_found", "The resource cannot be found");
        return Err(Refused { status: StatusCode::NOT_FOUND, error, description });
    }
    if parts.method != Method::GET {
        let (error, description) = ("method_not_allowed", "Only GET is allowed");
        return Err(Refused { status: StatusCode::METHOD_NOT_ALLOWED, error, description });
    }
    let query = parts.uri.query().unwrap_or_default();
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let version = query.get("api-version").map(String::as_str);
    if !version.is_some_and(|version| VERSIONS.contains(&version)) {
        return Err(bad(
            "invalid_request",
            "Bad request. api-version is invalid or was not specified in the request.",
        ));
    }
    let resource = query.get("resource").filter(|resource| !resource.is_empty());
    let resource = resource
        .ok_or_else(|| bad("invalid_request", "Required query variable 'resource' is missing"))?;
    Ok(Wish { identity: identity(spec, &query)?, resource: resource.clone() })
}

/// Who cannot set headers, or speaks for somebody else, gets nothing.
fn admitted(headers: &HeaderMap) -> Result<(), Refused> {
    if headers.get("metadata").is_none_or(|value| value != "true") {
        return Err(bad("bad_request_102", "Required metadata header not specified"));
    }
    if headers.contains_key("x-forwarded-for") {
        return Err(bad("bad_request_102", "Requests with X-Forwarded-For are not served"));
    }
    Ok(())
}

fn identity<'a>(
    spec: &'a ImdsSpec,
    query: &BTreeMap<String, String>,
) -> Result<&'a ManagedIdentity, Refused> {
    let mut named = NAMES.iter().filter_map(|name| Some((*name, query.get(*name)?)));
    match (named.next(), named.next()) {
        (Some((name, value)), None) => {
            let all = spec.assigned.iter().chain(&spec.system);
            let mut fitting = all.filter(|identity| identity.is(name, value));
            fitting.next().ok_or_else(|| bad("invalid_request", "Identity not found"))
        }
        (Some(_), Some(_)) => Err(bad("invalid_request", "Name the identity in one way only")),
        (None, _) => match (&spec.system, spec.assigned.as_slice()) {
            (Some(system), _) => Ok(system),
            (None, [only]) => Ok(only),
            (None, []) => Err(bad("invalid_request", "Identity not found")),
            (None, _) => Err(bad(
                "invalid_request",
                "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity \
                 in the token request",
            )),
        },
    }
}

impl ManagedIdentity {
    /// Whether this is what it is called in this parameter. Azure's ids have no case.
    fn is(&self, name: &str, value: &str) -> bool {
        let own = match name {
            "client_id" => &self.client,
            "object_id" => &self.object,
            _ => &self.resource,
        };
        own.eq_ignore_ascii_case(value)
    }
}

#[cfg(test)]
mod tests {
    use crate::mock::imds::query::wish;
    use crate::mock::imds::spec::{ImdsSpec, ManagedIdentity};
    use http::Request;

    fn told(spec: &ImdsSpec, query: &str) -> String {
        let uri =
            format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource=r{query}");
        let request = Request::get(uri).header("metadata", "true").body(()).unwrap();
        match wish(spec, &request.into_parts().0) {
            Ok(wish) => wish.identity.client.clone(),
            Err(refused) => refused.description.to_owned(),
        }
    }

    #[test]
    fn an_identity_has_three_names() {
        let spec = ImdsSpec::default();
        let check =
            |query: &str, expected: &str| assert_eq!(told(&spec, query), expected, "{query}");
        check("", ImdsSpec::SYSTEM);
        check(&format!("&client_id={}", ImdsSpec::ASSIGNED), ImdsSpec::ASSIGNED);
        check(&format!("&client_id={}", ImdsSpec::ASSIGNED.to_uppercase()), ImdsSpec::ASSIGNED);
        check(&format!("&object_id={}", ImdsSpec::ASSIGNED_OBJECT), ImdsSpec::ASSIGNED);
        check(&format!("&msi_res_id={}", ImdsSpec::ASSIGNED_RESOURCE), ImdsSpec::ASSIGNED);
        check(&format!("&mi_res_id={}", ImdsSpec::ASSIGNED_RESOURCE), ImdsSpec::ASSIGNED);
        check(&format!("&object_id={}", ImdsSpec::ASSIGNED), "Identity not found");
        check("&client_id=a&object_id=b", "Name the identity in one way only");
    }

    #[test]
    fn without_a_name_it_has_to_be_clear_who_is_meant() {
        let both = ImdsSpec::default();
        let one = ImdsSpec { system: None, ..both.clone() };
        assert_eq!(told(&one, ""), ImdsSpec::ASSIGNED);
        let second = ManagedIdentity { client: "x".to_owned(), ..one.assigned[0].clone() };
        let two = ImdsSpec { assigned: vec![one.assigned[0].clone(), second], ..one.clone() };
        assert!(told(&two, "").starts_with("Multiple user assigned identities exist"));
        let none = ImdsSpec { assigned: Vec::new(), ..one };
        assert_eq!(told(&none, ""), "Identity not found");
    }
}
