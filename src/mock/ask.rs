//! What a request asks of a model: its body, read as Azure reads it. Pure.
//!
//! Chat, completions and embeddings are read into the few fields that matter, since they are asked for by the
//! thousand ([`ask`]). The other surfaces answer out of the whole body, JSON or multipart ([`wide_ask`]).

use crate::mock::cache;
use crate::mock::fields::Body;
use crate::mock::refusal::Refusal;
use crate::mock::route::Surface;
use serde::Deserialize;
use serde_json::{Value, json};

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
    /// All that a surface with a wide body was asked, and of a chat that is to be kept; null for the others.
    pub(super) fields: Value,
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
    store: Option<bool>,
    metadata: Option<Value>,
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
        fields: match (surface, fields.store) {
            (Surface::Chat, Some(true)) => {
                json!({"messages": fields.messages, "metadata": fields.metadata})
            }
            _ => Value::Null,
        },
    })
}

/// Reads the body of a surface that answers out of all of it.
pub(super) fn wide_ask(
    surface: Surface,
    deployment: Option<String>,
    body: Body,
) -> Result<Ask, Refusal> {
    let (file_bytes, fields) = (body.file_bytes(), body.fields);
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let deployment =
        deployment.or_else(|| text("model")).ok_or_else(|| Refusal::missing("model"))?;
    if let Some(missing) = missing(surface, &fields) {
        return Err(Refusal::missing(missing));
    }
    let bytes = fields.to_string();
    if memchr::memmem::find(bytes.as_bytes(), FILTERED).is_some() {
        return Err(Refusal::content_filter());
    }
    let most = fields.get("max_output_tokens").and_then(Value::as_u64);
    let streamed = fields.get("stream") == Some(&Value::Bool(true))
        || fields.get("stream_format").and_then(Value::as_str) == Some("sse");
    let binary = surface == Surface::Speech;
    Ok(Ask {
        surface,
        deployment,
        delivery: if streamed || binary { Delivery::StreamWithUsage } else { Delivery::Whole },
        max_tokens: None,
        max_completion_tokens: most.and_then(|most| u32::try_from(most).ok()),
        tool: wide_tool(&fields),
        prompt_tokens: u32::try_from((bytes.len() + file_bytes) / 4).unwrap_or(u32::MAX),
        prefix: cache::prefix(
            fields.get("input").and_then(Value::as_array).map(Vec::as_slice),
            fields.get("prompt_cache_key").and_then(Value::as_str),
        ),
        inputs: 0,
        encoding: Encoding::Float,
        fields,
    })
}

/// The first field that a surface cannot do without and has not got.
fn missing(surface: Surface, fields: &Value) -> Option<&'static str> {
    let needed: &[&'static str] = match surface {
        Surface::Images => &["prompt"],
        Surface::ImageEdits => &["prompt", "image"],
        Surface::Transcription | Surface::Translation => &["file"],
        Surface::Speech => &["input", "voice"],
        Surface::Responses | Surface::Chat | Surface::Completions | Surface::Embeddings => &[],
    };
    needed.iter().copied().find(|name| fields.get(name).is_none())
}

/// The first function, if a response may not answer in words.
fn wide_tool(fields: &Value) -> Option<String> {
    let choice = fields.get("tool_choice")?;
    let required = choice.as_str() == Some("required") || choice.is_object();
    let named = |tool: &Value| Some(tool.get("name")?.as_str()?.to_owned());
    // A tool output in the input is what a required call was made for: now there are words.
    let answered = fields.get("input").and_then(Value::as_array).is_some_and(|items| {
        items
            .iter()
            .any(|item| item.get("type").and_then(Value::as_str) == Some("function_call_output"))
    });
    fields.get("tools")?.as_array()?.iter().find_map(named).filter(|_| required && !answered)
}

/// Sees that there is something to answer; gives the number of texts to embed.
fn checked_content(surface: Surface, fields: &Fields) -> Result<usize, Refusal> {
    match surface {
        Surface::Chat if fields.messages.is_none() => Err(Refusal::missing("messages")),
        Surface::Completions if fields.prompt.is_none() => Err(Refusal::missing("prompt")),
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
        Surface::Chat
        | Surface::Completions
        | Surface::Responses
        | Surface::Images
        | Surface::ImageEdits
        | Surface::Transcription
        | Surface::Translation
        | Surface::Speech => Ok(0),
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
    use crate::mock::ask::{Delivery, ask};
    use crate::mock::route::Surface;

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
