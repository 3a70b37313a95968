//! Which of Azure OpenAI's operations a request target asks for.
//!
//! The target is parsed once, from the raw bytes, and everything later (permission, choice of a backend, the
//! upstream target) uses this parsed value and never the text again. The upstream target is written anew from its
//! parts.
//!
//! Paths and the need for `api-version`: Microsoft's data plane reference, in its forms
//! `/openai/deployments/{deployment}/...?api-version=...`, `/openai/v1/...` (the model is in the body) and
//! `/openai/{collection}...?api-version=...`. Clients that only know OpenAI say `/v1/...`, which is the second.

use crate::azure::ids::is_made;
pub use crate::azure::operation::Operation;
use crate::azure::path::{check_characters, name, percent_encode, segments};
pub use crate::azure::query::Query;
pub use crate::azure::route_error::RouteError;
use crate::azure::surface::{self, Prefix};
use http::Method;
use std::borrow::Cow;

/// Which of Azure's URL forms a target is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/openai/deployments/{deployment}/...`: the path names what answers.
    Deployment(String),
    /// `/openai/v1/...` or `/v1/...`: the body's `model` names what answers.
    V1,
    /// `/openai/{collection}...`: the same, with an `api-version`.
    Resource,
}

/// A request target, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What is asked for.
    pub operation: Operation,
    /// How.
    pub method: Method,
    /// How it was written.
    pub form: Form,
    /// The query, as far as it crosses.
    pub query: Query,
    /// The path with its names left out, for metric labels and the access log.
    pub template: Cow<'static, str>,
    /// The path below the form's prefix, decoded.
    tail: Vec<String>,
}

/// Reads a request target in origin form. `more` are the operator's own families of paths.
///
/// # Examples
///
/// ```
/// use firstlight::azure::route::{Operation, route};
///
/// let target = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
/// let route = route(&http::Method::POST, target, &[])?;
/// assert_eq!(route.operation, Operation::ChatCompletions);
/// assert_eq!(
///     route.upstream_path_and_query("mini-prod"),
///     "/openai/deployments/mini-prod/chat/completions?api-version=2024-10-21"
/// );
/// # Ok::<(), firstlight::azure::route::RouteError>(())
/// ```
pub fn route(method: &Method, path_and_query: &str, more: &[String]) -> Result<Route, RouteError> {
    check_characters(path_and_query)?;
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let segments = segments(path)?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let (form, prefix, tail) = match segments.as_slice() {
        ["openai", "v1", tail @ ..] | ["v1", tail @ ..] => (Form::V1, Prefix::V1, tail),
        ["openai", "deployments", deployment, tail @ ..] => {
            (Form::Deployment(name(deployment)?), Prefix::Deployment, tail)
        }
        ["openai", tail @ ..] => (Form::Resource, Prefix::Resource, tail),
        _ => return Err(RouteError::NotFound),
    };
    let place = surface::find(method, prefix, tail, more).ok_or(RouteError::NotFound)?;
    // A reader behind us that trims or decodes once more must not see another id.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=~".contains(&byte);
    if tail.iter().any(|part| !part.bytes().all(plain) || part.ends_with('.')) {
        return Err(RouteError::BadPath("a part that is not letters, digits or plain signs"));
    }
    let query = Query::read(query, place.operation)?;
    place.operation.check(method)?;
    if query.api_version.is_none() && form != Form::V1 {
        return Err(RouteError::MissingApiVersion);
    }
    Ok(Route {
        operation: place.operation,
        method: method.clone(),
        form,
        query,
        template: place.template,
        tail: tail.iter().map(|&part| part.to_owned()).collect(),
    })
}

impl Route {
    /// The target to ask a backend for, where the model is called `deployment`.
    ///
    /// Where the body names the model, the deployment stands there instead: see
    /// [`Edit`](crate::azure::edit::Edit).
    pub fn upstream_path_and_query(&self, deployment: &str) -> String {
        let mut target = match &self.form {
            Form::Deployment(_) => format!("/openai/deployments/{}", percent_encode(deployment)),
            Form::V1 => String::from("/openai/v1"),
            Form::Resource => String::from("/openai"),
        };
        for part in &self.tail {
            target.push('/');
            target.push_str(&percent_encode(part));
        }
        let key = if self.form == Form::V1 { "model" } else { "deployment" };
        let model = (self.operation == Operation::Realtime).then_some((key, deployment));
        self.query.write(&mut target, model);
        target
    }

    /// The target to delete a response at that was made by this request.
    pub fn deletion_of(&self, response: &str) -> String {
        let prefix = if self.form == Form::V1 { "/openai/v1" } else { "/openai" };
        let version = self.query.api_version.as_deref();
        let version = version.map(|v| format!("?api-version={}", percent_encode(v)));
        let version = version.unwrap_or_default();
        format!("{prefix}/responses/{}{version}", percent_encode(response))
    }

    /// The first part of the path below the prefix.
    pub fn family(&self) -> &str {
        self.tail.first().map_or("", String::as_str)
    }

    /// Whether it asks for the content of a file, which says nothing of us.
    pub fn is_content(&self) -> bool {
        self.tail.len() > 1 && self.tail.last().is_some_and(|part| part == "content")
    }

    /// Whether what it asks for on a resource is told in JSON objects: not contents, nor the calls of a conversation, nor
    /// what the operator added.
    pub(super) fn tells_of_objects(&self) -> bool {
        let is_raw = |part: &String| part == "content" || part == "thumbnail";
        let family = self.family();
        surface::is_known(family) && family != "realtime" && !self.tail.iter().any(is_raw)
    }

    /// The ids in the path. Below what the operator added, nobody knows the words.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let kept = self.operation == Operation::Resource;
        let known = surface::is_known(self.family());
        let behind = self.tail.iter().skip(1).map(String::as_str);
        behind
            .filter(move |part| kept && surface::is_id(part) && (known || is_made(part.as_bytes())))
    }

    /// The model of `/models/{model}`.
    pub fn model_id(&self) -> Option<&str> {
        let models = self.operation == Operation::Models;
        self.tail.get(1).filter(|_| models).map(String::as_str)
    }

    /// Whether it asks for a list of what a resource holds.
    pub fn is_list(&self) -> bool {
        self.operation == Operation::Resource
            && self.method == Method::GET
            && self.ids().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";

    fn check(method: &Method, target: &str, expected: Result<&str, RouteError>) {
        let upstream =
            route(method, target, &[]).map(|route| route.upstream_path_and_query("on-backend"));
        assert_eq!(upstream.as_deref().map_err(|error| *error), expected, "{method} {target}");
    }

    fn check_bad(target: &str) {
        let refused = route(&Method::POST, target, &[]);
        assert!(matches!(refused, Err(RouteError::BadPath(_))), "{target}: {refused:?}");
    }

    #[test]
    fn both_forms_of_every_operation_are_served() {
        let version = "?api-version=2024-10-21";
        for operation in
            ["chat/completions", "completions", "embeddings", "images/edits", "audio/speech"]
        {
            let asked = format!("/openai/deployments/gpt-4o/{operation}{version}");
            let sent = format!("/openai/deployments/on-backend/{operation}{version}");
            check(&Method::POST, &asked, Ok(&sent));
            let v1 = format!("/openai/v1/{operation}");
            check(&Method::POST, &v1, Ok(&v1));
            check(
                &Method::POST,
                &format!("{v1}?api-version=preview"),
                Ok(&format!("{v1}?api-version=preview")),
            );
            check(&Method::POST, &format!("/v1/{operation}"), Ok(&v1));
            check(
                &Method::POST,
                &format!("/openai/{operation}{version}"),
                Ok(&format!("/openai/{operation}{version}")),
            );
        }
        check(&Method::GET, "/openai/v1/models", Ok("/openai/v1/models"));
        check(&Method::GET, "/openai/v1/models/gpt-4o", Ok("/openai/v1/models/gpt-4o"));
        check(
            &Method::GET,
            "/openai/models?api-version=2024-10-21",
            Ok("/openai/models?api-version=2024-10-21"),
        );
        check(&Method::GET, "/openai/models", Err(RouteError::MissingApiVersion));
    }

    #[test]
    fn a_response_is_deleted_in_the_form_in_which_it_was_made() {
        let check = |target: &str, expected: &str| {
            let route = route(&Method::POST, target, &[]).unwrap();
            assert_eq!(route.deletion_of("resp_0123456789abcdef"), expected, "{target}");
        };
        let v1 = "/openai/v1/responses/resp_0123456789abcdef";
        check("/openai/v1/responses", v1);
        check("/v1/responses?stream=true", v1);
        check("/openai/v1/responses?api-version=preview", &format!("{v1}?api-version=preview"));
        let version = "api-version=2025-04-01-preview";
        let expected = format!("/openai/responses/resp_0123456789abcdef?{version}");
        check(&format!("/openai/responses?{version}&x=1"), &expected);
    }

    #[test]
    fn a_template_is_the_path_without_its_names() {
        let template = |method, target| route(&method, target, &[]).unwrap().template;
        assert_eq!(
            template(Method::POST, CHAT),
            "/openai/deployments/{deployment}/chat/completions"
        );
        assert_eq!(template(Method::POST, "/openai/v1/embeddings"), "/openai/v1/embeddings");
        assert_eq!(template(Method::GET, "/openai/v1/models/x"), "/openai/v1/models/{model}");
    }

    #[test]
    fn names_are_decoded_once() {
        let route = route(&Method::POST, &CHAT.replace("gpt-4o", "gpt%2D4%6f"), &[]).unwrap();
        assert_eq!(route.form, Form::Deployment("gpt-4o".to_owned()));
        check_bad(&CHAT.replace("gpt-4o", "gpt%252D4o"));
        check_bad(&CHAT.replace("gpt-4o", &"x".repeat(65)));
        check_bad(&CHAT.replace("gpt-4o", "gpt%204o"));
        check_bad(&CHAT.replace("gpt-4o", "gpt;4o"));
    }

    #[test]
    fn what_two_readers_may_read_differently_is_refused() {
        for target in [
            "/openai/../admin",
            "/openai/%2e%2e/admin",
            "/openai/.%2E/admin",
            "/openai/./v1/embeddings",
            "//openai/v1/embeddings",
            "/openai//v1/embeddings",
            "/openai/v1%2fembeddings",
            "/openai/v1%5Cembeddings",
            "/openai/v1\\embeddings",
            "/openai/v1/embeddings%00",
            "/openai/v1/embeddings%0d%0a",
            "/openai/v1/embeddings#x",
            "/openai/v1/embeddings?a=#x",
            "/openai/v1/embed dings",
            "/openai/v1/embeddings\u{7f}",
            "/openai/v1/\u{e9}",
            "/openai/v1/%c3%a9",
            "/openai/v1/%zz",
            "/openai/v1/%4",
            "http://other.example/openai/v1/embeddings",
            "openai/v1/embeddings",
            "",
        ] {
            check_bad(target);
        }
    }

    #[test]
    fn unknown_paths_are_not_found() {
        for target in [
            "/",
            "*",
            "/openai",
            "/openai/v1",
            "/openai/v1/moderations",
            "/openai/v1/embeddings/",
            "/v2/embeddings",
            "/x",
        ] {
            check(&Method::POST, target, Err(RouteError::NotFound));
        }
        check(
            &Method::POST,
            "/openai/deployments/gpt-4o/files?api-version=1",
            Err(RouteError::NotFound),
        );
        check(&Method::POST, "/OpenAI/v1/embeddings", Err(RouteError::NotFound));
    }

    #[test]
    fn the_query_is_rebuilt() {
        let target =
            CHAT.replace('?', "?debug=1&").replace("2024", "%32024") + "&user=x&api-version=";
        check(
            &Method::POST,
            &target,
            Ok("/openai/deployments/on-backend/chat/completions?api-version=2024-10-21"),
        );
        check(&Method::POST, CHAT.split('?').next().unwrap(), Err(RouteError::MissingApiVersion));
        check_bad(&format!("{CHAT}&api-version=2023-05-15"));
        check_bad(&CHAT.replace("2024-10-21", "a%26b=c"));
        for key in ["api-key", "API-KEY", "api%2Dkey"] {
            check(
                &Method::POST,
                &format!("{CHAT}&{key}=secret"),
                Err(RouteError::CredentialInQuery),
            );
        }
    }

    #[test]
    fn what_is_kept_on_a_resource_is_found_by_its_ids() {
        let check = |method: Method, target: &str, sent: &str, ids: &[&str]| {
            let route = route(&method, target, &[]).unwrap();
            assert_eq!(route.upstream_path_and_query("unused"), sent);
            assert_eq!(route.ids().collect::<Vec<_>>(), ids, "{target}");
        };
        let list = "/openai/v1/files?limit=2&after=file-1&order=desc";
        check(Method::GET, list, list, &[]);
        assert!(route(&Method::GET, list, &[]).unwrap().is_list());
        let old = "/openai/files/assistant-1/content?api-version=2024-10-21";
        check(Method::GET, old, old, &["assistant-1"]);
        let item = "/openai/v1/responses/resp_1/input_items?include[]=a&api-version=v1";
        check(
            Method::GET,
            item,
            "/openai/v1/responses/resp_1/input_items?api-version=v1&include[]=a",
            &["resp_1"],
        );
        check(
            Method::POST,
            "/v1/threads/t_1/runs/r_1/cancel",
            "/openai/v1/threads/t_1/runs/r_1/cancel",
            &["t_1", "r_1"],
        );
        check(
            Method::DELETE,
            "/v1/models/ft:gpt%3Aa",
            "/openai/v1/models/ft%3Agpt%3Aa",
            &["ft:gpt:a"],
        );
        check(
            Method::POST,
            "/v1/responses?model=x&beta=true",
            "/openai/v1/responses?beta=true",
            &[],
        );
    }

    #[test]
    fn a_websocket_names_its_model_in_the_query() {
        let check = |target: &str, model: Option<&str>, sent: &str| {
            let route = route(&Method::GET, target, &[]).unwrap();
            assert_eq!(route.query.model.as_deref(), model);
            assert_eq!(route.upstream_path_and_query("there"), sent);
        };
        check(
            "/v1/realtime?model=m&intent=transcription&x=1",
            Some("m"),
            "/openai/v1/realtime?model=there&intent=transcription",
        );
        check(
            "/openai/realtime?deployment=m&api-version=1",
            Some("m"),
            "/openai/realtime?api-version=1&deployment=there",
        );
        check_bad("/v1/realtime?model=a&model=b");
    }

    #[test]
    fn the_other_method_is_named() {
        check(&Method::GET, CHAT, Err(RouteError::MethodNotAllowed { allow: "POST" }));
        check(
            &Method::POST,
            "/openai/v1/models",
            Err(RouteError::MethodNotAllowed { allow: "GET" }),
        );
    }

    #[test]
    fn odd_deployment_names_of_the_configuration_are_encoded() {
        let route = route(&Method::POST, CHAT, &[]).unwrap();
        assert!(
            route
                .upstream_path_and_query("a/b ?é")
                .starts_with("/openai/deployments/a%2Fb%20%3F%C3%A9/chat")
        );
    }
}
