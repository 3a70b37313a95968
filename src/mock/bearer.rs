//! Backends that take tokens of a fake Entra.

use http::HeaderMap;
use serde::{Deserialize, Serialize};

/// Which bearer tokens a backend takes: those of the Entra beside it, for one of these audiences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BearerSpec {
    /// The claim `aud` has to be one of them, with or without a slash at its end.
    pub audiences: Vec<String>,
}

impl Default for BearerSpec {
    /// The two audiences of Azure OpenAI.
    fn default() -> Self {
        let names = ["https://cognitiveservices.azure.com", "https://ai.azure.com"];
        Self { audiences: names.map(str::to_owned).to_vec() }
    }
}

impl BearerSpec {
    /// The audiences in both forms.
    pub(super) fn forms(&self) -> Vec<String> {
        let both = |audience: &String| {
            let plain = audience.trim_end_matches('/');
            [plain.to_owned(), format!("{plain}/")]
        };
        self.audiences.iter().flat_map(both).collect()
    }
}

/// The token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
