//! What a request asks for: its path and its body, read as Azure reads them. Pure.

use crate::mock::cache;
use crate::mock::refusal::Refusal;
use http::{Method, Uri};
use serde::Deserialize;
use serde_json::Value;

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
}

/// The kinds of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    Chat,
    Completions,
    Embeddings,
}

/// A question to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) surface: Surface,
    pub(super) deployment: String,
    pub(super) delivery: Delivery,
    pub(super) max_tokens: Option<u32>,
    pub(super) max_completion_tokens: Option<u32>,
    /// The function that the answer has to call.
    pub(super) tool: Option<String>,
    pub(super) prompt_tokens: u32,
    /// What its prompt is found by in a cache.
    pub(super) prefix: Option<u64>,
    /// How many texts are to be embedded.
    pub(super) inputs: usize,
    pub(super) encoding: Encoding,
}

/// How the answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    Stream,
    StreamWithUsage,
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    #[default]
    Float,
    Base64,
}

/// A prompt with these words is refused by the content filter.
const FILTERED: &[u8] = b"trigger content filter";

/// As many texts are embedded at once.
const INPUTS_MAX: usize = 2_048;

/// Where a request goes.
pub(super) fn route(method: &Method, uri: &Uri) -> Result<Route, Refusal> {
    let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let query = uri.query().unwrap_or_default();
    let versioned = query
        .split('&')
        .any(|pair| pair.strip_prefix("api-version=").is_some_and(|version| !version.is_empty()));
    let found = match (method.as_str(), segments.as_slice()) {
        ("POST", ["openai", "v1", surface @ ..]) => {
            surface_of(surface).map(|surface| Route::Ask(surface, None))
        }
        ("GET", ["openai", "v1", "models"]) => Some(Route::Models),
        ("GET", ["openai", "v1", "models", id]) => Some(Route::Model((*id).to_owned())),
        ("POST", ["openai", "deployments", deployment, surface @ ..]) if versioned => {
            surface_of(surface).map(|surface| Route::Ask(surface, Some((*deployment).to_owned())))
        }
        ("GET", ["openai", "models"]) if versioned => Some(Route::Catalogue),
        _ => None,
    };
    found.ok_or_else(Refusal::no_resource)
}

fn surface_of(segments: &[&str]) -> Option<Surface> {
    match segments {
        ["chat", "completions"] => Some(Surface::Chat),
        ["completions"] => Some(Surface::Completions),
        ["embeddings"] => Some(Surface::Embeddings),
        _ => None,
    }
}

/// The fields of a body that matter here; others are allowed.
#[derive(Deserialize)]
struct Fields {
    model: Option<String>,
    messages: Option<Vec<Value>>,
    prompt: Option<Value>,
    input: Option<Value>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    encoding_format: Option<Encoding>,
    prompt_cache_key: Option<String>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// Reads a body. `deployment` is the one of the path.
pub(super) fn ask(
    surface: Surface,
    deployment: Option<String>,
    body: &[u8],
) -> Result<Ask, Refusal> {
    let fields: Fields =
        serde_json::from_slice(body).map_err(|error| Refusal::bad_json(&error.to_string()))?;
    let deployment =
        deployment.or_else(|| fields.model.clone()).ok_or_else(|| Refusal::missing("model"))?;
    let inputs = checked_content(surface, &fields)?;
    if memchr::memmem::find(body, FILTERED).is_some() {
        return Err(Refusal::content_filter());
    }
    Ok(Ask {
        surface,
        deployment,
        delivery: delivery(surface, &fields),
        max_tokens: fields.max_tokens,
        max_completion_tokens: fields.max_completion_tokens,
        tool: required_tool(&fields),
        // Four bytes make a token, more or less.
        prompt_tokens: u32::try_from(body.len() / 4).unwrap_or(u32::MAX),
        prefix: cache::prefix(fields.messages.as_deref(), fields.prompt_cache_key.as_deref()),
        inputs,
        encoding: fields.encoding_format.unwrap_or_default(),
    })
}

/// Sees that there is something to answer; gives the number of texts to embed.
fn checked_content(surface: Surface, fields: &Fields) -> Result<usize, Refusal> {
    match surface {
        Surface::Chat if fields.messages.is_none() => Err(Refusal::missing("messages")),
        Surface::Completions if fields.prompt.is_none() => Err(Refusal::missing("prompt")),
        Surface::Chat | Surface::Completions => Ok(0),
        Surface::Embeddings => {
            let inputs = inputs(fields.input.as_ref().ok_or_else(|| Refusal::missing("input"))?);
            if inputs > INPUTS_MAX {
                return Err(Refusal::invalid_value(
                    "input",
                    "Too many inputs. The max number of inputs is 2048.",
                ));
            }
            Ok(inputs)
        }
    }
}

/// A text or one list of token numbers is one input; a list of those is several.
fn inputs(input: &Value) -> usize {
    match input.as_array() {
        Some(items) if !items.first().is_some_and(Value::is_number) => items.len(),
        Some(_) | None => 1,
    }
}

fn delivery(surface: Surface, fields: &Fields) -> Delivery {
    let usage = fields.stream_options.as_ref().and_then(|options| options.include_usage);
    match (surface, fields.stream, usage) {
        (Surface::Embeddings, _, _) | (_, None | Some(false), _) => Delivery::Whole,
        (_, Some(true), Some(true)) => Delivery::StreamWithUsage,
        (_, Some(true), None | Some(false)) => Delivery::Stream,
    }
}

/// The first tool, if the model may not choose to answer in words.
fn required_tool(fields: &Fields) -> Option<String> {
    let first = fields.tools.as_ref()?.first()?;
    let choice = fields.tool_choice.as_ref()?;
    let required = choice.as_str() == Some("required") || choice.is_object();
    let name = first.pointer("/function/name")?.as_str()?;
    required.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::mock::ask::{Delivery, Route, Surface, ask, route};
    use http::Method;

    #[test]
    fn both_url_forms_lead_to_the_surfaces() {
        let check = |method: Method, uri: &str, expected: Option<Route>| {
            assert_eq!(route(&method, &uri.parse().unwrap()).ok(), expected, "{method} {uri}");
        };
        let deployed = |surface| Some(Route::Ask(surface, Some("d".to_owned())));
        check(
            Method::POST,
            "/openai/deployments/d/chat/completions?api-version=1",
            deployed(Surface::Chat),
        );
        check(
            Method::POST,
            "/openai/deployments/d/embeddings?x=1&api-version=1",
            deployed(Surface::Embeddings),
        );
        check(Method::POST, "/openai/deployments/d/chat/completions", None);
        check(Method::POST, "/openai/deployments/d/chat/completions?api-version=", None);
        check(Method::POST, "/openai/v1/completions", Some(Route::Ask(Surface::Completions, None)));
        check(Method::GET, "/openai/v1/chat/completions", None);
        check(Method::GET, "/openai/v1/models/m", Some(Route::Model("m".to_owned())));
        check(Method::GET, "/openai/models?api-version=1", Some(Route::Catalogue));
    }

    #[test]
    fn a_body_says_how_it_is_answered() {
        let check = |body: &str, delivery: Delivery, tool: Option<&str>| {
            let ask = ask(Surface::Chat, Some("d".to_owned()), body.as_bytes()).unwrap();
            assert_eq!((ask.delivery, ask.tool.as_deref()), (delivery, tool), "{body}");
        };
        check(r#"{"messages":[]}"#, Delivery::Whole, None);
        check(r#"{"messages":[],"stream":true}"#, Delivery::Stream, None);
        check(
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
            Delivery::StreamWithUsage,
            None,
        );
        let tools = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
        check(
            &format!(r#"{{"messages":[],{tools},"tool_choice":"required"}}"#),
            Delivery::Whole,
            Some("f"),
        );
        check(&format!(r#"{{"messages":[],{tools},"tool_choice":"auto"}}"#), Delivery::Whole, None);
    }

    #[test]
    fn inputs_are_texts_and_lists_of_token_numbers() {
        let check = |input: &str, expected: usize| {
            let body = format!(r#"{{"model":"e","input":{input}}}"#);
            assert_eq!(
                ask(Surface::Embeddings, None, body.as_bytes()).unwrap().inputs,
                expected,
                "{input}"
            );
        };
        check(r#""one""#, 1);
        check(r#"["one","two"]"#, 2);
        check("[1,2,3]", 1);
        check("[[1,2],[3]]", 2);
    }
}
