//! The query of a request target.

use crate::azure::operation::Operation;
use crate::azure::path::{name, percent_decode, percent_encode};
use crate::azure::route_error::RouteError;

/// Keys by which credentials are given in URLs.
const CREDENTIALS: [&str; 5] =
    ["api-key", "api_key", "authorization", "subscription-key", "access_token"];

/// Those that Azure takes when a WebSocket is opened: a browser can set no header there.
const OF_REALTIME: [&str; 2] = ["api-key", "authorization"];

/// What a query says. Its keys are few or many by what is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// `api-version`.
    pub api_version: Option<String>,
    /// The deployment or model of a WebSocket, whose request has no body to name it.
    pub model: Option<String>,
    /// What else crosses, as it was written.
    others: Vec<String>,
}

impl Query {
    /// Reads a query whose characters are checked.
    pub(super) fn read(query: &str, operation: Operation) -> Result<Self, RouteError> {
        let mut found = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A key that does not decode is none of ours.
            let key = percent_decode(key).unwrap_or_default().to_ascii_lowercase();
            let realtime = operation == Operation::Realtime;
            match key.as_str() {
                // Taken from there, and left behind: see `realtime::credentials`.
                key if realtime && OF_REALTIME.contains(&key) => {}
                key if CREDENTIALS.contains(&key) => return Err(RouteError::CredentialInQuery),
                "api-version" => set(&mut found.api_version, value, "an api-version")?,
                "model" | "deployment" if realtime => {
                    set(&mut found.model, value, "a model")?;
                }
                _ if crosses(operation, &key) => found.others.push(pair.to_owned()),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Writes it behind a path; `model`: the key and what the model is called there.
    pub(super) fn write(&self, target: &mut String, model: Option<(&str, &str)>) {
        let mut separator = '?';
        let mut add = |text: &str| {
            target.push(separator);
            target.push_str(text);
            separator = '&';
        };
        if let Some(version) = &self.api_version {
            add(&format!("api-version={}", percent_encode(version)));
        }
        if let Some((key, model)) = model {
            add(&format!("{key}={}", percent_encode(model)));
        }
        for pair in &self.others {
            add(pair);
        }
    }

    /// The value of a key that crosses, as it was written.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.others
            .iter()
            .find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == key)?.1.into())
    }
}

/// What a model is asked needs no query. Lists do (`limit`, `after`, `order`, ...), and nothing in a query chooses a
/// host or a deployment.
fn crosses(operation: Operation, key: &str) -> bool {
    match operation {
        Operation::Resource | Operation::Responses => key != "model" && key != "deployment",
        Operation::Realtime => key == "intent",
        Operation::ChatCompletions
        | Operation::Completions
        | Operation::Embeddings
        | Operation::Images
        | Operation::Transcriptions
        | Operation::Speech
        | Operation::Models => false,
    }
}

fn set(found: &mut Option<String>, value: &str, what: &'static str) -> Result<(), RouteError> {
    let wrong = |why| match what {
        "a model" => RouteError::BadPath(if why {
            "a model given twice"
        } else {
            "a model that cannot exist"
        }),
        _ => RouteError::BadPath(if why {
            "api-version given twice"
        } else {
            "an api-version that cannot exist"
        }),
    };
    if value.is_empty() {
        return Ok(());
    }
    if found.is_some() {
        return Err(wrong(true));
    }
    let value = percent_decode(value).ok_or(RouteError::BadPath("a broken percent-encoding"))?;
    *found = Some(name(&value).map_err(|_| wrong(false))?);
    Ok(())
}
