//! An answer that was checked: whatever a test asks, these things hold of every answer.

use reqwest::Response;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Headers that a client may see; anything else is a leak.
const ALLOWED: &[&str] = &[
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "date",
    "retry-after",
    "retry-after-ms",
    "allow",
    "www-authenticate",
    "apim-request-id",
    "x-request-id",
    "x-accel-buffering",
    "cache-control",
    "x-firstlight-backend",
    "x-firstlight-attempts",
    "x-firstlight-ttft-ms",
];
const ALLOWED_PREFIXES: &[&str] = &["x-ratelimit-", "x-ms-", "azureml-"];

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The body, or as much of it as came before it broke off.
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its framing says it must.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let mut streamed = Streamed::of(response);
        while streamed.next().await.is_some() {}
        streamed.into_answer()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    pub(crate) fn request_id(&self) -> &str {
        self.header("x-request-id").unwrap()
    }

    pub(crate) fn attempts(&self) -> Option<u32> {
        self.header("x-firstlight-attempts").map(|n| n.parse().unwrap())
    }

    pub(crate) fn backend(&self) -> Option<&str> {
        self.header("x-firstlight-backend")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The code of an error body, whose shape is checked.
    pub(crate) fn error_code(&self) -> String {
        let body = self.json();
        let error = &body["error"];
        assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
        error["code"].as_str().unwrap_or_else(|| panic!("no code: {body}")).to_owned()
    }

    /// A good stream, to its end.
    pub(crate) fn assert_whole_stream(&self) {
        assert_eq!(self.status, 200, "{}", self.text());
        assert!(self.complete, "broke off: {}", self.text());
        assert!(self.text().trim_end().ends_with("data: [DONE]"), "{}", self.text());
        assert_eq!(content_of(self.text()), "w0 w1 w2 w3 w4 ");
    }
}

/// An answer that is read piece by piece.
pub(crate) struct Streamed {
    response: Response,
    body: Vec<u8>,
    complete: bool,
}

impl Streamed {
    pub(crate) fn of(response: Response) -> Self {
        check_headers(&response);
        Self { response, body: Vec::new(), complete: false }
    }

    /// The next piece as it came; `None` at the end, clean or not.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        match self.response.chunk().await {
            Ok(Some(chunk)) => {
                self.body.extend_from_slice(&chunk);
                Some(chunk.to_vec())
            }
            Ok(None) => {
                self.complete = true;
                None
            }
            Err(_) => None,
        }
    }

    pub(crate) fn into_answer(self) -> Answer {
        Answer {
            status: self.response.status().as_u16(),
            headers: self.response.headers().clone(),
            body: self.body,
            complete: self.complete,
        }
    }
}

/// No header that nobody allowed, exactly one request id, and nothing of the backend's credential.
fn check_headers(response: &Response) {
    let headers = response.headers();
    for (name, value) in headers {
        let name = name.as_str();
        let allowed =
            ALLOWED.contains(&name) || ALLOWED_PREFIXES.iter().any(|p| name.starts_with(p));
        assert!(allowed, "the header {name} must not reach a client");
        assert_ne!(value.as_bytes(), super::BACKEND_KEY.as_bytes(), "the backend's key in {name}");
    }
    assert_eq!(headers.get_all("x-request-id").iter().count(), 1, "{headers:?}");
    let both = headers.contains_key("content-length") && headers.contains_key("transfer-encoding");
    assert!(!both, "two framings: {headers:?}");
}

/// The content that a chat stream's deltas add up to.
pub(crate) fn content_of(stream: &str) -> String {
    let events = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let deltas = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    deltas
        .filter_map(|event| Some(event["choices"].get(0)?["delta"]["content"].as_str()?.to_owned()))
        .collect()
}
