//! Which paths exist.
//!
//! What asks a model for something is listed one by one. What lives on a resource is known by the first part of
//! its path, its *family*: below it Azure adds operations faster than a list could follow, and where such a
//! request must go depends on the ids in its path alone. Which parts are ids and which are words is told by a
//! list of words: a word that is not in it is taken for an id that nobody knows.
//!
//! Source: the data plane reference of Azure OpenAI (v1 and 2024-10-21) and the paths of the official SDKs.

use crate::azure::operation::Operation;
use http::Method;
use std::borrow::Cow;

/// An operation of a model, with its path.
struct Listed {
    path: &'static str,
    operation: Operation,
    /// For metrics and the log, in each form.
    v1: &'static str,
    deployment: &'static str,
}

macro_rules! listed {
    ($($path:literal => $operation:ident),* $(,)?) => {
        [$(Listed {
            path: $path,
            operation: Operation::$operation,
            v1: concat!("/openai/v1/", $path),
            deployment: concat!("/openai/deployments/{deployment}/", $path),
        }),*]
    };
}

/// What models are asked for, with `POST`.
static LISTED: [Listed; 10] = listed![
    "chat/completions" => ChatCompletions,
    "completions" => Completions,
    "embeddings" => Embeddings,
    "responses" => Responses,
    "images/generations" => Images,
    "images/edits" => Images,
    "images/variations" => Images,
    "audio/transcriptions" => Transcriptions,
    "audio/translations" => Transcriptions,
    "audio/speech" => Speech,
];

/// The families of Azure OpenAI.
const FAMILIES: [&str; 16] = [
    "assistants",
    "batches",
    "chat",
    "containers",
    "conversations",
    "evals",
    "files",
    "fine_tuning",
    "models",
    "realtime",
    "responses",
    "threads",
    "uploads",
    "vector_stores",
    "video",
    "videos",
];

/// Parts of paths that are no ids.
const WORDS: [&str; 46] = [
    "accept",
    "alpha",
    "calls",
    "cancel",
    "characters",
    "checkpoints",
    "client_secrets",
    "compact",
    "complete",
    "completions",
    "content",
    "copy",
    "edits",
    "events",
    "extensions",
    "file_batches",
    "files",
    "generations",
    "graders",
    "hangup",
    "import",
    "input_items",
    "input_tokens",
    "items",
    "jobs",
    "messages",
    "output_items",
    "parts",
    "pause",
    "permissions",
    "refer",
    "reject",
    "remix",
    "resume",
    "run",
    "runs",
    "search",
    "sessions",
    "steps",
    "submit_tool_outputs",
    "thumbnail",
    "transcription_sessions",
    "translations",
    "validate",
    "versions",
    "video",
];

/// What a path below its prefix asks for.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) operation: Operation,
    /// The path with its ids left out. There are not many of them, whatever clients send.
    pub(super) template: Cow<'static, str>,
}

/// Which prefix a path has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    Deployment,
    V1,
    Resource,
}

/// Finds what is asked for; `more` are families that the operator added.
pub(super) fn find(
    method: &Method,
    prefix: Prefix,
    tail: &[&str],
    more: &[String],
) -> Option<Place> {
    let listed = LISTED.iter().find(|listed| listed.path.split('/').eq(tail.iter().copied()));
    // `GET /chat/completions` lists the stored ones.
    let listed = listed.filter(|_| *method != Method::GET || prefix == Prefix::Deployment);
    if let Some(listed) = listed {
        let template = if prefix == Prefix::Deployment { listed.deployment } else { listed.v1 };
        return Some(Place { operation: listed.operation, template: template.into() });
    }
    if prefix == Prefix::Deployment {
        return None;
    }
    let fixed =
        |operation, template: &'static str| Some(Place { operation, template: template.into() });
    match tail {
        ["models"] => fixed(Operation::Models, "/openai/v1/models"),
        ["models", _] if *method == Method::GET => {
            fixed(Operation::Models, "/openai/v1/models/{model}")
        }
        ["realtime"] => fixed(Operation::Realtime, "/openai/v1/realtime"),
        [family, rest @ ..]
            if is_family(family, more) && rest.iter().all(|part| !part.is_empty()) =>
        {
            Some(Place { operation: Operation::Resource, template: template(family, rest).into() })
        }
        _ => None,
    }
}

fn is_family(family: &str, more: &[String]) -> bool {
    is_known(family) || more.iter().any(|one| one == family)
}

/// Whether it is a family of Azure OpenAI's that is listed here.
pub(super) fn is_known(family: &str) -> bool {
    FAMILIES.contains(&family)
}

/// Whether a part of a path behind its family is an id.
pub(super) fn is_id(part: &str) -> bool {
    !WORDS.contains(&part)
}

/// Two parts behind the family are shown: with more, clients could make up any number of templates.
fn template(family: &str, rest: &[&str]) -> String {
    let mut template = format!("/openai/v1/{family}");
    for part in rest.iter().take(2) {
        template.push('/');
        template.push_str(if is_id(part) { "{id}" } else { part });
    }
    if rest.len() > 2 {
        template.push_str("/...");
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, prefix: Prefix, path: &str, expected: Option<(Operation, &str)>) {
        let tail: Vec<&str> = path.split('/').collect();
        let found = find(method, prefix, &tail, &["agents".to_owned()]);
        let found = found.map(|place| (place.operation, place.template.into_owned()));
        let expected = expected.map(|(operation, template)| (operation, template.to_owned()));
        assert_eq!(found, expected, "{method} {path}");
    }

    #[test]
    fn what_a_model_is_asked_for_is_listed() {
        for listed in &LISTED {
            let (path, operation) = (listed.path, listed.operation);
            let v1 = format!("/openai/v1/{path}");
            check(&Method::POST, Prefix::V1, path, Some((operation, &v1)));
            check(&Method::POST, Prefix::Resource, path, Some((operation, &v1)));
            let deployment = format!("/openai/deployments/{{deployment}}/{path}");
            check(&Method::POST, Prefix::Deployment, path, Some((operation, &deployment)));
        }
        check(&Method::POST, Prefix::Deployment, "files", None);
        check(&Method::GET, Prefix::Deployment, "models", None);
        check(&Method::POST, Prefix::V1, "moderations", None);
        check(&Method::POST, Prefix::V1, "", None);
    }

    #[test]
    fn what_lives_on_a_resource_is_known_by_its_family() {
        let resource = |method: Method, path, template| {
            check(&method, Prefix::V1, path, Some((Operation::Resource, template)));
        };
        resource(Method::GET, "responses/resp_1", "/openai/v1/responses/{id}");
        resource(Method::POST, "responses/resp_1/cancel", "/openai/v1/responses/{id}/cancel");
        resource(Method::POST, "responses/compact", "/openai/v1/responses/compact");
        resource(Method::GET, "chat/completions", "/openai/v1/chat/completions");
        resource(
            Method::GET,
            "chat/completions/c_1/messages",
            "/openai/v1/chat/completions/{id}/...",
        );
        resource(Method::POST, "threads/runs", "/openai/v1/threads/runs");
        resource(Method::GET, "threads/t/runs/r/steps/s", "/openai/v1/threads/{id}/runs/...");
        resource(Method::GET, "fine_tuning/jobs/ftjob-1", "/openai/v1/fine_tuning/jobs/{id}");
        resource(Method::DELETE, "models/ft:gpt:1", "/openai/v1/models/{id}");
        resource(Method::POST, "agents", "/openai/v1/agents");
        check(&Method::GET, Prefix::V1, "organization/users", None);
        check(&Method::GET, Prefix::V1, "files/", None);
    }

    #[test]
    fn the_models_and_a_conversation_are_apart() {
        let models = Operation::Models;
        check(&Method::GET, Prefix::V1, "models", Some((models, "/openai/v1/models")));
        check(
            &Method::GET,
            Prefix::Resource,
            "models/m",
            Some((models, "/openai/v1/models/{model}")),
        );
        let realtime = Operation::Realtime;
        check(&Method::GET, Prefix::Resource, "realtime", Some((realtime, "/openai/v1/realtime")));
    }
}
