//! Which part of the service a path leads to. Pure.
//!
//! Three forms: `/openai/deployments/{deployment}/…?api-version=`, `/openai/{collection}…?api-version=` and
//! `/openai/v1/…`. What is no question to a model is a resource, and the store knows which of those there are.

use crate::mock::refusal::Refusal;
use http::{Method, Uri};

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A question to a model. Without a deployment in the path, the body names it.
    Ask(Surface, Option<String>),
    /// `/openai/models`: what can be deployed.
    Catalogue,
    /// `/openai/v1/models`: what is deployed.
    Models,
    /// `/openai/v1/models/{id}`.
    Model(String),
    /// `/openai/realtime` or `/openai/v1/realtime`, and the model that the query names.
    Realtime(Option<String>),
    /// Something that is kept here: the parts of its path below `/openai` or `/openai/v1`.
    Resource(Vec<String>),
}

/// The kinds of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Images,
    ImageEdits,
    Transcription,
    Translation,
    Speech,
}

/// The value of a query's key, decoded.
pub(super) fn query_value(uri: &Uri, key: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| name == key && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

/// Where a request goes.
pub(super) fn route(method: &Method, uri: &Uri) -> Result<Route, Refusal> {
    let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let versioned = query_value(uri, "api-version").is_some();
    let get = *method == Method::GET;
    let found = match segments.as_slice() {
        ["openai", "v1", "models"] if get => Some(Route::Models),
        ["openai", "v1", "models", id] if get => Some(Route::Model((*id).to_owned())),
        ["openai", "v1", "realtime"] if get => Some(Route::Realtime(query_value(uri, "model"))),
        ["openai", "v1", rest @ ..] => Some(below(method, rest)),
        ["openai", "deployments", deployment, surface @ ..] if versioned => (*method
            == Method::POST)
            .then(|| deployed(surface))
            .flatten()
            .map(|surface| Route::Ask(surface, Some((*deployment).to_owned()))),
        ["openai", "models"] if versioned && get => Some(Route::Catalogue),
        ["openai", "realtime"] if versioned && get => {
            Some(Route::Realtime(query_value(uri, "deployment")))
        }
        // Only questions of the v1 form and of deployments exist without the version.
        ["openai", rest @ ..] if versioned && deployed(rest).is_none() => Some(below(method, rest)),
        _ => None,
    };
    found.ok_or_else(Refusal::no_resource)
}

fn below(method: &Method, segments: &[&str]) -> Route {
    let surface = match segments {
        ["responses"] => Some(Surface::Responses),
        _ => deployed(segments),
    };
    match surface {
        Some(surface) if *method == Method::POST => Route::Ask(surface, None),
        _ => Route::Resource(segments.iter().map(|segment| (*segment).to_owned()).collect()),
    }
}

/// What can be asked of a deployment in the path.
fn deployed(segments: &[&str]) -> Option<Surface> {
    match segments {
        ["chat", "completions"] => Some(Surface::Chat),
        ["completions"] => Some(Surface::Completions),
        ["embeddings"] => Some(Surface::Embeddings),
        ["images", "generations"] => Some(Surface::Images),
        ["images", "edits"] => Some(Surface::ImageEdits),
        ["audio", "transcriptions"] => Some(Surface::Transcription),
        ["audio", "translations"] => Some(Surface::Translation),
        ["audio", "speech"] => Some(Surface::Speech),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::mock::route::{Route, Surface, route};
    use http::Method;

    #[test]
    fn all_url_forms_lead_to_the_surfaces() {
        let check = |method: Method, uri: &str, expected: Option<Route>| {
            assert_eq!(route(&method, &uri.parse().unwrap()).ok(), expected, "{method} {uri}");
        };
        let deployed = |surface| Some(Route::Ask(surface, Some("d".to_owned())));
        let resource = |parts: &[&str]| {
            Some(Route::Resource(parts.iter().map(|part| (*part).to_owned()).collect()))
        };
        let chat = "/openai/deployments/d/chat/completions";
        check(Method::POST, &format!("{chat}?api-version=1"), deployed(Surface::Chat));
        check(
            Method::POST,
            "/openai/deployments/d/embeddings?x=1&api-version=1",
            deployed(Surface::Embeddings),
        );
        check(Method::POST, chat, None);
        check(Method::POST, &format!("{chat}?api-version="), None);
        check(Method::POST, "/openai/deployments/d/responses?api-version=1", None);
        check(Method::POST, "/openai/v1/completions", Some(Route::Ask(Surface::Completions, None)));
        check(
            Method::POST,
            "/openai/responses?api-version=1",
            Some(Route::Ask(Surface::Responses, None)),
        );
        check(Method::POST, "/openai/chat/completions?api-version=1", None);
        check(Method::GET, "/openai/v1/chat/completions", resource(&["chat", "completions"]));
        check(Method::GET, "/openai/v1/models/m", Some(Route::Model("m".to_owned())));
        check(Method::GET, "/openai/models?api-version=1", Some(Route::Catalogue));
        check(Method::GET, "/openai/files/f", None);
        check(Method::GET, "/openai/files/f?api-version=1", resource(&["files", "f"]));
        let named = Some(Route::Realtime(Some("m x".to_owned())));
        check(Method::GET, "/openai/v1/realtime?model=m%20x", named);
    }
}
