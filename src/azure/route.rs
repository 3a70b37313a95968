//! Which of Azure OpenAI's operations a request target asks for.
//!
//! The target is parsed once, from the raw bytes, and everything later (permission, choice of a backend, the
//! upstream target) uses this parsed value and never the text again: two readings of one path are how checks
//! are walked around. So nothing is normalised. Whatever two readers might resolve differently (dot
//! segments, `//`, an encoded slash, a backslash, a fragment) is refused, and the upstream target is written
//! anew from the parts, with `api-version` as the only query key that crosses.
//!
//! Paths and the need for `api-version`: Microsoft's data plane reference, in its two forms
//! `/openai/deployments/{deployment}/…?api-version=…` and `/openai/v1/…` (the model is in the body). What is
//! stateful on one resource (responses, files, assistants, batches) is not served: a second request for it
//! could land on another resource.

use http::Method;
use std::borrow::Cow;

/// Longest deployment name or API version that is taken; Azure's own limit for deployment names.
const NAME_BYTES_MAX: usize = 64;

/// What a request asks a model to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Chat completions, streamed or not.
    ChatCompletions,
    /// Legacy completions, streamed or not.
    Completions,
    /// Embeddings.
    Embeddings,
    /// A new response of the Responses API, streamed or not.
    Responses,
    /// Pictures: made, edited or varied.
    Images,
    /// Speech to text: transcriptions and translations.
    Transcriptions,
    /// Text to speech.
    Speech,
    /// The list of the models that an app may use, or one of them. Answered here.
    Models,
    /// A conversation over a WebSocket.
    Realtime,
    /// Anything else that lives on one resource: by its id, as a list, or to be made.
    Resource,
}

impl Operation {
    /// The method that the operation is asked for with; the value of `Allow` when another one is used.
    pub fn method(self) -> Method {
        match self {
            Self::Models | Self::Realtime => Method::GET,
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::Responses
            | Self::Images
            | Self::Transcriptions
            | Self::Speech
            | Self::Resource => Method::POST,
        }
    }

    /// Whether a stream of it begins with a first content token that tells how fast its target is.
    pub fn is_generated(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Completions | Self::Responses)
    }

    /// The last part of the operation's path.
    fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Models => "/models",
            Self::Responses => "/responses",
            Self::Images => "/images/generations",
            Self::Transcriptions => "/audio/transcriptions",
            Self::Speech => "/audio/speech",
            Self::Realtime => "/realtime",
            Self::Resource => "",
        }
    }

    fn of_segments(segments: &[&str]) -> Option<Self> {
        match segments {
            ["chat", "completions"] => Some(Self::ChatCompletions),
            ["completions"] => Some(Self::Completions),
            ["embeddings"] => Some(Self::Embeddings),
            _ => None,
        }
    }
}

/// Which of Azure's URL forms a target is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/openai/deployments/{deployment}/…`: the path names what answers.
    Deployment(String),
    /// `/openai/v1/…`: the body's `model` names what answers.
    V1,
    /// `/openai/models…`: about the resource, not about one deployment.
    Resource,
}

/// A request target, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What is asked for.
    pub operation: Operation,
    /// How it was written.
    pub form: Form,
    /// Which base model, for one entry of [`Operation::Models`].
    pub model_id: Option<String>,
    /// The `api-version` of the query.
    pub api_version: Option<String>,
}

/// Why a request target is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No such path.
    #[error("no such path")]
    NotFound,
    /// The deployment and resource forms exist only with an `api-version`.
    #[error("api-version is missing")]
    MissingApiVersion,
    /// The path exists, for another method.
    #[error("method not allowed; use {allow}")]
    MethodNotAllowed {
        /// The value of the `Allow` header.
        allow: &'static str,
    },
    /// The target could be read in two ways, or not at all.
    #[error("bad path: {0}")]
    BadPath(&'static str),
    /// `api-key` in the query: URLs end up in logs and histories.
    #[error("api-key in the query")]
    CredentialInQuery,
}

/// Reads a request target in origin form.
///
/// # Examples
///
/// ```
/// use firstlight::azure::route::{Operation, route};
///
/// let route = route(&http::Method::POST, "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21")?;
/// assert_eq!(route.operation, Operation::ChatCompletions);
/// assert_eq!(
///     route.upstream_path_and_query("mini-prod"),
///     "/openai/deployments/mini-prod/chat/completions?api-version=2024-10-21"
/// );
/// # Ok::<(), firstlight::azure::route::RouteError>(())
/// ```
pub fn route(method: &Method, path_and_query: &str) -> Result<Route, RouteError> {
    check_characters(path_and_query)?;
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let segments = segments(path)?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let (operation, form, model_id) = parse_path(&segments)?;
    let api_version = api_version(query)?;
    if *method != operation.method() {
        let allow = if operation == Operation::Models { "GET" } else { "POST" };
        return Err(RouteError::MethodNotAllowed { allow });
    }
    if api_version.is_none() && form != Form::V1 {
        return Err(RouteError::MissingApiVersion);
    }
    Ok(Route { operation, form, model_id, api_version })
}

impl Route {
    /// The target to ask a backend for, where the model is called `deployment`.
    ///
    /// In the v1 form the deployment stands in the body instead: see
    /// [`with_model`](crate::azure::peek::with_model).
    pub fn upstream_path_and_query(&self, deployment: &str) -> String {
        let mut target = match &self.form {
            Form::Deployment(_) => format!("/openai/deployments/{}", percent_encode(deployment)),
            Form::V1 => String::from("/openai/v1"),
            Form::Resource => String::from("/openai"),
        };
        target.push_str(self.operation.path());
        if let Some(id) = &self.model_id {
            target.push('/');
            target.push_str(&percent_encode(id));
        }
        if let Some(version) = &self.api_version {
            target.push_str("?api-version=");
            target.push_str(&percent_encode(version));
        }
        target
    }

    /// The path with its names left out, for metric labels and the access log.
    pub fn path_template(&self) -> &'static str {
        match (&self.form, self.operation, &self.model_id) {
            (Form::Deployment(_), Operation::ChatCompletions, _) => {
                "/openai/deployments/{deployment}/chat/completions"
            }
            (Form::Deployment(_), Operation::Completions, _) => {
                "/openai/deployments/{deployment}/completions"
            }
            (Form::Deployment(_), Operation::Embeddings, _) => {
                "/openai/deployments/{deployment}/embeddings"
            }
            (Form::V1 | Form::Resource, Operation::ChatCompletions, _) => {
                "/openai/v1/chat/completions"
            }
            (Form::V1 | Form::Resource, Operation::Completions, _) => "/openai/v1/completions",
            (Form::V1 | Form::Resource, Operation::Embeddings, _) => "/openai/v1/embeddings",
            (Form::V1, Operation::Models, None) => "/openai/v1/models",
            (Form::V1, Operation::Models, Some(_)) => "/openai/v1/models/{model}",
            (Form::Resource | Form::Deployment(_), Operation::Models, None) => "/openai/models",
            (Form::Resource | Form::Deployment(_), Operation::Models, Some(_)) => {
                "/openai/models/{model}"
            }
            _ => "/openai/v1/...",
        }
    }
}

fn parse_path(segments: &[&str]) -> Result<(Operation, Form, Option<String>), RouteError> {
    match segments {
        ["openai", "v1", "models"] => Ok((Operation::Models, Form::V1, None)),
        ["openai", "v1", "models", id] => Ok((Operation::Models, Form::V1, Some(name(id)?))),
        ["openai", "models"] => Ok((Operation::Models, Form::Resource, None)),
        ["openai", "models", id] => Ok((Operation::Models, Form::Resource, Some(name(id)?))),
        ["openai", "v1", rest @ ..] => {
            let operation = Operation::of_segments(rest).ok_or(RouteError::NotFound)?;
            Ok((operation, Form::V1, None))
        }
        ["openai", "deployments", deployment, rest @ ..] => {
            let operation = Operation::of_segments(rest).ok_or(RouteError::NotFound)?;
            Ok((operation, Form::Deployment(name(deployment)?), None))
        }
        _ => Err(RouteError::NotFound),
    }
}

/// Refuses what no path may hold in any reading: only then is it split and decoded.
fn check_characters(target: &str) -> Result<(), RouteError> {
    if target == "*" {
        return Err(RouteError::NotFound);
    }
    let bad = target.bytes().find_map(|byte| match byte {
        b'\\' => Some("a backslash"),
        b'#' => Some("a fragment"),
        0x80.. => Some("a character outside ASCII; percent-encode it"),
        0..=b' ' | 0x7f => Some("a space or control character"),
        _ => None,
    });
    match bad {
        Some(what) => Err(RouteError::BadPath(what)),
        None if target.starts_with('/') => Ok(()),
        None => Err(RouteError::BadPath("a missing slash at its beginning")),
    }
}

/// The parts of a path, decoded once, each of them a plain name.
fn segments(path: &str) -> Result<Vec<Cow<'_, str>>, RouteError> {
    let segments = path.split('/').skip(1).map(|segment| {
        let decoded =
            percent_decode(segment).ok_or(RouteError::BadPath("a broken percent-encoding"))?;
        let bad = |byte: u8| matches!(byte, b'/' | b'\\' | 0..=0x1f | 0x7f..);
        match decoded.as_ref() {
            "." | ".." => Err(RouteError::BadPath("a dot segment")),
            text if text.bytes().any(bad) => {
                Err(RouteError::BadPath("an encoded slash or control character"))
            }
            _ => Ok(decoded),
        }
    });
    let segments: Vec<_> = segments.collect::<Result<_, _>>()?;
    // The last part may be empty: that is a trailing slash, and no path that is served ends with one.
    let inner = segments.split_last().map_or_else(Default::default, |(_, inner)| inner);
    if inner.iter().any(|segment| segment.is_empty()) {
        return Err(RouteError::BadPath("an empty segment"));
    }
    Ok(segments)
}

/// A deployment, model or version as Azure allows it.
fn name(text: &str) -> Result<String, RouteError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(allowed) {
        return Err(RouteError::BadPath(
            "a name that is not 1 to 64 letters, digits, dots, underscores or hyphens",
        ));
    }
    Ok(text.to_owned())
}

/// The API version of a query; other keys are passed over, for they do not cross.
fn api_version(query: &str) -> Result<Option<String>, RouteError> {
    let mut version = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // A key that does not decode is none of ours.
        let key = percent_decode(key).unwrap_or_default();
        if key.eq_ignore_ascii_case("api-key") {
            return Err(RouteError::CredentialInQuery);
        }
        if !key.eq_ignore_ascii_case("api-version") || value.is_empty() {
            continue;
        }
        if version.is_some() {
            return Err(RouteError::BadPath("api-version given twice"));
        }
        let value =
            percent_decode(value).ok_or(RouteError::BadPath("a broken percent-encoding"))?;
        version = Some(
            name(&value).map_err(|_| RouteError::BadPath("an api-version that cannot exist"))?,
        );
    }
    Ok(version)
}

/// Decodes once and strictly: every `%` is followed by two digits, and the result is ASCII.
fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let (byte, after) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => (hex_digit(*high)? << 4 | hex_digit(*low)?, after),
            (b'%', _) => return None,
            _ => (*byte, after),
        };
        decoded.push(char::from(byte));
        rest = after;
    }
    Some(Cow::Owned(decoded))
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Names from the configuration need it even if Azure's own never do.
fn percent_encode(text: &str) -> Cow<'_, str> {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~');
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let encode =
        |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    Cow::Owned(text.bytes().map(encode).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";

    fn check(method: &Method, target: &str, expected: Result<&str, RouteError>) {
        let upstream =
            route(method, target).map(|route| route.upstream_path_and_query("on-backend"));
        assert_eq!(upstream.as_deref().map_err(|error| *error), expected, "{method} {target}");
    }

    fn check_bad(target: &str) {
        let refused = route(&Method::POST, target);
        assert!(matches!(refused, Err(RouteError::BadPath(_))), "{target}: {refused:?}");
    }

    #[test]
    fn both_forms_of_every_operation_are_served() {
        let version = "?api-version=2024-10-21";
        for operation in ["chat/completions", "completions", "embeddings"] {
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
    fn a_template_is_the_path_without_its_names() {
        let template = |method, target| route(&method, target).unwrap().path_template();
        assert_eq!(
            template(Method::POST, CHAT),
            "/openai/deployments/{deployment}/chat/completions"
        );
        assert_eq!(template(Method::POST, "/openai/v1/embeddings"), "/openai/v1/embeddings");
        assert_eq!(template(Method::GET, "/openai/v1/models/x"), "/openai/v1/models/{model}");
    }

    #[test]
    fn names_are_decoded_once() {
        let route = route(&Method::POST, &CHAT.replace("gpt-4o", "gpt%2D4%6f")).unwrap();
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
            "/openai/v1/responses",
            "/openai/v1/embeddings/",
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
        let route = route(&Method::POST, CHAT).unwrap();
        assert!(
            route
                .upstream_path_and_query("a/b ?é")
                .starts_with("/openai/deployments/a%2Fb%20%3F%C3%A9/chat")
        );
    }
}
